"""What equal keys decide: what workers run on one partition of a key space.

exact     groups of equal text             -> fates
gone      fates of earlier exchanges       -> a bit for each document
repeats   windows of words seen before     -> windows to cut
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.exact import Exact, exact_duplicates
from dedup.ngrams import NGrams, repeated_windows
from dedup.segments import Segments
from filters.compiled import kernel
from pipeline.exchange.files import by_part, keyed, read_partition
from pipeline.exchange.sign import KEYS, WINDOWS
from pipeline.parts import Part
from pipeline.schema import FATE

REPEATS = pa.schema([("doc", pa.uint64()), ("position", pa.int32()), ("first_doc", pa.uint64())])
GONE = pa.schema([("key", pa.uint64()), ("bits", pa.binary())])
KEEPERS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64())])


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


@kernel
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
