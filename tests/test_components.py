"""Connected components from contracted partitions of edges."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.components import components, ends, spanning_forest
from tests.test_keepers import by_search


def arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, np.uint64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def test_a_forest_has_an_edge_less_than_documents_for_each_tree():
    a, b = spanning_forest(*arrays([(1, 2), (2, 3), (1, 3), (7, 8), (8, 7)]))
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == [(1, 2), (2, 3), (7, 8)]


def test_no_edges():
    docs = ends(lambda: [arrays([])])
    assert len(docs) == len(ends(list)) == 0
    assert len(components(docs, [arrays([])])) == 0


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda p: p[0] != p[1])),
    st.integers(1, 5),
)
def test_any_partitioning_gives_the_components_of_a_search(pairs, partitions):
    expected = by_search(pairs)
    forests = [spanning_forest(*arrays(pairs[p::partitions])) for p in range(partitions)]
    docs = ends(lambda: forests)
    found = dict(zip(docs.tolist(), docs[components(docs, forests)].tolist(), strict=True))
    assert found == expected
    assert all(len(a) < max(1, len(np.unique([a, b]))) for a, b in forests)


def test_a_path_of_a_hundred_thousand_documents_is_linear():
    n = 100_000
    a = np.arange(n, 0, -1).astype(np.uint64)
    forests = [spanning_forest(a[p::2], a[p::2] - np.uint64(1)) for p in range(2)]
    docs = ends(lambda: forests)
    assert (components(docs, forests) == 0).all() and len(docs) == n + 1
