"""Words as test sets are looked for: runs of letters and digits, whatever the form they come in.

Beyond `words.normalized_words` (case, punctuation, line breaks): compatibility forms, accents and
vowel points are folded (NFKD, case-folded, without non-spacing marks), so that `ﬁ` is fi, `Ａ` is
a, and composed and decomposed letters agree; zero-width characters, soft hyphens and direction
marks are skipped; a word cut by a hyphen at a line's end is one word where that is a word of the
test sets (`exam-` / `ple`), and two elsewhere (`well-` / `known`). Folding costs a quarter of the
speed: 190 MB/s on English books against 255, so deduplication keeps the plain words.
"""

import functools
import unicodedata

import numpy as np

from filters.compiled import inlined, kernel, uncounted
from filters.kernels import (
    DIGIT,
    IDEOGRAPH,
    LETTER,
    MARK,
    UNSPACED,
    Words,
    character_tables,
    decode,
    mix,
    slot_of,
)

# What a character does to the word before it.
_ENDS, _SKIPPED, _JOINS, _NUMBER, _FOLLOWS, _ALONE, _HYPHEN, _BREAK, _BLANK = range(9)
_SOFT_HYPHEN = 0xAD
_MANY = np.uint32(1 << 31)  # the fold is a place in `more`: a length, then as many code points
_START = np.uint64(0x9E3779B97F4A7C15)
_FACTOR = np.uint64(0xC2B2AE3D27D4EB4F)

NUMBER = np.uint64(1 << 63)
"""The bit of a word's hash that is set where the word begins with a digit."""
NO_WORDS = np.zeros(2, np.uint64)
"""A vocabulary without a word: no hyphen at a line's end is taken out."""


def folded_words(data: np.ndarray, offsets: np.ndarray, vocabulary: np.ndarray = NO_WORDS) -> Words:
    """The words of UTF-8 texts, as (data uint8, offsets int32) of an Arrow string array. Each Han,
    kana, Thai, Lao, Khmer or Myanmar letter is a word.

    vocabulary: uint64, an open-addressing table of the hashes of words (see `kernels.slot_of`).
    """
    return Words(*_folded_words(data, offsets, vocabulary, *_tables()))


def fold(character: str) -> str:
    """What a character counts as; itself where that would not be letters and digits."""
    form = unicodedata.normalize("NFKD", character).casefold()
    form = unicodedata.normalize("NFKD", form)
    kept = "".join(c for c in form if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return kept if kept and all(unicodedata.category(c)[0] in "LNM" for c in kept) else character


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(what each code point does, uint8; its fold, uint32 of those under 0x30000; longer folds)."""
    classes, _ = character_tables()
    does = np.full(len(classes), _ENDS, np.uint8)
    does[classes == LETTER] = _JOINS
    does[classes == DIGIT] = _NUMBER
    does[classes == MARK] = _FOLLOWS
    does[(classes == IDEOGRAPH) | (classes == UNSPACED)] = _ALONE
    folds = np.arange(0x30000, dtype=np.uint32)
    more = [0]
    for code in range(len(folds)):
        character = chr(code)
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            does[code] = _SKIPPED
        hangul = 0xAC00 <= code <= 0xD7A3  # decomposed by a formula, not by the table
        if hangul or unicodedata.decomposition(character) or character.casefold() != character:
            folded = fold(character)
            if len(folded) > 1:
                folds[code] = _MANY | np.uint32(len(more))
                more += [len(folded), *map(ord, folded)]
            else:
                folds[code] = ord(folded)
    does[0xE0000:0xE1000] = _SKIPPED  # tags and variation selectors
    does[[ord("-"), 0x2010]] = _HYPHEN
    does[[ord("\n"), 0x85, 0x2028, 0x2029]] = _BREAK
    does[[ord(" "), ord("\t"), ord("\r"), 0xA0]] = _BLANK
    return does, folds, np.array(more, np.uint32)


@inlined
def _stirred(h: np.uint64, code: np.uint64) -> np.uint64:
    h = (h ^ code) * _FACTOR
    return h ^ (h >> np.uint64(29))


@uncounted
def _extended(h: np.uint64, code: int, folds: np.ndarray, more: np.ndarray) -> np.uint64:
    """The hash of a word with one character more."""
    if code >= len(folds):
        return _stirred(h, np.uint64(code))
    folded = folds[code]
    if folded < _MANY:
        return _stirred(h, np.uint64(folded))
    place = folded - _MANY
    for k in range(more[place]):
        h = _stirred(h, np.uint64(more[place + np.uint32(1 + k)]))
    return h


@inlined
def _word_hash(h: np.uint64, number: np.uint64) -> np.uint64:
    return (mix(h) & ~NUMBER) | number


@kernel
def _folded_words(data, offsets, vocabulary, does, folds, more):
    n_docs = len(offsets) - 1
    # As in words.split_words: two bytes hold at most one word.
    most = (offsets[n_docs] - offsets[0]) // 2 + n_docs
    hashes = np.empty(most, np.uint64)
    starts = np.empty(most, np.int32)
    ends = np.empty(most, np.int32)
    word_offsets = np.zeros(n_docs + 1, np.int64)
    n = 0
    for d in range(n_docs):
        first, past = offsets[d], offsets[d + 1]
        at = start = end = first
        kind = _ENDS  # of the open word
        h = raw = joined = _START  # of the open word, of the last, and of the two as one
        number = number_before = np.uint64(0)  # the bit of the open word, and of the last
        soft = joins = False  # last a soft hyphen; a break came before
        hyphen = 0  # after a word: 1 a hyphen, 2 a hyphen and the end of the line
        while at <= past:
            if kind == _JOINS and not joins:  # most of most texts
                while at < past and data[at] < 0x80 and does[data[at]] == _JOINS:
                    h = _stirred(h, np.uint64(folds[data[at]]))
                    at += 1
                    end, soft = at, False
            code, width, here = 0, 1, _ENDS  # a text ends its last word
            if at < past:
                code, width = decode(data, at, past)
                here = does[code]
            if here == _SKIPPED or (here == _FOLLOWS and kind == _ENDS):
                soft = code == _SOFT_HYPHEN
                at += width
                if kind != _ENDS:
                    end = at
                continue
            more_of_it = here == _FOLLOWS or (
                here in (_JOINS, _NUMBER) and kind in (_JOINS, _NUMBER)
            )
            if kind != _ENDS and not more_of_it:
                whole = _word_hash(joined, number_before) if joins else np.uint64(0)
                if joins and vocabulary[slot_of(vocabulary, whole)] != 0:
                    n -= 1
                    raw = joined
                else:
                    starts[n] = start
                    raw, number_before = h, number
                hashes[n], ends[n] = _word_hash(raw, number_before), end - first
                n += 1
                hyphen = 0
                if kind != _ALONE:
                    hyphen = 1 if here == _HYPHEN else 2 if here == _BREAK and soft else 0
                kind, joins = _ENDS, False
            elif kind == _ENDS and hyphen > 0:
                if here == _BREAK:
                    hyphen = 2
                elif here == _JOINS and hyphen == 2:
                    joins, joined = True, raw
                elif here != _BLANK:
                    hyphen = 0
            if here in (_JOINS, _NUMBER, _ALONE, _FOLLOWS):
                if kind == _ENDS:
                    start, h, kind = at - first, _START, here
                    number = NUMBER if here == _NUMBER else np.uint64(0)
                h = _extended(h, code, folds, more)
                if joins:
                    joined = _extended(joined, code, folds, more)
                end = at + width
            soft = False
            at += width
        word_offsets[d + 1] = n
    return hashes[:n], starts[:n], ends[:n], word_offsets
