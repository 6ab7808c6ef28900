"""The page of a run: its figures are the manifest's, hostile text stays text, damage is said."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.report.run import page
from tests import browser

HOSTILE = '</script><img src=x onerror="alert(1)"><!-- &amp; \u202e'
PROSE = "The keeper of the lighthouse wrote that the storm had taken the boats of the village. "


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven lines: two kept, one with an exact and a near copy, two too short, one no JSON."""
    root = tmp_path_factory.mktemp("run")
    two = " ".join(f"{PROSE}It was day {i}." for i in range(20))
    texts = [PROSE * 12 + "One.", two, two, two + " And no more.", HOSTILE, "too short"]
    lines = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (root / "in.jsonl").write_text("\n".join([*lines, "{"]) + "\n")
    (root / "run.toml").write_text(
        f"""name = "tiny <run>"
[sources.notes]
format = "table"
paths = ["{root}/in.jsonl"]
id_column = "id"
steps = [{{ use = "gopher_quality", min_words = 20 }}]
[dedup.exact]
[dedup.minhash]
"""
    )
    out = root / "out"
    assert main(["run", str(root / "run.toml"), "--out", str(out), "--ray", "off"]) == 0
    return out


def words(html: str) -> str:
    return " ".join(
        unescape(re.sub(r"<(style|svg).*?</\1>|<[^>]+>", " ", html, flags=re.S)).split()
    )


def test_a_run_leaves_its_page(done):
    html = (done / "report.html").read_text()
    assert html == page(str(done))
    found = words(html)
    assert "tiny <run>" in found
    assert "7 records in: 2 kept (28.6%), 4 removed, 1 lost." in found
    manifest = json.loads((done / "manifest.json").read_text())
    assert manifest["corpus_digest"] in found
    assert re.search(r"too_ ?few_ ?words 20 2 notes 2", found)
    assert re.search(r"exact_ ?duplicate 0.8 1 notes 1", found)
    assert re.search(r"bands of \d rows proposed 1 pair, 1 of them similar, in 1 cluster", found)
    assert "95% interval" in found
    assert "bad_json notes 1 lost" in found
    assert "min_words" in found and "pyarrow" in found


def test_samples_are_escaped(done):
    html = (done / "report.html").read_text()
    assert "<img" not in html and "<script" not in html and "</script" not in html
    assert "&lt;/script&gt;&lt;img src=x onerror=" in html
    assert "like d" in html  # the copy names what it matches


def test_the_command_and_what_it_says_of_damage(done, tmp_path, capsys):
    assert main(["report", str(done), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["report"].endswith("report.html")
    assert main(["report", str(tmp_path)]) == 2
    assert "no manifest.json; it is not the output of a finished run" in capsys.readouterr().err
    for text in ("{", "[]", '{"stages": []}'):
        (tmp_path / "manifest.json").write_text(text)
        assert main(["report", str(tmp_path)]) == 2
        assert "manifest.json: damaged, or not a manifest of a run" in capsys.readouterr().err


def test_damaged_tables_are_named_on_the_page(done, tmp_path):
    (tmp_path / "manifest.json").write_bytes((done / "manifest.json").read_bytes())
    (tmp_path / "removed" / "notes").mkdir(parents=True)
    (tmp_path / "removed" / "notes" / "filter-x.parquet").write_bytes(b"PAR1 no table")
    found = words(page(str(tmp_path)))
    assert "removed/notes/filter-x.parquet could not be read" in found
    assert "7 records in: 2 kept" in found


def test_in_a_browser(done, tmp_path):
    copy = tmp_path / "report.html"
    copy.write_text((done / "report.html").read_text())
    found = browser.check(copy, 390)
    assert (found["faults"], found["requests"], found["wide"]) == ([], 0, [])
    assert found["scroll"] == 390 and found["smallest"] > 10
