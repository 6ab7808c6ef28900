"""Every method of deduplication ends with the same bytes, whatever the workers, the partitions and
the order of the inputs."""

import json
import random
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.executor import connect
from pipeline.stages import run_pipeline
from tests.test_dedup_stages import window, words
from tests.test_pipeline import rows_of, write_jsonl

METHODS = {
    "exact": {"exact": {}},
    "minhash": {"minhash": {"similarity": 0.7, "recall": 0.999}},
    "ngrams": {"ngrams": {"words": 8, "min_remaining_words": 10}},
    "segments": {"segments": {"min_remaining_words": 10}},
    "paragraphs": {"paragraphs": {"words": 8, "min_words": 5}},
    "scoped": {
        "exact": {},
        "minhash": {"similarity": 0.7, "recall": 0.999},
        "paragraphs": {"words": 8},
        "scope": "meta.lang",
        "compare_scopes": ["global", "source"],
    },
}  # fmt: skip


def texts() -> list[str]:
    """Copies, edited copies, shared lines and shared runs; ten lines that drift."""
    rng = random.Random(7)
    lines = [" ".join(words(10 + i, 12)) for i in range(12)]
    base = words(1, 400)
    out = []
    for i in range(10):
        out += [window(base, 12 * i, 120), window(base, 12 * i, 120)]
        out.append("\n".join(rng.sample(lines, 5)) + f"\nown line number {i} of this text")
        out.append(" ".join(words(50 + i, 40)) + " " + window(base, 200 + i, 30))
        out.append(window(words(2, 100), 2 * i, 20) + "\n" + " ".join(words(80 + i, 15)))
    return out


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    rows = [
        {"id": f"d{i:02d}", "text": text, "lang": "abc"[i % 3]} for i, text in enumerate(texts())
    ]
    random.Random(3).shuffle(rows)
    for i in range(4):
        write_jsonl(folder / f"{'ab'[i % 2]}-{i}.jsonl", rows[i::4])
    return folder


@pytest.fixture(scope="module")
def two_workers():
    with connect(None, 2) as cluster:
        yield cluster


def run(shards: Path, out: Path, cluster, dedup: dict, reverse: bool = False) -> dict:
    sources = {}
    for name in "ab":
        paths = sorted(map(str, shards.glob(f"{name}-*")), reverse=reverse)
        sources[name] = {"format": "table", "paths": paths}
    sources = dict(reversed(sources.items())) if reverse else sources
    return run_pipeline(parse({"name": "t", "sources": sources, "dedup": dedup}), str(out), cluster)


def bytes_of(out: Path) -> dict[str, bytes]:
    """The rows of documents and of removed, by id."""
    rows = [(table, row) for table in ("documents", "removed") for row in rows_of(out, table)]
    return {row["id"]: json.dumps([table, row], default=str).encode() for table, row in rows}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_bytes_whatever_the_way(shards, two_workers, method, tmp_path):
    ways = [("off", 1, False), ("off", 5, True), (two_workers, 3, False)]
    found = []
    for i, (cluster, partitions, reverse) in enumerate(ways):
        dedup = METHODS[method] | {"partitions": partitions}
        if cluster == "off":
            with connect("off") as alone:
                manifest = run(shards, tmp_path / str(i), alone, dedup, reverse)
        else:
            manifest = run(shards, tmp_path / str(i), cluster, dedup, reverse)
        stages, reports = manifest["stages"]["dedup"], manifest.get("dedup", {})
        found.append((manifest["corpus_digest"], bytes_of(tmp_path / str(i)), stages, reports))
    assert found[0] == found[1] == found[2]
    counts = found[0][2].values()
    assert sum(sum(c["removed"].values()) + c["cut"] for c in counts) > 5
