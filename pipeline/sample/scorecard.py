"""How well each stage did on the demo, against what was planted in its inputs (truth.jsonl).

Judged from the tables of a finished run alone: documents/, removed/ and errors/. What a stage never
saw, because an earlier one had removed it, is left out of its score and counted in the note.
"""

import json
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from pipeline.sample.prose import words
from pipeline.storage import list_files, read_json

MARGIN = (
    0.02  # of similarity: extraction may add a line to a text, so pairs this near are not judged
)
FILTERS = ("language.", "gopher_quality.", "gopher_repetition.", "quality.", "perplexity.")
SHORT = (*FILTERS, "ingest.no_text")  # a few words beside a menu may be no content at all

Truth = dict[str, Any]  # a line of truth.jsonl


class Score(NamedTuple):
    """One line. `precision` and `recall` are None where there was nothing to count."""

    component: str
    planted: int  # what there was to catch
    caught: int
    wrongly_caught: int
    precision: float | None  # caught / (caught + wrongly_caught)
    recall: float | None  # caught / planted
    note: str = ""


class Outcome(NamedTuple):
    """Where every document of a run ended."""

    kept: dict[str, str]  # id -> text
    rule: dict[str, str]  # of removed documents
    matched: dict[str, str]  # removed document -> the kept one that it matches
    errors: dict[str, set[str]]  # id, or place of a record without one -> kinds
    similarity: float  # of [dedup.minhash]; 1 where it was not run
    ngram_words: int  # of [dedup.ngrams]; 0 where it was not run

    def by_rule(self, prefixes: str | tuple[str, ...]) -> set[str]:
        return {id for id, rule in self.rule.items() if rule.startswith(prefixes)}


def scorecard(out: Path, truth: Path) -> list[Score]:
    """Scores of a run in `out` on the inputs that `truth` describes."""
    with truth.open(encoding="utf-8") as file:
        plants = [json.loads(line) for line in file]
    outcome = read_outcome(out)
    of: dict[str, list[Truth]] = defaultdict(list)
    for plant in plants:
        of[plant["component"]].append(plant)
    to_remove = {p["id"] for p in plants if p["expect"] == "removed" and not p["group"]}
    return [
        _faults(of["fault"], outcome),
        _filter("language", of["language"], outcome, to_remove, ("language.",), "language."),
        _filter("too short", of["too_short"], outcome, to_remove, SHORT, "gopher_quality."),
        _filter("repetition", of["repetition"], outcome, to_remove, FILTERS, "gopher_repetition."),
        _filter("spam", of["spam"], outcome, to_remove, FILTERS, "quality."),
        _filter("gibberish", of["gibberish"], outcome, to_remove, FILTERS, "perplexity."),
        _filter(
            "decontamination",
            of["decontamination"],
            outcome,
            to_remove,
            ("decontaminate.",),
            "decontaminate.",
        ),
        _personal_data(of["pii"], of["pii_lookalike"], outcome),
        _exact_duplicates(of["exact_duplicate"], outcome),
        *_near_duplicates(of["near_duplicate"], outcome),
        _ngram_repeats(of["ngram_repeat"], outcome),
        _accounted_for(plants, outcome),
    ]


def read_outcome(out: Path) -> Outcome:
    """Reads the tables of a run. Holds every kept text: for a demo, not for a corpus."""
    kept = {row["id"]: row["text"] for row in _rows(out / "documents", ["id", "text"])}
    removed = list(_rows(out / "removed", ["id", "rule", "matched_id"]))
    errors: dict[str, set[str]] = defaultdict(set)
    for row in _rows(out / "errors", ["source", "shard", "locator", "error"]):
        errors[f"{row['source']}/{row['shard']}/{row['locator']}"].add(row["error"])
        errors[row["locator"]].add(row["error"])  # the whole id, where a step failed
    dedup = read_json(str(out / "manifest.json"))["config"]["dedup"]
    return Outcome(
        kept,
        {row["id"]: row["rule"] for row in removed},
        {row["id"]: row["matched_id"] for row in removed if row["matched_id"]},
        dict(errors),
        dedup["minhash"]["similarity"] if dedup["minhash"] else 1.0,
        dedup["ngrams"]["words"] if dedup["ngrams"] else 0,
    )


def _rows(folder: Path, columns: list[str]) -> Iterable[dict[str, Any]]:
    for path in list_files(str(folder)):
        if path.endswith(".parquet"):
            yield from pq.read_table(path, columns=columns).to_pylist()


def render(scores: list[Score]) -> str:
    """A plain table of 100 columns."""
    head = (
        f"{'scorecard':<30}{'planted':>8}{'caught':>8}{'wrongly':>8}{'precision':>11}{'recall':>8}"
    )
    lines = [f"{head}  note"]
    for s in scores:
        line = f"{s.component:<30}{s.planted:>8}{s.caught:>8}{s.wrongly_caught:>8}"
        line += f"{_fraction(s.precision):>11}{_fraction(s.recall):>8}  "
        lines += textwrap.wrap(line + s.note, 100, subsequent_indent=" " * 75) if s.note else [line]
    return "\n".join(line.rstrip() for line in lines)


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _score(component: str, planted: int, caught: int, wrongly: int, note: str = "") -> Score:
    precision = caught / (caught + wrongly) if caught + wrongly else None
    return Score(
        component, planted, caught, wrongly, precision, caught / planted if planted else None, note
    )


# --- one document at a time ---------------------------------------------------------------------


def _filter(
    component: str,
    plants: list[Truth],
    outcome: Outcome,
    to_remove: set[str],
    catching: tuple[str, ...],
    own: str,
) -> Score:
    """Planted documents removed by a rule that begins with one of `catching`; wrongly caught is
    what rules that begin with `own` removed and is no document to remove."""
    wanted = {p["id"] for p in plants if p["expect"] == "removed"}
    caught = wanted & outcome.by_rule(catching)
    wrongly = outcome.by_rule(own) - to_remove
    by = Counter(outcome.rule[id].split(".")[0] for id in sorted(caught))
    note = ", ".join(f"{name} {n}" for name, n in sorted(by.items())) if len(by) > 1 else ""
    return _score(component, len(wanted), len(caught), len(wrongly), note)


def _personal_data(plants: list[Truth], lookalikes: list[Truth], outcome: Outcome) -> Score:
    judged = [p for p in plants if p["id"] in outcome.kept]
    missed = [p for p in judged if p["detail"]["string"] in outcome.kept[p["id"]]]
    controls = [p for p in lookalikes if p["id"] in outcome.kept]
    wrongly = [p for p in controls if p["detail"]["string"] not in outcome.kept[p["id"]]]
    parts = [f"{len(controls)} look-alikes"]
    for name, some in (("missed", missed), ("wrongly", wrongly)):
        kinds = Counter(p["detail"]["kind"] for p in some)
        parts += [f"{name} {kind} {n}" for kind, n in kinds.most_common()]
    unseen = len(plants) + len(lookalikes) - len(judged) - len(controls)
    parts += [f"{unseen} in removed documents"] if unseen else []
    caught = len(judged) - len(missed)
    return _score("personal data", len(judged), caught, len(wrongly), ", ".join(parts))


def _faults(plants: list[Truth], outcome: Outcome) -> Score:
    """Recall only: what a broken record should become, it became."""
    missed = [p["detail"]["kind"] for p in plants if not _as_expected(p, outcome)]
    note = f"not as expected: {', '.join(missed)}" if missed else ""
    caught = len(plants) - len(missed)
    return _score("broken records", len(plants), caught, 0, note)._replace(precision=None)


def _as_expected(plant: Truth, outcome: Outcome) -> bool:
    id, names = plant["id"], plant["detail"]["names"]
    if plant["expect"] == "error":
        return not outcome.errors.get(id, set()).isdisjoint(names)
    if plant["expect"] == "removed":
        return outcome.rule.get(id) in names
    return plant["detail"]["contains"] in outcome.kept.get(id, "")


# --- documents against each other ---------------------------------------------------------------


class Group(NamedTuple):
    """Planted duplicates of each other that reached deduplication."""

    detail: dict[str, Any]
    kept: list[str]
    removed: list[str]  # by deduplication

    @property
    def judged(self) -> bool:
        return len(self.kept) + len(self.removed) > 1


def _groups(plants: list[Truth], outcome: Outcome) -> list[Group]:
    groups: dict[str, Group] = {}
    for p in plants:
        group = groups.setdefault(p["group"], Group(p["detail"], [], []))
        if p["id"] in outcome.kept:
            group.kept.append(p["id"])
        elif outcome.rule.get(p["id"], "").startswith("dedup."):
            group.removed.append(p["id"])
    return list(groups.values())


def _is_caught(group: Group, outcome: Outcome) -> bool:
    """One is kept, and the others name it as what they match."""
    return len(group.kept) == 1 and all(outcome.matched.get(r) in group.kept for r in group.removed)


def _mismatched(groups: list[Group], outcome: Outcome) -> int:
    """Documents removed for one that they were not copied from."""
    return sum(
        outcome.matched.get(r) not in group.kept + group.removed
        for group in groups
        for r in group.removed
    )


def _exact_duplicates(plants: list[Truth], outcome: Outcome) -> Score:
    groups = [g for g in _groups(plants, outcome) if g.judged]
    caught = sum(_is_caught(g, outcome) for g in groups)
    return _score("exact duplicates", len(groups), caught, _mismatched(groups, outcome))


def _near_duplicates(plants: list[Truth], outcome: Outcome) -> list[Score]:
    """A line for each edit rate. Pairs below the run's similarity have to be kept, both of them."""
    rates: dict[float, list[Group]] = defaultdict(list)
    for group in _groups(plants, outcome):
        rates[group.detail["rate"]].append(group)
    scores = []
    for rate, groups in sorted(rates.items()):
        seen = [g for g in groups if g.judged]
        same = [g for g in seen if g.detail["jaccard"] >= outcome.similarity + MARGIN]
        other = [g for g in seen if g.detail["jaccard"] < outcome.similarity - MARGIN]
        caught = sum(_is_caught(g, outcome) for g in same)
        wrongly = _mismatched(same, outcome) + sum(bool(g.removed) for g in other)
        parts = [f"{len(other)} below {outcome.similarity:g}"] if other else []
        unsure = len(seen) - len(same) - len(other)
        parts += [f"{unsure} within {MARGIN:g} of it"] if unsure else []
        unseen = len(groups) - len(seen)
        parts += [f"{unseen} removed before"] if unseen else []
        name = f"near-duplicates, {rate:.0%} edited"
        scores.append(_score(name, len(same), caught, wrongly, ", ".join(parts)))
    return scores


def _ngram_repeats(plants: list[Truth], outcome: Outcome) -> Score:
    """Copies of a passage that are gone from kept documents; where it is gone from all of them, it
    was cut once too often."""
    planted = caught = wrongly = 0
    for group in _groups(plants, outcome):
        holding = sum(
            _holds(outcome.kept[id], group.detail["passage"], outcome.ngram_words)
            for id in group.kept
        )
        copies = max(0, len(group.kept) - 1)
        planted += copies
        caught += min(copies, len(group.kept) - holding)
        wrongly += bool(group.kept) and holding == 0
    return _score("repeated passages", planted, caught, wrongly)


def _holds(text: str, passage: str, n: int) -> bool:
    """Whether n words in a row of the passage are in the text; all of it, where n is 0."""
    parts = words(passage)
    n = min(n or len(parts), len(parts))
    inside = f" {' '.join(words(text))} "
    return any(f" {' '.join(parts[i : i + n])} " in inside for i in range(len(parts) - n + 1))


def _accounted_for(plants: list[Truth], outcome: Outcome) -> Score:
    """Every planted document has to be somewhere."""
    found = outcome.kept.keys() | outcome.rule.keys() | outcome.errors.keys()
    lost = [p["id"] for p in plants if p["id"] not in found]
    note = f"LOST: {', '.join(lost[:5])}{' ...' if len(lost) > 5 else ''}" if lost else ""
    score = _score("accounted for", len(plants), len(plants) - len(lost), 0, note)
    return score._replace(precision=None)
