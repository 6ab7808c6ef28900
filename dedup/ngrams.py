"""Runs of words that occurred before, cut from the later place: what suffix-array deduplication
does (Lee et al. 2022, arXiv 2107.06499: runs of 50 tokens), without a suffix array and its memory.

Every run of `words` normalized words, a window, is exchanged as a 128-bit fingerprint with its
place, so runs are found across documents, parts and machines by grouping fingerprints, exactly (but
for collisions: 2^-49 in 10^12 windows). A longer run is a row of windows, and what is cut is their
union.

The rule: of equal windows the first in the total order (order, doc, position) is the original.
Another one is a repeat, unless it overlaps its original in the same document: so of `a b a b a b
...` the first `words` words stay, or a few more. A word
is cut only if a repeat covers it, and its counterpart in the original comes earlier in the total
order; so every run that is cut has all its words elsewhere, kept, unless the document that keeps
them is later removed for being left with less than `min_remaining_words`: that is how many words a
removal can lose.

The cost is in the exchange: 36 bytes for each word of the corpus (about 6 for each byte of English
text), 20 after Parquet's compression; a partition is sorted in memory, 60 bytes a row.

Segments (`segments.py`) go the same way: there a unit is a line, a paragraph or a sentence in the
place of a word. What is cut of the texts: `cut.py`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from dedup.segments import Segments, segments_of
from filters.compiled import kernel
from filters.kernels import mix, text_buffers
from filters.words import normalized_words

ODD = (
    np.uint64(0x9E3779B185EBCA87),
    np.uint64(0xC2B2AE3D27D4EB4F),
)  # one for each half of the key


@dataclass(frozen=True, kw_only=True)
class NGrams:
    """Cuts runs of words that occurred before, within a document or in another one."""

    rule: ClassVar[str] = "repeated_ngrams"
    unit: ClassVar[str] = "word"

    words: int = 50
    """The shortest run that is cut; case, punctuation and spacing are not compared."""
    action: Literal["cut", "mark", "remove"] = "cut"
    """cut: every repeat, and the document goes if too little remains; remove: only that, nothing is
    cut from those that stay; mark: nothing goes, dedup.repeated_fraction says how much would."""
    min_remaining_words: int = 50
    """What is too little (50: the least that Gopher keeps)."""

    def __post_init__(self) -> None:
        if self.words < 2:
            raise ValueError(f"words {self.words} is below 2: every word would be a run")
        if self.min_remaining_words < 0:
            raise ValueError(f"min_remaining_words {self.min_remaining_words} is below 0")

    @property
    def length(self) -> int:
        """Units in what is compared."""
        return self.words


class Units(NamedTuple):
    """What windows consist of, words or segments; those of document d lie at offsets[d] to
    offsets[d + 1]."""

    high: np.ndarray  # uint64, a hash
    low: np.ndarray  # uint64, another one of segments
    start: np.ndarray  # int32, bytes from the start of the document's text
    end: np.ndarray  # int32; of segments -1, as they touch anyway
    words: np.ndarray  # int32, in each
    chars: np.ndarray  # int32, in each segment, white space aside; of words none are counted
    offsets: np.ndarray  # int64


def units_of(data: np.ndarray, offsets: np.ndarray, unit: str) -> Units:
    """The words of the texts, or their segments of that unit."""
    if unit == "word":
        word_hash, start, end, word_offsets = normalized_words(data, offsets)
        ones = np.broadcast_to(np.int32(1), len(start))
        return Units(word_hash, word_hash, start, end, ones, ones[:0], word_offsets)
    found = segments_of(data, offsets, unit)
    touching = np.full(len(found.start), -1, np.int32)
    return Units(*found[:3], touching, *found[3:])


def fingerprints(docs: pa.Table, config: NGrams | Segments) -> pa.Table:
    """One row (key uint64, key_low uint64, doc, order, position int32) for each window of the
    documents (id, text, doc, order); position counts units."""
    data, offsets = text_buffers(docs["text"])
    units, length = units_of(data, offsets, config.unit), config.length
    n_windows = np.maximum(np.diff(units.offsets) - length + 1, 0)
    first = (np.cumsum(n_windows) - n_windows).astype(np.int32)
    n = int(n_windows.sum())
    key, key_low = (
        window_hashes(hashes, units.offsets, length, odd)
        for hashes, odd in zip((units.high, units.low), ODD, strict=True)
    )
    rows = pa.table(
        {
            "key": key,
            "key_low": key_low,
            "doc": np.repeat(docs["doc"].to_numpy(), n_windows),
            "order": np.repeat(docs["order"].to_numpy(), n_windows),
            "position": np.arange(n, dtype=np.int32) - np.repeat(first, n_windows),
        }
    )
    if isinstance(config, NGrams):
        return rows
    begin = np.repeat(units.offsets[:-1], n_windows) + rows["position"].to_numpy()
    enough = np.ones(n, bool)
    for sizes, least in ((units.words, config.min_words), (units.chars, config.min_chars)):
        total = np.append(0, np.cumsum(sizes, dtype=np.int64))
        enough &= total[begin + length] - total[begin] >= least
    return rows.filter(pa.array(enough))


@kernel
def window_hashes(
    word_hash: np.ndarray, word_offsets: np.ndarray, words: int, odd: np.uint64
) -> np.ndarray:
    """A hash of each window. Runs of 1, 2, 4 ... words are joined in pairs, and last two that
    overlap as far as `words` is no power of two: 6 joins for 50 words, each of which mixes. (A
    rolling polynomial modulo 2^64 is cheaper, but structured runs of many words collide.)"""
    h = word_hash.copy()
    length = 1
    while length < words:
        step = min(length, words - length)
        for i in range(len(h) - step):  # ascending: h[i + step] is still that of the shorter run
            h[i] = mix(h[i] * odd + h[i + step])
        length += step
    n = 0
    for d in range(len(word_offsets) - 1):
        for i in range(word_offsets[d], word_offsets[d + 1] - words + 1):
            h[n] = h[i]  # in place: what follows a document's last window is none
            n += 1
    return h[:n]


def repeated_windows(rows: pa.Table, config: NGrams | Segments) -> pa.Table:
    """The windows to cut, (doc, position, first_doc uint64) sorted, where first_doc has the
    original; from the rows of `fingerprints`, all those of a key together."""
    names = ("key", "key_low", "order", "doc", "position")
    columns = [rows[name].to_numpy() for name in names]
    by_key = np.argsort(columns[0])
    same = np.zeros(len(by_key) + 1, dtype=bool)
    same[1:-1] = columns[0][by_key[1:]] == columns[0][by_key[:-1]]
    shared = by_key[same[1:] | same[:-1]]  # most windows are alone: drop them early
    columns = [column[shared] for column in columns]
    ordered = np.lexsort(columns[::-1])
    key, key_low, _, doc, position = (column[ordered] for column in columns)
    again = np.zeros(len(key), dtype=bool)
    again[1:] = (key[1:] == key[:-1]) & (key_low[1:] == key_low[:-1])
    original = np.maximum.accumulate(np.where(again, 0, np.arange(len(key))))
    first_doc = doc[original]
    repeat = (doc != first_doc) | (position - position[original] >= config.length)
    found = pa.table(
        {"doc": doc[repeat], "position": position[repeat], "first_doc": first_doc[repeat]}
    )
    return found.sort_by([("doc", "ascending"), ("position", "ascending")])
