"""The loss curves as a small SVG, written by hand: a plotting library would be the largest
dependency of this room."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 640, 360, 48
# Okabe and Ito's colours, which the colour-blind tell apart
COLOURS = ("#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b5a900", "#666666")


def loss_svg(log: Sequence[dict], title: str) -> str:
    """Loss in nats a token of steps 1, 2, ..., from the lines of metrics.jsonl: each step's, and
    moving averages over a tenth of the steps of it and of each source's."""
    losses = [line["loss"] for line in log]
    smooth = _smooth(losses)
    names = sorted({name for line in log for name in line.get("loss_by_source", {})})
    curves = {
        name: _smooth([line.get("loss_by_source", {}).get(name) for line in log]) for name in names
    }
    shown = [v for curve in (losses, *curves.values()) for v in curve if v is not None]
    low, high = min(shown), max(shown)
    pad = (high - low) * 0.05 or 1.0
    low, high = low - pad, high + pad
    span = max(len(losses) - 1, 1)

    def points(values: Sequence[float | None]) -> str:
        return " ".join(
            f"{MARGIN + step / span * (WIDTH - 2 * MARGIN):.1f},"
            f"{HEIGHT - MARGIN - (v - low) / (high - low) * (HEIGHT - 2 * MARGIN):.1f}"
            for step, v in enumerate(values)
            if v is not None
        )

    left, right, top, bottom = MARGIN, WIDTH - MARGIN, MARGIN, HEIGHT - MARGIN
    ticks = "".join(
        f'<text x="{left - 6}" y="{bottom - f * (bottom - top):.0f}" text-anchor="end">'
        f"{low + f * (high - low):.2f}</text>"
        for f in (0, 0.25, 0.5, 0.75, 1)
    )
    by_source = "".join(
        f'<polyline points="{points(curve)}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}"/>'
        f'<text x="{right}" y="{top + 14 * (i + 1)}" text-anchor="end" '
        f'fill="{COLOURS[i % len(COLOURS)]}">{escape(name)}</text>'
        for i, (name, curve) in enumerate(curves.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{WIDTH / 2}" y="24" text-anchor="middle">{escape(title)}</text>{ticks}'
        f'<text x="{left}" y="{bottom + 18}">1</text>'
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end">step {len(losses)}</text>'
        f'<path d="M{left},{top} V{bottom} H{right}" fill="none" stroke="#888"/>'
        f'<polyline points="{points(losses)}" fill="none" stroke="#b7c9e2"/>{by_source}'
        f'<polyline points="{points(smooth)}" fill="none" stroke="#1f5fbf" stroke-width="2"/>'
        "</svg>\n"
    )


def _smooth(values: Sequence[float | None]) -> list[float | None]:
    """Means over a tenth of them; a step without a value has none."""
    window = max(1, len(values) // 10)
    out: list[float | None] = []
    for i, value in enumerate(values):
        part = [v for v in values[max(0, i - window + 1) : i + 1] if v is not None]
        out.append(None if value is None else sum(part) / len(part))
    return out
