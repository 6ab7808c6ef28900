"""What the exchanges found, brought to each part: route and resolve.

route     partition  fates, keepers, clusters and windows   -> a small file for each part
resolve   part       documents and those files              -> documents and removed
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.cut import Cut, Spans, cut_spans
from pipeline.exchange.equal import KEEPERS, REPEATS
from pipeline.exchange.files import keyed, read_partition
from pipeline.exchange.graph import CLUSTERS
from pipeline.parts import Part, read_tables
from pipeline.schema import FATE, REMOVAL
from pipeline.tally import Tally, text_bytes

CLUSTER = "dedup.cluster"  # columns of documents
REPEATED = "dedup.repeated_fraction"

# What `route` hands to one part: rows of that part, and ids in the place of other parts' places.
ROUTED_FATES = pa.schema([field for field in FATE if field.name != "matched"])
ROUTED_KEEPERS = pa.schema([("doc", pa.uint64())])
ROUTED_CLUSTERS = pa.schema([("doc", pa.uint64()), ("cluster", pa.string())])
ROUTED_REPEATS = pa.schema(
    [("doc", pa.uint64()), ("position", pa.int32()), ("first_id", pa.string())]
)


def route_partition(
    part: Part,
    exact: list[str],
    near: list[str],
    keepers: list[str],
    clusters: list[str],
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
    first_id = ids_of(part.root, documents, repeat["first_doc"])
    repeat = repeat.append_column("first_id", first_id)
    routed = [
        ("fates", fate, ROUTED_FATES),
        ("keepers", keeper, ROUTED_KEEPERS),
        ("clusters", mine(clusters, CLUSTERS), ROUTED_CLUSTERS),
        ("repeats", repeat, ROUTED_REPEATS),
    ]
    for role, table, schema in routed:
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
    similarity that was checked for it, and the document that is kept, are theirs. Of those with its
    URL or value only the document is: their texts were not compared."""
    found = [keyed(FATE).empty_table()]
    for path in near if exact.num_rows else []:
        gone = read_partition(root, [path], None, partitions, keyed(FATE))
        found.append(gone.filter(pc.is_in(gone["doc"], exact["matched"])))
    final = pa.concat_tables(found).combine_chunks()
    at = pc.index_in(exact["matched"], final["doc"])
    for name in ("value", "threshold", "matched_id", "similarity"):
        theirs = final[name].take(at)
        known = pc.equal(exact["rule"], "exact_duplicate") if name != "matched_id" else True
        column = pc.if_else(pc.and_(at.is_valid(), known), theirs, exact[name])
        exact = exact.set_column(exact.column_names.index(name), exact.schema.field(name), column)
    return exact


def ids_of(root: str, documents: list[str | None], docs: pa.ChunkedArray) -> pa.Array:
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
    clusters: str | None,
    repeats: str | None,
    minhash: bool,
    spans: Spans | None,
    out: str,
    batch_bytes: int,
) -> dict[str, Any]:
    """Applies the fates and cuts of one part: documents kept, documents removed. A document that
    others were removed for stays, however little of it the cut of repeats leaves."""
    tally = Tally()
    n_cut = words_cut = 0
    if path is None:
        return tally.counts(source)
    fate = _all_rows(part.root, fates, ROUTED_FATES)
    keeper = _all_rows(part.root, keepers, ROUTED_KEEPERS)
    repeat = _all_rows(part.root, repeats, ROUTED_REPEATS)
    cluster = _all_rows(part.root, clusters, ROUTED_CLUSTERS)
    documents = removed = None
    row = 0
    for table in read_tables(part.root, path, batch_bytes=batch_bytes):
        doc = pa.array(np.arange(row, row + table.num_rows, dtype=np.uint64))
        row += table.num_rows
        if minhash:
            table = _with_cluster(table, doc, cluster)
        tally.n_in += table.num_rows
        tally.bytes_in += text_bytes(table)
        verdicts = [fate.filter(pc.is_in(fate["doc"], doc))]
        mine = repeat.filter(pc.is_in(repeat["doc"], doc))
        if spans and (mine.num_rows or spans.action == "mark"):
            made = cut_spans(table["text"].combine_chunks(), doc, mine, spans)
            table = _with_cuts(table, made, spans.action == "mark")
            short = made.fates.filter(pc.invert(pc.is_in(made.fates["doc"], keeper["doc"])))
            verdicts.append(short.select(ROUTED_FATES.names))
            n_cut += int((made.words_cut > 0).sum())
            words_cut += int(made.words_cut.sum())
        if documents is None or removed is None:
            documents = part.table("documents", f"{out}/{source}", table.schema)
            schema = pa.schema([*table.schema, *REMOVAL])
            removed = part.table("removed", f"removed/{source}", schema, prefix="dedup")
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


def _with_cluster(table: pa.Table, doc: pa.Array, cluster: pa.Table) -> pa.Table:
    """The documents with the id of the first document of their cluster, null where they are like
    no other."""
    if CLUSTER in table.column_names:  # of a run before this one
        table = table.drop_columns([CLUSTER])
    return table.append_column(CLUSTER, cluster["cluster"].take(pc.index_in(doc, cluster["doc"])))


def _with_cuts(table: pa.Table, made: Cut, mark: bool) -> pa.Table:
    """The documents with what is left of their texts, and marked if asked."""
    at = table.column_names.index("text")
    table = table.set_column(at, table.schema.field("text"), made.texts)
    if REPEATED in table.column_names:  # of a run before this one
        table = table.drop_columns([REPEATED])
    return table.append_column(REPEATED, pa.array(made.repeated)) if mark else table


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
