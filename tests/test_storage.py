"""Paths, patterns, identities, parts."""

import http.server
import re
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.exchange.files import ExchangeWriter, read_partition
from pipeline.identity import code_version, digest, input_identity
from pipeline.parts import Part, find_record, read_tables
from pipeline.sources import FORMATS
from pipeline.storage import expand, sweep, write_bytes

ROWS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64()), ("text", pa.string())])


def test_a_shard_is_named_below_the_last_folder_without_a_wildcard(tmp_path):
    for name in ("crawl/a/part-0.gz", "crawl/b/part-0.gz", "crawl/b/part-1.gz", "crawl/notes.txt"):
        write_bytes(str(tmp_path / name), b"x")
    names = [name for _, name in expand(f"{tmp_path}/crawl/*/part-*.gz")]
    assert names == ["a/part-0.gz", "b/part-0.gz", "b/part-1.gz"]
    assert [name for _, name in expand(f"{tmp_path}/crawl/b/part-1.gz")] == ["part-1.gz"]
    assert [name for _, name in expand(f"{tmp_path}/crawl")] == [
        "a/part-0.gz",
        "b/part-0.gz",
        "b/part-1.gz",
        "notes.txt",
    ]
    assert expand(f"{tmp_path}/nothing-*.gz") == []


def test_an_input_is_known_by_its_content(tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(b"one")
    known: dict = {}
    first = input_identity(str(path), known)
    (tmp_path / "copy").write_bytes(b"one")
    assert input_identity(str(tmp_path / "copy"), {}) == first
    path.write_bytes(b"two")
    assert input_identity(str(path), known) != first
    with pytest.raises(ValueError, match="no such file"):
        input_identity(str(tmp_path / "gone"), known)


def test_an_unchanged_input_is_not_read_again(tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(b"one")
    known: dict = {}
    input_identity(str(path), known)
    known[str(path)][2] = "remembered"
    assert input_identity(str(path), known) == "remembered"


def test_digest_and_code_version_are_stable():
    assert digest({"b": 1, "a": [1.5, None]}) == digest({"a": [1.5, None], "b": 1})
    assert code_version("filters") == code_version("filters") != code_version("dedup")


def _part(root, key="k" * 12):
    return Part(str(root), "stage", key, "web/a@0")


def test_nothing_is_visible_before_the_commit(tmp_path):
    part = _part(tmp_path)
    writer = part.table("documents", "documents/web", ROWS)
    many = {"key": np.arange(300_000, dtype=np.uint64), "doc": np.zeros(300_000, np.uint64)}
    writer.write(pa.table({**many, "text": ["some text"] * 300_000}, schema=ROWS))
    assert not list(tmp_path.glob("documents/web/part-*.parquet"))
    assert find_record(str(tmp_path), "stage", part.key) is None
    record = part.commit({"web": {}})
    assert find_record(str(tmp_path), "stage", part.key) == record
    rows = sum(t.num_rows for t in read_tables(str(tmp_path), record["files"]["documents"]["path"]))
    assert rows == record["files"]["documents"]["rows"] == 300_000


def test_an_abandoned_part_leaves_nothing(tmp_path):
    part = _part(tmp_path)
    table = pa.table({"key": [1], "doc": [2], "text": ["x" * 10_000_000]}, schema=ROWS)
    part.table("documents", "documents/web", ROWS).write(table)
    part.exchange("keys", ROWS, 4).write(table)
    Path(part.file("model", "models/m.bin")).write_bytes(b"half")
    part.abandon()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_an_exchange_gives_each_partition_its_rows_whatever_the_batches(tmp_path):
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**63, 1000, dtype=np.uint64)
    table = pa.table(
        {"key": keys, "doc": np.arange(1000, dtype=np.uint64), "text": [str(k) for k in keys]},
        schema=ROWS,
    )
    for name, step in (("whole", 1000), ("pieces", 137)):
        writer = ExchangeWriter(str(tmp_path), name, ROWS, 7)
        for start in range(0, 1000, step):
            writer.write(table.slice(start, step))
        assert writer.close().rows == 1000
    seen = 0
    for p in range(7):
        whole = read_partition(str(tmp_path), ["whole"], p, 7, ROWS)
        pieces = read_partition(str(tmp_path), ["pieces"], p, 7, ROWS)
        assert whole == pieces
        assert whole["doc"].to_pylist() == [i for i in range(1000) if keys[i] % np.uint64(7) == p]
        seen += whole.num_rows
    assert seen == 1000


def test_own_rows_become_places_in_the_corpus(tmp_path):
    for i in range(2):
        writer = ExchangeWriter(str(tmp_path), f"part{i}", ROWS, 1)
        writer.write(pa.table({"key": [5], "doc": [3], "text": ["x"]}, schema=ROWS))
        writer.close()
    table = read_partition(str(tmp_path), ["part0", None, "part1"], 0, 1, ROWS, own_rows=True)
    assert table["doc"].to_pylist() == [3, (2 << 32) | 3]


def test_an_empty_exchange_can_be_read(tmp_path):
    ExchangeWriter(str(tmp_path), "none", ROWS, 3).close()
    assert read_partition(str(tmp_path), ["none"], 2, 3, ROWS) == ROWS.empty_table()


def test_sweep_deletes_only_what_no_record_names(tmp_path):
    for name in ("documents/a", "documents/b", "other/c"):
        write_bytes(str(tmp_path / name), b"x")
    assert sweep(str(tmp_path), "documents", {"documents/a"}) == ["documents/b"]
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["documents/a", "other/c"]


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Serves one file with byte ranges, as Common Crawl's and other servers do."""

    data = b"".join(b'{"text": "line %d of a remote shard"}\n' % i for i in range(5000))

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        self.answer(send=True)

    def answer(self, send: bool) -> None:
        if self.path != "/shard.jsonl":
            self.send_error(404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        last = int(wanted[2]) if wanted and wanted[2] else len(self.data) - 1
        body = self.data[first : last + 1]
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        self.end_headers()
        if send:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RangeHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_inputs_over_http_are_read_by_ranges(server):
    path = f"{server}/shard.jsonl"
    assert expand(path) == [(path, "shard.jsonl")]
    assert expand(f"{server}/none.jsonl") == []
    assert input_identity(path, {}) == input_identity(path, {})
    config = FORMATS["table"].config()
    ranges = FORMATS["table"].split(path, 60_000)
    assert len(ranges) > 2
    read = [d for start, end in ranges for d in FORMATS["table"].read(path, start, end, config)]
    assert [d.text for d in read] == [f"line {i} of a remote shard" for i in range(5000)]
