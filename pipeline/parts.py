"""Outputs of a task: written under a temporary name, renamed, and then named by a record.

A reader trusts only records (`_parts/<stage>/<key>.json`), so a half-written file is never read.
The key is made of content (input identity, stage config, code version), so changed input or config
is a new part. Nothing but the record's `timing` depends on time or host.
"""

import re
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.exchange.files import ExchangeWriter
from pipeline.files import File, commit, discard, located, open_temporary
from pipeline.schema import ERROR, Fault
from pipeline.storage import exists, join, open_input, read_json, size_of, write_json

ROW_GROUP_BYTES = 8 << 20


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
            self._sink = open_temporary(join(self.root, self.path))
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
        return commit(self._sink, self.root, self.path, self.rows)

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            discard(self._sink, self.root, self.path)


class RawFile:
    """A file that a library writes by itself (a model), to a local path; hashed and moved into
    place at the commit."""

    def __init__(self, root: str, path: str) -> None:
        self.root, self.path = root, path
        self.folder = tempfile.mkdtemp(prefix="corpusmill-")
        self.local = str(Path(self.folder) / PurePosixPath(path).name)

    def close(self) -> File:
        with Path(self.local).open("rb") as file:
            sink = open_temporary(join(self.root, self.path))
            shutil.copyfileobj(file, sink, 1 << 20)
        shutil.rmtree(self.folder)
        return commit(sink, self.root, self.path, 0)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def read_tables(
    root: str, path: str, columns: list[str] | None = None, batch_bytes: int = 32 << 20
) -> Iterator[pa.Table]:
    """A part's rows in order, row group by row group, in tables of about `batch_bytes` of text at
    most. In this thread alone: a task has one core, and a thread of Arrow's that lets go of the
    last bytes while Python is ending aborts the process."""
    with open_input(located(root, path)) as file:
        reader = pq.ParquetFile(file)
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group, columns, use_threads=False).combine_chunks()
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
            values = reader.read_row_group(group, [column], use_threads=False)[column]
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
    """The record of a complete part, or None: also where the record is damaged."""
    path = record_path(root, stage, key)
    if not exists(path):
        return None
    try:
        record = read_json(path)
    except ValueError:
        return None
    return record if is_complete(root, record) else None


def is_complete(root: str, record: dict[str, Any]) -> bool:
    """Whether a record's files are there, as long as they were: a user may have deleted some, and a
    full disk or a copy cut some off."""
    files = record["files"].values()
    return all(size_of(join(root, file["path"])) == file["bytes"] for file in files)


def path_of(record: dict[str, Any], role: str) -> str | None:
    """The path of a record's file, None where it has none (no row was written)."""
    return record["files"].get(role, {}).get("path")
