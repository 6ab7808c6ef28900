"""The exchanges of deduplication: what workers run on one part, or on one partition of a key space.

    sign      part       one pass over the texts: exact keys, bands, shingles, n-gram windows
    exact     partition  groups of equal text                   -> fates
    gone      partition  fates of earlier exchanges             -> a bit for each document
    (near-duplicates: `exchange_near.py`, `exchange_graph.py`)  -> fates, clusters
    repeats   partition  windows of words seen before           -> windows to cut
    (what that means for each part: `exchange_resolve.py`)      -> documents and removed

Files made by `sign` and `route` hold rows of their own part, not places in the corpus: they stay
valid when shards are added. A path that is absolute is read where it is: an index elsewhere.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from dedup.columns import column_of
from dedup.cut import Spans
from dedup.exact import Exact, exact_duplicates, exact_keys
from dedup.minhash import MinHash, sketch
from dedup.ngrams import NGrams, fingerprints, repeated_windows
from dedup.paragraphs import Paragraphs, paragraph_ngrams
from dedup.recall import sample_keys
from dedup.scopes import scope_values, within
from dedup.segments import Segments
from pipeline.exchange_files import read_partition
from pipeline.parts import Part, read_tables
from pipeline.schema import FATE

KEYS = pa.schema(
    [
        ("key", pa.uint64()),
        ("key_low", pa.uint64()),
        ("doc", pa.uint64()),
        ("order", pa.uint64()),
        ("id", pa.string()),
    ]
)
BANDS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64()), ("order", pa.uint64())])
SHINGLES = pa.schema(
    [
        ("doc", pa.uint64()),
        ("order", pa.uint64()),
        ("id", pa.string()),
        ("shingles", pa.list_(pa.uint64())),
    ]
)
WINDOWS = pa.schema(
    [
        ("key", pa.uint64()),
        ("key_low", pa.uint64()),
        ("doc", pa.uint64()),
        ("order", pa.uint64()),
        ("position", pa.int32()),
    ]
)
REPEATS = pa.schema([("doc", pa.uint64()), ("position", pa.int32()), ("first_doc", pa.uint64())])
EXCHANGED = {"keys": KEYS, "bands": BANDS, "samples": BANDS, "windows": WINDOWS}
SIZES = pa.schema([("doc", pa.uint64()), ("position", pa.int32()), ("n", pa.int32())])
GONE = pa.schema([("key", pa.uint64()), ("bits", pa.binary())])
KEEPERS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64())])


def keyed(schema: pa.Schema) -> pa.Schema:
    """The schema with the exchange key in front: the index of the part that a row concerns."""
    return schema.insert(0, pa.field("key", pa.uint64()))


def by_part(table: pa.Table, column: str = "doc") -> pa.Table:
    """With the part of each row's document as the exchange key."""
    part = table[column].to_numpy() >> np.uint64(32)
    return table.append_column("key", pa.array(part, pa.uint64()))


def sign_part(
    part: Part,
    path: str | None,
    priority: int,
    exact: Exact | None,
    minhash: MinHash | None,
    bands: tuple[int, int],
    spans: Spans | None,
    scopes: list[str],
    signal: str,
    partitions: int,
    batch_bytes: int,
) -> dict[str, Any]:
    """Every method's view of one part's documents, with the keys of each scope; of those after the
    first, which are only compared, no windows."""
    if path is None:
        return {}
    methods = ["keys"] * bool(exact) + ["bands", "samples"] * bool(minhash)
    writers = {
        scoped(role, i): part.exchange(scoped(role, i), EXCHANGED[role], partitions)
        for i, _ in enumerate(scopes)
        for role in [*methods, *["windows"] * bool(spans and i == 0)]
    }
    # Hashes: zstd would take a tenth of the bytes off, and as long as writing them.
    shingles = part.table("shingles", f"work/{part.stage}", SHINGLES, "shingles", "none")
    sizes = part.table("sizes", f"work/{part.stage}", SIZES, "sizes")
    row = n_shingled = 0
    named = ["id", "text", exact.by if exact else "text", signal or "text", *scopes]
    columns = list(dict.fromkeys(map(column_of, named)))
    for table in read_tables(part.root, path, columns, batch_bytes):
        order = total_order(table, priority, signal)
        first, row = row, row + table.num_rows
        doc = np.arange(first, row, dtype=np.uint64)
        docs = table.append_column("doc", pa.array(doc)).append_column("order", pa.array(order))
        made: dict[str, pa.Table] = {}
        if exact:
            made["keys"] = exact_keys(docs, exact)
        if minhash:
            made["bands"], sets = sketch(docs, minhash, *bands)
            made["samples"] = sample_keys(sets)
            shingles.write(sets)
            n_shingled += sets.num_rows
        if isinstance(spans, Paragraphs):
            made["windows"], n_ngrams = paragraph_ngrams(docs, spans)
            sizes.write(n_ngrams)
        elif spans:
            made["windows"] = fingerprints(docs, spans)
        for i, scope in enumerate(scopes):
            values = scope_values(docs, scope)
            for role, rows in made.items():
                if writer := writers.get(scoped(role, i)):
                    writer.write(within(rows, values, first))
    return {"shingled": n_shingled}


def scoped(role: str, i: int) -> str:
    """The name of a role's file in the i-th scope; the first is the one that is applied."""
    return f"{role}@{i}" if i else role


def total_order(table: pa.Table, priority: int, signal: str) -> np.ndarray:
    """uint64, smaller is kept first: 16 bits of the source's priority; 16 of the signal, greater
    first, null and absent last; 32 of the text's bytes, longer first. Equal ones: by place.

    The signal's are the upper half of a float32, turned so that they sort: two or three digits,
    within which length decides."""
    length = pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy().astype(np.uint64)
    rank = np.zeros(table.num_rows, np.uint64)
    if signal in table.column_names:
        value = table[signal].cast(pa.float32()).to_numpy() + np.float32(0)  # -0 is 0
        bits = value.view(np.uint32) >> np.uint32(16)
        rank = np.where(bits >> 15, 0xFFFF - bits, bits + 0x8000).astype(np.uint64)
        rank[np.isnan(value)] = 0
    rest = np.uint64(0xFFFF) - rank << np.uint64(32) | np.uint64(0xFFFFFFFF) - length
    return np.uint64(priority << 48) | rest


def exact_partition(
    part: Part, keys: list[str | None], config: Exact, partition: int, partitions: int
) -> dict[str, Any]:
    rows = read_partition(part.root, keys, partition, partitions, KEYS, own_rows=True)
    return write_fates(part, exact_duplicates(rows, config), partitions)


def write_fates(part: Part, fates: pa.Table, partitions: int) -> dict[str, Any]:
    """Fates to the parts of the documents they concern, and word to the parts of their keepers."""
    part.exchange("fates", keyed(FATE), partitions).write(by_part(fates))
    keepers = pa.table({"doc": pc.unique(fates["matched"]).sort()})
    part.exchange("keepers", KEEPERS, partitions).write(by_part(keepers))
    return {"fates": fates.num_rows}


def repeats_partition(
    part: Part,
    windows: list[str | None],
    gone: list[str],
    config: NGrams | Segments,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    rows = read_partition(part.root, windows, partition, partitions, WINDOWS, own_rows=True)
    rows = still_there(rows, part.root, gone)
    found = by_part(repeated_windows(rows, config))
    part.exchange("repeats", keyed(REPEATS), partitions).write(found)
    return {"repeats": found.num_rows}


def gone_partition(part: Part, fates: list[str], partition: int, partitions: int) -> dict[str, Any]:
    """A bit for each document of a part that has fates, set if it is removed: so little that each
    partition of the next exchange can read all of it."""
    rows = read_partition(part.root, fates, partition, partitions, keyed(FATE))
    docs = np.sort(rows["doc"].to_numpy())
    indexes, start = np.unique(docs >> np.uint64(32), return_index=True)
    maps = []
    for mine in np.split(docs & np.uint64(0xFFFFFFFF), start[1:]):
        bits = np.zeros(int(mine.max(initial=0)) + 1, bool)
        bits[mine] = True
        maps.append(np.packbits(bits, bitorder="little").tobytes())
    gone = {
        "key": pa.array(indexes, pa.uint64()),
        "bits": pa.array(maps[: len(indexes)], pa.binary()),
    }
    part.exchange("gone", GONE, 1).write(pa.table(gone))
    return {"gone": len(docs)}


def still_there(rows: pa.Table, root: str, gone: list[str]) -> pa.Table:
    """Rows of documents that no earlier exchange removed. Holds a bit for each document."""
    maps = read_partition(root, gone, None, 1, GONE).sort_by("key").combine_chunks()
    if not maps.num_rows:
        return rows
    bits = maps["bits"].combine_chunks()
    n_bytes = pc.binary_length(bits).to_numpy()
    data = np.frombuffer(bits.buffers()[2], np.uint8)
    there = _there(rows["doc"].to_numpy(), maps["key"].to_numpy(), n_bytes.astype(np.int64), data)
    return rows.filter(pa.array(there))


@njit(cache=True, nogil=True)
def _there(
    docs: np.ndarray, parts: np.ndarray, n_bytes: np.ndarray, data: np.ndarray
) -> np.ndarray:
    """Whether a document's bit is clear, or its part has no map."""
    starts = np.zeros(len(parts) + 1, np.int64)
    starts[1:] = np.cumsum(n_bytes)
    there = np.ones(len(docs), np.bool_)
    at, known = len(parts), np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(len(docs)):
        index, row = docs[i] >> np.uint64(32), np.int64(docs[i] & np.uint64(0xFFFFFFFF))
        if index != known:
            at, known = np.searchsorted(parts, index), index
        if at < len(parts) and parts[at] == index and row >> 3 < n_bytes[at]:
            there[i] = not (data[starts[at] + (row >> 3)] >> (row & 7)) & 1
    return there
