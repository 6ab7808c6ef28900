"""pipeline/sources/books.py: what Gutenberg wraps a book in, and joining its lines."""

import gzip
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.schema import Document, Fault
from pipeline.sources.books import Books, read_books, split_books, strip_gutenberg, unwrap
from tests.test_epub import book as epub

PROSE = """\
It was the best of times, it was the worst of times, it was the age of
wisdom, it was the age of _foolishness_, it was the epoch of belief, it
was the epoch of incredulity.  It was the season of Light.

"Indeed?" said he.

   Tyger Tyger, burning bright,
   In the forests of the night;

There were a king with a large jaw and a queen with a plain face, on the
throne of England.
"""
JOINED = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age "
    "of foolishness, it was the epoch of belief, it was the epoch of incredulity. It was the "
    'season of Light.\n\n"Indeed?" said he.\n\n   Tyger Tyger, burning bright,\n   In the '
    "forests of the night;\n\nThere were a king with a large jaw and a queen with a plain face, "
    "on the throne of England."
)
MODERN = f"""\
The Project Gutenberg EBook of Two Cities, by Charles Dickens

This eBook is for the use of anyone anywhere at no cost.

Title: Two Cities
       A Tale

Author: Charles Dickens

*** START OF THIS PROJECT GUTENBERG EBOOK TWO
CITIES ***

Produced by Judith Boss and the Online Distributed
Proofreading Team

Transcriber's Note: Obvious errors were corrected.

Words with _ (underscore) on either side were in italics.

{PROSE}
[Illustration]

End of the Project Gutenberg EBook of Two Cities, by Charles Dickens

*** END OF THIS PROJECT GUTENBERG EBOOK TWO CITIES ***

***** This file should be named 98.txt *****
*** START: FULL LICENSE ***
**The Legal Small Print**
*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*
"""
OLD = f"""\
**The Project Gutenberg Etext of Two Cities, by Charles Dickens**

***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Why is this "Small Print!" statement here?  You know: lawyers.
*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

This etext was prepared by Daniel Lazarus and Jonesey

{PROSE}
End of this Project Gutenberg Etext of Two Cities
"""


def read(tmp_path, name, data, config=None):
    path = tmp_path / name
    path.write_bytes(data)
    [(start, end)] = split_books(str(path), 10)
    return list(read_books(str(path), start, end, config or Books()))


@pytest.mark.parametrize(
    "wrapped", [MODERN, OLD, MODERN.replace("\n", "\r\n"), PROSE.replace("_", "")]
)
@pytest.mark.parametrize("gz", [True, False])
def test_a_book(tmp_path, wrapped, gz):
    data = wrapped.encode()
    [document] = read(tmp_path, "b.txt" + ".gz" * gz, gzip.compress(data) if gz else data)
    assert document.text == JOINED
    assert document.locator == "0" and document.rule is None
    if wrapped is MODERN:
        assert document.meta == {
            "title": "Two Cities A Tale",
            "author": "Charles Dickens",
            "charset": "utf-8",
        }
        assert document.license == "Project Gutenberg, public domain in the USA"
    if wrapped is OLD:
        assert (
            document.meta["title"] == "Two Cities" and document.meta["author"] == "Charles Dickens"
        )


def test_a_book_that_only_speaks_of_gutenberg_is_left_alone():
    text = "He read a Project Gutenberg EBook.\n\nProduced by magic, it was.\n"
    assert strip_gutenberg(text) == (text, {})


def test_lines_kept_where_asked_for(tmp_path):
    [document] = read(tmp_path, "b.txt", PROSE.encode(), Books(unwrap=False))
    assert document.text == PROSE.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one line", "one line"),
        ("a\r\nb".replace("\r", ""), "a b"),
        ("x" * 300 + "\n" + "y" * 300, "x" * 300 + "\n" + "y" * 300),  # a paragraph a line already
        (
            "A long line of prose that goes on and on and on, and\nis wrapped here.\n"
            "   A second paragraph, set apart by its\nindent only, as some texts "
            "have it, and\nso on.",
            "A long line of prose that goes on and on and on, and is wrapped here.\n\n"
            "A second paragraph, set apart by its indent only, as some texts have it, and so on.",
        ),
        ("日本語の文章\n続き", "日本語の文章 続き"),
    ],
)
def test_unwrap(text, expected):
    assert unwrap(text) == expected


@given(st.text(alphabet="ab \n\t_é日", max_size=300))
def test_unwrap_loses_no_word(text):
    assert unwrap(text).split() == text.split()
    assert unwrap(unwrap(text)).split() == text.split()


def test_encodings(tmp_path):
    [document] = read(tmp_path, "a.txt", "caf\xe9 “quoted”".encode("cp1252"))
    assert (document.text, document.meta["charset"]) == ("café “quoted”", "cp1252")
    [document] = read(tmp_path, "a.txt", b"\xef\xbb\xbfcaf\xc3\xa9")
    assert (document.text, document.meta["charset"]) == ("café", "utf-8")
    fault, document = read(tmp_path, "a.txt", b"bad \x81 \xe9 byte")
    assert (fault.error, fault.lost) == (
        "bad_bytes",
        False,
    ) and document.text == "bad \ufffd é byte"


def test_bad_files(tmp_path):
    def fault(name, data, config=None):
        [item] = read(tmp_path, name, data, config)
        assert isinstance(item, Fault) and item.lost and item.locator == "0"
        return item.error

    assert fault("a.txt", b"") == "empty_file"
    assert fault("a.txt", b"a\0b") == "nul_bytes"
    assert fault("a.txt", b"a" * 101, Books(max_document_bytes=100)) == "too_large"
    packed = gzip.compress(PROSE.encode() * 99)
    assert fault("a.txt.gz", packed[:-9]) == "truncated_gzip"
    assert fault("a.txt.gz", packed[:50] + b"xxxx" + packed[54:]) == "truncated_gzip"
    assert (
        fault("a.txt.gz", gzip.compress(bytes(60_000_000)), Books(max_document_bytes=1 << 30))
        == "bomb"
    )
    assert fault("a.epub", b"PK no") == "bad_zip"
    [document] = read(tmp_path, "a.txt", b" \n \n")
    assert document.rule == "no_text"


def test_epub_and_html(tmp_path):
    [document] = read(tmp_path, "a.epub", epub().getvalue())
    assert document.text.startswith("One\n\nFirst para goes")
    assert document.meta == {"title": "A Book", "author": "An Author", "language": "en"}
    assert document.license == "CC0"
    html = "<title>T</title><meta charset=utf-8><h1>Head</h1><p>größer</p>"
    [document] = read(tmp_path, "a.html", html.encode())
    assert (document.text, document.meta) == ("Head\n\ngrößer", {"title": "T", "charset": "utf-8"})


def shingles(text):
    words = re.findall(r"[^\W_]+", text.casefold())
    return set(zip(*(words[i:] for i in range(5)), strict=False))


@pytest.mark.parametrize(
    ("pattern", "n", "least"),
    [("frankenstein*", 4, 0.97), ("moby-dick*", 2, 0.985), ("sherlock*", 3, 0.97)],
)
def test_editions_of_one_book_are_alike(shared_data, pattern, n, least):
    texts = []
    for path in sorted((shared_data / "books").glob(pattern)):
        [document] = read_books(str(path), 0, path.stat().st_size, Books())
        assert isinstance(document, Document) and document.meta["title"] and document.meta["author"]
        assert not re.search(r"gutenberg|\betext|\bebook", document.text, re.I)
        texts.append(shingles(document.text))
    assert len(texts) == n
    for a, b in itertools.combinations(texts, 2):
        assert len(a & b) / len(a | b) > least


def test_every_real_book(shared_data):
    paths = sorted((shared_data / "books").glob("*.txt.gz"))
    assert len(paths) == 14
    for path in paths:
        [document] = read_books(str(path), 0, path.stat().st_size, Books())
        assert len(document.text) > 100_000 and "gutenberg" not in document.text.lower(), path.name
        longest = max(map(len, document.text.split("\n")))
        assert longest > 500 and "Produced by" not in document.text[:2000], path.name
