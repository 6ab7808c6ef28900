"""pipeline/sources/books.py: what Gutenberg wraps a book in, and joining its lines."""

import gzip
import itertools
import json
import random
import re

import pytest

from pipeline.schema import Document, Fault
from pipeline.sources.books import Books, read_books, split_books
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


def test_lines_kept_where_asked_for(tmp_path):
    [document] = read(tmp_path, "b.txt", PROSE.encode(), Books(unwrap=False))
    assert document.text == PROSE.strip()


FRENCH = "Il était une fois, à l’école, un élève très âgé; où êtes-vous, François? " * 9


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("Unicode UTF-8", "utf-8"),
        ("ISO-8859-1", "cp1252"),
        ("ISO Latin-1", "cp1252"),
        ("ASCII", "cp1252"),  # wrong
        ("ISO-646-US (US-ASCII)", "mac_roman"),  # wrong
        ("MacRoman", "mac_roman"),
        ("UTF-8", "cp1252"),  # wrong
        ("no such thing", "cp1252"),
        (None, "utf-8-sig"),
        (None, "cp1252"),
        (None, "mac_roman"),
    ],
)
def test_encodings(tmp_path, label, codec):
    header = f"Character set encoding: {label}\n\n" if label else ""
    start = "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n"
    *notes, document = read(tmp_path, "a.txt", (header + start + FRENCH).encode(codec))
    assert document.text == " ".join(FRENCH.split())
    assert all(not note.lost for note in notes)


def test_bytes_that_are_no_text(tmp_path):
    *notes, document = read(tmp_path, "a.txt", b"bad \xff\xfe\x81 \xc3\x28 byte" * 20)
    assert "byte" in document.text and not any(note.lost for note in notes)
    [document] = read(tmp_path, "a.txt", b"The end.\r\n\x1a\x1a")
    assert document.text == "The end."


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
    assert document.meta == {
        "title": "A Book",
        "author": "An Author",
        "language": "en",
        "chapters": '[["One",0]]',
    }
    assert document.license == "CC0"
    assert read(tmp_path, "no-ending", epub().getvalue()) == [document]
    html = "<title>T</title><meta charset=utf-8><h1>Head</h1><p>größer</p>"
    [document] = read(tmp_path, "a.html", html.encode())
    meta = {"title": "T", "charset": "utf-8", "chapters": '[["Head",0]]'}
    assert (document.text, document.meta) == ("Head\n\ngrößer", meta)


def test_gutenbergs_html(tmp_path):
    html = """<html><head><title>The Project Gutenberg eBook of X, by Y</title></head><body>
<section id="pg-header"><h2>The Project Gutenberg eBook of X</h2><p>Title: X</p><p>Author: Y</p>
<p>*** START OF THE PROJECT GUTENBERG EBOOK X ***</p></section><p>Produced by A</p><h1>X</h1>
<h2>CHAPTER I</h2><p>First words.</p><h2>CHAPTER II<br/>Two</h2><p>Last words.</p><section>
<p>*** END OF THE PROJECT GUTENBERG EBOOK X ***</p><h2>THE FULL LICENSE</h2>
</section></body></html>"""
    [document] = read(tmp_path, "a.html", html.encode())
    assert document.text == "X\n\nCHAPTER I\n\nFirst words.\n\nCHAPTER II\nTwo\n\nLast words."
    assert json.loads(document.meta["chapters"]) == [
        ["X", 0],
        ["CHAPTER I", 3],
        ["CHAPTER II Two", 28],
    ]
    assert (document.meta["title"], document.meta["author"]) == ("X", "Y")


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
    if pattern.startswith("sherlock"):
        assert len(list((shared_data / "books").glob("sherlock*.epub"))) == 1
    assert len(texts) == n
    for a, b in itertools.combinations(texts, 2):
        assert len(a & b) / len(a | b) > least


# File -> (first paragraph, its last words, how many chapters, the first and the last).
REAL = {
    "american-adventures_18304-8.latin1.txt.gz": (
        "[Illustration: Charleston is the last stronghold",
        "to eighty years of age]",
        61,
        "FOREWORD",
        "CHAPTER LX FINALE",
    ),
    "angler_9198-8.latin1.txt.gz": (
        "THE COMPLETE ANGLER;",
        "FINIS.",
        13,
        "PREFACE.",
        "CHAP. XIII.",
    ),
    "devils-dictionary_972.txt.gz": (
        "THE DEVIL'S DICTIONARY",
        "sheds its horn every two years.",
        1,
        "AUTHOR'S PREFACE",
        "AUTHOR'S PREFACE",
    ),
    "entre-nous_44157-0.fr.txt.gz": (
        "ENTRE NOUS.",
        "[Vignette: IK BLIJF WERKEN]",
        81,
        "PRÉFACE.",
        "XL.",
    ),
    "frankenstein_84-0.txt.gz": (
        "Frankenstein;",
        "lost in darkness and distance.",
        28,
        "Letter 1 To Mrs. Saville, England.",
        "Chapter 24",
    ),
    "frankenstein_frank10a.txt.gz": (
        "Frankenstein, or, the Modern Prometheus",
        "lost in darkness and distance.",
        28,
        "Letter 1 To Mrs. Saville, England",
        "Chapter 24",
    ),
    "jack-sheppard_16215-8.latin1.txt.gz": (
        "---------------------------------",
        "THE END.",
        70,
        "EPOCH THE FIRST.",
        "CHAPTER XXXII. The Closing Scene.",
    ),
    "moby-dick_2701-0.txt.gz": (
        "MOBY-DICK;",
        "only found another orphan.",
        138,
        "CHAPTER 1. Loomings.",
        "Epilogue",
    ),
    "moby-dick_moby10b.txt.gz": (
        "MOBY DICK; OR THE WHALE",
        "only found another orphan.",
        138,
        "CHAPTER 1 Loomings.",
        "Epilogue",
    ),
    "pride-and-prejudice_1342-0.txt.gz": (
        "PRIDE AND PREJUDICE",
        "the means of uniting them.",
        61,
        "Chapter 1",
        "Chapter 61",
    ),
    "sherlock_1661.txt.gz": (
        "THE ADVENTURES OF SHERLOCK HOLMES",
        "met with considerable success.",
        15,
        "ADVENTURE I. A SCANDAL IN BOHEMIA",
        "XII. THE ADVENTURE OF THE COPPER BEECHES",
    ),
}


def test_every_real_book(shared_data):
    paths = sorted((shared_data / "books").glob("*.txt.gz"))
    assert len(paths) == 14 and REAL.keys() <= {path.name for path in paths}
    for path in paths:
        [document] = read_books(str(path), 0, path.stat().st_size, Books())
        text = document.text
        assert len(text) > 100_000 and "gutenberg" not in text.lower(), path.name
        longest = max(map(len, text.split("\n")))
        assert longest > 500 and "Produced by" not in text[:2000], path.name
        chapters = json.loads(document.meta["chapters"])
        if path.name in REAL:
            first, last, n, start, stop = REAL[path.name]
            assert text.startswith(first) and text.endswith(last), path.name
            assert (len(chapters), chapters[0][0], chapters[-1][0]) == (n, start, stop), path.name
        for title, offset in chapters:
            assert " ".join(text[offset : offset + 400].split()).startswith(title)


def test_mutations(tmp_path):
    random.seed(2)
    seeds = [
        ("a.txt", MODERN.encode()),
        ("a.txt.gz", gzip.compress(OLD.encode())),
        ("a.html", b"<title>T</title><h1>Head</h1><p>text</p>"),
        ("a.epub", epub().getvalue()),
    ]
    for _ in range(200):
        name, seed = random.choice(seeds)
        data = bytearray(seed)
        for _ in range(random.randint(1, 10)):
            data[random.randrange(len(data))] = random.randrange(256)
        items = read(tmp_path, name, bytes(data[: random.randrange(len(data))]))
        assert len([x for x in items if isinstance(x, Document) or x.lost]) >= 1
