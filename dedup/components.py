"""Connected components of the verified graph, from partitions of its edges.

Each partition is contracted to a spanning forest: the edges that joined two trees, fewer than it
has documents, whatever its edges. The forests are merged by union-find in one process, which holds
16 bytes for each document with a verified edge, its place and its parent, and one forest (measured
on 4 million in 40 partitions: 19 in all, .5 us each).

Components say which documents belong together (a split into training and validation must not cut
through them) and let `keepers.py` work on partitions of whole components. They do not say who is
removed: that would be chains.
"""

from collections.abc import Callable, Iterable

import numpy as np

from filters.compiled import kernel, uncounted

SHARES = np.uint64(4)
Forest = tuple[np.ndarray, np.ndarray]  # the ends (a, b) of edges: uint64 places


def spanning_forest(a: np.ndarray, b: np.ndarray) -> Forest:
    """The edges that connect as much as all of them do: those that joined two trees."""
    docs = _distinct([a, b])
    parent = np.arange(len(docs))
    joined = _join(parent, np.searchsorted(docs, a), np.searchsorted(docs, b))
    return a[joined], b[joined]


def components(docs: np.ndarray, forests: Iterable[Forest]) -> np.ndarray:
    """Of each of `docs` (sorted, distinct uint64) which of them is the first of its component."""
    parent = np.arange(len(docs))
    for a, b in forests:
        _join(parent, np.searchsorted(docs, a), np.searchsorted(docs, b))
    _flatten(parent)
    return parent


def ends(forests: Callable[[], Iterable[Forest]]) -> np.ndarray:
    """The documents of the forests, sorted and distinct. Gathered in SHARES, each by a look at all
    forests: while one is sorted, with its repeats, only it is held twice."""
    shares = [
        _distinct([end[end % SHARES == share] for forest in forests() for end in forest])
        for share in np.arange(SHARES)
    ]
    docs = np.concatenate(shares)
    docs.sort()
    return docs


def _distinct(values: list[np.ndarray]) -> np.ndarray:
    """Sorted, without repeats. np.unique puts integers into a hash table: for places of documents
    10 times the time and 4 times the memory."""
    ordered = np.concatenate([*values, np.empty(0, np.uint64)])
    values.clear()
    ordered.sort()
    new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


@uncounted
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]  # halves the path
        i = parent[i]
    return i


@kernel
def _join(parent: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Unites the trees of each edge's ends under the smaller root; which edges did that."""
    joined = np.zeros(len(a), np.bool_)
    for e in range(len(a)):
        i, j = _root(parent, a[e]), _root(parent, b[e])
        if i != j:
            parent[max(i, j)] = min(i, j)
            joined[e] = True
    return joined


@uncounted
def _flatten(parent: np.ndarray) -> None:
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]  # a parent comes before its children: it is a root already
