"""configs/train_tiny_cpu.toml: data and a model out of this repository alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from train import command

REPO = Path(__file__).resolve().parent.parent
CONFIG = "configs/train_tiny_cpu.toml"


@pytest.mark.slow
def test_it_falls_below_the_unigram_entropy_of_its_data(tmp_path):
    pack = [sys.executable, "-m", "pipeline.cli", "pack", CONFIG, "--ray", "off"]
    subprocess.run([*pack, "--out", str(tmp_path)], cwd=REPO, check=True, capture_output=True)
    loop = [sys.executable, "-m", "train.loop", "--config", CONFIG]
    loop += ["--packed", str(tmp_path / "packed" / "train_tiny_cpu")]
    loop += ["--out", str(tmp_path / "loop")]
    done = subprocess.run(loop, cwd=REPO, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert 4 < result["unigram_entropy"] < 7
    assert result["final_loss"] < result["unigram_entropy"] - 0.3
    log = [json.loads(x) for x in (tmp_path / "loop" / "metrics.jsonl").read_text().splitlines()]
    assert {name for line in log for name in line["loss_by_source"]} == {"code", "prose"}


def test_where_the_packed_rows_are_is_known_from_the_config(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(["--config", str(REPO / CONFIG)]) == 1
    packed = "out/train_tiny_cpu/packed/train_tiny_cpu"
    assert f"train: {packed}: no .arrow files; pack first" in capsys.readouterr().err
    (tmp_path / "wrong.toml").write_text("train = 3\n")
    assert command.main(["--config", "wrong.toml"]) == 1
    assert "wrong.toml: train = 3 is no table; write [train]" in capsys.readouterr().err
    assert command.main([]) == 1
    assert "--packed: not given" in capsys.readouterr().err
