"""Books -> one document a file: .txt(.gz) with or without Project Gutenberg's wrapping, .epub,
.html.

The book alone: Gutenberg's header, licence and credits are removed, lines cut at about 70 columns
joined into paragraphs. meta["chapters"] is a JSON list of [title, offset in characters] into the
text as ingested. The charset is the declared one where it explains the bytes, else detected.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO

from pipeline import quarantine, storage
from pipeline.extract.chapters import (
    Chapters,
    as_json,
    find_chapters,
    mark_headings,
    take_marks,
    without_marks,
)
from pipeline.extract.encoding import decode_html
from pipeline.extract.epub import read_epub
from pipeline.extract.gutenberg import CHARSET, strip_gutenberg
from pipeline.extract.html import ExtractError, html_to_text
from pipeline.extract.members import GZIP, Bomb, Bounded, gunzip
from pipeline.extract.paragraphs import unwrap
from pipeline.schema import HEAD_BYTES, Document, Fault


@dataclass(frozen=True, kw_only=True)
class Books:
    """Whole books, one a file."""

    unwrap: bool = True
    """Join hard-wrapped lines into paragraphs."""
    max_document_bytes: int = 32 << 20
    """A larger book is an error; the King James Bible has 4.5 MB."""


_NO_BOOK = (b"WARC/", b"%PDF", b"PK\x03\x04", b"filedesc://", b"PAR1")


def split_books(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """A book is one piece."""
    return [(0, storage.input_size(path))]


def read_books(path: str, start: int, end: int, config: Books) -> Iterator[Document | Fault]:
    """The book in the file, with locator 0."""
    if start > 0:
        return
    if deadly := quarantine.refusal("0"):
        yield deadly
        return
    name = path.lower().removesuffix(".gz")
    with storage.open_input(path) as file:
        if name.endswith(".epub") or _is_epub(file):
            yield from _read_epub(file, config)
            return
        data = _read_bounded(file, config.max_document_bytes)
    if isinstance(data, Fault):
        yield data
    elif not data:
        yield Fault("0", "empty_file", "the file has no bytes")
    elif data.startswith(_NO_BOOK):
        yield Fault("0", "not_a_book", "a WARC, PDF or archive, and no text", data[:HEAD_BYTES])
    elif name.endswith((".html", ".htm", ".xhtml")):
        yield from _read_html(data)
    else:
        yield from _read_text(data, config)


def _is_epub(file: BinaryIO) -> bool:
    head = file.read(100)
    file.seek(0)
    return head.startswith(b"PK") and b"mimetypeapplication/epub+zip" in head


def _read_bounded(file: BinaryIO, limit: int) -> bytes | Fault:
    magic = file.read(len(GZIP))
    file.seek(0)
    stream: IO[bytes] | Bounded = file
    if magic == GZIP:
        stream = gunzip(file, limit + 1)
    blocks: list[bytes] = []
    left = limit + 1
    try:
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            blocks.append(block)
            left -= len(block)
    except Bomb as error:
        return Fault("0", "bomb", str(error), blocks[0][:HEAD_BYTES])
    except (OSError, EOFError, zlib.error) as error:  # half a book would pass for a whole one
        return Fault("0", "truncated_gzip", str(error), b"".join(blocks)[:HEAD_BYTES])
    data = b"".join(blocks)
    if len(data) > limit:
        message = f"more than {limit} bytes (max_document_bytes)"
        return Fault("0", "too_large", message, data[:HEAD_BYTES])
    return data


def _read_epub(file: BinaryIO, config: Books) -> Iterator[Document | Fault]:
    book, faults = read_epub(file, config.max_document_bytes)
    for fault in faults:
        place = f"0/{fault.locator}" if fault.locator else "0"
        yield fault._replace(locator=place, lost=fault.lost and book is None)
    if book is not None:
        text, meta = strip_gutenberg(book.text)
        text, chapters = take_marks(text, book.titles)
        own = {
            "title": book.title,
            "author": book.author,
            "language": book.language,
            "license": book.license or "",
        }
        yield _document(text, {**meta, **{k: v for k, v in own.items() if v}}, chapters)


def _read_html(data: bytes) -> Iterator[Document | Fault]:
    headings: list[str] = []
    html, charset, note = decode_html(data, None)
    if note:
        yield Fault("0", note[0], note[1], data[:HEAD_BYTES], lost=False)
    try:
        html = mark_headings(without_marks(html), headings)
        text, title = html_to_text(html, main_content=False)
    except ExtractError as error:
        yield Fault("0", error.kind, str(error), data[:HEAD_BYTES])
        return
    text, meta = strip_gutenberg(text)
    text, chapters = take_marks(text, headings)
    meta = {"title": without_marks(title), **meta, "charset": charset}
    yield _document(text, meta, chapters)


def _read_text(data: bytes, config: Books) -> Iterator[Document | Fault]:
    declared = CHARSET.search(data[:20_000])
    label = declared[1].decode("latin-1").strip() if declared else ""
    # "ASCII", "ISO-646-US (US-ASCII)": where that is not true it says nothing
    label = "" if "ascii" in label.lower() else label.split(" ")[-1].lower()
    label = {"latin-1": "iso-8859-1", "iso-latin-1": "iso-8859-1"}.get(label, label)
    text, charset, note = decode_html(data, label or None, in_page=False)
    if note:
        yield Fault("0", note[0], note[1], data[:HEAD_BYTES], lost=False)
    text = text.rstrip("\x1a\0")  # CP/M's and DOS's ends of a file
    if "\0" in text:
        yield Fault("0", "nul_bytes", "NUL in a text", data[:HEAD_BYTES])
        return
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")
    text, meta = strip_gutenberg(text)
    if config.unwrap:
        text = unwrap(text)
    text = text.strip()
    yield _document(text, {**meta, "charset": charset}, find_chapters(text))


def _document(text: str, meta: dict[str, str], chapters: Chapters) -> Document:
    license = meta.get("license")
    meta = {key: value for key, value in meta.items() if value and key != "license"}
    if chapters:
        meta["chapters"] = as_json(chapters)
    return Document("0", text, meta=meta, license=license, rule=None if text else "no_text")
