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
from typing import Any

from pipeline.build_config import ConfigError
from pipeline.cautions import cautions
from pipeline.config import Run, resolved
from pipeline.contamination import summarize
from pipeline.dedup_stages import deduplicate
from pipeline.executor import Cluster, make_task
from pipeline.filter_tasks import filter_part
from pipeline.fit_tasks import fit_perplexity_model, fit_quality_model
from pipeline.identity import code_version, digest, library_versions
from pipeline.ingest_tasks import ingest_part
from pipeline.ledger import (
    InputError,
    check_errors,
    check_sources,
    conserve,
    corpus_digest,
    digest_part,
    drop_stale,
    write_manifest,
)
from pipeline.likely import likely
from pipeline.named_files import Shard, find_shards, look_for_files, resolve_files, resolve_reader
from pipeline.redecide import find_earlier, measurements, source_of
from pipeline.sources import FORMATS
from pipeline.state import Piece, State, next_pieces
from pipeline.storage import delete, exists, join, write_json
from pipeline.token_stages import make_tokens

WRITER_CODE = ("pipeline/parts.py", "pipeline/files.py", "pipeline/schema.py", "pipeline/tally.py")
INGEST_CODE = ("pipeline/sources", "pipeline/extract", "pipeline/ingest_tasks.py", *WRITER_CODE)
FILTER_CODE = (
    *("filters", "pipeline/steps.py", "pipeline/apply.py", "pipeline/redecide.py"),
    *("pipeline/filter_tasks.py", *WRITER_CODE),
)
FIT_CODE = ("filters", "pipeline/fit_tasks.py", *WRITER_CODE)

# What --until may name, in order.
LAST = ("ingest", "filter", "dedup", "tokenizer", "tokenize", "pack", "train")
WRITTEN = {"tokenizer": "tokenizer", "tokenize": "tokens", "pack": "packed", "train": "train"}


def run_pipeline(
    run: Run,
    out: str,
    cluster: Cluster,
    until: str | None = None,
    shards: list[Shard] | None = None,
) -> dict[str, Any]:
    """Every stage that the configuration asks for, over all shards or those given. Returns the
    manifest, which is also written. Raises ConfigError for files that are not there, before any
    work, and StageError."""
    look_for_files(run, out)
    if run.train and until in (None, "train"):
        _check_training(run.train.workers, out, cluster)
    state = State(run, out, cluster, shards=shards)
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
    warnings = cautions(run, state.counts)
    if until:
        manifest["until"] = until
        later = [WRITTEN[stage] for stage in LAST[LAST.index(until) + 1 :] if stage in WRITTEN]
        if left := [f"{folder}/" for folder in later if exists(join(state.out, folder))]:
            warnings.append(f"{', '.join(left)}: of an earlier run; this one ends with {until}")
    if warnings:
        manifest["warnings"] = warnings
    drop_stale(state.out, state.records)
    write_manifest(state.out, manifest)
    return manifest


def _check_training(n_ranks: int, out: str, cluster: Cluster) -> None:
    mistakes = []
    if "://" in out:
        where = "a local directory; use --until pack, and `python -m train.loop` on its rows"
        mistakes.append(f"--out {out}: training writes to {where}")
    if n_ranks > 1 and cluster.cores is None:
        mistakes.append(f"train.workers: {n_ranks} ranks need Ray; leave out --ray off")
    if mistakes:
        raise ConfigError(mistakes)


def run_trial(run: Run, out: str, cluster: Cluster, shards: list[Shard]) -> dict[str, Any]:
    """The stages up to the documents, over some shards, to learn of a run before it. Raises
    ConfigError for what inputs cannot be right."""
    try:
        return run_pipeline(run, out, cluster, document_stages(run, None)[-1], shards)
    except InputError as error:
        raise ConfigError(str(error).splitlines()) from None


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


def ingest(state: State, out: str) -> list[Piece]:
    run = state.run
    if state.shards is None:
        shards = find_shards(run, state.place, state.identity)
    else:
        shards = [shard._replace(identity=state.identity(shard.path)) for shard in state.shards]
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
            code = code_version(*INGEST_CODE)
            task = make_task(label, ingest_part, args, shard.identity, identity, reader, code)
            stage_tasks.append(task)
            places.append((shard.source, shard.name, label))
    records = state.stage("ingest", stage_tasks)
    state.counts["ingest"] = conserve("ingest", records, None)
    first = {shard.source: shard.path for shard in reversed(shards)}
    check_sources(
        state.out,
        state.counts["ingest"],
        records,
        lambda name: likely(run.sources[name], first[name]),
    )
    check_errors("ingest", [f"{p[0]}/{p[1]}" for p in places], records, run.max_error_fraction)
    return next_pieces([Piece(*place, None, "") for place in places], records)


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
            function: Callable = fit_perplexity_model
        else:
            positive, p = reference(model.positive, model.sample_bytes)
            negative, n = reference(model.negative, model.sample_bytes)
            args |= {"positive": positive, "negative": negative, "fractions": (p, n)}
            function = fit_quality_model
        sources = {*model.sources, *model.positive, *model.negative, *model.reference}
        contents = [p.content for p in pieces if p.source in sources]
        identity = [contents, dataclasses.asdict(model), run.seed, code_version(*FIT_CODE)]
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
        name: resolve_files(
            source.steps, f"sources.{name}.steps", models, state.place, state.identity
        )
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
        rest = [run.audit_fraction, out, run.batch_bytes, code_version(*FILTER_CODE)]
        of = digest([piece.label, piece.content, run.audit_fraction, rest[-1]])
        args["source_of_signals"] = source_of(earlier[of]) if of in earlier else None
        task = make_task(piece.label, filter_part, args, piece.content, identity, *rest)
        notes = {"measured": {"of": of, "steps": args["measured"]}}
        stage_tasks.append(task._replace(notes=notes))
    records = state.stage("filter", stage_tasks)
    state.counts["filter"] = conserve("filter", records, state.counts["ingest"])
    names = [f"{p.source}/{p.shard}" for p in pieces]
    check_errors("filter", names, records, run.max_error_fraction)
    return next_pieces(pieces, records)


def digest_documents(state: State, pieces: list[Piece]) -> str:
    stage_tasks = [
        make_task(
            p.label, digest_part, {"path": p.path}, p.content, code_version("pipeline/ledger.py")
        )
        for p in pieces
    ]
    return corpus_digest(state.out, state.stage("digest", stage_tasks))
