"""The tables of an ablation, from the results of its finished trials: a pure function of
result.json, metrics.jsonl and the plan, the same bytes every time.

Verdicts are for the arms that the user asked about, the control and the mixtures that confirm a
law. Corners and draws of a design are points of that law: forty more comparisons would only make
every correction for their number harder to pass (train.verdicts, Holm).
"""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import write_bytes
from train.verdicts import Judgement, Trial, judge

JUDGED = ("base", "arm", "control", "confirm")
CURVE_POINTS = 500  # of a trial: longer logs are means over windows of steps

TRIALS = pa.schema(
    [
        ("arm", pa.string()),
        ("role", pa.string()),
        ("seed", pa.int64()),
        ("status", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),  # null where it diverged
        ("tokens", pa.int64()),
        ("steps", pa.int32()),
    ]
)
MIXTURES = pa.schema(
    [
        ("arm", pa.string()),
        ("role", pa.string()),
        ("source", pa.string()),
        ("weight", pa.float64()),  # wanted
        ("share", pa.float64()),  # got, of the tokens
        ("epochs", pa.float64()),
    ]
)
CURVES = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("step", pa.int32()),
        ("tokens", pa.int64()),  # seen so far
        ("source", pa.string()),  # "all": of the whole step
        ("loss", pa.float64()),  # nats a token
        ("bits_per_byte", pa.float64()),
    ]
)
VERDICTS = pa.schema(
    [
        ("arm", pa.string()),
        ("role", pa.string()),
        ("measure", pa.string()),
        ("n", pa.int32()),
        *((name, pa.float64()) for name in ("difference", "standard_error", "low", "high")),
        *((name, pa.float64()) for name in ("p", "p_corrected", "detectable")),
        ("word", pa.string()),
        ("diverged", pa.list_(pa.int64())),
        ("base_diverged", pa.list_(pa.int64())),
    ]
)
LAW = pa.schema(
    [
        ("kind", pa.string()),
        *((name, pa.float64()) for name in ("rmse", "r2", "rank_correlation")),
        ("source", pa.string()),
        *((name, pa.float64()) for name in ("weight", "low", "high")),
        *((name, pa.float64()) for name in ("predicted", "predicted_low", "predicted_high")),
        ("measured", pa.float64()),  # null until it is confirmed
        ("measured_error", pa.float64()),  # its standard error over seeds
    ]
)
PREDICTIONS = pa.schema(
    [
        ("kind", pa.string()),
        ("arm", pa.string()),
        ("predicted", pa.float64()),  # by a law fitted without it
        ("measured", pa.float64()),  # mean over seeds
    ]
)


def write(directory: str, plan: Mapping[str, Any]) -> Judgement:
    """Writes trials, mixtures, curves, verdicts, law and predictions (.parquet) into the directory.

    plan: base, control (or None), seeds, higher_is_better, alpha (.05), and arms: name -> {role,
    mixture: {group: {weight, proportion, epochs}}}; laws and predictions: rows of their tables.
    Trials are read from trials/<arm>/seed-<k>/; what is not finished is left out. Before the base
    has a finished trial there are no verdicts, and a note says so.
    """
    arms: Mapping[str, Mapping[str, Any]] = plan["arms"]
    trials = list(_finished(directory, plan))
    measures = sorted({name for trial in trials for name in trial["measures"]})
    _write(directory, "trials", TRIALS, _trial_rows(trials, measures))
    _write(directory, "mixtures", MIXTURES, _mixture_rows(arms))
    _write(directory, "curves", CURVES, [row for trial in trials for row in trial["curves"]])
    judgement = _judge(trials, measures, plan)
    rows = [{**v._asdict(), "role": arms[v.arm]["role"]} for v in judgement.verdicts]
    _write(directory, "verdicts", VERDICTS, rows)
    _write(directory, "law", LAW, plan.get("laws") or [])
    _write(directory, "predictions", PREDICTIONS, plan.get("predictions") or [])
    return judgement


def _write(directory: str, name: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    write_bytes(f"{directory.rstrip('/')}/{name}.parquet", sink.getvalue())


def _finished(directory: str, plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The trials that have a result, in the order of the plan."""
    for arm, settings in plan["arms"].items():
        for seed in plan["seeds"]:
            folder = Path(directory) / "trials" / arm / f"seed-{seed}"
            if not (folder / "result.json").exists():
                continue
            result = json.loads((folder / "result.json").read_text())
            yield {
                **{"arm": arm, "role": settings["role"], "seed": seed},
                **{key: result[key] for key in ("status", "tokens", "steps")},
                "measures": result.get("measures") or {},
                "curves": _curve_rows(folder / "metrics.jsonl", arm, seed),
            }


def _trial_rows(trials: list[dict[str, Any]], measures: list[str]) -> list[dict[str, Any]]:
    """A diverged trial has a row of every measure, too: without a value."""
    rows = []
    for trial in trials:
        diverged = trial["status"] != "done"
        for name in measures if diverged else sorted(trial["measures"]):
            value = None if diverged else trial["measures"][name]
            rows.append({**trial, "measure": name, "value": value})
    return rows


def _mixture_rows(arms: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **{"arm": arm, "role": settings["role"], "source": group},
            **{"weight": row["weight"], "share": row["proportion"], "epochs": row["epochs"]},
        }
        for arm, settings in arms.items()
        for group, row in sorted(settings.get("mixture", {}).items())
    ]


def _curve_rows(path: Path, arm: str, seed: int) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    window = max(1, -(-len(lines) // CURVE_POINTS))
    rows, tokens = [], 0
    for first in range(0, len(lines), window):
        part = lines[first : first + window]
        tokens += sum(line["tokens"] for line in part)
        here = {"arm": arm, "seed": seed, "step": part[-1]["step"], "tokens": tokens}
        found = [({"all": line["loss"]}, {"all": line.get("bits_per_byte")}) for line in part]
        found += [
            (line.get("loss_by_source", {}), line.get("bits_per_byte_by_source", {}))
            for line in part
        ]
        for source in sorted({name for losses, _ in found for name in losses}):
            loss = [losses[source] for losses, _ in found if source in losses]
            bits = [b for _, named in found if (b := named.get(source)) is not None]
            mean = {"loss": sum(loss) / len(loss)}
            mean["bits_per_byte"] = sum(bits) / len(bits) if bits else None
            rows.append({**here, "source": source, **mean})
    return rows


def _judge(trials: list[dict[str, Any]], measures: list[str], plan: Mapping[str, Any]) -> Judgement:
    found = []
    for trial in trials:
        if trial["role"] in JUDGED:
            values = {n: v for n in measures if (v := _value(trial, n)) is not None}
            found.append(Trial(trial["arm"], trial["seed"], values))
    done = {trial.arm for trial in found}
    if plan["base"] not in done:
        return Judgement([], None, [f"{plan['base']}: the base has no finished trial yet"])
    control = plan.get("control") if plan.get("control") in done else None
    higher = frozenset(plan.get("higher_is_better", ()))
    judgement = judge(found, plan["base"], control, higher, plan.get("alpha", 0.05))
    if plan.get("control") and not control:
        notes = [f"{plan['control']}: the control has no finished trial yet", *judgement.notes]
        judgement = judgement._replace(notes=notes)
    return judgement


def _value(trial: dict[str, Any], measure: str) -> float | None:
    """NaN where the trial diverged, None where it was not measured."""
    if trial["status"] != "done":
        return float("nan")
    if measure not in trial["measures"]:
        return None
    value = trial["measures"][measure]
    return float("nan") if value is None else value
