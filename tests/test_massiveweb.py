"""Repetition as DCLM counts it, against plain Python."""

import re
from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.massiveweb import measure
from filters.tokens import SYMBOL
from tests.test_spans import slow_tokens, texts

patient = settings(deadline=None)  # the first example compiles
LINE_END = r"(?>\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029])"


def slow_segments(segments: list[str]) -> tuple[float, float]:
    counts = Counter(segments)
    repeated = [s for s in segments if counts[s] > 1]
    total = sum(map(len, segments))
    return len(repeated) / max(len(segments), 1), sum(map(len, repeated)) / max(total, 1)


def slow_ngrams(words: list[str], n: int) -> float:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    most = max(counts.values(), default=0)
    total = max(sum(map(len, words)), 1)
    if most < 2:
        return 0.0
    if n <= 4:
        longest = max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
        return longest * most / total
    places = {i + k for i, gram in enumerate(grams) if counts[gram] > 1 for k in range(n)}
    return sum(len(words[i]) for i in places) / total


def slow_measure(text: str) -> list[float]:
    lines = [line for line in text.splitlines() if line.strip()]
    blocks = re.split(f"(?:^|{LINE_END}){LINE_END}+", text)
    paragraphs = ["\n".join(line for line in b.splitlines() if line.strip()) for b in blocks]
    line, line_chars = slow_segments(lines)
    paragraph, paragraph_chars = slow_segments([p for p in paragraphs if p])
    words = [token for token, what in slow_tokens(text) if what != SYMBOL]
    found = [line, paragraph, line_chars, paragraph_chars]
    return found + [slow_ngrams(words, n) for n in range(2, 11)]


@patient
@given(st.lists(texts, max_size=4))
def test_against_plain_python(values: list[str]) -> None:
    columns = measure(pa.chunked_array([pa.array(values, pa.string())])).values()
    found = [list(row) for row in zip(*(c.to_pylist() for c in columns), strict=True)]
    assert found == [slow_measure(text) for text in values]


@patient
@given(st.lists(st.sampled_from(["a", "bb", "."]), min_size=40, max_size=200))
def test_repeated_ngrams_against_plain_python(words: list[str]) -> None:
    text = " ".join(words)
    columns = measure(pa.chunked_array([pa.array([text])])).values()
    assert [column[0].as_py() for column in columns] == slow_measure(text)
