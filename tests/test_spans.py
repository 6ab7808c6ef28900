"""Tokens, lines and sentences against plain Python, and texts that were split before."""

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import spans as module
from filters.kernels import text_buffers
from filters.spans import Spans, forget, spans_of, split
from filters.tokens import ABBREVIATIONS, ALPHA, GLUED, KIND, NUMBER, OPENS_SENTENCE, SYMBOL

patient = settings(deadline=None)  # the first example compiles

PIECES = [
    "the", "and", "of", "to", "that", "The", "don't", "it’s", "1,000", "3.14", "...", "…", "#", "-",
    "•", "*", ",", "\n", "\n\n", "\r\n", "\t", "\x85", "\u2028", "\x0b", "\0", "日本", "กขคงจฉ",
    "n't", "'s", "’LL",
    "://", "www.", "x@y", "Mr.", "p.m.", "B.",
    "!", "?", "。", ".", ".é",
    "ก็", "é", "e\u0301", "\u0301", "😀", "_", "a", "b", *" " * 8,
]  # fmt: skip
LINES = ["a", "b", "c", "a\n", "b\n", ".", "...\n", ".....\n", "-"]
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.lists(st.sampled_from(LINES), max_size=60).map(" ".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)

SINGLE = re.compile(
    r"CJK|HIRAGANA|KATAKANA|HENTAIGANA|BOPOMOFO|IDEOGRAPHIC|HALFWIDTH KATAKANA|VERT|MASU"
)
UNSPACED = re.compile(r"THAI |LAO |MYANMAR |KHMER ")


def kind(char: str) -> str:
    """space, other, letter, digit, mark, single or unspaced."""
    if char.isspace():
        return "space"
    category, name = unicodedata.category(char)[0], unicodedata.name(char, "")
    if char == "〇" or (category == "L" and SINGLE.match(name)):
        return "single"
    if category == "L" and UNSPACED.match(name):
        return "unspaced"
    return {"L": "letter", "N": "digit", "M": "mark"}.get(category, "other")


CONTRACTION = re.compile(r"['’](?:s|m|d|re|ve|ll)", re.A | re.I)
NOT = re.compile(r"n['’]t", re.A | re.I)
RUNS = set("+-./\\^`|~")


def in_word(char: str) -> bool:
    return kind(char) not in ("space", "other")


def matches(pattern: re.Pattern, text: str, at: int) -> re.Match | None:
    """A match that no letter, digit or mark follows."""
    match = pattern.match(text, at)
    return match if match and not in_word(text[match.end() : match.end() + 1] or " ") else None


def joins(text: str, at: int, before: str) -> bool:
    """Whether the symbol at text[at] is part of the word before it."""
    a, b, char = kind(before), kind(text[at + 1 : at + 2] or " "), text[at]
    if a not in ("letter", "digit") or b not in ("letter", "digit"):
        return False
    if matches(CONTRACTION, text, at):
        return False
    if char == ".":
        return not (a == "letter" and not before.isupper() and text[at + 1].isupper())
    if char == ",":
        return a == b == "digit"
    if char == "-":
        return a != b
    return char in "'’&@_\xad" or (char in ":/" and b == "digit")


def word_end(text: str, start: int) -> int:
    """Where the word at text[start] ends."""
    first, before, at, n_letters = kind(text[start]), text[start], start + 1, 1
    while at < len(text):
        here = kind(text[at])
        if here == "mark":
            pass
        elif first in ("single", "unspaced"):
            if not (first == here == "unspaced" and n_letters < 4):
                break
        elif here == "other":
            scheme = re.compile(r"://[^\x00-\x20]")
            if at - start < 8 and scheme.match(text, at):
                link = re.compile(r"[^\s\"<>]*", re.S).match(text, at)
                return start + len(text[start : link.end()].rstrip("!'),.:;?]"))
            if not joins(text, at, before):
                break
        elif here not in ("letter", "digit") or matches(NOT, text, at):
            break
        n_letters += here != "mark"
        before = before if here == "mark" else text[at]
        at += 1
    return at


def slow_tokens(text: str) -> list[tuple[str, int]]:
    """(token, kind)."""
    found: list[tuple[str, int]] = []
    at, glued = 0, False
    while at < len(text):
        char, start = text[at], at
        if kind(char) == "space":
            at, glued = at + 1, False
            continue
        word = glued and found[-1][1] == ALPHA
        if kind(char) != "other" or (word and matches(CONTRACTION, text, at)):
            at = word_end(text, at)
            alpha = "://" in text[start:at] or any(
                kind(c) in ("letter", "single", "unspaced") for c in text[start:at]
            )
            found.append((text[start:at], ALPHA if alpha else NUMBER))
        else:
            at += 1
            while text[at : at + 1] == char and (char in RUNS or not char.isascii()):
                at += 1
            before = found[-1][0] if word else ""
            short = len(before) > 1 and before[-2] == "."
            initial = len(before) == 1 and before.isupper()
            if (
                text[start:at] == "."
                and before
                and (short or initial or before in ABBREVIATIONS.split())
            ):
                found[-1] = (before + ".", ALPHA)
            else:
                found.append((text[start:at], SYMBOL))
        glued = True
    return found


def split_texts(values: list[str]) -> Spans:
    return split(*text_buffers(pa.array(values, pa.string())))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("Don't stop!", [("Do", ALPHA), ("n't", ALPHA), ("stop", ALPHA), ("!", SYMBOL)]),
        ("'tis a4's", [("'", SYMBOL), ("tis", ALPHA), ("a4", ALPHA), ("'s", ALPHA)]),
        ("1,000.5, x", [("1,000.5", NUMBER), (",", SYMBOL), ("x", ALPHA)]),
        ("x.y end.Next", [("x.y", ALPHA), ("end", ALPHA), (".", SYMBOL), ("Next", ALPHA)]),
        ("U.S. Mr. a.", [("U.S.", ALPHA), ("Mr.", ALPHA), ("a", ALPHA), (".", SYMBOL)]),
        ("..a. b.é.", [("..", SYMBOL), ("a", ALPHA), (".", SYMBOL), ("b.é.", ALPHA)]),
        ("(http://a.b/c?d), e", [("(", SYMBOL), ("http://a.b/c?d", ALPHA), (")", SYMBOL),
                                 (",", SYMBOL), ("e", ALPHA)]),
        ("10:30 a:b", [("10:30", NUMBER), ("a", ALPHA), (":", SYMBOL), ("b", ALPHA)]),
        ("日本 の2", [("日", ALPHA), ("本", ALPHA), ("の", ALPHA), ("2", NUMBER)]),
        ("กขคงจ็ฉ", [("กขคง", ALPHA), ("จ็ฉ", ALPHA)]),
        ('"--" said!!', [('"', SYMBOL), ("--", SYMBOL), ('"', SYMBOL), ("said", ALPHA),
                         ("!", SYMBOL), ("!", SYMBOL)]),
    ],
)  # fmt: skip
def test_tokens(text: str, found: list[tuple[str, int]]) -> None:
    kinds = [what for _, what in found]
    result = split_texts([text])
    assert result.token_chars.tolist() == [len(token) for token, _ in found]
    assert (result.token_kind & KIND).tolist() == kinds
    assert slow_tokens(text) == found


@patient
@given(st.lists(texts, max_size=4))
def test_tokens_against_plain_python(values: list[str]) -> None:
    result = split_texts(values)
    hash_of: dict[str, int] = {}
    places = zip(result.token_first, result.token_last, strict=True)
    for text, (start, end) in zip(values, places, strict=True):
        expected = slow_tokens(text)
        assert result.token_chars[start:end].tolist() == [len(token) for token, _ in expected]
        assert (result.token_kind[start:end] & KIND).tolist() == [what for _, what in expected]
        for (token, _), value in zip(expected, result.token_hash[start:end], strict=True):
            assert hash_of.setdefault(token, int(value)) == value
    assert len(set(hash_of.values())) == len(hash_of)


def test_after_a_thousand_characters_without_white_space_the_rest_is_one_token() -> None:
    text = "[1]" * 500 + "日本 x " + "a" * 3000 + "!! b"
    result = split_texts([text])
    lengths = result.token_chars.tolist()
    assert lengths[:1001] == [1] * 1001
    assert lengths[1001:] == [499, 1, 1, 1, 3000, 2, 1]
    assert (result.token_kind & KIND).tolist()[1001:] == [SYMBOL, *[ALPHA] * 4, SYMBOL, ALPHA]


def line_texts(result: Spans, d: int) -> list[bytes]:
    base = result.offsets[d]
    data = result.data.tobytes()
    lines = range(result.line_first[d], result.line_last[d])
    return [data[base + result.line_start[i] : base + result.line_end[i]] for i in lines]


@patient
@given(st.lists(texts, max_size=4))
def test_lines_are_those_of_splitlines(values: list[str]) -> None:
    result = split_texts(values)
    for d, text in enumerate(values):
        lines = text.splitlines()
        assert line_texts(result, d) == [line.encode() for line in lines]
        first, last = result.line_first[d], result.line_last[d]
        assert result.line_chars[first:last].tolist() == [len(line) for line in lines]
        assert result.n_chars[d] == len(text)
        ends = [*result.line_token[first:last], result.token_last[d]][1:]
        counts = [int(b - a) for a, b in zip(result.line_token[first:last], ends, strict=True)]
        assert counts == [len(slow_tokens(line)) for line in lines]
        glued = result.token_kind[result.token_first[d] : result.token_last[d]] & GLUED
        assert int((glued == 0).sum()) == len(text.split())
        hash_of: dict[bytes, int] = {}
        for line, value in zip(line_texts(result, d), result.line_hash[first:last], strict=True):
            assert hash_of.setdefault(line, int(value)) == value


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("", []),
        ("One two. Three? Four! Five", ["One", "Three", "Four", "Five"]),
        ('He said "no." Then "yes" (often).', ["He", "Then"]),
        ("Mr. J. Smith of the U.S. came at 3 p.m. on Node.js 2.5. Done.", ["Mr.", "Done"]),
        ("So... not yet… no", ["So"]),
        ("the end.Next", ["the", "Next"]),
        ("what?no a.b", ["what"]),
        ("一。二！三", ["一", "二", "三"]),
        ("A line\nof one sentence.\n\nTwo", ["A", "Two"]),
    ],
)
def test_sentences(text: str, opening: list[str]) -> None:
    result = split_texts([text])
    opens = np.flatnonzero(result.token_kind & OPENS_SENTENCE)
    tokens = [token for token, _ in slow_tokens(text)]
    assert [tokens[i] for i in opens] == opening


def same(a: Spans, b: Spans) -> None:
    """Both tell the same of their documents, wherever it lies in their arrays."""
    assert a.offsets.tolist() == b.offsets.tolist() and a.n_chars.tolist() == b.n_chars.tolist()
    for d in range(len(a.n_chars)):
        x, y = slice(a.token_first[d], a.token_last[d]), slice(b.token_first[d], b.token_last[d])
        u, v = slice(a.line_first[d], a.line_last[d]), slice(b.line_first[d], b.line_last[d])
        for name in ("token_hash", "token_start", "token_chars", "token_kind"):
            assert getattr(a, name)[x].tolist() == getattr(b, name)[y].tolist()
        for name in ("line_start", "line_end", "line_chars", "line_hash"):
            assert getattr(a, name)[u].tolist() == getattr(b, name)[v].tolist()
        assert (a.line_token[u] - x.start).tolist() == (b.line_token[v] - y.start).tolist()


@patient
@given(st.lists(texts, max_size=6), st.data())
def test_what_was_split_before_is_the_same(values: list[str], data: st.DataObject) -> None:
    forget()
    spans_of(pa.array(values, pa.string()))
    kept = data.draw(st.lists(st.sampled_from(values), max_size=6)) if values else []
    for new in (kept, [*kept, *data.draw(st.lists(texts, max_size=2))]):
        column = pa.array(new, pa.string())
        same(spans_of(column), split(*text_buffers(column)))


def test_only_new_texts_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counting(data: np.ndarray, offsets: np.ndarray) -> Spans:
        seen.append(len(offsets) - 1)
        return split(data, offsets)

    monkeypatch.setattr(module, "split", counting)
    forget()
    texts = pa.array(["one two", "three four", "five six", None])
    for column in (texts, texts.filter(pa.array([True, False, True, True])), texts):
        spans_of(column)
    assert seen == [4]
    spans_of(pa.array(["one two", "three four", "five sax"]))
    assert seen == [4, 1]
    spans_of(pa.array(["all", "new"]))
    assert seen == [4, 1, 2]
