"""A report of `tune.py` for a person: on a terminal, and its histogram as an SVG."""

from itertools import pairwise
from typing import Any

from train import svg

BAR = 40
WIDTH, HEIGHT, MARGIN = 640, 240, 40


def render(report: dict[str, Any]) -> str:
    lines = [*_head(report), "", *_bars(report), "", *_table(report), "", *_overlap(report)]
    lines += ["", *_samples(report), "", *_change(report)]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return "unset"
    whole = value == round(value) or abs(value) >= 1000
    return f"{value:,.0f}" if whole and abs(value) < 1e15 else f"{value:.4g}"


def _head(report: dict[str, Any]) -> list[str]:
    sign = "at least" if report["bound"] == "least" else "at most"
    lines = [
        f"{report['rule']} of sources.{report['source']}: {report['signal']} has to be {sign} "
        f"{_number(report['now'])}",
        f"{report['documents']:,} documents came to the filters",
    ]
    if report["not_measured"]:
        lines.append(
            f"  {report['not_measured']:,} of them left at earlier steps and have no value: they "
            "are not counted below, and stay removed"
        )
        if n := report["audited_among_them"]:
            fail = report["audited_that_fail"]
            lines.append(
                f"  of those that leave earlier {n:,} were audited and measured all the same; "
                f"{fail:,} ({fail / n:.0%}) fail at {_number(report['threshold'])} too"
            )
        else:
            lines.append("  none of these was audited: nothing is known of them here")
    if report["null"]:
        lines.append(f"  {report['null']:,} have nothing to measure, and fail at any threshold")
    return lines


def _bars(report: dict[str, Any]) -> list[str]:
    edges, counts = report["histogram"]["edges"], report["histogram"]["counts"]
    most = max(counts, default=1) or 1
    lines = []
    marks = {"now": report["now"], "wanted": report["threshold"]}
    if marks["now"] == marks["wanted"]:
        del marks["wanted"]
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        here = [name for name, x in marks.items() if x is not None and _within(x, low, high, edges)]
        bar = "#" * max(round(BAR * count / most), 1 if count else 0)
        note = f"  <- {', '.join(here)}" if here else ""
        lines.append(f"  {_number(low):>10} {count:>9,} {bar}{note}")
    return lines


def _within(x: float, low: float, high: float, edges: list[float]) -> bool:
    """Whether the bin is x's; the first and the last are of what is beyond, too."""
    return (low <= x or low == edges[0]) and (x < high or high == edges[-1])


def _table(report: dict[str, Any]) -> list[str]:
    head = f"  {'threshold':>10}{'fail it':>10}{'kept':>10}{'MB kept':>10}"
    tokens = any(row["tokens"] is not None for row in report["table"])
    lines = [head + (f"{'Mtok about':>12}" if tokens else "")]
    for row in report["table"]:
        line = f"  {_number(row['threshold']):>10}{row['fails']:>10,}{row['kept']:>10,}"
        line += f"{row['bytes'] / 1e6:>10.2f}"
        line += f"{row['tokens'] / 1e6:>12.2f}" if tokens else ""
        names = {"now": report["now"], "wanted": report["threshold"]}
        here = [name for name, x in names.items() if x == row["threshold"]]
        lines.append(line + (f"  {here[0]}" if here else ""))
    n, of = report["fails_behind"]
    lines.append("  kept: by all filters; bytes of text as they came in.")
    if of:
        lines.append(
            f"  Steps behind have not seen what fails here now: {n:,} of {of:,} audited ones fail "
            "there too, and so is counted."
        )
    else:
        lines.append(
            "  Steps behind have not seen what fails here now, and none of it was audited: of a "
            "laxer\n  threshold `kept` is the most that there can be."
        )
    return lines


def _overlap(report: dict[str, Any]) -> list[str]:
    found = report["overlap"]
    lines = [f"  fails at {_number(report['threshold'])}: {found['fails']:,}"]
    if found["fails"]:
        lines[0] += f", {found['alone']:,} of them no other rule, as far as they were looked at"
    for name, n in list(found["others"].items())[:12]:
        lines.append(f"    also {name:<44}{n['both']:>8,} of {n['of']:,}")
    return lines


def _samples(report: dict[str, Any]) -> list[str]:
    lines = []
    for row in report["samples"]:
        fate = "passes" if row["passes"] else "fails"
        lines.append(f"  {fate:<7}{_number(row['value']):>10}  {row['id'][-50:]}")
        lines.append(f"{'':>21}{row['line'][:78]}")
    return lines


def _change(report: dict[str, Any]) -> list[str]:
    if report["change"] is None:
        return ["no key of the configuration sets this threshold alone"]
    key = report["change"].removeprefix("--set ")
    return [f"corpusmill run CONFIG --out DIR --set '{key}'"]


def histogram_svg(report: dict[str, Any]) -> str:
    edges, counts = report["histogram"]["edges"], report["histogram"]["counts"]
    top, bottom = MARGIN, HEIGHT - MARGIN
    x = svg.Scale(0, max(len(counts), 1), MARGIN, WIDTH - MARGIN)
    y = svg.Scale(0, max(counts, default=1) or 1, bottom, top)
    parts = [
        svg.bar(x(i), y(n), x(1) - x(0) - 1, bottom - y(n), "fill") for i, n in enumerate(counts)
    ]
    parts += [
        svg.text(x(i), bottom + 16, _number(edges[i]), "middle", "muted")
        for i in range(0, len(edges), 5)
    ]
    for name, value, cls in (
        ("now", report["now"], "rule"),
        ("wanted", report["threshold"], "stroke s5"),
    ):
        for i, (low, high) in enumerate(pairwise(edges)):
            if value is not None and low <= value < high:
                place = x(i + (value - low) / (high - low))
                parts.append(svg.line(place, bottom, place, top, cls))
                parts.append(svg.text(place + 3, top + (8 if name == "now" else 20), name))
    title = f"{report['rule']} of {report['source']}: {report['signal']}"
    return svg.standalone(WIDTH, HEIGHT, "".join(parts), title)
