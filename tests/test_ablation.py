"""Ablations from end to end: mistakes in one line, stages shared, trials resumed, the law
confirmed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.ablation import measure, noise, ordered, write_texts
from pipeline.ablation.arms import lay_ground, prepare
from pipeline.ablation.parse import parse_ablation
from pipeline.ablation.run import ablate, check_ablation, render
from pipeline.build_config import ConfigError
from pipeline.cli import main
from pipeline.executor import StageError, connect
from pipeline.mixture import BUCKETS, Mixture, plan_mixture
from pipeline.parts import read_tables
from pipeline.storage import list_files

REPO = Path(__file__).resolve().parent.parent
TABLES = ("trials", "mixtures", "curves", "verdicts", "law", "predictions")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Two sources of 80 documents; each fifth of `good` comes again in `other`, with two words
    changed."""
    root = tmp_path_factory.mktemp("inputs")
    good = {f"g{i}": ordered(i, 90) for i in range(80)}
    copies = {f"copy-g{i}": f"changed {good[f'g{i}'].rpartition(' ')[0]}" for i in range(0, 80, 5)}
    write_texts(root / "good.jsonl", good)
    write_texts(root / "other.jsonl", {f"n{i}": noise(i, 40) for i in range(64)} | copies)
    return root


def table(inputs: Path, **changes) -> dict:
    sources = {
        name: {"format": "table", "paths": [str(inputs / f"{name}.jsonl")]}
        for name in ("good", "other")
    }
    base = {
        "name": "made",
        "sources": sources,
        "dedup": {"prefer": ["good"], "minhash": {"similarity": 0.7}, "partitions": 2},
        "tokenizer": {"vocab_size": 320},
        "mixture": {"weights": {"good": 0.5, "other": 0.5}},
    }
    proxy = {"preset": "tiny", "tokens": 4 * 4 * 64, "sequence_length": 64, "batch_rows": 4}
    proxy |= {"validation_tokens": 1500, "warmup_steps": 1, "checkpoint_every": 2}
    more = {"set": {"mixture.weights": {"good": 0.8, "other": 0.2}}}
    return {"base": base, "seeds": [0, 7], "proxy": proxy, "arms": {"more": more}} | changes


def run(table: dict, out: Path, said: list[str] | None = None):
    with connect("off") as cluster:
        say = print if said is None else said.append
        return ablate(parse_ablation(table), str(out), cluster, say)


def records(out: Path) -> dict[str, int]:
    """How many tasks of each stage were ever done."""
    found: dict[str, int] = {}
    for path in list_files(str(out)):
        if path.endswith(".json") and "/_parts/" in path and not path.endswith("inputs.json"):
            stage = path.split("/")[-2]
            found[stage] = found.get(stage, 0) + 1
    return found


def written(out: Path) -> dict[str, bytes]:
    names = [*(f"{name}.parquet" for name in TABLES), "ablation.json"]
    return {name: (out / name).read_bytes() for name in names}


CONTROL = {"kind": "shuffled", "share": 1.0}
NO_DEDUP = {"set": {"dedup": {}}}


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory) -> Path:
    """A base, an arm with other weights, one without deduplication, a control; two seeds."""
    out = tmp_path_factory.mktemp("finished")
    arms = table(inputs)["arms"] | {"twins": NO_DEDUP}
    run(table(inputs, arms=arms, control=CONTROL), out)
    return out


# --- configuration -------------------------------------------------------------------------------

MIXED = {"mixture.weights": {"good": 0.9, "other": 0.1}}
MISTAKES = [
    ({"armz": {}}, "armz: an ablation has no such key. Known: name, base, set, seeds, control, "
     "proxy, arms, design, evaluate."),
    ({"seeds": 0}, "seeds: 0 is neither a number from 1 to 1000 nor a list of different seeds"),
    ({"seeds": 10**9},
     "seeds: 1000000000 is neither a number from 1 to 1000 nor a list of different seeds"),
    ({"proxy": {"tokens": 90_000, "warmup_steps": 1, "batch_rows": {}}},
     "proxy.batch_rows: {} is not int"),
    ({"proxy": {"tokens": 90_000, "warmup_steps": 1, "batch_rows": 0}},
     "proxy: batch_rows: 0 is below 1"),
    ({"seeds": [1, 1]},
     "seeds: [1, 1] is neither a number from 1 to 1000 nor a list of different seeds"),
    ({"proxy": {"tokens": 100}}, "proxy.tokens: 100 is less than a step of 2048 tokens "
     "(batch_rows x sequence_length)"),
    ({"proxy": {"tokens": 9000, "steps": 4, "warmup_steps": 1}},
     "proxy.steps: follows from tokens; leave it out"),
    ({"proxy": {"tokens": 90_000, "presett": "tiny"}},
     "proxy.presett: proxy has no such key. Did you mean preset?"),
    ({"arms": {"a": {"set": {"train.steps": 9}}}},
     "arms.a.set: train.steps is the same for all arms; change [proxy]"),
    ({"arms": {"a": {"set": {"mixture.wieghts": 1}}}},
     "arms.a: mixture.wieghts: mixture has no such key. Did you mean weights?"),
    ({"arms": {"a": {"set": {"mixture.weights": {"good": 2.0}}}}},
     "arms.a: mixture: weights: they sum to 2, not 1; divide each by 2"),
    ({"arms": {"a": {"set": {"mixture.weights": {"other": 0.5, "good": 0.5}}}}},
     "arms.a: equal to the base; change something, or leave it out"),
    ({"arms": {"a": {"set": MIXED}, "b": {"set": MIXED}}},
     "arms.b: equal to arms.a; change something, or leave it out"),
    ({"arms": {"control": {"set": MIXED}}},
     "arms.control: no name for an arm; use another of letters, digits, '-' and '_'"),
    ({"arms": {"a": {"set": {"sources.good.steps[gopher].min_words": 3}}}},
     "arms.a.set: sources.good.steps[gopher].min_words: steps uses 'gopher' 0 times."),
    ({"arms": {"a": {"presets": {"good": "c5"}}}}, None),
    ({"arms": {}}, "arms: none; add an [arms.NAME] with what it changes, or a [design]"),
    ({"control": {"kind": "worse"}}, "control.kind: 'worse' is not one of 'shuffled', 'repeated'"),
    ({"design": {"kind": "simplex", "draws": -1}}, "design: draws: -1 is below 0"),
    ({"evaluate": {"texts": {"good": ["x.jsonl"]}}},
     "evaluate.texts.good: a source or a text has this name; use another"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line"), MISTAKES)
def test_mistakes_are_one_line(inputs, change, line):
    given = table(inputs, **change)
    if "[gopher]" in str(change):
        given["base"]["sources"]["good"]["steps"] = []
    with pytest.raises(ConfigError) as error:
        parse_ablation(given)
    if line is None:
        assert "configs/presets/c5.toml: No such file" in error.value.mistakes[0]
    else:
        assert error.value.mistakes == [line]


def test_arms_are_the_base_with_their_changes(inputs, tmp_path):
    given = table(inputs)
    steps = [{"use": "gopher_quality", "min_words": 40}, {"use": "language"}]
    given["base"]["sources"]["good"]["steps"] = steps
    given["base"]["train"] = {"steps": 7}  # the proxy's are taken
    given["arms"] = {
        "long": {"set": {"sources.good.steps[gopher_quality].min_words": 90}},
        "small": {"set": {"tokenizer.vocab_size": 384}},
        "c4": {"presets": {"good": "fineweb"}},
    }
    found = parse_ablation(given).arms
    assert list(found) == ["base", "long", "small", "c4"]
    assert [u.config.min_words for u in found["long"].run.sources["good"].steps[:1]] == [90]
    assert found["base"].run.sources["good"].steps[0].config.min_words == 40
    assert [arm.own_tokenizer for arm in found.values()] == [False, False, True, False]
    assert "fineweb" in [use.name for use in found["c4"].run.sources["good"].steps]
    assert found["base"].run.train is None and found["base"].run.mixture.tokens == 1024
    assert parse_ablation(given).proxy.train.steps == 4


def test_files_that_are_missing_are_named_before_ray_starts(inputs):
    gone = {"sources.good.paths": ["/nowhere/x.jsonl"]}
    with pytest.raises(ConfigError, match=r"^arms\.a: sources\.good\.paths\[0\]: /nowhere/x"):
        check_ablation(parse_ablation(table(inputs, arms={"a": {"set": gone}})))
    texts = {"texts": {"mine": ["/nowhere/y.jsonl"]}}
    with pytest.raises(ConfigError, match=r"^evaluate\.texts\.mine: /nowhere/y.jsonl names no"):
        check_ablation(parse_ablation(table(inputs, evaluate=texts)))


def test_a_source_of_weight_0_takes_no_part():
    """A corner of a design; its documents are not even counted."""
    histogram = np.full(BUCKETS, 2, np.int64)
    config = Mixture(tokens=1000, weights={"good": 1.0, "other": 0.0})
    plans = plan_mixture({"good": histogram}, config)
    assert list(plans) == ["good"] and plans["good"].weight == 1.0
    with pytest.raises(ValueError, match=r"mixture\.weights\.other: no such source"):
        plan_mixture({"good": histogram}, replace(config, weights={"good": 0.9, "other": 0.1}))


# --- stages and trials ---------------------------------------------------------------------------


def test_arms_share_the_stages_whose_inputs_are_equal(finished):
    done = records(finished)
    assert done["ingest"] == 2  # of four arms
    assert done["sign"] == done["dedup"] == 2  # of the three that deduplicate
    assert done["tokenizer"] == 1
    assert done["tokenize"] == 4  # base, more and control together; `twins` has its own documents
    assert done["aside"] == 4
    assert done["choose"] == 6  # what weights decide; the control takes what the base takes
    assert done["train"] == done["measure"] == 8
    report = json.loads((finished / "ablation.json").read_text())
    shared = {name: arm["shares_documents"] for name, arm in report["arms"].items()}
    assert shared == {"base": True, "more": True, "twins": False, "control": True}


def test_no_arm_is_trained_on_what_is_held_out(inputs, finished, tmp_path):
    """With a budget that takes every document that an arm may have."""

    def ids(paths: Iterable[Path]) -> set[str]:
        tables = (t for path in paths for t in read_tables("", str(path)))
        return {i for table in tables for i in table["id"].to_pylist()}

    runs = tmp_path / "runs"
    shutil.copytree(finished / "runs", runs)  # the stages that do not depend on the budget
    arms = table(inputs)["arms"] | {"twins": NO_DEDUP}
    given = table(inputs, arms=arms, control=CONTROL)
    given["proxy"]["tokens"] *= 120
    given["base"]["mixture"]["max_epochs"] = 100.0
    ablation, trained, aside = parse_ablation(given), {}, {}
    with connect("off") as cluster:
        ground = lay_ground(ablation, str(runs), cluster)
        for name, arm in ablation.arms.items():
            found = prepare(ground, arm)
            rows = (Path(path) for path in found.packed.training)
            trained[name] = ids(path.with_suffix(".documents.parquet") for path in rows)
            aside[name] = found.aside["sources"]
    held = ids((runs / "packed" / "base-validation").glob("*.documents.parquet"))
    copied = {f"g{i}" for i in range(0, 80, 5)}
    gone = {f"copy-{name}" for name in held & copied}
    assert len(held) > 12 and gone
    good, rest = {f"g{i}" for i in range(80)}, {f"n{i}" for i in range(64)}
    # without deduplication the copies are there, but for those of what is held out
    assert trained["twins"] == (good | rest | {f"copy-{name}" for name in copied}) - held - gone
    for name in ("base", "more", "control"):
        assert trained[name] == (good | rest) - held
    n_held = len(held & rest) + len(gone)
    assert aside["twins"]["other"] == {"documents": 80, "held_out": n_held, "evaluation": 0}


def test_what_is_compared_is_equal_but_for_the_corpus(finished):
    rows = pq.read_table(finished / "trials.parquet").to_pylist()
    assert {row["arm"] for row in rows} == {"base", "more", "twins", "control"}
    assert {(row["tokens"], row["steps"]) for row in rows} == {(1024, 4)}
    assert {row["measure"] for row in rows} == {"bits_per_byte/good", "bits_per_byte/other"}
    assert all(0.5 < row["value"] < 12 for row in rows)
    report = json.loads((finished / "ablation.json").read_text())
    assert len({report["arms"][arm]["rows"] for arm in report["arms"]}) == 4
    assert {v["arm"] for v in report["verdicts"]} == {"more", "twins", "control"}
    mixtures = pq.read_table(finished / "mixtures.parquet").to_pylist()
    shares = {row["arm"]: row["share"] for row in mixtures if row["source"] == "good"}
    assert shares["more"] > 0.7 and shares["base"] == pytest.approx(0.5, abs=0.1)


def test_again_does_nothing_and_a_lost_trial_goes_on_from_its_checkpoint(inputs, finished):
    before, stamps = written(finished), records(finished)
    arms = table(inputs)["arms"] | {"twins": NO_DEDUP}
    given = table(inputs, arms=arms, control=CONTROL)
    folder = finished / "trials" / "more" / "seed-7"
    result = (folder / "result.json").read_bytes()
    run(given, finished)
    assert written(finished) == before and records(finished) == stamps
    (folder / "training.json").unlink()  # so its record counts for nothing
    shutil.rmtree(folder / "checkpoints" / "step-00000004")
    stamp = (folder / "checkpoints" / "step-00000002" / "state.json").stat().st_mtime_ns
    run(given, finished)
    assert (folder / "checkpoints" / "step-00000002" / "state.json").stat().st_mtime_ns == stamp
    assert (folder / "result.json").read_bytes() == result
    assert written(finished) == before


def test_an_added_arm_is_all_that_runs_and_a_changed_one_replaces_its_trials(
    inputs, finished, tmp_path
):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    arms = table(inputs)["arms"] | {"twins": NO_DEDUP}
    given = table(inputs, arms=arms, control=CONTROL)
    base = (out / "trials/base/seed-0/result.json").stat().st_mtime_ns
    given["arms"]["third"] = {"set": MIXED}
    done = records(out)
    run(given, out)
    more = {k: n - done.get(k, 0) for k, n in records(out).items() if n != done.get(k)}
    assert more == {"choose": 2, "pack": 1, "train": 2, "measure": 2}
    assert (out / "trials/base/seed-0/result.json").stat().st_mtime_ns == base
    first = (out / "trials/third/seed-0/result.json").read_bytes()
    given["arms"]["third"] = {"set": {"mixture.weights": {"good": 0.2, "other": 0.8}}}
    run(given, out)
    assert records(out)["train"] == 10  # the trials that it had are forgotten
    assert (out / "trials/third/seed-0/result.json").read_bytes() != first
    given["arms"]["third"] = {"set": MIXED}
    run(given, out)
    assert (out / "trials/third/seed-0/result.json").read_bytes() == first


def test_a_trial_that_diverges_is_kept_and_not_averaged(inputs, tmp_path):
    given = table(inputs)
    given["proxy"] |= {"learning_rate": 1e30}
    outcome = run(given, tmp_path)
    assert {v.word for v in outcome.judgement.verdicts} == {"diverged: no verdict"}
    rows = pq.read_table(tmp_path / "trials.parquet").to_pylist()
    assert len(rows) == 8 and {(row["status"], row["value"]) for row in rows} == {
        ("diverged", None)
    }
    result = json.loads((tmp_path / "trials/more/seed-7/result.json").read_text())
    assert "lower learning_rate" in result["reason"]
    assert any(note.startswith("more, seed 7: diverged: train: step") for note in
               outcome.report["notes"])  # fmt: skip
    assert "diverged: no verdict" in render(outcome)


def test_a_budget_beyond_the_epoch_caps_is_named_for_every_arm(inputs, tmp_path):
    given = table(inputs)
    given["base"]["mixture"]["max_epochs"] = 1.0
    given["proxy"] |= {"tokens": 200 * 256}
    with pytest.raises(StageError) as error:
        run(given, tmp_path)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("base: proxy.tokens: 51200 would repeat ")
    assert lines[1].startswith("arms.more: proxy.tokens: 51200 would repeat good ")
    assert not (tmp_path / "trials").exists()


def test_a_text_inside_the_corpus_is_named_and_left_out(inputs, tmp_path):
    inside = json.loads((inputs / "good.jsonl").read_text().splitlines()[3])["text"]
    mine = write_texts(tmp_path / "mine.jsonl", {"a": ordered(9001, 60), "b": inside})
    rows = [{"prompt": ordered(i, 5), "choices": ["bant", "dark"], "answer": 0} for i in range(4)]
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate = {
        "texts": {"mine": [mine]},
        "tasks": {"pick": {"path": str(tmp_path / "task.jsonl")}},
    }
    said: list[str] = []
    outcome = run(table(inputs, seeds=1, evaluate=evaluate), tmp_path / "out", said)
    assert "note: one seed: differences are shown, without a verdict" in said
    assert {v.word for v in outcome.judgement.verdicts} == {"one seed: no verdict"}
    [note] = [line for line in said if line.startswith("note: mine: ")]
    assert note == (
        "note: mine: 1 documents of the base share 13 words in a row with it, and no arm is "
        "trained on such; 100% of mine.jsonl/1 is inside g3"
    )
    report = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert report["decontamination"]["more"]["evaluation"]["mine"]["documents"] >= 1
    measures = {
        row["measure"] for row in pq.read_table(tmp_path / "out/trials.parquet").to_pylist()
    }
    assert {"bits_per_byte/mine", "accuracy/pick"} < measures
    packed = (tmp_path / "out" / "runs" / "packed" / "base").glob("*.documents.parquet")
    ids = {i for p in packed for t in read_tables("", str(p)) for i in t["id"].to_pylist()}
    assert len(ids) > 5 and "g3" not in ids


TOML = """
set = { "mixture.max_epochs" = 50.0 }
seeds = 1
[base]
name = "made"
tokenizer = { vocab_size = 320 }
mixture = { weights = { good = 0.5, other = 0.5 } }
[base.sources]
good = { format = "table", paths = ["GOOD"] }
other = { format = "table", paths = ["OTHER"] }
[proxy]
preset = "tiny"
tokens = 512
sequence_length = 64
batch_rows = 4
validation_tokens = 1500
warmup_steps = 1
[arms.large]
set = { "tokenizer.vocab_size" = 448 }
"""


def test_the_command_with_a_design_and_a_tokenizer_of_its_own(inputs, tmp_path, capsys):
    paths = {name: str(inputs / f"{name.lower()}.jsonl") for name in ("GOOD", "OTHER")}
    config, out = tmp_path / "mine.toml", tmp_path / "out"
    config.write_text(TOML.replace("GOOD", paths["GOOD"]).replace("OTHER", paths["OTHER"]))
    call = ["ablate", str(config), "--out", str(out), "--ray", "off", "--json"]
    assert main([*call, "--design", "simplex", "--draws", "0"]) == 0
    text, _, last = capsys.readouterr().out.strip().rpartition("\n")
    assert "one seed: no verdict" in text and json.loads(last)["page"] == str(out / "ablation.html")
    assert (out / "ablation.html").stat().st_size > 10_000
    rows = pq.read_table(out / "trials.parquet").to_pylist()
    roles = {row["arm"]: row["role"] for row in rows}
    corners = {"corner-good": "corner", "corner-other": "corner"}
    assert roles == {"base": "base", "large": "arm"} | corners
    assert "law: 3 mixtures, and 2 sources need 4; use more draws" in text
    # the same documents to be measured on, in other tokens
    found = {}
    for path in (out / "runs" / "packed" / "base-validation").glob("good-*.arrow"):
        with pa.ipc.open_file(str(path)) as reader:
            size = reader.schema.metadata[b"vocab_size"]
        sidecar = read_tables("", str(path.with_suffix(".documents.parquet")))
        found[size] = sorted({i for t in sidecar for i in t["id"].to_pylist()})
    assert set(found) == {b"320", b"448"} and found[b"320"] == found[b"448"] != []
    config.write_text(config.read_text().replace('vocab_size" = 448', 'vocab" = 448'))
    assert main(call) == 2
    assert "arms.large" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_on_ray_and_run_again_the_table_is_the_same(inputs, tmp_path):
    given = table(inputs, control=CONTROL)
    given["proxy"] |= {"tokens": 60 * 256}
    given["base"]["mixture"]["max_epochs"] = 100.0
    code = (
        "import json, sys; from pipeline.ablation.run import ablate\n"
        "from pipeline.ablation.config import parse_ablation\n"
        "from pipeline.executor import connect\n"
        "if __name__ == '__main__':\n"
        "    with connect(None, 2) as cluster:\n"
        "        ablate(parse_ablation(json.loads(sys.argv[1])), sys.argv[2], cluster)\n"
    )

    def start(out: Path) -> subprocess.Popen:
        line = [sys.executable, "-c", code, json.dumps(given), str(out)]
        return subprocess.Popen(line, cwd=REPO, stderr=-3, stdout=-3, start_new_session=True)

    assert start(tmp_path / "whole").wait(timeout=900) == 0
    n_whole = sum(records(tmp_path / "whole").values())
    for share in (0.3, 0.7, 0.88, 0.94):  # stages, trainings, measures
        process = start(tmp_path / "killed")
        until = time.monotonic() + 600
        while (n := sum(records(tmp_path / "killed").values())) < share * n_whole:
            assert time.monotonic() < until
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert n < n_whole and not (tmp_path / "killed" / "ablation.json").exists()
    assert start(tmp_path / "killed").wait(timeout=900) == 0
    assert written(tmp_path / "killed") == written(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["free", "capped"])
def test_the_law_finds_the_mixture_that_is_known_to_be_right(case):
    """`other` is noise to a text of `good`'s words, so good has all the weight that it can get. The
    law that predicts unseen mixtures better is believed, and its proposal trained on."""
    found = measure(case, seed=0, draws=5)
    assert (found["right"] == 1.0) == (case == "free")
    [law] = [law for law in found["laws"].values() if law["measured"] is not None]
    assert law["rmse"] == min(other["rmse"] for other in found["laws"].values())
    assert abs(law["weight"] - found["right"]) < 0.1
    assert law["low"] <= law["weight"] <= law["high"]
    assert abs(law["predicted"] - law["measured"]) < 0.3
    assert found["bits_per_byte"]["confirm"] < found["bits_per_byte"]["base"]
