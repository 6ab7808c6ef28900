"""The files that a configuration names: shards, models, test sets, lists. Where they are, and what
identifies them: their content, never their path.

A run's own tables are the input of another only when it is finished. Its records would tell which
files are whole, but not which are of the present configuration, nor what is still to come: a corpus
made of them would be a part of another that nobody could name.
"""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.build_config import ConfigError
from pipeline.config import Run, Source
from pipeline.identity import versions
from pipeline.sources import FORMATS
from pipeline.state import input_path
from pipeline.steps import STEPS, Use
from pipeline.storage import (
    absolute,
    exists,
    expand,
    expand_names,
    is_web,
    join,
    local_copy,
    split_query,
)
from tokenizer.encode import load as load_tokenizer
from tokenizer.encode import load_kernel

TABLES = ("documents", "removed")  # folders of a run that hold documents, a folder for a source


class Shard(NamedTuple):
    source: str
    name: str
    path: str
    identity: str


def look_for_files(run: Run, out: str = "") -> list[Shard]:
    """All shards. Raises ConfigError with every shard, model and test set that is missing, and
    where the run would read what it writes to `out`."""
    mistakes: list[str] = []
    shards: list[Shard] = []

    def place(path: str) -> str:
        return input_path(run, path)

    try:
        shards = find_shards(run, place, _unread)
    except ConfigError as error:
        mistakes += error.mistakes
    own = absolute(out).rstrip("/") if out else None
    mistakes += [
        f"sources.{name}.paths: from {out}, where this run would write; give another --out"
        for name in run.sources
        if own in _runs(shard.path for shard in shards if shard.source == name)
    ]
    seen: list[tuple[Use, ...]] = []  # the same steps have the same mistakes
    for name, source in run.sources.items():
        try:
            if source.steps not in seen:
                mistakes += prepare(steps_of(run, name, copy=False), f"sources.{name}.steps")
        except ConfigError as error:
            mistakes += error.mistakes
        seen.append(source.steps)
        try:
            resolve_reader(source, f"sources.{name}", place, _unread)
        except ConfigError as error:
            mistakes += error.mistakes
    if run.tokenizer and run.tokenizer.model:
        mistakes += _of_tokenizer(place(run.tokenizer.model), run.tokenizer.impl)
    if mistakes:
        raise ConfigError(mistakes)
    return shards


def steps_of(run: Run, source: str, copy: bool = True) -> list[Use]:
    """A source's steps with the paths of their files, before any model of the run is fitted. Raises
    ConfigError."""
    fitted = {f"models.{name}{of}": ("", "") for name in run.models for of in ("", ".cutoffs")}
    steps, where = run.sources[source].steps, f"sources.{source}.steps"
    return resolve_files(steps, where, fitted, lambda p: input_path(run, p), _unread, copy)[0]


def _unread(path: str) -> str:
    """In the place of a file's identity, where it is not asked for."""
    return ""


def _of_tokenizer(path: str, impl: str) -> list[str]:
    """What is wrong with a tokenizer.model, before anything is read for it."""
    if not exists(path):
        return [f"tokenizer.model: {path} is not there"]
    try:
        local = local_copy(path)
        load_kernel(local) if impl == "corpusmill" else load_tokenizer(local)
    except ValueError as error:
        return [f"tokenizer.model: {error}"]
    return []


def find_shards(
    run: Run, place: Callable[[str], str], identity: Callable[[str], str]
) -> list[Shard]:
    """Every shard of every source, in the order of source and name. Raises ConfigError for what is
    missing or ambiguous."""
    shards, mistakes = [], []
    for source, config in sorted(run.sources.items()):
        names: dict[str, str] = {}
        for i, pattern in enumerate(config.paths):
            found = expand(place(pattern), folders=FORMATS[config.format].folders)
            wrong = _of_pattern(place(pattern), [path for path, _ in found])
            mistakes += [f"sources.{source}.paths[{i}]: {mistake}" for mistake in wrong]
            for path, name in found:
                if names.get(name, path) != path:
                    mistakes.append(
                        f"sources.{source}.paths[{i}]: {path} and {names[name]} would both be "
                        f"shard {name!r}; name them by one pattern, from the folder above"
                    )
                names[name] = path
        shards += [(source, name, path) for name, path in names.items()]
    if mistakes:
        raise ConfigError(mistakes)
    # "/" at the end: the order of names is then the order of the ids that start with them
    shards.sort(key=lambda s: (s[0] + "/", s[1] + "/"))
    return [Shard(source, name, path, identity(path)) for source, name, path in shards]


def _of_pattern(pattern: str, found: list[str]) -> list[str]:
    """What is wrong with the files that a pattern names."""
    if not found:
        return [f"{pattern} names no file"]
    if _has_records(pattern):
        whole = f"{pattern}: a run, with what it removed; name {join(pattern, 'documents')}, or a"
        return [unfinished(pattern) or f"{whole} source there"]
    return [mistake for root in sorted(_runs(found)) if (mistake := unfinished(root))]


def run_of(path: str) -> tuple[str, str]:
    """(RUN, SOURCE) of RUN/documents/SOURCE, of a file there, and of removed/; ("", "") of what is
    no table of a run. A run is told by its records; none is looked for on a web server."""
    base, query = split_query(absolute(path))
    parts = base.rstrip("/").split("/")
    for at in (-2, -3):
        if len(parts) > -at and parts[at] in TABLES:
            root = "/".join(parts[:at]) + query
            if _has_records(root):
                return root, parts[at + 1]
    return "", ""


def _runs(paths: Iterable[str]) -> set[str]:
    """The runs whose tables these files are; one look for each folder."""
    folders = {base.rpartition("/")[0] + query for base, query in map(split_query, paths)}
    return {root for folder in folders if (root := run_of(folder)[0])}


def unfinished(path: str) -> str:
    """A line about a directory that is a run without its manifest; "" for any other."""
    root, query = split_query(path)
    if not _has_records(path) or exists(join(root, "manifest.json") + query):
        return ""
    return f"{path}: an unfinished run (no manifest.json); finish it: the same `corpusmill` command"


def _has_records(path: str) -> bool:
    root, query = split_query(path)
    return not is_web(path) and exists(join(root, "_parts/ingest") + query)


def resolve_reader(
    source: Source, where: str, place: Callable[[str], str], identity: Callable[[str], str]
) -> tuple[Any, dict[str, Any]]:
    """The reader's config with the paths of the files that it names, and its identity: the content
    of those files in the place of their paths."""
    reader, named = source.reader, dataclasses.asdict(source.reader)
    for key in FORMATS[source.format].files:
        found: set[str] = set()
        for i, pattern in enumerate(named[key]):
            paths = [path for path, _ in expand(place(pattern))]
            if not paths:
                raise ConfigError([f"{where}.{key}[{i}]: {place(pattern)} names no file"])
            found.update(paths)
        named[key] = [(path.rsplit("/", 1)[-1], identity(path)) for path in sorted(found)]
        reader = dataclasses.replace(reader, **{key: tuple(sorted(found))})
    return reader, named


def resolve_files(
    steps: tuple[Use, ...],
    where: str,
    models: dict[str, tuple[str, str]],
    place: Callable[[str], str],
    identity: Callable[[str], str],
    copy: bool = True,
) -> tuple[list[Use], list]:
    """The steps with local paths of their models and test sets, and their identity: configs, with
    the content of files in the place of their paths."""
    out, identities = [], []
    mistakes: list[str] = []
    for i, use in enumerate(steps):
        config, contents = use.config, {}
        for key in STEPS[use.name].files:
            if value := getattr(config, key):
                here = f"{where}[{i}].{key}"
                try:
                    local, contents[key] = _resolve(value, here, models, place, identity, copy)
                except ConfigError as error:
                    mistakes += error.mistakes
                else:
                    config = dataclasses.replace(config, **{key: local})
        out.append(use._replace(config=config))
        identities.append([use.label, use.name, dataclasses.asdict(use.config), contents])
    if mistakes:
        raise ConfigError(mistakes)
    return out, identities


def _resolve(
    value: Any,
    where: str,
    models: dict[str, tuple[str, str]],
    place: Callable[[str], str],
    identity: Callable[[str], str],
    copy: bool,
) -> tuple[Any, list]:
    """(the value with local paths, what is in those files) of a key that names files: a path or a
    pattern, several, a directory (a neural model), or one for each language."""
    if isinstance(value, dict) or "{lang}" in value:
        named = _by_language(value, where, place)
        contents = [(name, identity(path)) for name, path in named.items()]
        return {name: local_copy(p) if copy else p for name, p in named.items()}, contents
    if isinstance(value, str) and Path(place(value)).is_dir():
        contents = [(name, identity(path)) for path, name in expand(place(value))]
        return place(value), [*contents, *versions("torch", "transformers").items()]
    found: set[tuple[str, str]] = set()
    mistakes = []
    for pattern in [value] if isinstance(value, str) else value:
        if pattern in models:
            found.add(models[pattern])
            continue
        paths = [path for path, _ in expand(place(pattern))]
        if not paths:
            mistakes.append(f"{where}: {place(pattern)} names no file")
        found.update((path, identity(path)) for path in paths)
    if isinstance(value, str) and len(found) > 1:
        mistakes.append(f"{where}: {place(value)} names {len(found)} files, and one is wanted")
    if mistakes:
        raise ConfigError(mistakes)
    local = [local_copy(path) if copy else path for path, _ in sorted(found)]
    contents = sorted(("/".join(path.rsplit("/", 2)[-2:]), sha) for path, sha in found)
    return local[0] if isinstance(value, str) else tuple(local), contents


def _by_language(
    value: str | dict[str, str], where: str, place: Callable[[str], str]
) -> dict[str, str]:
    """{language: path} of a table of files, or of a pattern with {lang}."""
    if isinstance(value, str):
        named = expand_names(place(value))
        if not named:
            raise ConfigError([f"{where}: {place(value)} names no file"])
        return dict(sorted(named.items()))
    named = {name: place(path) for name, path in sorted(value.items())}
    missing = [f"{where}.{n}: {path} is not there" for n, path in named.items() if not exists(path)]
    if missing:
        raise ConfigError(missing)
    return named


def prepare(steps: list[Use], where: str) -> list[str]:
    """Loads what the steps will load: a line for each that cannot."""
    mistakes = []
    for i, use in enumerate(steps):
        step = STEPS[use.name]
        fitted_here = any(getattr(use.config, key) == "" for key in step.files)
        if step.prepare and not fitted_here:
            local: dict[str, Any] = {}
            for key in step.files:
                value = getattr(use.config, key)
                if value:
                    local[key] = _each(local_copy, value)
            try:
                step.prepare(dataclasses.replace(use.config, **local))
            except ValueError as error:
                mistakes.append(f"{where}[{i}]: {error}")
    return mistakes


def _each(function: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, dict):
        return {name: function(path) for name, path in value.items()}
    return function(value) if isinstance(value, str) else tuple(map(function, value))
