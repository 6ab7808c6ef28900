"""The loss curves of a training run as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np

from train import svg

WIDTH, HEIGHT = 680, 400
LEFT, RIGHT, TOP, BOTTOM = 44, WIDTH - 120, 64, HEIGHT - 44
LABEL_LINE, MOST_POINTS = 13, 1000


def loss_svg(log: Sequence[dict], title: str) -> str:
    """Loss in nats a token of steps 1, 2, ..., from the lines of metrics.jsonl: each step's, moving
    averages over a tenth of the steps of it and of each source's, and that of held-out rows as
    markers in the colour of their source."""
    losses = [line["loss"] for line in log]
    trained, held_out = _by_name(log, "loss_by_source"), _by_name(log, "eval_loss")
    curves = {"all": smooth(losses)} | {name: smooth(trained[name]) for name in trained}
    names = ["all", *sorted({*trained, *held_out} - {"all"})]
    shown = [v for values in (losses, *curves.values(), *held_out.values()) for v in values]
    x = svg.Scale(1, max(len(losses), 2), LEFT, RIGHT)
    y = svg.padded([v for v in shown if v is not None], BOTTOM, TOP)
    parts = [svg.x_axis(x, BOTTOM, "step"), svg.y_axis(y, LEFT, grid_to=RIGHT)]
    parts.append(svg.text(6, TOP - 10, "nats a token", cls="muted"))
    parts.append(svg.curve(_points(losses, x, y), "faint"))
    ends = {}
    for name in names:
        line, dots = (_points(values.get(name, []), x, y) for values in (curves, held_out))
        series, marker = _look(names.index(name))
        parts.append(svg.curve(line, series))
        parts += [svg.marker(marker, *at, f"{series} open", 3) for at in dots]
        ends[name] = (line or dots)[-1][1]
    return svg.standalone(
        WIDTH, HEIGHT, "".join([*parts, _labels(ends, held_out), _key(held_out)]), title
    )


def _by_name(log: Sequence[dict], key: str) -> dict[str, list[float | None]]:
    """The losses of each step by name, None where a step has none."""
    names = sorted({name for line in log for name in line.get(key, {})})
    return {name: [line.get(key, {}).get(name) for line in log] for name in names}


def _look(i: int) -> tuple[str, str]:
    """Class and marker. After six colours (the first is for all sources together) they come again
    in wide pale lines, with other markers."""
    again, colour = divmod(i - 1, svg.SERIES - 1)
    series = "s0" if i == 0 else f"s{colour + 1}"
    return series + " wide" * (again > 0), svg.MARKERS[i % len(svg.MARKERS)]


def _labels(ends: Mapping[str, float], held_out: Mapping[str, Sequence]) -> str:
    """Names right of the curves, near their ends."""
    parts = []
    places = svg.spread(list(ends.values()), LABEL_LINE, TOP, BOTTOM)
    for i, (name, y) in enumerate(zip(ends, places, strict=True)):
        series, marker = _look(i)
        if name in held_out:
            parts.append(svg.marker(marker, RIGHT + 11, y, f"{series} open", 3))
        parts.append(svg.text(RIGHT + 20, y + 4, svg.shortened(name, 15), cls=series))
    return "".join(parts)


def _key(held_out: Mapping[str, Sequence]) -> str:
    """What lines and markers are, above the curves."""
    y, parts = TOP - 14, []
    for at, series, meaning in (
        (LEFT + 60, "faint", "a step"),
        (LEFT + 140, "s0", "mean over a tenth of the steps"),
    ):
        parts.append(svg.line(at, y, at + 16, y, f"line {series}"))
        parts.append(svg.text(at + 21, y + 4, meaning, cls="muted"))
    if held_out:
        parts.append(svg.marker("circle", LEFT + 368, y, "s0 open", 3))
        parts.append(svg.text(LEFT + 377, y + 4, "held out", cls="muted"))
    return "".join(parts)


def _points(
    values: Sequence[float | None], x: svg.Scale, y: svg.Scale
) -> list[tuple[float, float]]:
    """Of long runs the least and the largest value of every few steps."""
    known = [(step, v) for step, v in enumerate(values, 1) if v is not None]
    size = -(-len(known) // MOST_POINTS)
    out: list[tuple[float, float]] = []
    for i in range(0, len(known), max(size, 1)):
        part = known[i : i + size]
        ends = {f(part, key=lambda point: point[1]) for f in (min, max)}
        out += [(x(step), y(v)) for step, v in sorted(ends)]
    return out


def smooth(values: Sequence[float | None]) -> list[float | None]:
    """Means over a tenth of them, half before and half after, so that a falling curve stays in its
    place; a step without a value has none."""
    half = len(values) // 20
    known = np.array([v is not None for v in values], bool)
    sums = np.cumsum([0.0, *(v or 0.0 for v in values)])
    counts = np.cumsum([0, *known])
    at = np.arange(len(values))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    means = (sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1)
    return [float(mean) if there else None for mean, there in zip(means, known, strict=True)]
