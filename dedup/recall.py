"""What share of the similar pairs the bands proposed, measured on a sample of true pairs.

The sample must not come from the bands that it judges, and a random sample of documents holds
hardly any pair. So documents are grouped by their smallest shingle, a MinHash of one value that no
band uses (the bands hash the low 32 bits of a shingle anew; this is the order of all 64): two
documents of Jaccard similarity s are in one group with probability s. Groups are chosen by a hash
of that shingle, all pairs of a chosen group are compared by true Jaccard, and each pair found
weighs 1/s (Horvitz and Thompson 1952), so the estimate is unbiased for all pairs of the corpus. In
a group over GROUP members that many are chosen by a hash, and their pairs weigh as much as all.

The cost: 24 bytes for each document in one more exchange, and some hundred thousand comparisons.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from dedup.lsh import CURVE_AT, candidate_probability, candidates
from filters.kernels import mix

DOCUMENTS = 200_000  # of the corpus, about, whose groups are looked at
GROUP = 32
FLOOR = CURVE_AT[0]
_CHOOSE, _THIN = np.uint64(0x5245434C), np.uint64(0x5448494E)


def sample_keys(sets: pa.Table) -> pa.Table:
    """(key, doc, order): the smallest shingle of each row of (doc, order, id, shingles); the sets
    are sorted and none is empty."""
    shingles = sets["shingles"].combine_chunks()
    first = shingles.offsets.to_numpy()[:-1]
    key = shingles.values.to_numpy()[first]
    return pa.table({"key": key, "doc": sets["doc"], "order": sets["order"]})


def sample_pairs(rows: pa.Table, fraction: float) -> pa.Table:
    """(a, b, weight) of the pairs to compare, a before b in the order, from (key, doc, order), all
    those of a key together."""
    key, doc = rows["key"].to_numpy(), rows["doc"].to_numpy()
    chosen = np.flatnonzero(_mixed(key, _CHOOSE) < fraction * 2.0**64)
    thin = _mixed(doc[chosen], _THIN)
    chosen = chosen[np.lexsort((thin, key[chosen]))]
    groups, start, size = np.unique(key[chosen], return_index=True, return_counts=True)
    place = np.arange(len(chosen)) - np.repeat(start, size)
    chosen = chosen[place < GROUP]
    pairs = candidates(rows.take(chosen), GROUP)
    by_doc = np.argsort(doc[chosen])
    b = chosen[by_doc[np.searchsorted(doc[chosen], pairs["b"].to_numpy(), sorter=by_doc)]]
    n = size[np.searchsorted(groups, key[b])].astype(float)
    few = np.minimum(n, GROUP)
    return pairs.append_column("weight", pa.array(n * (n - 1) / (few * (few - 1))))


def measure(
    similarity: np.ndarray,
    weight: np.ndarray,
    proposed: np.ndarray,
    parted: np.ndarray,
    banding: tuple[int, int],
    target: float,
) -> dict[str, list[float]]:
    """Sums over the sampled pairs by tenth of similarity and, as "all", over those of at least
    `target`: pairs, their weight, its square, that of those proposed, of those expected to be, and
    of those parted: one of the two was removed, for whatever reason."""
    weight = weight / similarity
    expected = np.array([candidate_probability(s, *banding) for s in similarity])
    sums = {}
    masks = {f"{at:g}": (similarity >= at) & (similarity < at + 0.1) for at in CURVE_AT[:-1]}
    masks[f"{CURVE_AT[-1]:g}"] = similarity >= CURVE_AT[-1]
    masks["all"] = similarity >= target
    for name, mask in masks.items():
        w = weight[mask]
        parts = (w, w**2, w * proposed[mask], w * expected[mask], w * parted[mask])
        sums[name] = [float(mask.sum()), *(float(x.sum()) for x in parts)]
    return sums


def estimate(measured: list[dict[str, list[float]]]) -> dict[str, Any]:
    """The share of similar pairs that the bands proposed, its standard error (as if pairs were
    independent), what the S-curve promises for the same pairs, and the share that is parted; and
    that by tenth of similarity. None where no pair was found.

    In buckets over max_bucket, most pairs are not proposed (`lsh.py`), and need not be: their
    documents go for the same hub. So `proposed` is below `expected` there, and `parted` is what
    counts."""
    total = {name: np.sum([m[name] for m in measured], axis=0) for name in measured[0]}
    found: dict[str, Any] = {}
    for name, (n, w, squares, proposed, expected, parted) in total.items():
        row: dict[str, Any] = {"pairs": int(n), "proposed": None, "expected": None, "parted": None}
        if n:
            share = min(proposed / w, 1.0)
            error = (share * (1 - share) * squares) ** 0.5 / w
            row |= {"proposed": round(share, 4), "error": round(error, 4)}
            row |= {"expected": round(expected / w, 4), "parted": round(min(parted / w, 1.0), 4)}
        found[name] = row
    return {**found.pop("all"), "by_similarity": found}


@njit(cache=True, nogil=True)
def _mixed(values: np.ndarray, salt: np.uint64) -> np.ndarray:
    out = np.empty(len(values), np.uint64)
    for i in range(len(values)):
        out[i] = mix(values[i] ^ salt)
    return out
