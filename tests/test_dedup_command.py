"""corpusmill dedup: what its options ask for."""

import json
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.test_dedup_stages import words
from tests.test_pipeline import rows_of, write_jsonl

FOOTER = " ".join(words(9, 20))


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    """a and b share a hash and a line; c is a's text; d has a line of it."""
    path = tmp_path_factory.mktemp("in") / "in.jsonl"
    a = " ".join(words(1, 30)) + "\n" + FOOTER
    rows = [
        {"id": "a", "text": a, "url": "http://x.org/1", "sha1": "s", "lang": "en"},
        {"id": "b", "text": " ".join(words(2, 29)) + "\n" + FOOTER, "sha1": "s", "lang": "de"},
        {"id": "c", "text": a, "url": "http://x.org/2", "sha1": "t", "lang": "de"},
        {"id": "d", "text": " ".join(words(3, 80)), "url": "http://x.org/1", "lang": None},
    ]
    write_jsonl(path, rows)
    return path


def run(shard: Path, out: Path, *options: str) -> dict[str, tuple[str, str | None]]:
    """id -> (rule, matched_id) of what went."""
    command = ["dedup", str(shard), "--out", str(out), "--ray", "off", *options]
    assert main([*command, "--set", "partitions=2"]) == 0
    return {row["id"]: (row["rule"], row["matched_id"]) for row in rows_of(out, "removed")}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"c": ("dedup.exact_duplicate", "a")}),
        (["--by", "url", "--exact-only"], {"a": ("dedup.same_url", "d")}),
        (["--by", "meta.sha1", "--exact-only"], {"b": ("dedup.same_value", "a")}),
        (["--scope", "meta.lang"], {}),
        (
            ["--set", "exact.normalize=words", "--characters", "24"],
            {"c": ("dedup.exact_duplicate", "a")},
        ),
        (
            ["--repeated-fraction", "0.3"],
            {"b": ("dedup.repeated_document", "a"), "c": ("dedup.exact_duplicate", "a")},
        ),
    ],
)
def test_what_goes(shard, tmp_path, options, expected):
    assert run(shard, tmp_path, *options) == expected


@pytest.mark.parametrize("options", [["--ngram-words", "15"], ["--unit", "line"]])
def test_what_is_cut(shard, tmp_path, options):
    run(shard, tmp_path, *options, "--exact-only", "--set", "scope=source")
    texts = {row["id"]: row["text"] for row in rows_of(tmp_path, "documents")}
    removed = {row["id"]: row for row in rows_of(tmp_path, "removed")}
    assert FOOTER in texts["a"] or FOOTER in texts["d"]
    assert removed["b"]["rule"].startswith("dedup.repeated_")  # 29 words are left, of 50
    assert (removed["b"]["value"], removed["b"]["threshold"]) == (29, 50)


def test_the_options_reach_the_configuration(shard, tmp_path, capsys):
    options = ["--similarity", ".7", "--recall", ".9", "--bits", "64", "--compare-scopes", "source"]
    run(shard, tmp_path, *options, "--set", "minhash.permutations=64", "--repeated-fraction", ".5")
    dedup = json.loads((tmp_path / "manifest.json").read_text())["config"]["dedup"]
    near = dedup["minhash"]
    found = [near[key] for key in ("similarity", "recall", "bits", "permutations")]
    assert found == [0.7, 0.9, 64, 64]
    assert dedup["compare_scopes"] == ["source"]
    assert dedup["paragraphs"]["min_repeated_fraction"] == 0.5
    assert "global (applied)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        (["--exact-only", "--recall", ".9"], "--recall: not with --exact-only"),
        (["--scope", "sources"], "dedup.scope: no such scope 'sources'. Did you mean source?"),
        (["--by", "sha1"], "dedup.exact.by: no such column 'sha1'"),
        (["--set", "minhash.bands=3"], "dedup.minhash.bands: dedup.minhash has no such key"),
        (["--unit", "line", "--index", "i"], "dedup.segments: an index has no texts to cut"),
    ],
)
def test_mistakes(shard, tmp_path, capsys, options, mistake):
    command = ["dedup", str(shard), "--out", str(tmp_path / "out"), "--ray", "off", *options]
    assert main(command) == 2
    assert mistake in capsys.readouterr().err
