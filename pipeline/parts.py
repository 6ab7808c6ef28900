"""Outputs of a task: written under a temporary name, renamed, and then named by a record.

A reader trusts only records (`_parts/<stage>/<key>.json`), so a half-written file is never read.
The key is made of content (input identity, stage config, code version), so changed input or config
is a new part. Nothing but the record's `timing` depends on time or host.
"""

import hashlib
import re
import resource
import shutil
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
    """One Parquet file (zstd) in the making. No file appears if no row was written."""

    def __init__(self, root: str, path: str, schema: pa.Schema) -> None:
        self.root, self.path, self.schema = root, path, schema
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
                self._sink, self.schema, compression="zstd", store_schema=True
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
    """Rows routed to partitions by `key`: one Arrow IPC file, in which record batch i belongs to
    partition i % partitions. One file a part, whatever the number of partitions; a partition is
    read by seeking."""

    def __init__(self, root: str, path: str, schema: pa.Schema, partitions: int) -> None:
        self.root, self.path, self.partitions, self.rows = root, path, partitions, 0
        self._empty = pa.RecordBatch.from_pylist([], schema=schema)
        self.schema = schema
        self._sink = _open_temporary(join(root, path))
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(self._sink, schema, options=options)

    def write(self, table: pa.Table) -> None:
        """`key` (uint64) % partitions is the partition of a row."""
        if not table.num_rows:
            return
        partition = table["key"].to_numpy() % np.uint64(self.partitions)
        order = np.argsort(partition, kind="stable")
        table = table.select(self.schema.names).cast(self.schema).take(pa.array(order))
        bounds = np.searchsorted(partition[order], np.arange(self.partitions + 1, dtype=np.uint64))
        table = table.combine_chunks()
        for p in range(self.partitions):
            piece = table.slice(bounds[p], bounds[p + 1] - bounds[p]).combine_chunks()
            batches = piece.to_batches()
            self._writer.write_batch(batches[0] if batches else self._empty)
        self.rows += table.num_rows

    def close(self) -> File:
        self._writer.close()
        return _commit(self._sink, self.root, self.path, self.rows)

    def discard(self) -> None:
        self._writer.close()
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
    paths. With
    `own_rows`, path i was written by part i and its `doc` holds rows of that part (so the file
    stays valid when parts are added): `doc` becomes part << 32 | row here."""
    tables = [schema.empty_table()]
    for part, path in enumerate(paths):
        if path is None:
            continue
        with open_input(located(root, path)) as file, pa.ipc.open_file(file) as reader:
            first, step = (0, 1) if partition is None else (partition, partitions)
            mine = range(first, reader.num_record_batches, step)
            table = pa.Table.from_batches([reader.get_batch(i) for i in mine], schema=schema)
        tables.append(in_corpus(table, part) if own_rows else table)
    return pa.concat_tables(tables).combine_chunks()


def located(root: str, path: str) -> str:
    """Below the root, unless the path says where it is itself (a file of an index)."""
    return path if path.startswith("/") or "://" in path else join(root, path)


def in_corpus(table: pa.Table, part: int) -> pa.Table:
    """`doc` from a row of its part to a place in the corpus: part << 32 | row."""
    doc = table["doc"].to_numpy() | np.uint64(part << 32)
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

    def table(self, role: str, folder: str, schema: pa.Schema, prefix: str = "part") -> TableWriter:
        path = f"{folder}/{prefix}-{self.name}.parquet"
        writer = TableWriter(self.root, path, schema)
        self._writers[role] = writer
        return writer

    def exchange(self, role: str, schema: pa.Schema, partitions: int) -> ExchangeWriter:
        path = f"work/{self.stage}/{role}-{self.name}.arrow"
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
