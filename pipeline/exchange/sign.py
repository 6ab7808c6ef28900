"""The first of the exchanges of deduplication: one pass over the texts of a part. Small rows come
out of it (exact keys, bands, shingles, windows of words), each for the partition of its key.

    sign   -> exact, gone        equal.py        -> pairs, sets, verify   near.py
           -> graph, keepers     graph.py        -> repeats               equal.py, paragraphs.py
           -> route, resolve     resolve.py      (several scopes side by side: scopes.py)

Files made by `sign` and `route` hold rows of their own part, not places in the corpus: they stay
valid when shards are added. A path that is absolute is read where it is: an index elsewhere.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.columns import column_of
from dedup.cut import Spans
from dedup.exact import Exact, exact_keys
from dedup.minhash import MinHash, sketch
from dedup.ngrams import fingerprints
from dedup.paragraphs import Paragraphs, paragraph_ngrams
from dedup.recall import sample_keys
from dedup.scopes import scope_values, within
from pipeline.parts import Part, read_tables

KEYS = pa.schema(
    [
        ("key", pa.uint64()),
        ("key_low", pa.uint64()),
        ("doc", pa.uint64()),
        ("order", pa.uint64()),
        ("id", pa.string()),
    ]
)
BANDS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64()), ("order", pa.uint64())])
SHINGLES = pa.schema(
    [
        ("doc", pa.uint64()),
        ("order", pa.uint64()),
        ("id", pa.string()),
        ("shingles", pa.list_(pa.uint64())),
    ]
)
WINDOWS = pa.schema(
    [
        ("key", pa.uint64()),
        ("key_low", pa.uint64()),
        ("doc", pa.uint64()),
        ("order", pa.uint64()),
        ("position", pa.int32()),
    ]
)
EXCHANGED = {"keys": KEYS, "bands": BANDS, "samples": BANDS, "windows": WINDOWS}
SIZES = pa.schema([("doc", pa.uint64()), ("position", pa.int32()), ("n", pa.int32())])


def sign_part(
    part: Part,
    path: str | None,
    priority: int,
    exact: Exact | None,
    minhash: MinHash | None,
    bands: tuple[int, int],
    spans: Spans | None,
    scopes: list[str],
    signal: str,
    partitions: int,
    batch_bytes: int,
) -> dict[str, Any]:
    """Every method's view of one part's documents, with the keys of each scope; of those after the
    first, which are only compared, no windows."""
    if path is None:
        return {}
    methods = ["keys"] * bool(exact) + ["bands", "samples"] * bool(minhash)
    writers = {
        scoped(role, i): part.exchange(scoped(role, i), EXCHANGED[role], partitions)
        for i, _ in enumerate(scopes)
        for role in [*methods, *["windows"] * bool(spans and i == 0)]
    }
    # Hashes: zstd would take a tenth of the bytes off, and as long as writing them.
    shingles = part.table("shingles", f"work/{part.stage}", SHINGLES, "shingles", "none")
    sizes = part.table("sizes", f"work/{part.stage}", SIZES, "sizes")
    row = n_shingled = 0
    named = ["id", "text", exact.by if exact else "text", signal or "text", *scopes]
    columns = list(dict.fromkeys(map(column_of, named)))
    for table in read_tables(part.root, path, columns, batch_bytes):
        order = total_order(table, priority, signal)
        first, row = row, row + table.num_rows
        doc = np.arange(first, row, dtype=np.uint64)
        docs = table.append_column("doc", pa.array(doc)).append_column("order", pa.array(order))
        made: dict[str, pa.Table] = {}
        if exact:
            made["keys"] = exact_keys(docs, exact)
        if minhash:
            made["bands"], sets = sketch(docs, minhash, *bands)
            made["samples"] = sample_keys(sets)
            shingles.write(sets)
            n_shingled += sets.num_rows
        if isinstance(spans, Paragraphs):
            made["windows"], n_ngrams = paragraph_ngrams(docs, spans)
            sizes.write(n_ngrams)
        elif spans:
            made["windows"] = fingerprints(docs, spans)
        for i, scope in enumerate(scopes):
            values = scope_values(docs, scope)
            for role, rows in made.items():
                if writer := writers.get(scoped(role, i)):
                    writer.write(within(rows, values, first))
    return {"shingled": n_shingled}


def scoped(role: str, i: int) -> str:
    """The name of a role's file in the i-th scope; the first is the one that is applied."""
    return f"{role}@{i}" if i else role


def total_order(table: pa.Table, priority: int, signal: str) -> np.ndarray:
    """uint64, smaller is kept first: 16 bits of the source's priority; 16 of the signal, greater
    first, null and absent last; 32 of the text's bytes, longer first. Equal ones: by place.

    The signal's are the upper half of a float32, turned so that they sort: two or three digits,
    within which length decides."""
    length = pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy().astype(np.uint64)
    rank = np.zeros(table.num_rows, np.uint64)
    if signal in table.column_names:
        value = table[signal].cast(pa.float32()).to_numpy() + np.float32(0)  # -0 is 0
        bits = value.view(np.uint32) >> np.uint32(16)
        rank = np.where(bits >> 15, 0xFFFF - bits, bits + 0x8000).astype(np.uint64)
        rank[np.isnan(value)] = 0
    rest = np.uint64(0xFFFF) - rank << np.uint64(32) | np.uint64(0xFFFFFFFF) - length
    return np.uint64(priority << 48) | rest
