"""pipeline/extract/paragraphs.py: lines joined, and lines kept."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.paragraphs import unwrap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one line", "one line"),
        ("a\nb", "a b"),
        ("x" * 300 + "\n" + "y" * 300, "x" * 300 + "\n" + "y" * 300),  # a paragraph a line already
        (
            "A long line of prose that goes on and on and on, and\nis wrapped here.\n"
            "   A second paragraph, set apart by its\nindent only, as some texts "
            "have it, and\nso on.",
            "A long line of prose that goes on and on and on, and is wrapped here.\n\n"
            "A second paragraph, set apart by its indent only, as some texts have it, and so on.",
        ),
        (
            "Prose that is wrapped at about seventy columns, as all of them were,\nand ends.\n\n"
            "   Tyger Tyger, burning bright,\n   In the forests of the night;\n\n"
            "Mr. A. B.\nLondon\n\n  KETOS,    GREEK.\n  CETUS,    LATIN.\n",
            "Prose that is wrapped at about seventy columns, as all of them were, and ends.\n\n"
            "   Tyger Tyger, burning bright,\n   In the forests of the night;\n\n"
            "Mr. A. B.\nLondon\n\n  KETOS,    GREEK.\n  CETUS,    LATIN.",
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
    assert len(unwrap(text)) <= 2 * len(text)


def test_mutations():
    random.seed(1)
    seed = "A line of some prose that is wrapped,\nand goes on.\n\n  Verse\n  Verse\n\n" * 20
    for _ in range(200):
        at, stop = sorted(random.choices(range(len(seed)), k=2))
        text = seed[:at] + random.choice(["\n", " " * 50, "x" * 200, "\t\n"]) + seed[stop:]
        assert unwrap(text).split() == text.split()


@pytest.mark.parametrize("piece", ["\n", " ", " \n", "a\n", "a\n\n", "\n" + " " * 100])
def test_long_hostile_text_takes_linear_work(piece):
    assert unwrap("x\n" + piece * 200_000 + "y").startswith("x")
