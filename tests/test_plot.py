"""The loss curves: what is drawn where, of runs short and long."""

import random
import re
import xml.etree.ElementTree as ET

import pytest

from train import plot
from train.plot import loss_svg, smooth

NS = "{http://www.w3.org/2000/svg}"


def drawn(log):
    """Points of each line by its class, texts, and classes of open markers."""
    root = ET.fromstring(loss_svg(log, "T <1>"))
    lines = {
        e.get("class"): [tuple(map(float, p.split(","))) for p in e.get("points").split()]
        for e in root.iter(f"{NS}polyline")
    }
    markers = [e.get("class") for e in root.iter() if " open" in (e.get("class") or "")]
    return lines, [e.text for e in root.iter(f"{NS}text")], markers


def line(step, loss, **more):
    return {"step": step, "loss": loss, **more}


def test_held_out_losses_are_markers_in_their_source_s_colour():
    log = [
        line(1, 4.0, loss_by_source={"a": 4.0, "b": 5.0}),
        line(2, 3.0, loss_by_source={"a": 3.0}, eval_loss={"a": 3.5, "other": 6.0}),
        line(3, 2.0, loss_by_source={"a": 2.0, "b": 3.0}, eval_loss={"a": 2.5, "other": 5.0}),
    ]
    lines, texts, markers = drawn(log)
    assert lines.keys() == {"line faint", "line s0", "line s1", "line s2"}
    assert len(lines["line faint"]) == 3 and len(lines["line s2"]) == 2
    assert {"nats a token", "step", "held out", "all", "a", "b", "other", "T <1>"} <= set(texts)
    # two evaluations and the label of each, and the key's
    assert sorted(markers) == ["dot s0 open", *["dot s1 open"] * 3, *["dot s3 open"] * 3]
    y = [at[1] for at in lines["line faint"]]
    assert y == sorted(y)  # down the page


def test_nothing_held_out_and_a_run_of_one_step():
    lines, texts, markers = drawn([line(1, 4.0)])
    assert lines.keys() == {"line faint", "line s0"}
    assert "held out" not in texts and not markers


def test_more_sources_than_colours_look_different():
    names = [f"source {i}" for i in range(9)]
    losses = {name: 3.0 + i for i, name in enumerate(names)}
    lines, texts, _ = drawn([line(i, 4.0, loss_by_source=losses) for i in (1, 2)])
    assert len(lines) == 2 + len(names) and set(names) <= set(texts)
    looks = [plot._look(i) for i in range(13)]
    assert len({series for series, _ in looks}) == 13 and len(set(looks)) == 13


def test_a_long_run_is_a_small_picture_that_shows_its_spikes():
    draw = random.Random(0)
    log = [line(i, 3.0 + draw.random() / 100) for i in range(1, 50_001)]
    log[33_333]["loss"] = 9.0
    picture = loss_svg(log, "")
    assert len(picture) < 100_000
    [faint] = re.findall(r'<polyline points="([^"]*)" class="line faint"', picture)
    heights = [float(point.split(",")[1]) for point in faint.split()]
    assert len(heights) <= 2 * plot.MOST_POINTS
    assert min(heights) < sorted(heights)[1] - 200


def test_means_stay_in_their_place():
    assert smooth([]) == [] and smooth([5.0]) == [5.0]
    falling = [float(-i) for i in range(40)]
    assert smooth(falling)[2:-2] == pytest.approx(falling[2:-2])
    values = [None if i % 3 else float(i * i) for i in range(60)]
    found = smooth(values)
    for i, value in enumerate(values):
        near = [v for v in values[max(0, i - 3) : i + 4] if v is not None]
        assert found[i] == (None if value is None else pytest.approx(sum(near) / len(near)))
