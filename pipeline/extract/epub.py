"""EPUB 2 and 3 -> text in reading order, with a mark where each chapter begins.

The spine's files (EPUB 3.3, section 5.7), each through the HTML extractor without its main-content
rules: a book has no navigation to leave out, but it has pages that say so themselves (`epub:type`,
the guide of EPUB 2): title page, imprint, colophon, contents. Of auxiliary files (`linear="no"`)
only notes are kept. Note references are left out and the notes kept where they stand, once. XML
that declares entities is refused, and a book under DRM.
"""

import itertools
import posixpath
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from lxml import etree

from pipeline.extract.chapters import MAX_CHAPTERS, mark, mark_headings, without_marks
from pipeline.extract.encoding import decode_html
from pipeline.extract.html import ExtractError, html_to_text
from pipeline.extract.members import ZIP, members, read_whole
from pipeline.schema import Fault


class Book(NamedTuple):
    text: str  # with marks (chapters.mark), whose titles are `titles`
    titles: list[str]
    title: str
    author: str
    language: str
    license: str | None


class _Entry(NamedTuple):
    """A line of the table of contents."""

    title: str
    path: str
    fragment: str


_NOT_PROSE = {
    *("titlepage", "halftitlepage", "imprint", "colophon", "copyright-page", "cover", "toc"),
    *("landmarks", "loi", "lot", "page-list", "index", "title-page"),
}
_NOTES = {"footnotes", "endnotes", "rearnotes", "notes", "footnote", "endnote", "rearnote"}
_TYPE = re.compile(
    r"""<(?:body|section|nav|article|div|aside)\b[^<>]{0,1000}?\bepub:type\s*=\s*["']([^"'<>]{0,300})["']"""
)
_HREF = r"""\bhref\s*=\s*["'][^"'<>]{0,500}#[^"'<>]{0,500}["'][^<>]{0,500}>"""
_NUMBER = r"\s*[\[(]?(?:\d{1,4}|[*†‡§])[\])]?\s*"
_NOTE_REF = re.compile(
    r"""<a\b[^<>]{0,1000}?\b(?:epub:type|role)\s*=\s*["'][^"'<>]{0,100}(?:noteref|backlink)[^"'<>]{0,100}["']"""
    r"[^<>]{0,1000}>(?:<su[pb][^<>]{0,100}>)?[^<>]{0,40}(?:</su[pb]>)?</a>"
    rf"|<sup\b[^<>]{{0,300}}>\s*<a\b[^<>]{{0,500}}?{_HREF}{_NUMBER}</a>\s*</sup>"
    rf"|<a\b[^<>]{{0,500}}?{_HREF}\s*<sup\b[^<>]{{0,300}}>{_NUMBER}</sup>\s*</a>"
)
_SELF_CLOSED = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)([A-Za-z][\w:-]*)((?:\s[^<>]*)?)/>"
)
_ID = re.compile(
    r"""<[A-Za-z][^<>]{0,1000}?\b(?:id|name)\s*=\s*["']([^"'<>]{1,300})["'][^<>]{0,1000}>"""
)
_DC = "{http://purl.org/dc/elements/1.1/}"
_OPF = "{http://www.idpf.org/2007/opf}"
_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_ENC = "{http://www.w3.org/2001/04/xmlenc#}"
_NCX = "{http://www.daisy.org/z3986/2005/ncx/}"
_XHTML = "{http://www.w3.org/1999/xhtml}"
_MARKUP = (".xml", ".opf", ".ncx", ".xhtml", ".xht", ".html", ".htm")


def read_epub(file: BinaryIO, max_bytes: int) -> tuple[Book | None, list[Fault]]:
    """The book, and what could not be read of it (lost=False where the rest goes on without). At
    most max_bytes in all."""
    faults: list[Fault] = []
    files: dict[str, bytes] = {}
    left = max_bytes
    magic = file.read(2)
    file.seek(0)
    if magic and magic != ZIP:
        return None, [Fault("", "bad_epub", "no zip archive", magic)]
    for member in members(file, max_bytes):
        if isinstance(member, Fault):
            faults.append(member._replace(lost=member.locator == ""))
        elif member.name.lower().endswith(_MARKUP):
            data = read_whole(member, left)
            if isinstance(data, Fault):
                return None, [*faults, data]
            files[member.name] = data
            left -= len(data)
    try:
        if any(fault.lost for fault in faults):
            return None, faults
        _refuse_drm(files, faults)
        package, path = _package(files)
        return _book(package, posixpath.dirname(path), files, faults), faults
    except etree.XMLSyntaxError as error:
        return None, [*faults, Fault("", "bad_xml", str(error)[:500])]
    except ExtractError as error:
        return None, [*faults, Fault("", error.kind, str(error))]


def _parse(name: str, files: dict[str, bytes], recover: bool = False) -> etree._Element:
    if name not in files:
        raise ExtractError("bad_epub", f"the book has no {name!r}")
    _refuse_entities(name, files[name])
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, recover=recover
    )
    try:
        root = etree.fromstring(files[name], parser)
    except ValueError as error:  # an encoding that lxml does not know, in a str-like document
        raise ExtractError("bad_xml", f"{name}: {error}") from error
    if root is None:
        raise ExtractError("bad_xml", f"{name} has no root")
    return root


def _refuse_entities(name: str, data: bytes) -> None:
    if any("<!ENTITY".encode(charset) in data for charset in ("ascii", "utf-16-le", "utf-16-be")):
        raise ExtractError("xml_entities", f"{name} declares entities of its own")


def _refuse_drm(files: dict[str, bytes], faults: list[Fault]) -> None:
    """Fonts may be obfuscated in any book; a text that is encrypted cannot be read."""
    locked = [fault.locator for fault in faults if fault.error == "encrypted"]
    if "META-INF/encryption.xml" in files:
        root = _parse("META-INF/encryption.xml", files, recover=True)
        locked += [ref.get("URI", "") for ref in root.iter(f"{_ENC}CipherReference")]
    locked = [name for name in locked if name.lower().endswith(_MARKUP)]
    if locked:
        raise ExtractError("encrypted", f"{len(locked)} files under DRM, {locked[0][:200]!r} first")


def _package(files: dict[str, bytes]) -> tuple[etree._Element, str]:
    container = _parse("META-INF/container.xml", files)
    root = container.find(f".//{_CONTAINER}rootfile")
    path = "" if root is None else unquote(root.get("full-path", ""))
    return _parse(path, files), path


def _book(
    package: etree._Element, folder: str, files: dict[str, bytes], faults: list[Fault]
) -> Book:
    items = {
        item.get("id"): (_join(folder, item.get("href", "")), item.get("properties", "").split())
        for item in package.iterfind(f".//{_OPF}item")
    }
    navigation = next((path for path, kinds in items.values() if "nav" in kinds), None)
    titles: list[str] = []
    places: dict[str, dict[str, int]] = {}  # file -> fragment -> number of its title
    for entry in _entries(package, items, navigation, files):
        places.setdefault(entry.path, {}).setdefault(entry.fragment, len(titles))
        titles.append(entry.title)
    left_out = {
        _join(folder, ref.get("href", "").partition("#")[0])
        for ref in package.iterfind(f".//{_OPF}guide/{_OPF}reference")
        if ref.get("type", "").lower() in _NOT_PROSE
    }
    left_out.add(navigation or "")
    chapters = []
    for ref in package.iterfind(f".//{_OPF}itemref"):
        path, _ = items.pop(ref.get("idref"), ("", []))  # popped: a file named twice is read once
        if not path or path in left_out:
            continue
        if path not in files:
            message = "the spine names a file that is not there"
            faults.append(Fault(path, "bad_epub", message, lost=False))
            continue
        text = _chapter(path, files[path], places, titles, ref.get("linear") == "no")
        if text:
            chapters.append(text)
    first = {
        name: " ".join((package.findtext(f".//{_DC}{name}") or "").split())
        for name in ("title", "creator", "language", "rights")
    }
    return Book(
        "\n\n".join(chapters),
        titles,
        first["title"],
        first["creator"],
        first["language"],
        first["rights"][:500] or None,
    )


def _join(folder: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(href)))


def _entries(
    package: etree._Element,
    items: dict[str | None, tuple[str, list[str]]],
    navigation: str | None,
    files: dict[str, bytes],
) -> list[_Entry]:
    """The table of contents of EPUB 3 (nav), else that of EPUB 2 (ncx)."""
    spine = package.find(f".//{_OPF}spine")
    toc = items.get(None if spine is None else spine.get("toc"), ("", []))[0]
    ncx = toc or next((path for path, _ in items.values() if path.endswith(".ncx")), "")
    for path, read in ((navigation or "", _nav), (ncx, _ncx)):
        if path in files:
            links = itertools.islice(read(_parse(path, files, recover=True)), MAX_CHAPTERS)
            folder = posixpath.dirname(path)
            entries = [
                _Entry(" ".join(title.split()), _join(folder, file), unquote(fragment))
                for title, href in links
                for file, _, fragment in [href.partition("#")]
                if file and title.strip()
            ]
            if entries:
                return entries
    return []


def _nav(root: etree._Element) -> Iterator[tuple[str, str]]:
    for nav in root.iter(f"{_XHTML}nav"):
        if "toc" in nav.get("{http://www.idpf.org/2007/ops}type", "toc").split():
            for link in nav.iter(f"{_XHTML}a"):
                yield "".join(link.itertext()), link.get("href", "")
            return


def _ncx(root: etree._Element) -> Iterator[tuple[str, str]]:
    for point in root.iter(f"{_NCX}navPoint"):
        content = point.find(f"{_NCX}content")
        if content is not None:
            yield point.findtext(f"{_NCX}navLabel/{_NCX}text") or "", content.get("src", "")


def _chapter(
    path: str, data: bytes, places: dict[str, dict[str, int]], titles: list[str], auxiliary: bool
) -> str:
    _refuse_entities(path, data)
    html = without_marks(decode_html(data, None).text)
    outermost = itertools.islice(_TYPE.finditer(html), 2)  # the body and what is right in it
    kinds = {kind for match in outermost for kind in match[1].split()}
    if kinds & _NOT_PROSE or (auxiliary and not kinds & _NOTES):
        return ""
    html = _NOTE_REF.sub("", html)
    start = ""
    if places:
        html, start = _set_marks(html, places.get(path, {}))
    else:
        html = mark_headings(html, titles)
    text = html_to_text(_SELF_CLOSED.sub(r"<\1\2></\1>", html), main_content=False)[0]
    return start + text if text else ""


def _set_marks(html: str, places: dict[str, int]) -> tuple[str, str]:
    """(the file with a mark where an entry points into it, marks of its beginning)."""
    start = mark(places.pop("")) if "" in places else ""

    def set_mark(match: re.Match[str]) -> str:
        number = places.pop(match[1], None)
        return match[0] if number is None else match[0] + mark(number)

    if places:
        html = _ID.sub(set_mark, html)
    return html, start + "".join(mark(number) for number in sorted(places.values()))
