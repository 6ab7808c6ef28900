"""What a web archive's record holds -> one document: an HTTP response, a resource, a WET text.

Only what was served with status 200 as HTML or plain text is a document; the rest is one with a
rule (http_status, not_text, no_text), so that it is counted. The type is what the content is where
the header lies: HTML served as text/plain, as octet-stream or as an image is HTML, and an image
served as HTML is none. meta["http_mime"] is the header's word where it was not believed.
"""

import re
from collections.abc import Iterator

from resiliparse.parse.encoding import detect_mime

from pipeline.extract.encoding import decode_html
from pipeline.extract.html import Extract, ExtractError, html_to_text
from pipeline.extract.metadata import opt_outs, page_metadata
from pipeline.extract.mojibake import mojibake
from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.bodies import decode_body
from pipeline.sources.records import parse_headers

_HTML = {"text/html", "application/xhtml+xml"}
_UNSURE = {"", "application/octet-stream", "binary/octet-stream", "application/unknown"}
_XML = {"text/xml", "application/xml"}
_NOT_TEXT = re.compile(r"image/|audio/|video/|font/|application/(?:pdf|zip|gzip)")  # by content
_LOOKS_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s{0,200}(?:<\?xml[^>]{0,200}>\s{0,99})?(?:<!--[^>]{0,400}-->\s{0,99}){0,3}"
    rb"<(?:!doctype\s{1,9}html|html|head|body|title)[\s>]",
    re.I,
)
_MAYBE_HTML = re.compile(  # where there is no header, so that weaker signs will do (WHATWG: sniff)
    rb"(?:\xef\xbb\xbf)?\s{0,200}<(?:script|iframe|h1|div|font|table|a|style|b|br|p|!--|meta|link)"
    rb"[\s>-]",
    re.I,
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_CHARSET = re.compile(r"charset\s{0,9}=\s{0,9}[\"']?([^\s\"';,]{1,60})", re.I)
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? {1,9}(\d{3})(?!\d)", re.I)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_MAX_HEAD = 1 << 16
_META_CHARS = 200


def split_http(block: bytes) -> tuple[int | None, dict[str, str], bytes]:
    """(status, headers, body) of a response; no status where it is none."""
    start = len(block) - len(block.lstrip(b"\r\n")) if block[:1] in b"\r\n" else 0
    status = _STATUS.match(block, start)
    end = _HEAD_END.search(block, start, start + _MAX_HEAD)
    if status is None or (end is None and len(block) > _MAX_HEAD):
        return None, {}, b""
    first = block.find(b"\n", start)
    if end is None:
        return int(status[1]), parse_headers(block[first + 1 :]) if first >= 0 else {}, b""
    headers = parse_headers(block[first + 1 : end.start()]) if first < end.start() else {}
    return int(status[1]), headers, block[end.end() :]


def read_page(
    locator: str, block: bytes, limit: int, extract: Extract
) -> Iterator[Document | Fault]:
    """Notes of repairs, then one document or fault, of an HTTP response."""
    status, headers, body = split_http(block)
    if status is None:
        yield Fault(locator, "bad_http", "no HTTP status line and header", block[:HEAD_BYTES])
        return
    if status != 200:
        mime = _mime(headers)
        meta = {"mime": mime, "status": str(status)} if mime else {"status": str(status)}
        yield Document(locator, "", meta=meta, rule="http_status")
        return
    yield from read_payload(locator, headers, body, limit, extract)


def read_payload(
    locator: str, headers: dict[str, str], body: bytes, limit: int, extract: Extract
) -> Iterator[Document | Fault]:
    """The same for a body with the headers that it came with."""
    mime = _mime(headers)
    meta = {"mime": mime} if mime else {}
    textual = mime in _HTML or mime == "text/plain" or mime in _UNSURE
    if not textual and not _LOOKS_HTML.match(body):
        yield Document(locator, "", meta=meta, rule="not_text")
        return
    decoded, damage = decode_body(body, headers, limit)
    if decoded is None:
        yield Fault(locator, "http_encoding", damage[:500], body[:HEAD_BYTES])
        return
    if damage:
        message = f"{damage[:500]}; {len(decoded)} bytes were saved"
        yield Fault(locator, "http_encoding", message, body[:HEAD_BYTES], lost=False)
    if len(decoded) > limit:
        message = f"{len(body)} bytes hold more than {limit} (max_document_bytes)"
        yield Fault(locator, "bomb", message, body[:HEAD_BYTES])
        return
    found = _sniff(mime, decoded)
    if found != mime:
        meta = {"mime": found, "http_mime": mime[:_META_CHARS]} if mime else {"mime": found}
    if found in _HTML or found == "text/plain":
        yield from _read_text(locator, decoded, headers, meta, extract)
    else:
        yield Document(locator, "", meta=meta, rule="not_text")


def _mime(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()[:_META_CHARS]


def _sniff(mime: str, body: bytes) -> str:
    """What the body is: the header's word, unless the content shows that it lies."""
    if mime in _HTML or not body:
        found = detect_mime(body[:4096])
        return found if _NOT_TEXT.match(found) else mime
    if _LOOKS_HTML.match(body) or (mime == "" and _MAYBE_HTML.match(body)):
        return "text/html"
    found = detect_mime(body[:4096])
    if _NOT_TEXT.match(found):
        return found
    if mime == "" and not _BINARY.search(body, 0, 4096):
        return "text/plain"
    return mime or "application/octet-stream"


def _read_text(
    locator: str, body: bytes, headers: dict[str, str], meta: dict[str, str], extract: Extract
) -> Iterator[Document | Fault]:
    declared = _CHARSET.search(headers.get("content-type", ""))
    html = meta["mime"] in _HTML
    decoded = decode_html(body, declared[1] if declared else None, in_page=html)
    if decoded.note:
        kind, message = decoded.note
        yield Fault(locator, kind, message, body[:HEAD_BYTES], lost=False)
    text = decoded.text
    if "\0" in text:
        yield Fault(locator, "nul_bytes", "NUL removed from a page", body[:HEAD_BYTES], lost=False)
        text = text.replace("\0", "")
    meta = {**meta, "charset": decoded.charset}
    license_id = None
    if html:
        page = body if decoded.charset == "utf-8" else text.encode(errors="replace")
        found, license_id = page_metadata(page)
        try:
            text, title = html_to_text(text, extract)
        except ExtractError as error:
            yield Fault(locator, error.kind, str(error), body[:HEAD_BYTES])
            return
        meta |= found
        if title:
            meta["title"] = title
    for name, key in _HEADERS:
        if value := headers.get(name):
            meta[key] = value[:_META_CHARS]
    if out := opt_outs(meta.get("robots", ""), meta.get("x_robots_tag", "")):
        meta["ai"] = out
    yield _text_document(locator, text, meta, license_id)


def _text_document(
    locator: str, text: str, meta: dict[str, str], license_id: str | None = None
) -> Document:
    if n := mojibake(text):
        meta = {**meta, "mojibake": str(n)}
    rule = None if text.strip() else "no_text"
    return Document(locator, text, license=license_id, meta=meta, rule=rule)


_HEADERS = (
    ("content-language", "http_lang"),
    ("x-robots-tag", "x_robots_tag"),
    ("tdm-reservation", "http_tdm_reservation"),
    ("tdm-policy", "http_tdm_policy"),
)


def read_wet(locator: str, body: bytes) -> Iterator[Document | Fault]:
    """The text of a WET record: UTF-8, by its format."""
    text = body.decode("utf-8", errors="replace")
    if "\0" in text:
        yield Fault(locator, "nul_bytes", "NUL in the text of a WET record", body[:HEAD_BYTES])
        return
    yield _text_document(locator, text, {"mime": "text/plain"})
