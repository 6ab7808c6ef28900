"""Valid shards of every format, for tests/fuzz.py to damage."""

# ruff: noqa: E501 - seeds have long lines

import bz2
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests import test_dialogue, test_stackexchange, test_wikipedia


class Seed(NamedTuple):
    """A valid shard: its name, what is in it, and how that is packed."""

    name: str
    data: bytes
    pack: Callable[[bytes], bytes] = bytes


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
