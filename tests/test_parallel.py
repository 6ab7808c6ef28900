"""Two and four processes: the loss curve, the gradient norm and the checkpoints of one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.ranks import run_on
from train import parallel, spikes
from train.config import Train
from train.loop import train
from train.packing import write_packed

torch.set_num_threads(2)
VOCAB, BAD = 64, 7
BASE = {"steps": 8, "batch_rows": 4, "warmup_steps": 2, "threads": 1, "checkpoint_every": 4}
EVAL = {"eval_every": 8, "eval_rows": 6}
FSDP, TENSOR = {"parallel": "fsdp"}, {"tensor_parallel": 2}
MUON = {"optimizer": "muon"}
SPIKES = {"steps": 26, "max_spike_z": 10.0, "spike_window": 16, "spike_steps": 2, "seed": 10}

ON_TWO = {
    "ddp": {"micro_rows": 1, **EVAL},
    "fsdp": {"micro_rows": 1, **EVAL, **FSDP},
    "tensor": {**EVAL, **TENSOR},
    "tensor_from_one": {**EVAL, **TENSOR},
    "ungrouped": {"tensor_parallel": 4, "preset": "125m"},
}
# Newton and Schulz's iteration is in bfloat16: another order of sums shows earlier.
ON_TWO_SLOW = {
    "fsdp1": ({"micro_rows": 1, "zero_stage": 1, **FSDP}, 1e-4),
    "fsdp2": ({"micro_rows": 1, "zero_stage": 2, **FSDP}, 1e-4),
    "muon_fsdp": ({**MUON, **FSDP}, 1e-3),
    "muon_tensor": ({**MUON, **TENSOR}, 1e-3),
    "bf16_tensor": ({"precision": "bf16", "activation_checkpointing": True, **TENSOR}, 1e-2),
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> str:
    """Documents that count upwards, but for one that is noise; a document a row."""
    draw = np.random.default_rng(0)
    documents = [
        (f"d/{i}", f"s{i % 3}", (draw.integers(VOCAB) + np.arange(64)) % 8) for i in range(120)
    ]
    documents[BAD] = ("d/bad", "s0", draw.integers(8, VOCAB, 64))
    path = str(tmp_path_factory.mktemp("packed") / "part-0.arrow")
    write_packed(path, documents, 64, vocab_size=VOCAB, tokenizer_digest="d1")
    return path


def alone(packed, out, **settings):
    evals = {"same": [packed]} if settings.get("eval_rows") else None
    return train(Train(**{**BASE, **settings}), [packed], str(out), eval_paths=evals, say=str)


def without_last(run, copy):
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints" / "step-00000008")


@pytest.fixture(scope="module")
def out(packed, tmp_path_factory) -> Path:
    """What ON_TWO has written; "one" is the run of one process."""
    place = tmp_path_factory.mktemp("runs")
    alone(packed, place / "one", **EVAL)
    without_last(place / "one", place / "tensor_from_one")
    run_on(2, packed, place, {name: BASE | settings for name, settings in ON_TWO.items()})
    return place


def log(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def check_same(one, other, at_most=1e-4):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=at_most)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=10 * at_most)
        assert a["tokens"] == b["tokens"] and a["targets_by_source"] == b["targets_by_source"]
        assert a["loss_by_source"] == pytest.approx(b["loss_by_source"], abs=at_most)


@pytest.mark.parametrize("name", ["ddp", "fsdp", "tensor"])
def test_two_ranks_have_the_curve_of_one(out, name):
    one, two = log(out / "one"), log(out / name)
    check_same(one, two)
    assert any(line["grad_norm"] > 1 for line in one), "nothing was clipped"
    assert two[-1]["eval_loss"] == pytest.approx(one[-1]["eval_loss"], abs=1e-4)


@pytest.mark.parametrize("name", ["fsdp", "tensor"])
def test_checkpoints_are_the_same_whatever_the_ranks(packed, out, tmp_path, name):
    one, two = (out / run / "checkpoints" / "step-00000004" for run in ("one", name))
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in two.iterdir())
    without_last(out / name, tmp_path / name)
    result = alone(packed, tmp_path / name, **EVAL)
    assert result["resumed_from"] == 4
    check_same(log(out / "one"), log(tmp_path / name))


def test_two_ranks_go_on_from_the_checkpoint_of_one(out):
    check_same(log(out / "one"), log(out / "tensor_from_one"))


@pytest.mark.slow
def test_spikes_of_two_ranks_are_those_of_one(packed, tmp_path):
    alone(packed, tmp_path / "one", **SPIKES)
    run_on(2, packed, tmp_path, {"two": {**BASE, **SPIKES}})
    one, two = (spikes.recorded(str(tmp_path / name)) for name in ("one", "two"))
    assert len(one) >= 1
    keys = ("step", "back_to", "rows", "documents")
    assert [[s[k] for k in keys] for s in one] == [[s[k] for k in keys] for s in two]
    assert any("d/bad" in s["documents"] for s in two)
    check_same(log(tmp_path / "one"), log(tmp_path / "two"))


def test_ranks_that_cannot_be_grouped_are_refused(out, monkeypatch):
    said = (out / "ungrouped" / "error.txt").read_text()
    assert said.startswith("tensor_parallel: 4 does not divide 2 ranks; start a multiple of 4")
    with pytest.raises(ValueError, match=r"tensor_parallel: 4 does not divide n_kv_heads of tiny"):
        Train(tensor_parallel=4)
    with pytest.raises(ValueError, match="adafactor's row and column means are not sharded"):
        Train(tensor_parallel=2, optimizer="adafactor")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(ValueError, match="2 tensor parallel groups cannot be joined by ddp"),
        parallel.joined(Train(tensor_parallel=2)),
    ):
        pass


@pytest.mark.slow
def test_more_ways_of_two_ranks(packed, tmp_path):
    runs = {name: {**BASE, **settings} for name, (settings, _) in ON_TWO_SLOW.items()}
    run_on(2, packed, tmp_path / "two", runs)
    for name, (settings, at_most) in ON_TWO_SLOW.items():
        given = {k: v for k, v in settings.items() if k in ("optimizer", "precision")}
        alone(packed, tmp_path / name, **given)
        check_same(log(tmp_path / name), log(tmp_path / "two" / name), at_most)


@pytest.mark.slow
def test_four_ranks_two_by_two(packed, out, tmp_path):
    run_on(4, packed, tmp_path, {"both": {**BASE, **EVAL, **FSDP, **TENSOR}})
    check_same(log(out / "one"), log(tmp_path / "both"))
    without_last(tmp_path / "both", tmp_path / "resumed")
    alone(packed, tmp_path / "resumed", **EVAL)
    check_same(log(out / "one"), log(tmp_path / "resumed"))
