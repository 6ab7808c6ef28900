"""Runs of words and of characters against plain Python."""

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.dolma import DolmaRepetition, dolma_repetition, measure
from tests.test_spans import slow_tokens

patient = settings(deadline=None)  # the first example compiles
texts = st.text(st.sampled_from("ab .\n日"), max_size=60)


def longest(values: list, period: int) -> int:
    run = best = 0
    for i in range(period, len(values)):
        run = run + 1 if values[i] == values[i - period] else 0
        best = max(best, run)
    return best


def slow(text: str) -> list[int]:
    words = [token for token, _ in slow_tokens(text)]
    chars = list("".join(text.split()))
    times = [(longest(words, p) + p) // p for p in range(1, 14) if p <= len(words)]
    runs = [longest(chars, p) + p for p in range(1, 14) if longest(chars, p) >= 3 * p]
    return [max(times, default=0), max(runs, default=0)]


@patient
@given(st.lists(texts, max_size=4))
@example(["..a. ."])  # the points before a word made its own one that of p.m.
def test_against_plain_python(values: list[str]) -> None:
    columns = measure(pa.chunked_array([pa.array(values, pa.string())])).values()
    found = [list(row) for row in zip(*(c.to_pylist() for c in columns), strict=True)]
    assert found == [slow(text) for text in values]


def test_bounds() -> None:
    values = ["ho " * 31, "ho " * 32, "one two three " * 32, "=" * 99, "=-" * 50, None, ""]
    docs = dolma_repetition(pa.table({"text": pa.array(values)}), DolmaRepetition())
    assert docs["dolma.n_repeats"].to_pylist() == [31, 32, 32, 99, 50, None, 0]
    marked = ["too_many_repeats"] * 5
    assert docs["rule"].to_pylist() == [None, *marked, None]
    failed = docs["failed"].to_pylist()
    assert failed[2] == ["too_many_repeats", "long_run_of_characters"]
    with pytest.raises(ValueError, match="max_repeats 0 is below 1"):
        DolmaRepetition(max_repeats=0)
