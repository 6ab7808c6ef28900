"""Recall measured on a sample of true pairs, against the share known by comparing all."""

import numpy as np
import pyarrow as pa
import pytest

from dedup.lsh import candidate_probability, candidates
from dedup.minhash import MinHash, sketch
from dedup.recall import GROUP, estimate, sample_keys, sample_pairs, share_a_band
from dedup.verify import similar_pairs

BANDING = (4, 6)  # few bands: much is missed


def sketched(groups: list[list[np.ndarray]]) -> tuple[pa.Table, pa.Table]:
    """Band rows and shingle sets of documents, those of a group beside each other."""
    texts = [" ".join(f"w{x}" for x in words) for group in groups for words in group]
    n = len(texts)
    docs = {"id": [f"d{i}" for i in range(n)], "text": texts}
    docs |= {"doc": pa.array(range(n), pa.uint64()), "order": pa.array([0] * n, pa.uint64())}
    return sketch(pa.table(docs), MinHash(), *BANDING)


def similar_of(sets: pa.Table, sizes: list[int], floor: float) -> pa.Table:
    """All similar pairs, by comparing all of each group; groups share nothing."""
    ends = np.cumsum(sizes)
    pairs = [np.triu_indices(n, 1) + (end - n) for n, end in zip(sizes, ends, strict=True)]
    a, b = (np.concatenate([p[i] for p in pairs]).astype(np.uint64) for i in (0, 1))
    return similar_pairs(pa.table({"a": a, "b": b}), sets, floor)


@pytest.fixture(scope="module")
def families() -> tuple[pa.Table, pa.Table, pa.Table]:
    """400 families of a document and 3 edits of it; and the pairs of .8."""
    rng = np.random.default_rng(1)
    groups = []
    for _ in range(400):
        base = rng.integers(0, 50_000, 150)
        groups.append([np.append(base[cut:], base[0] + 9) for cut in (0, 4, 12, 20)])
    bands, sets = sketched(groups)
    return bands, sets, similar_of(sets, [4] * 400, 0.8)


def estimated(sets: pa.Table, fraction: float, kept: np.ndarray | None = None) -> dict:
    sampled = sample_pairs(sample_keys(sets), fraction)
    pairs = similar_pairs(sampled, sets, 0.5).combine_chunks().join(sampled, ["a", "b"])
    pairs = pairs.append_column("proposed", pa.array(banded(pairs, sets)))
    parted = np.ones(len(pairs), bool) if kept is None else parted_of(pairs, kept)
    return estimate(pairs, parted, BANDING, 0.8)


def banded(pairs: pa.Table, sets: pa.Table) -> np.ndarray:
    return share_a_band(pairs, sets, MinHash(), *BANDING)


def parted_of(pairs: pa.Table, kept: np.ndarray) -> np.ndarray:
    return ~(kept[pairs["a"].to_numpy()] & kept[pairs["b"].to_numpy()])


def test_pairs_that_share_a_band_are_those_that_are_proposed(families):
    bands, sets, true = families
    proposed = candidates(bands, 64)
    known = set(zip(proposed["a"].to_pylist(), proposed["b"].to_pylist(), strict=True))
    pairs = list(zip(true["a"].to_pylist(), true["b"].to_pylist(), strict=True))
    assert [pair in known for pair in pairs] == banded(true, sets).tolist()
    assert 0 < sum(pair in known for pair in pairs) < len(pairs)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_estimate_is_near_the_recall_of_all_pairs(families, fraction):
    _, sets, true = families
    exact = banded(true, sets).mean()
    found = estimated(sets, fraction)
    assert 0.5 < exact < 0.95  # something is missed, or there is nothing to measure
    assert found["pairs"] > 300 * fraction
    assert abs(found["proposed"] - exact) < 0.06
    assert abs(found["expected"] - exact) < 0.06
    low, high = found["proposed_interval"]
    assert low < exact < high < low + 0.16
    sampled = sample_pairs(sample_keys(sets), fraction)
    pairs = similar_pairs(sampled, sets, 0.8).combine_chunks().join(sampled, ["a", "b"])
    weight = pairs["weight"].to_numpy() / pairs["similarity"].to_numpy()
    assert weight.sum() == pytest.approx(true.num_rows, rel=0.15)  # all pairs, weighed


def with_hubs(seed: int) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """Sets of 300 families of three and two hubs of 300 edited copies, their pairs of .8, and which
    documents are kept, a tenth by chance."""
    rng = np.random.default_rng(seed)
    sizes = [3] * 300 + [300] * 2
    groups = []
    for n in sizes:
        base = rng.integers(0, 50_000, 150)
        group = [base.copy() for _ in range(n)]
        for words in group:
            k = rng.integers(0, 10)
            words[rng.integers(0, 150, k)] = rng.integers(10**6, 10**7, k)
        groups.append(group)
    _, sets = sketched(groups)
    return sets, similar_of(sets, sizes, 0.8), rng.random(sum(sizes)) < 0.1


def test_hubs_are_most_pairs_and_the_intervals_hold_what_comparing_all_gives():
    held = []
    for seed in range(6):
        sets, true, kept = with_hubs(seed)
        assert true.num_rows > 5000 and (true["a"].to_numpy() > 900).mean() > 0.9
        exact = {"proposed": banded(true, sets).mean(), "parted": parted_of(true, kept).mean()}
        for fraction in (1.0, 0.3):
            found = estimated(sets, fraction, kept)
            for name, share in exact.items():
                low, high = found[f"{name}_interval"]
                assert low <= found[name] <= high < low + 0.5
                held.append(low < share < high)
    assert len(held) == 24 and sum(held) >= 22  # 95% of them


def test_a_large_group_is_thinned_and_weighs_as_much():
    n = 1000
    rows = {"key": [5] * n, "doc": range(n), "order": [0] * n}
    pairs = sample_pairs(pa.table({k: pa.array(v, pa.uint64()) for k, v in rows.items()}), 1.0)
    assert pairs.num_rows == GROUP * (GROUP - 1) // 2
    assert sum(pairs["weight"].to_pylist()) == pytest.approx(n * (n - 1) / 2)


def test_a_group_is_chosen_as_often_as_it_has_members():
    sizes = np.repeat([2, GROUP, 4 * GROUP], [4000, 1000, 250])
    key = np.repeat(np.arange(len(sizes), dtype=np.uint64) * np.uint64(77), sizes)
    doc = np.arange(len(key), dtype=np.uint64)
    rows = pa.table({"key": key, "doc": doc, "order": np.zeros(len(key), np.uint64)})
    pairs = sample_pairs(rows, 0.2)
    of = np.searchsorted(np.arange(len(sizes)) * 77, key[pairs["b"].to_numpy()])
    chosen = np.bincount(sizes[np.unique(of)])
    assert 650 < chosen[2] < 950 and 150 < chosen[GROUP] < 250
    assert 175 < chosen[4 * GROUP] < 225  # four times as often
    weight = pairs["weight"].to_numpy()
    for n in (2, GROUP, 4 * GROUP):
        every = (sizes == n).sum() * n * (n - 1) / 2
        assert weight[sizes[of] == n].sum() == pytest.approx(every, rel=0.2)


def test_groups_are_chosen_by_their_share_and_none_is_fine():
    rows = {"key": np.repeat(np.arange(2000, dtype=np.uint64) * 77, 2)}
    rows |= {"doc": np.arange(4000, dtype=np.uint64), "order": np.zeros(4000, np.uint64)}
    assert 350 < sample_pairs(pa.table(rows), 0.2).num_rows < 450
    assert sample_pairs(pa.table(rows).slice(0, 0), 1.0).num_rows == 0
    assert estimate(SAMPLE.slice(0, 0), np.empty(0, bool), BANDING, 0.8)["proposed"] is None


SAMPLE = pa.table(
    {
        "a": pa.array([1, 1, 2], pa.uint64()),
        "b": pa.array([2, 3, 3], pa.uint64()),
        "similarity": [0.55, 0.85, 0.95],
        "weight": [1.0, 2.0, 1.0],
        "proposed": [False, True, False],
    }
)


def test_shares_are_weighed_by_how_seldom_a_pair_is_sampled():
    whole = estimate(SAMPLE, np.ones(3, bool), BANDING, 0.8)
    high, low = 2 / 0.85, 1 / 0.95
    assert whole["pairs"] == 2 and whole["parted"] == 1
    assert whole["proposed"] == pytest.approx(high / (high + low), abs=1e-4)
    assert whole["by_similarity"]["0.5"]["pairs"] == 1
    assert whole["by_similarity"]["0.6"]["parted_interval"] is None
    expected = candidate_probability(0.55, *BANDING)
    assert whole["by_similarity"]["0.5"]["expected"] == pytest.approx(expected, abs=1e-4)


def test_a_share_of_one_is_as_certain_as_there_are_documents():
    a, b = np.triu_indices(32, 1)
    n = len(a)
    hub = pa.table({"a": a, "b": b, "similarity": np.full(n, 0.9), "weight": np.full(n, 1e6)})
    hub = hub.append_column("proposed", pa.array(np.ones(n, bool)))
    low, high = estimate(hub, np.ones(n, bool), BANDING, 0.8)["parted_interval"]
    assert high == 1 and low == pytest.approx(32 / (32 + 1.96**2), abs=1e-4)  # Wilson, 32 of 32
    apart = hub.set_column(0, "a", pa.array(np.arange(n) * 2)).set_column(
        1, "b", pa.array(np.arange(n) * 2 + 1)
    )
    low, _ = estimate(apart, np.ones(n, bool), BANDING, 0.8)["parted_interval"]
    assert low > 0.99
