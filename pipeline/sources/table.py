"""Tables with a text column -> one document a row: Parquet, JSON lines (plain, .gz, .zst).

Parquet splits by row groups, plain JSON lines by bytes at line ends, compressed ones not at all.
The columns of a document (id, url, path, created, license, meta) are taken under their names;
other scalar columns go to meta as strings.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import quarantine, storage
from pipeline.extract.members import Bomb, Bounded, gunzip
from pipeline.schema import HEAD_BYTES, Document, Fault


@dataclass(frozen=True, kw_only=True)
class Table:
    """Parquet or JSON lines. The kind is told by the file's name."""

    text_column: str = "text"
    id_column: str | None = "id"
    """Kept as the document's id where the table has it; null makes ids of the shard's name and the
    row."""
    url_column: str = "url"
    path_column: str = "path"
    created_column: str = "created"
    license_column: str = "license"
    max_document_bytes: int = 32 << 20
    """A longer line or text is an error."""


_META_CHARS = 1000  # of a value that goes to meta
_BATCH_ROWS = 256


def split_table(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Row-group ranges of a Parquet file, byte ranges of plain JSON lines."""
    size = storage.input_size(path)
    kind = _kind(path)
    if kind == "jsonl":
        starts = range(0, max(size, 1), split_bytes)
        return [(start, min(start + split_bytes, size)) for start in starts]
    if kind != "parquet":
        return [(0, size)]
    try:
        with storage.open_input(path) as file:
            groups = pq.ParquetFile(file).metadata
            sizes = [groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)]
    except (pa.ArrowException, OSError):
        return [(0, 1)]  # read_table will say what is wrong
    ranges = []
    start = held = 0
    for i, group_bytes in enumerate(sizes):
        held += group_bytes
        if held >= split_bytes or i == len(sizes) - 1:
            ranges.append((start, i + 1))
            start, held = i + 1, 0
    return ranges or [(0, 1)]


def read_table(path: str, start: int, end: int, config: Table) -> Iterator[Document | Fault]:
    """The rows of a range. Locator: a row's number in Parquet, a line's offset in JSON lines."""
    kind = _kind(path)
    if kind is None:
        if start == 0:
            message = (
                f"{path.rsplit('/', 1)[-1]!r} is none of .parquet, .jsonl, .jsonl.gz, .jsonl.zst"
            )
            yield Fault("", "unknown_format", message)
        return
    if storage.input_size(path) == 0:
        yield Fault("", "empty_file", "the file has no bytes")
    elif kind == "parquet":
        yield from _read_parquet(path, start, end, config)
    else:
        yield from _read_lines(path, kind, start, end, config)


def _kind(path: str) -> str | None:
    name = path.lower()
    if name.endswith(".parquet"):
        return "parquet"
    for ending, kind in ((".gz", "gz"), (".zst", "zst"), ("", "jsonl")):
        if name.endswith((f".jsonl{ending}", f".json{ending}", f".ndjson{ending}")):
            return kind
    return None


# --- Parquet ------------------------------------------------------------------------------------


def _read_parquet(path: str, start: int, end: int, config: Table) -> Iterator[Document | Fault]:
    row = 0
    try:
        with storage.open_input(path) as file:
            table = pq.ParquetFile(file)
            names = table.schema_arrow.names
            if problem := _column_problem(table.schema_arrow, config.text_column):
                if start == 0:
                    yield Fault("", problem[0], problem[1])
                return
            row = sum(table.metadata.row_group(i).num_rows for i in range(start))
            groups = list(range(start, min(end, table.metadata.num_row_groups)))
            if not groups:
                return
            for batch in table.iter_batches(_BATCH_ROWS, row_groups=groups):
                columns = [_values(column) for column in batch.columns]
                for values in zip(*columns, strict=True):
                    locator = f"{row:09d}"
                    if deadly := quarantine.refusal(locator):
                        yield deadly
                    else:
                        item = dict(zip(names, values, strict=True))
                        yield from _read_row(locator, item, config)
                    row += 1
    except (pa.ArrowException, OSError) as error:
        message = f"{error}; the range's rows from {row} on are lost"
        yield Fault(f"{row:09d}~" if row or start else "", "bad_parquet", message[:1000])


def _column_problem(schema: pa.Schema, name: str) -> tuple[str, str] | None:
    if name not in schema.names:
        return "missing_column", f"no column {name!r}; the table has {', '.join(schema.names)}"
    kind = schema.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return "wrong_type", f"column {name!r} is {kind}, and a text is a string"
    return None


def _values(column: pa.Array) -> list[Any]:
    """Python values; strings as bytes, for they may not be UTF-8."""
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # inside a list or map
        return [None] * len(column)


# --- JSON lines ---------------------------------------------------------------------------------


def _read_lines(
    path: str, kind: str, start: int, end: int, config: Table
) -> Iterator[Document | Fault]:
    limit = config.max_document_bytes
    with storage.open_input(path) as file:
        stream: IO[bytes] = file
        at = 0
        if kind == "jsonl":
            at = _line_start(file, start)
        else:
            end = 1 << 62
            if kind == "gz":
                stream = cast(IO[bytes], gunzip(file, limit + 2))
            else:
                unpacked = pa.CompressedInputStream(file, "zstd")
                stream = cast(IO[bytes], Bounded(cast(IO[bytes], unpacked), file, limit + 2))
        try:
            for offset, line, length in _lines(stream, at, end, limit):
                locator = f"{offset:012d}"
                if length > limit:
                    message = f"a line of {length} bytes (max_document_bytes {limit})"
                    yield Fault(locator, "too_large", message, line[:HEAD_BYTES])
                elif line.strip():
                    yield from _read_line(locator, line, config)
                at = offset + length
        except Bomb as error:
            yield Fault(f"{at:012d}~", "bomb", f"{error}; the rest is lost")
        except (zlib.error, EOFError, OSError) as error:
            error_kind = "truncated_gzip" if kind == "gz" else "truncated_zstd"
            yield Fault(f"{at:012d}~", error_kind, f"{error}; the rest is lost")


def _line_start(file: IO[bytes], at: int) -> int:
    """The first line that starts at or after `at`."""
    if at == 0:
        return 0
    at -= 1
    file.seek(at)
    while block := file.read(1 << 16):
        newline = block.find(b"\n")
        if newline >= 0:
            at += newline + 1
            break
        at += len(block)
    file.seek(at)
    return at


def _lines(stream: IO[bytes], at: int, end: int, limit: int) -> Iterator[tuple[int, bytes, int]]:
    """(offset, line, its length) of lines that start before `end`; of a line over `limit`, only
    the head is kept."""
    held = bytearray()
    length = 0
    while at < end:
        block = stream.read(1 << 16)
        if not block:
            if length:
                yield at, bytes(held), length
            return
        done = 0
        while at < end and (newline := block.find(b"\n", done)) >= 0:
            length += newline + 1 - done
            if length <= limit + 1:
                held += block[done : newline + 1]
            yield at, bytes(held), length
            at += length
            done = newline + 1
            held.clear()
            length = 0
        if length <= limit:
            held += block[done:]
        length += len(block) - done
        if length > limit:
            del held[HEAD_BYTES:]


def _read_line(locator: str, line: bytes, config: Table) -> Iterator[Document | Fault]:
    head = line[:HEAD_BYTES]
    if deadly := quarantine.refusal(locator, head):
        yield deadly
        return
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        yield Fault(locator, "bad_utf8", str(error), head)
    except (ValueError, RecursionError) as error:
        yield Fault(locator, "bad_json", f"{type(error).__name__}: {error}"[:500], head)
    else:
        if not isinstance(row, dict):
            yield Fault(
                locator, "bad_json", f"a line holds an object, not {type(row).__name__}", head
            )
        elif config.text_column not in row:
            names = ", ".join(list(row)[:50])
            message = f"no column {config.text_column!r}; the line has {names}"
            yield _sound(Fault(locator, "missing_column", message, head))
        elif not isinstance(row[config.text_column], str | None):
            message = f"column {config.text_column!r} is not a string"
            yield Fault(locator, "wrong_type", message, head)
        else:
            yield from _read_row(locator, row, config)


# --- rows ---------------------------------------------------------------------------------------


def _sound(fault: Fault) -> Fault:
    return fault._replace(message=fault.message.encode("utf-8", "replace").decode())


def _read_row(locator: str, row: dict[str, Any], config: Table) -> Iterator[Document | Fault]:
    text = row.pop(config.text_column)
    raw = text if isinstance(text, bytes) else (text or "").encode("utf-8", "surrogatepass")
    head = raw[:HEAD_BYTES]
    if len(raw) > config.max_document_bytes:
        message = f"a text of {len(raw)} bytes (max_document_bytes {config.max_document_bytes})"
        yield Fault(locator, "too_large", message, head)
        return
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        kind = "bad_utf8" if isinstance(text, bytes) else "lone_surrogate"
        yield Fault(locator, kind, str(error), head)
        return
    if "\0" in decoded:
        yield Fault(locator, "nul_bytes", "NUL in a text", head)
        return
    yield Document(
        locator,
        decoded,
        id=_scalar(row.pop(config.id_column, None)) if config.id_column else None,
        url=_scalar(row.pop(config.url_column, None)),
        path=_scalar(row.pop(config.path_column, None)),
        created=_scalar(row.pop(config.created_column, None)),
        license=_scalar(row.pop(config.license_column, None)),
        meta=_meta(row),
        rule=None if decoded.strip() else "no_text",
    )


def _meta(row: dict[str, Any]) -> dict[str, str]:
    """What else a row has; an inner `meta` (a map or an object) is taken out of its wrapping."""
    inner = row.pop("meta", None)
    pairs = (
        inner
        if isinstance(inner, list)
        else list((inner or {}).items() if isinstance(inner, dict) else ())
    )
    every = [*row.items(), *(pair for pair in pairs if isinstance(pair, tuple) and len(pair) == 2)]
    meta = {_scalar(key): _scalar(value) for key, value in every}
    return {key: value[:_META_CHARS] for key, value in meta.items() if key and value is not None}


def _scalar(value: Any) -> str | None:
    """A number, boolean, string or time as a valid string; None for null and for what is nested."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, list | dict | tuple):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
