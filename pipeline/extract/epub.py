"""EPUB 2 and 3 -> text in reading order.

The spine's chapters (EPUB 3.3, section 5.7), each through the HTML extractor without its
main-content rules: a book has no navigation to leave out, but it has pages that say so themselves
(`epub:type`): title page, imprint, colophon, table of contents. Note references are left out and
the notes kept where they stand, once. XML that declares entities is refused.
"""

import itertools
import posixpath
import re
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from lxml import etree

from pipeline.extract.encoding import decode_html
from pipeline.extract.html import ExtractError, html_to_text
from pipeline.extract.members import Member, members, read_whole
from pipeline.schema import Fault


class Book(NamedTuple):
    text: str
    title: str
    author: str
    language: str
    license: str | None


_NOT_PROSE = {
    *("titlepage", "halftitlepage", "imprint", "colophon", "copyright-page", "cover", "toc"),
    *("landmarks", "loi", "lot", "page-list", "index"),
}
_TYPE = re.compile(
    r"""<(?:body|section|nav|article|div)\b[^<>]*?\bepub:type\s*=\s*["']([^"']*)["']"""
)
_NOTE_REF = re.compile(
    r"""<a\b[^<>]*?\bepub:type\s*=\s*["'][^"']*noteref[^"']*["'][^<>]*>[^<]{0,40}</a>"""
)
_SELF_CLOSED = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)([A-Za-z][\w:-]*)((?:\s[^<>]*)?)/>"
)
_DC = "{http://purl.org/dc/elements/1.1/}"
_OPF = "{http://www.idpf.org/2007/opf}"
_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"


def read_epub(file: BinaryIO, max_bytes: int) -> tuple[Book | None, list[Fault]]:
    """The book, and what could not be read of it (lost=False where the rest goes on without). At
    most max_bytes in all."""
    faults: list[Fault] = []
    files: dict[str, bytes] = {}
    left = max_bytes
    for member in members(file, max_bytes):
        if isinstance(member, Fault):
            faults.append(member._replace(lost=member.locator == ""))
        elif _is_markup(member):
            data = read_whole(member, left)
            if isinstance(data, Fault):
                return None, [data]
            files[member.name] = data
            left -= len(data)
    try:
        if any(fault.lost for fault in faults):
            return None, faults
        package, path = _package(files)
        return _book(package, posixpath.dirname(path), files, faults), faults
    except etree.XMLSyntaxError as error:
        return None, [*faults, Fault("", "bad_xml", str(error)[:500])]
    except ExtractError as error:
        return None, [*faults, Fault("", error.kind, str(error))]


def _is_markup(member: Member) -> bool:
    return member.name.endswith((".xml", ".opf", ".xhtml", ".html", ".htm"))


def _parse(name: str, files: dict[str, bytes]) -> etree._Element:
    if name not in files:
        raise ExtractError("bad_epub", f"the book has no {name!r}")
    _refuse_entities(name, files[name])
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False
    )
    return etree.fromstring(files[name], parser)


def _refuse_entities(name: str, data: bytes) -> None:
    if any("<!ENTITY".encode(charset) in data for charset in ("ascii", "utf-16-le", "utf-16-be")):
        raise ExtractError("xml_entities", f"{name} declares entities of its own")


def _package(files: dict[str, bytes]) -> tuple[etree._Element, str]:
    container = _parse("META-INF/container.xml", files)
    root = container.find(f".//{_CONTAINER}rootfile")
    path = "" if root is None else unquote(root.get("full-path", ""))
    return _parse(path, files), path


def _book(
    package: etree._Element, folder: str, files: dict[str, bytes], faults: list[Fault]
) -> Book:
    hrefs = {
        item.get("id"): posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        for item in package.iterfind(f".//{_OPF}item")
        if "nav" not in item.get("properties", "").split()
    }
    chapters = []
    for ref in package.iterfind(f".//{_OPF}itemref"):
        path = hrefs.pop(ref.get("idref"), None)  # popped: a chapter named twice is read once
        if path is None or ref.get("linear") == "no":
            continue
        if path not in files:
            faults.append(
                Fault(path, "bad_epub", "the spine names a file that is not there", lost=False)
            )
            continue
        text = _chapter(path, files[path])
        if text:
            chapters.append(text)
    first = {
        name: " ".join((package.findtext(f".//{_DC}{name}") or "").split())
        for name in ("title", "creator", "language", "rights")
    }
    return Book(
        "\n\n".join(chapters),
        first["title"],
        first["creator"],
        first["language"],
        first["rights"][:500] or None,
    )


def _chapter(path: str, data: bytes) -> str:
    _refuse_entities(path, data)
    html = decode_html(data, None).text
    outermost = itertools.islice(_TYPE.finditer(html), 2)  # the body and what is right in it
    if any(kind in _NOT_PROSE for match in outermost for kind in match[1].split()):
        return ""
    html = _SELF_CLOSED.sub(r"<\1\2></\1>", _NOTE_REF.sub("", html))
    return html_to_text(html, main_content=False)[0]
