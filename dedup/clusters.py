"""Clusters of near-duplicates: the components of the verified graph, and the text that one shares.

A cluster tells a person what is going on where `keepers.py` only says who stays: a thousand copies
of a page, or a thousand pages of which nine tenths are the same banner.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dedup.ngrams import ODD, window_hashes
from filters.kernels import text_buffers
from filters.words import normalized_words

WORDS = 5
SAMPLED = 8  # documents of a cluster whose texts are compared


class Shared(NamedTuple):
    """What texts share."""

    text: str  # the longest run of words, as the first text has it; "" where there is none
    words: int  # in it
    fraction: float  # of the 5-grams of the texts, how many are shared


def clusters_of(edges: pa.Table, docs: pa.Table, fates: pa.Table) -> tuple[pa.Table, pa.Table]:
    """From edges and documents (with their `component`) and the fates of `choose_keepers`:

    - (doc, cluster): each document and the id of the first of its component, in the total order;
    - for each component (sample: its first document and some after it, cluster, documents, kept,
      min_similarity, max_similarity: of its verified pairs), sorted by component."""
    doc, component = docs["doc"].to_numpy(), docs["component"].to_numpy()
    by_component = np.lexsort((doc, docs["order"].to_numpy(), component))
    _, start, of, size = np.unique(
        component[by_component], return_index=True, return_inverse=True, return_counts=True
    )
    names = docs["id"].take(pa.array(by_component[start]))
    cluster = np.empty(len(doc), np.int64)
    cluster[by_component] = of
    gone = np.isin(doc, fates["doc"].to_numpy())
    edge_cluster = cluster[np.searchsorted(doc, edges["a"].to_numpy())]
    least, most = np.full(len(size), np.inf), np.full(len(size), -np.inf)
    np.minimum.at(least, edge_cluster, edges["similarity"].to_numpy())
    np.maximum.at(most, edge_cluster, edges["similarity"].to_numpy())
    summary = {
        "sample": _spread(doc[by_component], start, size),
        "cluster": names,
        "documents": size,
        "kept": size - np.bincount(cluster[gone], minlength=len(size)),
        "min_similarity": least,
        "max_similarity": most,
    }
    return pa.table({"doc": doc, "cluster": names.take(pa.array(cluster))}), pa.table(summary)


def _spread(docs: np.ndarray, start: np.ndarray, size: np.ndarray) -> pa.ListArray:
    """Of each run of `docs` the first and, evenly, up to SAMPLED - 1 others."""
    n = np.minimum(size, SAMPLED)
    ends = np.append(0, np.cumsum(n))
    nth = np.arange(ends[-1]) - np.repeat(ends[:-1], n)
    at = np.repeat(start, n) + nth * np.repeat(size, n) // np.repeat(n, n)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(docs[at]))


def shared_text(texts: list[str]) -> Shared:
    """What at least half of some texts have, by 5-grams of normalized words: half, as each copy may
    be changed somewhere, and so all of them together everywhere."""
    data, offsets = text_buffers(pa.array(texts, pa.string()))
    words = normalized_words(data, offsets)
    n_windows = np.maximum(np.diff(words.word_offsets) - WORDS + 1, 0)
    keys = window_hashes(words.word_hash, words.word_offsets, WORDS, ODD[0])
    of_text = np.split(keys, np.cumsum(n_windows)[:-1])
    sets = np.concatenate([np.unique(mine) for mine in of_text])
    found, n_texts = np.unique(sets, return_counts=True)
    shared = found[n_texts >= max(2, len(texts) / 2)]
    best, most = (0, 0), 0  # text and first window; windows
    for i, mine in enumerate(of_text):
        inside = np.isin(mine, shared).astype(np.int8)
        first, past = np.flatnonzero(np.diff(inside, prepend=0, append=0)).reshape(-1, 2).T
        longest = int(np.argmax(past - first)) if len(first) else 0
        if len(first) and past[longest] - first[longest] > most:
            best, most = (i, int(first[longest])), int(past[longest] - first[longest])
    if not most:
        return Shared("", 0, 0.0)
    i, window = best
    word = words.word_offsets[i] + window
    start, end = words.word_start[word], words.word_end[word + most + WORDS - 2]
    text = data[offsets[i] + start : offsets[i] + end].tobytes().decode()
    return Shared(text, most + WORDS - 1, float(np.isin(sets, shared).mean()))
