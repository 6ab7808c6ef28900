"""The rows of a table file, whatever its kind: Parquet, Arrow IPC (file or stream), JSON lines, CSV
and TSV; text also packed by gzip, zstd, bzip2, xz or lz4.

A row is a dict of Python values, strings of Parquet and Arrow as bytes (they need not be UTF-8). A
locator is unique in its file and its text order is the order of reading.
"""

import csv
import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, cast

from pipeline import quarantine, storage
from pipeline.extract.members import PACKED, READ_ERRORS, Bomb, Bounded, unpack
from pipeline.schema import HEAD_BYTES, Fault
from pipeline.sources.rows_arrow import Columns, read_ipc, read_parquet, split_ipc, split_parquet

Row = tuple[str, dict[str, Any]]  # locator, values by column


class Kind(NamedTuple):
    name: str  # parquet, ipc, jsonl, csv
    packing: str = ""  # a name of PACKED, "" for none


class Text(NamedTuple):
    """How CSV is written."""

    delimiter: str = ""  # "" is "," or, in .tsv, a tab
    quote: str = '"'  # "" for none
    header: tuple[str, ...] = ()  # the names of columns, for a file without a header


_ENDINGS = {
    ".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc", ".ipc": "ipc", ".arrows": "ipc",
    ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
_PACKINGS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz", ".lz4": "lz4"}
ENDINGS = ", ".join(_ENDINGS)


def kind_of(path: str) -> Kind | None:
    """What a file is, by its name."""
    name = path.lower()
    packing = next((packing for ending, packing in _PACKINGS.items() if name.endswith(ending)), "")
    stem = name.rpartition(".")[0] if packing else name
    kind = next((kind for ending, kind in _ENDINGS.items() if stem.endswith(ending)), None)
    if kind is None or (packing and kind in ("parquet", "ipc")):
        return None
    return Kind(kind, packing)


def split_rows(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Ranges of row groups (Parquet), of record batches (an IPC file) or of bytes (JSON lines). CSV
    is one range: whether a line end is inside of quotes shows only from the start."""
    size = storage.input_size(path)
    kind = kind_of(path)
    if kind == Kind("jsonl"):
        starts = range(0, max(size, 1), split_bytes)
        return [(start, min(start + split_bytes, size)) for start in starts]
    if kind == Kind("parquet"):
        return split_parquet(path, split_bytes)
    if kind == Kind("ipc"):
        return split_ipc(path, size, split_bytes)
    return [(0, size)]


def read_rows(
    path: str, start: int, end: int, columns: Columns, limit: int, text: Text
) -> Iterator[Row | Fault]:
    """The rows of a range. A line or field of more than `limit` bytes is a fault."""
    kind = kind_of(path)
    if kind is None:
        if start == 0:
            name = path.rsplit("/", 1)[-1]
            packings = ", ".join(_PACKINGS)
            message = f"{name!r} ends in none of {ENDINGS}, with or without {packings} for text"
            yield Fault("", "unknown_format", message)
    elif storage.input_size(path) == 0:
        yield Fault("", "empty_file", "the file has no bytes")
    elif kind.name == "parquet":
        yield from read_parquet(path, start, end, columns)
    elif kind.name == "ipc":
        yield from read_ipc(path, start, end, columns)
    else:
        yield from _read_text(path, kind, start, end, limit, text)


def _read_text(
    path: str, kind: Kind, start: int, end: int, limit: int, text: Text
) -> Iterator[Row | Fault]:
    place = [0]  # where a fault of the stream is reported
    with storage.open_input(path) as file:
        stream: IO[bytes] = file
        if kind.packing:
            end = 1 << 62
            if not file.read(8).startswith(PACKED[kind.packing]):
                message = f"it does not start as {kind.packing} does; rename it, or pack it"
                yield Fault("", f"truncated_{kind.packing}", message)
                return
            file.seek(0)
            stream = cast(IO[bytes], unpack(file, kind.packing, max(limit + 2, 1 << 20)))
        try:
            if kind.name == "csv":
                if not text.delimiter:
                    is_tsv = ".tsv" in path.lower().rsplit("/", 1)[-1]
                    text = text._replace(delimiter="\t" if is_tsv else ",")
                lines = _lines(stream, 0, 1 << 62, limit)
                yield from _read_csv(lines, limit, text, place)
            else:
                at = 0 if kind.packing else _line_start(file, start)
                yield from _read_jsonl(_lines(stream, at, end, limit), limit, place)
        except Bomb as error:
            yield Fault(f"{place[0]:012d}~", "bomb", f"{error}; the rest is lost")
        except READ_ERRORS as error:
            message = f"{error}; the rest is lost"
            yield Fault(f"{place[0]:012d}~", f"truncated_{kind.packing or 'file'}", message)


# --- lines --------------------------------------------------------------------------------------


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


def _lines(
    stream: IO[bytes] | Bounded, at: int, end: int, limit: int
) -> Iterator[tuple[int, bytes, int]]:
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


def _read_jsonl(
    lines: Iterator[tuple[int, bytes, int]], limit: int, place: list[int]
) -> Iterator[Row | Fault]:
    for offset, line, length in lines:
        locator = f"{offset:012d}"
        if length > limit:
            message = f"a line of {length} bytes (max_document_bytes {limit})"
            yield Fault(locator, "too_large", message, line[:HEAD_BYTES])
        elif line.strip():
            if offset == 0 and line.strip() == b"[":
                message = (
                    "one JSON array, and not a line for each row; `jq -c '.[]'` makes JSON lines"
                )
                yield Fault("", "json_array", message, line[:HEAD_BYTES])
                return
            yield _json_row(locator, line)
        place[0] = offset + length


def _json_row(locator: str, line: bytes) -> Row | Fault:
    head = line[:HEAD_BYTES]
    if deadly := quarantine.refusal(locator, head):
        return deadly
    try:
        # what json.loads does after looking for the encoding, as in all but broken lines
        plain = line.startswith(b'{"')
        row = json.loads(line.decode("utf-8", "surrogatepass") if plain else line)
    except UnicodeDecodeError as error:
        return Fault(locator, "bad_utf8", str(error), head)
    except (ValueError, RecursionError) as error:
        return Fault(locator, "bad_json", f"{type(error).__name__}: {error}"[:500], head)
    if not isinstance(row, dict):
        message = f"a line holds an object, not {type(row).__name__}"
        return Fault(locator, "bad_json", message, head)
    return locator, row


# --- CSV ----------------------------------------------------------------------------------------


class _TooLong(ValueError):
    pass


def _read_csv(
    lines: Iterator[tuple[int, bytes, int]], limit: int, text: Text, place: list[int]
) -> Iterator[Row | Fault]:
    """RFC 4180: fields in quotes may hold line ends. A row that outgrows `limit` (a quote that is
    never closed) is a fault, and reading goes on at the next line."""
    csv.field_size_limit((1 << 31) - 1)  # of the process; rows are bounded here
    started = [0]  # where the row being read started, and its first bytes
    held = bytearray()

    def decoded() -> Iterator[str]:
        for offset, line, length in lines:
            if not held:
                started[0] = offset
            held.extend(line)
            place[0] = offset + length
            if length > limit or len(held) > limit:
                raise _TooLong
            # csv wants characters; surrogates stand for bytes that are not UTF-8
            yield line.decode("utf-8-sig" if offset == 0 else "utf-8", "surrogateescape")

    header = list(text.header)
    while True:
        reader = csv.reader(
            decoded(),
            delimiter=text.delimiter,
            quotechar=text.quote or None,
            quoting=csv.QUOTE_MINIMAL if text.quote else csv.QUOTE_NONE,
        )
        try:
            for fields in reader:
                locator, head = f"{started[0]:012d}", bytes(held[:HEAD_BYTES])
                held.clear()
                if not header:
                    header = fields
                elif fields:
                    yield _csv_row(locator, fields, header, head)
            return
        except (_TooLong, csv.Error) as error:
            message = (
                f"a row of more than {limit} bytes (max_document_bytes): is a quote not closed?"
            )
            kind = "too_large" if isinstance(error, _TooLong) else "bad_csv"
            message = message if kind == "too_large" else str(error)
            yield Fault(f"{started[0]:012d}", kind, message, bytes(held[:HEAD_BYTES]))
            held.clear()


def _csv_row(locator: str, fields: list[str], header: list[str], head: bytes) -> Row | Fault:
    if deadly := quarantine.refusal(locator, head):
        return deadly
    if len(fields) != len(header):
        message = f"{len(fields)} fields, and the table has {len(header)} columns"
        message += "; where another character divides them, set delimiter"
        return Fault(locator, "wrong_field_count", message, head)
    return locator, {
        name: field.encode("utf-8", "surrogateescape") if not field.isascii() else field
        for name, field in zip(header, fields, strict=True)
    }
