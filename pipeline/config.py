"""A run as a TOML file: its sections, and how it is read. Every mistake is one line, and all of
them are found at once. How a value becomes its type: build_config.py; what only the whole shows:
cross_check.py."""

import dataclasses
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from dedup.exact import Exact
from dedup.minhash import MinHash
from dedup.ngrams import NGrams
from dedup.paragraphs import Paragraphs
from dedup.scopes import GLOBAL
from dedup.segments import Segments
from pipeline.build_config import ConfigError, build, convert, nearest, override, read_table
from pipeline.cross_check import cross_check
from pipeline.mixture import Mixture
from pipeline.sources import FORMATS
from pipeline.steps import STEPS, Use
from tokenizer.train import Tokenizer
from train.config import Train


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


def parse(table: dict[str, Any]) -> Run:
    """A run from a TOML table. Raises ConfigError with every mistake that was found."""
    mistakes: list[str] = []
    table = dict(table)
    named = {key: table.pop(key, {}) for key in ("sources", "models")}
    sources = {
        name: _source(value, f"sources.{name}", mistakes)
        for name, value in _tables(named["sources"], "sources", mistakes)
    }
    models = {
        name: build(Model, value, f"models.{name}", mistakes)
        for name, value in _tables(named["models"], "models", mistakes)
    }
    given = {"sources": sources, "models": models}
    values, broken = convert(Run, table, "", mistakes, given=given)
    broken |= {key for key, value in named.items() if not isinstance(value, dict)}
    if not sources and "sources" not in broken:
        mistakes.append("sources: none; add a [sources.NAME] with format and paths")
    run = Run(**{"name": "", **values})  # with holes where there are mistakes
    mistakes += cross_check(run, broken)
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


def _source(table: object, place: str, mistakes: list[str]) -> Source | None:
    """None where its paths are not known; else with what there is, for the mistakes in the rest."""
    if not isinstance(table, dict):
        mistakes.append(f"{place}: {table!r} is not a table")
        return None
    table = dict(table)
    name = _required(table, "format", f"one of {', '.join(FORMATS)}", place, mistakes)
    paths = _required(table, "paths", "a list of files or patterns", place, mistakes)
    given: dict[str, Any] = {"format": name, "reader": None}
    given["steps"] = _steps(table.pop("steps", []), f"{place}.steps", mistakes)
    if isinstance(name, str) and name in FORMATS:
        given["reader"] = build(FORMATS[name].config, table, place, mistakes, f"format {name}")
    elif name is not None:
        mistakes.append(
            f"{place}.format: no such format {name!r}.{nearest(str(name), list(FORMATS))}"
        )
    if paths is None:
        return None
    return build(Source, {"paths": paths}, place, mistakes, given=given)


def _required(
    table: dict[str, Any], key: str, what: str, place: str, mistakes: list[str]
) -> object:
    """The value of a source's key, which is taken out of its table; so is one that may be it."""
    if key in table:
        return table.pop(key)
    near = get_close_matches(key, table, 1)
    alike = f" Is it {near[0]}?" if near else ""
    mistakes.append(f"{place}.{key}: missing; {what}.{alike}")
    for name in near:
        del table[name]
    return None


def _steps(entries: object, place: str, mistakes: list[str]) -> tuple[Use, ...]:
    """A step for each entry; without a config, or a name, for one with a mistake."""
    if not isinstance(entries, list):
        mistakes.append(f'{place}: {entries!r} is not a list of {{ use = "NAME", ... }}')
        return (Use("", None),)
    out: list[Use] = []
    for i, entry in enumerate(entries):
        here = f"{place}[{i}]"
        if not isinstance(entry, dict) or "use" not in entry:
            mistakes.append(f'{here}: {entry!r} is not of the form {{ use = "NAME", ... }}')
            out.append(Use("", None))
            continue
        name = entry["use"]
        if not isinstance(name, str) or name not in STEPS:
            mistakes.append(f"{here}.use: no such step {name!r}.{nearest(str(name), list(STEPS))}")
            out.append(Use("", None))
            continue
        rest = {key: value for key, value in entry.items() if key not in ("use", "name")}
        config = build(STEPS[name].config, rest, here, mistakes, name)
        use = Use(name, config, _called(entry.get("name", ""), here, mistakes))
        twice = [j for j, earlier in enumerate(out) if earlier.label == use.label]
        if twice:
            mistakes.append(
                f"{here}: {use.label} stands at {place}[{twice[0]}] too, and this one would "
                'overwrite its signals; give it a name of its own: name = "..."'
            )
        out.append(use)
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


def _tables(value: object, place: str, mistakes: list[str]) -> list[tuple[str, object]]:
    if not isinstance(value, dict):
        mistakes.append(f"{place}: {value!r} is not a table of [{place}.NAME] sections")
        return []
    return list(value.items())


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
