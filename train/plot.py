"""The loss curves of a training run as a picture."""

from collections.abc import Sequence

from train import svg

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 48, WIDTH - 96, 40, HEIGHT - 44


def loss_svg(log: Sequence[dict], title: str) -> str:
    """Loss in nats a token of steps 1, 2, ..., from the lines of metrics.jsonl: each step's, and
    moving averages over a tenth of the steps of it and of each source's."""
    losses = [line["loss"] for line in log]
    names = sorted({name for line in log for name in line.get("loss_by_source", {})})
    curves = {
        name: smooth([line.get("loss_by_source", {}).get(name) for line in log]) for name in names
    }
    curves["all"] = smooth(losses)
    shown = [v for values in (losses, *curves.values()) for v in values if v is not None]
    x = svg.Scale(1, max(len(losses), 2), LEFT, RIGHT)
    y = svg.padded(shown, BOTTOM, TOP)
    parts = [svg.x_axis(x, BOTTOM, "step"), svg.y_axis(y, LEFT, grid_to=RIGHT)]
    parts.append(svg.curve(_points(losses, x, y), "faint"))
    ends = [_points(values, x, y)[-1][1] for values in curves.values()]
    places = svg.spread(ends, 13, TOP, BOTTOM)
    for i, (name, values) in enumerate(curves.items()):
        series = "s0" if name == "all" else f"s{i % (svg.SERIES - 1) + 1}"
        parts.append(svg.curve(_points(values, x, y), series))
        parts.append(svg.text(RIGHT + 6, places[i] + 4, svg.shortened(name, 14), cls=series))
    return svg.standalone(WIDTH, HEIGHT, "".join(parts), title)


def _points(
    values: Sequence[float | None], x: svg.Scale, y: svg.Scale
) -> list[tuple[float, float]]:
    return [(x(step), y(v)) for step, v in enumerate(values, 1) if v is not None]


def smooth(values: Sequence[float | None]) -> list[float | None]:
    """Means over a tenth of them; a step without a value has none."""
    window = max(1, len(values) // 10)
    out: list[float | None] = []
    for i, value in enumerate(values):
        part = [v for v in values[max(0, i - window + 1) : i + 1] if v is not None]
        out.append(None if value is None else sum(part) / len(part))
    return out
