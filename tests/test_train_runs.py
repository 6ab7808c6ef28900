"""Whole runs: killed, on a full disk, in half precision, exported."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import REPO, VOCAB
from train import export
from train.checkpoint import latest
from train.config import Train
from train.loop import train
from train.model import Transformer

torch.set_num_threads(2)


def command(packed, out, *more):
    base = [sys.executable, "-m", "train.loop", "--packed", str(Path(packed).parent)]
    base += ["--out", str(out), "--warmup-steps", "2", "--threads", "1", "--checkpoint-every", "5"]
    return [*base, *more]


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_after_sigkill_the_next_losses_are_equal(packed, tmp_path):
    steps = ("--steps", "60", "--batch-rows", "4")
    process = subprocess.Popen(command(packed, tmp_path / "a", *steps), cwd=REPO, stderr=-3)
    until = time.monotonic() + 60
    while not latest(str(tmp_path / "a" / "checkpoints")) and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = int(latest(str(tmp_path / "a" / "checkpoints"))[-8:])
    assert 0 < before <= 40
    for out in ("a", "b"):
        subprocess.run(command(packed, tmp_path / out, *steps), cwd=REPO, check=True, stderr=-3)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_whole(packed, tmp_path):
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    steps = ("--steps", "10", "--no-tensorboard")
    subprocess.run(command(packed, tmp_path, *steps), cwd=REPO, check=True, stderr=-3)
    whole, checkpoints = losses(tmp_path), tmp_path / "checkpoints"
    shutil.rmtree(checkpoints / "step-00000010")
    kept = {p.name: p.read_bytes() for p in (checkpoints / "step-00000005").iterdir()}
    done = subprocess.run(
        command(packed, tmp_path, *steps),
        cwd=REPO, capture_output=True, text=True, preexec_fn=small,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    good = checkpoints / "step-00000005"
    assert f"could not be written (File too large); the last good one is {good}" in done.stderr
    assert list(checkpoints.iterdir()) == [good] and len(kept) > 20
    assert {p.name: p.read_bytes() for p in good.iterdir()} == kept
    subprocess.run(command(packed, tmp_path, *steps), cwd=REPO, check=True, stderr=-3)
    assert losses(tmp_path) == whole


@pytest.mark.parametrize("preset", ["tiny"])
def test_transformers_computes_the_same_logits(packed, tmp_path, preset):
    transformers = pytest.importorskip("transformers")
    config = Train(steps=3, preset=preset, warmup_steps=1, threads=2)
    result = train(config, [packed], str(tmp_path / "run"), say=str)
    assert export.main(["--checkpoint", result["checkpoint"], "--out", str(tmp_path / "hf")]) == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    ours = Transformer(config.model(VOCAB))
    state = json.loads((Path(result["checkpoint"]) / "state.json").read_text())
    from train.checkpoint import read_tensor

    with torch.no_grad():
        for name, weight in ours.named_parameters():
            weight.copy_(read_tensor(result["checkpoint"], f"model.{name}", state))
        tokens = torch.arange(40) * 7 % VOCAB
        bounds = torch.tensor([0, 40], dtype=torch.int32)
        logits = ours.hidden(tokens, torch.arange(40), bounds) @ ours.output.weight.T
        assert (theirs(tokens[None]).logits[0] - logits).abs().max() < 1e-4
    assert export.main(["--checkpoint", str(tmp_path), "--out", str(tmp_path / "x")]) == 1


def test_fp16_and_its_scale_give_the_same_curve(packed, tmp_path):
    for precision in ("fp32", "fp16"):
        config = Train(steps=4, warmup_steps=1, threads=1, precision=precision)
        train(config, [packed], str(tmp_path / precision), say=str)
    log = [json.loads(x) for x in (tmp_path / "fp16" / "metrics.jsonl").read_text().splitlines()]
    assert log[0]["loss_scale"] == 2.0**16
    assert losses(tmp_path / "fp16")[0] == pytest.approx(losses(tmp_path / "fp32")[0], abs=0.02)
    assert set(log[0]["loss_by_source"]) == {"s0", "s1", "s2"}
