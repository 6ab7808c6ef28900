"""Gopher's repetition rules as RefinedWeb, DCLM and Dolma 3 apply them (DCLM's content_filters.py
and allenai/datamap-rs call them `massive_web_repetition`).

The same 13 bounds as `gopher_repetition`, other counts: every copy of a repeated line, paragraph or
n-gram counts, the first one too; words are without punctuation; fractions are of the characters in
words, or in lines and paragraphs; of equally frequent n-grams the longest counts. So it marks more
documents than datatrove's reading: of five lines two of which are equal, .4 repeat, and not .2.
Speed on web pages, one core, after the split: 85 MB/s.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.compiled import kernel
from filters.gopher import GopherRepetition, gopher_repetition_bounds
from filters.gopher_repeats import DUPLICATE, MASSIVEWEB, TOP, is_blank, ngram_counts
from filters.kernels import character_tables, mix, slot_of, table_size
from filters.rules import Bound, mark, quotient, with_signals
from filters.spans import Spans, spans_of
from filters.tokens import KIND, SYMBOL


@dataclass(frozen=True, kw_only=True)
class MassiveWebRepetition(GopherRepetition):
    """Does it repeat itself? Each bound is a fraction, of lines, of paragraphs or of characters."""


def massiveweb_repetition(docs: pa.Table, config: MassiveWebRepetition) -> pa.Table:
    """Adds massiveweb.dup_line_fraction and twelve more signals; marks the first rule failed."""
    docs = with_signals(docs, "massiveweb", measure(docs["text"]))
    return mark(docs, massiveweb_repetition_bounds(config))


def massiveweb_repetition_bounds(config: MassiveWebRepetition) -> list[Bound]:
    return gopher_repetition_bounds(config, "massiveweb")


def measure(texts: pa.ChunkedArray) -> dict[str, pa.Array]:
    """13 float64 columns, null for a null text; 0 where there is nothing to compare."""
    spans = spans_of(texts)
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    lines, paragraphs = np.moveaxis(_segments(
        *spans[:2], spans.line_first, spans.line_last, spans.line_start, spans.line_end,
        spans.line_chars, spans.line_hash, character_tables()[0],
    ), 1, 0)  # fmt: skip
    hashes, chars, first, last = words_of(spans)
    ngrams = ngram_counts(hashes, chars, first, last, MASSIVEWEB)
    running = np.concatenate([[0], np.cumsum(chars, dtype=np.int64)])
    n_chars = running[last] - running[first]
    names = [f"top_{n}_gram_char_fraction" for n in TOP]
    names += [f"dup_{n}_gram_char_fraction" for n in DUPLICATE]

    def share(part: np.ndarray, whole: np.ndarray) -> pa.Array:
        return quotient(part, np.maximum(whole, 1), absent)

    return {
        "dup_line_fraction": share(lines[:, 1], lines[:, 0]),
        "dup_paragraph_fraction": share(paragraphs[:, 1], paragraphs[:, 0]),
        "dup_line_char_fraction": share(lines[:, 3], lines[:, 2]),
        "dup_paragraph_char_fraction": share(paragraphs[:, 3], paragraphs[:, 2]),
        **{name: share(ngrams[:, i], n_chars) for i, name in enumerate(names)},
    }


def words_of(spans: Spans) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(hashes, characters, first, last): the tokens that are no punctuation, as `ngram_counts`
    wants them."""
    words = spans.token_kind & KIND != SYMBOL
    before = np.concatenate([[0], np.cumsum(words)])
    hashes, chars = spans.token_hash[words], spans.token_chars[words]
    return hashes, chars, before[spans.token_first], before[spans.token_last]


@kernel
def _copies(hashes: np.ndarray, chars: np.ndarray) -> tuple[int, int, int, int]:
    """(segments, those that have a copy, characters, characters of those)."""
    keys = np.zeros(table_size(len(hashes)), np.uint64)
    counts = np.zeros(len(keys), np.int64)
    slots = np.empty(len(hashes), np.int64)
    for i in range(len(hashes)):
        key = max(hashes[i], np.uint64(1))
        slots[i] = slot_of(keys, key)
        keys[slots[i]] = key
        counts[slots[i]] += 1
    n = n_chars = 0
    for i in range(len(hashes)):
        if counts[slots[i]] > 1:
            n += 1
            n_chars += chars[i]
    return len(hashes), n, chars.sum(), n_chars


@kernel
def _segments(
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
    """int64[documents, 2, 4]: `_copies` of the lines that are not blank, and of the paragraphs,
    which empty lines end. A paragraph's hash is made of those of its lines."""
    counts = np.zeros((len(offsets) - 1, 2, 4), np.int64)
    for d in range(len(counts)):
        first, last = line_first[d], line_last[d]
        full = np.empty(last - first, np.int64)
        hashes = np.zeros(last - first + 1, np.uint64)
        chars = np.zeros(last - first + 1, np.int64)
        n = n_paragraphs = 0
        for i in range(first, last):
            if line_start[i] == line_end[i]:
                n_paragraphs += chars[n_paragraphs] > 0
                continue
            blank = is_blank(data, offsets[d] + line_start[i], offsets[d] + line_end[i], classes)
            if not blank:
                full[n] = i
                n += 1
                hashes[n_paragraphs] = mix(hashes[n_paragraphs] + line_hash[i])
                chars[n_paragraphs] += line_chars[i] + (chars[n_paragraphs] > 0)  # the line end
        n_paragraphs += chars[n_paragraphs] > 0
        counts[d, 0] = _copies(line_hash[full[:n]], line_chars[full[:n]])
        counts[d, 1] = _copies(hashes[:n_paragraphs], chars[:n_paragraphs])
    return counts
