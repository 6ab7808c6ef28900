"""What workers do from token ids to packed rows; in which order: mixture_stages.py.

Tokens parts and documents parts have the same rows in the same order, so what a mixture wants to
know of a document (a column to split by, its duplicate cluster) is read from its documents part.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ablation.controls import Control, degrade
from pipeline.exchange.files import read_partition
from pipeline.mixture import (
    BUCKETS,
    KEY_BITS,
    GroupPlan,
    Mixture,
    bucket_hash,
    bucket_histogram,
    choose_documents,
)
from pipeline.mixture_groups import columns_of, groups_of, validation_buckets
from pipeline.parts import Part, read_tables
from pipeline.schema import tokens_schema
from train.packing import write_packed

HISTOGRAM = pa.schema([("group", pa.string()), ("bucket", pa.uint16()), ("tokens", pa.int64())])
CONTROL_SEED = 0
ALONE, CLUSTERED = "alone", "clustered"  # histograms of a source for holding out
CLUSTER = "dedup.cluster"  # of near-duplicates; null for a document that is like no other


class Tokens(NamedTuple):
    """One part: its tokens and its documents, below the root."""

    source: str
    label: str
    tokens: str
    documents: str
    content: list[str]
    aside: str | None = (
        None  # a table of ids that the mixture leaves out (pipeline/ablation/held_out.py)
    )


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


def held_out(documents: pa.Table, source: str, seed: int, limits: dict[str, int]) -> np.ndarray:
    """bool: which documents of a source are held out. Documents in duplicate clusters go by the
    least limit of all sources: a cluster in two of them would else be half held out."""
    if source not in limits:
        return np.zeros(documents.num_rows, bool)
    limit = np.where(in_cluster(documents), min(limits.values()), limits[source])
    return validation_buckets(_cluster_or_id(documents), seed) < limit


def in_cluster(documents: pa.Table) -> np.ndarray:
    if CLUSTER not in documents.column_names:
        return np.zeros(documents.num_rows, bool)
    return documents[CLUSTER].is_valid().to_numpy()


def _left_in(
    root: str, part: Tokens, documents: pa.Table, seed: int, limits: dict[str, int]
) -> np.ndarray:
    kept = ~held_out(documents, part.source, seed, limits)
    for table in read_tables(root, part.aside, ["id"]) if part.aside else ():
        kept &= ~pc.is_in(documents["id"], table["id"]).to_numpy()
    return kept


def _cluster_or_id(documents: pa.Table) -> pa.ChunkedArray:
    if CLUSTER not in documents.column_names:
        return documents["id"]
    return pc.coalesce(documents[CLUSTER], documents["id"])


def count_held_out(part: Part, tokens: Tokens, seed: int) -> dict[str, Any]:
    """Tokens by validation bucket of the documents of one part, of those in clusters apart."""
    histograms = {name: np.zeros(BUCKETS, np.int64) for name in (ALONE, CLUSTERED)}
    for _, documents, lengths in _batches(part.root, tokens, [CLUSTER]):
        bucket, clustered = (
            validation_buckets(_cluster_or_id(documents), seed),
            in_cluster(documents),
        )
        np.add.at(histograms[ALONE], bucket[~clustered], lengths[~clustered])
        np.add.at(histograms[CLUSTERED], bucket[clustered], lengths[clustered])
    histograms = {f"{tokens.source}/{name}": found for name, found in histograms.items()}
    _write_histogram(part, histograms)
    return {}


def count_buckets(
    part: Part, tokens: Tokens, config: Mixture, limits: dict[str, int]
) -> dict[str, Any]:
    """Tokens by group and hash bucket of the documents of one part that are not held out; and each
    group's documents, bytes of text and tokens."""
    split = config.split.get(tokens.source)
    histograms: dict[str, np.ndarray] = {}
    totals: dict[str, Counter[str]] = {}
    for table, documents, lengths in _batches(part.root, tokens, [CLUSTER, *columns_of(split)]):
        kept = _left_in(part.root, tokens, documents, config.seed, limits)
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
    limits: dict[str, int],
    vocab_size: int,
    packed_parts: int,
) -> dict[str, Any]:
    """Sends the chosen documents of one part to their packed parts, repeats included."""
    split = config.split.get(tokens.source)
    writer = part.exchange("chosen", _chosen_schema(vocab_size), packed_parts)
    taken: Counter[str] = Counter()
    for table, documents, _ in _batches(part.root, tokens, [CLUSTER, *columns_of(split)]):
        kept = _left_in(part.root, tokens, documents, config.seed, limits)
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
    limits: dict[str, int],
    vocab_size: int,
    tokenizer: str,
    name: str,
) -> dict[str, Any]:
    """The documents of one source that are held out, in the order of their hash."""
    found = []
    for tokens in parts:
        for table, documents, _ in _batches(part.root, tokens, [CLUSTER]):
            held = pa.array(held_out(documents, tokens.source, config.seed, limits))
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
