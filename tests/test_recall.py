"""Recall measured on a sample of true pairs, against the share known by comparing all."""

import numpy as np
import pyarrow as pa
import pytest

from dedup.lsh import candidate_probability, candidates
from dedup.minhash import MinHash, sketch
from dedup.recall import GROUP, estimate, measure, sample_keys, sample_pairs
from dedup.verify import similar_pairs

BANDING = (4, 6)  # few bands: much is missed


@pytest.fixture(scope="module")
def made() -> tuple[pa.Table, pa.Table]:
    """Band rows and shingle sets of 400 families of a document and 3 edits of it."""
    rng = np.random.default_rng(1)
    texts = []
    for _ in range(400):
        base = rng.integers(0, 50_000, 150)
        for cut in (0, 4, 12, 20):
            texts.append(" ".join(f"w{x}" for x in np.concatenate([base[cut:], base[:1] + 9])))
    n = len(texts)
    docs = {"id": [f"d{i}" for i in range(n)], "text": texts}
    docs |= {"doc": pa.array(range(n), pa.uint64()), "order": pa.array([0] * n, pa.uint64())}
    return sketch(pa.table(docs), MinHash(), *BANDING)


def all_pairs(sets: pa.Table, floor: float) -> pa.Table:
    doc = sets["doc"].to_numpy()
    a, b = np.triu_indices(len(doc), 1)
    near = b - a < 4  # families lie together, others share nothing
    table = pa.table({"a": doc[a[near]], "b": doc[b[near]]})
    return similar_pairs(table, sets, floor)


def proposed_of(pairs: pa.Table, proposed: pa.Table) -> np.ndarray:
    known = set(zip(proposed["a"].to_pylist(), proposed["b"].to_pylist(), strict=True))
    found = zip(pairs["a"].to_pylist(), pairs["b"].to_pylist(), strict=True)
    return np.array([pair in known for pair in found])


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_estimate_is_near_the_recall_of_all_pairs(made, fraction):
    bands, sets = made
    proposed = candidates(bands, 64)
    true = all_pairs(sets, 0.8)
    exact = proposed_of(true, proposed).mean()

    sampled = sample_pairs(sample_keys(sets), fraction)
    weight = dict(zip(zip(sampled["a"].to_pylist(), sampled["b"].to_pylist(), strict=True),
                      sampled["weight"].to_pylist(), strict=True))  # fmt: skip
    measured = similar_pairs(sampled, sets, 0.5)
    keys = zip(measured["a"].to_pylist(), measured["b"].to_pylist(), strict=True)
    weights = np.array([weight[key] for key in keys])
    similarity = measured["similarity"].to_numpy()
    hits = proposed_of(measured, proposed)
    sums = measure(similarity, weights, hits, hits, BANDING, 0.8)
    found = estimate([sums])
    assert 0.5 < exact < 0.95  # something is missed, or there is nothing to measure
    assert found["pairs"] > 300 * fraction
    assert abs(found["proposed"] - exact) < 0.06
    assert abs(found["expected"] - exact) < 0.06
    assert found["error"] < 0.05
    assert sums["all"][1] == pytest.approx(true.num_rows * fraction, rel=0.15)  # all pairs, weighed


def test_a_large_group_is_thinned_and_weighs_as_much():
    n = 1000
    rows = {"key": [5] * n, "doc": range(n), "order": [0] * n}
    pairs = sample_pairs(pa.table({k: pa.array(v, pa.uint64()) for k, v in rows.items()}), 1.0)
    assert pairs.num_rows == GROUP * (GROUP - 1) // 2
    assert sum(pairs["weight"].to_pylist()) == pytest.approx(n * (n - 1) / 2)


def test_groups_are_chosen_by_their_share_and_none_is_fine():
    rows = {"key": np.repeat(np.arange(2000, dtype=np.uint64) * 77, 2)}
    rows |= {"doc": np.arange(4000, dtype=np.uint64), "order": np.zeros(4000, np.uint64)}
    assert 350 < sample_pairs(pa.table(rows), 0.2).num_rows < 450
    assert sample_pairs(pa.table(rows).slice(0, 0), 1.0).num_rows == 0
    nothing = np.empty(0)
    sums = measure(nothing, nothing, nothing > 0, nothing > 0, BANDING, 0.8)
    assert estimate([sums])["proposed"] is None


def test_sums_of_partitions_add_up():
    similarity, weight = np.array([0.55, 0.85, 0.95]), np.array([1.0, 2.0, 1.0])
    proposed = np.array([False, True, False])
    parted = np.array([True, True, True])
    columns = (similarity, weight, proposed, parted)
    whole = estimate([measure(*columns, BANDING, 0.8)])
    parts = [measure(*(c[[i]] for c in columns), BANDING, 0.8) for i in range(3)]
    assert estimate(parts) == whole
    high, low = 2 / 0.85, 1 / 0.95
    assert whole["parted"] == 1
    assert whole["proposed"] == pytest.approx(high / (high + low), abs=1e-4)
    assert whole["by_similarity"]["0.5"]["pairs"] == 1
    expected = candidate_probability(0.55, *BANDING)
    assert whole["by_similarity"]["0.5"]["expected"] == pytest.approx(expected, abs=1e-4)
