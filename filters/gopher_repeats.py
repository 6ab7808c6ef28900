"""Repeated lines, paragraphs and n-grams as the Gopher rules count them.

Definitions: Rae et al. 2021 (arXiv 2112.11446), section A.1.1, as datatrove 0.10.1 reads them.
Repeats are found by 64-bit hashes: among a million n-grams a wrong one has a chance of 3e-8.
Only n-grams whose two (n-1)-grams both repeat are looked at, for no other can repeat; past n = 4
that leaves little to do in ordinary text. Speed on English books, one core: lines and paragraphs
450 MB/s, n-grams of all nine sizes 100 MB/s.
"""

import numpy as np
from numba import njit

from filters.kernels import SPACE, decode, hash_bytes, mix, slot_of, table_size

TOP = (2, 3, 4)  # the sizes of which the most frequent n-gram is measured
DUPLICATE = (5, 6, 7, 8, 9, 10)  # the sizes of which the repeats are measured

_ODD = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def count_chars(data: np.ndarray, start: int, end: int) -> int:
    """Characters of valid UTF-8."""
    n = 0
    for at in range(start, end):
        n += (data[at] & 0xC0) != 0x80
    return n


@njit(cache=True, nogil=True)
def chars_of(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64[documents]: the length of each text in characters."""
    n_chars = np.zeros(len(offsets) - 1, np.int64)
    for d in range(len(n_chars)):
        n_chars[d] = count_chars(data, offsets[d], offsets[d + 1])
    return n_chars


@njit(cache=True, nogil=True)
def _strip(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> tuple[int, int]:
    """As str.strip."""
    while start < end:
        code, width = decode(data, start, end)
        if classes[code] != SPACE:
            break
        start += width
    while start < end:
        at = end - 1
        while at > start and (data[at] & 0xC0) == 0x80:
            at -= 1
        if classes[decode(data, at, end)[0]] != SPACE:
            break
        end = at
    return start, end


@njit(cache=True, nogil=True)
def _newlines(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """(end, line ends) of the run of line ends that starts at data[at]; CRLF is one, as is CR."""
    n = 0
    while at < end and data[at] in (0x0A, 0x0D):
        n += data[at] == 0x0A or at + 1 == end or data[at + 1] != 0x0A
        at += 1
    return at, n


@njit(cache=True, nogil=True)
def _duplicates(data: np.ndarray, start: int, end: int, least: int) -> tuple[int, int, int]:
    """(segments, repeats of an earlier one, their characters), cut at `least` or more line ends."""
    most = 1
    for at in range(start, end):
        most += data[at] in (0x0A, 0x0D)
    keys = np.zeros(table_size(most), np.uint64)
    n = n_repeats = n_chars = 0
    first = at = start
    while True:
        while at < end and data[at] not in (0x0A, 0x0D):
            at += 1
        stop = at
        at, n_ends = _newlines(data, at, end)
        if stop < end and n_ends < least:
            continue
        n += 1
        key = max(hash_bytes(data, first, stop, np.uint64(0)), np.uint64(1))
        slot = slot_of(keys, key)
        if keys[slot] == key:
            n_repeats += 1
            n_chars += count_chars(data, first, stop)
        keys[slot] = key
        if stop == end:
            return n, n_repeats, n_chars
        first = at


@njit(cache=True, nogil=True)
def segment_counts(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """int64[documents, 6]: (n, repeats, characters in repeats) of lines, cut at runs of line ends,
    and of paragraphs, cut at two line ends or more in the stripped text. A text that starts or ends
    with a line end has an empty line there, as re.split gives it. Unlike datatrove, which knows \\n
    alone, CRLF is a line end: else every empty line of such a text would be a repeated line."""
    counts = np.zeros((len(offsets) - 1, 6), np.int64)
    for d in range(len(counts)):
        start, end = offsets[d], offsets[d + 1]
        counts[d, 0], counts[d, 1], counts[d, 2] = _duplicates(data, start, end, 1)
        start, end = _strip(data, start, end, classes)
        counts[d, 3], counts[d, 4], counts[d, 5] = _duplicates(data, start, end, 2)
    return counts


@njit(cache=True, nogil=True)
def _top_chars(slots: np.ndarray, counts: np.ndarray, chars: np.ndarray, n: int) -> int:
    """Characters, single spaces between the words included, of the most frequent n-gram, the
    earliest of equals, times its count. `slots` is -1 where an n-gram occurs only once."""
    best, place = 1, 0
    for at in range(len(slots)):
        if slots[at] >= 0 and counts[slots[at]] > best:
            best, place = counts[slots[at]], at
    return best * (chars[place : place + n].sum() + n - 1)


@njit(cache=True, nogil=True)
def _repeat_chars(slots: np.ndarray, n_slots: int, chars: np.ndarray, n: int) -> int:
    """Characters, without spaces, of n-grams that were met before, read from left to right; after a
    repeat reading goes on behind it, so that no character is counted twice."""
    met = np.zeros(n_slots, np.bool_)
    total = at = 0
    while at < len(slots):
        if slots[at] >= 0 and met[slots[at]]:
            total += chars[at : at + n].sum()
            at += n
            continue
        if slots[at] >= 0:
            met[slots[at]] = True
        at += 1
    return total


@njit(cache=True, nogil=True)
def _ngram_counts(hashes: np.ndarray, chars: np.ndarray, out: np.ndarray) -> None:
    """One document's row of `ngram_counts`."""
    grams = (
        hashes.copy()
    )  # of the n-gram that starts at each token, kept up only where it may repeat
    slots = np.zeros(len(hashes), np.int64)  # its place in the table; -1: it cannot repeat
    for n in range(2, min(DUPLICATE[-1], len(hashes)) + 1):
        n_alive = 0
        for at in range(len(slots) - 1):
            slots[at] = -1 if slots[at] < 0 or slots[at + 1] < 0 else 0
            n_alive += slots[at] == 0
        slots = slots[:-1]  # one for each n-gram
        keys = np.zeros(table_size(n_alive), np.uint64)
        counts = np.zeros(len(keys), np.int32)
        for at in range(len(slots)):
            if slots[at] == 0:
                grams[at] = max(mix(grams[at] + hashes[at + n - 1] * _ODD), np.uint64(1))
                slots[at] = slot_of(keys, grams[at])
                keys[slots[at]] = grams[at]
                counts[slots[at]] += 1
        for at in range(len(slots)):
            if slots[at] >= 0 and counts[slots[at]] < 2:
                slots[at] = -1
        if n <= TOP[-1]:
            out[n - TOP[0]] = _top_chars(slots, counts, chars, n)
        else:
            out[n - TOP[0]] = _repeat_chars(slots, len(keys), chars, n)


@njit(cache=True, nogil=True)
def ngram_counts(
    token_hash: np.ndarray, token_chars: np.ndarray, token_offsets: np.ndarray
) -> np.ndarray:
    """int64[documents, 9]: the characters in the most frequent 2-, 3- and 4-gram of tokens, and in
    repeated 5- to 10-grams. 0 for a document of fewer than n tokens."""
    out = np.zeros((len(token_offsets) - 1, len(TOP) + len(DUPLICATE)), np.int64)
    for d in range(len(out)):
        start, end = token_offsets[d], token_offsets[d + 1]
        _ngram_counts(token_hash[start:end], token_chars[start:end], out[d])
    return out
