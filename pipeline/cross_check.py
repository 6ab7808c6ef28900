"""What only a whole configuration shows: names that lead nowhere, sections that need each other.

It is asked of configurations with other mistakes too, so that a user sees all of them at once. A
source or a model that could not be read is None there, a step that could not has no config, and
`broken` holds the keys of the run with a mistake: nothing is said that may be due to these.
"""

import typing
from collections.abc import Iterable, Set

from dedup.scopes import GLOBAL
from pipeline.build_config import nearest
from pipeline.mixture import source_of
from pipeline.steps import STEPS, Use

if typing.TYPE_CHECKING:
    from pipeline.config import Dedup, Run, Source

COMPARABLE = ("text", "url", "path", "created", "license")  # columns for dedup.exact.by


def cross_check(run: "Run", broken: Set[str] = frozenset()) -> list[str]:
    """A line for each mistake."""
    mistakes = []
    for name, source in run.sources.items():
        if "/" in name or name.startswith((".", "_")):
            mistakes.append(f"sources.{name}: a source's name has no '/' and no leading '.' or '_'")
        if source:
            mistakes += _of_source(run, source, f"sources.{name}", "models" in broken)
    mistakes += _of_models(run)
    mistakes += _strangers(run, run.dedup.prefer, "dedup.prefer")
    mistakes += [*_of_columns(run), *_of_methods(run.dedup)]
    if run.mixture:
        for key in ("weights", "split", "epochs"):
            named = map(source_of, getattr(run.mixture, key))
            mistakes += _strangers(run, named, f"mixture.{key}")
    if (run.mixture or "mixture" in broken) and not (run.tokenizer or "tokenizer" in broken):
        mistakes.append("mixture: needs a [tokenizer] section, for its tokens")
    if (run.train or "train" in broken) and not (run.mixture or "mixture" in broken):
        mistakes.append("train: needs a [mixture] section, for its packed rows")
    return mistakes + _of_numbers(run)


def _strangers(run: "Run", names: Iterable[str], place: str) -> list[str]:
    """Names of no source, where there are any."""
    known = list(run.sources)
    return [
        f"{place}: no such source {name!r}.{nearest(name, known)}"
        for name in names
        if known and name not in known
    ]


def _of_source(run: "Run", source: "Source", place: str, any_model: bool) -> list[str]:
    mistakes = [] if source.paths else [f"{place}.paths: empty; name at least one file or pattern"]
    languages = False  # whether a step before may have found them
    for i, use in enumerate(source.steps):
        here = f"{place}.steps[{i}]"
        if use.config is not None:
            mistakes += [] if any_model else _of_step(run, use, here)
            model = getattr(use.config, "model", None)
            by_language = isinstance(model, dict) or "{lang}" in (model or "")
            if by_language and not languages:
                mistakes.append(
                    f'{here}.model: models by {{lang}} need a step {{ use = "language" }} before'
                )
        languages |= use.label in ("language", "")
    return mistakes


def _of_step(run: "Run", use: Use, place: str) -> list[str]:
    """What is wrong with a step's keys of the form models.NAME and models.NAME.cutoffs."""
    mistakes = []
    for key in STEPS[use.name].files:
        value = getattr(use.config, key)
        if not isinstance(value, str) or not value.startswith("models."):
            continue
        name, _, of = value.removeprefix("models.").partition(".")
        if name not in run.models:
            hint = nearest(name, list(run.models))
            mistakes.append(f"{place}.{key}: no section [models.{name}].{hint}")
        elif (model := run.models[name]) is None:
            continue
        elif model.fit != use.name:
            mistakes.append(f"{place}.{key}: [models.{name}] fits {model.fit!r}, not {use.name!r}")
        elif of != ("cutoffs" if key == "cutoffs" else ""):
            mistakes.append(f"{place}.{key}: a model is models.{name}, its cut-offs .cutoffs of it")
        elif of and use.name == "perplexity" and not model.reference:
            mistakes.append(f"{place}.{key}: needs models.{name}.reference, the sources to score")
        elif getattr(use.config, "normalization", "words") != "words":
            mistakes.append(f"{place}.normalization: models fitted in the run are over words")
    return mistakes


def _of_models(run: "Run") -> list[str]:
    mistakes = []
    for name, model in run.models.items():
        if model is None:
            continue
        if not 2 <= model.order <= 5:
            mistakes.append(f"models.{name}.order: {model.order} is not within 2..5")
        for key in ["sources"] if model.fit == "perplexity" else ["positive", "negative"]:
            if not getattr(model, key):
                mistakes.append(
                    f"models.{name}.{key}: empty; fit = {model.fit!r} needs source names"
                )
            mistakes += _strangers(run, getattr(model, key), f"models.{name}.{key}")
        mistakes += _strangers(run, model.reference, f"models.{name}.reference")
    return mistakes


def _of_columns(run: "Run") -> list[str]:
    """What dedup compares by, and within what: columns, or signals of the run's steps."""
    uses = [use for source in run.sources.values() if source for use in source.steps]
    all_known = all(run.sources.values()) and all(use.name for use in uses)
    prefixes = {"text", *(use.prefix for use in uses if use.name)}

    def may_be_signal(name: str) -> bool:
        prefix, dot, signal = name.partition(".")
        return bool(dot and signal) and (prefix in prefixes or not all_known)

    mistakes = []
    dedup = run.dedup
    if dedup.prefer_signal and not may_be_signal(dedup.prefer_signal):
        mistakes.append(
            f"dedup.prefer_signal: {dedup.prefer_signal!r} is of no step of this run; "
            f"write STEP.SIGNAL, as in quality.score"
        )
    by = dedup.exact.by if dedup.exact else "text"
    if by not in COMPARABLE and not may_be_signal(by) and not by.startswith("meta."):
        hint = nearest(by, [*COMPARABLE, "meta.KEY"])
        mistakes.append(f"dedup.exact.by: no such column {by!r}.{hint}")
    for scope in dedup.scopes:
        known = scope in (GLOBAL, "source", *COMPARABLE[1:]) or scope.startswith("meta.")
        if not known and not may_be_signal(scope):
            key = "scope" if scope == dedup.scope else "compare_scopes"
            hint = nearest(scope, [GLOBAL, "source", "meta.KEY", *COMPARABLE[1:]])
            mistakes.append(f"dedup.{key}: no such scope {scope!r}.{hint}")
    return mistakes


def _of_methods(dedup: "Dedup") -> list[str]:
    given = [name for name in ("ngrams", "segments", "paragraphs") if getattr(dedup, name)]
    mistakes = [
        f"dedup.{name}: stands beside dedup.{given[0]}; a run cuts one kind of repeat"
        for name in given[1:]
    ]
    if dedup.compare_scopes and not (dedup.exact or dedup.minhash):
        mistakes.append("dedup.compare_scopes: compares exact and minhash; neither is asked for")
    if dedup.partitions < 1:
        mistakes.append(f"dedup.partitions: {dedup.partitions} is below 1")
    return mistakes


def _of_numbers(run: "Run") -> list[str]:
    mistakes = [
        f"{key}: {getattr(run, key)} is not within 0..1"
        for key in ("audit_fraction", "max_error_fraction")
        if not 0 <= getattr(run, key) <= 1
    ]
    if not 0 < run.sample_fraction <= 1:
        mistakes.append(f"sample_fraction: {run.sample_fraction} is not above 0 and at most 1")
    if run.limit < 0:
        mistakes.append(f"limit: {run.limit} is below 0; 0 means all records")
    mistakes += [
        f"{key}: {getattr(run, key)} is below 65536"
        for key in ("batch_bytes", "split_bytes")
        if getattr(run, key) < 1 << 16
    ]
    return mistakes
