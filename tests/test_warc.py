"""pipeline/sources/warc.py on archives made here, whole, split and damaged."""

import gzip
import zlib

import pytest

from pipeline.schema import Document, Fault
from pipeline.sources.warc import Warc, read_warc, split_warc

TEXT = "A paragraph of words that is long enough to be the main content of this page. "


def record(
    body: bytes, kind: str = "response", url: str = "http://a.example/", length=None
) -> bytes:
    content_type = {
        "response": "application/http; msgtype=response",
        "conversion": "text/plain",
    }.get(kind, "application/warc-fields")
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Date: 2024-05-01T00:00:00Z\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def http(body: bytes, headers: str = "Content-Type: text/html; charset=utf-8\r\n") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n" + body


def page(i: int, **more) -> bytes:
    words = " ".join(f"w{i}x{j}" for j in range(20 + 37 * i % 400))
    html = f"<title>Page {i}</title><p>{TEXT}</p><p>{words}</p>"
    return record(http(html.encode()), url=f"http://a.example/{i}", **more)


def write(path, parts, gz=True) -> str:
    path.write_bytes(b"".join(gzip.compress(p, 6, mtime=0) if gz else p for p in parts))
    return str(path)


def read(path, config=None, split_bytes=1 << 60):
    ranges = split_warc(path, split_bytes)
    items = [x for start, end in ranges for x in read_warc(path, start, end, config or Warc())]
    return items, ranges


def kinds(items):
    return [x.error if isinstance(x, Fault) else (x.rule or "ok") for x in items]


def one(tmp_path, part, config=None):
    return read(write(tmp_path / "one.warc.gz", [part]), config)[0]


@pytest.mark.parametrize("gz", [True, False])
def test_a_page(tmp_path, gz):
    info = record(b"software: test\r\n", kind="warcinfo")
    path = write(tmp_path / "a.warc", [info, record(b"x", kind="request"), page(1)], gz)
    items, _ = read(path)
    [document] = items
    assert document.text.startswith(TEXT.strip() + "\n\nw1x0 w1x1 ")
    assert document.url == "http://a.example/1"
    assert document.created == "2024-05-01T00:00:00Z"
    assert document.meta == {"mime": "text/html", "charset": "utf-8", "title": "Page 1"}
    assert document.rule is None
    data = (tmp_path / "a.warc").read_bytes()[int(document.locator) :]
    assert (gzip.decompress(data) if gz else data).startswith(b"WARC/1.0\r\nWARC-Type: response")


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("split_bytes", [1, 700, 5000, 50_000])
def test_any_split_reads_the_same(tmp_path, gz, split_bytes):
    parts = [page(i) for i in range(60)]
    parts[7] = record(b"GET / HTTP/1.1\r\n\r\n", kind="request")
    parts[20] = page(20, length=60)
    parts[30] = page(30, length=10**6)
    path = write(tmp_path / "a.warc", parts, gz)
    whole, ranges = read(path)
    assert len(ranges) == 1 and kinds(whole).count("wrong_length") == 2
    if gz:
        assert kinds(whole).count("ok") == 57
    split, ranges = read(path, split_bytes=split_bytes)
    size = (tmp_path / "a.warc").stat().st_size
    assert len(ranges) >= min(50, size // (2 * split_bytes))
    assert ranges[0][0] == 0 and ranges[-1][1] == size
    assert split == whole
    locators = [x.locator for x in whole]
    assert locators == sorted(set(locators))


def test_plain_resync(tmp_path):
    parts = [page(0), page(1, length=50), page(2), page(3, length=1100), page(4), b"junk\r\n\r\n"]
    items, _ = read(write(tmp_path / "a.warc", [*parts, page(5)], gz=False))
    assert kinds(items) == ["ok", "wrong_length", "ok", "wrong_length", "ok", "not_a_record", "ok"]
    assert [x.meta["title"] for x in items if isinstance(x, Document)] == [
        "Page 0",
        "Page 2",
        "Page 4",
        "Page 5",
    ]


@pytest.mark.parametrize("keep", [5, 40, 0.5, 0.9, -8, -1])
def test_truncated_member_costs_itself_only(tmp_path, keep):
    members = [gzip.compress(page(i), mtime=0) for i in range(6)]
    n = len(members[2])
    cut = int(n * keep) if isinstance(keep, float) else keep if keep > 0 else n + keep
    members[2] = members[2][:cut]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(members))
    items, _ = read(str(path))
    assert kinds(items) == ["ok", "ok", "truncated_gzip", "ok", "ok", "ok"]
    assert items[2].lost and items[2].locator == f"{len(members[0]) + len(members[1]):012d}"
    for split_bytes in (300, 1000):
        assert read(str(path), split_bytes=split_bytes)[0] == items


def test_truncated_file_and_flipped_bit(tmp_path):
    data = b"".join(gzip.compress(page(i), mtime=0) for i in range(3))
    path = tmp_path / "a.warc.gz"
    path.write_bytes(data[:-20])
    assert kinds(read(str(path))[0]) == ["ok", "ok", "truncated_gzip"]
    damaged = bytearray(data)
    damaged[len(gzip.compress(page(0), mtime=0)) - 6] ^= 1  # its checksum
    path.write_bytes(bytes(damaged))
    assert kinds(read(str(path))[0]) == ["truncated_gzip", "ok", "ok"]


def test_garbage_and_padding_between_members(tmp_path):
    a, b, c = (gzip.compress(page(i), mtime=0) for i in range(3))
    path = tmp_path / "a.warc.gz"
    path.write_bytes(a + b"garbage" + b + bytes(512) + c + bytes(100))
    items, _ = read(str(path))
    assert kinds(items) == ["ok", "not_gzip", "ok", "ok"]
    assert items[1].head == b"garbage"
    assert read(str(path), split_bytes=100)[0] == items


def test_several_records_in_one_member(tmp_path):
    whole = b"".join(page(i) for i in range(30))
    path = write(tmp_path / "a.warc.gz", [whole, page(30)])
    items, _ = read(path)
    assert kinds(items) == ["ok"] * 31
    locators = [x.locator for x in items]
    assert locators[:2] == ["000000000000", "000000000000.000001"]
    assert locators == sorted(set(locators))
    data = gzip.compress(whole, mtime=0)
    cut = tmp_path / "cut.warc.gz"
    cut.write_bytes(data[: len(data) // 2])
    items, _ = read(str(cut))
    assert kinds(items)[-1] == "truncated_gzip" and 5 < kinds(items).count("ok") < 30


def test_refused_files(tmp_path):
    def refused(name, data, split_bytes=10):
        path = tmp_path / name
        path.write_bytes(data)
        ranges = split_warc(str(path), split_bytes)
        [fault] = [x for s, e in ranges for x in read_warc(str(path), s, e, Warc())]
        assert fault.locator == "" and fault.lost
        return fault.error

    assert refused("a.warc.gz", b"") == "empty_file"
    assert refused("a.arc", b"filedesc://x.arc 0.0.0.0 2008 text/plain 9\n") == "arc_not_supported"
    assert refused("b.arc.gz", gzip.compress(b"filedesc://x 0 0 0 9\n")) == "arc_not_supported"
    assert refused("a.warc.zst", b"\x28\xb5\x2f\xfd123") == "zstd_not_supported"
    assert refused("a.warc.wat.gz", gzip.compress(page(1))) == "wat_not_supported"
    inside = record(b"", kind="warcinfo").replace(
        b"\r\nContent-T", b"\r\nWARC-Filename: x.wat.gz\r\nContent-T"
    )
    assert refused("b.warc.gz", gzip.compress(inside)) == "wat_not_supported"


def test_not_a_warc_at_all(tmp_path):
    path = tmp_path / "a.warc.gz"
    for data in (
        b"<html>no</html>",
        gzip.compress(b"<html>no</html>"),
        b"\x1f\x8b\x08\0\0",
        b"\0" * 99,
    ):
        path.write_bytes(data)
        items, _ = read(str(path))
        assert len(items) == 1 and items[0].lost, (data, items)


BODY = f"<p>{TEXT * 3}</p>".encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
RAW_DEFLATE = zlib.compress(BODY)[2:-4]


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ("", BODY, ["ok"]),
        ("Content-Encoding: gzip\r\n", gzip.compress(BODY), ["ok"]),
        ("Content-Encoding: deflate\r\n", zlib.compress(BODY), ["ok"]),
        ("Content-Encoding: deflate\r\n", RAW_DEFLATE, ["http_encoding", "ok"]),
        ("Content-Encoding: x-gzip\r\n", gzip.compress(BODY), ["http_encoding", "ok"]),
        ("Transfer-Encoding: chunked\r\n", CHUNKED, ["ok"]),
        ("Transfer-Encoding: chunked\r\n", BODY, ["http_encoding", "ok"]),  # decoded already
        ("Transfer-Encoding: chunked\r\n", CHUNKED[:-40], ["http_encoding", "ok"]),
        ("Content-Encoding: gzip\r\n", BODY, ["http_encoding", "ok"]),
        ("Content-Encoding: br\r\n", BODY, ["http_encoding", "ok"]),
        ("Content-Encoding: br\r\n", b"\x01\x02garbage", ["http_encoding"]),
    ],
)
def test_http_bodies(tmp_path, headers, body, expected):
    items = one(tmp_path, record(http(body, "Content-Type: text/html\r\n" + headers)))
    assert kinds(items) == expected
    if expected[-1] == "ok":
        assert items[-1].text.startswith(TEXT.strip())
        assert all(not x.lost for x in items[:-1])
    else:
        assert items[-1].lost


def test_lf_only_http_and_no_http(tmp_path):
    raw = http(BODY).replace(b"\r\n", b"\n")
    assert kinds(one(tmp_path, record(raw))) == ["ok"]
    assert kinds(one(tmp_path, record(b"garbage"))) == ["bad_http"]
    assert kinds(one(tmp_path, record(b""))) == ["bad_http"]


def test_what_is_no_text(tmp_path):
    def rule(body, headers="", status=b"200 OK"):
        raw = http(body, headers).replace(b"200 OK", status, 1)
        [document] = one(tmp_path, record(raw))
        return document.rule, document.meta

    png = b"\x89PNG\r\n\x1a\n" + bytes(50)
    assert rule(png, "Content-Type: image/png\r\n") == ("not_text", {"mime": "image/png"})
    assert rule(png, "Content-Type: text/html\r\n") == ("not_text", {"mime": "image/png"})
    assert rule(BODY, status=b"404 Not Found")[0] == "http_status"
    assert rule(b"<p></p>", "Content-Type: text/html\r\n")[0] == "no_text"
    assert rule(b"", "Content-Type: text/html\r\n")[0] == "no_text"
    assert rule(b"plain words", "Content-Type: text/plain\r\n")[0] is None


def test_repairs_are_noted(tmp_path):
    items = one(
        tmp_path, record(http(b"<p>a\0b words</p>", "Content-Type: text/html; charset=nix\r\n"))
    )
    assert kinds(items) == ["unknown_charset", "nul_bytes", "ok"]
    assert [getattr(x, "lost", None) for x in items] == [False, False, None]
    assert items[-1].text == "ab words"


def test_wet(tmp_path):
    items = one(tmp_path, record("Escopete ñ\nmás".encode(), kind="conversion"))
    assert items[0].text == "Escopete ñ\nmás" and items[0].meta == {"mime": "text/plain"}
    assert kinds(one(tmp_path, record(b"a\0b", kind="conversion"))) == ["nul_bytes"]


def test_bounds(tmp_path):
    config = Warc(max_document_bytes=100_000)
    bomb = http(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip\r\n")
    huge = record(http(b"<p>" + b"word " * 100_000))
    undeclared = record(http(BODY)) + bytes(5_000_000)
    parts = [page(0), record(bomb), page(1), huge, page(2), undeclared, page(3)]
    items, _ = read(write(tmp_path / "a.warc.gz", parts), config)
    assert kinds(items) == ["ok", "bomb", "ok", "too_large", "ok", "ok", "not_a_record", "ok"]
    assert all(0 < len(x.head) <= 4096 for x in items if isinstance(x, Fault))
    plain, _ = read(write(tmp_path / "a.warc", parts[:5], gz=False), config)
    assert kinds(plain) == kinds(items)[:5]
    deep = one(tmp_path, record(http(b"<div>" * 10_000)))
    assert kinds(deep) == ["too_deep"]


def test_split_inside_a_page_is_noted(tmp_path):
    inner = b"".join(page(i) for i in range(40))
    raw = record(http(b"<p>" + inner, "Content-Type: text/html\r\n"))
    path = write(tmp_path / "a.warc", [page(0), raw, page(1)], gz=False)
    assert kinds(read(path)[0]) == ["ok", "ok", "ok"]
    assert "split_inside_record" in kinds(read(path, split_bytes=8000)[0])


def test_real_pages(shared_data):
    path = str(shared_data / "web/archive-it.warc.gz")
    items, _ = read(path)
    assert kinds(items).count("ok") == 128
    assert len([x for x in items if isinstance(x, Document)]) == 261  # HTTP responses, without DNS
    split, ranges = read(path, split_bytes=300_000)
    assert len(ranges) > 5 and split == items
    [wet] = read(str(shared_data / "web/commoncrawl-whirlwind.warc.wet.gz"))[0]
    assert wet.url == "https://an.wikipedia.org/wiki/Escopete" and "Escopete" in wet.text
    for name in ("archive-it.arc.gz", "commoncrawl-whirlwind.warc.wat.gz"):
        [fault] = read(str(shared_data / "web" / name))[0]
        assert fault.error.endswith("_not_supported")


def test_memory_does_not_grow_with_the_shard(tmp_path):
    import tracemalloc

    member = gzip.compress(record(http(b"<p>" + b"words and more words " * 10_000)), mtime=0)
    peaks = []
    for n in (5, 100):
        path = tmp_path / f"{n}.warc.gz"
        path.write_bytes(member * n)
        tracemalloc.start()
        count = sum(1 for _ in read_warc(str(path), 0, path.stat().st_size, Warc()))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == n
    assert peaks[1] < 1.2 * peaks[0]
