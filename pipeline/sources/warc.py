"""WARC, WET and ARC -> one document a page.

Frames and records are read here (`frames.py`, `records.py`), so that a damaged record costs itself
only and a shard can be entered at any byte. A range begins at a record's start, found by looking
for the magic of a member whose data begin with a record (in a plain file: for a record's first line
after the end of another). A page that itself contains a WARC can hold such a place too: the reader
before it then notes `split_inside_record`. A file compressed as one stream has one start, so it is
one range.
"""

from __future__ import annotations  # io.BufferedReader takes its parameter in annotations only

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from pipeline import quarantine, storage
from pipeline.extract.html import Extract
from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.frames import Blocks, Damaged, Member, Packing, head_of, next_member, packing
from pipeline.sources.records import ARC, READ, WARC, Broken, Layout, Record
from pipeline.sources.responses import read_page, read_payload, read_wet, split_http


@dataclass(frozen=True, kw_only=True)
class Warc:
    """Web archives (WARC, ARC; gzip, zstd, lz4 or plain): `response` records over HTTP, `revisit`
    and `resource` records, and WET's `conversion` records."""

    extract: Extract = field(default_factory=Extract)
    """How the text of HTML pages is found."""
    max_document_bytes: int = 32 << 20
    """A longer record or body is an error `too_large`; no more than about twice this is held."""


_BLOCK = 1 << 16
_WAT_NAME = re.compile(r"\.wat(\.gz|\.zst|\.lz4)?\Z")
_WAT_INSIDE = re.compile(
    rb"\AWARC/[\d.]+\r\n(?:[^\r\n]+\r\n)*?WARC-Filename:[^\r\n]+\.wat(?:\.gz)?\r\n"
)


class _Archive(NamedTuple):
    """An open file, and what it holds."""

    file: BinaryIO
    size: int
    packed: Packing
    layout: Layout


def _open(file: BinaryIO, size: int) -> _Archive:
    packed = packing(file)
    head = head_of(file, packed, 1 << 14)
    return _Archive(file, size, packed, ARC if ARC.begins.match(head) else WARC)


def split_warc(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Byte ranges of about split_bytes, each from one record's start to another's."""
    size = storage.input_size(path)
    starts = [0]
    with storage.open_input(path) as file:
        try:
            archive = _open(file, size)
        except Damaged:
            return [(0, size)]  # read_warc will say what is wrong
        while starts[-1] + split_bytes < size:
            start = _next_start(archive, starts[-1] + split_bytes)
            if start >= size:
                break
            starts.append(start)
    return list(zip(starts, [*starts[1:], size], strict=True))


def read_warc(path: str, start: int, end: int, config: Warc) -> Iterator[Document | Fault]:
    """The pages of the records that start in [start, end). Locator: the offset of the member or
    record."""
    size = storage.input_size(path)
    with storage.open_input(path) as file:
        try:
            archive = _open(file, size)
        except Damaged as error:
            if start == 0:
                yield Fault("", "bad_dictionary", str(error))
            return
        refused = _refusal(archive, path)
        if refused:
            if start == 0:
                yield refused
            return
        if start > 0:
            start = _next_start(archive, start)
        read = _read_members if archive.packed.codec else _read_plain
        yield from read(archive, max(start, archive.packed.first), min(end, size), config)


def _refusal(archive: _Archive, path: str) -> Fault | None:
    if archive.size == 0:
        return Fault("", "empty_file", "the file has no bytes")
    data = head_of(archive.file, archive.packed, 1 << 16)
    if _WAT_NAME.search(PurePosixPath(path).name) or _WAT_INSIDE.match(data):
        message = "a WAT file holds metadata and no pages: give its WARC or WET"
        return Fault("", "wat_not_supported", message, data[:HEAD_BYTES])
    return None


# --- where records start ------------------------------------------------------------------------


def _next_start(archive: _Archive, at: int) -> int:
    """The first start of a record at or after `at`; the file's size where there is none."""
    file, size, packed, layout = archive
    if packed.codec:
        return next_member(file, max(at, packed.first), size, packed, layout.begins)
    at = max(at - layout.margin, 0)
    while at < size:
        file.seek(at)
        window = file.read(1 << 20)
        match = layout.start.search(window)
        if match:
            return at + match.end()
        if at + len(window) >= size or len(window) <= layout.overlap:
            break
        at += len(window) - layout.overlap
    return size


# --- records ------------------------------------------------------------------------------------


def _read_members(archive: _Archive, at: int, end: int, config: Warc) -> Iterator[Document | Fault]:
    file, size, packed, layout = archive
    assert packed.codec is not None
    codec = packed.codec
    blocks = Blocks(file)
    while at < end:
        member = Member(blocks, at, packed)
        stream = io.BufferedReader(member, _BLOCK)
        locator = f"{at:012d}"
        n = 0
        try:
            while (record := layout.read(stream, config.max_document_bytes)) is not None:
                yield from _read_record(locator, record, config)
                n += 1
                # members with several records are against the standard
                locator = f"{at:012d}.{n:06d}"
        except Damaged as error:
            yield Fault(locator, f"truncated_{codec.name}", str(error), member.head)
            at = _next_start(archive, at + 1)
            continue
        except Broken as broken:
            yield Fault(locator, broken.error, str(broken), broken.head)
            if not _drain(stream, config.max_document_bytes):
                at = _next_start(archive, at + 1)
                continue
        if at < end < member.end:
            yield Fault(f"{at:012d}", "split_inside_record", f"a range ends at {end}", lost=False)
        at = member.end
        if at < size and not codec.magic.startswith(blocks.read(at, len(codec.magic))):
            following = _next_start(archive, at)
            file.seek(at)
            junk = file.read(min(following - at, HEAD_BYTES))
            if at < end and junk.strip(b"\0"):
                message = f"{following - at} bytes between records"
                yield Fault(f"{at:012d}", f"not_{codec.name}", message, junk)
            at = following


def _drain(stream: io.BufferedReader[Any], limit: int) -> bool:
    """Reads a member to its end, or gives up after `limit` bytes."""
    try:
        while limit > 0:
            block = stream.read(_BLOCK)
            if not block:
                return True
            limit -= len(block)
    except Damaged:
        pass
    return False


def _read_plain(archive: _Archive, at: int, end: int, config: Warc) -> Iterator[Document | Fault]:
    file, layout = archive.file, archive.layout
    stream = io.BufferedReader(cast(io.RawIOBase, file), _BLOCK)
    archive = archive._replace(file=cast(BinaryIO, stream))
    try:
        while at < end:
            stream.seek(at)
            locator = f"{at:012d}"
            try:
                record = layout.read(stream, config.max_document_bytes)
                if record is None:
                    break
                following = stream.tell()
                yield from _read_record(locator, record, config)
                if following > end:
                    message = f"a range ends at {end}"
                    yield Fault(locator, "split_inside_record", message, lost=False)
                at = following
            except Broken as broken:
                yield Fault(locator, broken.error, str(broken), broken.head)
                at = _next_start(archive, at + 1)
    finally:
        stream.detach()  # or it would close the file


def _read_record(locator: str, record: Record, config: Warc) -> Iterator[Document | Fault]:
    if record.kind not in READ:
        return
    head = record.header[:HEAD_BYTES]
    if record.body is None:
        limit = config.max_document_bytes
        message = f"a record of {record.length} bytes (max_document_bytes {limit})"
        yield Fault(locator, "too_large", message, head)
        return
    if deadly := quarantine.refusal(locator, (head + record.body[:HEAD_BYTES])):
        yield deadly
        return
    url = record.headers.get("warc-target-uri", "").strip("<>") or None
    created = record.headers.get("warc-date")
    truncated = record.headers.get("warc-truncated")
    if "warc-segment-number" in record.headers:  # its continuations are skipped
        truncated = truncated or "segment"
    for item in _read_kind(locator, record, url, config):
        if isinstance(item, Document):
            meta = item.meta
            if truncated:
                meta = {**meta, "truncated": truncated}
                if item.rule is None:
                    message = f"WARC-Truncated: {truncated}; what is there is used"
                    yield Fault(locator, "truncated_payload", message, head, lost=False)
            item = item._replace(url=url, created=created, meta=meta)
        yield item


def _read_kind(
    locator: str, record: Record, url: str | None, config: Warc
) -> Iterator[Document | Fault]:
    kind, headers, body = record.kind, record.headers, record.body
    assert body is not None
    limit = config.max_document_bytes
    if kind == "conversion":
        yield from read_wet(locator, body)
    elif kind == "resource":
        if url and url.lower().startswith(_PAGES):  # the others are the crawler's own files
            yield from read_payload(locator, _of_resource(headers), body, limit, config.extract)
    elif kind == "revisit" and not split_http(body)[2].strip():
        meta = {key: headers[name][:1000] for key, name in _REFERS if name in headers}
        yield Document(locator, "", meta=meta, rule="revisit")
    elif headers.get("content-type", "").lower().startswith("application/http"):
        yield from read_page(locator, body, limit, config.extract)


_REFERS = (
    ("refers_to", "warc-refers-to-target-uri"),
    ("refers_to_date", "warc-refers-to-date"),
)
_PAGES = ("http://", "https://", "ftp://", "file://")


def _of_resource(headers: dict[str, str]) -> dict[str, str]:
    return {"content-type": headers.get("content-type", "")}
