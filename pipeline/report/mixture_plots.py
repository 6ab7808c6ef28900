"""Mixtures and what they gave: against one weight, in a triangle, or along parallel axes.

The loss is shown three times, so that no picture needs its colour: by fill (the fullest are the
best fifth), by rank beside the marker, and in the table below.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.report.ablation_plots import SHAPE_OF_ROLE, WIDTH
from train import svg

RANKED = 8  # markers with a number, besides the base


class Mixture(NamedTuple):
    arm: str
    role: str
    weights: dict[str, float]
    loss: float | None  # mean over measures and seeds


def mixtures(found: Sequence[Mixture], unit: str) -> str:
    """Of two sources or more, of which the trials are done."""
    measured = sorted((m for m in found if m.loss is not None), key=lambda m: (m.loss, m.arm))
    sources = sorted({name for m in measured for name in m.weights})
    draw = {2: _two, 3: _triangle}.get(len(sources), _parallel)
    body, height = draw(measured, sources, unit)
    best = "; ".join(f"{i}: {m.arm}, {m.loss:.4f}" for i, m in enumerate(measured[:RANKED], 1))
    return svg.picture(WIDTH, height, body, f"Mixtures by {unit}", f"Best first. {best}")


def _dots(measured: Sequence[Mixture], places: Sequence[tuple[float, float]]) -> str:
    """The worst first, so that the best lie on top."""
    parts = []
    for i in range(len(measured) - 1, -1, -1):
        (x, y), m = places[i], measured[i]
        quintile = 5 * i // len(measured)
        shape = SHAPE_OF_ROLE.get(m.role, "diamond")
        parts.append(svg.marker(shape, x, y, "s1 open", 4.5))
        parts.append(svg.marker(shape, x, y, f"s1 q{quintile}", 4.5))
        if i < RANKED or m.role == "base":
            if m.role == "base":  # others may be at the same place
                parts.append(svg.text(x - 7, y + 4, f"base {i + 1}", "end", "halo"))
            else:
                parts.append(svg.text(x + 7, y + 4, f"{i + 1}", cls="halo"))
    return "".join(parts)


def _two(measured: Sequence[Mixture], sources: Sequence[str], unit: str) -> tuple[str, float]:
    left, right, top, bottom = 46, WIDTH - 26, 14, 236
    x = svg.Scale(0, 1, left, right)
    y = svg.padded([m.loss or 0.0 for m in measured], bottom, top, 0.1)
    places = [(x(m.weights.get(sources[0], 0.0)), y(m.loss or 0.0)) for m in measured]
    parts = [
        svg.x_axis(x, bottom, f"weight of {svg.shortened(sources[0], 36)}"),
        svg.y_axis(y, left, grid_to=right),
        svg.text(left + 4, top - 3, unit, cls="muted"),
        _dots(measured, places),
    ]
    return "".join(parts), bottom + 36


def _triangle(measured: Sequence[Mixture], sources: Sequence[str], unit: str) -> tuple[str, float]:
    left, right, top = 34, WIDTH - 34, 26
    side = right - left
    height = side * math.sqrt(3) / 2
    corners = [(left, top + height), (right, top + height), (WIDTH / 2, top)]

    def place(weights: Sequence[float]) -> tuple[float, float]:
        total = sum(weights) or 1.0
        return (
            sum(w * c[0] for w, c in zip(weights, corners, strict=True)) / total,
            sum(w * c[1] for w, c in zip(weights, corners, strict=True)) / total,
        )

    parts = []
    for tenth in (2, 4, 6, 8):
        for i in range(3):
            a, b, c = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], tenth / 10
            a[i], a[(i + 1) % 3], b[i], b[(i + 2) % 3] = c, 1 - c, c, 1 - c
            parts.append(svg.line(*place(a), *place(b), "grid"))
    for i in range(3):
        parts.append(svg.line(*corners[i], *corners[(i + 1) % 3], "axis"))
    labels = ((left - 24, "start"), (right + 24, "end"), (WIDTH / 2, "middle"))
    for source, corner, (x, anchor) in zip(sources, corners, labels, strict=True):
        y = corner[1] + (16 if corner[1] > top else -10)
        name = f"all {svg.shortened(source, 24)}"
        parts.append(svg.text(x, y, name, anchor, "muted"))  # type: ignore[arg-type]
    places = [place([m.weights.get(s, 0.0) for s in sources]) for m in measured]
    return "".join(parts) + _dots(measured, places), top + height + 24


def _parallel(measured: Sequence[Mixture], sources: Sequence[str], unit: str) -> tuple[str, float]:
    """One axis below the other: names of any length fit above them. The last is the loss."""
    top, step, left, right = 20, 38, 10, WIDTH - 28
    weight = svg.Scale(0, max((max(m.weights.values()) for m in measured), default=1), left, right)
    loss = svg.padded([m.loss or 0.0 for m in measured], left + 46, right)  # "base" stands before
    parts = []
    for i, source in enumerate(sources):
        y = top + i * step
        parts.append(svg.line(left, y, right, y, "grid"))
        parts.append(svg.text(left, y - 6, svg.shortened(source, 44), cls="muted"))
    foot = top + len(sources) * step
    parts.append(svg.text(right, top - 6, f"weight, 0 to {weight.high:.2g}", "end", "muted"))
    parts.append(svg.x_axis(loss, foot))
    for i in range(len(measured) - 1, -1, -1):
        m = measured[i]
        points = [(weight(m.weights.get(s, 0.0)), top + j * step) for j, s in enumerate(sources)]
        cls = "s0 dashed" if m.role == "base" else "s1" if i < 3 else "faint"
        parts.append(svg.curve([*points, (loss(m.loss or 0.0), foot)], cls))
    parts.append(svg.text(left, foot - 6, unit, cls="halo muted"))
    places = [(loss(m.loss or 0.0), foot) for m in measured]
    return "".join(parts) + _dots(measured, places), foot + 24
