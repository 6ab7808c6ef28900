"""The true Jaccard similarity or containment of candidate pairs, from the stored sets of shingles.

Two sorted arrays of 64-bit hashes are merged: 2.6 ns for each shingle, and no text is read. Sizes
alone rule out a pair whose smaller set is too small a share of the larger one. Hashes stand for
shingles, so a similarity is exact but for collisions: in two documents of a million shingles each,
one by chance with probability 2^-24.
"""

import numpy as np
import pyarrow as pa

from filters.compiled import kernel


def similar_pairs(
    pairs: pa.Table, shingles: pa.Table, similarity: float, measure: str = "jaccard"
) -> pa.Table:
    """The pairs (a uint64, b uint64) whose sets of shingles A and B have at least this similarity:
    |A and B| / |A or B|, or with "containment" |A and B| / min(|A|, |B|), where one holds the
    other.

    `shingles` has a row (doc, order, id, shingles: sorted distinct uint64) for each document in
    `pairs`. Returns (a, b, a_order, b_order, a_id, b_id, similarity) sorted by (a, b)."""
    pairs = pairs.select(["a", "b"]).sort_by([("a", "ascending"), ("b", "ascending")])
    row_a, row_b = (_rows_of(pairs[name], shingles["doc"]) for name in ("a", "b"))
    sets = shingles["shingles"].combine_chunks()
    offsets, values = sets.offsets.to_numpy(), sets.values.to_numpy()
    measured = _similarity(offsets, values, row_a, row_b, similarity, measure == "containment")
    enough = np.flatnonzero(measured >= similarity)
    row_a, row_b = row_a[enough], row_b[enough]
    return pa.table(
        {
            "a": pairs["a"].take(enough),
            "b": pairs["b"].take(enough),
            "a_order": shingles["order"].take(row_a),
            "b_order": shingles["order"].take(row_b),
            "a_id": shingles["id"].take(row_a),
            "b_id": shingles["id"].take(row_b),
            "similarity": measured[enough],
        }
    )


def _rows_of(docs: pa.ChunkedArray, stored: pa.ChunkedArray) -> np.ndarray:
    wanted, places = docs.to_numpy(), stored.to_numpy()
    by_doc = np.argsort(places)
    at = np.searchsorted(places, wanted, sorter=by_doc)
    found = at < len(places)
    found[found] = places[by_doc[at[found]]] == wanted[found]
    assert found.all(), f"no shingles of document {wanted[~found][0]}"
    return by_doc[at]


@kernel
def _similarity(
    offsets: np.ndarray,
    values: np.ndarray,
    row_a: np.ndarray,
    row_b: np.ndarray,
    least: float,
    containment: bool,
) -> np.ndarray:
    """The similarity of each pair; 0 where the sizes show that it is below `least`."""
    out = np.zeros(len(row_a), np.float64)
    for p in range(len(row_a)):
        i, i_end = offsets[row_a[p]], offsets[row_a[p] + 1]
        j, j_end = offsets[row_b[p]], offsets[row_b[p] + 1]
        smaller, larger = min(i_end - i, j_end - j), max(i_end - i, j_end - j)
        if smaller == 0 or (smaller / larger < least and not containment):
            continue
        shared = 0
        while i < i_end and j < j_end:
            x, y = values[i], values[j]
            shared += x == y
            i += x <= y
            j += y <= x
        out[p] = shared / (smaller if containment else smaller + larger - shared)
    return out
