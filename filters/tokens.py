"""Words and punctuation: one token, as `spans.split` finds them.

They replace spaCy's English tokenizer (.5 MB/s) by rules on Unicode classes; sentences likewise.
On web pages n_words is within 1% of spaCy's for most documents: `benchmarks/filters.py`.
"""

import numpy as np
from numba import njit

from filters.characters import TERMINAL
from filters.kernels import (
    DIGIT,
    IDEOGRAPH,
    LETTER,
    MARK,
    OTHER,
    UNSPACED,
    decode,
    mix,
    slot_of,
)

UNSPACED_WORD = 4
"""Letters of an unspaced script that count as one token: about a Thai word, marks not counted."""

SYMBOL, NUMBER, ALPHA = range(3)
NO_STOP, POINT, MARKED, FIRM = range(4)
KIND, GLUED, OPENS_SENTENCE = 3, 4, 8  # of token_kind: two bits of the kind, and flags

ABBREVIATIONS = """
    Adm Ala Apr Ariz Ark Aug Bros Calif Co Colo Conn Corp Dec Del Dr Feb Fla Ga Gen Gov Ill Inc
    Ind Jan Jr Jul Jun Kan Kans Ky La Ltd Mar Mass Md Messrs Mich Minn Miss Mo Mont Mr Mrs Ms Mt
    Neb Nebr Nev Nov Oct Okla Ore Pa Prof Rep Rev Sen Sep Sept St Tenn Va Wash Wis co vs
"""
"""Words whose full stop ends no sentence, as in spaCy's English."""

_ODD = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def word_at(
    data: np.ndarray, at: int, end: int, classes: np.ndarray
) -> tuple[int, np.uint64, int, int]:
    """(end, hash, characters, kind) of the word that starts at data[at]."""
    code, width = decode(data, at, end)
    first = before = classes[code]  # before: the class of the last character that is no mark
    alpha = first == LETTER or first >= IDEOGRAPH
    n_chars, n_letters = 1, 1
    h = (np.uint64(code) + np.uint64(1)) * _ODD  # not 0: then a run of NULs would hash as one
    at += width
    while at < end:
        code, width = decode(data, at, end)
        here = classes[code]
        if here == MARK:
            goes_on = True
        elif first >= IDEOGRAPH:
            goes_on = first == UNSPACED and here == UNSPACED and n_letters < UNSPACED_WORD
        elif here == OTHER:
            goes_on = at + width < end and _joins(
                code, before, classes[decode(data, at + width, end)[0]]
            )
        else:
            goes_on = here in (LETTER, DIGIT)
        if not goes_on:
            break
        alpha = alpha or here == LETTER
        n_letters += here != MARK
        n_chars += 1
        before = before if here == MARK else here
        h = (h ^ (h >> np.uint64(29)) ^ np.uint64(code)) * _ODD
        at += width
    return at, mix(h), n_chars, ALPHA if alpha else NUMBER


@njit(cache=True, nogil=True, inline="always")
def _joins(code: int, before: int, after: int) -> bool:
    if before == LETTER and after == LETTER:
        return code in (0x27, 0x2019)  # ' and its typographic form
    return before == DIGIT and after == DIGIT and code in (0x2C, 0x2E)


@njit(cache=True, nogil=True)
def symbol_at(
    data: np.ndarray, at: int, end: int, classes: np.ndarray, traits: np.ndarray
) -> tuple[int, np.uint64, int, int]:
    """(end, hash, characters, stop) of the run of other characters that starts at data[at]. stop:
    NO_STOP; POINT for a single point at the start; MARKED for !, ? and a single point elsewhere;
    FIRM for the terminal marks of other scripts, which need no space after them."""
    h = _ODD
    n_chars = stop = dots = 0
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] != OTHER:
            break
        if dots == 1 and code != 0x2E:
            stop = max(stop, POINT if n_chars == 1 else MARKED)
        dots = dots + 1 if code == 0x2E else 0
        if traits[code] & TERMINAL and code != 0x2E:
            stop = max(stop, MARKED if code < 0x80 else FIRM)
        h = (h ^ (h >> np.uint64(29)) ^ np.uint64(code)) * _ODD
        n_chars += 1
        at += width
    if dots == 1:
        stop = max(stop, POINT if n_chars == 1 else MARKED)
    return at, mix(h), n_chars, stop


@njit(cache=True, nogil=True)
def last_code(data: np.ndarray, end: int) -> int:
    """The character that ends at data[end]; there is one."""
    at = end - 1
    while (data[at] & 0xC0) == 0x80 and end - at < 4 and at > 0:
        at -= 1
    return decode(data, at, end)[0]


@njit(cache=True, nogil=True)
def is_abbreviated(
    hashes: np.ndarray,
    chars: np.ndarray,
    kinds: np.ndarray,
    n: int,
    upper: bool,
    abbreviations: np.ndarray,
) -> bool:
    """Whether the word before token n is an initial (J., the m of p.m.) or an abbreviation."""
    if kinds[n - 1] & KIND != ALPHA:
        return False
    if chars[n - 1] == 1 and (upper or kinds[n - 1] & GLUED):
        return True
    return abbreviations[slot_of(abbreviations, hashes[n - 1])] == hashes[n - 1]
