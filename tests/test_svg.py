"""Parts of pictures: round ticks, labels apart, escaped text."""

import xml.etree.ElementTree as ET

import pytest

from train import svg


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-0.05, 0.1, ["\u22120.05", "0.00", "0.05", "0.10"]),
        (1, 120, ["25", "50", "75", "100"]),
        (0, 3e6, ["0", "1M", "2M", "3M"]),
    ],
)
def test_ticks_are_round(low, high, expected):
    at = svg.ticks(low, high)
    assert [svg.tick_label(v, at[1] - at[0]) for v in at][-len(expected) :] == expected


def test_scales_of_nothing_and_of_one_value():
    assert svg.padded([], 0, 100)(0.0) == pytest.approx(50)
    assert svg.padded([5.0, float("nan")], 0, 100)(5.0) == pytest.approx(50)
    assert svg.ticks(1, 1) == [1]


def test_labels_stand_apart_in_their_order():
    assert svg.spread([10, 11, 50], 12, 0, 100) == [10, 22, 50]
    assert svg.spread([99, 98], 12, 0, 100) == [100, 88]
    crowded = svg.spread([5.0] * 30, 12, 0, 100)
    assert crowded == sorted(crowded) and crowded[0] >= -1e-9 and crowded[-1] <= 100 + 1e-9


def test_names_are_escaped_and_shortened():
    picture = svg.picture(10, 10, svg.text(0, 0, "<a&b>"), 'say "x"', "<d>")
    root = ET.fromstring(picture)
    assert [node.text for node in root] == ['say "x"', "<d>", "<a&b>"]
    assert svg.shortened("abcdefgh", 5) == "ab\u2026gh" and svg.shortened("abc", 5) == "abc"


def test_every_marker_is_drawn():
    for kind in (*svg.MARKERS, "star"):
        ET.fromstring(svg.picture(20, 20, svg.marker(kind, 10, 10, "s1"), kind))
