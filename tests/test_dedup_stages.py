"""Deduplication as a whole: clusters, chains, hubs, and the same fates whatever the partitions."""

import json
import random
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.exchange import near
from pipeline.executor import connect
from pipeline.parts import read_tables
from pipeline.stages import run_pipeline
from pipeline.summary import render_summary
from tests.test_pipeline import rows_of


def words(seed: int, n: int) -> list[str]:
    rng = random.Random(seed)
    return [f"w{rng.randrange(10**9)}" for _ in range(n)]


def window(base: list[str], start: int, n: int = 200) -> str:
    return " ".join(base[start : start + n])


def texts() -> dict[str, str]:
    """A chain of four, each .8 like the next only; a hub of 30; singles; tiny documents."""
    out = {}
    base = words(1, 300)
    for i, name in enumerate("abcd"):
        out[f"chain-{name}"] = window(base, 20 * i)
    for i in range(30):
        hub = words(2, 200)
        hub[6 * i] = f"own{i}"
        out[f"hub-{i:02d}"] = " ".join(hub) + " more" * (i == 17)
    for i in range(40):
        out[f"single-{i:02d}"] = " ".join(words(100 + i, 60))
    for i in range(5):
        out[f"tiny-{i}"] = "three words only" if i < 2 else f"tiny {i}"
    return out


def run(out: Path, files: int = 4, shuffle: int = 0, workers: int | None = None, **dedup) -> dict:
    rows = [{"id": name, "text": text} for name, text in sorted(texts().items())]
    folder = out / "in"
    folder.mkdir(parents=True)
    for i in range(files):
        mine = rows[i::files]
        lines = [json.dumps(row) + "\n" for row in mine]
        (folder / f"shard-{i}.jsonl").write_text("".join(lines))
    paths = [str(folder / f"shard-{i}.jsonl") for i in range(files)]
    random.Random(shuffle).shuffle(paths)
    sections = {"exact": {}, "minhash": {"similarity": 0.78, "recall": 0.999}, "partitions": 3}
    table = {"name": "t", "sources": {"s": {"format": "table", "paths": paths}}}
    with connect(*(("off",) if workers is None else (None, workers))) as cluster:
        return run_pipeline(parse(table | {"dedup": sections | dedup}), str(out / "out"), cluster)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("finished")
    return out / "out", run(out)


def fates(out: Path) -> dict[str, tuple[str | None, str | None]]:
    """id -> (its keeper, its cluster)."""
    rows = rows_of(out, "documents") + rows_of(out, "removed")
    return {row["id"]: (row.get("matched_id"), row["dedup.cluster"]) for row in rows}


def test_no_document_of_a_chain_goes_for_one_that_it_is_unlike(finished):
    found = fates(finished[0])
    chain = {name: found[f"chain-{name}"][0] for name in "abcd"}
    first = min(chain, key=lambda name: (-len(texts()[f"chain-{name}"]), name))
    assert chain[first] is None
    neighbours = {"a": "b", "b": "ac", "c": "bd", "d": "c"}
    for name, keeper in chain.items():
        if keeper is None:  # nothing like it is kept before it
            assert not any(chain[n] is None for n in neighbours[name])
        else:
            assert keeper[-1] in neighbours[name] and chain[keeper[-1]] is None
    assert 2 <= sum(keeper is None for keeper in chain.values()) <= 3
    for row in rows_of(finished[0], "removed"):
        assert row["similarity"] is None or row["similarity"] >= 0.78


def test_clusters_are_named_by_their_first_document(finished):
    found = fates(finished[0])
    assert len({found[f"chain-{name}"][1] for name in "abcd"}) == 1
    assert {found[f"hub-{i:02d}"][1] for i in range(30)} == {"hub-17"}  # the longest
    assert {found[f"hub-{i:02d}"][0] for i in range(30) if i != 17} == {"hub-17"}
    others = [name for name in texts() if name.startswith(("single", "tiny"))]
    assert len(others) == 45 and {found[name][1] for name in others} == {None}
    gone = [name for name in others if found[name][0]]
    assert gone == ["tiny-1"]  # an exact duplicate


def test_the_manifest_tells_of_recall_and_of_large_clusters(finished):
    near = finished[1]["dedup"]["minhash"]
    assert (near["clusters"], near["large_clusters"]) == (2, 1)
    [large] = near["largest_clusters"]
    assert (large["cluster"], large["documents"], large["kept"]) == ("hub-17", 30, 1)
    assert 0.78 <= large["min_similarity"] <= large["max_similarity"] < 1
    shared = large["shared"]
    assert shared["of"] == 8 and 0.8 < shared["fraction"] < 1
    assert shared["text"] in " ".join(words(2, 200)) and len(shared["text"]) == 200
    assert shared["words"] >= 20  # each of the 8 has a word of its own
    assert (
        near["recall"]["proposed"] > 0.98
        and near["recall"]["parted"] > 0.98
        and near["recall"]["pairs"] > 100
    )
    assert 0 < near["precision_of_candidates"] <= 1
    summary = render_summary(finished[1])
    assert "cluster hub-17: 30 documents, 1 kept" in summary and "in a row: w" in summary
    assert "all similar   1.000 (" in summary


@pytest.mark.parametrize(
    ("change", "dedup"),
    [
        ({"files": 7}, {"partitions": 5}),
        ({"shuffle": 3}, {"partitions": 1}),
        ({"files": 1}, {}),
    ],
)
def test_the_same_fates_whatever_the_partitions_the_files_and_their_order(
    finished, tmp_path, change, dedup
):
    manifest = run(tmp_path, **change, **dedup)
    found, expected = fates(tmp_path / "out"), fates(finished[0])
    if "files" not in change:  # places break ties between documents of equal length
        assert found == expected
        assert manifest["corpus_digest"] == finished[1]["corpus_digest"]
    assert {k: v[1] is None for k, v in found.items()} == {
        k: v[1] is None for k, v in expected.items()
    }
    assert found["hub-03"] == expected["hub-03"] == ("hub-17", "hub-17")


def test_no_document_has_shingles(tmp_path):
    manifest = run(tmp_path, minhash={"words": 400})
    assert manifest["dedup"]["minhash"]["candidate_pairs"] == 0
    assert manifest["dedup"]["minhash"]["recall"]["proposed"] is None
    assert {row["dedup.cluster"] for row in rows_of(tmp_path / "out", "documents")} == {None}
    render_summary(manifest)


def test_editions_of_books_are_grouped_and_nothing_else_goes(shared_data, tmp_path):
    paths = [str(shared_data / "books" / "*.txt.gz"), str(shared_data / "books" / "*.epub")]
    table = {"name": "t", "sources": {"books": {"format": "books", "paths": paths}}}
    config = parse(table | {"dedup": {"exact": {}, "minhash": {}, "partitions": 3}})
    with connect("off") as cluster:
        run_pipeline(config, str(tmp_path), cluster)
    kept = rows_of(tmp_path, "documents")
    removed = [row for row in rows_of(tmp_path, "removed") if row["stage"] == "dedup"]
    assert len(removed) == 6  # three of Frankenstein, one of Moby Dick, two of Sherlock Holmes
    cluster = {row["id"]: row["dedup.cluster"] for row in kept}
    for row in removed:
        assert row["similarity"] > 0.95
        assert row["dedup.cluster"] == cluster[row["matched_id"]] == row["matched_id"]
        title = row["id"].split("/")[1][:4]
        assert title in row["matched_id"], (row["id"], row["matched_id"])
    assert sum(name is not None for name in cluster.values()) == 3


def test_each_file_of_shingle_sets_is_read_once_and_no_text(tmp_path, monkeypatch):
    read = []

    def spy(root, path, columns=None, batch_bytes=32 << 20):
        for table in read_tables(root, path, columns, batch_bytes):
            if "shingles" in table.column_names:
                assert "text" not in table.column_names
                doc = table["doc"].to_pylist()
                assert doc == sorted(doc)
                read.append(path)
            yield table

    monkeypatch.setattr(near, "read_tables", spy)
    run(tmp_path, files=7, partitions=3)
    assert len(read) == len(set(read)) == 7
