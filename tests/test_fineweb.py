"""FineWeb's rules against plain Python, and literal rows."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.canaries import PROSE
from filters.characters import TERMINAL, character_traits
from filters.fineweb import FineWeb, fineweb, measure
from tests.test_spans import slow_tokens, texts

patient = settings(deadline=None)  # the first example compiles


def table(values: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(values, pa.string())})


def slow_measure(text: str, short: int) -> list[float]:
    """As datatrove's FineWebQualityFilter, but for the lines, which are those of str.splitlines."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return [0, 1, 0, 0, 0]
    repeats = [len(line) for i, line in enumerate(lines) if line in lines[:i]]
    ends = len(text.splitlines(keepends=True)) - (len(text.splitlines()[-1:]) > 0)
    ends += text != "".join(text.splitlines(keepends=True)[:-1]) + text.splitlines()[-1]
    return [
        len(lines),
        sum(bool(character_traits()[ord(line[-1])] & TERMINAL) for line in lines) / len(lines),
        sum(len(line) <= short for line in lines) / len(lines),
        sum(repeats) / sum(map(len, text.splitlines())),
        ends / len(slow_tokens(text)),
    ]


@patient
@given(st.lists(texts, max_size=4), st.integers(0, 8))
def test_against_plain_python(values: list[str], short: int) -> None:
    columns = measure(table(values)["text"], short).values()
    found = [list(row) for row in zip(*(c.to_pylist() for c in columns), strict=True)]
    assert found == [slow_measure(text, short) for text in values]


def test_empty_text_null_text_and_a_script_without_spaces() -> None:
    docs = fineweb(table(["", None, "一二三四五六七八九十。" * 4]), FineWeb())
    assert docs["rule"].to_pylist() == ["no_line", "no_line", None]
    assert docs["value"].to_pylist() == [0.0, None, None]


def test_the_paper_and_the_code_differ() -> None:
    text = PROSE + "\nYes, indeed.\nYes, indeed."
    docs = fineweb(table([text]), FineWeb())
    assert docs["rule"].to_pylist() == ["too_many_repeated_lines"]
    assert docs["threshold"].to_pylist() == [0.01]
    assert fineweb(table([text]), FineWeb(max_dup_line_char_fraction=0.1))["rule"].null_count == 1


def test_a_mistake_in_the_config() -> None:
    with pytest.raises(ValueError, match=r"min_terminal_line_fraction 1\.5 is not within"):
        FineWeb(min_terminal_line_fraction=1.5)
