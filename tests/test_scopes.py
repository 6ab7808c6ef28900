"""Duplicates within a scope only, and several scopes compared."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dedup.scopes import scope_values, within
from pipeline.build_config import ConfigError
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.stages import run_pipeline
from pipeline.summary import render_summary
from tests.test_dedup_stages import words
from tests.test_pipeline import rows_of, write_jsonl

TEXT = " ".join(words(1, 60))
NEAR = TEXT.rsplit(" ", 1)[0] + " another"


def run(out: Path, **dedup) -> dict:
    """Copies in two sources, two dumps; of the same text and of one that is near it."""
    rows = {
        "a": [("a-1", TEXT + " longest", "x"), ("a-2", TEXT, "y"), ("a-3", TEXT, "y")],
        "b": [("b-1", TEXT, "x"), ("b-2", NEAR, "x"), ("b-3", NEAR, None), ("b-4", NEAR, None)],
    }
    sources = {}
    for name, documents in rows.items():
        path = out / "in" / f"{name}.jsonl"
        write_jsonl(path, [{"id": i, "text": t, "dump": d} for i, t, d in documents])
        sources[name] = {"format": "table", "paths": [str(path)]}
    sections = {"exact": {}, "minhash": {"recall": 0.999}, "partitions": 3, **dedup}
    sections = {name: section for name, section in sections.items() if section is not None}
    with connect("off") as cluster:
        config = parse({"name": "t", "sources": sources, "dedup": sections})
        return run_pipeline(config, str(out / "out"), cluster)


def removed(out: Path) -> dict[str, str]:
    return {row["id"]: row["matched_id"] for row in rows_of(out / "out", "removed")}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("global", dict.fromkeys(("a-2", "a-3", "b-1", "b-2", "b-3", "b-4"), "a-1")),
        ("source", {"a-2": "a-1", "a-3": "a-1"} | {f"b-{i}": "b-1" for i in (2, 3, 4)}),
        ("meta.dump", {"a-3": "a-2", "b-1": "a-1", "b-2": "a-1", "b-4": "b-3"}),
        ("meta.nothing", dict.fromkeys(("a-2", "a-3", "b-1", "b-2", "b-3", "b-4"), "a-1")),
    ],
)
def test_documents_go_for_one_of_their_own_scope(tmp_path, scope, expected):
    run(tmp_path, scope=scope)
    assert removed(tmp_path) == expected


@pytest.mark.parametrize("section", [{"ngrams": {"words": 20}}, {"paragraphs": {}}])
def test_repeats_are_those_of_their_own_scope(tmp_path, section):
    run(tmp_path, exact=None, minhash=None, scope="source", **section)
    expected = {"a-2": "a-1", "a-3": "a-1"} | {f"b-{i}": "b-1" for i in (2, 3, 4)}
    assert removed(tmp_path) == expected


def test_scopes_are_compared_and_one_is_applied(tmp_path):
    manifest = run(tmp_path / "one", scope="source", compare_scopes=["global", "meta.dump"])
    run(tmp_path / "two", scope="source")
    assert removed(tmp_path / "one") == removed(tmp_path / "two")
    found = {scope: row["removed"] for scope, row in manifest["dedup"]["scopes"].items()}
    assert found == {"source": 5, "global": 6, "meta.dump": 4}
    row = manifest["dedup"]["scopes"]["meta.dump"]
    sizes = {"a-3": TEXT, "b-1": TEXT, "b-2": NEAR, "b-4": NEAR}
    assert row == {
        "removed": 4,
        "removed_bytes": sum(len(text) for text in sizes.values()),
        "also_removed_by": {"source": 3, "global": 4},  # not b-1, the first of its source
        "applied": False,
    }
    summary = render_summary(manifest)
    assert "source (applied)" in summary and "global 4" in summary
    assert manifest["dedup"]["minhash"]["candidate_pairs"] > 0


def test_keys_of_two_scopes_are_never_equal():
    docs = pa.table({"source": ["a", "b", "a", None, ""]})
    values = scope_values(docs, "source")
    assert values is not None and len(set(values.tolist())) == 3  # no value is the empty one
    rows = pa.table(
        {
            "key": pa.array([7] * 5, pa.uint64()),
            "doc": pa.array(range(10, 15), pa.uint64()),
            "x": list("vwxyz"),
        }
    )
    key = within(rows, values, 10)["key"].to_numpy()
    assert key[0] == key[2] and key[3] == key[4] and len(np.unique(key)) == 3
    assert within(rows, None, 10) is rows
    assert scope_values(docs, "global") is None


@pytest.mark.parametrize(
    ("dedup", "mistake"),
    [
        ({"scope": "sources"}, "dedup.scope: no such scope 'sources'. Did you mean source?"),
        ({"compare_scopes": ["language.label"]}, "dedup.compare_scopes: no such scope"),
        ({"exact": {}, "paragraphs": {}, "segments": {}}, "dedup.paragraphs: stands beside"),
    ],
)
def test_mistakes_are_found_at_load(dedup, mistake):
    source = {"format": "table", "paths": ["x.jsonl"]}
    with pytest.raises(ConfigError, match=mistake):
        parse({"name": "t", "sources": {"s": source}, "dedup": dedup})
    with pytest.raises(ConfigError, match="neither is asked for"):
        parse({"name": "t", "sources": {"s": source}, "dedup": {"compare_scopes": ["source"]}})
