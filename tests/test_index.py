"""An index: the outcome of one run over all, whatever came first; and what comes back."""

import json
import random
from pathlib import Path
from threading import Thread

import datasketch
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakeredis import TcpFakeServer

from dedup.lsh import choose_bands
from dedup.minhash import sign
from pipeline.build_config import ConfigError
from pipeline.cli import main
from pipeline.config import Run, parse
from pipeline.executor import connect
from pipeline.index.export import export_lsh
from pipeline.index.extend import extend_index
from pipeline.index.forget import forget
from pipeline.index.store import located
from pipeline.stages import run_pipeline
from tests.test_dedup_stages import texts
from tests.test_pipeline import rows_of, write_jsonl


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    names = enumerate(sorted(texts().items()))
    rows = [{"id": name, "text": text, "lang": "abc"[i % 3]} for i, (name, text) in names]
    random.Random(4).shuffle(rows)
    for i in range(4):
        write_jsonl(folder / f"shard-{i}.jsonl", rows[i::4])
    return folder


def config(shards: Path, *numbers: int, **changes) -> Run:
    paths = [str(shards / f"shard-{i}.jsonl") for i in numbers]
    dedup = {"exact": {}, "minhash": {"similarity": 0.78, "recall": 0.999}, "partitions": 3}
    table = {"name": "t", "sources": {"s": {"format": "table", "paths": paths}}}
    return parse(table | {"dedup": dedup | changes})


def extend(shards: Path, out: Path, index: Path, *numbers: int, **changes) -> dict:
    with connect("off") as cluster:
        return extend_index(config(shards, *numbers, **changes), str(out), str(index), cluster)


def removed_of(out: Path) -> dict[str, str]:
    return {row["id"]: row["matched_id"] for row in rows_of(out, "removed")}


def apply(removed: dict[str, str], out: Path) -> dict[str, str]:
    """The removed documents of the index and their keepers, after what a run says of them."""
    after = dict(removed)
    for row in rows_of(out, "changes"):
        if row["change"] == "restored":
            del after[row["id"]]
        else:
            assert (row["change"] == "matched") == (row["id"] in removed)
            after[row["id"]] = row["matched_id"]
    return after


@pytest.fixture(scope="module")
def at_once(shards, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("all")
    with connect("off") as cluster:
        run_pipeline(config(shards, 0, 1, 2, 3), str(out), cluster)
    return removed_of(out)


@pytest.mark.parametrize("groups", [[(0, 1), (2, 3)], [(3,), (1,), (0, 2)], [(2, 3, 1, 0)]])
def test_shards_in_any_groups_and_order_end_as_one_run_over_all(shards, at_once, groups, tmp_path):
    removed: dict[str, str] = {}
    changed = 0
    for i, numbers in enumerate(groups):
        out = tmp_path / f"out-{i}"
        manifest = extend(shards, out, tmp_path / "index", *numbers)
        removed = {**apply(removed, out), **removed_of(out)}
        changed += sum(manifest["changes"].values())
    assert removed == at_once
    assert len(removed) > 25
    assert (changed > 0) == (len(groups) > 1)  # a later document is preferred to an older one


def test_within_a_scope_too_it_ends_as_one_run_over_all(shards, tmp_path):
    with connect("off") as cluster:
        run_pipeline(config(shards, 0, 1, 2, scope="meta.lang"), str(tmp_path / "all"), cluster)
    removed: dict[str, str] = {}
    for i, numbers in enumerate([(2,), (0, 1)]):
        extend(shards, tmp_path / str(i), tmp_path / "index", *numbers, scope="meta.lang")
        removed = {**apply(removed, tmp_path / str(i)), **removed_of(tmp_path / str(i))}
    assert removed == removed_of(tmp_path / "all")
    assert {"hub-17"} < set(removed.values())  # of one language; the others keep another


def test_the_same_shards_again_change_nothing(shards, tmp_path):
    index = tmp_path / "index"
    extend(shards, tmp_path / "a", index, 0, 1)
    before = (index / "index.json").read_bytes()
    manifest = extend(shards, tmp_path / "b", index, 1)
    assert manifest["changes"] == {"removed": 0, "restored": 0, "matched": 0}
    assert (index / "index.json").read_bytes() == before
    named = set((index / "parts").iterdir())
    stored = json.loads(before)["parts"]
    assert named == {index / path for entry in stored for path in entry["files"].values()}


def test_forgetting_is_as_if_they_had_never_been_there(shards, tmp_path):
    index = tmp_path / "index"
    extend(shards, tmp_path / "a", index, 0, 1, 2, 3)
    before = removed_of(tmp_path / "a")
    gone = frozenset({"hub-17", "chain-b", "single-03", "hub-02"})
    with connect("off") as cluster:
        manifest = forget(str(index), str(tmp_path / "f"), cluster, ids=gone)
    after = {k: v for k, v in apply(before, tmp_path / "f").items() if k not in gone}

    rest = tmp_path / "rest"
    for path in sorted(shards.iterdir()):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_jsonl(rest / path.name, [row for row in rows if row["id"] not in gone])
    with connect("off") as cluster:
        run_pipeline(config(rest, 0, 1, 2, 3), str(tmp_path / "fresh"), cluster)
    assert after == removed_of(tmp_path / "fresh")
    assert manifest["changes"]["restored"] == 1  # the next of the hub
    assert manifest["changes"]["matched"] > 20
    assert not gone & {row["id"] for row in rows_of(tmp_path / "f", "changes")}
    tables = [pq.read_table(path) for path in (index / "parts").glob("*.parquet")]
    left = {
        name for table in tables if "id" in table.column_names for name in table["id"].to_pylist()
    }
    assert not gone & left and "single-04" in left

    with pytest.raises(ConfigError, match="has forgotten some of it"):
        extend(shards, tmp_path / "again", index, 0)


def test_a_source_is_forgotten_as_a_whole(shards, tmp_path):
    index = tmp_path / "index"
    table = {"name": "t", "dedup": {"exact": {}, "minhash": {"similarity": 0.78}, "partitions": 2}}
    for name, i in (("a", 0), ("b", 1)):
        source = {"format": "table", "paths": [str(shards / f"shard-{i}.jsonl")]}
        run = parse(table | {"sources": {name: source}})
        with connect("off") as cluster:
            extend_index(run, str(tmp_path / name), str(index), cluster)
    lost = {k for k, v in removed_of(tmp_path / "b").items()}
    assert lost
    with connect("off") as cluster:
        forget(str(index), str(tmp_path / "f"), cluster, source="a")
        with pytest.raises(ConfigError, match=r"--source a: not in the index\. Known: b"):
            forget(str(index), str(tmp_path / "g"), cluster, source="a")
    with connect("off") as cluster:
        run_pipeline(run, str(tmp_path / "alone"), cluster)
    assert apply(removed_of(tmp_path / "b"), tmp_path / "f") == removed_of(tmp_path / "alone")
    back = [r["id"] for r in rows_of(tmp_path / "f", "changes") if r["change"] == "restored"]
    assert back


def test_what_does_not_fit_is_refused_before_any_work(shards, tmp_path):
    index = tmp_path / "index"
    extend(shards, tmp_path / "a", index, 0)
    before = (index / "index.json").read_bytes()
    with pytest.raises(ConfigError, match=r"dedup.partitions: 5 is not 3, which the index"):
        extend(shards, tmp_path / "b", index, 1, partitions=5)
    with pytest.raises(ConfigError) as caught:
        extend(shards, tmp_path / "b", index, 1, minhash={"similarity": 0.55, "recall": 0.999})
    [line] = caught.value.mistakes
    assert line.startswith("dedup.minhash.similarity: 0.55 is not 0.")
    for section in ("ngrams", "segments", "paragraphs"):
        with pytest.raises(ConfigError, match=f"dedup.{section}: an index has no texts"):
            extend(shards, tmp_path / "b", index, 1, **{section: {}})
    with pytest.raises(ConfigError, match=r"dedup.compare_scopes: is for one run"):
        extend(shards, tmp_path / "b", index, 1, compare_scopes=["source"])
    with pytest.raises(ConfigError, match=r"dedup.scope: source is not global, which the index"):
        extend(shards, tmp_path / "b", index, 1, scope="source")
    with connect("off") as cluster, pytest.raises(ConfigError, match="neither exact nor minhash"):
        source = {"format": "table", "paths": [str(shards / "shard-1.jsonl")]}
        run = parse({"name": "t", "sources": {"s": source}})
        extend_index(run, str(tmp_path / "b"), str(index), cluster)
    with connect("off") as cluster, pytest.raises(ConfigError) as caught:
        source |= {"steps": [{"use": "gopher_quality"}]}
        table = {"name": "t", "sources": {"s": source}, "dedup": {"exact": {}}, "tokenizer": {}}
        extend_index(parse(table), str(tmp_path / "b"), str(index), cluster)
    assert [line.partition(":")[0] for line in caught.value.mistakes] == [
        "sources.s.steps",
        "tokenizer",
    ]
    with connect("off") as cluster, pytest.raises(ConfigError, match="--ids: nobody is not in"):
        forget(str(index), str(tmp_path / "f"), cluster, ids=frozenset({"nobody"}))
    other = tmp_path / "other"
    write_jsonl(other / "shard-0.jsonl", [{"id": "x", "text": "another text of that name"}])
    with pytest.raises(ConfigError, match=r"s/shard-0.jsonl@0: the index has other content"):
        extend(other, tmp_path / "b", index, 0)
    assert (index / "index.json").read_bytes() == before
    for place in (tmp_path / "a", tmp_path / "new"):  # of a run; its own output
        with pytest.raises(ConfigError, match="is the output of a run; an index is"):
            extend(shards, tmp_path / "new", place, 1)
    with connect("off") as cluster, pytest.raises(ConfigError, match="is the output of a run; an"):
        forget(str(index), str(index), cluster, source="s")
    assert (index / "index.json").read_bytes() == before
    with connect("off") as cluster, pytest.raises(ConfigError, match=r"no index\.json; corpusmill"):
        forget(str(tmp_path / "none"), str(tmp_path / "f"), cluster, source="s")
    with pytest.raises(ConfigError, match=r"no index\.json"):
        export_lsh(str(tmp_path / "a"))


def test_the_commands(shards, tmp_path, capsys):
    index, off = str(tmp_path / "index"), ["--ray", "off", "--json"]
    for i in range(2):
        command = ["dedup", str(shards / f"shard-{i}.jsonl"), "--index", index]
        out = str(tmp_path / str(i))
        assert main([*command, "--source", f"s{i}", "--out", out, *off]) == 0
    assert "documents of the index:" in capsys.readouterr().out
    out = str(tmp_path / "f")
    (tmp_path / "ids").write_text("nobody\n")
    command = ["index", "forget", index, "--out", out, *off]
    assert main([*command, "--ids", str(tmp_path / "ids")]) == 2
    assert "nobody is not in the index" in capsys.readouterr().err
    assert main([*command, "--source", "s0"]) == 0
    changes = json.loads(capsys.readouterr().out.splitlines()[-1])["changes"]
    assert changes["restored"] == 1  # the hub of the second shard


def test_datasketch_finds_what_the_index_keeps(shards, tmp_path):
    index, run = tmp_path / "index", config(shards, 0, 1, 2, 3)
    extend(shards, tmp_path / "a", index, 0, 1, 2, 3)
    lsh = export_lsh(str(index), {"type": "dict"})
    minhash = run.dedup.minhash
    banding = choose_bands(minhash.similarity, minhash.recall, 128)
    assert (lsh.b, lsh.r) == banding
    finds_what_is_kept(lsh, run)
    kept = {row["id"] for row in rows_of(tmp_path / "a", "documents")}
    assert set(lsh.keys.keys()) == {name for name in kept if not name.startswith("tiny")}

    server = TcpFakeServer(("127.0.0.1", 0))  # speaks Redis' protocol
    Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address
    command = ["index", "export", str(index), "--redis", f"{host}:{port}", "--name", "crawl"]
    assert main(command) == 0
    store = {"type": "redis", "basename": b"crawl", "redis": {"host": host, "port": port}}
    finds_what_is_kept(datasketch.MinHashLSH(0.5, 128, params=banding, storage_config=store), run)
    server.shutdown()
    server.server_close()


def finds_what_is_kept(lsh: datasketch.MinHashLSH, run: Run) -> None:
    def look_up(text: str) -> list[str]:
        values = sign(pa.array([text]), run.dedup.minhash, 128).signatures[0]
        return lsh.query(datasketch.MinHash(128, 1, hashvalues=values, scheme="affine32"))

    assert look_up(texts()["hub-05"]) == ["hub-17"]  # the others of the hub were removed
    assert look_up(texts()["single-07"]) == ["single-07"]
    assert look_up("a text that is in no document of this index, whatever its words") == []


def test_a_file_of_a_part_is_in_the_index_or_where_it_says():
    """A run may have its output on an object store."""
    files = {"keys": "parts/a.exchange", "bands": "/out/b.exchange", "ids": "s3://out/c.parquet"}
    found = located({"label": "web/a@0", "files": files}, "s3://index")
    assert found["files"] == {**files, "keys": "s3://index/parts/a.exchange"}
