"""Folded words against a slow reference on str."""

import unicodedata
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.folded_words import NO_WORDS, NUMBER, fold, folded_words
from filters.kernels import IDEOGRAPH, UNSPACED, character_tables, text_buffers
from filters.ngram_table import key_table


def hashes(texts: list[str], vocabulary=NO_WORDS) -> list[list[int]]:
    data, offsets = text_buffers(pa.array(texts, pa.string()))
    words = folded_words(data, offsets, vocabulary)
    ends = words.word_offsets
    return [words.word_hash[a:b].tolist() for a, b in pairwise(ends)]


def vocabulary_of(*words: str):
    data, offsets = text_buffers(pa.array(words, pa.string()))
    return key_table(folded_words(data, offsets).word_hash)[0]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Example FILE", "example file"),
        ("ﬁne ＡＢＣ １２", "fine abc 12"),
        ("naïve café ñ", "nai\u0308ve cafe\u0301 n\u0303"),
        ("STRASSE", "Straße"),
        ("한국어", unicodedata.normalize("NFD", "한국어")),
        ("hel\u200blo wo\u00adrld\ufeff", "hello world"),
        ("don't “stop”", "don’t 'stop'"),
        ("a\u00a0b\u2003c\u3000d", "a b c d"),
        ("כָּל הָאָדָם", "כל האדם"),
        ("x² ①", "x2 1"),
        ("中文", "中 文"),
    ],
)
def test_the_same_words(text: str, same: str):
    assert hashes([text]) == hashes([same])
    assert hashes([text]) != hashes([same + "x"])


def test_a_hyphen_at_the_end_of_a_line():
    known = vocabulary_of("example", "well", "known")
    joined = hashes(["an example here"])
    for text in ("an exam-\nple here", "an exam\u2010 \r\n  ple here", "an exam\u00ad\nple here"):
        assert hashes([text], vocabulary=known) == joined
        assert hashes([text]) == hashes(["an exam ple here"])
    for text in ("a well-\nknown man", "a well-known man"):
        assert hashes([text], vocabulary=known) == hashes(["a well known man"])
    for text in ("exam-ple", "exam\nple", "exam - \n ple", "exam-\n-ple", "exam-\n7 ple"):
        assert hashes([text], vocabulary=known) != hashes(["example"])
    assert hashes(["exam-", "ple"], vocabulary=known) == hashes(["exam", "ple"])


def test_words_that_begin_with_a_digit_bear_a_bit():
    [words] = hashes(["in 1,250.5 days a7 7th ١٢ ４x x² a½"])
    known = [bool(word & int(NUMBER)) for word in words]
    assert known == [False, True, True, True, False, False, True, True, True, False, False]
    vocabulary = vocabulary_of("3dimensional")
    [joined] = hashes(["3dimen-\nsional"], vocabulary)
    assert joined == hashes(["3dimensional"])[0] and joined[0] & int(NUMBER)


CLASSES, _ = character_tables()


def slow_words(text: str) -> list[tuple[str, int, int]]:
    """(folded word, first byte, past the last) without hyphens and with numbers as they are."""
    out: list[list] = []
    opened, alone, at = False, False, 0
    for c in text:
        width = len(c.encode())
        category = unicodedata.category(c)
        if category in ("Mn", "Me", "Cf"):
            if opened:
                out[-1][2] = at + width
        elif category == "Mc":
            if opened:
                out[-1][0] += fold(c)
                out[-1][2] = at + width
        elif category[0] in "LN":
            is_alone = CLASSES[ord(c)] in (IDEOGRAPH, UNSPACED)
            if opened and not alone and not is_alone:
                out[-1][0] += fold(c)
                out[-1][2] = at + width
            else:
                out.append([fold(c), at, at + width])
            opened, alone = True, is_alone
        else:
            opened = False
        at += width
    return [(w, a, b) for w, a, b in out]


TEXT = st.text(
    st.one_of(
        st.sampled_from("aB1 .,'\n-é\u0301中กำ한ﬁ½²ß\u200b\u00ad\u0b95\u0bca𝔘ﷺ㍿İ"),
        st.characters(codec="utf-8", max_codepoint=0x2FFFF),
    ),
    max_size=60,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXT, max_size=3))
def test_against_the_reference(texts: list[str]):
    data, offsets = text_buffers(pa.array(texts, pa.string()))
    words = folded_words(data, offsets)
    expected = [slow_words(text) for text in texts]
    assert words.word_offsets.tolist() == [
        sum(map(len, expected[:i])) for i in range(len(texts) + 1)
    ]
    flat = [word for text in expected for word in text]
    assert words.word_start.tolist() == [a for _, a, _ in flat]
    assert words.word_end.tolist() == [b for _, _, b in flat]
    by_word: dict[str, int] = {}
    for (word, _, _), key in zip(flat, words.word_hash.tolist(), strict=True):
        assert by_word.setdefault(word, key) == key
    assert len(set(by_word.values())) == len(by_word)
