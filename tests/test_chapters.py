"""pipeline/extract/chapters.py: headings of plain texts, and marks that went through HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.chapters import as_json, find_chapters, mark, mark_headings, take_marks

PROSE = "It was so, and then it was otherwise, as things are."


def titles(*paragraphs):
    text = "\n\n".join(paragraphs)
    found = find_chapters(text)
    for title, offset in found:
        assert " ".join(text[offset : offset + 500].split()).startswith(title)
    return [title for title, _ in found]


@pytest.mark.parametrize(
    "heading",
    [
        "CHAPTER I.",
        "CHAPTER 12",
        "Chapter XIV. The Duel",
        "BOOK II",
        "Book the Second",
        "ACT I",
        "Scene 3.",
        "Letter 4",
        "STAVE ONE",
        "PART THE FIRST",
        "Chapter Twenty-One",
        "PREFACE.",
        "Chapitre premier",
        "Kapitel 3",
        "Erstes Kapitel",
        "Capítulo IV",
        "VOLUME THE THIRD",
        "EPILOGUE",
        "Hoofdstuk 2. De reis",
        "Глава 1",
        "CHAP. II.",
    ],
)
def test_headings(heading):
    assert titles("A TITLE", heading, PROSE) == [heading]


@pytest.mark.parametrize(
    "paragraph",
    [
        "Chapter and verse were quoted.",
        "Part two of his speech was over.",
        "IV",
        "I.",
        "C.",
        "Chapter I of the book, which he had read long ago, says so.",
        "“Chapter I.”",
        "chapter 1",
        "The preface was long.",
        "Act in haste.",
        "X. Y. Smith",
        "",
    ],
)
def test_what_is_no_heading(paragraph):
    assert titles(PROSE, paragraph, PROSE) == []


def test_title_on_the_next_line():
    assert titles("CHAPTER 1", "Loomings.", PROSE, "CHAPTER 2", "THE BAG", PROSE) == [
        "CHAPTER 1 Loomings.",
        "CHAPTER 2 THE BAG",
    ]
    assert titles("CHAPTER 1", "He came in.", PROSE) == ["CHAPTER 1"]


def test_contents_are_no_chapters():
    names = [f"CHAPTER {i}. Name" for i in range(1, 6)]
    body = [part for name in names for part in (name, PROSE)]
    assert titles("CONTENTS", *names, *body) == names
    paged = [f"   I. One        {i}\n  II. Two        {i + 9}" for i in range(3)]
    books = ["BOOK THE FIRST", "BOOK THE SECOND", "BOOK THE THIRD"]
    contents = [part for pair in zip(books, paged, strict=True) for part in pair]
    assert titles(*contents, *[part for book in books for part in (book, PROSE)]) == books
    assert titles("BOOK I", "CHAPTER I", PROSE, "CHAPTER II", PROSE) == [
        "BOOK I",
        "CHAPTER I",
        "CHAPTER II",
    ]


def test_roman_numbers_count_up():
    assert titles("I.", PROSE, "II.", PROSE, "M.", PROSE, "III. The End", PROSE) == [
        "I.",
        "II.",
        "III. The End",
    ]
    assert titles("ADVENTURE VI. THE MAN", PROSE, "VII. THE OTHER", PROSE) == [
        "ADVENTURE VI. THE MAN",
        "VII. THE OTHER",
    ]


def test_marks():
    text = f"\n{mark(0)}\n\nOne\n\n x{mark(1)}\n\nTwo {mark(2)}end{mark(3)}  "
    names = ["zero", "one", "two", "three"]
    found, chapters = take_marks(text, names)
    assert found == "One\n\n x\n\nTwo end"
    assert chapters == [("zero", 0), ("one", 9), ("two", 13)]
    assert take_marks(f"{mark(9)}Head", names) == ("Head", [])
    titles = []
    html = mark_headings("<H1 id='a'>A &amp;<br/>\n B</H1><p>x</p><h2></h2><h3>C", titles)
    assert html == f"<H1 id='a'>{mark(0)}A &amp;<br/>\n B</H1><p>x</p><h2></h2><h3>C"
    assert take_marks(f"{mark(0)}A &\nB", titles) == ("A &\nB", [("A & B", 0)])
    assert as_json(chapters[:1]) == '[["zero",0]]'


@given(st.text(alphabet="a \n\ufdd0\ufdd10", max_size=80))
def test_marks_in_any_text(text):
    found, chapters = take_marks(text, ["a", "b"])
    assert "\ufdd0" not in found and len(found) <= len(text)
    assert all(found[offset : offset + 1].strip() for _, offset in chapters)


@given(st.lists(st.sampled_from(["CHAPTER I", "I.", "II.", "X", "PREFACE", "a 1", PROSE, "Two"])))
def test_any_text(paragraphs):
    titles(*paragraphs)


@pytest.mark.parametrize("piece", ["I.\n\n", "CHAPTER I\n\n", "\n", "CHAPTER I " * 10 + "\n\n"])
def test_long_hostile_text_takes_linear_work(piece):
    assert len(find_chapters(piece * 50_000)) <= 5000
