"""The total order, and exact methods and preferences through a whole run."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.build_config import ConfigError
from pipeline.config import parse
from pipeline.exchange.equal import gone_partition, still_there, write_fates
from pipeline.exchange.sign import total_order
from pipeline.executor import connect
from pipeline.parts import Part
from pipeline.schema import FATE
from pipeline.stages import run_pipeline
from tests.test_pipeline import rows_of


def test_the_order_is_priority_then_signal_then_length():
    values = [None, float("nan"), float("-inf"), -2.0, -1e-9, -0.0, 0.0, 0.5, 0.9, 300.0]
    table = pa.table({"text": ["x"] * 10, "s": values})
    order = total_order(table, 1, "s")
    assert order.dtype == np.uint64
    assert order[0] == order[1] and order[5] == order[6]
    assert sorted(set(order.tolist()), reverse=True) == list(dict.fromkeys(order.tolist()))
    assert total_order(table, 0, "s").max() < order.min()
    lengths = pa.table({"text": ["", "aa", None, "aaa"], "s": [0.5, 0.5, 0.5, 0.4]})
    a, b, c, d = total_order(lengths, 0, "s").tolist()
    assert b < a == c < d
    a, b, c, d = total_order(lengths, 0, "").tolist()
    assert d < b < a == c


@settings(deadline=None, max_examples=30)  # kernels are compiled at the first call
@given(
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 40))),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 60))),
    st.integers(1, 4),
)
def test_a_bit_a_document_tells_what_is_gone(removed, asked, partitions):
    with tempfile.TemporaryDirectory() as root:
        fates, gone = [], []
        for half in (0, 1):  # of two earlier exchanges
            docs = pa.array([p << 32 | r for p, r in sorted(removed) if r % 2 == half], pa.uint64())
            columns = {f.name: pa.nulls(len(docs), f.type) for f in FATE}
            part = Part(root, "exact", f"k{half}", f"l{half}")
            write_fates(part, pa.table(columns | {"doc": docs, "matched": docs}), partitions)
            fates.append(part.commit({})["files"]["fates"]["path"])
        for p in range(partitions):
            part = Part(root, "gone", f"k{p}", f"l{p}")
            gone_partition(part, fates, p, partitions)
            gone.append(part.commit({})["files"]["gone"]["path"])
        rows = pa.table({"doc": pa.array([p << 32 | r for p, r in asked], pa.uint64())})
        there = still_there(rows, root, gone)["doc"].to_pylist()
        assert there == [p << 32 | r for p, r in asked if (p, r) not in removed]
        assert still_there(rows, root, []) is rows


def run(out: Path, rows: list[dict], **dedup) -> tuple[list[str], dict[str, dict]]:
    """(ids kept, removed rows by id)."""
    out.mkdir(parents=True, exist_ok=True)
    shard = out / "in.jsonl"
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    limits = {"min_words": 0, "min_stop_words": 0, "min_mean_word_length": 0}
    step = {"use": "gopher_quality", **limits}
    source = {"format": "table", "paths": [str(shard)], "steps": [step]}
    table = {"name": "t", "sources": {"s": source}, "dedup": {"partitions": 2, **dedup}}
    with connect("off") as cluster:
        run_pipeline(parse(table), str(out / "out"), cluster)
    kept = sorted(row["id"] for row in rows_of(out / "out", "documents"))
    return kept, {row["id"]: row for row in rows_of(out / "out", "removed")}


def test_one_document_of_a_url_is_kept(tmp_path):
    rows = [
        {"id": "a", "text": "the first page of it", "url": "http://a.b/"},
        {"id": "b", "text": "the first page of it, longer", "url": "https://www.a.b"},
        {"id": "c", "text": "the other page of it", "url": "https://a.b/c"},
        {"id": "d", "text": "no address", "url": None},
        {"id": "e", "text": "no address", "url": None},
    ]
    kept, removed = run(tmp_path, rows, exact={"by": "url"})
    assert kept == ["b", "c", "d", "e"]
    gone = removed["a"]
    assert (gone["rule"], gone["matched_id"], gone["similarity"]) == ("dedup.same_url", "b", None)


def test_the_preferred_signal_comes_before_length(tmp_path):
    rows = [
        {"id": "a", "text": "a b c d e", "url": "http://a.b/"},
        {"id": "b", "text": "aaaa bbbb cccc", "url": "http://a.b/"},
    ]
    by_url = {"by": "url"}
    assert run(tmp_path / "length", rows, exact=by_url)[0] == ["b"]
    kept, _ = run(tmp_path / "words", rows, exact=by_url, prefer_signal="gopher.n_words")
    assert kept == ["a"]


@pytest.mark.parametrize("prefer", [["a"], ["b", "a"], []])
def test_the_preferred_source_comes_before_signal_and_length(tmp_path, prefer):
    text = " ".join(f"w{i}" for i in range(60))
    rows = {"a": [("a", text), ("a-near", text)], "b": [("b", text), ("b-near", text + " x y")]}
    sources = {}
    for name, documents in rows.items():
        shard = tmp_path / f"{name}.jsonl"
        lines = (json.dumps({"id": i, "text": t}) + "\n" for i, t in documents)
        shard.write_text("".join(lines))
        sources[name] = {"format": "table", "paths": [str(shard)]}
    dedup = {"exact": {}, "minhash": {}, "prefer": prefer, "partitions": 2}
    with connect("off") as cluster:
        run_pipeline(
            parse({"name": "t", "sources": sources, "dedup": dedup}), str(tmp_path), cluster
        )
    [kept] = rows_of(tmp_path, "documents")
    assert kept["id"] == ("a" if prefer == ["a"] else "b-near")  # the longest of the first source
    removed = {row["id"]: row["matched_id"] for row in rows_of(tmp_path, "removed")}
    assert len(removed) == 3 and set(removed.values()) == {kept["id"]}


@pytest.mark.parametrize(
    ("dedup", "mistake"),
    [
        ({"prefer_signal": "quality.score"}, "dedup.prefer_signal: 'quality.score' is of no step"),
        ({"exact": {"by": "urls"}}, "dedup.exact.by: no such column 'urls'. Did you mean url?"),
        ({"ngrams": {}, "segments": {}}, "dedup.segments: stands beside dedup.ngrams"),
    ],
)
def test_mistakes_are_found_at_load(dedup, mistake):
    source = {"format": "table", "paths": ["x.jsonl"]}
    with pytest.raises(ConfigError, match=mistake):
        parse({"name": "t", "sources": {"s": source}, "dedup": dedup})
