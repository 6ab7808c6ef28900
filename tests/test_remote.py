"""Web archives over http and s3, from servers that live as long as a test: whole and by ranges."""

import gzip
import http.server
import re
import threading
import urllib.parse

import pytest

from pipeline.build_config import ConfigError
from pipeline.config import parse
from pipeline.identity import input_identity
from pipeline.named_files import look_for_files, run_of, unfinished
from pipeline.sources.warc import Warc, read_warc, split_warc
from pipeline.stage_commands import documents_at
from pipeline.storage import expand, input_size, open_input

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nWords of page %d. " + b"word " * 300
DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


def shard(n: int) -> bytes:
    members = []
    for i in range(n):
        block = PAGE % i
        head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\n"
        head += b"Content-Length: %d\r\n\r\n" % len(block)
        members.append(gzip.compress(head + block + b"\r\n\r\n", 1, mtime=0))
    return b"".join(members)


FILES = {"bucket/web/a.warc.gz": shard(2000), "bucket/web/b.warc.gz": shard(3), "bucket/x": b""}
FILES |= {"bucket/done/manifest.json": b"{}", "bucket/done/_parts/ingest/a.json": b"{}"}
FILES |= {
    "bucket/done/documents/web/part-a.parquet": b"",
    "bucket/half/_parts/ingest/a.json": b"{}",
}
FILES |= {"bucket/half/documents/web/part-a.parquet": b""}


class Store(http.server.BaseHTTPRequestHandler):
    """GET and HEAD with ranges, and what S3 adds to list a bucket; `/whole/` ignores ranges."""

    protocol_version = "HTTP/1.1"
    requests: list[str] = []  # noqa: RUF012 - of the last test

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        key = urllib.parse.unquote(address.path).strip("/")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.requests.append(f"{self.command} {key} {self.headers.get('Range')}")
        if key.startswith("whole/"):
            key, wanted = key.removeprefix("whole/"), None
        if "list-type" in query:
            self.send(200, self.listing(key, query.get("prefix", "")))
        elif key == "bucket":
            self.send(200, b"")
        elif key not in FILES:
            self.send(404, b"")
        elif wanted:
            data = FILES[key]
            first = int(wanted[1])
            last = min(int(wanted[2] or len(data)), len(data) - 1)
            place = f"bytes {first}-{last}/{len(data)}"
            self.send(206, data[first : last + 1], ("Content-Range", place))
        else:
            self.send(200, FILES[key])

    def listing(self, bucket: str, prefix: str) -> bytes:
        names = [k.removeprefix(f"{bucket}/") for k in sorted(FILES)]
        found = "".join(
            f"<Contents><Key>{name}</Key><Size>{len(FILES[f'{bucket}/{name}'])}</Size>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in names
            if name.startswith(prefix)
        )
        n = found.count("<Key>")
        end = f"<IsTruncated>false</IsTruncated><KeyCount>{n}</KeyCount>"
        return f"<ListBucketResult><Name>{bucket}</Name>{end}{found}</ListBucketResult>".encode()

    def send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Last-Modified", DATE), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Store.requests.clear()
        for name, value in [
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "y"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]:
            monkeypatch.setenv(name, value)
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def texts(path: str, split_bytes: int) -> tuple[list[str], int]:
    ranges = split_warc(path, split_bytes)
    return [d.text for a, b in ranges for d in read_warc(path, a, b, Warc())], len(ranges)


EXPECTED = [(PAGE % i).split(b"\r\n\r\n")[1].decode() for i in range(2000)]


def test_http_with_ranges(server):
    path = f"http://{server}/bucket/web/a.warc.gz"
    assert input_size(path) == len(FILES["bucket/web/a.warc.gz"])
    assert texts(path, 1 << 40) == (EXPECTED, 1)
    assert texts(path, 60_000) == (EXPECTED, 6)
    assert len(Store.requests) < 60  # by blocks, not by records


def test_a_web_server_is_asked_for_files_only(server):
    """Not whether they are a run's, which takes a listing."""
    before = len(Store.requests)
    for path in (f"http://{server}/bucket/documents/web/a.jsonl", f"http://{server}/bucket/run"):
        assert documents_at(path, "input") == [("input", path)]
        assert (run_of(path), unfinished(path)) == (("", ""), "")
    assert len(Store.requests) == before


def test_http_without_ranges_is_refused(server):
    path = f"http://{server}/whole/bucket/web/a.warc.gz"
    with pytest.raises(ValueError, match=r"no byte ranges; give a downloaded copy"):
        split_warc(path, 1 << 40)
    with pytest.raises(OSError, match="404"):
        open_input(f"http://{server}/bucket/none.warc.gz")


def test_s3(server):
    query = f"?endpoint_override={server}&scheme=http&region=us-east-1"
    path = f"s3://bucket/web/a.warc.gz{query}"
    names = [("s3://bucket/web/a.warc.gz" + query, "a.warc.gz")]
    assert expand("s3://bucket/web/a*.warc.gz" + query) == names
    assert expand("s3://bucket/web/?.warc.gz" + query)[:1] == names
    assert expand(path) == names
    assert input_identity(path, {}) == input_identity(path, {})
    Store.requests.clear()
    assert texts(path, 1 << 40) == (EXPECTED, 1)
    assert texts(path, 60_000) == (EXPECTED, 6)
    assert len(Store.requests) < 40


def test_s3_by_the_environment(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
    assert [name for _, name in expand("s3://bucket/web/?.warc.gz")] == ["a.warc.gz", "b.warc.gz"]
    assert texts("s3://bucket/web/b.warc.gz", 1 << 40) == (EXPECTED[:3], 1)


def test_runs_on_an_object_store(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
    web = "s3://bucket/done/documents/web"
    assert documents_at("s3://bucket/done", "input") == [("web", web)]
    assert documents_at(web, "input") == [("web", web)]
    assert run_of(f"{web}/part-a.parquet") == ("s3://bucket/done", "web")
    with pytest.raises(ConfigError, match="s3://bucket/half: an unfinished run"):
        documents_at("s3://bucket/half", "input")
    table = {"format": "table", "paths": ["s3://bucket/half/documents/*/*.parquet"]}
    with pytest.raises(ConfigError, match="s3://bucket/half: an unfinished run"):
        look_for_files(parse({"name": "t", "sources": {"web": table}}))
