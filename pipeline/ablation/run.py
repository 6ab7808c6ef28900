"""Mixture ablations: which corpus is better to train on, and is the difference real?

    base, arms -> documents, tokens, packed rows   (runs/: one root, equal stages are shared)
               -> trials                           (trials/: each arm with each seed, on Ray)
               -> law, confirmation                (where enough arms differ only in their weights)
               -> tables, verdicts, page           (*.parquet, ablation.json, ablation.html)

The same model, as many tokens in as many steps, the same documents to be measured on, rows in an
order by hash and seed: what differs between two arms is the corpus. Seeds change the first weights
and the order of the rows, not which documents a mixture takes, so that part of the noise is not in
the intervals. No trial is stopped early, but for a loss that is not finite or for max_spikes.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

from pipeline.ablation import tables
from pipeline.ablation.arms import Ground, Prepared, lay_ground, prepare, read_sets
from pipeline.ablation.config import BASE, CONTROL, Ablation, Arm
from pipeline.ablation.law import Law, confirmed, confirming_arm, design_arms, fit_law
from pipeline.ablation.trials import DIVERGED, run_trials
from pipeline.build_config import ConfigError
from pipeline.config import resolved
from pipeline.executor import Cluster, StageError
from pipeline.identity import digest
from pipeline.named_files import look_for_files
from pipeline.state import input_path
from pipeline.storage import absolute, join, write_json
from train.measures import higher_is_better
from train.verdicts import Judgement

INSIDE = 0.5  # of a text's words in one document of the corpus: the text is inside


class Outcome(NamedTuple):
    """Of an ablation. report: what ablation.json holds."""

    directory: str
    report: dict[str, Any]
    judgement: Judgement


def check_ablation(ablation: Ablation) -> None:
    """Looks for every arm's files and reads the evaluation texts, before Ray starts. Raises
    ConfigError."""
    mistakes: list[str] = []
    for arm in ablation.arms.values():
        try:
            look_for_files(arm.run)
        except ConfigError as error:
            place = "base" if arm.name == BASE else f"arms.{arm.name}"
            mistakes += [f"{place}: {line}" for line in error.mistakes]
        if mistakes:
            raise ConfigError(mistakes)
    read_sets(ablation.evaluate, lambda path: input_path(ablation.base.run, path))


def ablate(
    ablation: Ablation, out: str, cluster: Cluster, say: Callable[[str], None] = print
) -> Outcome:
    """Does what is left of an ablation, and writes its tables. Raises StageError,
    and ConfigError for `out`."""
    if "://" in out:
        raise ConfigError([f"--out {out}: trainings write to a local directory; name one"])
    directory = absolute(out)
    ground = lay_ground(ablation, join(directory, "runs"), cluster)
    prepared = _prepare_all(ground, [*ablation.arms.values(), *design_arms(ground)])
    notes = _notes(ground, prepared)
    for note in notes:
        say(f"note: {note}")
    n_trials = sum(len(p.arm.seeds) for p in prepared)
    say(f"{len(prepared)} arms, {n_trials} trials of {ablation.proxy.budget:,} tokens")
    results = run_trials(ablation, prepared, directory, cluster)
    law = fit_law(ground, prepared, results)
    if isinstance(law, str):
        notes += [law] if law else []
    elif ablation.design and ablation.design.confirm:
        prepared += _prepare_all(ground, [confirming_arm(ground, law)])
        more = run_trials(ablation, prepared[-1:], directory, cluster)
        law, results = confirmed(law, more), results + more
    judgement = tables.write(directory, _plan(ablation, prepared, results, law))
    for r in results:
        if r["status"] == DIVERGED:
            notes.append(f"{r['arm']}, seed {r['seed']}: diverged: {r['reason']}")
    report = _report(ground, prepared, [*notes, *judgement.notes])
    report["could_see"] = judgement.could_see
    report["verdicts"] = [
        {"arm": v.arm, "measure": v.measure, "word": v.word} for v in judgement.verdicts
    ]
    write_json(join(directory, "ablation.json"), report)
    return Outcome(directory, report, judgement)


def _prepare_all(ground: Ground, arms: list[Arm]) -> list[Prepared]:
    """All arms, or a StageError with what is wrong with any of them, before one is trained on."""
    prepared, failures = [], []
    for arm in arms:
        try:
            prepared.append(prepare(ground, arm))
        except StageError as error:
            failures.append(str(error))
    if failures:
        raise StageError("\n".join(failures))
    return prepared


def _notes(ground: Ground, prepared: list[Prepared]) -> list[str]:
    """What to know before the trainings."""
    ablation, notes = ground.ablation, []
    if len(ablation.seeds) == 1:
        notes.append("one seed: differences are shown, without a verdict")
    for source, n in sorted(ground.too_small.items()):
        notes.append(f"{source}: {n:,} tokens are too few to hold any out; it is not measured")
    of_base = prepared[0].aside
    for name, found in of_base["evaluation"].items():
        where = (
            ""
            if found["largest"] < INSIDE
            else (f"; {found['largest']:.0%} of {found['item']} is inside {found['id']}")
        )
        notes.append(
            f"{name}: {found['documents']:,} documents of the base share 13 words in a row with "
            f"it, and no arm is trained on such{where}"
        )
    for p in prepared:
        short = 1 - p.packed.packing["tokens"] / ablation.proxy.budget
        if short > 0.02:
            notes.append(f"{p.arm.name}: {short:.0%} of the budget is filled by rows seen before")
    return notes


def _plan(
    ablation: Ablation, prepared: list[Prepared], results: list[dict[str, Any]], law: Law | str
) -> dict[str, Any]:
    """What the tables are made from, besides the trials."""
    measures = sorted({name for result in results for name in result["measures"]})
    return {
        "base": BASE,
        "control": CONTROL if CONTROL in ablation.arms else None,
        "seeds": list(ablation.seeds),
        "arms": {p.arm.name: {"role": p.arm.role, "mixture": p.packed.mixture} for p in prepared},
        "laws": [] if isinstance(law, str) else law.rows,
        "predictions": [] if isinstance(law, str) else law.predictions,
        "higher_is_better": sorted(higher_is_better(measures)),
    }


def _report(ground: Ground, prepared: list[Prepared], notes: list[str]) -> dict[str, Any]:
    """ablation.json: what was compared, and the proof that it was fair. No times in it."""
    ablation, proxy = ground.ablation, ground.ablation.proxy
    arms = {}
    for p in prepared:
        config = resolved(p.arm.run)
        arms[p.arm.name] = {
            **{"role": p.arm.role, "seeds": list(p.arm.seeds), "config": config},
            **{"digest": digest(config), "corpus_digest": p.corpus_digest},
            **{"shares_documents": p.corpus_digest == ground.corpus_digest},
            **{"rows": digest(p.content), "mixture": p.packed.mixture},
            **{"packing": p.packed.packing},
            **{"made_worse": asdict(p.arm.control) if p.arm.control else None},
        }
    return {
        "name": ablation.name,
        "base": BASE,
        "control": CONTROL if CONTROL in ablation.arms else None,
        "seeds": list(ablation.seeds),
        "preset": proxy.train.preset,
        "tokens": proxy.budget,
        "steps": proxy.train.steps,
        "measured_on": [*sorted(ground.limits), *ablation.evaluate.texts],
        "tasks": list(ablation.evaluate.tasks),
        "validation_rows": digest(prepared[0].validation_content),
        "arms": arms,
        "decontamination": {p.arm.name: p.aside for p in prepared},
        "notes": notes,
    }


def render(outcome: Outcome) -> str:
    """The verdicts as plain text, at most 100 columns, and the notes."""
    heads = f"{'difference':>11}{'s.e.':>8}{'p':>8}{'sees':>8}"
    lines = [f"{'measure':<30}{'arm':<16}{heads}  verdict"]
    before = ""
    for v in outcome.judgement.verdicts:
        name = v.measure if v.measure != before else ""
        before = v.measure
        numbers = (v.difference, v.standard_error, v.p_corrected, v.detectable)
        width = (11, 8, 8, 8)
        cells = (
            f"{'-' if n is None else format(n, '+.4f' if i == 0 else '.4f'):>{width[i]}}"
            for i, n in enumerate(numbers)
        )
        arm = v.arm[:15]
        lines.append(f"{name[:29]:<30}{arm:<16}{''.join(cells)}  {v.word}")
    lines += ["", "difference from the base, its standard error over seeds, p (Holm), and the"]
    lines += ["smallest difference that these trials would show four times in five"]
    lines += [f"note: {note}" for note in outcome.report["notes"]]
    return "\n".join(lines)
