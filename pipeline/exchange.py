"""The exchanges of deduplication: what workers run on one part, or on one partition of a key space.

    sign      part       one pass over the texts: exact keys, bands, shingles, n-gram windows
    exact     partition  groups of equal text                   -> fates
    pairs     partition  band buckets of documents still there  -> candidate pairs, by part
    verify    partition  candidate pairs                        -> pairs of checked similarity
    keepers   one task   the verified graph                     -> fates
    repeats   partition  windows of words seen before           -> windows to cut
    route     partition  fates and windows                      -> a small file for each part
    resolve   part       documents, fates, windows              -> documents and removed

Files made by `sign` and `route` hold rows of their own part, not places in the corpus: they stay
valid when shards are added.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.exact import Exact, exact_duplicates, exact_keys
from dedup.keepers import choose_keepers
from dedup.lsh import candidates
from dedup.minhash import MinHash, sketch
from dedup.ngrams import NGrams, cut_spans, ngram_fingerprints, repeated_windows
from dedup.verify import jaccard_pairs
from pipeline.parts import Part, in_corpus, read_partition, read_tables
from pipeline.schema import FATE, REMOVAL
from pipeline.tasks import Tally, text_bytes

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
PAIRS = pa.schema([("key", pa.uint64()), ("a", pa.uint64()), ("b", pa.uint64())])
EDGES = pa.schema(
    [
        ("a", pa.uint64()),
        ("b", pa.uint64()),
        ("a_order", pa.uint64()),
        ("b_order", pa.uint64()),
        ("a_id", pa.string()),
        ("b_id", pa.string()),
        ("similarity", pa.float64()),
    ]
)
REPEATS = pa.schema([("doc", pa.uint64()), ("position", pa.int32()), ("first_doc", pa.uint64())])
KEEPERS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64())])

# What `route` hands to one part: rows of that part, and ids in the place of other parts' places.
ROUTED_FATES = pa.schema([field for field in FATE if field.name != "matched"])
ROUTED_KEEPERS = pa.schema([("doc", pa.uint64())])
ROUTED_REPEATS = pa.schema(
    [("doc", pa.uint64()), ("position", pa.int32()), ("first_id", pa.string())]
)


def keyed(schema: pa.Schema) -> pa.Schema:
    """The schema with the exchange key in front: the index of the part that a row concerns."""
    return schema.insert(0, pa.field("key", pa.uint64()))


def _by_part(table: pa.Table, column: str = "doc") -> pa.Table:
    part = table[column].to_numpy() >> np.uint64(32)
    return table.append_column("key", pa.array(part, pa.uint64()))


def sign_part(
    part: Part,
    path: str | None,
    priority: int,
    exact: Exact | None,
    minhash: MinHash | None,
    bands: tuple[int, int],
    ngrams: NGrams | None,
    partitions: int,
    batch_bytes: int,
) -> dict[str, Any]:
    """`order`, smaller is kept first: the source's priority, then the longer text; then,
    everywhere, the place."""
    if path is None:
        return {}
    keys = part.exchange("keys", KEYS, partitions) if exact else None
    band_rows = part.exchange("bands", BANDS, partitions) if minhash else None
    shingles = (
        part.table("shingles", f"work/{part.stage}", SHINGLES, "shingles") if minhash else None
    )
    windows = part.exchange("windows", WINDOWS, partitions) if ngrams else None
    row = 0
    for table in read_tables(part.root, path, ["id", "text"], batch_bytes):
        length = pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy().astype(np.uint64)
        order = np.uint64(priority << 48) | (np.uint64((1 << 48) - 1) - length)
        doc = np.arange(row, row + table.num_rows, dtype=np.uint64)
        row += table.num_rows
        docs = table.append_column("doc", pa.array(doc)).append_column("order", pa.array(order))
        if exact and keys:
            keys.write(exact_keys(docs, exact))
        if minhash and band_rows and shingles:
            made, sets = sketch(docs, minhash, *bands)
            band_rows.write(made)
            shingles.write(sets)
        if ngrams and windows:
            windows.write(ngram_fingerprints(docs, ngrams))
    return {}


def exact_partition(
    part: Part, keys: list[str | None], partition: int, partitions: int
) -> dict[str, Any]:
    rows = read_partition(part.root, keys, partition, partitions, KEYS, own_rows=True)
    return _write_fates(part, exact_duplicates(rows), partitions)


def pairs_partition(
    part: Part,
    bands: list[str | None],
    fates: list[str],
    config: MinHash,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    rows = read_partition(part.root, bands, partition, partitions, BANDS, own_rows=True)
    rows = _still_there(rows, part.root, fates, partitions)
    pairs = _by_part(candidates(rows, config.max_bucket), "a")
    part.exchange("pairs", PAIRS, partitions).write(pairs)
    return {"pairs": pairs.num_rows}


def verify_partition(
    part: Part,
    pairs: list[str],
    shingles: list[str | None],
    config: MinHash,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """Each pair once, by true Jaccard. Holds the shingles of two parts' candidates at a time."""
    rows = read_partition(part.root, pairs, partition, partitions, PAIRS)
    rows = rows.group_by(["a", "b"]).aggregate([]).sort_by([("a", "ascending"), ("b", "ascending")])
    edges = part.table("edges", f"work/{part.stage}", EDGES, "edges")
    a_part = rows["a"].to_numpy() >> np.uint64(32)
    b_part = rows["b"].to_numpy() >> np.uint64(32)
    for i in np.unique(a_part):
        mine = a_part == i
        a_sets = _shingles_of(part.root, shingles, int(i), rows["a"].filter(pa.array(mine)))
        for j in np.unique(b_part[mine]):
            these = rows.filter(pa.array(mine & (b_part == j)))
            sets = a_sets
            if i != j:
                sets = pa.concat_tables(
                    [a_sets, _shingles_of(part.root, shingles, int(j), these["b"])]
                )
            else:
                both = pa.chunked_array(these["a"].chunks + these["b"].chunks)
                sets = _shingles_of(part.root, shingles, int(i), both)
            edges.write(jaccard_pairs(these, sets.combine_chunks(), config.similarity))
    return {"candidate_pairs": rows.num_rows, "verified_pairs": edges.rows}


def _shingles_of(root: str, paths: list[str | None], index: int, docs: pa.ChunkedArray) -> pa.Table:
    wanted = pc.unique(docs)
    path = paths[index]
    assert path is not None
    found = [SHINGLES.empty_table()]
    for table in read_tables(root, path):
        table = in_corpus(table, index)
        found.append(table.filter(pc.is_in(table["doc"], wanted)))
    return pa.concat_tables(found).combine_chunks()


def keepers_task(part: Part, edges: list[str], config: MinHash, partitions: int) -> dict[str, Any]:
    tables = [EDGES.empty_table()]
    for path in edges:
        tables += list(read_tables(part.root, path))
    rows = pa.concat_tables(tables).combine_chunks()
    return _write_fates(part, choose_keepers(rows, config.similarity), partitions)


def _write_fates(part: Part, fates: pa.Table, partitions: int) -> dict[str, Any]:
    """Fates to the parts of the documents they concern, and word to the parts of their keepers."""
    part.exchange("fates", keyed(FATE), partitions).write(_by_part(fates))
    keepers = pa.table({"doc": pc.unique(fates["matched"]).sort()})
    part.exchange("keepers", KEEPERS, partitions).write(_by_part(keepers))
    return {"fates": fates.num_rows}


def repeats_partition(
    part: Part,
    windows: list[str | None],
    fates: list[str],
    config: NGrams,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    rows = read_partition(part.root, windows, partition, partitions, WINDOWS, own_rows=True)
    rows = _still_there(rows, part.root, fates, partitions)
    found = _by_part(repeated_windows(rows, config))
    part.exchange("repeats", keyed(REPEATS), partitions).write(found)
    return {"repeats": found.num_rows}


def _still_there(rows: pa.Table, root: str, fates: list[str], partitions: int) -> pa.Table:
    """Rows of documents that no earlier exchange removed. Holds 8 bytes a removed document."""
    gone = [np.empty(0, np.uint64)]
    for p in range(partitions):
        gone.append(read_partition(root, fates, p, partitions, keyed(FATE))["doc"].to_numpy())
    removed = np.unique(np.concatenate(gone))
    return rows.filter(pa.array(~np.isin(rows["doc"].to_numpy(), removed)))


def route_partition(
    part: Part,
    exact: list[str],
    near: list[str],
    keepers: list[str],
    repeats: list[str],
    documents: list[str | None],
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """Small files for each part that has something to lose or to keep, with rows of that part."""

    def mine(paths: list[str], schema: pa.Schema) -> pa.Table:
        return read_partition(part.root, paths, partition, partitions, schema)

    fate = pa.concat_tables(
        [
            _retargeted(mine(exact, keyed(FATE)), part.root, near, partitions),
            mine(near, keyed(FATE)),
        ]
    )
    keeper = mine(keepers, KEEPERS).group_by(["key", "doc"]).aggregate([])
    repeat = mine(repeats, keyed(REPEATS))
    first_id = _ids_of(part.root, documents, repeat["first_doc"])
    repeat = repeat.append_column("first_id", first_id)
    routed = [("fates", fate, ROUTED_FATES), ("keepers", keeper, ROUTED_KEEPERS)]
    for role, table, schema in [*routed, ("repeats", repeat, ROUTED_REPEATS)]:
        for index in pc.unique(table["key"]).sort().to_pylist():
            rows = table.filter(pc.equal(table["key"], index))
            local = pc.bit_wise_and(rows["doc"], pa.scalar(0xFFFFFFFF, pa.uint64()))
            rows = rows.set_column(rows.column_names.index("doc"), "doc", local)
            keys = [("doc", "ascending")] + [("position", "ascending")] * (role == "repeats")
            writer = part.table(f"{role}-{index}", f"work/{part.stage}", schema, f"{role}-{index}")
            writer.write(rows.sort_by(keys))
    return {}


def _retargeted(exact: pa.Table, root: str, near: list[str], partitions: int) -> pa.Table:
    """Exact duplicates whose keeper went as a near-duplicate: their text is the keeper's, so the
    similarity that was checked for it, and the document that is kept, are theirs."""
    gone = [read_partition(root, near, p, partitions, keyed(FATE)) for p in range(partitions)]
    final = pa.concat_tables(gone).combine_chunks()
    at = pc.index_in(exact["matched"], final["doc"])
    for name in ("value", "threshold", "matched_id", "similarity"):
        theirs = final[name].take(at)
        column = pc.if_else(at.is_valid(), theirs, exact[name])
        exact = exact.set_column(exact.column_names.index(name), exact.schema.field(name), column)
    return exact


def _ids_of(root: str, documents: list[str | None], docs: pa.ChunkedArray) -> pa.Array:
    """The ids of places in the corpus, reading the id column of the parts concerned only."""
    places = docs.to_numpy()
    out = np.empty(len(places), dtype=object)
    for index in np.unique(places >> np.uint64(32)):
        path = documents[int(index)]
        assert path is not None
        ids = pa.chunked_array([t["id"].combine_chunks() for t in read_tables(root, path, ["id"])])
        mine = np.flatnonzero(places >> np.uint64(32) == index)
        rows = places[mine] & np.uint64(0xFFFFFFFF)
        out[mine] = ids.take(pa.array(rows)).to_numpy(zero_copy_only=False)
    return pa.array(out, pa.string())


def resolve_part(
    part: Part,
    source: str,
    path: str | None,
    fates: str | None,
    keepers: str | None,
    repeats: str | None,
    ngrams: NGrams | None,
    out: str,
    batch_bytes: int,
) -> dict[str, Any]:
    """Applies the fates and cuts of one part: documents kept, documents removed. A document that
    others were removed for stays, however little of it the n-gram cut leaves."""
    tally = Tally()
    n_cut = words_cut = 0
    if path is None:
        return tally.counts(source)
    fate = _all_rows(part.root, fates, ROUTED_FATES)
    keeper = _all_rows(part.root, keepers, ROUTED_KEEPERS)
    repeat = _all_rows(part.root, repeats, ROUTED_REPEATS)
    documents = removed = None
    row = 0
    for table in read_tables(part.root, path, batch_bytes=batch_bytes):
        if documents is None or removed is None:
            documents = part.table("documents", f"{out}/{source}", table.schema)
            schema = pa.schema([*table.schema, *REMOVAL])
            removed = part.table("removed", f"removed/{source}", schema, prefix="dedup")
        tally.n_in += table.num_rows
        tally.bytes_in += text_bytes(table)
        doc = pa.array(np.arange(row, row + table.num_rows, dtype=np.uint64))
        row += table.num_rows
        verdicts = [fate.filter(pc.is_in(fate["doc"], doc))]
        mine = repeat.filter(pc.is_in(repeat["doc"], doc))
        if ngrams and mine.num_rows:
            texts, short, cut = cut_spans(table["text"].combine_chunks(), doc, mine, ngrams)
            table = table.set_column(
                table.column_names.index("text"), table.schema.field("text"), texts
            )
            short = short.filter(pc.invert(pc.is_in(short["doc"], keeper["doc"])))
            verdicts.append(short.select(ROUTED_FATES.names))
            n_cut += int((cut > 0).sum())
            words_cut += int(cut.sum())
        gone = _removed(table, doc, pa.concat_tables(verdicts))
        kept = table.filter(pc.invert(pc.is_in(table["id"], gone["id"])))
        documents.write(kept)
        removed.write(gone)
        tally.add_removed(gone)
        tally.kept += kept.num_rows
        tally.bytes_kept += text_bytes(kept)
    counts = tally.counts(source)
    counts[source] |= {"cut": n_cut, "words_cut": words_cut}
    return counts


def _removed(table: pa.Table, doc: pa.Array, fate: pa.Table) -> pa.Table:
    """The rows with a fate, with their REMOVAL columns; in the order of the table."""
    rule = pc.binary_join_element_wise("dedup", fate["rule"].combine_chunks(), ".")
    fate = fate.set_column(fate.column_names.index("rule"), "rule", rule)
    stage = pa.array(["dedup"] * fate.num_rows, pa.string())
    failed = pa.array([[name] for name in rule.to_pylist()], REMOVAL.field("failed").type)
    fate = fate.append_column("stage", stage).append_column("failed", failed).sort_by("doc")
    rows = pc.index_in(fate["doc"], doc).combine_chunks()
    gone = table.take(rows)
    for field in REMOVAL:
        gone = gone.append_column(field, fate[field.name].cast(field.type))
    return gone.combine_chunks()


def _all_rows(root: str, path: str | None, schema: pa.Schema) -> pa.Table:
    if path is None:
        return schema.empty_table()
    return pa.concat_tables(list(read_tables(root, path))).combine_chunks()
