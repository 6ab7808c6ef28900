"""`make fuzz`: every reader and extractor on damaged input.

    python -m tests.fuzz [--cases N] [--seed N] [NAME ...]

Valid shards are damaged inside (before they are packed) or outside: bits, bytes, cuts, splices,
repeats, lengths that lie, and pieces that parsers stumble over. Whatever comes, no exception
escapes, every item is a Document or a Fault, reading ranges gives what reading the whole gives, and
memory stays bounded. A case is made of its name and number alone, so a failure is found again. To
add a format is to add its seeds to SEEDS.
"""

# ruff: noqa: E501 - seeds have long lines

import argparse
import bz2
import gzip
import importlib.util
import io
import json
import random
import re
import resource
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.extract.encoding import decode_html
from pipeline.extract.html import Extract, html_to_text
from pipeline.extract.latex import latex_to_text
from pipeline.extract.metadata import page_metadata
from pipeline.extract.notebook import notebook_text
from pipeline.extract.wikitext import wikitext_to_text
from pipeline.schema import Document, Fault
from pipeline.sources import FORMATS
from tests import test_dialogue, test_stackexchange, test_wikipedia

MEMORY = 1 << 30  # bytes that the peak may grow by, whatever was read
SPLIT = 700  # bytes of a range
NOTES = {"split_inside_record"}  # a reader says so where ranges may differ


class Seed(NamedTuple):
    """A valid shard: its name, what is in it, and how that is packed."""

    name: str
    data: bytes
    pack: Callable[[bytes], bytes] = bytes


# --- valid shards -------------------------------------------------------------------------------

WORDS = "Some words that make up a sentence of this page, and are long enough to be kept. "
HTML = (
    f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>T&eacute;</title>"
    f'<meta property="article:published_time" content="2024-05-01"></head><body><nav><a href=/>x</a>'
    f"</nav><h1>Head</h1><p>{WORDS * 3}</p><ul><li>one<li>two</ul><pre>a\n b</pre><table><tr><td>1"
    f'<td>2</table><p>naïve – {WORDS}<a rel=license href="https://creativecommons.org/licenses/by/4.0">'
).encode()
TEX = (
    r"\documentclass{article}\newcommand{\R}[1]{\mathbb{R}^{#1}}\begin{document}\title{T}\section{One}"
    r"Let $x \in \R{n}$. % comment" + "\n" + WORDS + r"\begin{theorem} a \end{theorem}\input{b}"
    r"\cite{x}\begin{table}a & b \\ c\end{table}\end{document}"
).encode()
WIKI = (
    "{{Infobox|a=b}}'''Oak''' is a [[tree|big tree]].<ref>x</ref>\n== Head ==\n* one\n{|\n|a||b\n|}\n"
    f"{WORDS * 3}{{{{nowrap|6 m}}}} [[File:A.jpg|thumb|x [[y]]]] <!-- no -->\n"
)


def http(body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{more}\r\n".encode() + body


def warc_record(kind: str, block: bytes, more: str = "") -> bytes:
    mime = "text/plain" if kind == "conversion" else "application/http"
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://a.example/\r\nContent-Type: {mime}"
    return f"{head}\r\n{more}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


WARC = b"".join(
    [
        warc_record("warcinfo", b"software: x\r\n"),
        warc_record("response", http(HTML)),
        warc_record("response", http(gzip.compress(HTML, mtime=0), "Content-Encoding: gzip\r\n")),
        warc_record("response", http(b"5\r\n<p>ab\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n")),
        warc_record("revisit", http(b""), "WARC-Refers-To-Date: 2020-01-01T00:00:00Z\r\n"),
        warc_record("conversion", WORDS.encode()),
        warc_record("response", http(HTML[:300]), "WARC-Truncated: length\r\n"),
    ]
)
ARC = b"".join(
    f"{url} 192.0.2.1 20080430204826 text/html {len(block)}\n".encode() + block + b"\n"
    for url, block in [
        ("filedesc://x.arc", b"1 1 InternetArchive\nURL IP-address Archive-date ...\n"),
        ("http://a.example/1", http(HTML)),
        ("dns:a.example", b"20080430204826\na.example A 192.0.2.1"),
        ("http://a.example/2", http(HTML)),
    ]
)


def by_record(compress: Callable[[bytes], bytes], start: bytes) -> Callable[[bytes], bytes]:
    """A member for each record, as archives are packed."""

    def pack(data: bytes) -> bytes:
        return b"".join(compress(part) for part in re.split(rb"(?=%s)" % start, data) if part)

    return pack


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def tarred(*names: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name in names:
                content = gz(data) if name.endswith(".gz") else data
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return out.getvalue()

    return pack


def zipped(files: dict[str, bytes], place: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in {**files, place: data}.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return out.getvalue()

    return pack


def written(write: Callable[[pa.Table, io.BytesIO], None]) -> bytes:
    rows = [{"text": f"{i} {WORDS}", "id": str(i), "meta": {"a": "b"}, "n": i} for i in range(50)]
    out = io.BytesIO()
    write(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def arrow(table: pa.Table, out: io.BytesIO) -> None:
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table, 10)


EPUB = {
    "mimetype": b"application/epub+zip",
    "META-INF/container.xml": b'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
    b'<rootfiles><rootfile full-path="b.opf" media-type="application/oebps-package+xml"/>'
    b"</rootfiles></container>",
    "b.opf": b'<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml"'
    b' media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>',
}
GUTENBERG = (
    "The Project Gutenberg EBook of X\n\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\nCHAPTER I\n\n"
    + (WORDS * 4 + "\n\n") * 5
    + "*** END OF THE PROJECT GUTENBERG EBOOK X ***\nlicence\n"
).encode()
SOURCE = (
    b"#!/usr/bin/env python\n# Copyright X. SPDX-License-Identifier: MIT\ndef f(x):\n  return 1\n"
)
NOTEBOOK = json.dumps(
    {
        "nbformat": 4,
        "metadata": {"kernelspec": {"language": "python"}},
        "cells": [
            {"cell_type": "markdown", "source": ["# Head\n", "words"]},
            {"cell_type": "code", "source": "print(1)", "outputs": [{"text": ["1\n"]}]},
        ],
    }
).encode()
ROWS = "".join(
    json.dumps({"text": f"{i} {WORDS}", "id": str(i)}) + "\n" for i in range(30)
).encode()
zstd = zstandard.ZstdCompressor(write_checksum=True).compress

SEEDS: dict[str, list[Seed]] = {
    "warc": [
        Seed("a.warc", WARC),
        Seed("a.warc.gz", WARC, by_record(gz, rb"WARC/1\.0\r\nWARC-Type")),
        Seed("a.warc.zst", WARC, by_record(zstd, rb"WARC/1\.0\r\nWARC-Type")),
        Seed("a.warc.lz4", WARC, by_record(lz4.frame.compress, rb"WARC/1\.0\r\nWARC-Type")),
        Seed("one.warc.gz", WARC, gz),
        Seed("a.arc", ARC),
        Seed("a.arc.gz", ARC, by_record(gz, rb"(?:filedesc|http|dns):\S+ 192")),
    ],
    "books": [
        Seed("a.txt", GUTENBERG),
        Seed("a.txt.gz", GUTENBERG, gz),
        Seed("a.html", HTML),
        Seed("a.epub", HTML, zipped(EPUB, "a.xhtml")),
        Seed("b.epub", EPUB["b.opf"], zipped({**EPUB, "a.xhtml": HTML}, "b.opf")),
    ],
    "arxiv": [
        Seed("a.tar", TEX, tarred("2401/2401.00001.gz", "2401/2401.00002.gz")),
        Seed("b.tar", tarred("main.tex", "b.tex")(TEX), tarred("2401/2401.00003.gz")),
    ],
    "code": [
        Seed("a.tar", SOURCE, tarred("r/a.py", "r/LICENSE", "r/b.c")),
        Seed("a.tar.gz", SOURCE, lambda data: gz(tarred("r/a.py", "r/README.md")(data))),
        Seed("a.zip", SOURCE, zipped({"r/LICENSE": b"MIT License"}, "r/a.py")),
        Seed("b.zip", NOTEBOOK, zipped({"r/a.py": SOURCE}, "r/b.ipynb")),
    ],
    "table": [
        Seed("a.jsonl", ROWS),
        Seed("a.jsonl.gz", ROWS, gz),
        Seed("a.jsonl.zst", ROWS, zstd),
        Seed(
            "a.csv", b"text,id\n" + b"".join(b'"some, %d\nwords",%d\n' % (i, i) for i in range(30))
        ),
        Seed("a.parquet", written(lambda t, out: pq.write_table(t, out, row_group_size=10))),
        Seed("a.arrow", written(arrow)),
    ],
    "wikipedia": [
        Seed("enwiki-pages-articles.xml", test_wikipedia.seed()),
        Seed("enwiki-pages-articles.xml.bz2", test_wikipedia.seed(), bz2.compress),
    ],
    "stackexchange": [
        Seed("Posts.xml", test_stackexchange.seed()),
        Seed("Posts.xml.gz", test_stackexchange.seed(), gz),
    ],
    "dialogue": [
        Seed("RC_2023-01", test_dialogue.seed()),
        Seed("RC_2023-01.zst", test_dialogue.seed(), zstd),
    ],
}


# --- extractors ---------------------------------------------------------------------------------


def html(engine: str) -> Callable[[bytes], object]:
    return lambda data: html_to_text(data.decode("utf-8", "replace"), Extract(engine=engine))


ENGINES = ["corpusmill", "resiliparse"]
if importlib.util.find_spec("trafilatura"):
    ENGINES.append("trafilatura")

# Each may refuse its input by a ValueError.
EXTRACTORS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    **{f"html-{engine}": (HTML, html(engine)) for engine in ENGINES},
    "encoding": (HTML, lambda data: decode_html(data, None).text.encode()),
    "metadata": (HTML, page_metadata),
    "latex": (TEX, lambda data: latex_to_text({"a.tex": data.decode("latin-1")}, 1 << 20)),
    "wikitext": (WIKI.encode(), lambda data: wikitext_to_text(data.decode("utf-8", "replace"))),
    "notebook": (NOTEBOOK, lambda data: notebook_text(data, "script", 1000)),
}


def extract(name: str, data: bytes) -> bool:
    try:
        return EXTRACTORS[name][1](data) is not None
    except ValueError:
        return False


# --- damage -------------------------------------------------------------------------------------

TOKENS = [
    *(b"\0", b"\xff", b"<", b"<!--", b"</", b"&", b"&#x110000;", b"]]>", b"<script>", b"<p><b>"),
    *(b"{", b"}", b"{{", b"[[", b"\\", b"$", b"\\begin{x}", b"%", b'"', b"\\ud800", b"\r\n\r\n"),
    *(b"WARC/1.0\r\n", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PK\x03\x04"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x1b$B", b"99999999999999999999", b"-1", b"1e999", b"NaN"),
    *(b"ustar", b"../", b"\xed\xa0\x80", "锟斤拷".encode(), "\U0001f600".encode()),
]


def damage(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        n = len(out)
        at = rng.randrange(n + 1)
        kind = rng.randrange(9)
        if kind == 0 and n:
            out[at % n] ^= 1 << rng.randrange(8)
        elif kind == 1 and n:
            out[at % n] = rng.randrange(256)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.choice((1, 4, 40, 400))]
        elif kind == 4:
            other = rng.randrange(n + 1)
            out[at:at] = out[other : other + rng.choice((4, 40, 400))]
        elif kind == 5:
            out[at:at] = out[at : at + rng.choice((1, 10, 100))] * rng.choice((3, 50))
        elif kind == 6:
            out[at:at] = rng.choice(TOKENS) * rng.choice((1, 1, 3, 200))
        elif kind == 7:  # a number in the text, that says how long something is
            numbers = list(re.finditer(rb"\d+", out))
            if numbers:
                number = rng.choice(numbers)
                value = rng.choice((b"0", b"1", b"-5", b"99999", b"4294967295", b"9" * 30))
                out[number.start() : number.end()] = value
        else:  # a number in binary
            value = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\1\0"))
            out[at : at + 4] = value
    return bytes(out)


# --- one case -----------------------------------------------------------------------------------


def damaged(seed: Seed, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return seed.pack(damage(seed.data, rng))
    return damage(seed.pack(seed.data), rng)


def read(name: str, path: Path, split_bytes: int) -> list[Document | Fault]:
    reader = FORMATS[name]
    items: list[Document | Fault] = []
    for start, end in reader.split(str(path), split_bytes):
        items += reader.read(str(path), start, end, reader.config())
    return items


def check_shard(name: str, path: Path) -> list[Document | Fault]:
    whole = read(name, path, 1 << 40)
    for item in whole:
        assert isinstance(item, Document | Fault), item
        if isinstance(item, Fault):
            item.message.encode()
            assert item.error and len(item.head) <= 4096, item
    split = read(name, path, SPLIT)
    faults = [item for item in (*whole, *split) if isinstance(item, Fault)]
    # "" or ~ at the end: the rest of a range is lost, and of a shorter one that is less
    if any(fault.locator == "" or fault.locator.endswith("~") for fault in faults):
        kept = {repr(item) for item in split}
        assert [x for x in whole if isinstance(x, Document) and repr(x) not in kept] == []
    elif not NOTES & {fault.error for fault in faults}:
        assert _sorted(split) == _sorted(whole)
    return whole


def _sorted(items: list[Document | Fault]) -> list[str]:
    return sorted(repr(item) for item in items)


def fuzz(name: str, cases: int, first: int = 0) -> int:
    """Runs cases of a format or an extractor; returns how many of them gave a document or a text.
    Raises AssertionError with the case's number and file."""
    n_read = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        for case in range(first, first + cases):
            rng = random.Random(f"{name}/{case}")
            started = time.perf_counter()
            place = Path(folder)
            try:
                if name in EXTRACTORS:
                    place = Path(folder, "input")
                    place.write_bytes(damage(EXTRACTORS[name][0], rng))
                    n_read += extract(name, place.read_bytes())
                else:
                    seed = rng.choice(SEEDS[name])
                    place = Path(folder, seed.name)
                    place.write_bytes(damaged(seed, rng))
                    items = check_shard(name, place)
                    n_read += any(isinstance(item, Document) for item in items)
            except Exception as error:
                kept = Path(tempfile.gettempdir(), f"fuzz-{name}-{case}-{place.name}")
                kept.write_bytes(place.read_bytes())
                message = (
                    f"{name} case {case} ({kept}): {type(error).__name__}: {str(error)[:1000]}"
                )
                raise AssertionError(message) from error
            slowest = max(slowest, (time.perf_counter() - started, case))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(
        f"{name:<14}{cases:>7} cases {n_read:>7} read, memory +{grown >> 20} MiB, "
        f"slowest {slowest[1]}: {slowest[0]:.2f} s"
    )
    assert grown < MEMORY, f"{name}: memory grew by {grown >> 20} MiB"
    return n_read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=[*SEEDS, *EXTRACTORS])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    args = parser.parse_args()
    for name in args.names:
        fuzz(name, args.cases, args.first)


if __name__ == "__main__":
    main()
