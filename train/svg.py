"""Parts of small pictures: scales, axes, markers, as SVG text written by hand.

A plotting library would be the largest dependency of this room, and none writes pictures that
follow a page's colours. Colours and dashes are classes: a picture in a file of its own carries
their rules (`standalone`), a page states them once, for light, dark and paper. Series differ by
dash and marker as well as by colour. Sizes are in pixels of a narrow screen, so text stays as large
there as it is drawn.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal, NamedTuple

SERIES = 7
DASHES = ("", "", "6 3", "2 2.5", "9 3 2 3", "12 3", "7 2 1 2 1 2")
MARKERS = ("circle", "square", "up", "diamond", "down", "cross", "plus")
# The first is the ink; the others keep 4.5 : 1 against their paper, as text, too.
LIGHT = {
    **{"paper": "#ffffff", "ink": "#1c2026", "muted": "#5d6570", "rule": "#9aa3af"},
    **{"grid": "#e4e7ec", "tint": "#f4f6f8", "accent": "#1f5fbf"},
    **{"s0": "#1c2026", "s1": "#1f5fbf", "s2": "#a85200", "s3": "#00735a", "s4": "#8a3f9e"},
    **{"s5": "#b3261e", "s6": "#6b5e00"},
}
DARK = {
    **{"paper": "#14171b", "ink": "#e8eaed", "muted": "#a3acb8", "rule": "#66707c"},
    **{"grid": "#2b3138", "tint": "#1c2127", "accent": "#84b4ff"},
    **{"s0": "#e8eaed", "s1": "#84b4ff", "s2": "#f5b062", "s3": "#5fd0a8", "s4": "#d8a3ea"},
    **{"s5": "#ff948a", "s6": "#d5c84a"},
}


class Scale(NamedTuple):
    """low..high of the data to start..end of the picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def padded(values: Iterable[float], start: float, end: float, pad: float = 0.06) -> Scale:
    """A scale around the finite values; around 0 where there are none."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    more = (high - low) * pad or max(abs(high) * pad, 1e-3)
    return Scale(low - more, high + more, start, end)


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """About n round numbers within low..high (Heckbert 1990, Graphics Gems, p. 61), 0 among them if
    it is inside."""
    if not high > low:
        return [low]
    rough = (high - low) / max(n, 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.75)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float, step: float) -> str:
    """As many decimals as tell it from its neighbours; a true minus sign."""
    if abs(value) >= 1e6 and step >= 1e4:
        return f"{value / 1e6:g}M".replace("-", "\u2212")
    decimals = 0
    while decimals < 9 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    return f"{0.0 if abs(value) < step * 1e-6 else value:,.{decimals}f}".replace("-", "\u2212")


def _labels(scale: Scale, n: int) -> list[tuple[float, str]]:
    at = ticks(scale.low, scale.high, n)
    step = at[1] - at[0] if len(at) > 1 else abs(at[0]) if at and at[0] else 1.0
    return [(value, tick_label(value, step)) for value in at]


# --- parts ---------------------------------------------------------------------------------------


def text(
    x: float,
    y: float,
    content: str,
    anchor: Literal["start", "middle", "end"] = "start",
    cls: str = "",
) -> str:
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{at}{_class(cls)}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
    return f'<path d="M{x1:.1f},{y1:.1f}L{x2:.1f},{y2:.1f}"{_class(cls)}/>'


def curve(points: Sequence[tuple[float, float]], cls: str) -> str:
    """A line through the points; a lone one is a short stroke, so that it is seen."""
    if len(points) == 1:
        (x, y) = points[0]
        points = [(x - 1.5, y), (x + 1.5, y)]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}"{_class(f"line {cls}")}/>' if points else ""


def bar(x: float, y: float, width: float, height: float, cls: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
        f"{_class(cls)}/>"
    )


def marker(kind: str, x: float, y: float, cls: str, r: float = 4.0) -> str:
    """circle, square, up, down, diamond, cross, plus or star, of about the same area."""
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"{_class(f"dot {cls}")}/>'
    if kind in ("cross", "plus"):
        a, b = (r, r) if kind == "cross" else (r * 1.3, 0.0)
        d = f"M{x - a:.1f},{y - b:.1f}L{x + a:.1f},{y + b:.1f}"
        d += f"M{x - b:.1f},{y + a:.1f}L{x + b:.1f},{y - a:.1f}"
        return f'<path d="{d}"{_class(f"stroke {cls}")}/>'
    n, turn, inner = {
        "square": (4, 45, 1.0),
        "diamond": (4, 0, 1.0),
        "up": (3, -90, 1.0),
        "down": (3, 90, 1.0),
        "star": (5, -90, 0.45),
    }[kind]
    size = r * (1.6 if kind == "star" else 1.3)
    corners = []
    for i in range(2 * n):
        reach = size if i % 2 == 0 else size * (inner if inner < 1 else math.cos(math.pi / n))
        angle = math.radians(turn) + i * math.pi / n
        corners.append(f"{x + reach * math.cos(angle):.1f},{y + reach * math.sin(angle):.1f}")
    return f'<polygon points="{" ".join(corners)}"{_class(f"dot {cls}")}/>'


def x_axis(
    scale: Scale, y: float, title: str = "", n: int = 4, grid_to: float | None = None
) -> str:
    """Labels below y; lines up to `grid_to`."""
    parts = []
    for value, label in _labels(scale, n):
        if grid_to is not None:
            parts.append(line(scale(value), y, scale(value), grid_to, "grid"))
        parts.append(text(scale(value), y + 14, label, "middle", "muted"))
    if title:
        parts.append(text((scale.start + scale.end) / 2, y + 29, title, "middle", "muted"))
    return line(scale.start, y, scale.end, y, "axis") + "".join(parts)


def y_axis(scale: Scale, x: float, grid_to: float | None = None, n: int = 4) -> str:
    """Labels left of x; lines to `grid_to`."""
    parts = []
    for value, label in _labels(scale, n):
        if grid_to is not None:
            parts.append(line(x, scale(value), grid_to, scale(value), "grid"))
        parts.append(text(x - 5, scale(value) + 3.5, label, "end", "muted"))
    return "".join(parts)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, in their order, `gap` apart where there is room: for labels."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    placed = [min(max(wanted[i], low), high) for i in order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    if placed and placed[-1] > high:
        placed[-1] = high
        for i in range(len(placed) - 2, -1, -1):
            placed[i] = min(placed[i], placed[i + 1] - gap)
    out = [0.0] * len(wanted)
    for i, place in zip(order, placed, strict=True):
        out[i] = place
    return out


def shortened(name: str, n: int) -> str:
    """At most n characters, the middle left out: names often differ at their ends."""
    if len(name) <= n:
        return name
    head = (n - 1) // 2
    return f"{name[:head]}\u2026{name[len(name) - (n - 1 - head) :]}"


def _class(cls: str) -> str:
    return f' class="{cls.strip()}"' if cls.strip() else ""


# --- whole pictures ------------------------------------------------------------------------------


def picture(width: float, height: float, body: str, title: str, description: str = "") -> str:
    """For a page, which has the style."""
    more = f"<desc>{escape(description)}</desc>" if description else ""
    return (
        f'<svg viewBox="0 0 {width:g} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title>{more}{body}</svg>"
    )


def standalone(width: float, height: float, body: str, title: str) -> str:
    """For a file: on white, with its style and its title above."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}">'
        f"<title>{escape(title)}</title><style>{style(LIGHT)}</style>"
        f"{bar(0, 0, width, height, 'paper')}{text(width / 2, 22, title, 'middle', 'strong')}"
        f"{body}</svg>\n"
    )


def style(colours: dict[str, str]) -> str:
    """The classes' rules; a colour may be a var(...) of the page."""
    c = colours
    rules = [
        f"text{{font:11px system-ui,sans-serif;fill:{c['ink']};stroke:none}}",
        f"text.muted{{fill:{c['muted']}}}text.strong{{font-weight:600}}text.large{{font-size:12px}}",
        f".axis,.rule{{stroke:{c['rule']};fill:none}}.grid{{stroke:{c['grid']};fill:none}}",
        f".paper{{fill:{c['paper']}}}.fill{{fill:{c['accent']}}}.soft{{fill:{c['rule']}}}",
        ".line{fill:none;stroke-width:1.75;stroke-linejoin:round}",
        ".line.wide{stroke-width:4;stroke-opacity:.4}",
        ".thin{stroke-width:.8;stroke-opacity:.45}.stroke{fill:none;stroke-width:1.75}",
        f".dot{{stroke-width:1.5}}.faint{{stroke:{c['rule']}}}.line.faint{{stroke-width:.8}}",
        ".dashed{stroke-dasharray:4 3}",
        f"text.halo{{paint-order:stroke;stroke:{c['paper']};stroke-width:3px}}",
    ]
    for i in range(SERIES):
        colour, dash = c[f"s{i}"], DASHES[i]
        rules.append(
            f".s{i}{{stroke:{colour}}}.dot.s{i}{{fill:{colour}}}"
            f"text.s{i}{{fill:{colour};stroke:none}}"
        )
        if dash:
            rules.append(f".line.s{i}{{stroke-dasharray:{dash}}}")
    rules.append(f".dot.open{{fill:{c['paper']}}}")
    return "".join(rules)
