"""The records of web archives: WARC (ISO 28500, WARC 1.1) and ARC (Internet Archive, 1996; v1 and
v2). An ARC record is given the headers that its WARC would have, so one reader serves both.
"""

from __future__ import annotations  # io.BufferedReader takes its parameter in annotations only

import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.schema import HEAD_BYTES

_HEADER_BYTES = 1 << 16
_BLOCK = 1 << 16
READ = frozenset({"response", "conversion", "revisit", "resource"})  # the others are skipped


class Record(NamedTuple):
    kind: str
    headers: dict[str, str]  # names in lower case
    header: bytes
    body: bytes | None  # None where it was skipped: of no use, or too large
    length: int


class Broken(Exception):
    """A record whose frame is wrong: the next one has to be searched for."""

    def __init__(self, error: str, message: str, head: bytes):
        super().__init__(message)
        self.error, self.head = error, head[:HEAD_BYTES]


class Layout(NamedTuple):
    begins: re.Pattern[bytes]  # what the data of a member begin with
    start: re.Pattern[bytes]  # where a record starts in plain bytes: at the end of a match
    overlap: int  # the longest match of `start`
    margin: int  # what of it comes before the record
    read: Callable[[io.BufferedReader[Any], int], Record | None]


def parse_headers(block: bytes) -> dict[str, str]:
    """Fields by their names in lower case, whatever the line ends; the first of a name counts, but
    for lists. Folded lines are joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in _decode(block).split("\n"):
        if line[:1] in " \t" and name and line.strip():
            fields[name] = (fields[name] + " " + line.strip())[:_HEADER_BYTES]
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower() if colon else ""
        if name in fields:
            if name in _LISTS:
                fields[name] = (fields[name] + ", " + value.strip())[:_HEADER_BYTES]
        elif name:
            fields[name] = value.strip()
    return fields


def _decode(block: bytes) -> str:
    try:
        return block.decode("utf-8").replace("\0", "")
    except UnicodeDecodeError:
        return block.decode("latin-1").replace("\0", "")


_LISTS = frozenset({"content-encoding", "transfer-encoding", "content-language", "x-robots-tag"})


# --- WARC ---------------------------------------------------------------------------------------


def read_warc_record(stream: io.BufferedReader[Any], limit: int) -> Record | None:
    """The next record, None at the end of the stream. Reads past its end mark, so that a gzip
    checksum is checked."""
    line = stream.readline(_HEADER_BYTES)
    if not line:
        return None
    if not line.startswith(b"WARC/"):
        raise Broken("not_a_record", f"{line[:20]!r} where a record should start", line)
    lines = [line]
    n = len(line)
    while line not in (b"\r\n", b"\n"):
        line = stream.readline(_HEADER_BYTES)
        n += len(line)
        if not line or n > _HEADER_BYTES:
            raise Broken("bad_header", f"a record header of {n} bytes without end", lines[0])
        lines.append(line)
    header = b"".join(lines)
    headers = parse_headers(header)
    length = headers.get("content-length", "")
    if not _LENGTH.fullmatch(length):
        raise Broken("bad_header", f"a record with Content-Length {length[:20]!r}", header)
    kind = headers.get("warc-type", "").lower()
    return _with_body(stream, Record(kind, headers, header, None, int(length)), limit, b"\r\n\r\n")


_LENGTH = re.compile(r"[0-9]{1,18}")


def _with_body(stream: io.BufferedReader[Any], record: Record, limit: int, mark: bytes) -> Record:
    length = record.length
    body = stream.read(length) if record.kind in READ and length <= limit else None
    got = _skip(stream, length) if body is None else len(body)
    if got < length:
        message = f"Content-Length is {length}, and the data end after {got}"
        raise Broken("wrong_length", message, record.header + (body or b""))
    found = stream.read(len(mark))
    stream.peek(1)
    if found and found != mark:
        message = f"Content-Length is {length}, and no record ends there"
        raise Broken("wrong_length", message, record.header + (body or b""))
    return record._replace(body=body)


def _skip(stream: io.BufferedReader[Any], length: int) -> int:
    got = 0
    while got < length:
        block = stream.read(min(_BLOCK, length - got))
        if not block:
            break
        got += len(block)
    return got


# --- ARC ----------------------------------------------------------------------------------------

# URL address date type length; v2 has a status, checksum, location, offset and file before the
# length. URLs of old crawls have spaces in them.
_ARC = (
    rb"(?P<url>[A-Za-z][A-Za-z0-9+.-]{0,20}:[^\r\n]{1,4000}?) (?:[0-9a-fA-F.:]{3,45}|-) "
    rb"(?P<date>[0-9]{8,14}) (?P<type>[^\s]{0,200}(?:; ?[^\s]{1,99})?) "
    rb"(?:(?:[0-9]{3}|-) [^\s]{1,99} [^\s]{1,4000} [0-9]{1,18} [^\s]{1,500} )?"
    rb"(?P<length>[0-9]{1,18})\r?\n"
)
_ARC_LINE = re.compile(_ARC)
_ARC_OVERLAP = 1 << 14


def read_arc_record(stream: io.BufferedReader[Any], limit: int) -> Record | None:
    """The same for ARC; `filedesc:` and `dns:` records are of no kind that is read."""
    line = stream.readline(_HEADER_BYTES)
    blank = 0
    while line and not line.strip() and blank < 10:  # more than the one that ends a record
        line = stream.readline(_HEADER_BYTES)
        blank += 1
    if not line:
        return None
    match = _ARC_LINE.fullmatch(line)
    if match is None:
        raise Broken("not_a_record", f"{line[:20]!r} where a record should start", line)
    url = match["url"].decode("utf-8", "replace")
    headers = {"warc-target-uri": url, "warc-date": _iso(match["date"].decode())}
    kind = "other"
    if url[:5].lower() in ("http:", "https"):
        kind = "response"
        headers["content-type"] = "application/http"
    return _with_body(stream, Record(kind, headers, line, None, int(match["length"])), limit, b"\n")


def _iso(date: str) -> str:
    """20080430204826 -> 2008-04-30T20:48:26Z"""
    date = date.ljust(14, "0")
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:]}Z"


WARC = Layout(re.compile(rb"WARC/\d"), re.compile(rb"\r\n\r\n(?=WARC/\d)"), 16, 4, read_warc_record)
ARC = Layout(
    re.compile(rb"\s{0,9}" + _ARC),
    re.compile(rb"\n(?=" + _ARC + rb")"),
    _ARC_OVERLAP,
    1,
    read_arc_record,
)
