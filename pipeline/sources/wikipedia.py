"""MediaWiki dumps (pages-articles.xml, plain, .bz2, .gz, .zst; any language) -> one document an
article.

A page is cut out of the file by its tags and parsed alone, by expat and without a document type, so
a broken page costs itself, entities of any kind but the five of XML are an error, and memory does
not grow with the dump. Plain files split at any page; a multistream .bz2 (100 pages a stream) at
any stream. Format: mediawiki.org, Help:Export, schema 0.10 and 0.11.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote
from xml.parsers import expat

from pipeline import quarantine
from pipeline.extract.html import ExtractError
from pipeline.extract.wikitext import Site, Wikitext, wikitext_to_text
from pipeline.extract.wikitext_names import DISAMBIGUATION, HIDDEN
from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.streams import Item, elements, pieces, split_streams, whole_file_fault


@dataclass(frozen=True, kw_only=True)
class Wikipedia:
    """The articles of a MediaWiki dump. Of a page with several revisions the last is read."""

    namespaces: tuple[int, ...] = (0,)
    """Which pages are articles; the others are marked not_article."""
    min_chars: int = 200
    """An article with less text is marked stub."""
    skip_disambiguation: bool = True
    """Mark lists of pages of like name: disambiguation."""
    extract: Wikitext = field(default_factory=Wikitext)
    """What of an article is text."""
    max_document_bytes: int = 16 << 20
    """A page with more XML is an error; MediaWiki's own limit is 2 MiB of text."""

    def __post_init__(self) -> None:
        if self.min_chars < 0:
            raise ValueError(f"min_chars {self.min_chars} is below 0")
        if self.max_document_bytes < 1:
            raise ValueError(f"max_document_bytes {self.max_document_bytes} is below 1")


class _Wiki(NamedTuple):
    site: Site
    prefix: str  # of article URLs; "" where the dump does not say
    host: str


_HEAD_BYTES = 1 << 20  # <siteinfo> of the English Wikipedia has 4,000
_REDIRECT = re.compile(r"\s*#[^\s\[\]]{3,30}\s*:?\s*\[\[")
_TEMPLATE = re.compile(r"\{\{\s*+([^\s{}|][^{}|\n]{0,60})")
_BY_SA_4 = "2023-06-07"  # when Wikimedia's terms of use went from CC BY-SA 3.0 to 4.0


def split_wikipedia(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Byte ranges; a page belongs to the one in which it (in .bz2: the stream with its first byte)
    starts."""
    return split_streams(path, split_bytes)


def read_wikipedia(
    path: str, start: int, end: int, config: Wikipedia
) -> Iterator[Document | Fault]:
    """The pages of a range. Locator: the page's offset in the XML; in .bz2, its stream's offset and
    its number there."""
    if fault := whole_file_fault(path):
        if start == 0:
            yield fault
        return
    wiki = _read_siteinfo(path)
    if isinstance(wiki, Fault):
        if start == 0:
            yield wiki
        return
    limit = config.max_document_bytes
    for item in elements(path, start, end, b"<page>", b"</page>", limit):
        if isinstance(item, Fault):
            yield item
        elif item.length > limit:
            message = f"a page of {item.length} bytes (max_document_bytes {limit})"
            yield Fault(item.locator, "too_large", message, item.data[:HEAD_BYTES])
        elif deadly := quarantine.refusal(item.locator, item.data):
            yield deadly
        else:
            yield _read_page(item, wiki, config)


def _read_siteinfo(path: str) -> _Wiki | Fault:
    """Language, namespaces and base URL as the head of the dump states them."""
    data = b""
    fault = Fault("", "not_a_dump", "no <mediawiki> at its start; a pages-articles dump is needed")
    for piece in pieces(path):
        data += piece.data
        if piece.error:
            fault = fault._replace(error=piece.error, message=piece.message)
        if len(data) >= _HEAD_BYTES or piece.error or b"<page>" in data:
            break
    head = data.partition(b"<page>")[0].decode("utf-8", "replace")
    opening = re.search(r"<mediawiki\b([^<>]*)>", head)
    if not opening:
        return fault._replace(head=data[:HEAD_BYTES])
    language = re.search(r'xml:lang="([A-Za-z-]{1,20})"', opening[1])
    base = re.search(r"<base>(https?://([^<>/\s]{1,200})[^<>\s]{0,500}/)[^<>/]{0,500}</base>", head)
    names = re.findall(r'<namespace key="(?:6|14|-2)"[^<>]{0,100}>([^<>]{1,100})<', head)
    site = Site(
        language=language[1].lower() if language else "en",
        hidden=HIDDEN | {name.lower() for name in names},
    )
    return _Wiki(site, base[1] if base else "", base[2] if base else "")


class _Page(NamedTuple):
    fields: dict[str, str]  # page/title, revision/text, ...: the last of each
    redirect: bool


class _BadXml(ValueError):
    pass


def _parse(data: bytes) -> _Page:
    """The fields of a page. Raises _BadXml."""
    fields: dict[str, str] = {}
    path: list[str] = []
    text: list[str] = []
    redirect = False

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal redirect
        if len(path) > 20:
            raise _BadXml("elements nested more than 20 deep")
        path.append(name)
        text.clear()
        redirect = redirect or name == "redirect"

    def closed(name: str) -> None:
        if len(path) > 1 and len(fields) < 100:
            fields["/".join(path[-2:])] = "".join(text)
        path.pop()
        text.clear()

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.CharacterDataHandler = text.append
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise _BadXml(str(error)) from None
    return _Page(fields, redirect)


def _read_page(item: Item, wiki: _Wiki, config: Wikipedia) -> Document | Fault:
    try:
        page = _parse(item.data)
    except _BadXml as error:
        return Fault(item.locator, "bad_xml", str(error), item.data[:HEAD_BYTES])
    get = page.fields.get
    title, source = get("page/title", "").strip(), get("revision/text", "")
    created = get("revision/timestamp") or None
    meta = {"title": title, "page": get("page/id", ""), "language": wiki.site.language}
    document = Document(
        item.locator,
        "",
        url=wiki.prefix + quote(title.replace(" ", "_"), safe="/:,;@!$*()'~")
        if wiki.prefix
        else None,
        created=created,
        license=_license(wiki.host, created or ""),
        meta={key: value for key, value in meta.items() if value},
    )
    if rule := _no_article(page, source, config):
        return document._replace(rule=rule)
    try:
        text = wikitext_to_text(source, config.extract, wiki.site)
    except ExtractError as error:
        return Fault(item.locator, error.kind, str(error), item.data[:HEAD_BYTES])
    rule = "no_text" if not text else "stub" if len(text) < config.min_chars else None
    if config.skip_disambiguation and _is_disambiguation(source):
        rule = "disambiguation"
    return document._replace(text=text, rule=rule)


def _license(host: str, created: str) -> str | None:
    """Wikimedia's texts are under CC BY-SA: 4.0 for revisions since 2023-06-07, and 3.0 before,
    which allows for 4.0 as a later version. Other wikis have terms of their own."""
    if not host.endswith((".wikipedia.org", ".wikibooks.org", ".wiktionary.org", ".wikisource.org",
                          ".wikiquote.org", ".wikivoyage.org", ".wikiversity.org")):  # fmt: skip
        return None
    return "CC-BY-SA-4.0" if created >= _BY_SA_4 else "CC-BY-SA-3.0"


def _no_article(page: _Page, source: str, config: Wikipedia) -> str | None:
    """The rule by which a page is none; decided before its text is extracted."""
    namespace = page.fields.get("page/ns", "0").strip()
    if namespace not in map(str, config.namespaces):
        return "not_article"
    if page.redirect or _REDIRECT.match(source):
        return "redirect"
    if page.fields.get("revision/model", "wikitext") != "wikitext":
        return "not_wikitext"
    return None


def _is_disambiguation(source: str) -> bool:
    names = (" ".join(name.replace("_", " ").split()) for name in _TEMPLATE.findall(source))
    return any(name.lower() in DISAMBIGUATION for name in names) or "__DISAMBIG__" in source
