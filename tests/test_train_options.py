"""Options of a training and what it says of itself, against other ways to compute them."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import REPO, VOCAB
from train import export, metrics, update
from train.checkpoint import read_tensor
from train.config import PRESETS, Model, Train, parameter_count
from train.loader import Batch
from train.loop import train
from train.model import Transformer

torch.set_num_threads(2)
BASE = {"steps": 6, "batch_rows": 4, "warmup_steps": 2, "threads": 1}
SMALL = Model(dim=64, n_layers=2, n_heads=4, n_kv_heads=2, hidden=96)


def run(packed, out, **changes):
    result = train(Train(**{**BASE, **changes}), [packed], str(out), say=str)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return result, [json.loads(line) for line in lines]


def test_sizes_by_hand():
    """With 32,000 pieces; LLaMA's as its authors' checkpoints have them."""
    expected = {
        "llama_7b": 6_738_415_616,
        "llama_13b": 13_015_864_320,
        "llama_33b": 32_528_943_616,
        "llama_65b": 65_285_660_672,
        "2.7b": 32 * (4 * 2560**2 + 3 * 2560 * 6912 + 2 * 2560) + 2560 + 2 * 32000 * 2560,
        "1.3b": 24 * (4 * 2048**2 + 3 * 2048 * 5632 + 2 * 2048) + 2048 + 2 * 32000 * 2048,
        "350m": 24 * (4 * 1024**2 + 3 * 1024 * 2816 + 2 * 1024) + 1024 + 2 * 32000 * 1024,
        "125m": 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768 + 32000 * 768,
        "60m": 12 * (4 * 640**2 + 3 * 640 * 1792 + 2 * 640 + 2 * 64) + 640 + 32000 * 640,
        "10m": 8 * (4 * 320**2 + 3 * 320 * 896 + 2 * 320 + 2 * 64) + 320 + 32000 * 320,
        "tiny": 4 * (2 * 128**2 + 2 * 128 * 64 + 3 * 128 * 352 + 2 * 128 + 2 * 32)
        + 128
        + 32000 * 128,
    }
    assert {name: parameter_count(shape) for name, shape in PRESETS.items()} == expected


def test_mfu_by_hand():
    bounds = torch.tensor([0, 3, 8], dtype=torch.int32)
    nothing = torch.zeros(8, dtype=torch.int16)
    batch = Batch(nothing, bounds, torch.zeros(2, dtype=torch.bool), torch.zeros(1))
    shape = Train().model(VOCAB)
    # 738,688 weights in the blocks and the last norm, 64 x 128 in the output, 8 tokens; 6 + 15
    # pairs, 4 layers of width 128
    flops = 6 * (738_688 + 8_192) * 8 + 12 * 4 * 128 * 21
    assert metrics.flops(shape, [batch]) == flops == 35_979_264
    assert metrics.flops(shape, [batch, batch]) == 2 * flops
    speed = metrics.speed(16, 2 * flops, 0.5, peak=0.001, world=2)
    assert speed["tokens_per_s"] == 32
    assert speed["mfu"] == pytest.approx(0.071958528)  # of 2 GFLOP/s
    assert "mfu" not in metrics.speed(16, 2 * flops, 0.5, None, 2)


def test_bits_per_byte_by_hand():
    # a: 10 tokens of 2 bits in 4 bytes each; b: 30 tokens of 3 bits in 2 bytes each
    nll = [10 * 2 * math.log(2), 30 * 3 * math.log(2), 0.0]
    found = metrics.by_source(["a", "b", "c"], nll, [10, 30, 0], {"a": 4.0, "b": 2.0})
    assert found["loss_by_source"] == pytest.approx({"a": 2 * math.log(2), "b": 3 * math.log(2)})
    assert found["bits_per_byte_by_source"] == pytest.approx({"a": 0.5, "b": 1.5})
    assert found["bits_per_byte"] == pytest.approx(110 / 100)
    assert "bits_per_byte" not in metrics.by_source(["a", "b"], nll[:2], [10, 30], {"a": 4.0})


def test_a_checkpoint_of_another_optimizer_is_refused(packed, tmp_path):
    run(packed, tmp_path)
    with pytest.raises(ValueError, match="optimizer was 'adamw' there and is 'muon' now; resume"):
        run(packed, tmp_path, optimizer="muon")


def test_fp16_steps_that_overflow_are_left_out(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(update, "FIRST_SCALE", 2.0**30)
    monkeypatch.setitem(PRESETS, "small", SMALL)
    settings = {"steps": 24, "preset": "small", "precision": "fp16", "checkpoint_every": 4}
    settings |= {"learning_rate": 1e-2}
    _, log = run(packed, tmp_path, **settings)
    over = [line["overflow"] for line in log]
    n = over.index(False)
    assert n > 2 and all(over[:n])
    assert [line["loss_scale"] for line in log[: n + 1]] == [2.0 ** (30 - i) for i in range(n + 1)]
    assert all(line["grad_norm"] is None for line in log[:n])
    assert all(math.isfinite(line["grad_norm"]) for line in log if not line["overflow"])
    assert log[-1]["loss"] < log[0]["loss"] - 0.5
    last = tmp_path / "checkpoints" / "step-00000024"
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    _, again = run(packed, tmp_path, **settings)
    assert [line["loss_scale"] for line in again] == [line["loss_scale"] for line in log]
    assert [line["loss"] for line in again] == [line["loss"] for line in log]


def test_an_export_without_qk_norm_is_a_llama(packed, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setitem(PRESETS, "small", SMALL)
    result, _ = run(packed, tmp_path / "run", preset="small")
    export.export(result["checkpoint"], str(tmp_path / "hf"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert type(theirs).__name__ == "LlamaForCausalLM"
    ours = Transformer(Train(preset="small").model(VOCAB))
    state = json.loads((Path(result["checkpoint"]) / "state.json").read_text())
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            weight.copy_(read_tensor(result["checkpoint"], f"model.{name}", state))
        tokens = torch.arange(40) * 7 % VOCAB
        bounds = torch.tensor([0, 40], dtype=torch.int32)
        logits = ours.hidden(tokens, torch.arange(40), bounds) @ ours.output.weight.T
        assert (theirs(tokens[None]).logits[0] - logits).abs().max() < 1e-4
    assert ours.output.weight is not ours.embedding.weight


@pytest.mark.slow
def test_compiled_blocks_have_the_same_curve(packed, tmp_path):
    _, plain = run(packed, tmp_path / "plain")
    _, compiled = run(packed, tmp_path / "compiled", compile=True)
    assert len(plain) == len(compiled) == 6
    for a, b in zip(plain, compiled, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)


@pytest.mark.slow
def test_the_benchmark_runs_on_a_cpu_and_goes_on_after_a_variant_that_fails(tmp_path):
    line = [sys.executable, "-m", "benchmarks.train", "--tiny", "--steps", "3"]
    line += ["--variants", "sdpa", "padded", "--out", str(tmp_path / "train.json")]
    # 10 rows a step do not go into micro-batches of 4: every variant fails at its start
    done = subprocess.run([*line, "--batch-rows", "10", "--micro-rows", "4"], cwd=REPO, check=True,
                          capture_output=True, text=True)  # fmt: skip
    failed = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert list(failed) == ["tiny sdpa", "tiny padded"]
    assert all("micro_rows: 4 does not divide" in one["problem"] for one in failed.values())
    done = subprocess.run(line, cwd=REPO, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout.splitlines()[-1])
    assert report == json.loads((tmp_path / "train.json").read_text())
    assert report["figures"]["tiny sdpa"]["steps"] == 3
    assert 0.4 < report["padded_rows"]["documents_share_of_tokens"] < 0.6
    assert report["ratios"].keys() == {"tiny sdpa / padded"}
