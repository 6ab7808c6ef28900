"""The tables of an ablation: what is finished, the same bytes, nothing averaged away."""

import json

import pyarrow.parquet as pq
import pytest

from pipeline.ablation.tables import write
from tests.ablation_example import example

NAMES = ("trials", "mixtures", "curves", "verdicts", "law", "predictions")


def rows(directory, name):
    return pq.read_table(directory / f"{name}.parquet").to_pylist()


def test_literal_rows(tmp_path):
    for arm, value in (("base", 1.5), ("x", 1.25)):
        folder = tmp_path / "trials" / arm / "seed-7"
        folder.mkdir(parents=True)
        measures = {"bits_per_byte/web": value}
        result = {"status": "done", "tokens": 20, "steps": 2, "measures": measures}
        (folder / "result.json").write_text(json.dumps(result))
        log = [
            {"step": 1, "loss": 4.0, "tokens": 10, "loss_by_source": {"web": 4.0}},
            {"step": 2, "loss": 3.0, "tokens": 10, "loss_by_source": {"web": 3.0}}
            | {"bits_per_byte": 1.0, "bits_per_byte_by_source": {"web": 1.0}},
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    mixture = {"web": {"weight": 1.0, "proportion": 0.99, "epochs": 0.5}}
    arms = {"base": {"role": "base", "mixture": mixture}, "x": {"role": "arm", "mixture": {}}}
    judgement = write(str(tmp_path), {"base": "base", "control": None, "seeds": [7], "arms": arms})
    assert rows(tmp_path, "trials")[1] == {
        **{"arm": "x", "role": "arm", "seed": 7, "status": "done"},
        **{"measure": "bits_per_byte/web", "value": 1.25, "tokens": 20, "steps": 2},
    }
    assert rows(tmp_path, "mixtures") == [
        {
            "arm": "base",
            "role": "base",
            "source": "web",
            "weight": 1.0,
            "share": 0.99,
            "epochs": 0.5,
        }
    ]
    found = [tuple(row.values()) for row in rows(tmp_path, "curves")][:4]
    assert found == [
        ("base", 7, 1, 10, "all", 4.0, None),
        ("base", 7, 1, 10, "web", 4.0, None),
        ("base", 7, 2, 20, "all", 3.0, 1.0),
        ("base", 7, 2, 20, "web", 3.0, 1.0),
    ]
    [verdict] = rows(tmp_path, "verdicts")
    assert (verdict["difference"], verdict["word"]) == (-0.25, "one seed: no verdict")
    assert verdict["role"] == "arm" and judgement.could_see is None
    assert rows(tmp_path, "law") == rows(tmp_path, "predictions") == []


def test_the_same_bytes_and_only_what_is_finished(tmp_path):
    plan = example(tmp_path, draws=10, law=True)
    judgement = write(str(tmp_path), plan)
    before = {name: (tmp_path / f"{name}.parquet").read_bytes() for name in NAMES}
    assert write(str(tmp_path), plan) == judgement
    assert before == {name: (tmp_path / f"{name}.parquet").read_bytes() for name in NAMES}
    assert all(rows(tmp_path, name) for name in NAMES)
    judged = {row["arm"] for row in rows(tmp_path, "verdicts")}
    assert judged == {"more-books", "no-arxiv", "best-ridge", "control"}  # no corners, no draws
    (tmp_path / "trials" / "more-books" / "seed-2" / "result.json").unlink()
    write(str(tmp_path), plan)
    seeds = {row["seed"] for row in rows(tmp_path, "trials") if row["arm"] == "more-books"}
    assert seeds == {0, 1}


def test_a_diverged_trial_is_kept_and_marked(tmp_path):
    write(str(tmp_path), example(tmp_path, diverged=frozenset({("no-arxiv", 1)})))
    mine = [row for row in rows(tmp_path, "trials") if row["arm"] == "no-arxiv"]
    lost = [row for row in mine if row["seed"] == 1]
    assert len(lost) == 5 and {(row["status"], row["value"]) for row in lost} == {
        ("diverged", None)
    }
    for row in rows(tmp_path, "verdicts"):
        if row["arm"] == "no-arxiv":
            assert (row["word"], row["diverged"]) == ("diverged: no verdict", [1])


@pytest.mark.parametrize("missing", ["base", "control"])
def test_before_base_or_control_are_done(tmp_path, missing):
    plan = example(tmp_path)
    for path in (tmp_path / "trials" / missing).glob("*/result.json"):
        path.unlink()
    judgement = write(str(tmp_path), plan)
    assert judgement.notes[0].startswith(missing) and "no finished trial yet" in judgement.notes[0]
    assert bool(judgement.verdicts) == (missing == "control")


def test_long_logs_are_means_over_windows(tmp_path):
    write(str(tmp_path), example(tmp_path, arms=(), control=False, seeds=(0,), steps=1700))
    found = [row for row in rows(tmp_path, "curves") if row["source"] == "all"]
    assert (len(found), found[0]["step"], found[-1]["step"]) == (425, 4, 1700)
    assert found[-1]["tokens"] == 1700 * 4096
