"""Merges the symbols of one chunk of text as SentencePiece does: again and again the adjacent pair
of the highest score, the leftmost of equals. A few symbols are scanned each time; many go through
a heap, in n log n steps.
"""

import numpy as np

from filters.compiled import inlined, uncounted
from filters.kernels import decode
from tokenizer.vocabulary import find_pair, symbol_of

SCANNED = 64  # symbols up to which scanning is faster
NEVER = np.int64(1 << 30)  # the rank of what does not merge


def new_scratch(most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for a chunk of so many bytes: symbols, where they begin, what each merges to with the
    next one, and at which rank; and for the heap, the symbols after and before each."""
    return (
        np.empty((4, most + 1), np.int64),
        np.empty(3 * most, np.int64),
        np.empty((2, most), np.int64),
    )


@uncounted
def merge(data, start, end, vocabulary, scratch, ids, n):
    """Writes the ids of one chunk at ids[n:]; returns where they end."""
    rows, heap, links = scratch
    symbols, begins = rows[0], rows[1]
    characters = (
        vocabulary.ascii_symbol, vocabulary.character_keys, vocabulary.character_symbols,
    )  # fmt: skip
    tables = vocabulary.merge_keys, vocabulary.merge_symbols, vocabulary.rank
    n_symbols = 0
    at = start
    while at < end:
        code, width = decode(data, at, end)
        symbols[n_symbols], begins[n_symbols] = symbol_of(code, *characters), at
        n_symbols += 1
        at += width
    for i in range(n_symbols - 1):
        rows[2, i], rows[3, i] = _pair(symbols[i], symbols[i + 1], tables)
    if n_symbols <= SCANNED:
        n_symbols = _merge_by_scan(rows, n_symbols, tables)
    else:
        n_symbols = _merge_by_heap(rows, heap, links, n_symbols, tables)
    begins[n_symbols] = end
    for i in range(n_symbols):
        if 0 <= symbols[i] < vocabulary.n_pieces:
            ids[n] = symbols[i]
            n += 1
        else:
            for at in range(begins[i], begins[i + 1]):
                ids[n] = vocabulary.byte_ids[data[at]]
                n += 1
    return n


@inlined
def _pair(left, right, tables):
    """(symbol, rank) of what two neighbours merge to; (-1, NEVER) for nothing."""
    merge_keys, merge_symbols, rank = tables
    if left < 0 or right < 0:
        return np.int64(-1), NEVER
    at = find_pair(merge_keys, left, right)
    if at < 0:
        return np.int64(-1), NEVER
    return np.int64(merge_symbols[at]), rank[merge_symbols[at]]


@uncounted
def _merge_by_scan(rows, n, tables):
    """SentencePiece's loop for a few symbols: looks at every pair each time. Returns how many are
    left, at the front of `rows`."""
    symbols, begins, pairs, ranks = rows[0], rows[1], rows[2], rows[3]
    while True:
        best, left = NEVER, 0
        for i in range(n - 1):
            if ranks[i] < best:
                best, left = ranks[i], i
        if best == NEVER:
            return n
        symbols[left] = pairs[left]
        n -= 1
        for i in range(left + 1, n):
            symbols[i], begins[i] = symbols[i + 1], begins[i + 1]
            pairs[i], ranks[i] = pairs[i + 1], ranks[i + 1]
        for i in (left - 1, left):
            if 0 <= i < n - 1:
                pairs[i], ranks[i] = _pair(symbols[i], symbols[i + 1], tables)


@uncounted
def _merge_by_heap(rows, heap, links, n, tables):
    """The same in n log n steps: a heap of (rank, left symbol), whose entries are stale where the
    pair at that place is another by now."""
    symbols, begins, pairs, ranks = rows[0], rows[1], rows[2], rows[3]
    following, before = links[0], links[1]
    n_heap = 0
    for i in range(n):
        following[i], before[i] = i + 1, i - 1
    for i in range(n - 1):
        if ranks[i] != NEVER:
            n_heap = _push(heap, n_heap, ranks[i] << 32 | i)
    ranks[n - 1] = NEVER
    while n_heap:
        top = heap[0]
        n_heap -= 1
        _sift_down(heap, n_heap)
        left = top & 0xFFFFFFFF
        if ranks[left] != top >> 32:
            continue
        right = following[left]
        symbols[left] = pairs[left]
        ranks[left] = ranks[right] = NEVER
        following[left] = following[right]
        if following[left] < n:
            before[following[left]] = left
        for i in (before[left], left):
            if i >= 0 and following[i] < n:
                pairs[i], ranks[i] = _pair(symbols[i], symbols[following[i]], tables)
                if ranks[i] != NEVER:
                    n_heap = _push(heap, n_heap, ranks[i] << 32 | i)
    left, n_left = 0, 0
    while left < n:
        symbols[n_left], begins[n_left] = symbols[left], begins[left]
        n_left += 1
        left = following[left]
    return n_left


@uncounted
def _push(heap, n, entry):
    i = n
    while i > 0 and heap[(i - 1) // 2] > entry:
        heap[i] = heap[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i] = entry
    return n + 1


@uncounted
def _sift_down(heap, n):
    """Removes the top: heap[n], the last entry, goes where it belongs."""
    entry = heap[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry
