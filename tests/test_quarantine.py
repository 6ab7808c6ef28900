"""A record that killed its worker is skipped by every reader, and only that one."""

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import quarantine
from pipeline.schema import Document, Fault
from pipeline.sources import FORMATS


def warc(path):
    with path.open("wb") as file:
        for i in range(3):
            body = b"<html><body><p>" + b"Some words of page %d. " % i * 20 + b"</p></body></html>"
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
            head = f"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: {len(http)}\r\n"
            head += f"WARC-Target-URI: http://e.org/{i}\r\nWARC-Record-ID: <urn:x:{i}>\r\n"
            head += "Content-Type: application/http; msgtype=response\r\n"
            head += "WARC-Date: 2026-01-01T00:00:00Z\r\n\r\n"
            file.write(gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0))


def jsonl(path):
    path.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(3)))


def parquet(path):
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(3)]}), path)


def tar(path, name, data):
    with tarfile.open(path, "w") as archive:
        for i in range(3):
            info = tarfile.TarInfo(name.format(i))
            info.size = len(data(i))
            archive.addfile(info, io.BytesIO(data(i)))


def code(path):
    tar(path, "repo/file{}.py", lambda i: b"print(%d)\n" % i)


def arxiv(path):
    tex = rb"\documentclass{article}\begin{document}\section{One} Words of paper %d.\end{document}"
    tar(path, "2401/2401.0000{}.gz", lambda i: gzip.compress(tex % i, mtime=0))


CASES = [
    ("warc", "w.warc.gz", warc),
    ("table", "t.jsonl", jsonl),
    ("table", "t.parquet", parquet),
    ("code", "c.tar", code),
    ("arxiv", "a.tar", arxiv),
]


@pytest.mark.parametrize(("format", "name", "make"), CASES)
def test_only_the_deadly_record_is_skipped(tmp_path, format, name, make):
    make(tmp_path / name)
    path = str(tmp_path / name)
    config = FORMATS[format].config()
    everything = list(FORMATS[format].read(path, 0, (tmp_path / name).stat().st_size, config))
    assert [type(item) for item in everything] == [Document] * 3
    quarantine.begin("", [everything[1].locator])
    try:
        found = list(FORMATS[format].read(path, 0, (tmp_path / name).stat().st_size, config))
    finally:
        quarantine.begin("", [])
    assert [found[0], found[2]] == [everything[0], everything[2]]
    assert isinstance(found[1], Fault)
    assert (found[1].error, found[1].locator) == ("killed_worker", everything[1].locator)


@pytest.mark.parametrize(("format", "name", "make"), CASES)
def test_a_careful_reader_announces_each_record_before_it_reads_it(tmp_path, format, name, make):
    make(tmp_path / name)
    size = (tmp_path / name).stat().st_size
    journal = tmp_path / "journal"
    quarantine.begin(str(journal), [])
    try:
        reader = FORMATS[format].read(str(tmp_path / name), 0, size, FORMATS[format].config())
        announced = [(item.locator, journal.read_text()) for item in reader]
    finally:
        quarantine.begin("", [])
    assert len(announced) == 3
    assert all(locator == written for locator, written in announced)


def test_a_deadly_book_is_skipped(tmp_path):
    (tmp_path / "b.txt").write_text("A book.\n" * 100)
    quarantine.begin("", ["0"])
    try:
        [item] = FORMATS["books"].read(str(tmp_path / "b.txt"), 0, 1000, FORMATS["books"].config())
    finally:
        quarantine.begin("", [])
    assert isinstance(item, Fault) and item.error == "killed_worker"
