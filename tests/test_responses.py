"""pipeline/sources/responses.py and bodies.py: what HTTP may do to a page, and its type."""

import gzip
import random
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.extract.html import Extract
from pipeline.schema import Document, Fault
from pipeline.sources.bodies import decode_body
from pipeline.sources.records import parse_headers
from pipeline.sources.responses import read_page, split_http

TEXT = "A paragraph of words that is long enough to be the main content of this page. "


def http(body: bytes, headers: str = "Content-Type: text/html; charset=utf-8\r\n") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n" + body


def one(block: bytes, limit: int = 1 << 20) -> list[Document | Fault]:
    return list(read_page("0", block, limit, Extract(engine="resiliparse")))


def kinds(items):
    return [x.error if isinstance(x, Fault) else (x.rule or "ok") for x in items]


BODY = f"<p>{TEXT * 3}</p>".encode()
LONG = BODY + bytes(random.Random(0).choices(range(97, 123), k=400_000))  # some blocks of zstd


def _chunked(body: bytes) -> bytes:
    parts = [body[i : i + 50] for i in range(0, len(body), 50)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


CHUNKED = _chunked(BODY)
STACKED = zstandard.compress(gzip.compress(BODY, mtime=0))
RAW_DEFLATE = zlib.compress(BODY)[2:-4]


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ("", BODY, ["ok"]),
        ("Content-Encoding: gzip\r\n", gzip.compress(BODY, mtime=0), ["ok"]),
        ("Content-Encoding: deflate\r\n", zlib.compress(BODY), ["ok"]),
        ("Content-Encoding: deflate\r\n", RAW_DEFLATE, ["http_encoding", "ok"]),
        ("Content-Encoding: x-gzip\r\n", gzip.compress(BODY, mtime=0), ["ok"]),
        ("Content-Encoding: br\r\n", brotli.compress(BODY), ["ok"]),
        ("Content-Encoding: zstd\r\n", zstandard.compress(BODY), ["ok"]),
        ("Content-Encoding: gzip, br\r\n", brotli.compress(gzip.compress(BODY, mtime=0)), ["ok"]),
        ("Content-Encoding: gzip\r\nContent-Encoding: zstd\r\n", STACKED, ["ok"]),
        ("Transfer-Encoding: gzip, chunked\r\n", _chunked(gzip.compress(BODY, mtime=0)), ["ok"]),
        (
            "Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n",
            _chunked(zlib.compress(BODY)),
            ["ok"],
        ),
        (
            "Content-Encoding: gzip\r\n",
            gzip.compress(BODY[:99], mtime=0) + gzip.compress(BODY[99:], mtime=0),
            ["ok"],
        ),
        ("Content-Encoding: identity\r\n", BODY, ["ok"]),
        ("Content-Encoding: utf-8\r\n", BODY, ["http_encoding", "ok"]),
        (
            "Content-Encoding: br\r\n",
            brotli.compress(LONG, quality=5)[:-40],
            ["http_encoding", "ok"],
        ),
        ("Content-Encoding: zstd\r\n", zstandard.compress(LONG)[:-40], ["http_encoding", "ok"]),
        ("Content-Encoding: gzip\r\n", gzip.compress(LONG, mtime=0)[:-40], ["http_encoding", "ok"]),
        ("Content-Encoding: gzip, gzip, gzip, gzip, gzip, gzip\r\n", BODY, ["http_encoding"]),
        ("Transfer-Encoding: chunked\r\n", CHUNKED, ["ok"]),
        ("Transfer-Encoding: chunked\r\n", BODY, ["http_encoding", "ok"]),  # decoded already
        ("Transfer-Encoding: chunked\r\n", CHUNKED[:-40], ["http_encoding", "ok"]),
        ("Content-Encoding: gzip\r\n", BODY, ["http_encoding", "ok"]),
        ("Content-Encoding: br\r\n", BODY, ["http_encoding", "ok"]),
        ("Content-Encoding: br\r\n", b"\x01\x02garbage", ["http_encoding"]),
    ],
)
def test_http_bodies(headers, body, expected):
    items = one(http(body, "Content-Type: text/html\r\n" + headers))
    assert kinds(items) == expected
    if expected[-1] == "ok":
        assert items[-1].text.startswith(TEXT.strip())
        assert all(not x.lost for x in items[:-1])
    else:
        assert items[-1].lost


def test_lf_only_http_and_no_http():
    raw = http(BODY).replace(b"\r\n", b"\n")
    assert kinds(one(raw)) == ["ok"]
    assert kinds(one(b"garbage")) == ["bad_http"]
    assert kinds(one(b"")) == ["bad_http"]


def test_what_is_no_text():
    def rule(body, headers="", status=b"200 OK"):
        raw = http(body, headers).replace(b"200 OK", status, 1)
        [document] = one(raw)
        return document.rule, document.meta

    png = b"\x89PNG\r\n\x1a\n" + bytes(50)
    assert rule(png, "Content-Type: image/png\r\n") == ("not_text", {"mime": "image/png"})
    assert rule(png, "Content-Type: text/html\r\n") == (
        "not_text",
        {"mime": "image/png", "http_mime": "text/html"},
    )
    assert rule(BODY, status=b"404 Not Found")[0] == "http_status"
    assert rule(b"<p></p>", "Content-Type: text/html\r\n")[0] == "no_text"
    assert rule(b"", "Content-Type: text/html\r\n")[0] == "no_text"
    assert rule(b"plain words", "Content-Type: text/plain\r\n")[0] is None


def test_the_type_is_what_the_content_is():
    page = b"<!DOCTYPE html><html><head><title>T</title></head><body>" + BODY
    png = b"\x89PNG\r\n\x1a\n" + bytes(50)
    pdf = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"
    for said, body, rule, mime in [
        ("text/plain", page, None, "text/html"),
        ("application/octet-stream", page, None, "text/html"),
        ("image/gif", page, None, "text/html"),
        ("application/xml", b'<?xml version="1.0"?>\n' + page, None, "text/html"),
        ("", page, None, "text/html"),
        ("", BODY, None, "text/html"),
        ("", b"Only words, of no type.", None, "text/plain"),
        ("", bytes(range(32)) * 9, "not_text", "application/octet-stream"),
        ("text/plain", b"<p> begins a text on HTML", None, "text/plain"),
        ("text/html", pdf, "not_text", "application/pdf"),
        ("text/plain", png, "not_text", "image/png"),
        ("application/octet-stream", b"words", "not_text", "application/octet-stream"),
        ("application/json", b'{"a": "<html>"}', "not_text", "application/json"),
        ("text/css", b"html { color: red }", "not_text", "text/css"),
    ]:
        headers = f"Content-Type: {said}\r\n" if said else "Server: x\r\n"
        [document] = one(http(body, headers))
        assert (document.rule, document.meta["mime"]) == (rule, mime), said
        lied = bool(said) and said != mime
        assert document.meta.get("http_mime") == (said if lied else None)


def test_what_the_server_says_is_kept():
    headers = "Content-Type: text/html\r\nContent-Language: de, en\r\nTDM-Reservation: 1\r\n"
    headers += "X-Robots-Tag: noindex\r\nX-Robots-Tag: otherbot: noai\r\nTDM-Policy: https://p\r\n"
    [document] = one(http(b"<html lang=de><meta name=robots content=noimageai>" + BODY, headers))
    assert document.meta == {
        "mime": "text/html",
        "charset": "utf-8",
        "html_lang": "de",
        "http_lang": "de, en",
        "robots": "noimageai",
        "x_robots_tag": "noindex, otherbot: noai",
        "http_tdm_reservation": "1",
        "http_tdm_policy": "https://p",
        "ai": "noai,noimageai",
    }


def test_licence_and_mojibake():
    link = '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC</a>'
    broken = "<p>Itâ€™s the cafÃ© of this paragraph, long enough to be the main content of a page."
    [document] = one(http(broken.encode() + link.encode()))
    assert document.license == "CC-BY-4.0"
    assert document.meta["mojibake"] == "2"


def test_heads():
    assert split_http(b"HTTP/1.0 200\nA: b\n\nbody") == (200, {"a": "b"}, b"body")
    assert split_http(b"\r\nHTTP/1.1 404 Not Found\r\n\r\n") == (404, {}, b"")
    assert split_http(b"HTTP/1.1 200 OK\r\nA: b") == (200, {"a": "b"}, b"")
    assert split_http(b"HTTP/1.1 2000 OK\r\n\r\n")[0] is None
    assert split_http(b"HTTP/1.1 200 OK\r\n" + b"a" * 100_000)[0] is None
    folded = b"A: b\r\n\tc\r\nContent-Encoding: gzip\r\ncontent-encoding: br\r\nA: second\r\n"
    assert parse_headers(folded) == {"a": "b c", "content-encoding": "gzip, br"}
    assert parse_headers("Ä: é\r\nB: ü".encode("latin-1")) == {"ä": "é", "b": "ü"}


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", lambda data: brotli.compress(data, quality=1)),
        ("zstd", zstandard.compress),
    ],
)
def test_bombs_stop(name, pack):
    bomb = pack(bytes(100 << 20))
    body, _ = decode_body(bomb, {"content-encoding": name}, 1 << 20)
    assert body is not None and 1 << 20 < len(body) < 40 << 20
    twice = pack(bomb)
    body, _ = decode_body(twice, {"content-encoding": f"{name}, {name}"}, 1 << 20)
    assert body is not None and len(body) < 40 << 20
    [fault] = one(http(bomb, f"Content-Type: text/html\r\nContent-Encoding: {name}\r\n"))
    assert fault.error == "bomb"


NAMES = st.lists(st.sampled_from(["gzip", "deflate", "br", "zstd", "chunked", "x"]), max_size=4)
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}
PACKERS |= {"zstd": zstandard.compress, "chunked": _chunked, "x": bytes}


@given(st.binary(max_size=300), NAMES, st.integers(0, 300), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_any_encodings_undo_themselves_or_say_so(body, names, at, byte):
    packed = body = b"<" + body
    for name in names:
        packed = PACKERS[name](packed)
    headers = {"content-encoding": ", ".join(names)}
    decoded, problem = decode_body(packed, headers, 1 << 20)
    assert decoded == body and bool(problem) == ("x" in names)
    damaged = bytearray(packed)
    damaged[at % len(damaged)] ^= byte
    decode_body(bytes(damaged), headers, 1 << 20)  # does not fail
