"""Looks up n-grams of words among a million others: a rolling hash, a filter of bits that stays in
the cache, then a table.

The filter passes one word in 16 by chance, so that the table, which does not fit the cache, is
seldom asked: 110 MB/s of English with a million n-grams. An n-gram can pass over numbers; whole
passages of other lengths, numbers included, are looked for only where their first HEAD words pass a
filter of their own.
"""

from typing import Any, NamedTuple

import numpy as np

from filters.compiled import inlined, kernel
from filters.kernels import Words, mix, slot_of, table_size

HEAD = 5
"""Words of the shortest whole passage."""

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that a rolling hash modulo 2^64 loses nothing
_BITS_PER_NGRAM = 16  # of the filter before the table: 1 word in 16 passes it by chance


class NGrams(NamedTuple):
    """Different n-grams, by number, and how to find them: first a filter that stays in the cache,
    then a table. A million n-grams take 2 MB and 25 MB."""

    n: int  # words of an n-gram
    passed_over: (
        np.uint64
    )  # folded_words.NUMBER: words with this bit are no words of an n-gram; 0: all are
    keys: np.ndarray  # uint64, open addressing over hashes, 0 where empty
    ids: np.ndarray  # int32, the number of the n-gram in each slot
    bits: np.ndarray  # uint64, a bit set for each hash
    whole_lengths: np.ndarray  # int64, words of the whole passages
    whole_bits: np.ndarray  # uint64, a bit set for the first HEAD of each of those
    whole_heads: np.ndarray  # uint64, open addressing over the hashes of these HEAD words


def build(
    keys: np.ndarray, n: int, passed_over: np.uint64, lengths: np.ndarray, heads: np.ndarray
) -> NGrams:
    """keys: of all; lengths, heads: words and hash of the first HEAD, of the whole passages."""
    table_keys, ids = key_table(keys)
    return NGrams(
        n=n,
        passed_over=passed_over,
        keys=table_keys,
        ids=ids,
        bits=_bit_filter(keys),
        whole_lengths=np.unique(lengths),
        whole_bits=_bit_filter(heads),
        whole_heads=key_table(np.unique(heads))[0],
    )


def find_ngrams(words: Words, ngrams: NGrams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first word, past the last, number) of each n-gram that is in the index, in the order of
    first words."""
    fields: Any = ngrams
    return _find(words.word_hash, words.word_offsets, HEAD, *fields)


def keys_of(ngrams: NGrams, wanted: np.ndarray) -> np.ndarray:
    used = ngrams.keys != 0
    return ngrams.keys[used][np.isin(ngrams.ids[used], wanted)]


@inlined
def _has_bit(bits: np.ndarray, key: np.uint64) -> bool:
    at = key >> np.uint64(20)  # other bits than those that choose the slot
    place = (at >> np.uint64(6)) & np.uint64(len(bits) - 1)
    return (bits[place] >> (at & np.uint64(63))) & np.uint64(1) != 0


@kernel
def _bit_filter(keys: np.ndarray) -> np.ndarray:
    bits = np.zeros(table_size(max(len(keys) * _BITS_PER_NGRAM // 128, 1)), np.uint64)
    for key in keys:
        at = key >> np.uint64(20)
        place = (at >> np.uint64(6)) & np.uint64(len(bits) - 1)
        bits[place] |= np.uint64(1) << (at & np.uint64(63))
    return bits


@inlined
def _key(rolling: np.uint64, length: int) -> np.uint64:
    return max(mix(rolling + np.uint64(length)), np.uint64(1))


@kernel
def key_table(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An open-addressing table of different keys: (key or 0, place of the key) in each slot."""
    slots = np.zeros(table_size(len(keys)), np.uint64)
    places = np.zeros(len(slots), np.int32)
    for place in range(len(keys)):
        slot = slot_of(slots, keys[place])
        slots[slot], places[slot] = keys[place], place
    return slots, places


@kernel
def ngram_hashes(word_hash: np.ndarray, word_offsets: np.ndarray, length: int) -> np.ndarray:
    """uint64 of the n-gram that starts at each word; 0 where the document ends before it does."""
    hashes = np.zeros(len(word_hash), np.uint64)
    for d in range(len(word_offsets) - 1):
        for at in range(word_offsets[d], word_offsets[d + 1] - length + 1):
            rolling = np.uint64(0)
            for k in range(length):
                rolling = rolling * _BASE + word_hash[at + k]
            hashes[at] = _key(rolling, length)
    return hashes


@kernel
def _find(
    word_hash, word_offsets, head, n, passed_over, keys, ids, bits, whole_lengths, whole_bits, heads
):
    places, pasts = np.empty(64, np.int64), np.empty(64, np.int64)
    found = np.empty(64, np.int64)
    n_found = 0
    drop, head_drop = np.uint64(1), np.uint64(1)  # the factor of the word that leaves a window
    for _ in range(n):
        drop *= _BASE
    for _ in range(head):
        head_drop *= _BASE
    room = len(whole_lengths) + 1
    for d in range(len(word_offsets) - 1):
        first, past = word_offsets[d], word_offsets[d + 1]
        rolling, head_rolling = np.uint64(0), np.uint64(0)
        start, held = first, 0  # of the n-gram that ends here
        for end in range(first, past):
            if n_found + room + 1 > len(places):
                places = np.concatenate((places, np.empty_like(places)))
                pasts = np.concatenate((pasts, np.empty_like(pasts)))
                found = np.concatenate((found, np.empty_like(found)))
            if word_hash[end] & passed_over == 0:
                rolling = rolling * _BASE + word_hash[end]
                if held == n:
                    rolling -= word_hash[start] * drop
                    start += 1
                else:
                    held += 1
                while word_hash[start] & passed_over != 0:
                    start += 1
                key = _key(rolling, n)
                if held == n and _has_bit(bits, key):
                    slot = slot_of(keys, key)
                    if keys[slot] == key:
                        places[n_found], pasts[n_found] = start, end + 1
                        found[n_found] = ids[slot]
                        n_found += 1
            if len(whole_lengths) == 0:
                continue
            head_rolling = head_rolling * _BASE + word_hash[end]
            if end - first >= head:
                head_rolling -= word_hash[end - head] * head_drop
            head_key = _key(head_rolling, head)
            if end - first < head - 1 or not _has_bit(whole_bits, head_key):
                continue
            if (
                heads[slot_of(heads, head_key)] != head_key
            ):  # a text may repeat what passes by chance
                continue
            at, whole = end - head + 1, head_rolling
            length = head
            for wanted in whole_lengths:
                if at + wanted > past:
                    break
                while length < wanted:
                    whole = whole * _BASE + word_hash[at + length]
                    length += 1
                key = _key(whole, length)
                slot = slot_of(keys, key)
                if keys[slot] == key:
                    places[n_found], pasts[n_found], found[n_found] = at, at + wanted, ids[slot]
                    n_found += 1
    order = np.argsort(places[:n_found], kind="mergesort")
    return places[:n_found][order], pasts[:n_found][order], found[:n_found][order]
