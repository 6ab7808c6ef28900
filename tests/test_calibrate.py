import json
from collections import Counter

import pytest

from pipeline.build_config import ConfigError
from pipeline.calibrate import StagePlan, _sample, _stages, plan_corpus, render_corpus
from pipeline.cli import main
from pipeline.config import parse
from pipeline.named_files import Shard

WORDS = ["the", "of", "and", "to", "in", "that", "it", "was", "his", "with", "as", "for", "which"]


def text(seed):
    return " ".join(WORDS[(seed * 7 + i * i * (seed % 5 + 1)) % len(WORDS)] for i in range(150))


@pytest.fixture
def run(tmp_path):
    """Two sources: six shards of 40 documents, and one."""
    for name in ("web-0", "web-1", "web-2", "web-3", "web-4", "web-5", "books-0"):
        rows = [{"text": f"{name} {i} " + text(hash_of(name) + i)} for i in range(40)]
        lines = "\n".join(map(json.dumps, rows))
        (tmp_path / f"{name}.jsonl").write_text(lines + "\n")
    source = {"format": "table", "steps": [{"use": "gopher_quality"}]}
    return parse(
        {
            "name": "t",
            "root": str(tmp_path),
            "split_bytes": 65536,
            "sources": {
                "web": source | {"paths": ["web-*.jsonl"]},
                "books": source | {"paths": ["books-*.jsonl"]},
            },
            "dedup": {"exact": {}, "minhash": {}, "partitions": 4},
        }
    )


def hash_of(name):
    return sum(map(ord, name))


def test_a_sample_scaled_up(run, tmp_path):
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.jsonl"))]
    plan = plan_corpus(run, None, cores=2, sample_bytes=1)  # a shard of each source
    assert plan.input_bytes == sum(sizes)
    assert 0 < plan.sample_bytes < sum(sizes) / 3
    by_stage = {s.stage: s for s in plan.stages}
    assert {"ingest", "filter", "sign", "exact", "verify", "dedup"} <= set(by_stage)
    assert by_stage["ingest"].tasks == 7
    assert by_stage["exact"].tasks == 4
    assert all(s.core_hours >= 0 and s.bytes >= 0 for s in plan.stages)
    assert by_stage["ingest"].core_hours > 0 < by_stage["filter"].bytes
    assert plan.worker_bytes > 50e6
    assert plan.partition_bytes > 0 and plan.partitions == 1
    text = render_corpus(plan)
    assert all(len(line) <= 100 for line in text.splitlines())


def record(stage, label, cpu_s, size):
    files = {"documents": {"bytes": size}}
    return {"stage": stage, "label": label, "timing": {"cpu_s": cpu_s}, "files": files}


def test_what_grows_with_what():
    """web is 100 times its sample, books 10 times; their text together 40 times. Models are fitted
    once."""
    records = [
        record("ingest", "web/a.gz@0", 36.0, 1000),
        record("ingest", "books/b.txt@0", 72.0, 500),
        record("models", "models.quality", 3600.0, 7),
        record("exact", "partition 0 of 2", 4.0, 15),
        record("exact", "partition 1 of 2", 5.0, 5),
        record("components", "components", 9.0, 1),
    ]
    tasks = Counter(web=30, books=2)
    found = _stages(records, {"web": 100.0, "books": 10.0}, 40.0, tasks, 2.0, 16, cores=32)
    assert found == [
        StagePlan("ingest", 64, 1.2, 105_000, 1.2 / 32),
        StagePlan("models", 1, 1.0, 7, 1.0),
        StagePlan("exact", 16, 0.1, 800, 0.1 / 16),
        StagePlan("components", 1, 0.1, 40, 0.1),
    ]


def test_the_sample_is_the_smallest_shards_and_one_of_each_source():
    sizes = {Shard("web", f"w{i}", f"w{i}", ""): size for i, size in enumerate([50, 20, 30])}
    sizes |= {Shard("books", "b", "b", ""): 1000}
    assert [s.name for s in _sample(sizes, 80)] == ["w1", "w2", "b"]
    assert [s.name for s in _sample(sizes, 1)] == ["w1", "b"]
    assert len(_sample(sizes, 10_000)) == 4


def test_the_command(run, tmp_path, capsys):
    path = tmp_path / "c.toml"
    path.write_text(
        f'name = "t"\nroot = "{tmp_path}"\n[sources.books]\nformat = "table"\n'
        'paths = ["books-*.jsonl"]\n'
    )
    assert main(["plan", str(path), "--bytes", "1e9", "--cores", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found["input_bytes"] == pytest.approx(1e9)
    assert found["cores"] == 8
    assert found["stages"]["ingest"]["bytes"] > 1e7
    assert main(["plan", str(path), "--flops", "1e12", "--cores", "8"]) == 2
    assert main(["plan", str(path), "--mfu", "0.3"]) == 2


def test_what_is_missing_is_named(run, tmp_path):
    (tmp_path / "books-0.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"sources.books.paths"):
        plan_corpus(run, None, 1, 1)
