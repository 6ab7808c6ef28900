"""Memory does not grow with the shard."""

import json
import subprocess
import sys

import pytest

LIMIT = 1536 << 20  # bytes of a worker's peak resident memory

CHILD = """
import json, sys
from pipeline.executor import connect
from pipeline.config import parse
from pipeline.stages import run_pipeline
shard, out = sys.argv[1:]
source = {"format": "warc", "paths": [shard], "steps": [{"use": "gopher_quality"}]}
run = parse({"name": "big", "sources": {"web": source}, "split_bytes": 1 << 40})
with connect("off") as loop:
    manifest = run_pipeline(run, out, loop)
import resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([peak, manifest["stages"]["ingest"]["web"]["in"]]))
"""


@pytest.mark.slow
def test_a_worker_reads_a_gibibyte_of_warc_in_bounded_memory(shared_data, tmp_path):
    """One part of 1 GiB, not split: the real pages again and again."""
    pages = b"".join(p.read_bytes() for p in sorted(shared_data.glob("web/pages-*.warc.gz")))
    shard = tmp_path / "big.warc.gz"
    with shard.open("wb") as file:
        while file.tell() < 1 << 30:
            file.write(pages)
    command = [sys.executable, "-c", CHILD, str(shard), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, n = json.loads(done.stdout.strip().splitlines()[-1])
    assert n > 30_000
    print(f"peak {peak >> 20} MiB, {n} records")
    assert peak < LIMIT
