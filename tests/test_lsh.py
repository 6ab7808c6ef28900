"""Banding from a target, and candidate pairs from band buckets."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.lsh import (
    HUBS,
    candidate_batches,
    candidate_probability,
    candidates,
    choose_bands,
    s_curve,
)


def band_rows(*rows: tuple[int, int, int]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    names = ("key", "doc", "order")
    return pa.table({n: pa.array(c, pa.uint64()) for n, c in zip(names, columns, strict=True)})


def pairs(table: pa.Table) -> list[tuple[int, int]]:
    return list(zip(table["a"].to_pylist(), table["b"].to_pylist(), strict=True))


def test_bands_for_the_default_target():
    assert choose_bands(0.8, 0.95, 128) == (13, 7)
    assert candidate_probability(0.8, 13, 7) == pytest.approx(0.953, abs=0.001)
    assert candidate_probability(0.8, 12, 7) < 0.95  # one band less would not do


def test_the_curve_is_that_of_the_textbook():
    # Leskovec, Rajaraman, Ullman, figure 3.8: 20 bands of 5 rows
    curve = dict(s_curve(20, 5))
    assert list(curve) == [0.5, 0.6, 0.7, 0.8, 0.9]
    textbook = [0.470, 0.802, 0.975, 0.9996, 1.0]
    assert list(curve.values()) == pytest.approx(textbook, abs=0.001)


@settings(deadline=None)  # kernels are compiled at the first call
@given(st.floats(0.05, 1), st.floats(0.01, 0.99), st.integers(1, 64))
def test_bands_reach_the_recall_and_no_others_propose_less(similarity, recall, permutations):
    try:
        bands, rows = choose_bands(similarity, recall, permutations)
    except ValueError:
        assert candidate_probability(similarity, permutations, 1) < recall
        return
    assert bands * rows <= permutations
    assert candidate_probability(similarity, bands, rows) >= recall

    def proposed(b, r):
        grid = [similarity * i / 1000 for i in range(1000)]
        return sum(candidate_probability(s, b, r) for s in grid) / 1000

    best = proposed(bands, rows)
    for r in range(1, permutations + 1):
        b = permutations // r
        while b > 1 and candidate_probability(similarity, b - 1, r) >= recall:
            b -= 1
        if candidate_probability(similarity, b, r) >= recall:
            assert best <= proposed(b, r) + 1e-9


def test_an_impossible_target_says_what_to_change():
    with pytest.raises(ValueError, match=r"permutations 16: reach a recall of at most 0\.149"):
        choose_bands(0.01, 0.95, 16)


def test_pairs_of_equal_keys_once_and_in_order():
    rows = band_rows((7, 1, 5), (7, 2, 4), (8, 1, 5), (8, 2, 4), (8, 3, 5), (9, 4, 0))
    # 2 has the smallest order; 1 and 3 tie and the smaller doc comes first; 4 is alone
    assert pairs(candidates(rows, 10)) == [(1, 3), (2, 1), (2, 3)]


def test_no_rows_no_pairs():
    empty = candidates(band_rows(), 10)
    assert pairs(empty) == []
    assert empty.schema == pa.schema([("a", pa.uint64()), ("b", pa.uint64())])


def test_a_bucket_over_the_bound_is_linear_and_keeps_the_first():
    n = 1000
    rows = band_rows(*((1, doc, n - doc) for doc in range(n)))
    found = pairs(candidates(rows, n - 1))
    assert len(found) == HUBS * n - HUBS * (HUBS + 1) // 2
    assert {a for a, _ in found} == set(range(n - HUBS, n))  # smallest order
    assert len(pairs(candidates(rows, n))) == n * (n - 1) // 2


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 12)), max_size=60, unique=True),
    st.integers(2, 6),
    st.randoms(use_true_random=False),
)
def test_any_row_order_and_partitioning_gives_the_pairs_of_brute_force(places, max_bucket, random):
    order = {doc: doc * 7 % 5 for doc in range(13)}
    rows = [(key * 0x9E3779B97F4A7C15 % 2**64, doc, order[doc]) for key, doc in places]
    expected = set()
    for key in {row[0] for row in rows}:
        members = sorted((o, d) for k, d, o in rows if k == key)
        for i, (_, later) in enumerate(members):
            first = i if len(members) <= max_bucket else min(i, HUBS)
            expected |= {(members[j][1], later) for j in range(first)}
    random.shuffle(rows)
    assert pairs(candidates(band_rows(*rows), max_bucket)) == sorted(expected)
    parts = [[row for row in rows if row[0] % 3 == p] for p in range(3)]
    found = [pair for part in parts for pair in pairs(candidates(band_rows(*part), max_bucket))]
    assert set(found) == expected


def test_tables_of_several_chunks():
    rows = [(key, doc, 0) for key in range(5) for doc in range(10)]
    whole = candidates(band_rows(*rows), 64)
    chunked = pa.concat_tables([band_rows(row) for row in rows])
    assert candidates(chunked, 64).equals(whole)
    assert whole.num_rows == 45
    assert np.all(whole["a"].to_numpy() < whole["b"].to_numpy())


def test_a_bucket_of_twenty_thousand_is_neither_quadratic_nor_one_table():
    n, bands = 20_000, 3
    key = np.repeat(np.arange(bands, dtype=np.uint64), n)
    doc = np.tile(np.arange(n, dtype=np.uint64), bands)
    rows = pa.table({"key": key, "doc": doc, "order": np.zeros(bands * n, np.uint64)})
    batches = list(candidate_batches(rows, 64, 100_000))
    each = HUBS * n - HUBS * (HUBS + 1) // 2  # of a bucket
    assert len(batches) == -(-bands * each // 100_000)
    assert max(table.num_rows for table in batches) <= 100_000 + HUBS
    found = pa.concat_tables(batches).group_by(["a", "b"]).aggregate([])
    assert found.num_rows == each
    assert set(found["b"].to_numpy().tolist()) == set(range(1, n))  # each document has a pair
    assert found.sort_by([("a", "ascending"), ("b", "ascending")]) == candidates(rows, 64)
