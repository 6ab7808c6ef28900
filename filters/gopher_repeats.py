"""Repeated lines, paragraphs and n-grams as the Gopher rules count them.

Definitions: Rae et al. 2021 (arXiv 2112.11446), section A.1.1, as datatrove 0.10.1 reads them.
Repeats are found by 64-bit hashes: among a million n-grams a wrong one has a chance of 3e-8.
Only n-grams whose two (n-1)-grams both repeat are looked at, for no other can repeat; past n = 4
that leaves little to do in ordinary text. Speed on English books, one core: lines and paragraphs
1,200 MB/s, n-grams of all nine sizes 70 MB/s.
"""

import numpy as np

from filters.compiled import kernel, uncounted
from filters.kernels import SPACE, decode, hash_bytes, mix, slot_of, table_size
from filters.spans import rstrip

TOP = (2, 3, 4)  # the sizes of which the most frequent n-gram is measured
DUPLICATE = (5, 6, 7, 8, 9, 10)  # the sizes of which the repeats are measured
DATATROVE, MASSIVEWEB, REDPAJAMA = range(3)
"""Readings of Gopher: whether the first occurrence of a repeat counts (not for DATATROVE), and
whether an n-gram that occurs once can be the most frequent (only there)."""

_ODD = np.uint64(0x9E3779B97F4A7C15)


@uncounted
def count_chars(data: np.ndarray, start: int, end: int) -> int:
    """Characters of valid UTF-8."""
    n = 0
    for at in range(start, end):
        n += (data[at] & 0xC0) != 0x80
    return n


@kernel
def repeats(hashes: np.ndarray, chars: np.ndarray) -> tuple[int, int]:
    """(repeats of an earlier one, their characters) among segments with these hashes."""
    keys = np.zeros(table_size(len(hashes)), np.uint64)
    n_repeats = n_chars = 0
    for i in range(len(hashes)):
        key = max(hashes[i], np.uint64(1))
        slot = slot_of(keys, key)
        if keys[slot] == key:
            n_repeats += 1
            n_chars += chars[i]
        keys[slot] = key
    return n_repeats, n_chars


@uncounted
def is_blank(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> bool:
    while start < end:
        code, width = decode(data, start, end)
        if classes[code] != SPACE:
            return False
        start += width
    return True


@kernel
def _paragraph_counts(
    data: np.ndarray, base: int, starts: np.ndarray, ends: np.ndarray, classes: np.ndarray
) -> tuple[int, int, int]:
    """(n, repeats, characters in repeats) of the paragraphs of a document at `base` whose lines lie
    at starts to ends: cut at empty lines in the text without the white space around it."""
    first, last = 0, len(starts)
    while first < last and is_blank(data, base + starts[first], base + ends[first], classes):
        first += 1
    while last > first and is_blank(data, base + starts[last - 1], base + ends[last - 1], classes):
        last -= 1
    if first == last:
        return 1, 0, 0
    hashes = np.empty(last - first, np.uint64)
    chars = np.zeros(last - first, np.int64)
    n = 0
    open_at = base + starts[first]
    while classes[decode(data, open_at, base + ends[first])[0]] == SPACE:
        open_at += decode(data, open_at, base + ends[first])[1]
    for i in range(first + 1, last + 1):
        if i < last and starts[i] != ends[i]:
            if open_at < 0:
                open_at = base + starts[i]
            continue
        if open_at >= 0:
            stop = base + ends[i - 1]
            if i == last:
                stop = rstrip(data, open_at, stop, classes)
            hashes[n] = hash_bytes(data, open_at, stop, np.uint64(0))
            chars[n] = count_chars(data, open_at, stop)
            n += 1
        open_at = -1
    return n, *repeats(hashes[:n], chars[:n])


@kernel
def segment_counts(
    data: np.ndarray,
    offsets: np.ndarray,
    line_first: np.ndarray,
    line_last: np.ndarray,
    line_start: np.ndarray,
    line_end: np.ndarray,
    line_chars: np.ndarray,
    line_hash: np.ndarray,
    classes: np.ndarray,
) -> np.ndarray:
    """int64[documents, 6]: (n, repeats, characters in repeats) of the lines that are not empty, and
    of paragraphs. A text that starts or ends with a line end has an empty line there, as re.split
    gives it. Unlike datatrove, which knows \\n alone, any line end of str.splitlines ends a line:
    else with CRLF every empty line would be a repeated one."""
    counts = np.zeros((len(offsets) - 1, 6), np.int64)
    for d in range(len(counts)):
        first, last = line_first[d], line_last[d]
        starts, ends = line_start[first:last], line_end[first:last]
        full = np.flatnonzero(ends > starts)
        n_repeats, n_chars = repeats(line_hash[first:last][full], line_chars[first:last][full])
        n_empty = 0
        if last > first:
            n_empty += starts[0] == ends[0]
            n_empty += ends[-1] < offsets[d + 1] - offsets[d]
        counts[d, 0] = max(len(full) + n_empty, 1)
        counts[d, 1], counts[d, 2] = n_repeats + (n_empty == 2), n_chars
        paragraphs = _paragraph_counts(data, offsets[d], starts, ends, classes)
        counts[d, 3], counts[d, 4], counts[d, 5] = paragraphs
    return counts


@uncounted
def _top_chars(
    slots: np.ndarray, counts: np.ndarray, before: np.ndarray, n: int, reading: int
) -> int:
    """Characters of the most frequent n-gram times its count: of equals the earliest, or for
    MASSIVEWEB the longest. `slots` is -1 where an n-gram occurs only once; for DATATROVE such a one
    counts too, and single spaces between the words. `before`: characters before each token."""
    best, length = 1, before[n] - before[0]
    for at in range(len(slots)):
        if slots[at] >= 0:
            count = counts[slots[at]]
            if count > best:
                best, length = count, before[at + n] - before[at]
            elif count == best and reading == MASSIVEWEB:
                length = max(length, before[at + n] - before[at])
    if reading == DATATROVE:
        return best * (length + n - 1)
    return best * length if best > 1 else 0


@uncounted
def _repeat_chars(slots: np.ndarray, counts: np.ndarray, before: np.ndarray, n: int) -> int:
    """Characters, without spaces, of n-grams that were met before, read from left to right; after a
    repeat reading goes on behind it, so that no character is counted twice. `counts` of those that
    were met become 0."""
    total = at = 0
    while at < len(slots):
        if slots[at] >= 0 and counts[slots[at]] == 0:
            total += before[at + n] - before[at]
            at += n
            continue
        if slots[at] >= 0:
            counts[slots[at]] = 0
        at += 1
    return total


@uncounted
def _covered_chars(slots: np.ndarray, before: np.ndarray, n: int) -> int:
    """Characters, without spaces, of the tokens in any occurrence of an n-gram that repeats."""
    total = done = 0
    for at in range(len(slots)):
        if slots[at] >= 0:
            total += before[at + n] - before[max(at, done)]
            done = at + n
    return total


@kernel
def _ngram_counts(hashes: np.ndarray, chars: np.ndarray, out: np.ndarray, reading: int) -> None:
    """One document's row of `ngram_counts`."""
    before = np.zeros(len(chars) + 1, np.int32)
    for at in range(len(chars)):
        before[at + 1] = before[at] + chars[at]
    # Of the n-gram that starts at each token, kept up only where it may repeat; and its place in
    # the table, -1 where it cannot.
    grams = hashes.copy()
    slots = np.zeros(len(hashes), np.int32)
    n_alive = len(hashes)
    # One table for all sizes, emptied entry by entry: to zero a new one each time took a third of
    # the time of long texts.
    table = np.zeros(table_size(n_alive), np.uint64)
    counts = np.zeros(len(table), np.int32)
    for n in range(2, min(DUPLICATE[-1], len(hashes)) + 1):
        keys = table[: table_size(n_alive)]
        for at in range(len(slots) - 1):
            if slots[at] >= 0 and slots[at + 1] >= 0:
                gram = max(mix(grams[at] + hashes[at + n - 1] * _ODD), np.uint64(1))
                slot = slot_of(keys, gram)
                grams[at], slots[at], keys[slot] = gram, slot, gram
                counts[slot] += 1
            else:
                slots[at] = -1
        slots = slots[:-1]  # one for each n-gram
        n_alive = 0
        for at in range(len(slots)):
            if slots[at] >= 0 and counts[slots[at]] < 2:
                keys[slots[at]], counts[slots[at]] = 0, 0
                slots[at] = -1
            n_alive += slots[at] >= 0
        if n <= TOP[-1]:
            out[n - TOP[0]] = _top_chars(slots, counts, before, n, reading)
        elif reading == DATATROVE:
            out[n - TOP[0]] = _repeat_chars(slots, counts, before, n)
        else:
            out[n - TOP[0]] = _covered_chars(slots, before, n)
        if n_alive < 2 and n >= TOP[-1]:
            break  # no longer one repeats
        for at in range(len(slots)):
            if slots[at] >= 0:
                keys[slots[at]], counts[slots[at]] = 0, 0


@kernel
def ngram_counts(
    token_hash: np.ndarray,
    token_chars: np.ndarray,
    token_first: np.ndarray,
    token_last: np.ndarray,
    reading: int,
) -> np.ndarray:
    """int64[documents, 9]: the characters in the most frequent 2-, 3- and 4-gram of tokens, and in
    repeated 5- to 10-grams, by one of the three readings. 0 for a document of fewer than n
    tokens."""
    out = np.zeros((len(token_first), len(TOP) + len(DUPLICATE)), np.int64)
    for d in range(len(out)):
        start, end = token_first[d], token_last[d]
        _ngram_counts(token_hash[start:end], token_chars[start:end], out[d], reading)
    return out
