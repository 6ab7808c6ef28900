"""Words and punctuation: one token, as `spans.split` finds them.

They replace spaCy's English tokenizer (.5 MB/s) by rules on Unicode classes; sentences likewise.
On half of the web pages the number of tokens is within .5% of spaCy's: `benchmarks/filters.py`.
"""

import numpy as np

from filters.characters import TERMINAL, UPPER
from filters.compiled import inlined, uncounted
from filters.kernels import (
    DIGIT,
    IDEOGRAPH,
    LETTER,
    MARK,
    OTHER,
    SPACE,
    UNSPACED,
    decode,
    hash_bytes,
    mix,
    slot_of,
)

UNSPACED_WORD = 4
"""Letters of an unspaced script that count as one token: about a Thai word, marks not counted."""

LONG_CHUNK = 1000
"""Characters without white space after which no more words are looked for."""

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


@inlined
def word_at(
    data: np.ndarray, at: int, end: int, classes: np.ndarray, traits: np.ndarray
) -> tuple[int, np.uint64, int, int, int]:
    """(end, hash, characters, kind, last character) of the word that starts at data[at]."""
    start = at
    code, width = decode(data, at, end)
    first = before = classes[code]  # before: the class of the last character that is no mark
    alpha = first == LETTER or first >= IDEOGRAPH
    n_chars, n_letters, last = 1, 1, code
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
            goes_on = False
            if code == 0x3A and n_chars < 8 and _is_scheme(data, at, end):
                link, more = link_end(data, at, end, classes)
                h = hash_bytes(data, start, link, _ODD)
                return link, h, n_chars + more, ALPHA, last_code(data, link)
            if at + width < end and _may_join(code):
                next_code = decode(data, at + width, end)[0]
                after = classes[next_code]
                if before in (LETTER, DIGIT) and after in (LETTER, DIGIT):
                    rises = not traits[last] & UPPER and traits[next_code] & UPPER
                    goes_on = _joins(code, before, after, rises != 0 and before == LETTER)
                    if code in (0x27, 0x2019):
                        goes_on = not is_contraction(data, at + width, end, classes)
        else:
            goes_on = here in (LETTER, DIGIT)
            if code | 0x20 == 0x6E and goes_on:
                goes_on = not _is_not(data, at, end, classes)
        if not goes_on:
            break
        alpha = alpha or here == LETTER
        n_letters += here != MARK
        n_chars += 1
        before = before if here == MARK else here
        last = code
        h = (h ^ (h >> np.uint64(29)) ^ np.uint64(code)) * _ODD
        at += width
    return at, mix(h), n_chars, ALPHA if alpha else NUMBER, last


@inlined
def _may_join(code: int) -> bool:
    """Whether a symbol may be part of a word; `_joins` says when."""
    if code < 0x80:
        return code in (0x26, 0x27, 0x2C, 0x2D, 0x2E, 0x2F, 0x3A, 0x40, 0x5F)
    return code in (0xAD, 0x2019)


@uncounted
def _joins(code: int, before: int, after: int, rises: bool) -> bool:
    """Whether a symbol between two letters or digits (their classes) is part of the word. rises:
    a capital follows a letter that is none."""
    if code in (0x27, 0x2019, 0x26, 0x40, 0x5F, 0xAD):  # ' and ’, & @ _ and the soft hyphen
        return True
    if code == 0x2E:  # example.com, but end.Next
        return not rises
    if code == 0x2C:
        return before == DIGIT and after == DIGIT
    if code == 0x2D:  # covid-19, but not well-known
        return before != after
    return code in (0x3A, 0x2F) and after == DIGIT  # 10:30, 1/2


@uncounted
def is_contraction(data: np.ndarray, at: int, end: int, classes: np.ndarray) -> bool:
    """Whether data[at:], after ' or ’, is s, m, d, re, ve or ll, and no word goes on there."""
    if at >= end:
        return False
    first = data[at] | 0x20
    if first in (0x73, 0x6D, 0x64):
        at += 1
    elif at + 1 < end:
        second = data[at + 1] | 0x20
        both = (first in (0x72, 0x76) and second == 0x65) or (first == 0x6C and second == 0x6C)
        at = at + 2 if both else end + 1
    else:
        return False
    return at == end or (at < end and classes[decode(data, at, end)[0]] < LETTER)


@uncounted
def _is_not(data: np.ndarray, at: int, end: int, classes: np.ndarray) -> bool:
    """Whether the n at data[at] is that of the n't of don't."""
    if at + 2 >= end:
        return False
    code, width = decode(data, at + 1, end)
    at += 1 + width
    if code not in (0x27, 0x2019) or at >= end or data[at] | 0x20 != 0x74:
        return False
    return at + 1 == end or classes[decode(data, at + 1, end)[0]] < LETTER


@uncounted
def _is_scheme(data: np.ndarray, at: int, end: int) -> bool:
    """Whether data[at:] is ://, and more."""
    return at + 3 < end and data[at + 1] == 0x2F and data[at + 2] == 0x2F and data[at + 3] > 0x20


@uncounted
def link_end(data: np.ndarray, at: int, end: int, classes: np.ndarray) -> tuple[int, int]:
    """(end, characters) of the link that goes on at data[at]: up to white space, without the
    punctuation before it."""
    n = n_kept = 0
    kept = at
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] == SPACE or code in (0x22, 0x3C, 0x3E):  # " < >
            break
        at += width
        n += 1
        if code not in (0x21, 0x27, 0x29, 0x2C, 0x2E, 0x3A, 0x3B, 0x3F, 0x5D):  # ! ' ) , . : ; ? ]
            kept, n_kept = at, n
    return kept, n_kept


@inlined
def symbol_at(
    data: np.ndarray, at: int, end: int, traits: np.ndarray
) -> tuple[int, np.uint64, int, int]:
    """(end, hash, characters, stop) of the symbol that starts at data[at], or of its run where it
    is a point, a dash or the like. stop:
    POINT for one point, MARKED for ! and ?, FIRM for the terminal marks of other scripts, which
    need no space after them, NO_STOP for anything else."""
    code, width = decode(data, at, end)
    h, n_chars = _ODD, 0
    while True:
        h = (h ^ (h >> np.uint64(29)) ^ np.uint64(code)) * _ODD
        n_chars += 1
        at += width
        # Its last byte tells most symbols from the next character: a branch that is nearly always
        # right. Those of the rest are wrong every other time in junk.
        if at + width > end or data[at + width - 1] != data[at - 1]:
            break
        if _stands_alone(code) or decode(data, at, end)[0] != code:
            break
    stop = NO_STOP
    if code == 0x2E:
        stop = POINT if n_chars == 1 else NO_STOP
    elif traits[code] & TERMINAL:
        stop = MARKED if code < 0x80 else FIRM
    return at, mix(h), n_chars, stop


@inlined
def _stands_alone(code: int) -> bool:
    """Whether each of !! is a token. Not - . + / \\ ^ ` | ~, nor symbols other than ASCII."""
    if code >= 0x80:
        return False
    return code not in (0x2B, 0x2D, 0x2E, 0x2F, 0x5C, 0x5E, 0x60, 0x7C, 0x7E)


@uncounted
def rest_of_chunk(data: np.ndarray, at: int, end: int, classes: np.ndarray) -> tuple[int, int]:
    """(end, characters) of what is left up to white space, or a script without it."""
    n = 0
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] == SPACE or classes[code] >= IDEOGRAPH:
            break
        at += width
        n += 1
    return at, n


@uncounted
def last_code(data: np.ndarray, end: int) -> int:
    """The character that ends at data[end]; there is one."""
    at = end - 1
    while (data[at] & 0xC0) == 0x80 and end - at < 4 and at > 0:
        at -= 1
    return decode(data, at, end)[0]


@uncounted
def is_abbreviated(
    data: np.ndarray,
    at: int,
    hashes: np.ndarray,
    chars: np.ndarray,
    kinds: np.ndarray,
    n: int,
    upper: bool,
    abbreviations: np.ndarray,
) -> bool:
    """Whether the word before token n, which ends at data[at], is an initial (J., p.m.) or an
    abbreviation."""
    if kinds[n - 1] & KIND != ALPHA:
        return False
    if chars[n - 1] == 1:
        if upper:
            return True
    else:
        at -= 1
        while (data[at] & 0xC0) == 0x80:
            at -= 1
        if data[at - 1] == 0x2E:  # p.m. and the like
            return True
    return abbreviations[slot_of(abbreviations, hashes[n - 1])] == hashes[n - 1]
