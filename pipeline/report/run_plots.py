"""The pictures of a run: what is left after each stage, and shares of a mixture."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.ablation_plots import WIDTH
from pipeline.report.layout import count, percent
from train import svg


def funnel(source: str, steps: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Bars: the records that came in, then the documents that each stage kept."""
    came = steps[0][1]["in"] if steps else 0
    rows = [("records in", came), *((f"after {name}", c["kept"]) for name, c in steps)]
    left, step, parts = 76, 22, []
    full = WIDTH - left - 92
    for i, (label, n) in enumerate(rows):
        y = 4 + i * step
        width = full * n / max(came, 1)
        parts.append(svg.text(left - 6, y + 12, label, "end", "muted"))
        parts.append(svg.bar(left, y, full, 15, "band"))
        parts.append(svg.bar(left, y, width, 15, "soft" if i == 0 else "fill"))
        share = f" \u00b7 {percent(n / came)}" if came and i else ""
        parts.append(svg.text(left + full + 6, y + 12, f"{count(n)}{share}"))
    words = "; ".join(f"{label} {n:,}" for label, n in rows)
    return svg.picture(WIDTH, 8 + len(rows) * step, "".join(parts), f"Documents of {source}", words)


def shares(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """For each group the share it got as a bar, and a mark at the weight that was wanted."""
    left, right, step, parts = 0, WIDTH - 46, 32, []
    most = max([g[k] for g in groups.values() for k in ("weight", "proportion")], default=1) or 1
    x = svg.Scale(0, most, left, right)
    for i, (name, g) in enumerate(sorted(groups.items())):
        y = i * step
        parts.append(svg.text(left, y + 11, svg.shortened(name, 40)))
        parts.append(svg.bar(left, y + 15, x(g["proportion"]) - left, 11, "fill"))
        parts.append(svg.line(x(g["weight"]), y + 12, x(g["weight"]), y + 29, "stroke s0"))
        end = max(x(g["proportion"]), x(g["weight"])) + 6
        parts.append(svg.text(end, y + 24, percent(g["proportion"])))
    foot = len(groups) * step
    parts.append(svg.text(left, foot + 12, "bar: got; stroke: wanted", cls="muted"))
    words = "; ".join(
        f"{name}: wanted {percent(g['weight'])}, got {percent(g['proportion'])}"
        for name, g in sorted(groups.items())
    )
    return svg.picture(WIDTH, foot + 18, "".join(parts), "Mixture, wanted and got", words)
