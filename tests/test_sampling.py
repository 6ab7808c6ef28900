"""sample_fraction: a trial reads the same records however a shard is split."""

import gzip
import json

import pyarrow.parquet as pq
import pytest

from pipeline.build_config import ConfigError
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.stages import run_pipeline

N = 400


def web(path):
    with path.open("wb") as file:
        for i in range(N):
            body = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nText of page %d." % i
            if i == 7:
                body = b"no response"
            head = f"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: {len(body)}\r\n"
            head += "Content-Type: application/http\r\n\r\n"
            file.write(gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0))


def rows(path):
    path.write_text(
        "".join(json.dumps({"text": f"text {i} " + "word " * 60}) + "\n" for i in range(N))
    )


def ids(tmp_path, shard, format, **more):
    out = tmp_path / "-".join(["out", shard.name, *map(str, more.values())])
    source = {"format": format, "paths": [str(shard)]}
    run = parse({"name": "trial", "sources": {"s": source}, **more})
    with connect("off") as loop:
        manifest = run_pipeline(run, str(out), loop)
    tables = [pq.read_table(p, columns=["id"]) for p in sorted(out.glob("documents/s/*.parquet"))]
    found = [i for t in tables for i in t["id"].to_pylist()]
    counts = manifest["stages"]["ingest"]["s"]
    assert counts["in"] == counts["kept"] + counts["lost"] and counts["kept"] == len(found)
    return found


@pytest.mark.parametrize(
    ("name", "format", "make"), [("a.warc.gz", "warc", web), ("a.jsonl", "table", rows)]
)
def test_a_sample_is_the_same_whatever_the_split(tmp_path, name, format, make):
    shard = tmp_path / name
    make(shard)
    every = ids(tmp_path, shard, format)
    half = ids(tmp_path, shard, format, sample_fraction=0.5)
    tenth = ids(tmp_path, shard, format, sample_fraction=0.1)
    assert len(every) >= N - 1
    assert 0.4 * N < len(half) < 0.6 * N and 0.05 * N < len(tenth) < 0.16 * N
    assert set(tenth) < set(half) < set(every)
    big = tmp_path / "big" / name  # of many ranges: 64 KiB is the least
    big.parent.mkdir()
    big.write_bytes(shard.read_bytes() * 4)
    whole = ids(tmp_path, big, format, sample_fraction=0.3)
    split = ids(tmp_path, big, format, sample_fraction=0.3, split_bytes=1 << 16)
    assert sorted(whole) == sorted(split) and len(whole) > 400


def test_a_share_is_above_0_and_at_most_1():
    source = {"format": "table", "paths": ["x.jsonl"]}
    for share in (0, 1.5, -0.1):
        with pytest.raises(ConfigError, match="sample_fraction"):
            parse({"name": "trial", "sources": {"s": source}, "sample_fraction": share})
