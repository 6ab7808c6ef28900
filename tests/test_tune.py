"""What `tune` says of another threshold is what a run with it does."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.canaries import PROSE
from pipeline.build_config import ConfigError
from pipeline.cautions import cautions
from pipeline.cli import main
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.stages import run_pipeline
from pipeline.tune import tune
from pipeline.tune_rows import find_rules
from pipeline.tune_view import histogram_svg, render

RULE = "gopher_quality.too_few_words"


def table(shard: Path, min_words: int, audit: float) -> dict[str, Any]:
    steps = [
        {"use": "language"},
        {"use": "gopher_quality", "min_words": min_words},
        {"use": "fineweb", "min_terminal_line_fraction": 0.6, "max_short_line_fraction": 1.0},
    ]
    source = {"format": "table", "paths": [str(shard)], "id_column": "id", "steps": steps}
    return {"name": "t", "sources": {"web": source}, "audit_fraction": audit, "dedup": {}}


def run(shard: Path, out: Path, min_words: int = 30, audit: float = 0.0) -> dict[str, Any]:
    with connect("off") as cluster:
        return run_pipeline(parse(table(shard, min_words, audit)), str(out), cluster)


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    """300 texts of 5 to 80 words, a tenth German, a third without an end mark."""
    rng, texts = random.Random(5), []
    for i in range(300):
        words = PROSE.replace(".", "").split()
        rng.shuffle(words)
        text = " ".join(words[: 5 + i // 4]) + ("." if i % 3 else "")
        texts.append("Der Ausschuss traf sich am Dienstag um zu beraten." if i % 10 == 0 else text)
    path = tmp_path_factory.mktemp("shard") / "a.parquet"
    ids = [f"d{i:03}" for i in range(300)]
    pq.write_table(pa.table({"id": ids, "text": texts}), path)
    return path


def kept_at(report: dict[str, Any], threshold: float) -> tuple[int, int]:
    [row] = [row for row in report["table"] if row["threshold"] == threshold]
    return row["kept"], row["bytes"]


@pytest.mark.parametrize(("threshold", "audit"), [(60, 0.0), (30, 0.0), (30, 1.0), (15, 1.0)])
def test_kept_documents_and_bytes_are_those_of_a_run(shard, tmp_path, threshold, audit) -> None:
    run(shard, tmp_path / "a", audit=audit)
    [report] = tune(str(tmp_path / "a"), RULE, threshold)
    counts = run(shard, tmp_path / "b", threshold, audit)["stages"]["filter"]["web"]
    assert kept_at(report, threshold) == (counts["kept"], counts["bytes_kept"])
    assert report["change"] == f"--set sources.web.steps[1].min_words={threshold}"
    assert 20 < counts["kept"] < 200


def test_a_laxer_threshold_is_estimated_from_the_audited(shard, tmp_path) -> None:
    run(shard, tmp_path / "a", audit=0.4)
    [report] = tune(str(tmp_path / "a"), RULE, 15)
    behind, of = report["fails_behind"]
    assert 0 < behind < of
    real = run(shard, tmp_path / "b", 15)["stages"]["filter"]["web"]["kept"]
    assert abs(kept_at(report, 15)[0] - real) < 0.15 * real


def test_documents_that_left_before_are_not_measured(shard, tmp_path) -> None:
    manifest = run(shard, tmp_path, audit=0.0)
    removed = manifest["stages"]["filter"]["web"]["removed"]
    early = sum(n for rule, n in removed.items() if rule.startswith("language."))
    [report] = tune(str(tmp_path), RULE)
    assert early >= 30 and report["not_measured"] == early
    assert report["documents"] == 300 and report["audited_among_them"] == 0
    assert report["now"] == report["threshold"] == 30
    assert sum(report["histogram"]["counts"]) == 300 - early
    assert "none of these was audited" in render(report)


def test_samples_and_overlap(shard, tmp_path) -> None:
    run(shard, tmp_path, audit=1.0)
    [report] = tune(str(tmp_path), RULE, 30)
    values = [row["value"] for row in report["samples"]]
    assert values == sorted(values) and len(values) == 10
    assert [row["passes"] for row in report["samples"]] == [v >= 30 for v in values]
    texts = dict(zip(*pq.read_table(shard).to_pydict().values(), strict=True))
    assert all(texts[row["id"]].startswith(row["line"]) for row in report["samples"])
    overlap = report["overlap"]
    assert overlap["others"]["fineweb.too_few_terminal_lines"]["both"] > 5
    assert 0 < overlap["alone"] < overlap["fails"]
    assert RULE not in overlap["others"]


def test_the_command(shard, tmp_path, capsys) -> None:
    run(shard, tmp_path)
    svg = tmp_path / "h.svg"
    call = ["tune", str(tmp_path), "--rule", RULE, "--threshold", "20", "--svg", str(svg)]
    assert main([*call, "--json"]) == 0
    out = capsys.readouterr().out
    assert "--set 'sources.web.steps[1].min_words=20'" in out
    assert json.loads(out.splitlines()[-1])["reports"][0]["rule"] == RULE
    assert svg.read_text().count("<rect") == 21
    assert main(["tune", str(tmp_path), "--rule", "gopher_quality.too_few_word"]) == 2
    assert "Did you mean gopher_quality.too_few_words?" in capsys.readouterr().err
    assert main(["tune", str(tmp_path), "--rule", RULE, "--source", "wb"]) == 2
    assert main(["tune", str(tmp_path / "nothing"), "--rule", RULE]) == 2
    assert (
        main(["extract", str(shard), "--format", "table", "--out", f"{tmp_path}/e", "--ray", "off"])
        == 0
    )
    capsys.readouterr()
    assert main(["tune", f"{tmp_path}/e", "--rule", RULE]) == 2
    assert "no step of this run has a rule with a threshold" in capsys.readouterr().err


def test_every_rule_with_a_threshold_can_be_asked(shard, tmp_path) -> None:
    manifest = run(shard, tmp_path)
    names = ["language.low_language_score", "fineweb.no_line", "gopher_quality.words_too_long"]
    for name in names:
        [report] = tune(str(tmp_path), name)
        assert render(report) and histogram_svg(report).startswith("<svg")
    with pytest.raises(ConfigError, match="no rule with a threshold"):
        find_rules(manifest, "language.other_language", None)


def test_a_run_says_what_is_worth_a_look(shard, tmp_path, capsys) -> None:
    manifest = run(shard, tmp_path / "a", min_words=75)
    source = parse(table(shard, 75, 0.0))
    found = cautions(source, manifest["stages"])
    assert found == manifest["warnings"]
    assert any("gopher_quality.too_few_words removed" in line for line in found)
    assert any("removed none of 300 documents" in line for line in found)
    assert any("records are kept" in line for line in found)
    assert not [line for line in found if "language.low_language_score removed" in line]
