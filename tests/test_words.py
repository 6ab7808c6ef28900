"""Words and characters as texts are compared, against plain Python."""

import itertools
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels import text_buffers
from filters.words import _all_words, comparison_tables, normalized_words, split_characters
from tests.test_kernels import is_single

patient = settings(deadline=None)  # the first example compiles

CASES = "ab AB\t\n\r\0.,'’-_#…•19éÉßİΣςก็ำຂကក日本々カﾞー゙〇अ्\u0301\u200b\u2028😀𝐀𠀀"
characters = st.one_of(st.sampled_from(CASES), st.characters(exclude_categories=["Cs"]))
runs = st.text(st.sampled_from("abzABZ019@[`{/:"), max_size=30)  # the edges of the ASCII classes
texts = st.one_of(st.text(characters, max_size=40), st.lists(characters | runs).map("".join))


def slow_words(text: str) -> list[tuple[str, int, int]]:
    """(lower-cased word, start, end in bytes)."""
    words: list[tuple[str, int, int]] = []
    open_word: str | None = None  # "run" or "single"
    at = 0
    for char in text:
        end = at + len(char.encode())
        category = unicodedata.category(char)[0]
        lower = char.lower() if len(char.lower()) == 1 else char
        single = is_single(char)
        if category not in "LNM":
            open_word = None
        elif open_word and (category == "M" or (open_word == "run" and not single)):
            words[-1] = (words[-1][0] + lower, words[-1][1], end)
        else:
            words.append((lower, at, end))
            open_word = "single" if single else "run"
        at = end
    return words


def words_of(values: list[str | None] | pa.Array) -> list[list[tuple[int, int, int]]]:
    array = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    words = normalized_words(*text_buffers(array))
    rows = list(zip(words.word_hash, words.word_start, words.word_end, strict=True))
    ends = words.word_offsets
    return [rows[ends[d] : ends[d + 1]] for d in range(len(array))]


def strings_of(text: str) -> list[str]:
    return [text.encode()[start:end].decode() for _, start, end in words_of([text])[0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("Hello, WORLD\r\n don't", ["Hello", "WORLD", "don", "t"]),
        ("3.14 foo_bar", ["3", "14", "foo", "bar"]),
        ("日本語ab カﾞ", ["日", "本", "語", "ab", "カ", "ﾞ"]),
        ("ก็ขcd", ["ก็", "ข", "cd"]),
        ("e\u0301a\0b", ["e\u0301a", "b"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert strings_of(text) == words


def test_words_are_compared_without_case() -> None:
    first, second, third = words_of(["Das STRASSE Éa", "das strasse éA", "das straße éa"])
    assert [w[0] for w in first] == [w[0] for w in second]
    assert [a[0] == b[0] for a, b in zip(first, third, strict=True)] == [True, False, True]


def slow_mix(x: int) -> int:
    x = (x ^ x >> 33) * 0xC2B2AE3D27D4EB4F & 2**64 - 1
    x = (x ^ x >> 29) * 0x165667B19E3779F9 & 2**64 - 1
    return x ^ x >> 32


def slow_hash(word: str) -> int:
    """Of a lower-cased word: ASCII characters are a byte, others three times seven bits."""
    data = bytearray()
    for code in map(ord, word):
        high = [0x80 | code & 0x7F, 0x80 | code >> 7 & 0x7F, 0x80 | code >> 14]
        data += bytes([code] if code < 0x80 else high)
    h = 0x27D4EB2F165667C5
    for at in range(0, len(data), 8):
        h = slow_mix(h ^ int.from_bytes(data[at : at + 8], "little"))
    return h


def test_word_hashes_stay_the_same() -> None:
    """They decide which document is kept: another value is another corpus."""
    assert [w[0] for w in words_of(["the 日"])[0]] == [9850453765298359379, 14047598409248016710]


@patient
@given(st.lists(st.one_of(st.none(), texts), max_size=5))
def test_words_against_plain_python(values: list[str | None]) -> None:
    for text, found in zip(values, words_of(values), strict=True):
        expected = slow_words(text or "")
        assert found == [(slow_hash(word), start, end) for word, start, end in expected]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 15, 16, 17, 24])
@pytest.mark.parametrize("after", ["", " ", "  ", "é", "—", "\u0301", "中", " b"])
def test_words_at_the_edges_of_8_bytes(n: int, after: str) -> None:
    text = "Xy3" * 8
    texts = [text[:n] + after, text[:n] + after + " " * 8, after + text[:n]]
    for found, value in zip(words_of(texts), texts, strict=True):
        assert found == [(slow_hash(word), start, end) for word, start, end in slow_words(value)]


def test_case_and_punctuation_can_be_compared() -> None:
    data, offsets = text_buffers(pa.array(["Stop! Über-Ich", "stop über ich", "Stop! Uber+Ich"]))

    def hashes(**compared: bool) -> list[list[int]]:
        words = _all_words(data, offsets, *comparison_tables(**compared))
        return [words[0][a:b].tolist() for a, b in itertools.pairwise(words[3])]

    plain, cased, full = hashes(), hashes(lowercase=False), hashes(punctuation=True)
    assert plain[0] == plain[1] == [slow_hash(w) for w in ("stop", "über", "ich")]
    assert cased[0] == [slow_hash(w) for w in ("Stop", "Über", "Ich")]
    assert full[0] == [slow_hash(w) for w in ("stop", "!", "über", "-", "ich")]
    assert full[2] == [slow_hash(w) for w in ("stop", "!", "uber", "+", "ich")]


@patient
@given(texts)
def test_characters_are_those_of_the_words_with_one_space_between_what_is_apart(text: str) -> None:
    data, offsets = text_buffers(pa.array([text]))
    hashes = np.empty(len(data), np.uint64)
    n = split_characters(data, 0, int(offsets[1]), *comparison_tables(), hashes)
    expected, past = "", 0
    for word, start, end in slow_words(text):
        expected += " " * (start > past and expected != "") + word
        past = end
    assert hashes[:n].tolist() == [slow_mix(0x27D4EB2F165667C5 ^ ord(c)) for c in expected]


@patient
@given(st.lists(st.one_of(st.none(), texts), min_size=1, max_size=6), st.integers(0, 6))
def test_any_split_gives_the_same_words(values: list[str | None], cut: int) -> None:
    array = pa.array(values, pa.string())
    assert words_of(array) == words_of(array[:cut]) + words_of(array[cut:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"ab\xffcd", [(0, 2), (3, 5)]),
        (b"ab\xe2\x82", [(0, 2)]),  # cut short: the next document's bytes are not read
        (b"\x80a\xc0\xafb", [(1, 2), (4, 5)]),
        (b"a\xed\xa0\x80b", [(0, 1), (4, 5)]),  # a lone surrogate
        (b"a\xf4\x90\x80\x80b", [(0, 1), (5, 6)]),  # beyond U+10FFFF
    ],
)
def test_invalid_utf8_separates(data: bytes, words: list[tuple[int, int]]) -> None:
    first, second = words_of(pa.array([data, b"\xac"], pa.binary()))
    assert [(start, end) for _, start, end in first] == words
    assert second == []


def test_a_long_line() -> None:
    words = normalized_words(*text_buffers(pa.array(["Ab " * 3_500_000])))
    assert len(words.word_hash) == 3_500_000 and len(set(words.word_hash[:1000])) == 1
    assert words.word_end[-1] == 3 * 3_500_000 - 1
