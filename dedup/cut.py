"""Repeated words, lines and paragraphs cut out of the texts, and documents with too little left.

A cut goes from the first byte of its first unit to the first byte of the next unit that stays, so
what is between two units goes with the first of them. One pass over the texts concerned; the others
are not copied.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.ngrams import NGrams, units_of
from dedup.paragraphs import Paragraphs
from dedup.segments import Segments
from filters.compiled import kernel
from filters.kernels import text_buffers
from pipeline.schema import FATE

SPACE = 0x20
Spans = NGrams | Segments | Paragraphs


class Cut(NamedTuple):
    """What `cut_spans` made of a batch, a value a row."""

    texts: pa.Array
    fates: pa.Table  # FATE rows of documents left with too little
    words_cut: np.ndarray  # int64; 0 unless action is cut
    repeated: np.ndarray  # float64: the share of words that occurred before


def cut_spans(texts: pa.Array, doc: pa.Array, windows: pa.Table, config: Spans) -> Cut:
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
    units, length = units_of(data, offsets, config.unit), config.length
    past = position[of_doc[1:] - 1] + length > np.diff(units.offsets)
    assert not past.any(), f"a window past the end of document {doc[concerned[past][0]]}"
    shape = units.start, units.end, units.words, units.offsets
    edited, ends, repeated = _cut(data, offsets, *shape, position, of_doc, length)
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
        "rule": pa.repeat(pa.scalar(config.rule), len(found)),
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


@kernel
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


@kernel
def _append(out: np.ndarray, n: int, part: np.ndarray) -> int:
    out[n : n + len(part)] = part
    return n + len(part)
