"""Runs a step's canaries, a text that must trip each rule and one that must pass, under the user's
configuration: a rule that can no longer fire, or always does, shows before the run.

Lists and test sets are replaced by made ones, since no canary is in the user's; thresholds and all
else are the user's own. What depends on a model alone has texts of another kind, or none: `Silent`
says why.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from filters import decontaminate
from filters.canaries import CODE, CODE_CANARIES, PROSE, TRIPPING
from pipeline.schema import DOCUMENT
from pipeline.steps import STEPS, Use

URL = "https://example.org/harbour"
LANGUAGES = {
    "en": "The committee met on Tuesday to discuss the new budget for the schools of the city.",
    "de": "Der Ausschuss traf sich am Dienstag, um den neuen Haushalt der Schulen zu beraten.",
    "fr": "La commission s'est réunie mardi pour discuter du nouveau budget des écoles.",
    "es": "El comité se reunió el martes para hablar del nuevo presupuesto de las escuelas.",
    "ru": "Комитет собрался во вторник, чтобы обсудить новый бюджет городских школ.",
    "zh": "委员会星期二开会讨论城市学校的新预算，市长和老师们都参加了这次会议。",
}
SCRIPTS = {"eng": "en", "deu": "de", "fra": "fr", "spa": "es", "rus": "ru", "zho": "zh"}
GIBBERISH = "xq zvkj wqpt " * 40


class Canaries(NamedTuple):
    config: Any
    passes: dict[str, Any]  # the columns of a document that no rule of the step marks
    trips: dict[str, dict[str, Any]]  # by rule, of one that the rule marks


class Silent(NamedTuple):
    reason: str


def run_canaries(use: Use, place: str, folder: Path) -> tuple[list[str], str | None]:
    """Warnings, and why a step has no canaries here. `folder` takes the made lists."""
    found = canaries_of(use, folder)
    if isinstance(found, Silent):
        return [], f"{place}: no canaries of {use.label}: {found.reason}"
    rows = [found.passes, *found.trips.values()]
    docs = _documents(rows)
    failed = STEPS[use.name].function(docs, found.config)
    names = failed["failed"].to_pylist() if "failed" in failed.column_names else [None] * len(rows)
    warnings = [
        f"{place}: {use.label}.{rule} marks a text that it should pass{_setting(use, rule)}"
        for rule in names[0] or ()
    ]
    for rule, marks in zip(found.trips, names[1:], strict=True):
        if rule not in (marks or ()) and _is_on(use, rule):
            warnings.append(
                f"{place}: canary of {use.label}.{rule} passes{_setting(use, rule)}: this rule no "
                "longer catches it"
            )
    return warnings, None


def _documents(rows: list[dict[str, Any]]) -> pa.Table:
    full = [{"id": f"canary/{i}", "url": URL, "text": PROSE, "meta": []} for i in range(len(rows))]
    merged = [base | row for base, row in zip(full, rows, strict=True)]
    return pa.Table.from_pylist(merged, schema=DOCUMENT)


def _is_on(use: Use, rule: str) -> bool:
    bounds = STEPS[use.name].bounds
    mine = [b for b in bounds(use.config) if b.rule == rule] if bounds else []
    return not mine or any(b.least is not None or b.most is not None for b in mine)


def _setting(use: Use, rule: str) -> str:
    """` with min_words = 1`."""
    bounds = STEPS[use.name].bounds
    for bound in bounds(use.config) if bounds else []:
        if bound.rule == rule and bound.key:
            value = bound.least if bound.least is not None else bound.most
            return f" with {bound.key} = {getattr(use.config, bound.key, value)}"
    return ""


def canaries_of(use: Use, folder: Path) -> Canaries | Silent:
    name, config = use.name, use.config
    if name in TRIPPING:
        rules = {b.rule for b in STEPS[name].bounds(config)}  # type: ignore[misc]
        texts = {rule: {"text": t} for rule, t in TRIPPING[name].items() if rule in rules}
        return Canaries(config, {"text": PROSE}, texts)
    if name in CODE_CANARIES:
        rows = {rule: _code(*row) for rule, row in CODE_CANARIES[name].items()}
        return Canaries(config, _code("python", CODE), rows)
    made = {
        "url_filter": _url_filter,
        "link_list": _link_list,
        "keywords": _keywords,
        "decontaminate": _decontaminate,
        "scrub_pii": _scrub_pii,
        "language": _language,
        "perplexity": _scored,
        "quality": _scored,
    }
    if name in made:
        return made[name](config, folder)
    if name == "redpajama":
        return Silent("its bounds are the configuration's own")
    return Silent("what trips it depends on the model")


def _code(language: str, text: str) -> dict[str, Any]:
    return {"text": text, "meta": [("language", language)]}


def _write(path: Path, *lines: str) -> tuple[str, ...]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return (str(path),)


def _url_filter(config: Any, folder: Path) -> Canaries:
    soft = [f"soft{a}{b}" for a in "abcdefgh" for b in "abcdefgh"][: config.max_soft_words + 1]
    lists = {
        "blocklists": _write(folder / "made" / "domains", "blocked.example", "example.org/blocked"),
        "hard_words": _write(folder / "hard", "hardword"),
        "subwords": _write(folder / "sub", "partofword"),
        "soft_words": _write(folder / "soft", *soft),
    }
    # A kind of list that the user has not given is a rule that is not asked for.
    given = {key: made for key, made in lists.items() if getattr(config, key)}
    urls = {
        "no_url": (None, "no_url" if config.require_url else ""),
        "blocked_domain": ("https://www.blocked.example/a", "blocklists"),
        "blocked_url": ("https://example.org/blocked/a", "blocklists"),
        "blocked_word": ("https://example.org/hardword/a", "hard_words"),
        "blocked_subword": ("https://example.org/apartofwords", "subwords"),
        "too_many_soft_words": (f"https://example.org/{'-'.join(soft)}", "soft_words"),
    }
    trips = {rule: {"url": u} for rule, (u, key) in urls.items() if key in (*given, "no_url")}
    return Canaries(dataclasses.replace(config, allow=(), **given), {}, trips)


def _link_list(config: Any, folder: Path) -> Canaries:
    score = config.min_score or 0.0
    rows = f"{URL},{score + 1}", f"https://example.org/low,{score - 1}"
    links = _write(folder / "links.csv", f"{config.url_column},{config.score_column}", *rows)
    trips = {"not_linked": {"url": "https://example.org/other"}}
    if config.min_score is not None:
        trips["low_link_score"] = {"url": "https://example.org/low"}
    return Canaries(dataclasses.replace(config, links=links), {}, trips)


def _keywords(config: Any, folder: Path) -> Canaries:
    lists = _write(folder / "keywords", "wanderlust")
    text = f"{PROSE} {'wanderlust ' * (config.max_keywords + 1)}"
    config = dataclasses.replace(config, lists=lists, keep_fraction=0.0)
    return Canaries(config, {}, {"too_many_keywords": {"text": text}})


def _decontaminate(config: Any, folder: Path) -> Canaries | Silent:
    if config.mode == "report":
        return Silent("it only reports")
    item, clean = decontaminate.CANARIES["test_item"]
    against = _write(folder / "canary.jsonl", json.dumps({"question": item}))
    made: dict[str, Any] = {"against": against, "question": ("question",), "answer": None}
    made |= {"sets": {}, "background": ()}
    config = dataclasses.replace(config, **made)
    if config.mode == "mark":
        return Canaries(config, {"text": clean}, {"test_item": {"text": item}})
    piece = clean * (2 + config.min_piece_chars // len(clean) + config.context_chars // 50)
    pieces = f"{item} {piece} " * (config.max_pieces + 1)
    trips = {"nothing_left": {"text": item}, "too_many_pieces": {"text": pieces}}
    return Canaries(config, {"text": clean}, trips)


def _scrub_pii(config: Any, folder: Path) -> Canaries | Silent:
    bounds = {"candidates": config.max_candidates, "entities": config.max_entities}
    on = {f"too_many_{name}": most for name, most in bounds.items() if most is not None}
    if not on:
        return Silent("without max_candidates and max_entities it edits and never marks")
    if "email" not in config.entities:
        return Silent("its canaries are e-mail addresses, which it does not look for")
    trips = {rule: " ".join(f"a{i}@mit.edu" for i in range(most + 1)) for rule, most in on.items()}
    return Canaries(config, {}, {rule: {"text": text} for rule, text in trips.items()})


def _language(config: Any, folder: Path) -> Canaries | Silent:
    kept = {SCRIPTS.get(label[:3], label) if "_" in label else label for label in config.keep}
    inside = [name for name in LANGUAGES if name in kept]
    outside = [name for name in LANGUAGES if name not in kept]
    if not inside or not outside:
        return Silent(f"its texts are {', '.join(LANGUAGES)}: one to keep and one to remove")
    trips = {"other_language": {"text": LANGUAGES[outside[0]]}}
    trips["low_language_score"] = {"text": "0 1 0 1 1 | 17 4 8 | 2 3 5 7 11 13"}
    return Canaries(config, {"text": LANGUAGES[inside[0]]}, trips)


def _scored(config: Any, folder: Path) -> Canaries | Silent:
    """English prose against letters in disorder, for a model that was there before the run."""
    if not isinstance(config.model, str) or "{lang}" in config.model:
        return Silent("its models are by language, and its texts English")
    if config.model.startswith("models."):
        return Silent("its model is fitted in the run, and on a trial's few records not the same")
    if config.cutoffs or getattr(config, "pareto_alpha", None) is not None:
        return Silent("it keeps a share, not what passes a threshold")
    rule = "high_perplexity" if hasattr(config, "max_perplexity") else "low_quality"
    return Canaries(config, {"text": PROSE}, {rule: {"text": GIBBERISH}})
