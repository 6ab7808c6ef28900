"""How texts are compared: as normalized words, or as the characters of these.

Letters, digits and marks only, lower-cased: texts that differ in case, punctuation or line breaks
have the same words; 2019's list and 2024's do not. Composed and decomposed letters are not folded.
Scripts without spaces are cut into characters: crude, but with no dictionary, no model and the same
result everywhere.

A word's hash chains `mix` over the UTF-8 of its folded characters, 8 bytes at a time, so no two
words of up to 8 bytes share one. Words of ASCII alone are found, folded and hashed 8 bytes at a
time in ordinary registers: 350 MB/s on English books,
against 200 a character at a time, which is what words of other scripts take.
"""

import functools
import unicodedata

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from filters.compiled import inlined, kernel, uncounted
from filters.kernels import (
    IDEOGRAPH,
    LETTER,
    MARK,
    OTHER,
    Words,
    character_tables,
    decode,
    mix,
    read_bytes,
)

# Arithmetic on the 8 bytes of a uint64 at once; a flag for each is its top bit.
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_START = np.uint64(0x27D4EB2F165667C5)
SPACE = 0x20


def normalized_words(data: np.ndarray, offsets: np.ndarray) -> Words:
    """Maximal runs of letters, digits and marks (Unicode L, N, M), each character lower-cased where
    that gives one character; everything else separates. Each Han, kana, Thai, Lao, Khmer or Myanmar
    letter is, with the marks after it, a word of its own."""
    return Words(*_all_words(data, offsets, *comparison_tables()))


@functools.cache
def comparison_tables(
    lowercase: bool = True, punctuation: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """`character_tables` for texts compared otherwise: with upper case, or with each punctuation
    mark and symbol (Unicode P, S) as a word."""
    classes, lower = character_tables()
    if punctuation:
        marks = [c for c in range(0x40000) if unicodedata.category(chr(c))[0] in "PS"]
        classes = classes.copy()
        classes[marks] = IDEOGRAPH
    return classes, lower if lowercase else np.arange(len(lower), dtype=np.uint32)


@kernel
def _all_words(
    data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n_docs = len(offsets) - 1
    most = (offsets[n_docs] - offsets[0]) // 2 + n_docs  # only pages written to become memory
    hashes = np.empty(most, np.uint64)
    starts = np.empty(most, np.int32)
    ends = np.empty(most, np.int32)
    word_offsets = np.zeros(n_docs + 1, np.int64)
    n = 0
    for d in range(n_docs):
        first, end = int(offsets[d]), int(offsets[d + 1])
        n += split_words(data, first, end, classes, lower, hashes[n:], starts[n:], ends[n:])
        word_offsets[d + 1] = n
    return hashes[:n], starts[:n], ends[:n], word_offsets


@uncounted
def split_words(
    data: np.ndarray,
    first: int,
    end: int,
    classes: np.ndarray,
    lower: np.ndarray,
    hashes: np.ndarray,
    starts: np.ndarray | None,
    ends: np.ndarray | None,
) -> int:
    """Writes the words of data[first:end]; returns how many. `hashes`, `starts` and `ends` have
    room for (end - first) // 2 + 1: a word of one byte needs a separator, and one that needs none
    has three bytes. Without `starts` and `ends`, only the hashes."""
    stop = min(end, len(data) - 7)  # below it, 8 bytes can be read
    if classes[ord("!")] != OTHER:
        stop = first  # ASCII punctuation counts: a character at a time
    to_lower = _ONES * np.uint64(0x20) if lower[ord("A")] == ord("a") else np.uint64(0)
    n, at = 0, first
    kind = OTHER  # of the open word: OTHER where there is none
    h, packed, used = _START, np.uint64(0), 0  # its hash so far, and bytes that are not in it yet
    while at < end:
        while kind == OTHER and at < stop:  # ASCII
            eight = read_bytes(data, np.uint64(at), 8)
            letters, inside = _ascii_classes(eight)
            if inside & np.uint64(0x80) == 0:
                if eight & np.uint64(0x80):
                    break
                at += _first_flag(inside | (eight & _TOPS))
                continue
            if starts is not None:
                starts[n] = at - first
            h = _START
            while inside == _TOPS and at + 8 < stop:
                h = mix(h ^ (eight | ((letters >> np.uint64(2)) & to_lower)))
                at += 8
                eight = read_bytes(data, np.uint64(at), 8)
                letters, inside = _ascii_classes(eight)
            used = min(_first_flag(inside ^ _TOPS), end - at)
            packed = _first_bytes(eight | ((letters >> np.uint64(2)) & to_lower), used)
            at += used
            if at < end and (used == 8 or data[at] >= 0x80):
                kind = LETTER  # it may go on
                h, packed, used = _appended(h, packed, used, np.uint64(0), 0)
                break
            hashes[n] = mix(h ^ packed) if used else h
            if ends is not None:
                ends[n] = at - first
            n += 1
            at += 1  # most words have one separator
        if at >= end:
            break
        code, width = decode(data, at, end)
        here = classes[code]
        joins = here == MARK or (kind < IDEOGRAPH and here < IDEOGRAPH)
        if kind != OTHER and not (here >= LETTER and joins):
            hashes[n] = mix(h ^ packed) if used else h
            if ends is not None:
                ends[n] = at - first
            n += 1
            kind = OTHER
        if here >= LETTER:
            if kind == OTHER:
                if starts is not None:
                    starts[n] = at - first
                h, packed, used, kind = _START, np.uint64(0), 0, here
            encoded, m = _encoded(np.uint64(lower[code] if code < 0x20000 else code))
            h, packed, used = _appended(h, packed, used, encoded, m)
        at += width
    if kind != OTHER:
        hashes[n] = mix(h ^ packed) if used else h
        if ends is not None:
            ends[n] = end - first
        n += 1
    return n


@inlined
def _within(eight: np.uint64, low: int, high: int) -> np.uint64:
    """Flags of the bytes from low to high; all have to be below 0x80."""
    return (eight + _ONES * np.uint64(0x80 - low)) & ~(eight + _ONES * np.uint64(0x7F - high))


@inlined
def _ascii_classes(eight: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Flags of the ASCII letters, and of the ASCII letters and digits."""
    low, ascii_only = eight & ~_TOPS, ~eight & _TOPS
    letters = _within(low | (_ONES * np.uint64(0x20)), 0x61, 0x7A) & ascii_only
    return letters, letters | (_within(low, 0x30, 0x39) & ascii_only)


@inlined
def _first_flag(flags: np.uint64) -> int:
    """Which byte has the first flag; 8 where none has."""
    place = np.int64(trailing_zeros(flags))  # type: ignore[call-arg]  # int() stays unsigned
    return place >> 3 if flags else 8


@inlined
def _first_bytes(eight: np.uint64, n: int) -> np.uint64:
    return eight & (_ALL >> np.uint64(64 - 8 * n)) if n else np.uint64(0)


@uncounted
def _appended(
    h: np.uint64, packed: np.uint64, used: int, encoded: np.uint64, n: int
) -> tuple[np.uint64, np.uint64, int]:
    """The state of a word with n bytes more: 8 go into the hash as soon as they are there."""
    if used < 8:
        packed |= encoded << np.uint64(8 * used)
    if used + n < 8:
        return h, packed, used + n
    left = used + n - 8
    return mix(h ^ packed), encoded >> np.uint64(8 * (n - left)) if left else np.uint64(0), left


@uncounted
def _encoded(code: np.uint64) -> tuple[np.uint64, int]:
    """A character as little-endian bytes, and how many: itself if ASCII, or three times 7 bits
    below a set one (as unambiguous as UTF-8, and sooner made)."""
    if code < np.uint64(0x80):
        return code, 1
    seven, low = np.uint64(7), np.uint64(0x7F)
    high = (code >> seven & low) << np.uint64(8) | code >> np.uint64(14) << np.uint64(16)
    return code & low | high | np.uint64(0x808080), 3


@uncounted
def split_characters(
    data: np.ndarray,
    first: int,
    end: int,
    classes: np.ndarray,
    lower: np.ndarray,
    hashes: np.ndarray,
) -> int:
    """Writes a hash of each character of data[first:end] as they are compared: those of the words,
    folded, and one space for whatever lies between two of them. Returns how many; `hashes` has room
    for end - first."""
    n, at, gap = 0, first, False
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] >= LETTER:
            if gap and n:
                hashes[n] = mix(_START ^ np.uint64(SPACE))
                n += 1
            hashes[n] = mix(_START ^ np.uint64(lower[code] if code < 0x20000 else code))
            n += 1
        gap = classes[code] < LETTER
        at += width
    return n
