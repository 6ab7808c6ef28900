"""True Jaccard and containment of candidate pairs."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.verify import similar_pairs


def stored(sets: dict[int, set[int]]) -> pa.Table:
    return pa.table(
        {
            "doc": pa.array(list(sets), pa.uint64()),
            "order": pa.array([doc + 100 for doc in sets], pa.uint64()),
            "id": pa.array([f"web/{doc}" for doc in sets], pa.string()),
            "shingles": pa.array([sorted(s) for s in sets.values()], pa.list_(pa.uint64())),
        }
    )


def of(*pairs: tuple[int, int]) -> pa.Table:
    a, b = zip(*pairs, strict=True) if pairs else ((), ())
    return pa.table({"a": pa.array(a, pa.uint64()), "b": pa.array(b, pa.uint64())})


SETS = {1: {1, 2, 3, 4}, 2: {2, 3, 4, 5}, 3: {1, 2, 3, 4, 2**64 - 1}, 4: {9}}


def test_only_pairs_of_enough_similarity_with_their_rows():
    found = similar_pairs(of((3, 2), (3, 1), (4, 1), (1, 2)), stored(SETS), 0.6)
    assert found.to_pylist() == [
        {"a": 1, "b": 2, "a_order": 101, "b_order": 102, "a_id": "web/1", "b_id": "web/2",
         "similarity": 0.6},
        {"a": 3, "b": 1, "a_order": 103, "b_order": 101, "a_id": "web/3", "b_id": "web/1",
         "similarity": 0.8},
    ]  # fmt: skip


def test_the_bound_itself_is_enough_and_a_little_more_is_not():
    assert similar_pairs(of((1, 2)), stored(SETS), 3 / 5).num_rows == 1
    assert similar_pairs(of((1, 2)), stored(SETS), 3 / 5 + 1e-12).num_rows == 0


def test_no_pairs_and_no_shingles_give_the_same_columns():
    full = similar_pairs(of((3, 1)), stored(SETS), 0.6)
    assert similar_pairs(of(), stored(SETS), 0.6).schema == full.schema
    assert similar_pairs(of(), stored({}), 0.6).schema == full.schema


def test_a_document_without_its_shingles_is_a_defect_not_a_difference():
    with pytest.raises(AssertionError, match="no shingles of document 7"):
        similar_pairs(of((1, 7)), stored(SETS), 0.6)


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.dictionaries(
        st.integers(0, 9), st.sets(st.integers(0, 12) | st.integers(2**64 - 3, 2**64 - 1))
    ),
    st.floats(0.01, 1),
    st.randoms(use_true_random=False),
)
def test_brute_force(sets, similarity, random):
    places = list(sets)
    random.shuffle(places)
    asked = [(a, b) for a in places for b in places if a < b]
    random.shuffle(asked)
    expected = {}
    for a, b in sorted(asked):
        union = sets[a] | sets[b]
        jaccard = len(sets[a] & sets[b]) / len(union) if union else 0
        if jaccard >= similarity:
            expected[a, b] = jaccard
    table = stored({doc: sets[doc] for doc in places})
    chunked = pa.concat_tables([table.slice(i, 1) for i in range(len(places))] or [table])
    for shingles in (table, chunked):
        found = similar_pairs(of(*asked), shingles, similarity)
        rows = found.select(["a", "b", "similarity"]).to_pylist()
        assert {(r["a"], r["b"]): r["similarity"] for r in rows} == expected
        assert [(r["a"], r["b"]) for r in rows] == list(expected)


def test_containment_is_the_share_of_the_smaller_set():
    shingles = stored({1: {1, 2}, 2: {1, 2, 3, 4, 5, 6, 7, 8}, 3: {2, 9}, 4: set()})
    asked = of((1, 2), (2, 3), (1, 3), (1, 4))
    found = similar_pairs(asked, shingles, 0.5, "containment")
    pairs = [(row["a"], row["b"], row["similarity"]) for row in found.to_pylist()]
    assert pairs == [(1, 2, 1.0), (1, 3, 0.5), (2, 3, 0.5)]
    assert similar_pairs(asked, shingles, 0.5).num_rows == 0
