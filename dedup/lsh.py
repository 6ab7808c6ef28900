"""Which pairs of documents are worth checking: bands of MinHash values as bucket keys.

Two documents of Jaccard similarity s agree in all `rows` values of a band with probability s^rows,
so at least one of `bands` proposes them with 1 - (1 - s^rows)^bands, the S-curve (Leskovec,
Rajaraman and Ullman, Mining of Massive Datasets, 3.4.2). The user states a similarity and a recall;
bands and rows follow. For .8 and .95 within 128 permutations they are 13 x 7, which proposes .31 of
the pairs at .6.

Proposals are only that: `verify.py` checks each. A bucket of m documents proposes m(m-1)/2 pairs up
to `max_bucket` members; in a larger one each member is paired with the HUBS that come first in the
order, the likely keepers. So a row costs at most max(max_bucket / 2, HUBS) pairs, and a bucket of a
million documents 16 million pairs, BATCH at a time. What that can miss: in a huge bucket, a pair
without any of its hubs that no other band brings together.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from filters.compiled import kernel

HUBS = 16
BATCH = 1 << 21  # pairs: some 150 MB while they are sorted
CURVE_AT = (0.5, 0.6, 0.7, 0.8, 0.9)


def candidate_probability(similarity: float, bands: int, rows: int) -> float:
    """The share of pairs of this Jaccard similarity that become candidates."""
    return float(1 - (1 - similarity**rows) ** bands)


def s_curve(bands: int, rows: int) -> list[tuple[float, float]]:
    """(similarity, expected share of pairs proposed) at .5, .6 ... .9, for printing."""
    return [(s, candidate_probability(s, bands, rows)) for s in CURVE_AT]


def choose_bands(similarity: float, recall: float, permutations: int) -> tuple[int, int]:
    """(bands, rows), bands * rows <= permutations, that propose at least `recall` of the pairs at
    `similarity`, and as few as possible of those below it, if all similarities were equally
    common."""
    below = np.linspace(0, similarity, 1000, endpoint=False)
    best: tuple[float, int, int] | None = None  # share proposed, bands, rows
    for rows in range(1, permutations + 1):
        for bands in range(1, permutations // rows + 1):
            if candidate_probability(similarity, bands, rows) >= recall:
                wasted = float(np.mean(1 - (1 - below**rows) ** bands))
                best = min(best or (1.0, 0, 0), (wasted, bands, rows))
                break  # more bands only propose more
    if best is None:
        reached = candidate_probability(similarity, permutations, 1)
        raise ValueError(
            f"permutations {permutations}: reach a recall of at most {reached:.3f} at similarity "
            f"{similarity}, not {recall}; raise permutations or lower recall"
        )
    return best[1], best[2]


def candidates(rows: pa.Table, max_bucket: int) -> pa.Table:
    """Distinct pairs (a uint64, b uint64), a before b in the order, sorted, from the band rows
    (key uint64, doc uint64, order uint64) of one partition of the key space."""
    batches = list(candidate_batches(rows, max_bucket))
    if len(batches) == 1:
        return batches[0]
    return _distinct(*(pa.concat_tables(batches)[end].to_numpy() for end in ("a", "b")))


def candidate_batches(rows: pa.Table, max_bucket: int, batch: int = BATCH) -> Iterator[pa.Table]:
    """The pairs of `candidates` in tables of some `batch` pairs, at least one, each distinct and
    sorted. Two may share a pair: in a bucket of a million, each band proposes the same."""
    key, doc, order = (rows[name].to_numpy() for name in ("key", "doc", "order"))
    by_key = np.argsort(key)
    new = _changes(key[by_key])
    shared = by_key[~(new[:-1] & new[1:])]  # most keys are alone in their bucket: drop them early
    key, doc, order = key[shared], doc[shared], order[shared]
    bucketed = np.lexsort((doc, order, key))
    key, doc = key[bucketed], doc[bucketed]
    start, partners = _partners(key, max_bucket)
    until = np.cumsum(partners)
    n = max(1, -(-int(until[-1]) // batch)) if len(until) else 1
    cuts = [*np.searchsorted(until, np.arange(n) * batch, "right"), len(doc)]
    for first, last in itertools.pairwise(cuts):
        mine = slice(first, last)
        yield _distinct(*_pairs(doc, doc[mine], start[mine], partners[mine]))


def _distinct(a: np.ndarray, b: np.ndarray) -> pa.Table:
    ordered = np.lexsort((b, a))
    a, b = a[ordered], b[ordered]
    new = _changes(a)[:-1] | _changes(b)[:-1]
    return pa.table({"a": a[new], "b": b[new]})


def _changes(ordered: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before; one longer than the array, True at both ends."""
    changes = np.ones(len(ordered) + 1, dtype=bool)
    changes[1:-1] = ordered[1:] != ordered[:-1]
    return changes


def _partners(key: np.ndarray, max_bucket: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each row where its bucket starts, and with how many rows from there on it is paired. Rows
    of equal keys lie together, in the order that decides the keeper."""
    starts = np.flatnonzero(_changes(key))
    size = np.repeat(np.diff(starts), np.diff(starts))
    start = np.repeat(starts[:-1], np.diff(starts))
    place = np.arange(len(key)) - start
    return start, np.where(size <= max_bucket, place, np.minimum(place, HUBS))


@kernel
def _pairs(
    doc: np.ndarray, later: np.ndarray, start: np.ndarray, partners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each of the later documents with the first `partners` of its bucket."""
    total = partners.sum()
    a, b = np.empty(total, doc.dtype), np.empty(total, doc.dtype)
    n = 0
    for row in range(len(later)):
        for k in range(partners[row]):
            a[n], b[n] = doc[start[row] + k], later[row]
            n += 1
    return a, b
