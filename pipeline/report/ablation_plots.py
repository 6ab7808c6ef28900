"""The pictures of an ablation, each from rows of its tables. All are 360 pixels wide."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from train import svg
from train.verdicts import BETTER, NOT_SHOWN, WORSE

WIDTH = 360
NAMED = 6  # arms with a series of their own; the others are faint
WINDOWS = (60, 30, 15, 8, 4)  # of steps, that a curve has a point in
SHAPE_OF_WORD = {BETTER: "circle", WORSE: "square", NOT_SHOWN: "circle"}
SHAPE_OF_ROLE = {"base": "square", "confirm": "star", "corner": "up", "draw": "circle"}


def series(arms: Sequence[str], base: str, control: str | None) -> dict[str, str]:
    """A class for each arm, the same in every picture."""
    found = {base: "s0"} | ({control: "s5"} if control else {})
    free = [f"s{i}" for i in (1, 2, 3, 4, 6)]
    for arm in arms:
        if arm not in found and len(found) < NAMED + 1 and free:
            found[arm] = free.pop(0)
    return found


# --- arms against the base -----------------------------------------------------------------------


def forest(rows: Sequence[Mapping[str, Any]], unit: str, decimals: int, better: str) -> str:
    """rows: verdicts of one measure. A band from -detectable to +detectable: differences inside
    would mostly have gone unseen. The control may lie beyond the edge: it is there to be far off.
    """
    top, step, left, right = 8, 31, 20, WIDTH - 20
    height = top + step * len(rows) + 40
    bottom = top + step * len(rows) + 4
    x = svg.padded(_extent(rows), left, right)
    parts = [svg.x_axis(x, bottom, f"arm \u2212 base, {unit} ({better} is better)", n=3)]
    parts += [_band(row, x, top + i * step + 21) for i, row in enumerate(rows)]
    parts.append(svg.line(x(0), top, x(0), bottom, "rule"))
    parts += [_forest_row(row, x, top + i * step, decimals) for i, row in enumerate(rows)]
    words = "; ".join(f"{row['arm']}: {row['word']}" for row in rows)
    return svg.picture(WIDTH, height, "".join(parts), f"Differences from the base, {unit}", words)


def _extent(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """What the axis has to hold: 0 and the arms, each with its interval; the control only where it
    is alone."""
    arms = [row for row in rows if row["role"] != "control"]
    if not any(row["difference"] is not None for row in arms):
        arms = list(rows)
    values = [0.0]
    for row in arms:
        values += [v for k in ("difference", "low", "high") if (v := row[k]) is not None]
        values += [d for s in (1, -1) if row["detectable"] and (d := s * row["detectable"])]
    return values


def _band(row: Mapping[str, Any], x: svg.Scale, middle: float) -> str:
    if not row["detectable"] or row["role"] == "control":
        return ""
    low, high = (x(min(max(s * row["detectable"], x.low), x.high)) for s in (-1, 1))
    return svg.bar(low, middle - 6, high - low, 12, "band")


def _forest_row(row: Mapping[str, Any], x: svg.Scale, y: float, decimals: int) -> str:
    middle, parts = y + 21, []
    name = svg.shortened(row["arm"], 40)
    parts.append(svg.text(0, y + 9, name, cls="halo strong" if row["word"] == BETTER else "halo"))
    value = row["difference"]
    if value is None:
        return "".join([*parts, svg.text(WIDTH, y + 9, row["word"], "end", "muted")])
    written = f"{value:+.{decimals}f}".replace("-", "\u2212")
    parts.append(svg.text(WIDTH, y + 9, written, "end", "muted"))
    if not x.low <= value <= x.high:
        at, way = (x.end, 1) if value > x.high else (x.start, -1)
        parts.append(svg.line(at - 12 * way, middle, at, middle, "stroke s0"))
        return "".join([*parts, _arrow(at, middle, way)])
    if row["low"] is not None:
        low, high = (x(min(max(row[k], x.low), x.high)) for k in ("low", "high"))
        parts.append(svg.line(low, middle, high, middle, "stroke s0"))
        if row["low"] < x.low:
            parts.append(_arrow(x.start, middle, -1))
        if row["high"] > x.high:
            parts.append(_arrow(x.end, middle, 1))
    shape = SHAPE_OF_WORD.get(row["word"], "cross")
    cls = "s0 open" if row["word"] == NOT_SHOWN else "s0"
    parts.append(svg.marker(shape, x(value), middle, cls))
    return "".join(parts)


def _arrow(x: float, y: float, way: int) -> str:
    tip = f"M{x - 5 * way:.1f},{y - 4:.1f}l{5 * way},4l{-5 * way},4"
    return f'<path d="{tip}" class="stroke s0"/>'


# --- loss curves ---------------------------------------------------------------------------------


def curves(
    by_arm: Mapping[str, Mapping[int, Sequence[tuple[float, float]]]],
    classes: Mapping[str, str],
    title: str,
) -> str:
    """by_arm: arm -> seed -> (step, value). Seeds thin, their mean over it; names at the ends. The
    first quarter of the steps, which would squeeze the rest, is left out."""
    last = max((s for seeds in by_arm.values() for c in seeds.values() for s, _ in c), default=1)
    late = {
        arm: [[p for p in c if p[0] > last / 4] or list(c) for c in seeds.values()]
        for arm, seeds in by_arm.items()
    }
    n = windows([c for found in late.values() for c in found], last)
    kept = {arm: [binned(c, last, n) for c in found] for arm, found in late.items()}
    means = {arm: _mean(found) for arm, found in kept.items() if any(found)}
    shown = [p for found in kept.values() for c in found for p in c]
    left, right, top, bottom = 40, WIDTH - 92, 10, 196
    x = svg.padded([s for s, _ in shown], left, right, 0.0)
    y = svg.padded([v for _, v in shown], bottom, top)
    parts = [svg.x_axis(x, bottom, "step", n=3), svg.y_axis(y, left, grid_to=right)]
    crowded = len(kept) > 2 * NAMED
    for arm, found in kept.items():
        cls = classes.get(arm, "faint")
        for c in found if len(found) > 1 and not (crowded and cls == "faint") else []:
            parts.append(svg.curve([(x(s), y(v)) for s, v in c], f"thin {cls}"))
    named = [arm for arm in means if arm in classes]
    places = svg.spread([y(means[arm][-1][1]) for arm in named], 12.5, top, bottom)
    for arm, c in means.items():
        parts.append(svg.curve([(x(s), y(v)) for s, v in c], classes.get(arm, "faint")))
    for arm, place in zip(named, places, strict=True):
        parts.append(svg.text(right + 5, place + 4, svg.shortened(arm, 14), cls=classes[arm]))
    ends = "; ".join(f"{arm} ends at {c[-1][1]:.4g}" for arm, c in list(means.items())[:12])
    return svg.picture(WIDTH, bottom + 36, "".join(parts), title, ends)


def windows(curves: Sequence[Sequence[tuple[float, float]]], last: float) -> int:
    """The most windows of which hardly one is empty: a small source is not in every step, and means
    of several seeds are taken where all have a value."""
    for n in WINDOWS:
        filled = [[_window(s, last, n) for s, v in c if math.isfinite(v)] for c in curves]
        if all(len(set(w)) >= 0.9 * (w[-1] - w[0] + 1) for w in filled if w):
            return n
    return WINDOWS[-1]


def binned(points: Sequence[tuple[float, float]], last: float, n: int) -> list[tuple[float, float]]:
    """(middle step, mean value) of the windows that are not empty; what is not finite is left
    out."""
    found: dict[int, list[float]] = {}
    for step, value in points:
        if math.isfinite(value):
            found.setdefault(_window(step, last, n), []).append(value)
    width = max(last / n, 1.0)
    return [((w + 0.5) * width + 0.5, sum(v) / len(v)) for w, v in sorted(found.items())]


def _window(step: float, last: float, n: int) -> int:
    """Of at least one step."""
    return int((step - 1) / max(last / n, 1.0))


def _mean(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """At the places that all curves have; where they share none, of the longest alone."""
    found = [dict(c) for c in curves if c]
    shared = sorted(set(found[0]).intersection(*found[1:]))
    if not shared:
        return sorted(max(found, key=len).items())
    return [(s, sum(c[s] for c in found) / len(found)) for s in shared]


# --- predicted and measured ----------------------------------------------------------------------


def predicted(
    rows: Sequence[Mapping[str, Any]],
    roles: Mapping[str, str],
    proposal: Mapping[str, Any] | None,
    unit: str,
) -> str:
    """rows: predictions of one law; the proposal with its interval, once it is measured."""
    left, right, top, bottom = 46, WIDTH - 12, 20, 300
    points = [
        (row["arm"], row["predicted"], row["measured"])
        for row in rows
        if _finite(row["predicted"]) and _finite(row["measured"])
    ]
    values = [v for _, *pair in points for v in pair]
    confirmed = proposal is not None and _finite(proposal["measured"])
    if proposal and confirmed:
        keys = ("predicted", "predicted_low", "predicted_high", "measured")
        values += [v for k in keys if _finite(v := proposal[k])]
    both = svg.padded(values, 0, 1)
    x, y = (both._replace(start=a, end=b) for a, b in ((left, right), (bottom, top)))
    parts = [
        svg.x_axis(x, bottom, f"predicted, {unit}", n=3, grid_to=top),
        svg.y_axis(y, left, grid_to=right, n=3),
        svg.line(x(both.low), y(both.low), x(both.high), y(both.high), "rule dashed"),
        svg.text(0, 9, f"measured, {unit}", cls="muted"),
    ]
    for arm, p, m in points:
        role = roles.get(arm, "arm")
        if role != "confirm":
            parts.append(svg.marker(SHAPE_OF_ROLE.get(role, "diamond"), x(p), y(m), "s1 open", 3.5))
    if proposal and confirmed:
        p, m = x(proposal["predicted"]), y(proposal["measured"])
        if _finite(proposal["predicted_low"]) and _finite(proposal["predicted_high"]):
            low, high = x(proposal["predicted_low"]), x(proposal["predicted_high"])
            parts.append(svg.line(low, m, high, m, "stroke s5"))
        parts.append(svg.marker("star", p, m, "s5", 5))
        if p > (left + right) / 2:
            parts.append(svg.text(p - 9, m - 6, "the proposal", "end", "halo s5"))
        else:
            parts.append(svg.text(p + 9, m - 6, "the proposal", cls="halo s5"))
    return svg.picture(WIDTH, bottom + 36, "".join(parts), f"Predicted and measured, {unit}")


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
