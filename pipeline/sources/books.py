"""Books -> one document a file: .txt(.gz) with or without Project Gutenberg's wrapping, .epub,
.html.

Of a Gutenberg text the header, the licence (of the forms used from 1993 on) and the transcribers'
notes are removed, and its lines, cut at about 70 columns, are joined into paragraphs. Verse,
tables and addresses keep their lines. Characters are UTF-8, else windows-1252, as Gutenberg's own
8-bit files are.
"""

import re
import statistics
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO

from pipeline import quarantine, storage
from pipeline.extract.encoding import decode_html
from pipeline.extract.epub import read_epub
from pipeline.extract.html import ExtractError, html_to_text
from pipeline.extract.members import GZIP, Bomb, Bounded, gunzip
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
        if name.endswith(".epub"):
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
        meta = {"title": book.title, "author": book.author, "language": book.language}
        yield _document(book.text, {k: v for k, v in meta.items() if v}, book.license)


def _read_html(data: bytes) -> Iterator[Document | Fault]:
    html, charset, note = decode_html(data, None)
    if note:
        yield Fault("0", note[0], note[1], data[:HEAD_BYTES], lost=False)
    try:
        text, title = html_to_text(html, main_content=False)
    except ExtractError as error:
        yield Fault("0", error.kind, str(error), data[:HEAD_BYTES])
        return
    book, meta = strip_gutenberg(text)
    title_meta = {"title": title} if title else {}
    yield _document(book, {**title_meta, **meta, "charset": charset})


def _read_text(data: bytes, config: Books) -> Iterator[Document | Fault]:
    text, charset = None, "utf-8"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        charset = "cp1252"
        text = data.decode(charset, errors="replace")
        if bad := text.count("\ufffd"):
            message = f"{bad} bytes are neither UTF-8 nor windows-1252"
            yield Fault("0", "bad_bytes", message, data[:HEAD_BYTES], lost=False)
    if "\0" in text:
        yield Fault("0", "nul_bytes", "NUL in a text", data[:HEAD_BYTES])
        return
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text, meta = strip_gutenberg(text)
    if config.unwrap:
        text = unwrap(text)
    yield _document(text, {**meta, "charset": charset})


def _document(text: str, meta: dict[str, str], license: str | None = None) -> Document:
    text = text.strip()
    license = license or meta.get("license")
    meta = {key: value for key, value in meta.items() if key != "license"}
    return Document("0", text, meta=meta, license=license, rule=None if text else "no_text")


# --- Project Gutenberg ---------------------------------------------------------------------------

_START = re.compile(
    r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,400}\*{3}[^\n]*\n"  # since about 2001
    r"|^\*END ?\*? ?THE SMALL PRINT![^\n]*\n",  # 1993 to 2003
    re.M,
)
_END = re.compile(
    r"^[ \t]*(?:\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG"
    r"|End of (?:the |this )?Project Gutenberg)",
    re.M | re.I,
)
_HEADER_CHARS = 60_000  # the small print of 1993 is 13,000 characters
_FIELD = re.compile(r"^(Title|Author|Language|Translator):[ \t]+(\S.*(?:\n[ \t]+\S.*)*)", re.M)
_OLD_FIELD = re.compile(
    r"Project Gutenberg E-?(?:text|book)(?: of|,) (.{1,200}?),? by (.{1,100}?)\*{0,9}$", re.M
)

# Who made the file, and how: not the book. Only looked for in its first characters.
_CREDIT = re.compile(
    r"[\[(]?\s*(?:"
    r"(?:E-?text |HTML version |Transcribed |Scanned |Proofread |Digitized )?"
    r"(?:produced|prepared|scanned|proofread|transcribed) (?:by|from)\b"
    r"|Th(?:is|e) e-?(?:text|book) (?:was )?(?:produced|prepared)|Additional editing by"
    r"|(?:Original )?Transcriber['’]?s?['’]? notes?\b|Notes on this e-?text\b"
    r"|\[?Chapters? [^\n]{0,40}scanned\b|[^\n]{1,60}\n?Scanned by\b)",
    re.I,
)
# A paragraph after a note that goes on about the file.
_ABOUT_FILE = re.compile(
    r"\be-?texts?\b|\btranscri|\bunderscores?\b|\bwe substituted\b|\bascii\b|\bthis file\b", re.I
)
_FRONT_CHARS = 20_000
_NOTES_AT_END = re.compile(r"^[ \t]*\[?Transcriber['’]?s?['’]? notes?\b", re.M | re.I)
_ITALIC = re.compile(r"(?<!\w)_(?=\S)([^_]{1,2000}?)_(?!\w)")
_NO_CAPTION = re.compile(r"^[ \t]*\[Illustration\]?\][ \t]*$", re.M | re.I)


def strip_gutenberg(text: str) -> tuple[str, dict[str, str]]:
    """(the book, its title and author) of a Gutenberg text; any other text as it is."""
    end = _END.search(text)
    starts = list(_START.finditer(text, 0, min(_HEADER_CHARS, end.start() if end else len(text))))
    if not starts:
        return (text[: end.start()] if end else text), {}
    header = text[: starts[-1].start()]
    body = text[starts[-1].end() : end.start() if end else len(text)]
    fields = {key.lower(): " ".join(value.split()) for key, value in _FIELD.findall(header)}
    if "title" not in fields and (old := _OLD_FIELD.search(header)):
        fields.update(title=old[1].strip(), author=old[2].strip())
    notes = _NOTES_AT_END.search(body, len(body) - len(body) // 20)
    if notes:
        body = body[: notes.start()]
    body = _drop_credits(_NO_CAPTION.sub("", body))
    return _ITALIC.sub(r"\1", body), {
        **fields,
        "license": "Project Gutenberg, public domain in the USA",
    }


def _drop_credits(body: str) -> str:
    """Without the paragraphs before the book that tell who produced the file."""
    end = body.find("\n\n", _FRONT_CHARS)
    end = len(body) if end < 0 else end
    parts = re.split(r"(\n[ \t]*\n\s*?(?=[ \t]*\S))", body[:end].strip("\n"))
    keep = []
    after_credit = False
    for i in range(0, len(parts), 2):
        after_credit = bool(
            _CREDIT.match(parts[i]) or (after_credit and _ABOUT_FILE.search(parts[i]))
        )
        if not after_credit:
            keep += parts[i : i + 2]
    return "".join(keep) + body[end:]


# --- paragraphs ---------------------------------------------------------------------------------


def unwrap(text: str) -> str:
    """Paragraphs on a line each, with an empty line between them; lines that were not wrapped keep
    their own.

    A text is hard-wrapped when nine of ten lines are shorter than 100 characters.
    """
    lengths = [len(line) for line in text.split("\n") if line.strip()]
    if len(lengths) < 2:
        return text
    width = statistics.quantiles(lengths, n=10)[-1]
    if width > 100:
        return text
    paragraphs = re.split(r"\n[ \t]*\n\s*?(?=[ \t]*\S)", text)
    return "\n\n".join(filter(None, (_join(paragraph, width) for paragraph in paragraphs)))


def _join(paragraph: str, width: float) -> str:
    lines = [line.rstrip() for line in paragraph.split("\n") if line.strip()]
    if not lines:
        return ""
    indented = [line[0] in " \t" for line in lines]
    if sum(indented[1:]) > len(lines[1:]) / 2:
        return "\n".join(lines)  # verse, a table, a centred title
    if max(map(len, lines[:-1]), default=0) < 0.6 * width:
        return "\n".join(
            line.strip() for line in lines
        )  # a title, an address, verse set flush left
    blocks: list[list[str]] = [[]]
    for line, new in zip(lines, indented, strict=True):
        if new and blocks[-1]:  # paragraphs set apart by their first line's indent only
            blocks.append([])
        blocks[-1].append(" ".join(line.split()))  # Gutenberg has two spaces after a sentence
    return "\n\n".join(" ".join(block) for block in blocks)
