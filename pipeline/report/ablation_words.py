"""What the verdicts of an ablation say, as sentences."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipeline.report.layout import Safe, plural, strong
from train.verdicts import BETTER, NOT_SHOWN, WORSE, Verdict, notes_of

UNITS = {
    "bits_per_byte": "bits a byte",
    "answer_bits_per_byte": "bits a byte of answers",
    "accuracy": "accuracy",
    "accuracy_sum": "accuracy by plain sum",
}
LISTED = 6  # names in a sentence
SENTENCES = 10  # about arms


def unit_of(measure: str) -> str:
    kind = measure.partition("/")[0]
    return UNITS.get(kind, kind.replace("_", " "))


def measure_name(measure: str) -> str:
    name = measure.partition("/")[2]
    return f"{name}, {unit_of(measure)}" if name else measure


def decimals_of(measure: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Two digits of the usual standard error; 2 to 5 decimals."""
    sizes = sorted(v for row in rows if (v := row["standard_error"]))
    if not sizes:
        return 3 if measure.startswith("accuracy") else 4
    return min(max(1 - math.floor(math.log10(sizes[len(sizes) // 2])), 2), 5)


def facts(about: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
    """The line under the title."""
    arms = {row["arm"]: row["role"] for row in trials}
    seeds = sorted({row["seed"] for row in trials})
    if not arms:
        return "No trial is finished yet."
    kinds = [role for role in arms.values() if role not in ("base", "control")]
    parts = [plural(len(kinds), "arm") + (" and a control" if "control" in arms.values() else "")]
    parts[0] += " against the base"
    parts.append(plural(len(seeds), "seed") if len(seeds) != 1 else "one seed")
    if about.get("preset"):
        parts.append(f"{about['preset']} model")
    for key, unit in (("tokens", "token"), ("steps", "step")):
        values = {row[key] for row in trials if row["status"] == "done"}
        if len(values) == 1:
            parts.append(plural(values.pop(), unit))
    return " \u00b7 ".join(parts)


def findings(
    verdicts: Sequence[Mapping[str, Any]], control: str | None, about: Mapping[str, Any]
) -> list[str]:
    """A sentence for each arm, then what the control says, then notes."""
    by_arm: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in verdicts:
        by_arm[row["arm"]].append(row)
    alike = [arm for arm, rows in by_arm.items() if {row["word"] for row in rows} == {NOT_SHOWN}]
    if len(by_arm) <= SENTENCES:
        alike = []
    told = [arm for arm in by_arm if arm != control and arm not in alike]
    said: list[str] = [_of_arm(arm, by_arm[arm]) for arm in told[:SENTENCES]]
    if len(told) > SENTENCES:
        said.append(f"{len(told) - SENTENCES} more arms differ on some measure: see the table.")
    if alike:
        rows = [row for arm in alike for row in by_arm[arm]]
        said.append(f"{plural(len(alike), 'arm')}: {NOT_SHOWN} on any measure. {_unseen(rows)}")
    said.append(_of_control(control, by_arm.get(control or "", [])))
    lost = sorted({seed for row in verdicts for seed in row["base_diverged"]})
    if lost:
        seeds = ", ".join(map(str, lost))
        said.append(f"The base diverged with seed {seeds}: left out for all arms.")
    same = set(notes_of([Verdict(*(row[k] for k in Verdict._fields)) for row in verdicts], control))
    return [*said, *(str(note) for note in about.get("notes") or [] if note not in same)]


def _of_arm(arm: str, rows: Sequence[Mapping[str, Any]]) -> str:
    words: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        words[row["word"]].append(_short(row["measure"]))
    seeds = sorted({seed for row in rows for seed in row["diverged"]})
    if seeds:
        which = f"with seed {', '.join(map(str, seeds))}"
        return _led(arm, f"diverged {which}: no verdict, as the seeds left are no fair sample.")
    if set(words) == {NOT_SHOWN}:
        return _led(arm, f"{NOT_SHOWN} on {_every(len(rows))}. {_unseen(rows)}".strip())
    parts = []
    for word in (BETTER, WORSE):
        if words[word]:
            names = words[word]
            parts.append(f"{word} on {_names(names, len(rows))}")
    if parts and words[NOT_SHOWN]:
        parts.append(f"{NOT_SHOWN} on the other {len(words[NOT_SHOWN])}")
    others = [word for word in words if word not in (BETTER, WORSE, NOT_SHOWN) and words[word]]
    parts += [f"{word} ({_names(words[word], len(rows))})" for word in others]
    return _led(arm, f"{'; '.join(parts)}.")


def _of_control(control: str | None, rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "There is no control: nothing shows that this ablation could have seen a difference."
    name = "The control" if control == "control" else f"The control {control}"
    blind = [_short(row["measure"]) for row in rows if row["word"] != WORSE]
    if not blind:
        return (
            f"{name} was found worse on {_every(len(rows))}: a difference of that size can be seen."
        )
    if len(blind) == len(rows):
        return (
            f"This ablation could not see: {name[0].lower()}{name[1:]} was not found worse on "
            "any measure, so that no difference shown says nothing."
        )
    return (
        f"This ablation could not see everything: {name[0].lower()}{name[1:]} was not found "
        f"worse on {_names(blind, len(rows))}. There, no difference shown says nothing."
    )


def _unseen(rows: Sequence[Mapping[str, Any]]) -> str:
    """How large a difference might have been missed, of each kind of measure."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["detectable"]:
            found[unit_of(row["measure"])].append(row["detectable"])
    parts = []
    for unit, sizes in found.items():
        low, high = (f"{f(sizes):.2g}" for f in (min, max))
        parts.append(f"{low if low == high else f'{low} to {high}'} {unit}")
    return f"Less than {' and '.join(parts)} would mostly have gone unseen." if parts else ""


def _led(arm: str, rest: str) -> Safe:
    return Safe(f"{strong(arm)}: {escape(rest)}")


def _every(n: int) -> str:
    return "the one measure" if n == 1 else f"all {n} measures"


def _names(names: Sequence[str], of: int) -> str:
    if len(names) == of and of > 1:
        return _every(of)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _short(measure: str) -> str:
    """For a sentence: the held-out set, or the task and what of it."""
    kind, _, name = measure.partition("/")
    return name if kind == "bits_per_byte" and name else f"{name} ({unit_of(measure)})"
