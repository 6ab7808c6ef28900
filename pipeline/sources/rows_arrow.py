"""The rows of Parquet and Arrow IPC files. Arrow trusts the offsets that a file states, so every
batch of an IPC file is validated before a value is touched: a damaged one would end the process."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import quarantine, storage
from pipeline.schema import Fault

_BATCH_ROWS = 256
_IPC_MAGIC = b"ARROW1"
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)  # the last of a column's name


class Columns(NamedTuple):
    """What is read of a table."""

    text: tuple[str, ...]  # the first of these that the table has must be strings; () asks none
    only: tuple[str, ...] = ()  # () is all


def split_parquet(path: str, split_bytes: int) -> list[tuple[int, int]]:
    try:
        with storage.open_input(path) as file:
            groups = pq.ParquetFile(file).metadata
            sizes = [groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)]
    except _DAMAGE:
        return [(0, 1)]  # the reader will say what is wrong
    return ranges(sizes, split_bytes)


def split_ipc(path: str, size: int, split_bytes: int) -> list[tuple[int, int]]:
    """Batches of a file; a stream is one range."""
    try:
        with storage.open_input(path) as file:
            if file.read(len(_IPC_MAGIC)) != _IPC_MAGIC:
                return [(0, size)]
            file.seek(0)
            n = pa.ipc.open_file(file).num_record_batches
    except _DAMAGE:
        return [(0, 1)]
    return ranges([size // max(n, 1)] * n, split_bytes)  # only reading tells a batch's own size


def ranges(sizes: list[int], split_bytes: int) -> list[tuple[int, int]]:
    """Ranges of neighbours that hold about `split_bytes` each."""
    found = []
    start = held = 0
    for i, size in enumerate(sizes):
        held += size
        if held >= split_bytes or i == len(sizes) - 1:
            found.append((start, i + 1))
            start, held = i + 1, 0
    return found or [(0, 1)]


def read_parquet(
    path: str, start: int, end: int, columns: Columns
) -> Iterator[tuple[str, dict[str, Any]] | Fault]:
    """Row groups start to end. Locator: the row's number in the file."""
    row = 0
    try:
        with storage.open_input(path) as file:
            table = pq.ParquetFile(file)
            if problem := column_problem(table.schema_arrow, columns.text):
                if start == 0:
                    yield Fault("", problem[0], problem[1])
                return
            row = sum(table.metadata.row_group(i).num_rows for i in range(start))
            groups = list(range(start, min(end, table.metadata.num_row_groups)))
            if not groups:
                return
            names = [n for n in table.schema_arrow.names if not columns.only or n in columns.only]
            batches = table.iter_batches(_BATCH_ROWS, groups, columns=names, use_threads=False)
            for batch in batches:
                for values in _rows(batch):
                    yield _located(f"{row:09d}", values)
                    row += 1
    except _DAMAGE as error:
        message = f"{error}; the range's rows from {row} on are lost"
        yield Fault(f"{row:09d}~" if row or start else "", "bad_parquet", message[:1000])


def read_ipc(
    path: str, start: int, end: int, columns: Columns
) -> Iterator[tuple[str, dict[str, Any]] | Fault]:
    """Record batches start to end of a file, all of a stream. Locator: the batch, and the row in
    it."""
    number = start
    try:
        with storage.open_input(path) as file:
            is_file = file.read(len(_IPC_MAGIC)) == _IPC_MAGIC
            file.seek(0)
            reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
            if problem := column_problem(reader.schema, columns.text):
                if start == 0:
                    yield Fault("", problem[0], problem[1])
                return
            if is_file:
                numbers = range(start, min(end, reader.num_record_batches))
                batches = (reader.get_batch(i) for i in numbers)
            else:
                batches = iter(reader)
            for batch in batches:
                yield from _read_batch(batch, number, columns)
                number += 1
    except _DAMAGE as error:
        locator = f"{number:06d}~" if number or start else ""
        yield Fault(locator, "bad_arrow", f"{error}; the rest of the range is lost"[:1000])


def _read_batch(
    batch: pa.RecordBatch, number: int, columns: Columns
) -> Iterator[tuple[str, dict[str, Any]] | Fault]:
    names = [n for n in batch.schema.names if not columns.only or n in columns.only]
    try:
        batch = pa.record_batch([_as_bytes(batch[name]) for name in names], names=names)
        batch.validate(full=True)
    except pa.ArrowException as error:
        message = f"{error}; the batch's {batch.num_rows} rows are lost"
        yield Fault(f"{number:06d}-", "bad_arrow", message[:1000])
        return
    for at in range(0, batch.num_rows, _BATCH_ROWS):
        for i, values in enumerate(_rows(batch.slice(at, _BATCH_ROWS)), at):
            yield _located(f"{number:06d}-{i:07d}", values)


def _located(locator: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]] | Fault:
    return quarantine.refusal(locator) or (locator, values)


def column_problem(schema: pa.Schema, names: tuple[str, ...]) -> tuple[str, str] | None:
    """(kind, message) where the table has none of the columns (`a.b`: field b of column a), or it
    is no string."""
    for name in names:
        kind = _type_of(schema, name)
        if kind is None:
            continue
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if kind in (pa.string(), pa.large_string(), pa.string_view()):
            return None
        return "wrong_type", f"column {name!r} is {kind}, and a text is a string"
    if not names:
        return None
    wanted = " or ".join(map(repr, names))
    return "missing_column", f"no column {wanted}; the table has {', '.join(schema.names)}"


def _type_of(schema: pa.Schema, name: str) -> pa.DataType | None:
    if name in schema.names:
        return schema.field(name).type
    first, *path = name.split(".")
    if first not in schema.names:
        return None
    kind = schema.field(first).type
    for part in path:
        if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    return kind


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    columns = [_values(_as_bytes(column)) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _as_bytes(column: pa.Array) -> pa.Array:
    """Strings as bytes, for they may not be UTF-8; views and dictionaries as plain arrays."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column.validate(full=True)
        column = column.dictionary_decode()
        kind = column.type
    if kind == pa.string_view():
        return column.cast(pa.binary_view()).cast(pa.binary())
    if kind == pa.large_string():
        return column.cast(pa.large_binary())
    return column.cast(pa.binary()) if kind == pa.string() else column


def _values(column: pa.Array) -> list[Any]:
    """Python values; None for one with a string inside that is not UTF-8."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None
