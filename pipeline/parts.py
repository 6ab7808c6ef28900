"""Outputs of a task: written under a temporary name, renamed, and then named by a record.

A reader trusts only records (`_parts/<stage>/<key>.json`), so a half-written file is never read.
The key is made of content (input identity, stage config, code version), so changed input or config
is a new part. Nothing but the record's `timing` depends on time or host.
"""

import hashlib
import itertools
import re
import resource
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.schema import ERROR, Fault
from pipeline.storage import (
    exists,
    filesystem,
    join,
    open_input,
    read_json,
    temporary_suffix,
    write_json,
)

ROW_GROUP_BYTES = 8 << 20
EXCHANGE_BYTES = 16 << 20
_LZ4 = pa.Codec("lz4")
_TRAILER = struct.Struct("<qq8s")  # rounds, partitions
_MAGIC = b"exchang2"


class File(NamedTuple):
    """A committed output: path below the output root, rows, bytes and content."""

    path: str
    rows: int
    bytes: int
    sha256: str


class _HashingSink:
    """A stream that knows the sha256 and length of what went through it."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self.stream, self.sha256, self.bytes, self.closed = stream, hashlib.sha256(), 0, False

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        self.sha256.update(view)
        self.stream.write(view)
        self.bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        if not self.closed:
            self.stream.close()
            self.closed = True


class TableWriter:
    """One Parquet file (zstd) in the making. No file appears if no row was written.

    Without dictionaries: for texts, ids and hashes they are tried in vain (half of the time of
    writing hashes), and what has few values zstd makes as small."""

    def __init__(self, root: str, path: str, schema: pa.Schema, compression: str) -> None:
        self.root, self.path, self.schema, self.compression = root, path, schema, compression
        self.rows = 0
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        table = table.select(self.schema.names).cast(self.schema)
        self.rows += table.num_rows
        self._pending.append(table)
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            self._sink = _open_temporary(join(self.root, self.path))
            self._writer = pq.ParquetWriter(
                self._sink,
                self.schema,
                compression=self.compression,
                use_dictionary=False,
                store_schema=True,
            )
        table = pa.concat_tables(self._pending).combine_chunks()
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._pending, self._pending_bytes = [], 0

    def close(self) -> File | None:
        self._flush()
        if self._writer is None:
            return None
        self._writer.close()
        return _commit(self._sink, self.root, self.path, self.rows)

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            _discard(self._sink, self.root, self.path)


class ExchangeWriter:
    """Rows routed to partitions by `key`: one file a part, whatever the number of partitions.

    Rows are gathered to some EXCHANGE_BYTES, sorted by partition, and written as one block for
    each partition that has any: an Arrow IPC batch without its schema, in LZ4. Then an index (where
    each partition's block of each round begins, and its bytes in memory), so that a partition is
    read by seeking: 40 us a file, where opening an Arrow file for each took 300, and a million
    documents are 8,000 such slices an exchange. LZ4 costs half of what zstd does, for 1.4 times the
    bytes of band keys."""

    def __init__(self, root: str, path: str, schema: pa.Schema, partitions: int) -> None:
        self.root, self.path, self.schema, self.partitions = root, path, schema, partitions
        self.rows = 0
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._index: list[np.ndarray] = []
        self._sink = _open_temporary(join(root, path))

    def write(self, table: pa.Table) -> None:
        """`key` (uint64) % partitions is the partition of a row."""
        if not table.num_rows:
            return
        self.rows += table.num_rows
        self._pending.append(table.select(self.schema.names).cast(self.schema))
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= EXCHANGE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.concat_tables(self._pending).combine_chunks()
        self._pending, self._pending_bytes = [], 0
        partition = table["key"].to_numpy() % np.uint64(self.partitions)
        order = np.argsort(partition, kind="stable")
        bounds = np.searchsorted(partition[order], np.arange(self.partitions + 1, dtype=np.uint64))
        [batch] = table.take(pa.array(order)).combine_chunks().to_batches()
        index = np.zeros((self.partitions + 1, 2), np.int64)
        for p in range(self.partitions):
            index[p, 0] = self._sink.bytes
            if n := bounds[p + 1] - bounds[p]:
                block = batch.slice(bounds[p], n).serialize()
                index[p, 1] = block.size
                self._sink.write(_LZ4.compress(block))
        index[-1, 0] = self._sink.bytes
        self._index.append(index)

    def close(self) -> File:
        self._flush()
        for index in self._index:
            self._sink.write(index.astype("<i8").tobytes())
        self._sink.write(_TRAILER.pack(len(self._index), self.partitions, _MAGIC))
        return _commit(self._sink, self.root, self.path, self.rows)

    def discard(self) -> None:
        _discard(self._sink, self.root, self.path)


class RawFile:
    """A file that a library writes by itself (a model), to a local path; hashed and moved into
    place at the commit."""

    def __init__(self, root: str, path: str) -> None:
        self.root, self.path = root, path
        self.folder = tempfile.mkdtemp(prefix="corpusmill-")
        self.local = str(Path(self.folder) / PurePosixPath(path).name)

    def close(self) -> File:
        with Path(self.local).open("rb") as file:
            sink = _open_temporary(join(self.root, self.path))
            shutil.copyfileobj(file, sink, 1 << 20)
        shutil.rmtree(self.folder)
        return _commit(sink, self.root, self.path, 0)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def read_partition(
    root: str,
    paths: Sequence[str | None],
    partition: int | None,
    partitions: int,
    schema: pa.Schema,
    own_rows: bool = False,
) -> pa.Table:
    """One partition of the files that ExchangeWriter wrote, or all (None), in the order of the
    paths. With `own_rows`, path i was written by part i and its `doc` holds rows of that part (so
    the file stays valid when parts are added): `doc` becomes part << 32 | row here."""
    batches, parts, rows = [], [], []
    for part, path in enumerate(paths):
        if path is None:
            continue
        fs, place = filesystem(located(root, path))
        with fs.open_input_file(place) as file:
            found, n = _blocks(file, path, partition)
            assert n == partitions, (path, n, partitions)
            for start, end, size in found:
                block = _LZ4.decompress(file.read_at(end - start, start), size)
                batches.append(pa.ipc.read_record_batch(block, schema))
                parts.append(part)
                rows.append(batches[-1].num_rows)
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    return in_corpus(table, np.repeat(np.array(parts, np.int64), rows)) if own_rows else table


def exchange_bytes(path: str) -> int:
    """Bytes in memory of the rows in a file that ExchangeWriter wrote."""
    fs, place = filesystem(path)
    with fs.open_input_file(place) as file:
        return sum(size for _, _, size in _blocks(file, path, None)[0])


def _blocks(
    file: pa.NativeFile, path: str, partition: int | None
) -> tuple[list[tuple[int, int, int]], int]:
    """(start, end, bytes in memory) of the blocks of a partition, or of all, in their order; and
    the number of partitions."""
    n = file.size()
    trailer = file.read_at(_TRAILER.size, n - _TRAILER.size) if n >= _TRAILER.size else b""
    if not trailer.endswith(_MAGIC):
        raise ValueError(f"{path}: written by another version of corpusmill; make it anew")
    rounds, partitions, _ = _TRAILER.unpack(trailer)
    first, last = (0, partitions) if partition is None else (partition, partition + 1)
    at = n - _TRAILER.size - 16 * rounds * (partitions + 1)
    found = []
    for i in range(rounds):
        data = file.read_at(16 * (last - first + 1), at + 16 * (i * (partitions + 1) + first))
        index = np.frombuffer(data, "<i8").reshape(-1, 2).tolist()
        found += [(start, end, size) for (start, size), (end, _) in itertools.pairwise(index)]
    return [block for block in found if block[2]], partitions


def located(root: str, path: str) -> str:
    """Below the root, unless the path says where it is itself (a file of an index)."""
    return path if path.startswith("/") or "://" in path else join(root, path)


def in_corpus(table: pa.Table, part: int | np.ndarray) -> pa.Table:
    """`doc` from a row of its part to a place in the corpus: part << 32 | row. `part`: of all rows,
    or of each."""
    doc = table["doc"].to_numpy() | (np.asarray(part).astype(np.uint64) << np.uint64(32))
    return table.set_column(table.column_names.index("doc"), "doc", pa.array(doc))


def _discard(sink: _HashingSink, root: str, path: str) -> None:
    sink.close()
    fs, place = filesystem(join(root, path) + temporary_suffix())
    if fs.get_file_info(place).type == pa.fs.FileType.File:
        fs.delete_file(place)


def _open_temporary(path: str) -> _HashingSink:
    fs, place = filesystem(path)
    fs.create_dir(str(PurePosixPath(place).parent), recursive=True)
    sink = _HashingSink(fs.open_output_stream(place + temporary_suffix()))
    return sink


def _commit(sink: _HashingSink, root: str, path: str, rows: int) -> File:
    sink.close()
    fs, place = filesystem(join(root, path))
    fs.move(place + temporary_suffix(), place)
    return File(path, rows, sink.bytes, sink.sha256.hexdigest())


def read_tables(
    root: str, path: str, columns: list[str] | None = None, batch_bytes: int = 32 << 20
) -> Iterator[pa.Table]:
    """A part's rows in order, row group by row group, in tables of about `batch_bytes` of text at
    most."""
    with open_input(located(root, path)) as file:
        reader = pq.ParquetFile(file)
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group, columns=columns).combine_chunks()
            pieces = max(1, -(-table.nbytes // batch_bytes))
            rows = -(-table.num_rows // pieces)
            for start in range(0, table.num_rows, max(rows, 1)):
                yield table.slice(start, rows).combine_chunks()


def read_rows(root: str, path: str, column: str, rows: np.ndarray) -> list[Any]:
    """A column's values in some rows of a part (sorted), reading their row groups only."""
    found: list[Any] = []
    with open_input(located(root, path)) as file:
        reader = pq.ParquetFile(file)
        sizes = [reader.metadata.row_group(i).num_rows for i in range(reader.num_row_groups)]
        ends = np.cumsum(sizes)
        groups = np.searchsorted(ends, rows, "right")
        for group in np.unique(groups).tolist():
            values = reader.read_row_group(group, columns=[column])[column]
            first = int(ends[group]) - sizes[group]
            found += values.take(pa.array(rows[groups == group] - first)).to_pylist()
    return found


# --- a part and its record ---------------------------------------------------------------------


class Part:
    """What one task writes. Every file becomes visible in `commit`, the record last."""

    def __init__(self, root: str, stage: str, key: str, label: str) -> None:
        self.root, self.stage, self.key, self.label = root, stage, key, label
        self.name = f"{re.sub(r'[^A-Za-z0-9.]+', '-', label).strip('-')[-80:]}-{key[:10]}"
        self._writers: dict[str, TableWriter | ExchangeWriter | RawFile] = {}
        self._faults: list[dict] = []
        self._source = ""
        self._started = time.perf_counter(), time.process_time()

    def table(
        self,
        role: str,
        folder: str,
        schema: pa.Schema,
        prefix: str = "part",
        compression: str = "zstd",
    ) -> TableWriter:
        path = f"{folder}/{prefix}-{self.name}.parquet"
        writer = TableWriter(self.root, path, schema, compression)
        self._writers[role] = writer
        return writer

    def exchange(self, role: str, schema: pa.Schema, partitions: int) -> ExchangeWriter:
        path = f"work/{self.stage}/{role}-{self.name}.exchange"
        writer = ExchangeWriter(self.root, path, schema, partitions)
        self._writers[role] = writer
        return writer

    def file(self, role: str, path: str) -> str:
        """A local path to write to; the file gets to `path` below the root at the commit."""
        raw = RawFile(self.root, path)
        self._writers[role] = raw
        return raw.local

    def faults(self, source: str, shard: str, faults: list[tuple[str, Fault]]) -> None:
        """Rows for errors/, of (stage or step, fault)."""
        self._source = source
        for stage, fault in faults:
            locator = fault.locator.removeprefix(f"{source}/{shard}/")  # steps know ids only
            row: dict[str, Any] = {"source": source, "shard": shard, "locator": locator}
            row |= {"stage": stage, "error": fault.error, "message": fault.message}
            row |= {"lost": fault.lost}
            self._faults.append(row | {"head": bytes(fault.head)})

    def commit(self, counts: dict[str, Any], **extra: Any) -> dict[str, Any]:
        """Renames the files and writes the record, which is returned."""
        if self._faults:
            errors = self.table("errors", f"errors/{self._source}", ERROR, prefix=self.stage)
            errors.write(pa.Table.from_pylist(self._faults, schema=ERROR))
        files = {}
        for role, writer in self._writers.items():
            file = writer.close()
            if file:
                files[role] = file._asdict()
        wall, cpu = self._started
        timing = {
            "wall_s": round(time.perf_counter() - wall, 3),
            "cpu_s": round(time.process_time() - cpu, 3),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        record = {"stage": self.stage, "key": self.key, "label": self.label, "files": files}
        record |= {"counts": counts, "timing": timing, **extra}
        write_json(record_path(self.root, self.stage, self.key), record)
        return record

    def abandon(self) -> None:
        """Deletes what was not committed."""
        for writer in self._writers.values():
            writer.discard()


def record_path(root: str, stage: str, key: str) -> str:
    return join(root, "_parts", stage, f"{key}.json")


def find_record(root: str, stage: str, key: str) -> dict[str, Any] | None:
    """The record of a complete part, or None. Its files are looked for too: a user may have deleted
    some."""
    path = record_path(root, stage, key)
    if not exists(path):
        return None
    record = read_json(path)
    if all(exists(join(root, file["path"])) for file in record["files"].values()):
        return record
    return None


def path_of(record: dict[str, Any], role: str) -> str | None:
    """The path of a record's file, None where it has none (no row was written)."""
    return record["files"].get(role, {}).get("path")
