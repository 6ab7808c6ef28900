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
place of a word.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from dedup import segments
from dedup.segments import Segments, segments_of
from filters.kernels import mix, text_buffers
from filters.words import normalized_words
from pipeline.schema import FATE

RULE = "repeated_ngrams"
_ODD = (
    np.uint64(0x9E3779B185EBCA87),
    np.uint64(0xC2B2AE3D27D4EB4F),
)  # one for each half of the key
SPACE = 0x20


@dataclass(frozen=True, kw_only=True)
class NGrams:
    """Cuts runs of words that occurred before, within a document or in another one."""

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


class Units(NamedTuple):
    """What windows consist of, words or segments; those of document d lie at offsets[d] to
    offsets[d + 1]."""

    high: np.ndarray  # uint64, a hash
    low: np.ndarray  # uint64, another one of segments
    start: np.ndarray  # int32, bytes from the start of the document's text
    end: np.ndarray  # int32; of segments -1, as they touch anyway
    words: np.ndarray  # int32, in each
    offsets: np.ndarray  # int64


class Cut(NamedTuple):
    """What `cut_spans` made of a batch, a value a row."""

    texts: pa.Array
    fates: pa.Table  # FATE rows of documents left with too little
    words_cut: np.ndarray  # int64; 0 unless action is cut
    repeated: np.ndarray  # float64: the share of words that occurred before


def _length(config: NGrams | Segments) -> int:
    """Units in a window."""
    return config.words if isinstance(config, NGrams) else config.length


def _units(data: np.ndarray, offsets: np.ndarray, config: NGrams | Segments) -> Units:
    if isinstance(config, NGrams):
        word_hash, start, end, word_offsets = normalized_words(data, offsets)
        ones = np.broadcast_to(np.int32(1), len(start))
        return Units(word_hash, word_hash, start, end, ones, word_offsets)
    high, low, start, words, of_doc = segments_of(data, offsets, config)
    return Units(high, low, start, np.full(len(start), -1, np.int32), words, of_doc)


def fingerprints(docs: pa.Table, config: NGrams | Segments) -> pa.Table:
    """One row (key uint64, key_low uint64, doc, order, position int32) for each window of the
    documents (id, text, doc, order); position counts units."""
    units, length = _units(*text_buffers(docs["text"]), config), _length(config)
    n_windows = np.maximum(np.diff(units.offsets) - length + 1, 0)
    first = (np.cumsum(n_windows) - n_windows).astype(np.int32)
    n = int(n_windows.sum())
    key, key_low = (
        _fingerprints(hashes, units.offsets, length, odd)
        for hashes, odd in zip((units.high, units.low), _ODD, strict=True)
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
    total = np.append(0, np.cumsum(units.words, dtype=np.int64))
    begin = np.repeat(units.offsets[:-1], n_windows) + rows["position"].to_numpy()
    return rows.filter(pa.array(total[begin + length] - total[begin] >= config.min_words))


@njit(cache=True, nogil=True)
def _fingerprints(
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
    repeat = (doc != first_doc) | (position - position[original] >= _length(config))
    found = pa.table(
        {"doc": doc[repeat], "position": position[repeat], "first_doc": first_doc[repeat]}
    )
    return found.sort_by([("doc", "ascending"), ("position", "ascending")])


def cut_spans(texts: pa.Array, doc: pa.Array, windows: pa.Table, config: NGrams | Segments) -> Cut:
    """Cuts the union of `windows` (doc, position, first_id) out of the texts of the documents
    `doc`; windows of other documents are not looked at. A cut goes from the first byte of its first
    unit to the first byte of the next unit that stays."""
    row = pc.index_in(windows["doc"], doc)
    windows = windows.append_column("row", row).filter(row.is_valid())
    windows = windows.sort_by([("row", "ascending"), ("position", "ascending")])
    concerned, n_windows = np.unique(windows["row"].to_numpy(), return_counts=True)
    position = windows["position"].to_numpy()
    of_doc = np.append(0, np.cumsum(n_windows))

    data, offsets = text_buffers(texts.take(pa.array(concerned)))
    units, length = _units(data, offsets, config), _length(config)
    past = position[of_doc[1:] - 1] + length > np.diff(units.offsets)
    assert not past.any(), f"a window past the end of document {doc[concerned[past][0]]}"
    edited, ends, repeated = _cut(data, offsets, *units[2:], position, of_doc, length)
    total = np.append(0, np.cumsum(units.words, dtype=np.int64))[units.offsets]
    n_words = np.diff(total)

    fraction, words_cut = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
    fraction[concerned] = repeated / n_words
    if config.action == "cut":
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(edited)]
        changed = pa.Array.from_buffers(pa.string(), len(concerned), buffers)
        mask = np.zeros(len(texts), dtype=bool)
        mask[concerned], words_cut[concerned] = True, repeated
        texts = pc.replace_with_mask(texts, pa.array(mask), changed)
    short = (n_words - repeated < config.min_remaining_words) & (config.action != "mark")
    found = concerned[short]
    fates = {
        "doc": doc.take(pa.array(found)),
        "matched": pa.nulls(len(found), pa.uint64()),
        "rule": pa.repeat(
            pa.scalar(RULE if isinstance(config, NGrams) else segments.RULE), len(found)
        ),
        "value": (n_words - repeated)[short].astype(np.float64),
        "threshold": np.full(len(found), float(config.min_remaining_words)),
        "matched_id": _matched(windows, found),
        "similarity": fraction[found],
    }
    return Cut(texts, pa.table(fates, schema=FATE), words_cut, fraction)


def _matched(windows: pa.Table, rows: np.ndarray) -> pa.Array:
    """For each of these rows the document with most of its originals; of several, the first id."""
    windows = windows.filter(pc.is_in(windows["row"], pa.array(rows, pa.int32())))
    counts = windows.group_by(["row", "first_id"]).aggregate([("position", "count")])
    by_count = [("row", "ascending"), ("position_count", "descending"), ("first_id", "ascending")]
    counts = counts.sort_by(by_count)
    _, first = np.unique(counts["row"].to_numpy(), return_index=True)
    return counts["first_id"].take(first)


@njit(cache=True, nogil=True)
def _cut(
    data: np.ndarray,
    offsets: np.ndarray,
    unit_start: np.ndarray,
    unit_end: np.ndarray,
    unit_words: np.ndarray,
    unit_offsets: np.ndarray,
    position: np.ndarray,
    of_doc: np.ndarray,
    length: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(data, offsets, words cut) of the texts without their windows, which are those from of_doc[d]
    to of_doc[d + 1] of document d, by position."""
    n_docs = len(offsets) - 1
    out = np.empty(offsets[n_docs] - offsets[0], np.uint8)
    ends = np.zeros(n_docs + 1, np.int32)
    words_cut = np.zeros(n_docs, np.int64)
    n = 0
    for d in range(n_docs):
        start = unit_start[unit_offsets[d] : unit_offsets[d + 1]]
        end = unit_end[unit_offsets[d] : unit_offsets[d + 1]]
        text = data[offsets[d] : offsets[d + 1]]
        at = 0  # bytes before it are written or cut
        w = of_doc[d]
        while w < of_doc[d + 1]:
            first = position[w]
            past = first + length
            while w < of_doc[d + 1] and position[w] <= past:
                past = position[w] + length
                w += 1
            n = _append(out, n, text[at : start[first]])
            if first > 0 and past < len(start) and end[first - 1] == start[first]:
                out[n] = SPACE  # where nothing separates words, those on both sides would touch
                n += 1
            at = start[past] if past < len(start) else len(text)
            for unit in range(unit_offsets[d] + first, unit_offsets[d] + past):
                words_cut[d] += unit_words[unit]
        n = _append(out, n, text[at:])
        ends[d + 1] = n
    return out[:n], ends, words_cut


@njit(cache=True, nogil=True)
def _append(out: np.ndarray, n: int, part: np.ndarray) -> int:
    out[n : n + len(part)] = part
    return n + len(part)
