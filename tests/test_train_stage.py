"""The stage that trains: in this process and on ranks that Ray starts; `why` on a spike's
documents."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline import config, why
from pipeline.executor import Cluster, StageError, connect, run_ranks
from pipeline.stages import run_pipeline

TRAIN = {"steps": 6, "batch_rows": 4, "warmup_steps": 2, "threads": 1, "checkpoint_every": 3}


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    """Documents with ids of their own, which do not name their source."""
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefgh"), 4)) for _ in range(60)]
    path = tmp_path_factory.mktemp("shards") / "notes.jsonl"
    texts = [" ".join(draw.choice(words, 80)) + "." for _ in range(60)]
    rows = [{"id": f"note:{i}", "text": text} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(shard, out, cluster, until=None, **train):
    table = {
        "name": "small",
        "sources": {"notes": {"format": "table", "paths": [str(shard)]}},
        "tokenizer": {"vocab_size": 320},
        "mixture": {"sequence_length": 64, "tokens": 8_000, "weights": {"notes": 1.0}},
        "train": {**TRAIN, **train},
    }
    return run_pipeline(config.parse(table), str(out), cluster, until)


def log(out: Path) -> list[dict]:
    [path] = out.glob("train/*/metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_loss_is_known_by_source_and_why_knows_the_documents_of_a_spike(shard, tmp_path):
    out, alone = tmp_path / "out", Cluster(None)
    # every step above the median is a spike here, and the second one ends the run
    spiky = {"max_spike_z": 1e-9, "spike_window": 4, "max_spikes": 1, "learning_rate": 0.05}
    with pytest.raises(StageError, match=r"spike 2 .* more than max_spikes"):
        run(shard, out, alone, **spiky)
    [path] = out.glob("train/*/spikes.jsonl")
    [spike] = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(spike["documents"]) >= 4
    for name in spike["documents"]:
        [row] = why.find(str(out), name)
        assert row["table"] == "documents" and "kept, in documents/" in why.explain(row)
    assert {source for line in log(out) for source in line["loss_by_source"]} == {"notes"}


@pytest.mark.ray
@pytest.mark.slow
def test_two_ranks_on_ray_train_as_one_process_does(shard, tmp_path, capfd):
    with connect(workers=2) as cluster:
        one = run(shard, tmp_path / "one", cluster)["training"]
        two = run(shard, tmp_path / "two", cluster, workers=2)["training"]
        # the same run: nothing is left to do
        assert run(shard, tmp_path / "two", cluster)["training"] == two
        with pytest.raises(StageError, match="4 ranks want as many CPUs; Ray has 2"):
            run(shard, tmp_path / "four", cluster, workers=4)
        with pytest.raises(ValueError, match="rank 1 is not well"):
            run_ranks(2, unwell, {"seconds": 60})
    assert two["final_loss"] == pytest.approx(one["final_loss"], abs=1e-4)
    first, second = (log(tmp_path / name) for name in ("one", "two"))
    assert len(first) == len(second) == 6
    for a, b in zip(first, second, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
    names = [
        sorted(p.name for p in (tmp_path / name).glob("train/*/checkpoints/*/*"))
        for name in ("one", "two")
    ]
    assert names[0] == names[1] and len(names[0]) > 20
    assert capfd.readouterr().err.count("train: step 6/6") == 2


def unwell(seconds, say):
    if os.environ["RANK"] == "1":
        raise ValueError("rank 1 is not well")
    time.sleep(seconds)  # as in a collective that never ends


def test_a_training_on_an_object_store_is_refused_before_any_work(shard):
    with pytest.raises(config.ConfigError, match="--out s3://bucket/run: training writes to a loc"):
        run(shard, "s3://bucket/run", Cluster(None))


def test_ranks_without_ray_are_refused(shard, tmp_path):
    with pytest.raises(config.ConfigError, match="2 ranks need Ray; leave out --ray off"):
        run(shard, tmp_path, Cluster(None), workers=2)
    with pytest.raises(config.ConfigError, match=r"workers: 3 is not a multiple of tensor_para"):
        run(shard, tmp_path, Cluster(None), workers=3, tensor_parallel=2)
