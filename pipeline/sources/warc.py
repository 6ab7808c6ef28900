"""WARC and WET -> one document a page.

Gzip members and record frames are read here, so that a damaged record costs itself only and a
shard can be entered at any byte; FastWARC parses the record and its HTTP head, and decodes the
body. Python's zlib takes .35 ms a page where FastWARC's own iterator takes .20, beside 1.9 ms for
the text. Format: ISO 28500 (WARC 1.1), annex D for one record a gzip member.

A range begins at a record's start, found by looking for a gzip magic whose data begins with
`WARC/` (in a plain file: for `WARC/` after an empty line). A page that itself contains a WARC can
hold such a place too: the reader before it then notes `split_inside_record`.
"""

from __future__ import annotations  # io.BufferedReader takes its parameter in annotations only

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from fastwarc.warc import WarcRecord

from pipeline import quarantine, storage
from pipeline.extract.html import Extract
from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.responses import read_page


@dataclass(frozen=True, kw_only=True)
class Warc:
    """Web archives: `response` records over HTTP, and WET's `conversion` records."""

    extract: Extract = field(default_factory=Extract)
    """How the text of HTML pages is found."""
    max_document_bytes: int = 32 << 20
    """A longer record or body is an error `too_large`; no more than about twice this is held."""


_BLOCK = 1 << 16
_HEADER_BYTES = 1 << 16
_GZIP = b"\x1f\x8b\x08"
_NO_WARC = {
    b"filedesc://": ("arc_not_supported", "an ARC file: convert it to WARC (warcio recompress)"),
    b"\x28\xb5\x2f\xfd": ("zstd_not_supported", "a zstd-compressed WARC: recompress it with gzip"),
    b"\x04\x22\x4d\x18": ("lz4_not_supported", "an lz4-compressed WARC: recompress it with gzip"),
}
_START = re.compile(rb"\r\n\r\n(?=WARC/\d)")
_WAT_NAME = re.compile(r"\.wat(\.gz)?\Z")
_WAT_INSIDE = re.compile(
    rb"\AWARC/[\d.]+\r\n(?:[^\r\n]+\r\n)*?WARC-Filename:[^\r\n]+\.wat(?:\.gz)?\r\n"
)
_LENGTH = re.compile(rb"\n[Cc]ontent-[Ll]ength:[ \t]*(\d{1,18})[ \t]*\r?\n")
_TYPE = re.compile(rb"\nWARC-Type:[ \t]*([a-z]+)", re.I)
_END = b"\r\n\r\n"
_OVERLAP = 16  # of windows searched for _START or _GZIP


def split_warc(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Byte ranges of about split_bytes, each from one record's start to another's."""
    size = storage.input_size(path)
    starts = [0]
    with storage.open_input(path) as file:
        gzipped = file.read(len(_GZIP)) == _GZIP
        while starts[-1] + split_bytes < size:
            start = _next_start(file, starts[-1] + split_bytes, size, gzipped)
            if start >= size:
                break
            starts.append(start)
    return list(zip(starts, [*starts[1:], size], strict=True))


def read_warc(path: str, start: int, end: int, config: Warc) -> Iterator[Document | Fault]:
    """The pages of the records that start in [start, end). Locator: the offset of the gzip member
    or record."""
    with storage.open_input(path) as file:
        refused = _refusal(file, path)
        if refused:
            if start == 0:
                yield refused
            return
        file.seek(0)
        gzipped = file.read(len(_GZIP)) == _GZIP
        size = storage.input_size(path)
        end = min(end, size)
        if start > 0:
            start = _next_start(file, start, size, gzipped)
        read = _read_members if gzipped else _read_plain
        yield from read(file, start, end, size, config)


def _refusal(file: BinaryIO, path: str) -> Fault | None:
    head = file.read(_BLOCK)
    if not head:
        return Fault("", "empty_file", "the file has no bytes")
    data = head
    if head.startswith(_GZIP):
        try:
            data = zlib.decompressobj(31).decompress(head, _HEADER_BYTES)
        except zlib.error:
            data = b""
    for magic, (error, message) in _NO_WARC.items():
        if data.startswith(magic):
            return Fault("", error, message, data[:HEAD_BYTES])
    if _WAT_NAME.search(PurePosixPath(path).name) or _WAT_INSIDE.match(data):
        message = "a WAT file holds metadata and no pages: give its WARC or WET"
        return Fault("", "wat_not_supported", message, data[:HEAD_BYTES])
    return None


# --- where records start ------------------------------------------------------------------------


def _next_start(file: BinaryIO, at: int, size: int, gzipped: bool) -> int:
    """The first start of a record at or after `at`; size where there is none."""
    margin = len(_END)
    at = max(at - (0 if gzipped else margin), 0)
    while at < size:
        file.seek(at)
        window = file.read(1 << 20)
        if gzipped:
            found = window.find(_GZIP)
            while found >= 0:
                if _holds_record(file, at + found):
                    return at + found
                found = window.find(_GZIP, found + 1)
        else:
            match = _START.search(window)
            if match:
                return at + match.end()
        if at + len(window) >= size or len(window) <= _OVERLAP:
            break
        at += len(window) - _OVERLAP
    return size


def _holds_record(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    try:
        return zlib.decompressobj(31).decompress(file.read(4096), 5) == b"WARC/"
    except zlib.error:
        return False


class _Member(io.RawIOBase):
    """One gzip member as a stream of its bytes. `end` is its end in the file, once it is read to
    the end."""

    def __init__(self, file: BinaryIO, start: int):
        file.seek(start)
        self._file = file
        self._inflate = zlib.decompressobj(31)
        self._pending = b""
        self.head = b""
        self.end = -1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._inflate.eof:
            self._pending = self._pending or self._file.read(_BLOCK)
            if not self._pending:
                raise EOFError("the file ends inside a gzip member")
            data = self._inflate.decompress(self._pending, len(buffer))
            self._pending = self._inflate.unconsumed_tail
            if data:
                if len(self.head) < HEAD_BYTES:
                    self.head += data[: HEAD_BYTES - len(self.head)]
                buffer[: len(data)] = data
                return len(data)
        self.end = self._file.tell() - len(self._inflate.unused_data)
        return 0


# --- records ------------------------------------------------------------------------------------


class _Frame(NamedTuple):
    kind: bytes
    header: bytes
    body: bytes | None  # None where it was skipped: not a page, or too large
    length: int


class _BrokenFrame(Exception):
    """A record whose frame is wrong: the next one has to be searched for."""

    def __init__(self, error: str, message: str, head: bytes):
        super().__init__(message)
        self.error, self.head = error, head[:HEAD_BYTES]


def _read_members(
    file: BinaryIO, at: int, end: int, size: int, config: Warc
) -> Iterator[Document | Fault]:
    while at < end:
        member = _Member(file, at)
        stream = io.BufferedReader(member, _BLOCK)
        locator = f"{at:012d}"
        n = 0
        try:
            while (frame := _read_frame(stream, config.max_document_bytes)) is not None:
                yield from _read_record(locator, frame, config)
                n += 1
                locator = (
                    f"{at:012d}.{n:06d}"  # members with several records are against the standard
                )
        except (zlib.error, EOFError) as error:
            yield Fault(locator, "truncated_gzip", str(error), member.head)
            at = _next_start(file, at + 1, size, True)
            continue
        except _BrokenFrame as broken:
            yield Fault(locator, broken.error, str(broken), broken.head)
            if not _drain(stream, config.max_document_bytes):
                at = _next_start(file, at + 1, size, True)
                continue
        if at < end < member.end:
            yield Fault(f"{at:012d}", "split_inside_record", f"a range ends at {end}", lost=False)
        at = member.end
        file.seek(at)
        if at < size and file.read(len(_GZIP)) != _GZIP:
            following = _next_start(file, at, size, True)
            file.seek(at)
            junk = file.read(min(following - at, HEAD_BYTES))
            if at < end and junk.strip(b"\0"):
                yield Fault(
                    f"{at:012d}", "not_gzip", f"{following - at} bytes between records", junk
                )
            at = following


def _drain(stream: io.BufferedReader[Any], limit: int) -> bool:
    """Reads a member to its end, or gives up after `limit` bytes."""
    try:
        while limit > 0:
            block = stream.read(_BLOCK)
            if not block:
                return True
            limit -= len(block)
    except (zlib.error, EOFError):
        pass
    return False


def _read_plain(
    file: BinaryIO, at: int, end: int, size: int, config: Warc
) -> Iterator[Document | Fault]:
    stream = io.BufferedReader(cast(io.RawIOBase, file), _BLOCK)
    try:
        while at < end:
            stream.seek(at)
            locator = f"{at:012d}"
            try:
                frame = _read_frame(stream, config.max_document_bytes)
                if frame is None:
                    break
                yield from _read_record(locator, frame, config)
                following = stream.tell()
                if following > end:
                    yield Fault(
                        locator, "split_inside_record", f"a range ends at {end}", lost=False
                    )
                at = following
            except _BrokenFrame as broken:
                yield Fault(locator, broken.error, str(broken), broken.head)
                at = _next_start(cast(BinaryIO, stream), at + len(_END) + 1, size, False)
    finally:
        stream.detach()  # or it would close the file


def _read_frame(stream: io.BufferedReader[Any], limit: int) -> _Frame | None:
    """The next record, None at the end of the stream. Reads past its end mark, so that a gzip
    checksum is checked."""
    line = stream.readline(_HEADER_BYTES)
    if not line:
        return None
    if not line.startswith(b"WARC/"):
        raise _BrokenFrame("not_a_record", f"{line[:20]!r} where a record should start", line)
    lines = [line]
    n = len(line)
    while line not in (b"\r\n", b"\n"):
        line = stream.readline(_HEADER_BYTES)
        n += len(line)
        if not line or n > _HEADER_BYTES:
            raise _BrokenFrame("bad_header", f"a record header of {n} bytes without end", lines[0])
        lines.append(line)
    header = b"".join(lines)
    declared = _LENGTH.search(header)
    if declared is None:
        raise _BrokenFrame("bad_header", "a record without Content-Length", header)
    length = int(declared[1])
    kind = (_TYPE.search(header) or (b"", b""))[1].lower()
    wanted = kind in (b"response", b"conversion")
    body = stream.read(length) if wanted and length <= limit else None
    got = _skip(stream, length) if body is None else len(body)
    if got < length:
        message = f"Content-Length is {length}, and the data end after {got}"
        raise _BrokenFrame("wrong_length", message, header + (body or b""))
    mark = stream.read(len(_END))
    stream.peek(1)
    if mark and mark != _END:
        message = f"Content-Length is {length}, and no record ends there"
        raise _BrokenFrame("wrong_length", message, header + (body or b""))
    return _Frame(kind, header, body, length)


def _skip(stream: io.BufferedReader[Any], length: int) -> int:
    got = 0
    while got < length:
        block = stream.read(min(_BLOCK, length - got))
        if not block:
            break
        got += len(block)
    return got


def _read_record(locator: str, frame: _Frame, config: Warc) -> Iterator[Document | Fault]:
    if frame.kind not in (b"response", b"conversion"):
        return
    if frame.body is None:
        message = (
            f"a record of {frame.length} bytes (max_document_bytes {config.max_document_bytes})"
        )
        yield Fault(locator, "too_large", message, frame.header[:HEAD_BYTES])
        return
    raw = frame.header + frame.body + _END
    if deadly := quarantine.refusal(locator, raw):
        yield deadly
        return
    try:
        record = WarcRecord.from_bytes(raw)
    except OSError as error:
        yield Fault(locator, "bad_header", str(error), raw[:HEAD_BYTES])
        return
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or None
    created = record.headers.get("WARC-Date")
    if frame.kind == b"conversion":
        text = frame.body.decode("utf-8", errors="replace")
        if "\0" in text:
            yield Fault(locator, "nul_bytes", "NUL in the text of a WET record", raw[:HEAD_BYTES])
            return
        rule = None if text.strip() else "no_text"
        yield Document(
            locator, text, url=url, created=created, meta={"mime": "text/plain"}, rule=rule
        )
    elif (record.headers.get("Content-Type") or "").startswith("application/http"):
        for item in read_page(locator, raw, config.max_document_bytes, config.extract):
            yield item._replace(url=url, created=created) if isinstance(item, Document) else item
