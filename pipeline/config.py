"""TOML -> frozen dataclasses. Every mistake is one line: the place, the value, the mend; all of
them at once.

sources.web.steps[3].min_word: gopher_quality has no such key. Did you mean min_words?
"""

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dedup.exact import Exact
from dedup.minhash import MinHash
from dedup.ngrams import NGrams
from dedup.paragraphs import Paragraphs
from dedup.scopes import GLOBAL
from dedup.segments import Segments
from pipeline.mixture import Mixture, source_of
from pipeline.sources import FORMATS
from pipeline.steps import STEPS, Use
from tokenizer.train import Tokenizer
from train.config import Train

COMPARABLE = ("text", "url", "path", "created", "license")  # columns for dedup.exact.by


class ConfigError(ValueError):
    """One or more mistakes in a configuration, a line each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, kw_only=True)
class Source:
    """A named set of shards of one format."""

    format: str
    paths: tuple[str, ...]
    reader: Any
    """The config of the format's reader."""
    steps: tuple[Use, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model fitted in the run from the extracted text of its own sources: no downloads."""

    fit: Literal["perplexity", "quality"]
    sources: tuple[str, ...] = ()
    """perplexity: whose text is the reference."""
    positive: tuple[str, ...] = ()
    """quality: whose text is good."""
    negative: tuple[str, ...] = ()
    """quality: whose text is ordinary."""
    reference: tuple[str, ...] = ()
    """Whose documents' scores make `models.NAME.cutoffs`, for a step that keeps a share of them;
    quality: the held-out ordinary text if empty."""
    sample_bytes: int = 20_000_000
    """Text used of each list of sources, chosen by a hash of the id."""
    order: int = 3
    """perplexity: the n of the n-gram model, 2 to 5."""


@dataclass(frozen=True, kw_only=True)
class Dedup:
    """Which duplicates to look for; a section that is absent is a method that is not run."""

    exact: Exact | None = None
    minhash: MinHash | None = None
    ngrams: NGrams | None = None
    segments: Segments | None = None
    paragraphs: Paragraphs | None = None
    """One of ngrams, segments and paragraphs: they would cut the same places."""
    scope: str = GLOBAL
    """Within what documents are compared: global, source, or each value of a column, of meta
    (meta.dump, as in FineWeb's tables) or a signal (language.label) by itself. For a snapshot of a
    crawl: make it a source, or name the column that says it."""
    compare_scopes: tuple[str, ...] = ()
    """Other scopes, for a table of what exact and minhash would remove in each; only `scope` is
    applied. The texts are signed once, the exchanges are done for each."""
    prefer: tuple[str, ...] = ()
    """Sources in the order in which their documents are kept; the others follow. Then
    `prefer_signal`, then the longer document, then the id."""
    prefer_signal: str = ""
    """A signal, "quality.score": of documents of one source, or of sources that `prefer` does not
    tell apart, the one with the greater is kept. To three digits; null comes last."""
    partitions: int = 16
    """Tasks of each exchange. Part of the identity of its files: choose it once."""
    report_clusters_over: int = 10
    """Clusters of near-duplicates with more documents are in the manifest, the largest 100."""

    @property
    def spans(self) -> NGrams | Segments | Paragraphs | None:
        """Which parts of documents are looked for."""
        return self.ngrams or self.segments or self.paragraphs

    @property
    def scopes(self) -> list[str]:
        """The one that is applied, then those that are compared with it."""
        return list(dict.fromkeys((self.scope, *self.compare_scopes)))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One configuration file: one run."""

    name: str
    sources: dict[str, Source]
    seed: int = 0
    root: str = ""
    """Where relative paths start; the current directory if empty."""
    models: dict[str, Model] = field(default_factory=dict)
    dedup: Dedup = field(default_factory=Dedup)
    tokenizer: Tokenizer | None = None
    mixture: Mixture | None = None
    train: Train | None = None
    audit_fraction: float = 0.01
    """Share of documents that see every step, chosen by a hash of the id."""
    max_error_fraction: float = 0.001
    """Share of a shard's records that may be lost to errors before the run stops; up to 20 records
    may be lost in any shard."""
    limit: int = 0
    """Records read of each part; 0 is all. For trials."""
    sample_fraction: float = 1.0
    """Share of the records read, chosen by a hash of the shard's name and the record's place. For
    trials: the same records however the shards are split."""
    batch_bytes: int = 16 << 20
    """Text held at once by a task."""
    split_bytes: int = 64 << 20
    """Input bytes of one task, where the format can be split."""


def load(path: str | Path, changes: list[str] | None = None) -> Run:
    """Reads a TOML file; `changes` are `dotted.key=value` overrides. Raises ConfigError."""
    table = read_table(path)
    for change in changes or []:
        override(table, change)
    return parse(table)


def read_table(path: str | Path) -> dict[str, Any]:
    """A TOML file as it stands. Raises ConfigError."""
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}; check the path"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text; a configuration is a TOML file"]) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None


def parse(table: dict[str, Any]) -> Run:
    """A run from a TOML table. Raises ConfigError with every mistake that was found."""
    mistakes: list[str] = []
    table = dict(table)
    sources = {
        name: _source(value, f"sources.{name}", mistakes)
        for name, value in _tables(table.pop("sources", {}), "sources", mistakes)
    }
    models = {
        name: build(Model, value, f"models.{name}", mistakes)
        for name, value in _tables(table.pop("models", {}), "models", mistakes)
    }
    run = build(Run, table, "", mistakes, given={"sources": sources, "models": models})
    if not sources:
        mistakes.append("sources: none; add a [sources.NAME] with format and paths")
    if not mistakes:
        mistakes += _cross_check(run)
    if mistakes:
        raise ConfigError(mistakes)
    return run


def parse_steps(entries: list[dict[str, Any]], place: str) -> tuple[Use, ...]:
    """Steps alone, without a run. Raises ConfigError."""
    mistakes: list[str] = []
    steps = _steps(entries, place, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return steps


def resolved(run: Run) -> dict[str, Any]:
    """The configuration with every default written out, as JSON types."""
    return _plain(run)


def build(
    kind: type,
    table: object,
    place: str,
    mistakes: list[str],
    what: str = "",
    given: dict[str, Any] | None = None,
) -> Any:
    """An instance of a config dataclass from a TOML table; None and added mistakes where it cannot
    be made."""
    if not isinstance(table, dict):
        mistakes.append(f"{place}: {table!r} is not a table")
        return None
    hints = typing.get_type_hints(kind)
    values = dict(given or {})
    names = [f.name for f in dataclasses.fields(kind) if f.name not in values]
    before = len(mistakes)
    for key, value in table.items():
        here = f"{place}.{key}" if place else key
        if key not in names:
            hint = _hint(key, [*names, *(given or {})])
            mistakes.append(f"{here}: {what or place or 'a run'} has no such key.{hint}")
            continue
        values[key] = _convert(value, hints[key], here, mistakes)
    for f in dataclasses.fields(kind):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in values:
            here = f"{place}.{f.name}" if place else f.name
            mistakes.append(f"{here}: missing; it has no default")
    if len(mistakes) > before:
        return None
    try:
        return kind(**values)
    except ValueError as error:  # a __post_init__ check of the dataclass
        mistakes.append(f"{place}: {error}" if place else str(error))
        return None


def _source(table: object, place: str, mistakes: list[str]) -> Source | None:
    if not isinstance(table, dict):
        mistakes.append(f"{place}: {table!r} is not a table")
        return None
    table = dict(table)
    name = table.pop("format", None)
    if name not in FORMATS:
        mistakes.append(
            f"{place}.format: no such format {name!r}.{_hint(str(name), list(FORMATS))}"
        )
        return None
    given: dict[str, Any] = {"format": name}
    steps = table.pop("steps", [])
    given["steps"] = _steps(steps, f"{place}.steps", mistakes)
    paths = {"paths": table.pop("paths")} if "paths" in table else {}
    given["reader"] = build(FORMATS[name].config, table, place, mistakes, f"format {name}")
    return build(Source, paths, place, mistakes, given=given)


def _steps(entries: object, place: str, mistakes: list[str]) -> tuple[Use, ...]:
    if not isinstance(entries, list):
        mistakes.append(f'{place}: {entries!r} is not a list of {{ use = "NAME", ... }}')
        return ()
    out = []
    for i, entry in enumerate(entries):
        here = f"{place}[{i}]"
        if not isinstance(entry, dict) or "use" not in entry:
            mistakes.append(f'{here}: {entry!r} is not of the form {{ use = "NAME", ... }}')
            continue
        name = entry["use"]
        if name not in STEPS:
            mistakes.append(f"{here}.use: no such step {name!r}.{_hint(str(name), list(STEPS))}")
            continue
        rest = {key: value for key, value in entry.items() if key not in ("use", "name")}
        config = build(STEPS[name].config, rest, here, mistakes, name)
        out.append(Use(name, config, _called(entry.get("name", ""), here, mistakes)))
        twice = [j for j, use in enumerate(out[:-1]) if use.label == out[-1].label]
        if twice:
            mistakes.append(
                f"{here}: {out[-1].label} stands at {place}[{twice[0]}] too, and this one would "
                'overwrite its signals; give it a name of its own: name = "..."'
            )
    return tuple(out)


def _called(name: object, place: str, mistakes: list[str]) -> str:
    """What a step's signals and rules are called instead of by the step; "" for its own name."""
    taken = {"text", *STEPS, *(step.prefix for step in STEPS.values())} - {""}
    if not isinstance(name, str) or not re.fullmatch("([a-z][a-z0-9_]*)?", name) or name in taken:
        mistakes.append(
            f"{place}.name: {name!r} is not a new name of small letters, digits and _, not that of "
            "a step or of its signals"
        )
        return ""
    return name


def _cross_check(run: Run) -> list[str]:
    """What only the whole configuration shows."""
    mistakes: list[str] = []
    known = list(run.sources)

    def check_sources(names: typing.Iterable[str], place: str) -> None:
        mistakes.extend(
            f"{place}: no such source {name!r}.{_hint(name, known)}"
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
        hint = _hint(by, [*COMPARABLE, "meta.KEY"])
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
            hint = _hint(scope, [GLOBAL, "source", "meta.KEY", *COMPARABLE[1:]])
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


def _check_models(models: dict[str, Model], use: Use, place: str) -> list[str]:
    """What is wrong with a step's keys of the form models.NAME and models.NAME.cutoffs."""
    mistakes = []
    for key in STEPS[use.name].files:
        value = getattr(use.config, key)
        if not isinstance(value, str) or not value.startswith("models."):
            continue
        name, _, of = value.removeprefix("models.").partition(".")
        if name not in models:
            hint = _hint(name, list(models))
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


def _tables(value: object, place: str, mistakes: list[str]) -> list[tuple[str, object]]:
    if not isinstance(value, dict):
        mistakes.append(f"{place}: {value!r} is not a table of [{place}.NAME] sections")
        return []
    return list(value.items())


def _convert(value: Any, hint: Any, place: str, mistakes: list[str]) -> Any:
    """A TOML value as the annotated type: a list as a tuple, an int where a float is wanted, a
    table as a dataclass."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in args if a is not type(None)]
        if isinstance(value, dict):  # str | dict: a path, or a table of them
            inner.sort(key=lambda a: typing.get_origin(a) is not dict)
        return _convert(value, inner[0], place, mistakes)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, place, mistakes)
    if origin is Literal:
        if value in args:
            return value
        mistakes.append(f"{place}: {value!r} is not one of {', '.join(map(repr, args))}")
    elif origin is tuple and isinstance(value, list):
        return tuple(_convert(v, args[0], f"{place}[{i}]", mistakes) for i, v in enumerate(value))
    elif origin is dict and isinstance(value, dict):
        return {k: _convert(v, args[1], f"{place}.{k}", mistakes) for k, v in value.items()}
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif (hint in (str, bool) and isinstance(value, hint)) or (
        hint is int and isinstance(value, int) and not isinstance(value, bool)
    ):
        return value
    else:
        name = {tuple: "a list", dict: "a table"}.get(origin) or getattr(
            hint, "__name__", str(hint)
        )
        mistakes.append(f"{place}: {value!r} is not {name}")
    return None


def _hint(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f" Did you mean {close[0]}?"
    return f" Known: {', '.join(known)}." if known else ""


def override(table: dict[str, Any], change: str) -> None:
    """Sets a key of a TOML table by `dotted.key=value`. Raises ConfigError."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError([f"--set {change}: not of the form key=value"])
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    set_key(table, key, value, f"--set {change}")


def set_key(table: dict[str, Any], key: str, value: Any, what: str) -> None:
    """Sets a dotted key of a TOML table: `sources.web.steps[1].min_words`, or the step by its name,
    `steps[gopher_quality]`. Raises ConfigError, with `what` as the place."""
    *parents, last = key.split(".")
    for parent in parents:
        parent, bracket, entry = parent.removesuffix("]").partition("[")
        inner = table.setdefault(parent, {})
        if bracket and isinstance(inner, list):
            steps = [step if isinstance(step, dict) else {} for step in inner]
            uses = [step.get("name") or step.get("use") for step in steps]
            if entry.isdigit() and int(entry) >= len(inner):
                raise ConfigError([f"{what}: {parent} has {len(inner)} entries, from 0"])
            if not entry.isdigit() and uses.count(entry) != 1:
                hint = _hint(entry, [use for use in uses if isinstance(use, str)])
                raise ConfigError(
                    [f"{what}: {parent} uses {entry!r} {uses.count(entry)} times.{hint}"]
                )
            inner = inner[int(entry) if entry.isdigit() else uses.index(entry)]
        if not isinstance(inner, dict):
            raise ConfigError([f"{what}: {parent} is not a table"])
        table = inner
    table[last] = value


def _plain(value: Any) -> Any:
    if isinstance(value, Use):
        called = {"name": value.called} if value.called else {}
        return {"use": value.name, **called, **_plain(value.config)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
