"""Rows of one file grouped by a key, in bounded memory, over several workers.

Where a question's answers, or a thread's comments, lie far apart, no byte range holds them
together. A range is therefore one of key hashes (crc32 modulo BUCKETS): each worker reads the whole
file and keeps the rows whose keys are its own, so memory and the dear work (parsing, HTML) are
shared, and reading is not: a file is read up to MAX_RANGES times, at several times the speed of the
rest. The rows of a range are spilled to files in the temporary directory by parts of the range,
and a part is sorted by key: one index and one group are in memory.

Groups come in the order of (bucket, key), so ranges one after another give those of one range.
"""

import tempfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pipeline import storage
from pipeline.schema import Fault

BUCKETS = 1 << 16
MAX_RANGES = 16
_PARTS = 64
_FLUSH = 1 << 16


class Row(NamedTuple):
    locator: str
    data: bytes


class Group(NamedTuple):
    """The rows of one key in the order of the file; None where they are more than the limit."""

    key: bytes
    n_rows: int
    n_bytes: int
    rows: list[Row] | None


def split_by_key(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Ranges of buckets, one for each split_bytes of the file and at most MAX_RANGES."""
    n = min(max(-(-storage.input_size(path) // split_bytes), 1), MAX_RANGES)
    return [(BUCKETS * i // n, BUCKETS * (i + 1) // n) for i in range(n)]


def bucket(key: bytes) -> int:
    return zlib.crc32(key) % BUCKETS


def grouped(
    rows: Iterable[tuple[bytes, Row] | Fault], start: int, end: int, limit: int
) -> Iterator[Group | Fault]:
    """The faults, as they come; then the groups of rows whose keys are in a range of buckets. A
    group of more than `limit` bytes is counted and not read. Keys have no spaces."""
    width = max(end - start, 1)
    with tempfile.TemporaryDirectory(prefix="corpusmill-group-") as folder:
        files = [Path(folder, str(i)) for i in range(_PARTS)]
        held: list[list[bytes]] = [[] for _ in files]
        sizes = [0] * _PARTS
        for item in rows:
            if isinstance(item, Fault):
                yield item
                continue
            key, row = item
            number = bucket(key)
            if not start <= number < end:
                continue
            part = (number - start) * _PARTS // width
            held[part].append(
                b"%s %s %d\n%s" % (key, row.locator.encode(), len(row.data), row.data)
            )
            sizes[part] += len(row.data)
            if sizes[part] >= _FLUSH:
                _flush(files[part], held[part])
                sizes[part] = 0
        for file, left in zip(files, held, strict=True):
            if left:
                _flush(file, left)
            if file.exists():
                yield from _sorted_groups(file, limit)
                file.unlink()


def _flush(path: Path, held: list[bytes]) -> None:
    with path.open("ab") as file:
        file.writelines(held)
    held.clear()


def _sorted_groups(path: Path, limit: int) -> Iterator[Group]:
    index: list[tuple[int, bytes, int, int, str]] = []  # bucket, key, offset, length, locator
    with path.open("rb") as file:
        while header := file.readline():
            key, locator, length = header.split(b" ")
            n = int(length)
            index.append((bucket(key), key, file.tell(), n, locator.decode()))
            file.seek(n, 1)
        index.sort()
        for (_, key), found in groupby(index, lambda entry: entry[:2]):
            entries = list(found)
            n_bytes = sum(entry[3] for entry in entries)
            rows = None
            if n_bytes <= limit:
                rows = [Row(locator, _read(file, at, n)) for _, _, at, n, locator in entries]
            yield Group(key, len(entries), n_bytes, rows)


def _read(file, at: int, n: int) -> bytes:
    file.seek(at)
    return file.read(n)
