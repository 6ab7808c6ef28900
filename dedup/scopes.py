"""Within what documents are compared: the whole corpus, or a source, a snapshot, a language by
itself.

Which is better is not settled: FineWeb found that one deduplication over all snapshots kept, of an
old one, what was worse than what it removed, and took each snapshot alone (Penedo et al. 2024,
arXiv 2406.17557, 3.4); Dolma 3 deduplicates globally. So it is a choice, and `compare_scopes` shows
several from one pass.

A scope's value joins every exchanged key, so documents of two scopes never meet; nothing else
knows of scopes.
"""

import numpy as np
import pyarrow as pa

from dedup.columns import values_of
from filters.kernels import hash_strings, mix_all

GLOBAL = "global"
_SEED = np.uint64(0x53434F5045)


def scope_values(docs: pa.Table, scope: str) -> np.ndarray | None:
    """uint64: a hash of each document's value, None where all documents are in one scope. Documents
    without a value are a scope of their own."""
    if scope == GLOBAL:
        return None
    return hash_strings(values_of(docs, scope), _SEED)


def within(rows: pa.Table, values: np.ndarray | None, first: int) -> pa.Table:
    """The rows (key, doc ...) of a batch whose documents are those from `first` on, with keys that
    are equal in one scope only: where keys are equal and values are not, certainly not."""
    if values is None:
        return rows
    value = values[(rows["doc"].to_numpy() - np.uint64(first)).astype(np.int64)]
    key = mix_all(rows["key"].to_numpy() ^ value)
    return rows.set_column(rows.column_names.index("key"), "key", pa.array(key, pa.uint64()))
