"""What only a whole configuration shows: names that lead nowhere, sections that need each other."""

import typing
from collections.abc import Iterable

from dedup.scopes import GLOBAL
from pipeline.build_config import nearest
from pipeline.mixture import source_of
from pipeline.steps import STEPS, Use

if typing.TYPE_CHECKING:
    from pipeline.config import Model, Run

COMPARABLE = ("text", "url", "path", "created", "license")  # columns for dedup.exact.by


def cross_check(run: "Run") -> list[str]:
    """What only the whole configuration shows."""
    mistakes: list[str] = []
    known = list(run.sources)

    def check_sources(names: Iterable[str], place: str) -> None:
        mistakes.extend(
            f"{place}: no such source {name!r}.{nearest(name, known)}"
            for name in names
            if name not in known
        )

    for name, source in run.sources.items():
        if not source.paths:
            mistakes.append(f"sources.{name}.paths: empty; name at least one file or pattern")
        if "/" in name or name.startswith((".", "_")):
            mistakes.append(f"sources.{name}: a source's name has no '/' and no leading '.' or '_'")
        for i, use in enumerate(source.steps):
            place = f"sources.{name}.steps[{i}]"
            mistakes += _check_models(run.models, use, place)
            model, before = getattr(use.config, "model", None), source.steps[:i]
            by_language = isinstance(model, dict) or "{lang}" in (model or "")
            if by_language and all(earlier.label != "language" for earlier in before):
                mistakes.append(
                    f'{place}.model: models by {{lang}} need a step {{ use = "language" }} before'
                )
    for name, model in run.models.items():
        if not 2 <= model.order <= 5:
            mistakes.append(f"models.{name}.order: {model.order} is not within 2..5")
        lists = ["sources"] if model.fit == "perplexity" else ["positive", "negative"]
        for key in lists:
            if not getattr(model, key):
                mistakes.append(
                    f"models.{name}.{key}: empty; fit = {model.fit!r} needs source names"
                )
            check_sources(getattr(model, key), f"models.{name}.{key}")
        check_sources(model.reference, f"models.{name}.reference")
    check_sources(run.dedup.prefer, "dedup.prefer")
    prefixes = {use.prefix for source in run.sources.values() for use in source.steps}

    def is_signal(name: str) -> bool:
        prefix, dot, signal = name.partition(".")
        return bool(dot and signal) and prefix in prefixes | {"text"}

    if run.dedup.prefer_signal and not is_signal(run.dedup.prefer_signal):
        mistakes.append(
            f"dedup.prefer_signal: {run.dedup.prefer_signal!r} is of no step of this run; "
            f"write STEP.SIGNAL, as in quality.score"
        )
    by = run.dedup.exact.by if run.dedup.exact else "text"
    if by not in COMPARABLE and not is_signal(by) and not by.startswith("meta."):
        hint = nearest(by, [*COMPARABLE, "meta.KEY"])
        mistakes.append(f"dedup.exact.by: no such column {by!r}.{hint}")
    given = [name for name in ("ngrams", "segments", "paragraphs") if getattr(run.dedup, name)]
    mistakes += [
        f"dedup.{name}: stands beside dedup.{given[0]}; a run cuts one kind of repeat"
        for name in given[1:]
    ]
    for scope in run.dedup.scopes:
        known_scope = scope in (GLOBAL, "source", *COMPARABLE[1:]) or scope.startswith("meta.")
        if not known_scope and not is_signal(scope):
            key = "scope" if scope == run.dedup.scope else "compare_scopes"
            hint = nearest(scope, [GLOBAL, "source", "meta.KEY", *COMPARABLE[1:]])
            mistakes.append(f"dedup.{key}: no such scope {scope!r}.{hint}")
    if run.dedup.compare_scopes and not (run.dedup.exact or run.dedup.minhash):
        mistakes.append("dedup.compare_scopes: compares exact and minhash; neither is asked for")
    if run.dedup.partitions < 1:
        mistakes.append(f"dedup.partitions: {run.dedup.partitions} is below 1")
    if run.mixture:
        for key in ("weights", "split", "epochs"):
            check_sources(map(source_of, getattr(run.mixture, key)), f"mixture.{key}")
        if not run.tokenizer:
            mistakes.append("mixture: needs a [tokenizer] section, for its tokens")
    if run.train and not run.mixture:
        mistakes.append("train: needs a [mixture] section, for its packed rows")
    for key in ("audit_fraction", "max_error_fraction"):
        if not 0 <= getattr(run, key) <= 1:
            mistakes.append(f"{key}: {getattr(run, key)} is not within 0..1")
    if not 0 < run.sample_fraction <= 1:
        mistakes.append(f"sample_fraction: {run.sample_fraction} is not above 0 and at most 1")
    if run.limit < 0:
        mistakes.append(f"limit: {run.limit} is below 0; 0 means all records")
    for key in ("batch_bytes", "split_bytes"):
        if getattr(run, key) < 1 << 16:
            mistakes.append(f"{key}: {getattr(run, key)} is below 65536")
    return mistakes


def _check_models(models: dict[str, "Model"], use: Use, place: str) -> list[str]:
    """What is wrong with a step's keys of the form models.NAME and models.NAME.cutoffs."""
    mistakes = []
    for key in STEPS[use.name].files:
        value = getattr(use.config, key)
        if not isinstance(value, str) or not value.startswith("models."):
            continue
        name, _, of = value.removeprefix("models.").partition(".")
        if name not in models:
            hint = nearest(name, list(models))
            mistakes.append(f"{place}.{key}: no section [models.{name}].{hint}")
        elif models[name].fit != use.name:
            mistakes.append(
                f"{place}.{key}: [models.{name}] fits {models[name].fit!r}, not {use.name!r}"
            )
        elif of != ("cutoffs" if key == "cutoffs" else ""):
            mistakes.append(f"{place}.{key}: a model is models.{name}, its cut-offs .cutoffs of it")
        elif of and use.name == "perplexity" and not models[name].reference:
            mistakes.append(f"{place}.{key}: needs models.{name}.reference, the sources to score")
        elif getattr(use.config, "normalization", "words") != "words":
            mistakes.append(f"{place}.normalization: models fitted in the run are over words")
    return mistakes
