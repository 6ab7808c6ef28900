"""The page of an ablation: its words, its degenerate cases, and how it looks in a browser."""

import json
import math
import re
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.ablation.tables import write
from pipeline.cli import main
from pipeline.report.ablation import page, write_page
from pipeline.report.ablation_plots import binned, curves, windows
from tests import browser
from tests.ablation_example import example

ALL = ("base", "more-books", "no-arxiv", "control")


def made(directory: Path, **settings) -> str:
    write(str(directory), example(directory, **settings))
    return page(str(directory))


def words(html: str) -> str:
    return " ".join(
        unescape(re.sub(r"<(style|svg).*?</\1>|<[^>]+>", " ", html, flags=re.S)).split()
    )


def test_verdicts_come_first_in_words(tmp_path):
    found = words(made(tmp_path))
    assert "2 arms and a control against the base · 3 seeds · tiny model" in found
    assert "The control was found worse on all 5 measures" in found
    assert re.search(r"more-books : .*no difference shown on the other \d", found)
    assert found.index("no difference shown") < found.index("Arms against the base")
    for row in pq.read_table(tmp_path / "verdicts.parquet").to_pylist():
        assert row["word"] in found
        assert f"{row['difference']:+.3f}".replace("-", "\u2212")[:-1] in found


def test_what_no_arm_was_trained_on(tmp_path):
    found = words(made(tmp_path))
    assert "no-arxiv 270 12 3 " in found
    assert "quiz no-arxiv 3 75% quiz.jsonl/2 web/page-9" in found
    (tmp_path / "ablation.json").write_text("{}")
    assert "How it was done" not in page(str(tmp_path))


def test_a_source_that_is_not_in_every_step_has_a_mean_over_the_seeds():
    """Of 120 steps, every third or fourth: each picture shows as many windows as all can fill."""
    seeds = {k: [(float(s), 3.0 + k) for s in range(31 + k, 121, 3 + k)] for k in (0, 1)}
    assert windows(list(seeds.values()), 120) == 30
    assert windows([[(s, 1.0) for s in range(1, 121)]], 120) == 60
    assert windows([[(31, 1.0), (120, 1.0)]], 120) == 4
    assert binned([(31, 1.0), (32, 3.0), (33, math.inf), (34, 5.0)], 120, 60) == [
        (31.5, 2.0), (33.5, 5.0)]  # fmt: skip
    picture = curves({"base": seeds}, {"base": "s0"}, "t")
    lines = re.findall(r'<polyline points="([^"]*)" class="line( thin)? s0"', picture)
    points = [[tuple(map(float, p.split(","))) for p in line.split()] for line, _ in lines]
    assert [bool(thin) for _, thin in lines] == [True, True, False]
    assert len(points[2]) > 20 and {x for x, _ in points[2]} <= {x for x, _ in points[0]}
    assert points[0][0][1] > points[2][0][1] > points[1][0][1]  # between the two
    assert max(x for line in points for x, _ in line) <= 360 - 92


def test_pictures_are_svg_with_names_and_descriptions(tmp_path):
    html = made(tmp_path, draws=12, law=True)
    pictures = re.findall(r"<svg.*?</svg>", html, flags=re.S)
    assert len(pictures) == 5 + 4 + 1 + 2  # forests, curves, mixtures, laws
    for picture in pictures:
        root = ET.fromstring(picture)
        assert root.get("role") == "img" and root.get("aria-label")
        assert "nan" not in picture and "inf," not in picture
    assert "script" not in html and "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert html.count("<details>") >= 3


def test_a_control_that_is_not_worse_is_said(tmp_path):
    plan = example(tmp_path)
    for seed in range(3):
        path = tmp_path / "trials" / "control" / f"seed-{seed}" / "result.json"
        result = json.loads(path.read_text())
        base = json.loads(
            (tmp_path / "trials" / "base" / f"seed-{seed}" / "result.json").read_text()
        )
        result["measures"]["bits_per_byte/web"] = base["measures"]["bits_per_byte/web"] + seed % 2
        path.write_text(json.dumps(result))
    judgement = write(str(tmp_path), plan)
    about = json.loads((tmp_path / "ablation.json").read_text())
    (tmp_path / "ablation.json").write_text(json.dumps(about | {"notes": judgement.notes}))
    found = words(page(str(tmp_path)))
    assert "could not see everything: the control was not found worse on web." in found
    assert found.count("could not see") == 1  # not again as a note


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"arms": ("x",), "seeds": (0,), "control": False, "sources": ("web",), "task": False},
            ["1 arm against the base · one seed", "one seed: no verdict", "There is no control"],
        ),
        (
            {"diverged": frozenset((arm, s) for arm in ALL for s in range(3))},
            ["diverged with seed 0, 1, 2: no verdict", "This ablation could not see"],
        ),
        (
            {"diverged": frozenset({("base", 1)})},
            ["The base diverged with seed 1: left out for all arms"],
        ),
        (
            {"arms": tuple(f"arm-{i}" for i in range(40))},
            [
                "40 arms and a control",
                "more arms differ on some measure",
                "All verdicts in a table",
            ],
        ),
        ({"sources": ("web",)}, ["All arms have the same mixture."]),
        ({"sources": ("a", "b")}, ["Numbers rank the mixtures"]),
        ({"sources": ("a", "b", "c", "d", "e")}, ["Numbers rank the mixtures"]),
        ({"arms": (), "control": False}, ["No verdict yet"]),
    ],
)
def test_degenerate_ablations(tmp_path, settings, expected):
    html = made(tmp_path, **settings)
    found = words(html)
    for text in expected:
        assert text in found
    for picture in re.findall(r"<svg.*?</svg>", html, flags=re.S):
        ET.fromstring(picture)
        assert "nan" not in picture


def test_nothing_is_finished_yet(tmp_path):
    plan = example(tmp_path, seeds=())
    write(str(tmp_path), plan | {"seeds": [0]})
    assert "No trial is finished yet." in words(page(str(tmp_path)))


def test_hostile_names_are_escaped(tmp_path):
    name = '</script><img src=x onerror="alert(1)">&'
    html = made(tmp_path, arms=("more-books",), sources=("web", f"b{name}"), draws=4)
    assert "<img" not in html and "</script" not in html
    assert "&lt;img src=x onerror=" in html


def test_a_missing_or_damaged_table_is_one_line(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"trials.parquet: no such table"):
        page(str(tmp_path))
    made(tmp_path)
    (tmp_path / "law.parquet").write_bytes(b"PAR1")
    assert main(["report", str(tmp_path)]) == 1
    assert "law.parquet: damaged" in capsys.readouterr().err


def test_the_command_writes_the_page(tmp_path, capsys):
    html = made(tmp_path)
    assert main(["report", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ok"]
    assert (tmp_path / "ablation.html").read_text() == html


def test_in_a_browser(tmp_path):
    made(tmp_path, draws=10, law=True)
    path = Path(write_page(str(tmp_path)))
    found = browser.check(path, 390)
    assert (found["faults"], found["requests"], found["wide"]) == ([], 0, [])
    assert (found["inner"], found["scroll"]) == (390, 390)
    assert found["texts"] > 100 and found["smallest"] > 10  # pixels: readable as it is
    assert browser.screenshot(path.with_name("frame.html"), 600, 900) > 200  # 390 wide in there
    assert browser.screenshot(path, 1200, 1800) > 500
    assert 2 <= browser.pages_of_pdf(path) <= 12


@pytest.mark.slow
def test_forty_long_names_on_a_phone(tmp_path):
    arms = tuple(f"an-arm-with-a-rather-long-name-that-goes-on-{i:02d}" for i in range(40))
    sources = ("arxiv", "books", "code", "a_source_with_a_very_long_name_without_spaces_" * 3)
    made(tmp_path, arms=arms, sources=sources)
    found = browser.check(Path(write_page(str(tmp_path))), 390)
    assert (found["faults"], found["wide"], found["scroll"]) == ([], [], 390)
