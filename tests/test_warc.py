"""pipeline/sources/warc.py on archives made here, whole, split and damaged."""

import gzip
import hashlib
import re
from collections.abc import Callable

import lz4.frame
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.config import parse
from pipeline.executor import connect
from pipeline.extract.html import Extract
from pipeline.schema import Document, Fault
from pipeline.sources.warc import Warc, read_warc, split_warc
from pipeline.stages import run_pipeline

CODECS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
}
MAGIC = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18"}
RESILIPARSE = Extract(engine="resiliparse")  # whose texts these tests know
TEXT = "A paragraph of words that is long enough to be the main content of this page. "


def record(
    body: bytes,
    kind: str = "response",
    url: str = "http://a.example/",
    length: int | None = None,
    content_type: str = "",
    more: str = "",
) -> bytes:
    content_type = content_type or {
        "response": "application/http; msgtype=response",
        "revisit": "application/http; msgtype=response",
        "conversion": "text/plain",
    }.get(kind, "application/warc-fields")
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Date: 2024-05-01T00:00:00Z\r\nContent-Type: {content_type}\r\n{more}"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def http(body: bytes, headers: str = "Content-Type: text/html; charset=utf-8\r\n") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n" + body


def page(i: int, **more) -> bytes:
    words = " ".join(f"w{i}x{j}" for j in range(20 + 37 * i % 400))
    html = f"<title>Page {i}</title><p>{TEXT}</p><p>{words}</p>"
    return record(http(html.encode()), url=f"http://a.example/{i}", **more)


def write(path, parts, codec: str | None = "gzip") -> str:
    path.write_bytes(b"".join(CODECS[codec](p) if codec else p for p in parts))
    return str(path)


def read(path, config=None, split_bytes=1 << 60):
    config = config or Warc(extract=RESILIPARSE)
    ranges = split_warc(path, split_bytes)
    items = [x for start, end in ranges for x in read_warc(path, start, end, config)]
    return items, ranges


def kinds(items):
    return [x.error if isinstance(x, Fault) else (x.rule or "ok") for x in items]


def one(tmp_path, part, config=None):
    return read(write(tmp_path / "one.warc.gz", [part]), config)[0]


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4", None])
def test_a_page(tmp_path, codec):
    info = record(b"software: test\r\n", kind="warcinfo")
    path = write(tmp_path / "a.warc", [info, record(b"x", kind="request"), page(1)], codec)
    items, _ = read(path)
    [document] = items
    assert document.text.startswith(TEXT.strip() + "\n\nw1x0 w1x1 ")
    assert document.url == "http://a.example/1"
    assert document.created == "2024-05-01T00:00:00Z"
    assert document.meta == {"mime": "text/html", "charset": "utf-8", "title": "Page 1"}
    assert document.rule is None
    data = (tmp_path / "a.warc").read_bytes()[int(document.locator) :]
    assert data.startswith(MAGIC[codec] if codec else b"WARC/1.0\r\nWARC-Type: response")


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4", None])
@pytest.mark.parametrize("split_bytes", [1, 700, 5000, 50_000])
def test_any_split_reads_the_same(tmp_path, codec, split_bytes):
    parts = [page(i) for i in range(60)]
    parts[7] = record(b"GET / HTTP/1.1\r\n\r\n", kind="request")
    parts[20] = page(20, length=60)
    parts[30] = page(30, length=10**6)
    path = write(tmp_path / "a.warc", parts, codec)
    whole, ranges = read(path)
    assert len(ranges) == 1 and kinds(whole).count("wrong_length") == 2
    if codec:
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
    items, _ = read(write(tmp_path / "a.warc", [*parts, page(5)], None))
    assert kinds(items) == ["ok", "wrong_length", "ok", "wrong_length", "ok", "not_a_record", "ok"]
    assert [x.meta["title"] for x in items if isinstance(x, Document)] == [
        "Page 0",
        "Page 2",
        "Page 4",
        "Page 5",
    ]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("keep", [5, 40, 0.5, 0.9, -8, -1])
def test_truncated_member_costs_itself_only(tmp_path, codec, keep):
    members = [CODECS[codec](page(i)) for i in range(6)]
    n = len(members[2])
    cut = int(n * keep) if isinstance(keep, float) else keep if keep > 0 else n + keep
    members[2] = members[2][:cut]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(members))
    items, _ = read(str(path))
    assert kinds(items) == ["ok", "ok", f"truncated_{codec}", "ok", "ok", "ok"]
    assert items[2].lost and items[2].locator == f"{len(members[0]) + len(members[1]):012d}"
    for split_bytes in (300, 1000):
        assert read(str(path), split_bytes=split_bytes)[0] == items


@pytest.mark.parametrize("codec", CODECS)
def test_truncated_file_and_flipped_bit(tmp_path, codec):
    data = b"".join(CODECS[codec](page(i)) for i in range(3))
    path = tmp_path / "a.warc.gz"
    path.write_bytes(data[:-20])
    assert kinds(read(str(path))[0]) == ["ok", "ok", f"truncated_{codec}"]
    damaged = bytearray(data)
    damaged[len(CODECS[codec](page(0))) - (6 if codec == "gzip" else 2)] ^= 1  # its checksum
    path.write_bytes(bytes(damaged))
    assert kinds(read(str(path))[0]) == [f"truncated_{codec}", "ok", "ok"]


@pytest.mark.parametrize("codec", CODECS)
def test_garbage_and_padding_between_members(tmp_path, codec):
    a, b, c = (CODECS[codec](page(i)) for i in range(3))
    path = tmp_path / "a.warc.gz"
    path.write_bytes(a + b"garbage" + b + bytes(512) + c + bytes(100))
    items, _ = read(str(path))
    assert kinds(items) == ["ok", f"not_{codec}", "ok", "ok"]
    assert items[1].head == b"garbage"
    assert read(str(path), split_bytes=100)[0] == items


@pytest.mark.parametrize("codec", CODECS)
def test_several_records_in_one_member(tmp_path, codec):
    whole = b"".join(page(i) for i in range(30))
    path = write(tmp_path / "a.warc.gz", [whole, page(30)], codec)
    items, _ = read(path)
    assert kinds(items) == ["ok"] * 31
    locators = [x.locator for x in items]
    assert locators[:2] == ["000000000000", "000000000000.000001"]
    assert locators == sorted(set(locators))
    one_stream = write(tmp_path / "one.warc.gz", [whole], codec)
    assert split_warc(one_stream, 100) == [(0, (tmp_path / "one.warc.gz").stat().st_size)]
    data = CODECS[codec](whole)
    cut = tmp_path / "cut.warc.gz"
    cut.write_bytes(data[: len(data) // 2])
    items, _ = read(str(cut))
    assert kinds(items)[-1] == f"truncated_{codec}" and kinds(items).count("ok") < 30
    assert codec != "gzip" or kinds(items).count("ok") > 5  # the others have blocks of 64 KB


def test_a_zstd_file_with_its_dictionary(tmp_path):
    """WARC-zstd 1.0: a skippable frame at the start holds the dictionary, compressed or not."""
    pages = [page(i) for i in range(60)]
    dictionary = zstandard.train_dictionary(4096, pages)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    frames = b"".join(compressor.compress(p) for p in pages)
    path = tmp_path / "a.warc.zst"
    expected = read(write(tmp_path / "plain.warc", pages, None))[0]
    raw = dictionary.as_bytes()
    for stored in (raw, zstandard.compress(raw)):
        path.write_bytes(b"\x5d\x2a\x4d\x18" + len(stored).to_bytes(4, "little") + stored + frames)
        items, _ = read(str(path))
        assert [x[1:] for x in items] == [x[1:] for x in expected]
        split, ranges = read(str(path), split_bytes=2000)
        assert split == items and len(ranges) > 3
    path.write_bytes(b"\x5d\x2a\x4d\x18\xff\xff\xff\xff" + raw)
    assert kinds(read(str(path))[0]) == ["bad_dictionary"]
    path.write_bytes(frames)  # lost
    assert set(kinds(read(str(path))[0])) <= {"truncated_zstd", "bad_header"}


def test_refused_files(tmp_path):
    def refused(name, data, split_bytes=10):
        path = tmp_path / name
        path.write_bytes(data)
        ranges = split_warc(str(path), split_bytes)
        [fault] = [x for s, e in ranges for x in read_warc(str(path), s, e, Warc())]
        assert fault.locator == "" and fault.lost
        return fault.error

    assert refused("a.warc.gz", b"") == "empty_file"
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


@pytest.mark.parametrize("codec", CODECS)
def test_bounds(tmp_path, codec):
    config = Warc(max_document_bytes=100_000, extract=RESILIPARSE)
    bomb = http(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip\r\n")
    huge = record(http(b"<p>" + b"word " * 100_000))
    undeclared = record(http(BODY)) + bytes(5_000_000)
    parts = [page(0), record(bomb), page(1), huge, page(2), undeclared, page(3)]
    items, _ = read(write(tmp_path / "a.warc.gz", parts, codec), config)
    assert kinds(items) == ["ok", "bomb", "ok", "too_large", "ok", "ok", "not_a_record", "ok"]
    assert all(0 < len(x.head) <= 4096 for x in items if isinstance(x, Fault))
    plain, _ = read(write(tmp_path / "a.warc", parts[:5], None), config)
    assert kinds(plain) == kinds(items)[:5]
    deep = one(tmp_path, record(http(b"<div>" * 10_000)))
    assert kinds(deep) == ["too_deep"]


def test_split_inside_a_page_is_noted(tmp_path):
    inner = b"".join(page(i) for i in range(40))
    raw = record(http(b"<p>" + inner, "Content-Type: text/html\r\n"))
    path = write(tmp_path / "a.warc", [page(0), raw, page(1)], None)
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
    [fault] = read(str(shared_data / "web/commoncrawl-whirlwind.warc.wat.gz"))[0]
    assert fault.error == "wat_not_supported"


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


# --- kinds of records ---------------------------------------------------------------------------


def test_revisits_are_on_record(tmp_path):
    refers = "WARC-Refers-To-Target-URI: http://a.example/old\r\n"
    refers += "WARC-Refers-To-Date: 2023-01-01T00:00:00Z\r\n"
    [seen] = one(tmp_path, record(http(b""), "revisit", more=refers))
    assert (seen.rule, seen.text, seen.url) == ("revisit", "", "http://a.example/")
    assert seen.meta == {
        "refers_to": "http://a.example/old",
        "refers_to_date": "2023-01-01T00:00:00Z",
    }
    [bare] = one(tmp_path, record(b"", "revisit", content_type="text/plain"))
    assert bare.rule == "revisit"
    [with_payload] = one(tmp_path, record(http(BODY), "revisit"))
    assert with_payload.rule is None and with_payload.text.startswith(TEXT.strip())


def test_resources_are_pages_without_http(tmp_path):
    [saved] = one(tmp_path, record(BODY, "resource", content_type="text/html; charset=utf-8"))
    assert saved.rule is None and saved.text.startswith(TEXT.strip())
    [image] = one(tmp_path, record(b"\x89PNG\r\n\x1a\n", "resource", content_type="image/png"))
    assert image.rule == "not_text"
    # what a crawler writes about its work is none
    assert one(tmp_path, record(b"a log", "resource", "urn:x:log", content_type="text/plain")) == []


def test_truncated_payloads_are_used_and_noted(tmp_path):
    note, document = one(tmp_path, record(http(BODY[:-20]), more="WARC-Truncated: length\r\n"))
    assert (note.error, note.lost) == ("truncated_payload", False)
    assert document.text.startswith(TEXT.strip()) and document.meta["truncated"] == "length"
    packed = gzip.compress(BODY + b"<p>" + bytes(range(32, 127)) * 40)
    cut = http(packed[: len(packed) - 30], "Content-Encoding: gzip\r\n")
    items = one(tmp_path, record(cut, more="WARC-Truncated: time\r\n"))
    assert kinds(items) == ["http_encoding", "truncated_payload", "ok"]
    assert items[-1].text.startswith(TEXT.strip())
    segment = record(http(BODY), more="WARC-Segment-Number: 1\r\n")
    rest = record(b"the rest", "continuation")
    items, _ = read(write(tmp_path / "s.warc.gz", [segment, rest]))
    assert kinds(items) == ["truncated_payload", "ok"]
    assert items[-1].meta["truncated"] == "segment"


# --- ARC ----------------------------------------------------------------------------------------


def arc_record(
    body: bytes, url: str = "http://a.example/", length: int | None = None, version: int = 1
) -> bytes:
    n = len(body) if length is None else length
    middle = "" if version == 1 else "200 a1b2c3 - 123 x.arc.gz "
    return f"{url} 192.0.2.7 20080430204826 text/html {middle}{n}\n".encode() + body + b"\n"


ARC_HEAD = (
    b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 75\n1 1 InternetArchive\n"
    b"URL IP-address Archive-date Content-type Archive-length\n\n"
)


def arc_page(i: int, **more) -> bytes:
    html = f"<title>Page {i}</title><p>{TEXT}</p><p>{'word ' * (i % 90)}</p>"
    return arc_record(http(html.encode()), url=f"http://a.example/{i}", **more)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4", None])
def test_arc(tmp_path, codec, version):
    dns = arc_record(b"20080430204825\na.example. 1 IN A 192.0.2.7", url="dns:a.example")
    odd = arc_record(http(BODY), url="http://a.example/a b?c=d e", version=version)
    parts = [ARC_HEAD, dns, odd, *(arc_page(i, version=version) for i in range(60))]
    path = write(tmp_path / "a.arc", parts, codec)
    items, _ = read(path)
    assert kinds(items) == ["ok"] * 61
    assert (items[0].url, items[0].created) == (
        "http://a.example/a b?c=d e",
        "2008-04-30T20:48:26Z",
    )
    assert [x.meta["title"] for x in items[1:]] == [f"Page {i}" for i in range(60)]
    for split_bytes in (300, 3000):
        split, ranges = read(path, split_bytes=split_bytes)
        assert split == items and len(ranges) > 3


@pytest.mark.parametrize("codec", ["gzip", None])
def test_damaged_arc_records_cost_themselves(tmp_path, codec):
    parts = [ARC_HEAD, *(arc_page(i) for i in range(6))]
    parts[3] = arc_page(2, length=100)
    parts[5] = b"garbage\n"
    items, _ = read(write(tmp_path / "a.arc", parts, codec))
    assert kinds(items) == ["ok", "ok", "wrong_length", "ok", "not_a_record", "ok"]
    assert read(str(tmp_path / "a.arc"), split_bytes=200)[0] == items


def test_an_arc_and_its_warc_twin_give_the_same_pages(shared_data):
    pages = {}
    for kind in ("arc", "warc"):
        items, _ = read(str(shared_data / f"web/archive-it.{kind}.gz"))
        documents = [x for x in items if isinstance(x, Document)]
        pages[kind] = sorted(
            (d.url, d.created, d.rule or "", d.text, sorted(d.meta.items())) for d in documents
        )
        notes = [x.error for x in items if isinstance(x, Fault)]
        assert notes == ["wrong_charset"] * 4
    assert len(pages["arc"]) == 261 and pages["arc"] == pages["warc"]


@pytest.mark.slow
def test_a_large_warc_by_many_ranges_is_the_same_as_by_one(shared_data, tmp_path):
    """300 MB of real pages: the locators, texts and metadata, by a digest of each part's items."""
    pages = b"".join(p.read_bytes() for p in sorted(shared_data.glob("web/pages-*.warc.gz")))
    path = tmp_path / "big.warc.gz"
    path.write_bytes(pages * (300_000_000 // len(pages)))

    def digest(ranges) -> tuple[str, int]:
        sha, n = hashlib.sha256(), 0
        for start, end in ranges:
            for item in read_warc(str(path), start, end, Warc()):
                sha.update(repr(item).encode())
                n += 1
        return sha.hexdigest(), n

    one = digest(split_warc(str(path), 1 << 60))
    ranges = split_warc(str(path), 7_000_000)
    assert len(ranges) > 35 and one[1] > 11_000
    assert digest(ranges) == one


@pytest.mark.slow
@pytest.mark.ray
def test_a_warc_of_a_gibibyte_over_all_workers_is_the_same_as_from_one(shared_data, tmp_path):
    """1 GiB of real pages, each copy of them with URLs of its own: one part in one process, and
    parts of 16 MiB on every core of this machine."""
    pages = b"".join(
        gzip.decompress(p.read_bytes()) for p in sorted(shared_data.glob("web/pages-*.warc.gz"))
    )
    path = tmp_path / "big.warc"
    with path.open("wb") as file:
        for copy in range(1 << 30):
            if file.tell() >= 1 << 30:
                break
            mark = rb"\1copy-%d." % copy
            file.write(re.sub(rb"(WARC-Target-URI: https?://)", mark, pages))
    done = {}
    for where, split_bytes in (("off", 1 << 40), (None, 16 << 20)):
        table = {
            "name": "big",
            "split_bytes": split_bytes,
            "sources": {"web": {"format": "warc", "paths": [str(path)]}},
        }
        out = tmp_path / str(where)
        with connect(where) as cluster:
            manifest = run_pipeline(parse(table), str(out), cluster)
        rows = [
            tuple(row.values())
            for part in sorted(out.glob("documents/web/*.parquet"))
            for row in pq.read_table(part, columns=["id", "url", "text"]).to_pylist()
        ]
        n_parts = len(list(out.glob("documents/web/*.parquet")))
        digest = hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()
        done[where] = (manifest["corpus_digest"], digest, manifest["stages"]["ingest"]["web"])
        print(where, n_parts, len(rows), digest, manifest["corpus_digest"])
        assert len({url for _, url, _ in rows}) == len(rows) > 7000
        assert (n_parts == 1) == (where == "off")
    path.unlink()
    assert done["off"][:2] == done[None][:2]
    assert {k: v for k, v in done["off"][2].items() if k != "parts"} == {
        k: v for k, v in done[None][2].items() if k != "parts"
    }
