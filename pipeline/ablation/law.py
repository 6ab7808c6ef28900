"""Which mixtures a design adds to an ablation, and the law of the loss fitted over all of its
mixtures (train/mixture_law.py): the proposal, and the arm that confirms it."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pipeline.ablation.arms import Ground, Prepared, weight_caps
from pipeline.ablation.config import CONFIRM, Arm, Role, with_weights
from pipeline.config import Run
from pipeline.executor import StageError
from pipeline.mixture import source_of
from train.mixture_law import compare, held_out
from train.simplex import project, simplex_design

SLACK = 0.99  # of the epoch caps that a designed mixture uses: groups are cut between documents
Results = list[dict[str, Any]]


class Law(NamedTuple):
    """Both laws, and what the one with the smaller error proposes."""

    rows: list[dict[str, Any]]  # of the table law
    predictions: list[dict[str, Any]]  # of the table predictions
    believed: str
    target: list[str]  # the measures whose mean it is of
    weights: dict[str, float]  # proposed


def design_arms(ground: Ground) -> list[Arm]:
    """Corners and draws, as near as the epoch caps let them; none that another arm is already.
    Raises StageError for a budget that all sources together cannot fill."""
    ablation, design = ground.ablation, ground.ablation.design
    base = ablation.base.run
    if not design or not base.mixture:
        return []
    groups = list(base.mixture.weights)
    caps = _caps(ground, groups)
    if caps.sum() < 1:
        raise StageError(
            f"proxy.tokens: {ablation.proxy.budget}, and a design over all sources gets at most "
            f"{int(caps.sum() * ablation.proxy.budget)} within max_epochs; use that or less"
        )
    center = [base.mixture.weights[group] for group in groups]
    points = simplex_design(center, len(groups) + 1 + design.draws, design.seed, design.spread)[1:]
    named: list[tuple[str, Role]] = [(f"corner-{g.replace('/', '_')}", "corner") for g in groups]
    named += [(f"draw-{i:02d}", "draw") for i in range(1, design.draws + 1)]
    arms = {_key(arm.run, groups): arm for arm in ablation.arms.values() if not arm.control}
    taken = set(arms)
    for (name, role), point in zip(named, project(points, caps), strict=True):
        run = with_weights(base, name, _rounded(groups, point))
        seeds = ablation.seeds[: design.seeds]
        arms.setdefault(_key(run, groups), Arm(name=name, role=role, run=run, seeds=seeds))
    return [arm for key, arm in arms.items() if key not in taken]


def fit_law(ground: Ground, prepared: list[Prepared], results: Results) -> Law | str:
    """Of the arms that differ from the base in their weights alone; or why there is none ("" where
    nobody asked). Raises StageError for a target that was not measured."""
    ablation = ground.ablation
    mine = {p.arm.name: p for p in prepared if _of_the_law(p.arm, ablation.base.run)}
    groups = list(dict.fromkeys(group for p in mine.values() for group in _weights(p.arm.run)))
    few = len(mine) < len(groups) + 2
    if len(groups) < 2 or few:
        wanted = f"law: {len(mine)} mixtures, and {len(groups)} sources need {len(groups) + 2}"
        return f"{wanted}; use more draws" if ablation.design else ""
    target = _target(ground)
    rows = [result for result in results if result["arm"] in mine]
    losses = np.array([[_loss(result, name) for name in target] for result in rows])
    weights = np.array([_shares(mine[result["arm"]], groups) for result in rows])
    try:
        laws = compare(weights, losses, _caps(ground, groups).tolist())
    except ValueError as error:  # too many diverged, or caps that no mixture meets
        return f"law: {error}"
    table, predictions = [], []
    for kind, (quality, proposal) in laws.items():
        of_law = {"kind": kind, **quality._asdict(), "predicted": proposal.loss}
        of_law |= {"predicted_low": proposal.loss_low, "predicted_high": proposal.loss_high}
        of_law |= {"measured": None, "measured_error": None}
        columns = zip(groups, proposal.weights, proposal.low, proposal.high, strict=True)
        for group, weight, low, high in columns:
            table.append({**of_law, "source": group, "weight": weight, "low": low, "high": high})
        kept, predicted = held_out(weights, losses, kind)
        predictions += _by_arm(kind, [rows[i]["arm"] for i in kept], predicted, losses[kept])
    believed = min(laws, key=lambda kind: laws[kind][0].rmse)
    proposed = _rounded(groups, np.array(laws[believed][1].weights))
    return Law(table, predictions, believed, target, proposed)


def confirming_arm(ground: Ground, law: Law) -> Arm:
    run = with_weights(ground.ablation.base.run, CONFIRM, law.weights)
    return Arm(name=CONFIRM, role="confirm", run=run, seeds=ground.ablation.seeds)


def confirmed(law: Law, results: Results) -> Law:
    """The law with what its mixture came to, beside what it had said."""
    losses = [float(np.mean([_loss(result, name) for name in law.target])) for result in results]
    losses = [loss for loss in losses if np.isfinite(loss)]
    if not losses:
        return law
    measured = float(np.mean(losses))
    error = float(np.std(losses, ddof=1) / len(losses) ** 0.5) if len(losses) > 1 else None
    found = {"measured": measured, "measured_error": error}
    rows = [row | (found if row["kind"] == law.believed else {}) for row in law.rows]
    predicted = next(row["predicted"] for row in rows if row["kind"] == law.believed)
    point = {"kind": law.believed, "arm": CONFIRM, "predicted": predicted, "measured": measured}
    return law._replace(rows=rows, predictions=[*law.predictions, point])


def _caps(ground: Ground, groups: list[str]) -> np.ndarray:
    caps = weight_caps(ground, groups)
    return np.array([min(1.0, caps[group] * SLACK) for group in groups])


def _weights(run: Run) -> dict[str, float]:
    return run.mixture.weights if run.mixture else {}


def _of_the_law(arm: Arm, base: Run) -> bool:
    """Whether an arm differs from the base in its weights, or in nothing."""
    if arm.control or not arm.run.mixture or not base.mixture or not base.mixture.weights:
        return False
    if not arm.run.mixture.weights:
        return False
    mixture = replace(arm.run.mixture, weights=base.mixture.weights)
    return replace(arm.run, name=base.name, mixture=mixture) == base


def _rounded(groups: list[str], weights: np.ndarray) -> dict[str, float]:
    """To four digits, summing to 1."""
    out = {group: round(float(w), 4) for group, w in zip(groups, weights, strict=True)}
    largest = max(out, key=lambda group: out[group])
    out[largest] = round(out[largest] + 1 - sum(out.values()), 4)
    return out


def _key(run: Run, groups: list[str]) -> tuple[float, ...]:
    return tuple(round(_weights(run).get(group, 0.0), 4) for group in groups)


def _shares(prepared: Prepared, groups: list[str]) -> list[float]:
    """What the arm got of each group, of its tokens."""
    tokens = dict.fromkeys(groups, 0)
    for name, row in prepared.packed.mixture.items():
        tokens[name if name in tokens else source_of(name)] += row["tokens"]
    total = sum(tokens.values())
    return [n / total for n in tokens.values()]


def _target(ground: Ground) -> list[str]:
    design, texts = ground.ablation.design, ground.ablation.evaluate.texts
    if design and design.target:
        return list(design.target)
    return [f"bits_per_byte/{name}" for name in texts or sorted(ground.limits)]


def _loss(result: dict[str, Any], measure: str) -> float:
    """NaN where the trial diverged."""
    if measure not in result["measures"] and result["status"] == "done":
        known = ", ".join(sorted(result["measures"]))
        raise StageError(f"design.target: no measure {measure!r}; there are {known}")
    value = result["measures"].get(measure)
    return float("nan") if value is None else value


def _by_arm(
    kind: str, arms: list[str], predicted: np.ndarray, losses: np.ndarray
) -> list[dict[str, Any]]:
    """The seeds of an arm have one prediction."""
    out = []
    for arm in dict.fromkeys(arms):
        mine = np.array([name == arm for name in arms])
        guess, measured = float(predicted[mine].mean()), float(losses[mine].mean())
        out.append({"kind": kind, "arm": arm, "predicted": guess, "measured": measured})
    return out
