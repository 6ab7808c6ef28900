"""What the command line does with mistakes, signals and parts of a run, as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.cli import main
from pipeline.executor import Terminated

TEXTS = [f"document {i} " + "the quick brown fox jumps over a lazy dog " * 9 for i in range(12)]


@pytest.fixture
def config(tmp_path):
    rows = ({"id": f"d{i}", "text": text} for i, text in enumerate(TEXTS))
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "run.toml").write_text(
        f'name = "small"\nroot = "{tmp_path}"\n[sources.docs]\nformat = "table"\n'
        'paths = ["docs.jsonl"]\n[dedup.exact]\n[tokenizer]\nvocab_size = 320\n'
    )
    return str(tmp_path / "run.toml")


def fails(capsys, *words: str) -> tuple[int, str]:
    status = main(list(words))
    return status, capsys.readouterr().err


def test_a_shorter_run_says_what_is_left_of_a_longer_one(config, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["run", config, "--out", out, "--ray", "off"]) == 0
    assert "until" not in json.loads((tmp_path / "out/manifest.json").read_text())
    assert main(["run", config, "--out", out, "--ray", "off", "--until", "ingest"]) == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    line = "tokenizer/, tokens/: of an earlier run; this one ends with ingest"
    assert manifest["until"] == "ingest" and line in manifest["warnings"]
    assert line in capsys.readouterr().out


def test_a_format_that_is_misspelt_or_missing(config, tmp_path, capsys):
    text = (tmp_path / "run.toml").read_text()
    (tmp_path / "a.toml").write_text(text.replace("format =", "formatt ="))
    (tmp_path / "b.toml").write_text(text.replace('format = "table"', ""))
    status, said = fails(capsys, "check", str(tmp_path / "a.toml"))
    assert (status, said.rstrip().endswith(" Is it formatt?")) == (2, True)
    status, said = fails(capsys, "check", str(tmp_path / "b.toml"))
    assert status == 2
    assert said == (
        "corpusmill: sources.docs.format: missing; one of warc, books, arxiv, code, table, "
        "wikipedia, stackexchange, dialogue.\n"
    )


def test_a_directory_that_cannot_be_made(config, capsys):
    status, said = fails(capsys, "run", config, "--out", "/proc/x/y", "--ray", "off")
    assert status == 2 and said.startswith("corpusmill: --out /proc/x/y: cannot be made: ")


def test_mistakes_of_a_call(config, tmp_path, capsys):
    """Status 2, in one line, and before any work."""
    docs, gone, out = str(tmp_path / "docs.jsonl"), str(tmp_path / "gone"), str(tmp_path / "out")
    assert main(["dedup", docs, "--index", f"{tmp_path}/index", "--out", out, "--ray", "off"]) == 0
    capsys.readouterr()
    calls = (
        (f"--tokenizer {docs}: not a", "tokenizer-report", docs, "--tokenizer", docs),
        (f"tokenizer.model: {docs}: not a", "tokenize", docs, "--tokenizer", docs),
        ("steps[0].use: no such step 'c5'", "filter", docs, "--steps", "c5"),
        ("steps[0].model: missing", "fit", "cutoffs", docs, "--step", "perplexity"),
        (f"--ids {gone}: no file of ids", "index", "forget", f"{tmp_path}/index", "--ids", gone),
        (f"{gone}: no index.json", "index", "forget", gone, "--source", "web"),
        (f"{gone}: no manifest.json", "report", gone),
        (f"{gone}: no manifest.json", "tune", gone, "--rule", "c4.x"),
        (f"{gone}: no manifest.json", "plan", config, "--flops", "1e15", "--out", gone),
        ("--workers 2: not with --ray off", "run", config, "--workers", "2", "--ray", "off"),
        (f"{config}: no [mixture] section", "run", config, "--until", "pack"),
        (f"{config}: no [train] section", "train", config),
        ("--redis here: not of the form HOST:PORT", "index", "export", gone, "--redis", "here"),
    )
    for i, (line, *words) in enumerate(calls):
        if words[0] not in ("report", "tune", "plan") and "export" not in words:
            words += ["--out", f"{tmp_path}/out-{i}"]
        assert main(words) == 2
        assert capsys.readouterr().err.startswith(f"corpusmill: {line}")
    for words in (["fit", "perplexity", docs], ["fit", "quality", "--positive", docs], ["demo"]):
        words += ["--negative", docs] if "quality" in words else []
        status, said = fails(capsys, *words, "--out", "/proc/x/y")
        assert status == 2 and said.startswith("corpusmill: --out /proc/x")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_directory_that_may_not_be_written_to(config, tmp_path, capsys):
    (tmp_path / "closed").mkdir(mode=0o500)
    status, said = fails(capsys, "run", config, "--out", f"{tmp_path}/closed", "--ray", "off")
    assert status == 2 and said.endswith("/closed: may not be written to\n")


def test_several_sources_with_the_same_steps_have_their_mistakes_once(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"id": "x", "text": "some words"}\n')
    steps = '[{ use = "keywords", lists = ["gone.txt"] }]'
    sources = [
        f'[sources.{name}]\nformat = "table"\npaths = ["a.jsonl"]\nsteps = {steps}\n'
        for name in ("a", "b")
    ]
    (tmp_path / "run.toml").write_text(f'name = "t"\nroot = "{tmp_path}"\n' + "".join(sources))
    status, said = fails(capsys, "check", str(tmp_path / "run.toml"))
    assert (status, said) == (
        2,
        f"corpusmill: sources.a.steps[0].lists: {tmp_path}/gone.txt names no file\n",
    )


def test_another_text_column_and_another_delimiter_name_their_key(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"id": "x", "content": "some words"}\n')
    (tmp_path / "b.csv").write_text("id;text\n1;a, b and c\n2;d, e\n")
    for name, mend in (("a.jsonl", "text_column"), ("b.csv", "delimiter")):
        words = ["extract", str(tmp_path / name), "--format", "table", "--ray", "off"]
        status, said = fails(capsys, *words, "--out", str(tmp_path / f"out-{name}"))
        assert status == 1 and mend in said


def test_numbers_that_are_none(config, capsys):
    for words in (["--workers", number] for number in ("zero", "0", "1.5", "inf", "nan")):
        with pytest.raises(SystemExit) as exit_:
            main(["run", config, *words])
        assert exit_.value.code == 2
        assert "is no " in capsys.readouterr().err


def test_sigterm_ends_a_command_as_ctrl_c_does(config, tmp_path, monkeypatch, capsys):
    def stop(*_args, **_named):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("pipeline.commands.execute", stop)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["run", config, "--out", str(tmp_path / "out")]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().err
    assert said == "corpusmill: interrupted; the same command goes on where it stopped\n"
    assert issubclass(Terminated, KeyboardInterrupt)


@pytest.mark.slow
def test_sigterm_on_ray_is_one_line(config, tmp_path):
    """Ray's own handler would print a dump and abort."""
    words = ["-m", "pipeline.cli", "run", config, "--out", str(tmp_path / "out"), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/_parts").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143
    assert said.splitlines()[-1] == (
        "corpusmill: interrupted; the same command goes on where it stopped"
    )
    assert "SIGTERM received" not in said
