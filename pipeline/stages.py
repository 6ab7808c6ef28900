"""The DAG: from a configuration to the stages that run, in order. Reads as the list of what happens
to a corpus.

    ingest -> models -> filter
           -> sign -> exact -> pairs -> verify -> keepers -> repeats -> route -> dedup
           -> digest -> tokenizer -> tokenize -> mixture -> choose -> pack -> train

Each stage is a set of tasks, one for each part; a task's key says what its output depends on, so a
stage whose inputs did not change does nothing. A part is a range of a shard; parts are ordered by
source, shard and offset, whatever the order in which the inputs were listed.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import tasks
from pipeline.build_config import ConfigError
from pipeline.cautions import cautions
from pipeline.config import Run, Source, resolved
from pipeline.contamination import summarize
from pipeline.dedup_stages import deduplicate
from pipeline.executor import Cluster, make_task
from pipeline.ledger import (
    check_errors,
    check_sources,
    conserve,
    corpus_digest,
    digest_part,
    drop_stale,
    write_manifest,
)
from pipeline.redecide import find_earlier, measurements, source_of
from pipeline.sources import FORMATS
from pipeline.state import Piece, State, input_path, next_pieces
from pipeline.steps import STEPS, Use
from pipeline.storage import (
    code_version,
    delete,
    digest,
    exists,
    expand,
    expand_names,
    join,
    library_versions,
    local_copy,
    versions,
    write_json,
)
from pipeline.token_stages import make_tokens

INGEST_CODE = ("pipeline/sources", "pipeline/extract", "pipeline/tasks.py", "pipeline/schema.py")
FILTER_CODE = (
    *("filters", "pipeline/steps.py", "pipeline/apply.py", "pipeline/redecide.py"),
    *("pipeline/tasks.py", "pipeline/schema.py"),
)
WRITER_CODE = ("pipeline/parts.py",)

# What --until may name, in order.
LAST = ("ingest", "filter", "dedup", "tokenizer", "tokenize", "pack", "train")


class Shard(NamedTuple):
    source: str
    name: str
    path: str
    identity: str


def run_pipeline(run: Run, out: str, cluster: Cluster, until: str | None = None) -> dict[str, Any]:
    """Every stage that the configuration asks for. Returns the manifest, which is also written.
    Raises ConfigError for files that are not there, before any work, and StageError."""
    look_for_files(run)
    state = State(run, out, cluster)
    delete(join(state.out, "manifest.json"))  # a directory without one is not finished
    pieces = make_documents(state, document_stages(run, until))
    corpus = digest_documents(state, pieces)
    manifest = {
        "name": run.name,
        "config": resolved(run),
        "libraries": library_versions(),
        "stages": state.counts,
        "corpus_digest": corpus,
    }
    if state.reports:
        manifest["dedup"] = state.reports
    if "filter" in state.records and (found := summarize(state)):
        manifest["contamination"] = found
    if not until or LAST.index(until) >= LAST.index("tokenizer"):
        manifest |= make_tokens(state, pieces, until)
    if found_odd := cautions(run, state.counts):
        manifest["warnings"] = found_odd
    drop_stale(state.out, state.records)
    write_manifest(state.out, manifest)
    return manifest


def make_documents(state: State, stages: list[str], last: str = "") -> list[Piece]:
    """The stages up to the documents. What `last`, the last of them, writes is in documents/."""
    last = last or stages[-1]

    def folder(stage: str) -> str:
        return "documents" if stage == last else f"work/{stage}"

    pieces = ingest(state, folder("ingest"))
    if "filter" in stages:
        models = fit_models(state, pieces)
        pieces = filter_documents(state, pieces, models, folder("filter"))
    if "dedup" in stages:
        pieces = deduplicate(state, pieces, folder("dedup"))
    return pieces


def document_stages(run: Run, until: str | None) -> list[str]:
    """Which of the stages that hand on documents the run has."""
    wanted = ["ingest"]
    if any(source.steps for source in run.sources.values()):
        wanted.append("filter")
    if run.dedup.exact or run.dedup.minhash or run.dedup.spans:
        wanted.append("dedup")
    return [s for s in wanted if not until or LAST.index(s) <= LAST.index(until)]


# --- documents ---------------------------------------------------------------------------------


def look_for_files(run: Run) -> list[Shard]:
    """All shards. Raises ConfigError with every shard, model and test set that is missing."""
    mistakes: list[str] = []
    shards: list[Shard] = []

    def place(path: str) -> str:
        return input_path(run, path)

    def nothing(path: str) -> str:
        return ""

    try:
        shards = find_shards(run, place, nothing)
    except ConfigError as error:
        mistakes += error.mistakes
    fitted = {f"models.{name}{of}": ("", "") for name in run.models for of in ("", ".cutoffs")}
    for name, source in run.sources.items():
        try:
            steps, _ = resolve_files(
                source.steps, f"sources.{name}", fitted, place, nothing, copy=False
            )
        except ConfigError as error:
            mistakes += error.mistakes
        else:
            mistakes += prepare(steps, f"sources.{name}")
        try:
            resolve_reader(source, f"sources.{name}", place, nothing)
        except ConfigError as error:
            mistakes += error.mistakes
    if run.tokenizer and run.tokenizer.model and not exists(place(run.tokenizer.model)):
        mistakes.append(f"tokenizer.model: {place(run.tokenizer.model)} is not there")
    if mistakes:
        raise ConfigError(mistakes)
    return shards


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
            if not found:
                mistakes.append(f"sources.{source}.paths[{i}]: {place(pattern)} names no file")
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


def ingest(state: State, out: str) -> list[Piece]:
    run = state.run
    shards = find_shards(run, state.place, state.identity)
    stage_tasks, places = [], []
    readers = {
        name: resolve_reader(source, f"sources.{name}", state.place, state.identity)
        for name, source in run.sources.items()
    }
    write_json(join(state.out, "_parts", "inputs.json"), state.known)
    for shard in shards:
        config = run.sources[shard.source]
        local_reader, reader = readers[shard.source]
        for start, end in FORMATS[config.format].split(shard.path, run.split_bytes):
            label = f"{shard.source}/{shard.name}@{start}"
            args = {"source": shard.source, "format": config.format, "reader": local_reader}
            args |= {"path": shard.path, "shard": shard.name, "start": start, "end": end}
            args |= {"limit": run.limit, "sample_fraction": run.sample_fraction}
            args |= {"out": out, "batch_bytes": run.batch_bytes}
            identity = {k: v for k, v in args.items() if k not in ("reader", "path")}
            code = code_version(*INGEST_CODE, *WRITER_CODE)
            task = make_task(label, tasks.ingest_part, args, shard.identity, identity, reader, code)
            stage_tasks.append(task)
            places.append((shard.source, shard.name, label))
    records = state.stage("ingest", stage_tasks)
    state.counts["ingest"] = conserve("ingest", records, None)
    check_sources(state.out, state.counts["ingest"], records)
    check_errors("ingest", [f"{p[0]}/{p[1]}" for p in places], records, run.max_error_fraction)
    return next_pieces([Piece(*place, None, "") for place in places], records)


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


def fit_models(state: State, pieces: list[Piece]) -> dict[str, tuple[str, str]]:
    """models.NAME -> (path, sha256) for each [models.NAME], fitted from what was ingested."""
    run, out = state.run, {}
    stage_tasks = []
    ingested = state.counts["ingest"]

    def reference(sources: tuple[str, ...], limit: int) -> tuple[list[str], float]:
        paths = [p.path for p in pieces if p.source in sources and p.path]
        available = sum(ingested[s]["bytes_kept"] for s in sources)
        return paths, min(1.0, limit / max(available, 1))

    for name, model in sorted(run.models.items()):
        args: dict[str, Any] = {"name": name, "seed": run.seed}
        args["reference"] = reference(model.reference, model.sample_bytes)
        if model.fit == "perplexity":
            paths, fraction = reference(model.sources, model.sample_bytes)
            args |= {"paths": paths, "fraction": fraction, "order": model.order}
            function: Callable = tasks.fit_perplexity_model
        else:
            positive, p = reference(model.positive, model.sample_bytes)
            negative, n = reference(model.negative, model.sample_bytes)
            args |= {"positive": positive, "negative": negative, "fractions": (p, n)}
            function = tasks.fit_quality_model
        sources = {*model.sources, *model.positive, *model.negative, *model.reference}
        contents = [p.content for p in pieces if p.source in sources]
        identity = [contents, dataclasses.asdict(model), run.seed, code_version(*FILTER_CODE)]
        stage_tasks.append(make_task(f"models.{name}", function, args, *identity))
    if stage_tasks:
        for name, record in zip(
            sorted(run.models), state.stage("models", stage_tasks), strict=True
        ):
            for role, of in (("model", ""), ("cutoffs", ".cutoffs")):
                if file := record["files"].get(role):
                    out[f"models.{name}{of}"] = (join(state.out, file["path"]), file["sha256"])
    return out


def filter_documents(
    state: State, pieces: list[Piece], models: dict[str, tuple[str, str]], out: str
) -> list[Piece]:
    run = state.run
    resolved_steps = {
        name: resolve_files(source.steps, f"sources.{name}", models, state.place, state.identity)
        for name, source in run.sources.items()
    }
    stage_tasks = []
    earlier = find_earlier(state.out)
    measured = {name: measurements(*steps) for name, steps in resolved_steps.items()}
    for piece in pieces:
        steps, identity = resolved_steps[piece.source]
        args: dict[str, Any] = {"source": piece.source, "shard": piece.shard}
        args["measured"] = measured[piece.source]
        args |= {"path": piece.path, "steps": steps}
        args |= {"audit_fraction": run.audit_fraction, "out": out, "batch_bytes": run.batch_bytes}
        rest = [run.audit_fraction, out, run.batch_bytes, code_version(*FILTER_CODE, *WRITER_CODE)]
        of = digest([piece.label, piece.content, run.audit_fraction, rest[-1]])
        args["source_of_signals"] = source_of(earlier[of]) if of in earlier else None
        task = make_task(piece.label, tasks.filter_part, args, piece.content, identity, *rest)
        notes = {"measured": {"of": of, "steps": args["measured"]}}
        stage_tasks.append(task._replace(notes=notes))
    records = state.stage("filter", stage_tasks)
    state.counts["filter"] = conserve("filter", records, state.counts["ingest"])
    names = [f"{p.source}/{p.shard}" for p in pieces]
    check_errors("filter", names, records, run.max_error_fraction)
    return next_pieces(pieces, records)


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
            value = getattr(config, key)
            if not value:
                continue
            if isinstance(value, dict) or "{lang}" in value:
                try:
                    named = _by_language(value, f"{where}.steps[{i}].{key}", place)
                except ConfigError as error:
                    mistakes += error.mistakes
                    continue
                contents[key] = [(name, identity(path)) for name, path in named.items()]
                by_name = {name: local_copy(p) if copy else p for name, p in named.items()}
                config = dataclasses.replace(config, **{key: by_name})
                continue
            if isinstance(value, str) and Path(place(value)).is_dir():  # a neural model
                contents[key] = [(name, identity(path)) for path, name in expand(place(value))]
                contents[key] += versions("torch", "transformers").items()
                config = dataclasses.replace(config, **{key: place(value)})
                continue
            patterns = [value] if isinstance(value, str) else list(value)
            found = []
            for pattern in patterns:
                if pattern in models:
                    found.append(models[pattern])
                    continue
                paths = [path for path, _ in expand(place(pattern))]
                if not paths:
                    mistakes.append(f"{where}.steps[{i}].{key}: {place(pattern)} names no file")
                found += [(path, identity(path)) for path in paths]
            if isinstance(value, str) and len(found) > 1:
                what = f"{place(value)} names {len(found)} files, and one is wanted"
                mistakes.append(f"{where}.steps[{i}].{key}: {what}")
            if mistakes:
                continue
            local = [local_copy(path) if copy else path for path, _ in sorted(set(found))]
            contents[key] = sorted(
                ("/".join(path.rsplit("/", 2)[-2:]), sha) for path, sha in set(found)
            )
            config = dataclasses.replace(
                config, **{key: local[0] if isinstance(value, str) else tuple(local)}
            )
        out.append(use._replace(config=config))
        identities.append([use.label, use.name, dataclasses.asdict(use.config), contents])
    if mistakes:
        raise ConfigError(mistakes)
    return out, identities


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
                mistakes.append(f"{where}.steps[{i}]: {error}")
    return mistakes


def _each(function: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, dict):
        return {name: function(path) for name, path in value.items()}
    return function(value) if isinstance(value, str) else tuple(map(function, value))


def digest_documents(state: State, pieces: list[Piece]) -> str:
    stage_tasks = [
        make_task(
            p.label, digest_part, {"path": p.path}, p.content, code_version("pipeline/ledger.py")
        )
        for p in pieces
    ]
    return corpus_digest(state.out, state.stage("digest", stage_tasks))
