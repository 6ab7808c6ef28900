"""Cuts spans out of texts, with context, as GPT-3 cut test items out of its training set (Brown et
al. 2020, appendix C: "removed the colliding 13-gram and a 200-character window around it, splitting
the original document into pieces", dropped pieces of fewer than 200 characters). The pieces stay
one document, parted by a blank line."""

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa

MAX_TO_SPACE = 64  # characters that a cut goes on to end between two words
_SPACE_BEFORE = re.compile(r"\s\S*\Z")
_SPACE = re.compile(r"\s")


class Cut(NamedTuple):
    texts: pa.Array  # what is left of each text that was cut; null for the others
    n_cut_chars: np.ndarray  # int64
    n_pieces: np.ndarray  # int64, 1 where nothing was cut


def cut_spans(
    texts: pa.Array,
    span_doc: np.ndarray,
    span_start: np.ndarray,
    span_end: np.ndarray,
    wanted: np.ndarray,
    context_chars: int,
    min_piece_chars: int,
) -> Cut:
    """Cuts the spans (bytes of each text, in order, apart) of the texts that are `wanted`."""
    n_cut, n_pieces = np.zeros(len(texts), np.int64), np.ones(len(texts), np.int64)
    left: list[str | None] = [None] * len(texts)
    rows, first, count = np.unique(span_doc, return_index=True, return_counts=True)
    for row, at, n in zip(rows.tolist(), first.tolist(), count.tolist(), strict=True):
        if not wanted[row]:
            continue
        data = texts[row].as_buffer().to_pybytes()
        text = data.decode()
        spans = _in_characters(data, span_start[at : at + n], span_end[at : at + n])
        pieces, done = [], 0
        for start, end in spans:
            pieces.append(text[done : max(done, _widened_left(text, start - context_chars))])
            done = max(done, _widened_right(text, end + context_chars))
        pieces.append(text[done:])
        pieces = [p for piece in pieces if len(p := piece.strip()) >= max(min_piece_chars, 1)]
        left[row] = "\n\n".join(pieces)
        n_cut[row] = len(text) - sum(map(len, pieces))
        n_pieces[row] = len(pieces)
    return Cut(pa.array(left, pa.string()), n_cut, n_pieces)


def _in_characters(data: bytes, starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """Places in UTF-8 as places in characters, in one walk."""
    out, at, n = [], 0, 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        n += len(data[at:start].decode())
        first = n
        n += len(data[start:end].decode())
        at = end
        out.append((first, n))
    return out


def _widened_left(text: str, at: int) -> int:
    """The next space to the left, so that no word is cut; at most MAX_TO_SPACE away."""
    if at <= 0:
        return 0
    low = max(0, at - MAX_TO_SPACE)
    space = _SPACE_BEFORE.search(text[low : at + 1])
    return low + space.start() if space else 0 if low == 0 else at


def _widened_right(text: str, at: int) -> int:
    space = _SPACE.search(text, min(at, len(text)), min(at + MAX_TO_SPACE, len(text)))
    if space:
        return space.end()
    return len(text) if at + MAX_TO_SPACE >= len(text) else at
