"""Every corpusmill command that the README shows is run here, on a small demo."""

import re
import shlex

import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.conftest import REPO

SMALL = ["--set", "train.steps=2", "--set", "train.warmup_steps=1", "--set", "train.batch_rows=2"]
SMALL += ["--set", "tokenizer.vocab_size=1024"]
BUDGET = ["--set", "mixture.tokens=150000"]  # the demo's own at this scale


def shown() -> list[list[str]]:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("corpusmill ")]


def test_the_commands_of_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(REPO / "configs")
    commands = [command[1:] for command in shown()]
    commands.sort(key=lambda command: command[0] != "demo")  # `make demo` comes first
    names = {command[0] for command in commands}
    assert names >= {"demo", "run", "check", "why", "extract", "filter", "dedup", "train"}
    for command in commands:
        if command[0] == "demo":
            command += ["--scale", "0.1"]
        if any("real.toml" in word for word in command):
            continue  # needs the real inputs: CI has them not; `make real` runs it
        if command[0] in ("demo", "run", "pack", "train"):
            command += SMALL if command[0] == "demo" else [*SMALL, *BUDGET]
        if command[0] == "why":  # the README's document is one of the whole demo
            [removed, *_] = sorted((tmp_path / "demo-out/removed/books").glob("*.parquet"))
            command[2] = pq.read_table(removed)["id"][0].as_py()
        if command[0] not in ("check", "why", "tune", "plan", "fit", "report", "keys"):
            command += ["--ray", "off"]
        assert main(command) == 0, (command, capsys.readouterr().err)
    assert "LOST" not in capsys.readouterr().out


def test_every_command_of_the_tool_is_in_the_readme(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert len(listed) > 10
    text = (REPO / "README.md").read_text()
    assert [name for name in listed if f"corpusmill {name}" not in text] == []
