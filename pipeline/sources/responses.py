"""The HTTP response in a web archive's record -> one document.

The body is decoded by FastWARC (gzip, deflate, brotli, zstd, chunked); where it is not what its
header says, as archives of the 2000s often have it, as much of it as can be is saved and the
repair is noted. Only what was served with status 200 as HTML or plain text is a document; the rest
is one with a rule (http_status, not_text, no_text), so that it is counted.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Literal

from fastwarc.warc import WarcRecord
from resiliparse.parse.encoding import detect_mime

from pipeline.extract.encoding import decode_html
from pipeline.extract.html import Extract, ExtractError, html_to_text
from pipeline.schema import HEAD_BYTES, Document, Fault

_TEXT = {"text/html", "application/xhtml+xml", "text/plain"}
_NOT_TEXT = re.compile(r"image/|audio/|video/|application/(?:pdf|zip)")  # by content
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';,]+)", re.I)


def read_page(locator: str, raw: bytes, limit: int, extract: Extract) -> Iterator[Document | Fault]:
    """Notes of repairs, then one document or fault, of a WARC record's bytes."""
    head = raw[:HEAD_BYTES]
    try:
        response = _parse_http(raw, "none")
        headers = response.http_headers
        status = headers.status_code
    except OSError as error:
        yield Fault(locator, "bad_http", str(error)[:500], head)
        return
    if status is None:
        yield Fault(locator, "bad_http", "no HTTP status line", head)
        return
    content_type = headers.get("Content-Type") or ""
    mime = content_type.split(";")[0].strip().lower()
    meta = {"mime": mime} if mime else {}
    if status != 200:
        yield Document(locator, "", meta={**meta, "status": str(status)}, rule="http_status")
        return
    if mime and mime not in _TEXT:
        yield Document(locator, "", meta=meta, rule="not_text")
        return
    body, damage = _read_body(raw, response, limit)
    if body is None:
        yield Fault(locator, "http_encoding", damage, head)
        return
    if damage:
        message = f"{damage}; {len(body)} bytes were saved"
        yield Fault(locator, "http_encoding", message, head, lost=False)
    if len(body) > limit:
        message = f"a record of {len(raw)} bytes holds more than {limit} (max_document_bytes)"
        yield Fault(locator, "bomb", message, head)
        return
    found = detect_mime(body[:4096])
    if _NOT_TEXT.match(found):
        yield Document(locator, "", meta={"mime": found}, rule="not_text")
        return
    yield from _read_text(locator, body, mime, content_type, extract)


def _read_body(raw: bytes, response: WarcRecord, limit: int) -> tuple[bytes | None, str]:
    """(at most limit + 1 bytes of the body, decoded; what was wrong with its encoding)."""
    headers = response.http_headers
    if not (headers.get("Content-Encoding") or headers.get("Transfer-Encoding")):
        return response.reader.read(limit + 1), ""
    try:
        return _parse_http(raw, "all").reader.read(limit + 1), ""
    except OSError as error:
        return _salvage(response, limit), str(error)[:200]


def _read_text(
    locator: str, body: bytes, mime: str, content_type: str, extract: Extract
) -> Iterator[Document | Fault]:
    declared = _CHARSET.search(content_type)
    text, charset, note = decode_html(body, declared[1] if declared else None)
    if note:
        yield Fault(locator, note[0], note[1], body[:HEAD_BYTES], lost=False)
    if "\0" in text:
        yield Fault(locator, "nul_bytes", "NUL removed from a page", body[:HEAD_BYTES], lost=False)
        text = text.replace("\0", "")
    meta = {"mime": mime or "text/html", "charset": charset}
    if mime != "text/plain":
        try:
            text, title = html_to_text(text, extract)
        except ExtractError as error:
            yield Fault(locator, error.kind, str(error), body[:HEAD_BYTES])
            return
        if title:
            meta["title"] = title
    yield Document(locator, text, meta=meta, rule=None if text.strip() else "no_text")


def _parse_http(raw: bytes, auto_decode: Literal["none", "all"]) -> WarcRecord:
    record = WarcRecord.from_bytes(raw)
    record.parse_http(auto_decode=auto_decode)
    if record.http_headers is None or len(record.http_headers) == 0:  # lines that end in LF alone
        record = WarcRecord.from_bytes(raw)
        record.parse_http(auto_decode=auto_decode, quirks_mode=True)
    if record.http_headers is None:
        raise OSError("no HTTP header")
    return record


def _salvage(response: WarcRecord, limit: int) -> bytes | None:
    """As much of a body as can be had where its encoding is cut off, or is not what the header
    says."""
    body = response.reader.read()
    if (response.http_headers.get("Transfer-Encoding") or "").strip().lower() == "chunked":
        body = _dechunk(body) or body
    encoding = (response.http_headers.get("Content-Encoding") or "").strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        for window_bits in (
            47,
            -15,
        ):  # gzip or zlib; deflate without a header, as some servers send it
            inflate = zlib.decompressobj(window_bits)
            saved = []
            try:
                for i in range(0, len(body), 4096):
                    saved.append(inflate.decompress(body[i : i + 4096], limit + 1))
                    if sum(map(len, saved)) > limit:
                        break
            except zlib.error:
                pass
            if any(saved):
                return b"".join(saved)
    elif not encoding or encoding == "identity":
        return body
    return body if body.lstrip().startswith(b"<") else None


def _dechunk(body: bytes) -> bytes:
    chunks = []
    at = 0
    while match := _CHUNK.match(body, at):
        length = int(match[1], 16)
        chunks.append(body[match.end() : match.end() + length])
        at = match.end() + length + 2
        if length == 0:
            break
    return b"".join(chunks)


_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[^\r\n]{0,200}\r\n")
