"""Finds documents that hold parts of test sets, by n-grams of normalized words.

Case, punctuation and line breaks do not matter: where re-wrapping a text to 8-word lines took
paragraph overlap from .87 to 0 (Marin, issue 6852), it changes nothing here. 13 words are the
choice of GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C). What of a test set counts:
`filters/testsets.py`. Paraphrases and translations are not found.
Speed on English books against 129,000 n-grams, one core: 100 MB/s.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from filters.kernels import Words, normalized_words, slot_of, text_buffers
from filters.rules import record, with_signals
from filters.testsets import MIN_WORDS, TestSets, load_testsets, ngram_hashes, testset_summary

__all__ = ["Decontaminate", "decontaminate", "measure_contamination", "testset_summary"]


@dataclass(frozen=True, kw_only=True)
class Decontaminate:
    """Marks documents that share an n-gram with a test item."""

    against: tuple[str, ...]
    """Test sets: .jsonl (also .gz, .zst, .bz2) or .parquet, an item each row."""
    n: int = 13
    """Words in an n-gram, 8 to 20. A shorter item of 8 words or more is matched as a whole."""
    fields: tuple[str, ...] | None = None
    """What is taken of an item, in this order; every string in it, nested ones too, if unset."""
    min_matched_ngrams: int = 1
    """A document is marked where as many of its n-grams, or more, are in the test sets."""
    max_items_per_ngram: int = 10
    """An n-gram of more items than this is a template of the test set, and does not count."""

    def __post_init__(self) -> None:
        if not self.against:
            raise ValueError("against is empty; name the test sets")
        if not MIN_WORDS <= self.n <= 20:
            raise ValueError(f"n {self.n} is not within {MIN_WORDS}..20")
        if self.fields is not None and not self.fields:
            raise ValueError("fields is empty; name some, or leave it out to take all")
        for name in ("min_matched_ngrams", "max_items_per_ngram"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below 1")


class Measured(NamedTuple):
    """For each document."""

    n_matched_ngrams: np.ndarray  # int64, its n-grams, at each place, that are in the test sets
    matched_fraction: np.ndarray  # float64, of its words that lie in one of them; 0 if it has none
    best_item: np.ndarray  # int64, the item with most n-grams found, the first of equals; or -1
    similarity: np.ndarray  # float64, the fraction of that item's n-grams found in the document


def decontaminate(docs: pa.Table, config: Decontaminate) -> pa.Table:
    """Adds decontaminate.n_matched_ngrams and .matched_fraction; marks test_item, with the item of
    which most n-grams were found as matched_id."""
    sets = load_testsets(config.against, config.n, config.fields, config.max_items_per_ngram)
    found = measure_contamination(docs["text"], sets)
    absent = docs["text"].is_null().to_numpy(zero_copy_only=False)
    signals = {
        "n_matched_ngrams": pa.array(found.n_matched_ngrams, mask=absent),
        "matched_fraction": pa.array(found.matched_fraction, mask=absent),
    }
    docs = with_signals(docs, "decontaminate", signals)
    value = np.where(absent, np.nan, found.n_matched_ngrams)
    failing = ~(value >= 0) | (value >= config.min_matched_ngrams)
    threshold = np.full(len(value), float(config.min_matched_ngrams))
    names = [sets.names[item] if item >= 0 else None for item in found.best_item]
    return record(
        docs,
        [("test_item", failing, value, threshold)],
        matched_id=pa.array(names, pa.string()),
        similarity=found.similarity,
    )


def measure_contamination(texts: pa.ChunkedArray, sets: TestSets) -> Measured:
    """What of the test sets each text holds; nothing, for a null text."""
    words = normalized_words(*text_buffers(texts))
    ends = words.word_offsets
    n_docs = len(ends) - 1
    place, ngram, length = _matches(words, sets)
    doc = np.searchsorted(ends, place, side="right") - 1
    steps = np.bincount(place, minlength=len(words.word_hash) + 1)
    steps -= np.bincount(place + length, minlength=len(words.word_hash) + 1)
    covered = np.flatnonzero(np.cumsum(steps))
    n_covered = np.bincount(np.searchsorted(ends, covered, side="right") - 1, minlength=n_docs)
    best_item, n_found = _best_items(doc, ngram, sets, n_docs)
    in_item = np.maximum(sets.item_ngrams[best_item], 1)  # whatever stands at -1 is not used
    return Measured(
        n_matched_ngrams=np.bincount(doc, minlength=n_docs),
        matched_fraction=n_covered / np.maximum(np.diff(ends), 1),
        best_item=best_item,
        similarity=np.where(best_item >= 0, n_found / in_item, np.nan),
    )


def _matches(words: Words, sets: TestSets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(word it starts at, number, length in words) of each n-gram that is in the test sets."""
    places, ngrams, lengths = [], [], []
    for length in sets.lengths:
        hashes = ngram_hashes(words.word_hash, words.word_offsets, length)
        found = _find(hashes, sets.table_keys, sets.table_ngrams)
        places.append(np.flatnonzero(found >= 0))
        ngrams.append(found[places[-1]].astype(np.int64))
        lengths.append(np.full(len(places[-1]), length))
    none = np.zeros(0, np.int64)
    return (
        np.concatenate([none, *places]),
        np.concatenate([none, *ngrams]),
        np.concatenate([none, *lengths]),
    )


def _best_items(
    doc: np.ndarray, ngram: np.ndarray, sets: TestSets, n_docs: int
) -> tuple[np.ndarray, np.ndarray]:
    """(item, n) for each document: the item of which most different n-grams were found, and how
    many; the lowest of equals; -1 and 0 where there is none."""
    n_ngrams, n_items = len(sets.item_offsets) - 1, len(sets.names)
    pairs = np.unique(doc * n_ngrams + ngram)
    doc, ngram = np.divmod(pairs, max(n_ngrams, 1))
    n_sharing = np.diff(sets.item_offsets)[ngram]
    first = np.repeat(sets.item_offsets[ngram] - np.cumsum(n_sharing) + n_sharing, n_sharing)
    item = sets.items[first + np.arange(len(first))]
    pairs, n_found = np.unique(np.repeat(doc, n_sharing) * n_items + item, return_counts=True)
    doc, item = np.divmod(pairs, n_items)
    order = np.lexsort((item, -n_found, doc))
    doc, at = np.unique(doc[order], return_index=True)
    best_item, best_found = np.full(n_docs, -1), np.zeros(n_docs, np.int64)
    best_item[doc], best_found[doc] = item[order][at], n_found[order][at]
    return best_item, best_found


@njit(cache=True, nogil=True)
def _find(hashes: np.ndarray, table_keys: np.ndarray, table_ngrams: np.ndarray) -> np.ndarray:
    """int32: the number of the n-gram with each hash, -1 where it is none of the table's."""
    found = np.full(len(hashes), -1, np.int32)
    for at in range(len(hashes)):
        slot = slot_of(table_keys, hashes[at])
        if hashes[at] != 0 and table_keys[slot] == hashes[at]:
            found[at] = table_ngrams[slot]
    return found
