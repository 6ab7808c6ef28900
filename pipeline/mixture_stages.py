"""From token ids to packed rows: which documents are held out, which a mixture takes, the rows.

    hold_out   part        tokens by validation bucket                     -> a histogram
    mixture    part        tokens of the others by group and hash bucket   -> a histogram
    choose     part        the chosen documents, repeats included          -> by packed part
    pack       packed part documents in the order of the mixture           -> rows, sidecar
    validation source      documents held out                              -> rows, sidecar

Tokens parts and documents parts have the same rows in the same order, so what a mixture wants to
know of a document (a column to split by, its duplicate cluster) is read from its documents part.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.controls import Control, degrade
from pipeline.executor import StageError, make_task
from pipeline.mixture import (
    BUCKETS,
    KEY_BITS,
    GroupPlan,
    Mixture,
    bucket_hash,
    bucket_histogram,
    choose_documents,
    plan_mixture,
)
from pipeline.mixture_groups import (
    columns_of,
    groups_of,
    validation_buckets,
    validation_limit,
)
from pipeline.parts import Part, path_of, read_partition, read_tables
from pipeline.schema import tokens_schema
from pipeline.state import Piece, State, content_of, contents
from pipeline.storage import code_version, join
from tokenizer.encode import digest as tokenizer_digest
from tokenizer.encode import load as load_tokenizer
from train.packing import write_packed

PACK_CODE = (
    "train/packing.py",
    "pipeline/mixture.py",
    "pipeline/mixture_groups.py",
    "pipeline/mixture_stages.py",
    "pipeline/parts.py",
)
PACKED_PART_TOKENS = 1 << 26  # one packed file; what a pack task holds
HISTOGRAM = pa.schema([("group", pa.string()), ("bucket", pa.uint16()), ("tokens", pa.int64())])
CONTROL_SEED = 0
CLUSTER = "dedup.cluster"  # of near-duplicates; null for a document that is like no other


class Packed(NamedTuple):
    """What a mixture came to: files, and figures for the manifest."""

    training: list[str]
    validation: dict[str, list[str]]  # by source
    mixture: dict[str, Any]
    packing: dict[str, Any]


class Tokens(NamedTuple):
    """One part: its tokens and its documents, below the root."""

    source: str
    label: str
    tokens: str
    documents: str
    content: list[str]
    aside: str | None = None  # a table of ids that the mixture leaves out (pipeline/held_out.py)


# --- what workers do -----------------------------------------------------------------------------


def _batches(
    root: str, part: Tokens, columns: list[str]
) -> Iterator[tuple[pa.Table, pa.Table, np.ndarray]]:
    """(tokens, these columns of the documents, number of tokens) of a part, batch by batch."""
    wanted = ["id", *columns]
    names = set(_schema_names(root, part.documents))
    tables = read_tables(root, part.documents, [c for c in wanted if c in names])
    documents = pa.concat_tables(list(tables)).combine_chunks()
    row = 0
    for table in read_tables(root, part.tokens):
        beside = documents.slice(row, table.num_rows)
        assert beside["id"].equals(table["id"]), f"{part.tokens}: not the rows of {part.documents}"
        row += table.num_rows
        lengths = pc.fill_null(pc.list_value_length(table["ids"]), 0).to_numpy()
        yield table, beside, lengths


def _schema_names(root: str, path: str) -> list[str]:
    for table in read_tables(root, path, batch_bytes=1):
        return table.column_names
    return ["id"]


def held_out(documents: pa.Table, seed: int, limit: int) -> np.ndarray:
    """bool: which documents of a source lie below its limit (validation_limit)."""
    if not limit:
        return np.zeros(documents.num_rows, bool)
    return validation_buckets(_cluster_or_id(documents), seed) < limit


def _left_in(root: str, part: Tokens, documents: pa.Table, seed: int, limit: int) -> np.ndarray:
    kept = ~held_out(documents, seed, limit)
    for table in read_tables(root, part.aside, ["id"]) if part.aside else ():
        kept &= ~pc.is_in(documents["id"], table["id"]).to_numpy()
    return kept


def _cluster_or_id(documents: pa.Table) -> pa.ChunkedArray:
    if CLUSTER not in documents.column_names:
        return documents["id"]
    return pc.coalesce(documents[CLUSTER], documents["id"])


def count_held_out(part: Part, tokens: Tokens, seed: int) -> dict[str, Any]:
    """Tokens by validation bucket of the documents of one part."""
    histogram = np.zeros(BUCKETS, np.int64)
    for _, documents, lengths in _batches(part.root, tokens, [CLUSTER]):
        np.add.at(histogram, validation_buckets(_cluster_or_id(documents), seed), lengths)
    _write_histogram(part, {tokens.source: histogram})
    return {}


def count_buckets(part: Part, tokens: Tokens, config: Mixture, limit: int) -> dict[str, Any]:
    """Tokens by group and hash bucket of the documents of one part that are not held out; and each
    group's documents, bytes of text and tokens."""
    split = config.split.get(tokens.source)
    histograms: dict[str, np.ndarray] = {}
    totals: dict[str, Counter[str]] = {}
    for table, documents, lengths in _batches(part.root, tokens, [CLUSTER, *columns_of(split)]):
        kept = _left_in(part.root, tokens, documents, config.seed, limit)
        groups = groups_of(tokens.source, documents, split).to_numpy(zero_copy_only=False)
        for group in np.unique(groups[kept].astype(str)):
            rows = np.flatnonzero(kept & (groups == group))
            ids = table["id"].take(pa.array(rows))
            found = bucket_histogram(ids, lengths[rows], config.seed)
            histograms[group] = histograms.get(group, 0) + found
            n_bytes = pc.sum(table["n_bytes"].take(pa.array(rows))).as_py() or 0
            totals.setdefault(group, Counter()).update(
                documents=len(rows), bytes=n_bytes, tokens=int(lengths[rows].sum())
            )
    _write_histogram(part, histograms)
    return {"groups": {group: dict(counts) for group, counts in totals.items()}}


def _write_histogram(part: Part, histograms: dict[str, np.ndarray]) -> None:
    writer = part.table("histogram", f"work/{part.stage}", HISTOGRAM, "histogram")
    for group, histogram in sorted(histograms.items()):
        bucket = np.flatnonzero(histogram)
        columns = {"bucket": bucket.astype(np.uint16), "tokens": histogram[bucket]}
        name = pa.repeat(pa.scalar(group), len(bucket))
        writer.write(pa.table({"group": name, **columns}, schema=HISTOGRAM))


def choose_part(
    part: Part,
    tokens: Tokens,
    plans: dict[str, dict[str, Any]],
    config: Mixture,
    limit: int,
    vocab_size: int,
    packed_parts: int,
) -> dict[str, Any]:
    """Sends the chosen documents of one part to their packed parts, repeats included."""
    split = config.split.get(tokens.source)
    writer = part.exchange("chosen", _chosen_schema(vocab_size), packed_parts)
    taken: Counter[str] = Counter()
    for table, documents, _ in _batches(part.root, tokens, [CLUSTER, *columns_of(split)]):
        kept = _left_in(part.root, tokens, documents, config.seed, limit)
        groups = groups_of(tokens.source, documents, split).to_numpy(zero_copy_only=False)
        for group, plan in plans.items():
            rows = table.take(pa.array(np.flatnonzero(kept & (groups == group))))
            chosen = choose_documents(rows["id"], GroupPlan(**plan), config.seed)
            taken[group] += chosen.num_rows
            key = chosen["key"].to_numpy()
            width = (1 << KEY_BITS) // packed_parts + 1
            target = np.minimum(key // np.uint64(width), np.uint64(packed_parts - 1))
            rows = rows.select(["id", "ids"]).take(chosen["row"])
            rows = rows.append_column("key", pa.array(target, pa.uint64()))
            rows = rows.append_column("order", chosen["key"])
            rows = rows.append_column("source", _constant(tokens.source, rows))
            writer.write(rows.append_column("epoch", chosen["epoch"]))
    return {"documents": dict(taken)}


def pack_part(
    part: Part,
    chosen: list[str],
    partition: int,
    partitions: int,
    sequence_length: int,
    vocab_size: int,
    tokenizer: str,
    name: str,
    control: Control | None = None,
) -> dict[str, Any]:
    """One packed file and its sidecar, documents in the order of the mixture."""
    schema = _chosen_schema(vocab_size)
    rows = read_partition(part.root, chosen, partition, partitions, schema)
    rows = degrade(rows, control, CONTROL_SEED) if control else rows
    rows = rows.sort_by([("order", "ascending"), ("id", "ascending"), ("epoch", "ascending")])
    stem = f"packed/{name}/part-{partition:05d}-{part.key[:10]}"
    return _write_rows(part, rows, stem, sequence_length, vocab_size, tokenizer)


def pack_held_out(
    part: Part,
    parts: list[Tokens],
    config: Mixture,
    limit: int,
    vocab_size: int,
    tokenizer: str,
    name: str,
) -> dict[str, Any]:
    """The documents of one source that are held out, in the order of their hash."""
    found = []
    for tokens in parts:
        for table, documents, _ in _batches(part.root, tokens, [CLUSTER]):
            held = pa.array(held_out(documents, config.seed, limit))
            rows = table.filter(held)
            found.append(rows.append_column("source", _constant(tokens.source, rows)))
    rows = pa.concat_tables(found).combine_chunks()
    order = pa.array(bucket_hash(rows["id"], config.seed))
    rows = rows.append_column("order", order)
    rows = rows.sort_by([("order", "ascending"), ("id", "ascending")])
    stem = f"packed/{name}-validation/{parts[0].source}-{part.key[:10]}"
    figures = _write_rows(part, rows, stem, config.sequence_length, vocab_size, tokenizer)
    return figures | {"bytes": pc.sum(rows["n_bytes"]).as_py()}


def _write_rows(
    part: Part, rows: pa.Table, stem: str, sequence_length: int, vocab_size: int, tokenizer: str
) -> dict[str, Any]:
    local = part.file("packed", f"{stem}.arrow")
    sidecar = part.file("documents_of_rows", f"{stem}.documents.parquet")
    ids, sources = rows["id"].to_pylist(), rows["source"].to_pylist()
    arrays = rows["ids"].combine_chunks()
    offsets, values = arrays.offsets.to_numpy(), arrays.values.to_numpy()
    documents = ((ids[i], sources[i], values[offsets[i] : offsets[i + 1]]) for i in range(len(ids)))
    packed = write_packed(
        local, documents, sequence_length, vocab_size=vocab_size, tokenizer_digest=tokenizer
    )
    Path(packed.documents_path).replace(sidecar)
    figures = packed._asdict()
    return {k: figures[k] for k in ("rows", "documents", "tokens", "cut_documents")}


def _constant(value: str, rows: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(value), rows.num_rows)


def _chosen_schema(vocab_size: int) -> pa.Schema:
    ids = tokens_schema(vocab_size)
    return pa.schema(
        [
            ("key", pa.uint64()),  # the packed part
            ("order", pa.uint64()),
            ("epoch", pa.int32()),
            ("source", pa.string()),
            ids.field("id"),
            ids.field("ids"),
        ]
    )


# --- the stages ----------------------------------------------------------------------------------


def mix_and_pack(
    state: State,
    pieces: list[Piece],
    records: list[dict[str, Any]],
    model: str,
    aside: list[dict[str, Any]] | None = None,
    control: Control | None = None,
) -> Packed:
    """`records`: of tokenize. An ablation gives `aside`, the records that say which documents it
    leaves out, and `control`, what is done to the chosen ones."""
    run, config = state.run, state.run.mixture
    assert config
    vocab_size, tokenizer = load_tokenizer(model).get_piece_size(), tokenizer_digest(model)
    parts = parts_of(pieces, records, config, aside)
    try:
        limits = hold_out(state, parts, config) if config.validation_tokens else {}
        plans, table = _plan(state, parts, config, limits)
    except ValueError as error:
        raise StageError(str(error)) from None

    packed_parts = max(1, -(-sum(p["tokens"] for p in plans.values()) // PACKED_PART_TOKENS))
    tasks = []
    for p in parts:
        mine = {g: plan for g, plan in plans.items() if g.partition("/")[0] == p.source}
        args: dict[str, Any] = {"tokens": p, "plans": mine, "config": config}
        args |= {"limit": limits.get(p.source, 0), "vocab_size": vocab_size}
        args |= {"packed_parts": packed_parts}
        rest = [mine, _settings(config), args["limit"], packed_parts, code_version(*PACK_CODE)]
        tasks.append(make_task(p.label, choose_part, args, p.content, *rest))
    chosen = state.stage("choose", tasks)
    for record in chosen:
        for group, n in record["counts"]["documents"].items():
            table[group]["documents"] += n

    args = {"sequence_length": config.sequence_length, "vocab_size": vocab_size}
    args |= {"tokenizer": tokenizer, "name": run.name, "control": control}
    rest = [config.sequence_length, tokenizer, run.name, code_version(*PACK_CODE)]
    if control:
        rest += [dataclasses.asdict(control), code_version("pipeline/controls.py")]
    inputs = contents(chosen, "chosen")
    where = {"chosen": [path_of(r, "chosen") for r in chosen], "partitions": packed_parts}
    tasks = [
        make_task(
            f"packed {i} of {packed_parts}",
            pack_part,
            args | where | {"partition": i},
            inputs,
            *rest,
        )
        for i in range(packed_parts)
    ]
    packed = state.stage("pack", tasks)
    validation = {}
    if limits:
        held = pack_validation(state, parts, config, limits, model)
        validation = {
            source: [join(state.out, path_of(record, "packed") or "")]
            for source, record in held.items()
        }
    files = [join(state.out, path_of(r, "packed") or "") for r in packed]
    return Packed(files, validation, table, _packing_figures(packed, config))


def parts_of(
    pieces: list[Piece],
    records: list[dict[str, Any]],
    config: Mixture,
    aside: list[dict[str, Any]] | None = None,
) -> list[Tokens]:
    """The parts of the sources that take part: all, or those with a weight."""
    sources = {name.partition("/")[0] for name, weight in config.weights.items() if weight}
    parts = []
    for i, (p, r) in enumerate(zip(pieces, records, strict=True)):
        tokens = path_of(r, "tokens")
        if not (tokens and p.path and (p.source in sources or not sources)):
            continue
        content, path = [content_of(r, "tokens"), p.content], None
        if aside:
            content, path = [*content, content_of(aside[i], "aside")], path_of(aside[i], "aside")
        parts.append(Tokens(p.source, p.label, tokens, p.path, content, path))
    return parts


def _settings(config: Mixture) -> list[Any]:
    """What decides of one document, weights and budget aside."""
    return [config.seed, {name: dataclasses.asdict(s) for name, s in config.split.items()}]


def hold_out(state: State, parts: list[Tokens], config: Mixture) -> dict[str, int]:
    """By source: documents in validation buckets below it are held out. Raises ValueError for a
    source that is too small."""
    return {
        name: validation_limit(name, histogram, config.validation_tokens)
        for name, histogram in validation_histograms(state, parts, config).items()
    }


def validation_histograms(
    state: State, parts: list[Tokens], config: Mixture
) -> dict[str, np.ndarray]:
    """By source: tokens by validation bucket."""
    code = code_version(*PACK_CODE)
    tasks = [
        make_task(
            p.label,
            count_held_out,
            {"tokens": p, "seed": config.seed},
            p.content,
            config.seed,
            code,
        )
        for p in parts
    ]
    return _sum(state, state.stage("hold_out", tasks))


def _plan(
    state: State, parts: list[Tokens], config: Mixture, limits: dict[str, int]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The plan of each group, and its row of the mixture's table."""
    histograms, sizes = available(state, parts, config, limits)
    plans = plan_mixture(histograms, config)
    total = max(sum(plan.tokens for plan in plans.values()), 1)
    table = {}
    for group, plan in plans.items():
        figures = {"weight": plan.weight, "proportion": plan.tokens / total, "epochs": plan.epochs}
        row: dict[str, Any] = {key: round(value, 4) for key, value in figures.items()}
        row |= {"wanted": plan.wanted, "tokens": plan.tokens, "documents": 0}
        row |= {"available_tokens": plan.available, "available_bytes": sizes[group]["bytes"]}
        table[group] = row | {"available_documents": sizes[group]["documents"]}
    return {group: plan._asdict() for group, plan in plans.items()}, table


def available(
    state: State, parts: list[Tokens], config: Mixture, limits: dict[str, int]
) -> tuple[dict[str, np.ndarray], dict[str, Counter[str]]]:
    """Of each group that is there to be mixed, tokens by hash bucket; and documents, bytes,
    tokens."""
    tasks = []
    for p in parts:
        limit = limits.get(p.source, 0)
        args: dict[str, Any] = {"tokens": p, "config": config, "limit": limit}
        rest = [_settings(config), limit, code_version(*PACK_CODE)]
        tasks.append(make_task(p.label, count_buckets, args, p.content, *rest))
    counted = state.stage("mixture", tasks)
    sizes: dict[str, Counter[str]] = {}
    for record in counted:
        for group, counts in record["counts"]["groups"].items():
            sizes.setdefault(group, Counter()).update(counts)
    return _sum(state, counted), sizes


def _sum(state: State, records: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    histograms: dict[str, np.ndarray] = {}
    for record in records:
        path = path_of(record, "histogram")  # none where all documents of a part are held out
        for table in read_tables(state.out, path) if path else ():
            groups = table["group"].to_numpy(zero_copy_only=False)
            for group in np.unique(groups.astype(str)):
                rows = table.filter(pa.array(groups == group))
                histogram = histograms.setdefault(group, np.zeros(BUCKETS, np.int64))
                histogram[rows["bucket"].to_numpy()] += rows["tokens"].to_numpy()
    return histograms


def pack_validation(
    state: State, parts: list[Tokens], config: Mixture, limits: dict[str, int], model: str
) -> dict[str, dict[str, Any]]:
    """By source the record of its documents below the limit, packed."""
    args: dict[str, Any] = {"vocab_size": load_tokenizer(model).get_piece_size()}
    args |= {"tokenizer": tokenizer_digest(model), "name": state.run.name}
    tasks = []
    for source, limit in limits.items():
        mine = [p for p in parts if p.source == source]
        given = args | {"parts": mine, "config": config, "limit": limit}
        rest = [limit, _settings(config), config.sequence_length, args["tokenizer"], args["name"]]
        identity = [[p.content for p in mine], *rest, code_version(*PACK_CODE)]
        tasks.append(make_task(f"validation of {source}", pack_held_out, given, *identity))
    return dict(zip(limits, state.stage("validation", tasks), strict=True))


def _packing_figures(packed: list[dict[str, Any]], config: Mixture) -> dict[str, Any]:
    names = ("rows", "documents", "tokens", "cut_documents")
    totals: dict[str, Any] = {k: sum(r["counts"][k] for r in packed) for k in names}
    slots = totals["rows"] * config.sequence_length
    return totals | {"fill": round(totals["tokens"] / slots, 6) if slots else 0.0}
