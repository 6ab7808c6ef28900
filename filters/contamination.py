"""Measures what of the test sets a text holds: which items, how much of each, and where.

All in numpy over the n-grams that were found, which are few; the time for a text that holds nothing
is that of its words and of one look into a filter for each.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.compiled import kernel
from filters.folded_words import folded_words
from filters.kernels import Words, text_buffers
from filters.ngram_table import find_ngrams
from filters.testset_index import MIN_WORDS, TestSets, covered_words

ANSWER_WINDOW = 32
"""Words after a question within which a short answer is next to it."""


class Pairs(NamedTuple):
    """A document and an item that it holds something of, in this order."""

    doc: np.ndarray  # int64
    item: np.ndarray  # int64
    n_ngrams: np.ndarray  # int64, different n-grams of the item that were found
    fraction: np.ndarray  # float64, of the item's words in any of its n-grams, those in these
    answer: np.ndarray  # bool, its answer was found too: n-grams of it, or all of it next to them


class Measured(NamedTuple):
    n_matched_ngrams: np.ndarray  # int64, of each document: places at which an n-gram of an item is
    matched_fraction: np.ndarray  # float64, of its words that lie in one of them; 0 if it has none
    pairs: Pairs
    span_doc: np.ndarray  # int64, of each run of words shared with items
    span_start: np.ndarray  # int32, bytes from the start of the document's text
    span_end: np.ndarray  # int32


def measure_contamination(texts: pa.Array | pa.ChunkedArray, sets: TestSets) -> Measured:
    """What of the test sets each text holds; nothing, for a null text."""
    words = folded_words(*text_buffers(texts), sets.vocabulary)
    bounds = words.word_offsets
    n_docs = len(bounds) - 1
    place, length, end, item, position, answer = _item_matches(words, sets)
    doc = np.searchsorted(bounds, place, side="right") - 1
    starts, first = np.unique(place, return_index=True)
    past = np.maximum.reduceat(end, first) if len(first) else end
    reach = np.maximum.accumulate(past)  # documents lie one after the other, so this is safe
    before = np.concatenate([[0], reach[:-1]])[: len(starts)]
    covered = np.maximum(past - np.maximum(starts, before), 0)
    start_doc = np.searchsorted(bounds, starts, side="right") - 1
    n_covered = np.bincount(start_doc, covered, minlength=n_docs)
    opens = np.flatnonzero(starts >= before)
    closes = np.append(opens[1:], len(starts))[: len(opens)] - 1
    return Measured(
        n_matched_ngrams=np.bincount(start_doc, minlength=n_docs),
        matched_fraction=n_covered / np.maximum(np.diff(bounds), 1),
        pairs=_pairs(doc, item, position, length, answer, sets),
        span_doc=start_doc[opens],
        span_start=words.word_start[starts[opens]],
        span_end=words.word_end[reach[closes] - 1],
    )


def _item_matches(words: Words, sets: TestSets) -> tuple[np.ndarray, ...]:
    """(first word, its words in the item, past the last or its answer, item, position in the item,
    its answer is there) of each n-gram of an item that counts, in the order of places."""
    place, past, ngram = find_ngrams(words, sets.ngrams)
    n_sharing = np.diff(sets.item_offsets)[ngram]
    first = np.repeat(sets.item_offsets[ngram] - np.cumsum(n_sharing) + n_sharing, n_sharing)
    entry = first + np.arange(len(first))
    place, end = np.repeat(place, n_sharing), np.repeat(past, n_sharing)
    item, position = sets.items[entry].astype(np.int64), sets.positions[entry].astype(np.int64)
    length = sets.lengths[entry]
    short_question = length < MIN_WORDS
    in_answer = position >= sets.question_words[item]
    n_answer = np.diff(sets.first_word)[item] - sets.question_words[item]
    # A short answer is looked for once, after the last of n-grams that overlap.
    order = np.lexsort((place, item))
    runs_on = np.zeros(len(place), bool)
    follows = (item[order][1:] == item[order][:-1]) & (place[order][1:] < end[order][:-1])
    runs_on[order[:-1]] = follows
    asks = (n_answer > 0) & (n_answer < MIN_WORDS) & ~in_answer & (short_question | ~runs_on)
    at = np.flatnonzero(asks)
    past = np.searchsorted(words.word_offsets, place[at], side="right")
    limit = np.minimum(words.word_offsets[past], end[at] + ANSWER_WINDOW)
    answer_end = _ends_of_answers(
        words.word_hash, end[at], limit, sets.word_hash, sets.first_word[item[at] + 1], n_answer[at]
    )
    answer = in_answer
    answer[at] = answer_end > 0
    end[at] = np.maximum(end[at], answer_end)
    kept = ~short_question | answer
    return place[kept], length[kept], end[kept], item[kept], position[kept], answer[kept]


def _pairs(
    doc: np.ndarray,
    item: np.ndarray,
    position: np.ndarray,
    length: np.ndarray,
    answer: np.ndarray,
    sets: TestSets,
) -> Pairs:
    n_items = max(len(sets.names), 1)
    order = np.lexsort((position, item, doc))
    key, position, length = (doc * n_items + item)[order], position[order], length[order]
    pair, index = np.unique(key, return_inverse=True)
    n_answered = np.bincount(index, answer[order], minlength=len(pair))
    new = np.ones(len(key), bool)
    new[1:] = (key[1:] != key[:-1]) | (position[1:] != position[:-1])
    index, position, length = index[new], position[new], length[new]
    covered = covered_words(index, position, length, len(pair))
    pair_doc, pair_item = np.divmod(pair, n_items)
    return Pairs(
        doc=pair_doc,
        item=pair_item,
        n_ngrams=np.bincount(index, minlength=len(pair)),
        fraction=covered / sets.item_words[pair_item],
        answer=n_answered > 0,
    )


@kernel
def _ends_of_answers(
    word_hash: np.ndarray,
    starts: np.ndarray,
    limits: np.ndarray,
    item_words: np.ndarray,
    item_ends: np.ndarray,
    n_answers: np.ndarray,
) -> np.ndarray:
    """int64: past the last word of the answer, the first time it is in words[start:limit]; 0 where
    it is not."""
    ends = np.zeros(len(starts), np.int64)
    for i in range(len(starts)):
        n = n_answers[i]
        for at in range(starts[i], limits[i] - n + 1):
            k = 0
            while k < n and word_hash[at + k] == item_words[item_ends[i] - n + k]:
                k += 1
            if k == n:
                ends[i] = at + n
                break
    return ends
