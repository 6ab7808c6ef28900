"""Loop: the loss falls, a killed run goes on bit for bit, mistakes stop it; train/ stands alone."""

import ast
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import REPO, VOCAB
from train import command as command_line
from train.config import Train
from train.evaluate import evaluate
from train.loop import train
from train.model import Transformer
from train.packing import write_packed

torch.set_num_threads(2)


def config(**changes) -> Train:
    given = {"steps": 12, "batch_rows": 4, "warmup_steps": 2, "threads": 2, "checkpoint_every": 5}
    return Train(**{**given, **changes})


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_everything_is_written(packed, tmp_path):
    said: list[str] = []
    result = train(
        config(steps=30), [packed], str(tmp_path), eval_paths={"same": [packed]}, say=said.append
    )
    assert result["first_loss"] == pytest.approx(math.log(VOCAB), abs=0.25)
    assert result["final_loss"] < 2.0
    assert result["eval_loss"]["same"] < 2.0
    assert (result["steps"], result["resumed_from"], result["tokens"]) == (30, 0, 30 * 4 * 64)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert all(0 <= line["data_wait_fraction"] <= 1 for line in lines)
    assert (tmp_path / "loss.svg").read_text().startswith("<svg")
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000025", "step-00000030"]
    assert "tiny" in said[0] and "step 30/30" in said[-1]


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_bit_for_bit(packed, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(config(), [packed], str(whole), say=str)

    def stop_at_8(line: str) -> None:
        if "step 8/" in line:
            raise Killed

    with pytest.raises(Killed):
        train(config(), [packed], str(killed), say=stop_at_8)
    assert len(losses(killed)) == 8  # three steps after the checkpoint, to be done again
    result = train(config(), [packed], str(killed), say=str)
    assert result["resumed_from"] == 5
    assert losses(killed) == losses(whole)
    again = train(config(), [packed], str(killed), say=str)
    assert again["resumed_from"] == 12 and again["final_loss"] == result["final_loss"]
    for name in ("model.norm.weight.npy", "exp_avg.embedding.weight.npy"):
        one, two = (d / "checkpoints" / "step-00000012" / name for d in (whole, killed))
        assert one.read_bytes() == two.read_bytes()


def test_micro_batches_give_the_same_update(packed, tmp_path):
    for name, micro in (("whole", None), ("parts", 1)):
        train(config(steps=3, micro_rows=micro), [packed], str(tmp_path / name), say=str)
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "parts"), abs=1e-4)


def test_attention_implementations_and_bf16_give_the_same_curve(packed, tmp_path):
    for name, changes in {
        "sdpa": {},
        "reference": {"attention": "reference"},
        "bf16": {"precision": "bf16"},
    }.items():
        train(config(steps=4, **changes), [packed], str(tmp_path / name), say=str)
    assert losses(tmp_path / "sdpa") == pytest.approx(losses(tmp_path / "reference"), abs=1e-4)
    assert losses(tmp_path / "sdpa") == pytest.approx(losses(tmp_path / "bf16"), abs=0.05)


def test_evaluation_is_the_mean_over_held_out_tokens(packed):
    settings = config(eval_rows=6)
    model = Transformer(settings.model(VOCAB))
    found = evaluate(model, {"x": [packed]}, settings)
    other = evaluate(model, {"x": [packed]}, config(eval_rows=6, micro_rows=1))
    assert found["x"] == pytest.approx(other["x"], abs=1e-5)
    assert found["x"] == pytest.approx(math.log(VOCAB), abs=0.25)


def test_a_loss_that_is_not_finite_stops_the_run(packed, tmp_path):
    wild = config(learning_rate=1e30, clip_norm=1e30)
    with pytest.raises(ValueError, match=r"train: step \d+: loss .* rows \[.*lower learning_rate"):
        train(wild, [packed], str(tmp_path), say=str)


def test_mistakes_stop_before_training(packed, tmp_path):
    train(config(steps=2), [packed], str(tmp_path), say=str)
    with pytest.raises(ValueError, match="steps was 2 there and is 12 now"):
        train(config(), [packed], str(tmp_path), say=str)
    with pytest.raises(ValueError, match="packed with tokenizer d1, not d9"):
        train(config(), [packed], str(tmp_path / "b"), tokenizer_digest="d9", say=str)
    other = str(tmp_path / "other.arrow")
    ones = [("x", "web", np.full(64, VOCAB))]
    write_packed(other, ones, 64, vocab_size=VOCAB + 1, tokenizer_digest="d2")
    with pytest.raises(ValueError, match="held out as x, but packed with another tokenizer"):
        train(config(), [packed], str(tmp_path / "d"), eval_paths={"x": [other]}, say=str)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no GPU"):
            train(config(device="cuda"), [packed], str(tmp_path / "c"), say=str)


def test_the_module_runs_alone(packed, tmp_path):
    command = [sys.executable, "-m", "train.loop", "--packed", str(Path(packed).parent)]
    command += ["--out", str(tmp_path), "--steps", "2", "--warmup-steps", "1", "--threads", "2"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == 2
    assert "step 2/2" in done.stderr
    assert command_line.main(["--packed", str(tmp_path), "--out", str(tmp_path)]) == 1


def test_train_imports_nothing_but_torch_triton_numpy_and_pyarrow():
    allowed = sys.stdlib_module_names | {"torch", "triton", "numpy", "pyarrow", "train"}
    seen = 0
    for file in sorted((REPO / "train").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name}: relative import"
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in allowed, f"{file.name} imports {name}"
                seen += 1
    assert seen > 20
