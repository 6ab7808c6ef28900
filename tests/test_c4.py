"""C4's rules against plain Python, and literal rows."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.c4 import C4, POLICY_PHRASES, c4, measure
from filters.canaries import PROSE

patient = settings(deadline=None)  # the first example compiles

PIECES = [
    "the", "boat.", "ice?", "x", "...", "…", "[1]", "[]", "[edit]", "[citation needed]", "[x]", '"',
    "'", "JavaScript", "lorem Ipsum", "{", "use cookies", "Privacy POLICY", "\n", "\r\n", "\u2028",
    "\x85", "w" * 12, "日本。", "\u0301", "😀", "\0", *" " * 12,
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=50).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")


def table(values: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(values, pa.string())})


def slow_clean(text: str, config: C4) -> str:
    """As datatrove's C4QualityFilter without its document rules."""
    kept = []
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(word) > config.max_word_chars for word in words):
            continue
        if config.removes_citations:
            line = CITATION.sub("", line)
        ends = line.endswith(tuple(config.end_marks)) and not line.endswith("...")
        if config.needs_end_mark and not ends:
            continue
        if len(words) < config.min_words_per_line:
            continue
        lower = line.lower()
        if config.removes_javascript_lines and "javascript" in lower:
            continue
        if any(phrase in lower for phrase in POLICY_PHRASES):
            continue
        kept.append(line)
    return "\n".join(kept).strip()


@patient
@given(st.lists(texts, max_size=4), st.booleans(), st.booleans(), st.integers(0, 3))
def test_lines_against_plain_python(
    values: list[str], needs_end_mark: bool, removes_citations: bool, n: int
) -> None:
    config = C4(
        needs_end_mark=needs_end_mark,
        removes_citations=removes_citations,
        min_words_per_line=n,
        max_word_chars=9,
    )
    columns, left = measure(table(values)["text"], config)
    assert left.to_pylist() == [slow_clean(text, config) for text in values]
    n_lines = [len(text.splitlines()) for text in values]
    assert columns["n_lines"].to_pylist() == n_lines
    gone = ("long_word_lines", "lines_without_end_mark", "short_lines", "javascript_lines")
    for row, total in enumerate(n_lines):
        removed = sum(columns[f"n_{name}"][row].as_py() for name in (*gone, "policy_lines"))
        assert columns["n_kept_lines"][row].as_py() + removed == total


def test_what_is_removed_from_a_kept_document() -> None:
    text = PROSE.replace("by name.", "by name.[3][edit]") + (
        "\nHome | About | Contact\nTwo words.\nEnable JavaScript to see this page.\n"
        "By using it you accept our use of cookies.\n" + "w" * 1001 + " is a long word."
    )
    docs = c4(table([text, PROSE.replace("\n", "\r\n"), None, ""]), C4())
    assert docs["text"].to_pylist() == [PROSE, PROSE, None, ""]
    counts = {
        "n_lines": 10, "n_kept_lines": 5, "n_long_word_lines": 1, "n_lines_without_end_mark": 1,
        "n_short_lines": 1, "n_javascript_lines": 1, "n_policy_lines": 1, "n_lorem_ipsum_lines": 0,
        "n_curly_bracket_lines": 0, "n_citations": 2, "n_sentences": 5,
    }  # fmt: skip
    assert {name: docs[f"c4.{name}"][0].as_py() for name in counts} == counts
    assert docs["rule"].to_pylist() == [None, None, "lorem_ipsum", "too_few_sentences"]
    assert docs["value"].to_pylist() == [None, None, None, 0.0]


def test_a_marked_document_keeps_its_text() -> None:
    text = PROSE + "\nHome | About\nA { in a line of text."
    docs = c4(table([text]), C4())
    assert docs["text"].to_pylist() == [text] and docs["rule"].to_pylist() == ["curly_bracket"]
    left = c4(table([text]), C4(max_curly_bracket_lines=1))["text"].to_pylist()
    assert left == [PROSE + "\nA { in a line of text."]


def test_no_line_left_is_marked_where_no_sentence_is_asked_for() -> None:
    docs = c4(table(["Home\nAbout", "One line is enough."]), C4(min_sentences=0))
    assert docs["rule"].to_pylist() == ["no_line_left", None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_sentences": -1}, "min_sentences -1 is below 0"),
        ({"end_marks": ""}, "end_marks '': give ASCII"),
        ({"policy_phrases": ("",)}, "policy_phrases: an empty phrase"),
    ],
)
def test_a_mistake_in_the_config(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        C4(**values)
