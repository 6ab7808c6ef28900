"""Lines, paragraphs and spans of sentences that occurred before: the boilerplate of sites.

What CCNet does (Wenzek et al. 2019, arXiv 1911.00359, 3.1) with unit = "line" (its paragraphs are
lines; it compares 64 bits of a SHA-1 of the text without digits), and C4 (Raffel et al. 2020, 2.2)
with unit = "sentences" and n = 3. Here across the whole corpus, over normalized words (digits
count), by 128 bits, and the first place in the total order stays: the machinery of `ngrams.py`, in
which a segment takes the place of a word.

The cost is 36 bytes for each segment that is exchanged: for each byte of text .16 bytes on web
pages by line, .13 by paragraph, .40 by sentences; .53, .10 and .78 on books in short lines. Runs of
words cost 5 to 6. What it cannot see is a copy that was wrapped otherwise.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from filters.compiled import kernel, uncounted
from filters.kernels import mix
from filters.words import comparison_tables, split_words

_NEWLINE, _RETURN, _TAB, _SPACE = 0x0A, 0x0D, 0x09, 0x20
_LINE, _PARAGRAPH, _SENTENCE = range(3)
_UNITS = {"line": _LINE, "paragraph": _PARAGRAPH, "sentences": _SENTENCE}
_ENDS = np.frombuffer(b".!?", np.uint8)
_CLOSERS = np.frombuffer(b"\"')]*_", np.uint8)
_WIDE_ENDS = np.array([0xE38082, 0xEFBC81, 0xEFBC9F, 0xE0A5A4], np.int64)  # 。！？।


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Lines, paragraphs or spans of sentences that occurred before, within a document or in another
    one. Case, punctuation and spacing are not compared."""

    rule: ClassVar[str] = "repeated_segments"

    unit: Literal["line", "paragraph", "sentences"] = "line"
    """line: up to a line break; paragraph: up to an empty line; sentences: `n` of them in a row,
    each up to a line break, or . ! ? and white space, or the full stop of another script (by rule:
    "Mr. Hyde" is two)."""
    n: int = 3
    """Sentences in a span; lines and paragraphs are looked for one by one."""
    min_words: int = 5
    """A segment or span with fewer words may occur again and again: "Chapter 1", "}"."""
    min_chars: int = 20
    """And one with fewer characters, white space aside: each Han or kana letter is a word, and five
    of them are a line by accident; so are "a | b | c | d | e"."""
    action: Literal["cut", "mark", "remove"] = "cut"
    """cut: every repeat, and the document goes if too little remains; remove: only that, nothing is
    cut from those that stay; mark: nothing goes, dedup.repeated_fraction says how much would."""
    min_remaining_words: int = 50
    """What is too little."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n {self.n} is below 1")
        if self.min_words < 1:
            raise ValueError(
                f"min_words {self.min_words} is below 1: empty lines are no duplicates"
            )
        if self.min_chars < 0:
            raise ValueError(f"min_chars {self.min_chars} is below 0")
        if self.min_remaining_words < 0:
            raise ValueError(f"min_remaining_words {self.min_remaining_words} is below 0")

    @property
    def length(self) -> int:
        """Segments in what is compared."""
        return self.n if self.unit == "sentences" else 1


class Found(NamedTuple):
    """Segments, from each one's start to the next one's, so that a text is the sum of its segments;
    those of text d lie at offsets[d] to offsets[d + 1]."""

    high: np.ndarray  # uint64, a hash of the normalized words
    low: np.ndarray  # uint64, another one
    start: np.ndarray  # int32, bytes from the start of the text
    words: np.ndarray  # int32, in each
    chars: np.ndarray  # int32, in each, white space aside
    offsets: np.ndarray  # int64


def segments_of(data: np.ndarray, offsets: np.ndarray, unit: str) -> Found:
    """The lines, paragraphs or sentences of the texts."""
    return Found(*_segments(data, offsets, _UNITS[unit], *comparison_tables()))


@kernel
def _segments(
    data: np.ndarray, offsets: np.ndarray, unit: int, classes: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n_docs = len(offsets) - 1
    most, longest = 0, 0
    for d in range(n_docs):
        longest = max(longest, int(offsets[d + 1] - offsets[d]))
        at = int(offsets[d])
        while at < offsets[d + 1]:
            at = _next(data, at, int(offsets[d + 1]), unit)
            most += 1
    high, low = np.empty(most, np.uint64), np.empty(most, np.uint64)
    starts, n_words = np.empty(most, np.int32), np.empty(most, np.int32)
    n_chars = np.zeros(most, np.int32)
    of_doc = np.zeros(n_docs + 1, np.int64)
    hashes = np.empty(longest // 2 + 1, np.uint64)
    n = 0
    for d in range(n_docs):
        first, end = int(offsets[d]), int(offsets[d + 1])
        at = first
        while at < end:
            past = _next(data, at, end, unit)
            words = split_words(data, at, past, classes, lower, hashes, None, None)
            high[n], low[n] = mix(np.uint64(1)), mix(np.uint64(2))
            for k in range(words):
                high[n] = mix(high[n] ^ hashes[k])
                low[n] = mix(low[n] * np.uint64(0x9E3779B185EBCA87) + hashes[k])
            starts[n], n_words[n] = at - first, words
            for byte in data[at:past]:  # UTF-8: no byte that continues a character
                n_chars[n] += byte > _SPACE and byte & 0xC0 != 0x80
            n += 1
            at = past
        of_doc[d + 1] = n
    return high, low, starts, n_words, n_chars, of_doc


@uncounted
def _next(data: np.ndarray, at: int, end: int, unit: int) -> int:
    """Where the segment after the one at `at` begins; white space belongs to what is before it."""
    breaks = 0  # line breaks since the last character that is no white space
    ended = False  # a sentence, but for white space
    while at < end:
        byte = data[at]
        blank = byte in (_SPACE, _TAB, _RETURN)
        if byte == _NEWLINE:
            breaks += 1
        elif not blank:
            if breaks > (unit == _PARAGRAPH) or (ended and data[at - 1] <= _SPACE):
                return at
            if unit == _SENTENCE:
                wide = at + 2 < end and byte >= 0xE0
                if wide and (
                    (np.int64(byte) << 16 | np.int64(data[at + 1]) << 8 | data[at + 2])
                    in _WIDE_ENDS
                ):
                    return _past_blanks(data, at + 3, end)
                ended = byte in _ENDS or (ended and byte in _CLOSERS)
            breaks = 0
        at += 1
    return end


@uncounted
def _past_blanks(data: np.ndarray, at: int, end: int) -> int:
    while at < end and data[at] <= _SPACE:
        at += 1
    return at
