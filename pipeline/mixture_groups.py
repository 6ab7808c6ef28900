"""The groups that a mixture weighs, and the documents that it holds out."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mixture import INNER_BITS, Split, bucket_hash, nearest

HELD_OUT = 0x56414C4944415445  # apart from the order of the mixture


def validation_buckets(names: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    """The bucket of each document for holding out, int64: by the hash of its duplicate cluster,
    or of its id where it has none, so that near-duplicates are held out together or not at all."""
    return (bucket_hash(names, seed ^ HELD_OUT) >> np.uint64(INNER_BITS)).astype(np.int64)


def validation_limits(histograms: Mapping[str, np.ndarray], wanted: int) -> dict[str, int]:
    """By source: documents in buckets below it are held out, about `wanted` tokens of it; those in
    clusters below the least of the limits. histograms: by source, int64 [2, BUCKETS], tokens of
    documents that are like no other, and of those in clusters. Raises ValueError where `wanted` is
    more than half of a source, or more than its documents that are like no other can fill up."""
    limits = {}
    for name, histogram in histograms.items():
        available = int(histogram.sum())
        if 2 * wanted > available:
            raise ValueError(
                f"mixture.validation_tokens: {wanted} is more than half of {name} "
                f"({available} tokens); use {available // 10} or less"
            )
        limits[name] = _limit(histogram.sum(0), wanted)
    least = min(limits.values(), default=0)
    for name, (alone, clustered) in histograms.items():
        rest = wanted - int(clustered[:least].sum())
        if rest > alone.sum() + wanted // 10:
            raise ValueError(
                f"mixture.validation_tokens: {wanted} is more than {name} has outside of duplicate "
                f"clusters ({int(alone.sum())} tokens); use {int(alone.sum()) // 10} or less"
            )
        limits[name] = max(_limit(alone, rest), least) if alone.any() else least
    return limits


def _limit(histogram: np.ndarray, wanted: int) -> int:
    below = np.concatenate([[0], np.cumsum(histogram)])
    limit = nearest(below, max(wanted, 0))
    return limit if below[limit] else int(np.searchsorted(below, 1))  # at least a document


def groups_of(source: str, table: pa.Table, split: Split | None) -> pa.Array:
    """The group of each document of a source, from the column that it is split by. Raises
    ValueError where there is no such column."""
    if split is None:
        return pa.repeat(pa.scalar(source), table.num_rows)
    values = _values(source, table, split.column)
    if split.edges:
        numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
        bucket = np.searchsorted(np.array(split.edges), numbers, "right")
        values = pa.array(bucket, pa.int64(), mask=np.isnan(numbers))
    texts = pc.fill_null(pc.cast(values, pa.string()), "none")
    return pc.binary_join_element_wise(source, texts, "/")


def columns_of(split: Split | None) -> list[str]:
    """The columns of the documents that groups_of reads."""
    if split is None:
        return []
    if split.column == "host":
        return ["url"]
    return ["meta"] if split.column.startswith("meta.") else [split.column]


def _values(source: str, table: pa.Table, column: str) -> pa.Array:
    [name] = columns_of(Split(column=column))
    if name not in table.column_names:
        raise ValueError(
            f"mixture.split.{source}.column: the documents have no {name!r}; "
            f"they have {', '.join(table.column_names)}"
        )
    values = table[name].combine_chunks()
    if column == "host":
        found = pc.extract_regex(values, r"^[a-z]+://(?:[^/@]*@)?(?P<host>[^/:?#]+)")
        host = pc.struct_field(found, "host")
        return pc.if_else(pc.equal(host, ""), None, host)
    if name == "meta":
        return pc.map_lookup(values, pa.scalar(column.removeprefix("meta.")), "first")
    return values
