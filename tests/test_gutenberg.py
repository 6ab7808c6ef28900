"""pipeline/extract/gutenberg.py: headers and licences of every age, in several languages."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.gutenberg import COPYRIGHTED, LICENSE, strip_gutenberg

BOOK = "CHAPTER I\n\nIt was a dark night, and a _very_ dark one.\n\nIt went on."
CLEAN = BOOK.replace("_", "")
SMALL = "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nLawyers.\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # since 2001
            "The Project Gutenberg EBook of X, by Y\n\nTitle: X\n\n"
            "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n\nProduced by A and the\n"
            "Team at pgdp\n",
            "End of the Project Gutenberg EBook of X, by Y\n\n*** END OF THIS PROJECT GUTENBERG "
            "EBOOK X ***\n\n***** This file should be named x.txt *****\n",
        ),
        (
            "***START OF THE PROJECT GUTENBERG EBOOK, X***\n\nE-text prepared by A\n",
            "***END OF THE PROJECT GUTENBERG EBOOK, X***\n",
        ),
        (  # 1993
            "**The Project Gutenberg Etext of X, by Y**\n"
            + SMALL
            + "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n"
            "\nThis etext was prepared by A <a@b.c>\n",
            "End of this Project Gutenberg Etext of X, by Y\n",
        ),
        (
            SMALL + "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.10.04.01*END*\n",
            "End of Project Gutenberg's X\n",
        ),
        (  # 1991, no line that ends the header
            "The Project Gutenberg Etext of X\n\nSend your donations to Illinois.\n\n"
            "This etext is in the public domain\nas of now.\n",
            "End of Project Gutenberg Etext X\n",
        ),
        (  # German
            "The Project Gutenberg EBook of X\n\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n"
            "Produced by A\n\nAnmerkungen zur Transkription: Der Text folgt der Ausgabe.\n",
            "Ende dieses Projekt Gutenberg Etextes X, von Y\n",
        ),
        (  # French
            "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n\nProduit par A\n\n  Au lecteur.\n\n"
            "  Le texte en italiques est indiqué comme\n  _italiques_, le gras comme =gras=.\n",
            "Note sur la transcription: rien.\n\nFin de Project Gutenberg's X, par Y\n",
        ),
        (
            "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n",
            "       *       *       *\n\n"
            "Transcriber's Notes:\n\n  Page 1: changed a to b\n\nFine del Project Gutenberg X\n",
        ),
    ],
)
def test_wrappings(before, after):
    text, meta = strip_gutenberg(f"{before}\n\n{BOOK}\n\n\n{after}")
    assert text.strip() == CLEAN
    assert meta["license"] == LICENSE


def test_metadata():
    header = (
        "The Project Gutenberg EBook of X\n\nTitle: X\n       A Tale\n\nAuthor: Y Z\n\n"
        "Translator: T\n\nRelease Date: May 3, 2006 [EBook #18304]\n\nLanguage: French\n\n"
        "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n"
    )
    assert strip_gutenberg(header + BOOK)[1] == {
        "title": "X A Tale",
        "author": "Y Z",
        "translator": "T",
        "release_date": "2006-05-03",
        "ebook_number": "18304",
        "language": "French",
        "license": LICENSE,
    }
    old = (
        "**The Project Gutenberg Etext of Two Cities, by Charles Dickens**\n\nOctober, 1994 "
        "[Etext #98]\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n"
    )
    assert strip_gutenberg(old + BOOK)[1] == {
        "title": "Two Cities",
        "author": "Charles Dickens",
        "release_date": "1994-10",
        "ebook_number": "98",
        "license": LICENSE,
    }
    theirs = "*** START OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK X ***\n"
    assert strip_gutenberg(theirs + BOOK)[1] == {"license": COPYRIGHTED}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "He read a Project Gutenberg EBook.\n\nProduced by magic, it was.\n",
        "Produced by hand, _not_ by machine.\n\nThe end of the Project.",
        "A = b = c, and =this= stays\n",
    ],
)
def test_other_texts_stay(text):
    assert strip_gutenberg(text) == (text, {})


def test_a_collection_is_not_cut_at_its_first_end():
    parts = "\n\nEnd of Project Gutenberg Etext of Part One\n\n" + "word " * 2000
    text, _ = strip_gutenberg(
        "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n"
        + BOOK
        + parts
        + "\n\nEnd of the Project "
        "Gutenberg EBook of X\n\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\nlicence"
    )
    assert text.rstrip().endswith("word word") and "licence" not in text


LINES = [
    "*** START OF THIS PROJECT GUTENBERG EBOOK X ***",
    "End of Project Gutenberg's X",
    "Produced by A",
    "Transcriber's Note: x",
    "_a_ =b= [Illustration]",
    "",
    "  ",
    "Title: X",
    "* * * *",
    "Prose.",
    "The Project Gutenberg Etext of X, by Y",
    "*END*THE SMALL PRINT! x",
]


@given(st.lists(st.sampled_from(LINES), max_size=40))
def test_only_ever_takes_away(lines):
    text = "\n".join(lines)
    book, meta = strip_gutenberg(text)
    assert len(book) <= len(text) + 2 * len(lines)
    assert all(isinstance(value, str) and value for value in meta.values())


def test_mutations():
    random.seed(3)
    seed = "\n".join(LINES * 3)
    for _ in range(300):
        at, stop = sorted(random.choices(range(len(seed)), k=2))
        book, _ = strip_gutenberg(seed[:at] + random.choice(["*", "_", "\n", "é\0"]) + seed[stop:])
        assert len(book) <= 2 * len(seed)


@pytest.mark.parametrize(
    "piece",
    [
        "\n",
        " ",
        "*",
        "* ",
        "_a ",
        "=a ",
        "*** START OF THE PROJECT GUTENBERG ",
        "Title: \n ",
        "[Illustration]",
        "\n \n",
        "***\n",
        "End of Project Gutenberg\n",
    ],
)
def test_long_hostile_text_takes_linear_work(piece):
    head = "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n"
    assert strip_gutenberg(head + piece * 300_000) is not None
