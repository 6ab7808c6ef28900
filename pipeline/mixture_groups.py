"""The groups that a mixture weighs, and the documents that it holds out."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mixture import INNER_BITS, Split, bucket_hash, nearest

HELD_OUT = 0x56414C4944415445  # apart from the order of the mixture


def validation_buckets(names: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    """The bucket of each document for holding out, int64: by the hash of its duplicate cluster,
    or of its id where it has none, so that near-duplicates are held out together or not at all."""
    return (bucket_hash(names, seed ^ HELD_OUT) >> np.uint64(INNER_BITS)).astype(np.int64)


def validation_limit(source: str, histogram: np.ndarray, wanted: int) -> int:
    """Documents in buckets below it are held out: about `wanted` tokens. Raises ValueError where
    that is more than half of the source."""
    available = int(histogram.sum())
    if 2 * wanted > available:
        raise ValueError(
            f"mixture.validation_tokens: {wanted} is more than half of {source} "
            f"({available} tokens); use {available // 10} or less"
        )
    below = np.concatenate([[0], np.cumsum(histogram)])
    limit = nearest(below, wanted)
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
