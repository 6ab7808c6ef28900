"""Results of made-up ablations, as the runner leaves them: for tests of the tables and the page."""

import json
import math
from pathlib import Path

import numpy as np

from train.mixture_law import compare, held_out
from train.simplex import simplex_design


def example(
    directory: Path,
    *,
    sources: tuple[str, ...] = ("arxiv", "books", "web"),
    arms: tuple[str, ...] = ("more-books", "no-arxiv"),
    draws: int = 0,
    seeds: tuple[int, ...] = (0, 1, 2),
    control: bool = True,
    diverged: frozenset[tuple[str, int]] = frozenset(),
    steps: int = 120,
    task: bool = True,
    law: bool = False,
) -> dict:
    """Writes trials/ below the directory; returns the plan for ablation_tables.write."""
    d = len(sources)
    base = [1 / d] * d
    design = simplex_design(base, max(draws, d + 1), 0) if draws else np.array([base])
    mixtures = {"base": ("base", base)}
    draw = np.random.default_rng(1)
    for arm in arms:
        mixtures[arm] = ("arm", draw.dirichlet(np.full(d, 4.0)).tolist() if d > 1 else [1.0])
    for i, weights in enumerate(design[1:]):
        role = "corner" if i < d else "draw"
        mixtures[f"{role}-{i}"] = (role, weights.tolist())
    if law:
        mixtures["best-ridge"] = ("confirm", [0.5, 0.3, 0.2, *[0.0] * (d - 3)][:d])
    if control:
        mixtures["control"] = ("control", base)
    losses = {}
    for arm, (role, weights) in mixtures.items():
        for seed in seeds:
            status = "diverged" if (arm, seed) in diverged else "done"
            measures = trial(directory, arm, role, seed, weights, sources, status, steps, task)
            losses[arm, seed] = np.mean(
                [measures.get(f"bits_per_byte/{s}", 0) or math.nan for s in sources]
            )
    plan = {
        **{"base": "base", "control": "control" if control else None, "seeds": list(seeds)},
        "higher_is_better": ["accuracy/quiz", "accuracy_sum/quiz"] if task else [],
        "arms": {
            arm: {
                "role": role,
                "sources": list(sources),
                "mixture": {
                    s: {"weight": w, "proportion": round(w * 0.98 + 0.005, 4), "epochs": 3 * w}
                    for s, w in zip(sources, weights, strict=True)
                },
            }
            for arm, (role, weights) in mixtures.items()
        },
    }
    if law:
        plan |= _laws(mixtures, losses, sources, seeds)
    about = {"name": "which mixture", "preset": "tiny", "notes": []}
    left_out = {s: {"documents": 90, "held_out": 4, "evaluation": 1} for s in sources}
    inside = {"documents": 3, "largest": 0.75, "item": "quiz.jsonl/2", "id": "web/page-9"}
    about["decontamination"] = {
        arm: {"sources": left_out, "evaluation": {"quiz": inside} if task else {}}
        for arm in mixtures
    }
    (directory / "ablation.json").write_text(json.dumps(about))
    return plan


def trial(directory, arm, role, seed, weights, sources, status, steps, task) -> dict:
    noise = np.random.default_rng([seed, *arm.encode()])
    shared = np.random.default_rng(seed).normal(0, 0.02)
    worse = 0.6 if role == "control" else 0.0
    measures: dict[str, float | None] = {}
    for source, w in zip(sources, weights, strict=True):
        bits = 2.6 + 0.5 * math.exp(-4 * w) + worse + shared + noise.normal(0, 0.004)
        measures[f"bits_per_byte/{source}"] = bits
    if task:
        measures["accuracy/quiz"] = 0.4 - worse / 6 + noise.normal(0, 0.01)
        measures["answer_bits_per_byte/quiz"] = 1.4 + worse + noise.normal(0, 0.01)
    folder = directory / "trials" / arm / f"seed-{seed}"
    folder.mkdir(parents=True)
    lines = []
    for step in range(1, (steps // 3 if status == "diverged" else steps) + 1):
        fall = 5 * math.exp(-step / 18) + noise.normal(0, 0.05)
        by_source = {s: measures[f"bits_per_byte/{s}"] * 2.4 + fall for s in sources}
        bits = {s: v / 2.4 for s, v in by_source.items()}
        loss = float(np.mean(list(by_source.values())))
        lines.append({"step": step, "loss": loss, "tokens": 4096, "loss_by_source": by_source})
        lines[-1] |= {"bits_per_byte": loss / 2.4, "bits_per_byte_by_source": bits}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if status == "diverged":
        measures = dict.fromkeys(measures)
    result = {"arm": arm, "role": role, "seed": seed, "status": status, "measures": measures}
    result |= {"tokens": 4096 * len(lines), "steps": len(lines)}
    (folder / "result.json").write_text(json.dumps(result))
    return measures


def _laws(mixtures, losses, sources, seeds) -> dict:
    kept = [
        (a, s)
        for a, (role, _) in mixtures.items()
        for s in seeds
        if role not in ("control", "confirm")
    ]
    w = np.array([mixtures[arm][1] for arm, _ in kept])
    y = np.array([losses[pair] for pair in kept])
    rows, predictions = [], []
    for kind, (quality, proposal) in compare(w, y, resamples=10).items():
        of, says = held_out(w, y, kind)
        for arm in dict.fromkeys(kept[i][0] for i in of):
            mine = [n for n, i in enumerate(of) if kept[i][0] == arm]
            predictions.append(
                {
                    "kind": kind,
                    "arm": arm,
                    "predicted": float(says[mine].mean()),
                    "measured": float(y[of[mine]].mean()),
                }
            )
        confirmed = kind == "ridge"
        for i, source in enumerate(sources):
            rows.append(
                {
                    **{"kind": kind, **quality._asdict(), "source": source},
                    **{
                        "weight": proposal.weights[i],
                        "low": proposal.low[i],
                        "high": proposal.high[i],
                    },
                    **{"predicted": proposal.loss, "predicted_low": proposal.loss_low},
                    "predicted_high": proposal.loss_high,
                    "measured": proposal.loss + 0.01 if confirmed else None,
                    "measured_error": 0.004 if confirmed else None,
                }
            )
    return {"laws": rows, "predictions": predictions}
