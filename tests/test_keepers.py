"""The lexicographically first maximal independent set: no chains, a keeper for every removal."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.clusters import clusters_of
from dedup.keepers import choose_keepers
from pipeline.schema import FATE

SIMILARITY = 0.5


def edges(*rows: tuple[tuple[int, int], tuple[int, int], float]) -> tuple[pa.Table, pa.Table]:
    """Edges between documents given as (order, doc), and those documents."""
    table = pa.table(
        {
            "a": pa.array([a[1] for a, _, _ in rows], pa.uint64()),
            "b": pa.array([b[1] for _, b, _ in rows], pa.uint64()),
            "similarity": pa.array([s for _, _, s in rows], pa.float64()),
        }
    )
    nodes = sorted({(doc, order) for a, b, _ in rows for order, doc in (a, b)})
    label = by_search([(a[1], b[1]) for a, b, _ in rows])
    docs = {
        "doc": pa.array([doc for doc, _ in nodes], pa.uint64()),
        "order": pa.array([order for _, order in nodes], pa.uint64()),
        "id": pa.array([f"id{doc}" for doc, _ in nodes], pa.string()),
        "component": pa.array([label[doc] for doc, _ in nodes], pa.uint64()),
    }
    return table, pa.table(docs)


def by_search(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """The least document that can be reached from each."""
    near: dict[int, set[int]] = {}
    for a, b in pairs:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    label: dict[int, int] = {}
    for start in sorted(near):
        waiting = [start] if start not in label else []
        while waiting:
            doc = waiting.pop()
            if doc not in label:
                label[doc] = start
                waiting += near[doc]
    return label


def fates(table: pa.Table) -> dict[int, tuple[str, float]]:
    assert table.schema == FATE
    rows = table.to_pylist()
    assert all(r["rule"] == "near_duplicate" and r["threshold"] == SIMILARITY for r in rows)
    assert all(r["value"] == r["similarity"] for r in rows)
    assert [r["doc"] for r in rows] == sorted(r["doc"] for r in rows)
    return {r["doc"]: (r["matched_id"], r["similarity"]) for r in rows}


def test_a_chain_is_not_followed():
    a, b, c, d = (0, 1), (0, 2), (0, 3), (0, 4)
    chain = edges((a, b, 0.9), (b, c, 0.8), (c, d, 0.7))
    # 2 goes for 1; 3 is like 2 only, which is gone, so it stays; 4 goes for 3, not for 1 or 2
    assert fates(choose_keepers(*chain, SIMILARITY)) == {2: ("id1", 0.9), 4: ("id3", 0.7)}


def test_the_order_decides_and_the_place_breaks_ties():
    early, late = (3, 9), (5, 1)
    assert fates(choose_keepers(*edges((late, early, 0.6)), SIMILARITY)) == {1: ("id9", 0.6)}
    assert fates(choose_keepers(*edges(((3, 9), (3, 1), 0.6)), SIMILARITY)) == {9: ("id1", 0.6)}


def test_the_keeper_named_is_the_most_similar_then_the_first():
    one, two, three, copy = (0, 3), (1, 2), (2, 1), (9, 0)
    star = edges((copy, three, 0.8), (one, copy, 0.6), (two, copy, 0.8))
    assert fates(choose_keepers(*star, SIMILARITY)) == {0: ("id2", 0.8)}


def test_no_edges_no_fates():
    empty = choose_keepers(*edges(), SIMILARITY)
    assert empty.num_rows == 0
    assert empty.schema == FATE


def by_brute_force(graph: dict[tuple, float]) -> dict[int, tuple[str, float]]:
    near: dict[tuple, dict[tuple, float]] = {}
    for (a, b), s in graph.items():
        near.setdefault(a, {})[b] = s
        near.setdefault(b, {})[a] = s
    kept: list[tuple] = []
    removed = {}
    for node in sorted(near):  # (order, doc): the total order
        keepers = [k for k in kept if k in near[node]]
        if not keepers:
            kept.append(node)
            continue
        best = max(keepers, key=lambda k: (near[node][k], (-k[0], -k[1])))
        removed[node[1]] = (f"id{best[1]}", near[node][best])
    return removed


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda p: p[0] < p[1]),
        st.sampled_from([0.5, 0.6, 0.7, 1.0]),
        max_size=50,
    ),
    st.lists(st.integers(0, 4), min_size=16, max_size=16),
    st.randoms(use_true_random=False),
)
def test_brute_force_in_any_order_of_edges_and_ends(graph, orders, random):
    node = {i: (orders[i], i) for i in range(16)}
    named = {(node[a], node[b]): s for (a, b), s in graph.items()}
    expected = by_brute_force(named)
    rows = [(a, b, s) if random.random() < 0.5 else (b, a, s) for (a, b), s in named.items()]
    random.shuffle(rows)
    assert fates(choose_keepers(*edges(*rows), SIMILARITY)) == expected
    again = edges(*rows, *rows)  # an edge that was found twice is one edge
    assert fates(choose_keepers(*again, SIMILARITY)) == expected
    clusters, summary = clusters_of(*again, choose_keepers(*again, SIMILARITY))
    label = by_search([(a[1], b[1]) for a, b in named])
    first = {root: min(node[d] for d in label if label[d] == root)[1] for root in label.values()}
    found = dict(zip(clusters["doc"].to_pylist(), clusters["cluster"].to_pylist(), strict=True))
    assert found == {doc: f"id{first[root]}" for doc, root in label.items()}
    assert sum(summary["documents"].to_pylist()) == len(label)
    assert sum(summary["kept"].to_pylist()) == len(label) - len(expected)
    firsts = {sample[0] for sample in summary["sample"].to_pylist()}
    assert not firsts & set(expected)  # the first of a cluster is kept


def test_a_cluster_has_the_name_of_its_first_document_and_the_range_of_its_pairs():
    a, b, c, lone, twin = (3, 1), (0, 2), (1, 3), (0, 7), (0, 8)
    table, docs = edges((a, b, 0.9), (a, c, 0.6), (lone, twin, 0.7))
    clusters, summary = clusters_of(table, docs, choose_keepers(table, docs, SIMILARITY))
    assert clusters["cluster"].to_pylist() == ["id2", "id2", "id2", "id7", "id7"]
    assert summary.to_pylist() == [
        {
            "sample": [2, 3, 1],
            "cluster": "id2",
            "documents": 3,
            "kept": 2,
            "min_similarity": 0.6,
            "max_similarity": 0.9,
        },
        {
            "sample": [7, 8],
            "cluster": "id7",
            "documents": 2,
            "kept": 1,
            "min_similarity": 0.7,
            "max_similarity": 0.7,
        },
    ]
