"""Near-duplicates across parts: what workers run on one partition.

    pairs      partition of band keys     band buckets of documents still there -> candidate pairs
    sets       partition of parts         the shingle sets that some pair needs, to its partition
    verify     partition of parts (b's)   candidate pairs and sets -> edges of checked similarity
    components one task                   the edges' spanning forests -> each document's component
    graph      partition of parts         edges and their documents, to their component's partition
    keepers    partition of components    whole components -> fates, clusters
    recall     one task                   the sampled pairs -> what was proposed, what is parted
    clusters   one task                   the large clusters of all partitions -> a report

A pair belongs to the part of its later document: a hub comes first in a million pairs, and they
spread over all partitions. Each part's shingle sets are read once, in the order of its documents.
Files: one a partition and exchange. No task but `components` holds more than its partition.
"""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.components import Forest, components, ends, spanning_forest
from dedup.keepers import choose_keepers, clusters_of
from dedup.lsh import candidate_batches, choose_bands
from dedup.minhash import MinHash
from dedup.recall import FLOOR, estimate, sample_pairs, share_a_band
from dedup.verify import similar_pairs
from filters.kernels import mix
from pipeline.exchange import BANDS, SHINGLES, by_part, keyed, still_there, write_fates
from pipeline.parts import Part, in_corpus, read_partition, read_tables
from pipeline.schema import FATE

# weight: of a pair of the sample that measures recall; 0: the bands propose it
PAIRS = pa.schema(
    [("key", pa.uint64()), ("a", pa.uint64()), ("b", pa.uint64()), ("weight", pa.float64())]
)
WANTED = pa.schema([("key", pa.uint64()), ("doc", pa.uint64()), ("to", pa.uint64())])
MEASURED = pa.schema(
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
SAMPLED = pa.schema(
    [
        ("a", pa.uint64()),
        ("b", pa.uint64()),
        ("similarity", pa.float64()),
        ("weight", pa.float64()),
        ("proposed", pa.bool_()),
    ]
)
FOREST = pa.schema([("a", pa.uint64()), ("b", pa.uint64())])
COMPONENTS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64()), ("component", pa.uint64())])
EDGES = pa.schema(
    [("key", pa.uint64()), ("a", pa.uint64()), ("b", pa.uint64()), ("similarity", pa.float64())]
)
NODES = pa.schema(
    [
        ("key", pa.uint64()),
        ("doc", pa.uint64()),
        ("order", pa.uint64()),
        ("id", pa.string()),
        ("component", pa.uint64()),
    ]
)
CLUSTERS = pa.schema([("key", pa.uint64()), ("doc", pa.uint64()), ("cluster", pa.string())])
LARGE = pa.schema(
    [
        ("first", pa.uint64()),
        ("cluster", pa.string()),
        ("documents", pa.int64()),
        ("kept", pa.int64()),
        ("min_similarity", pa.float64()),
        ("max_similarity", pa.float64()),
    ]
)
REPORTED = 100  # large clusters, the largest first
HEAD_CHARS = 200


def pairs_partition(
    part: Part,
    bands: list[str | None],
    samples: list[str | None],
    gone: list[str],
    config: MinHash,
    fraction: float,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """`fraction`: of the groups whose pairs are sampled to measure recall."""
    rows = read_partition(part.root, bands, partition, partitions, BANDS, own_rows=True)
    rows = still_there(rows, part.root, gone)
    proposed = candidate_batches(rows, config.max_bucket)
    rows = read_partition(part.root, samples, partition, partitions, BANDS, own_rows=True)
    sampled = sample_pairs(still_there(rows, part.root, gone), fraction)
    pairs, wanted = (
        part.exchange("pairs", PAIRS, partitions),
        part.exchange("wanted", WANTED, partitions),
    )
    n = -sampled.num_rows
    for table in itertools.chain(proposed, [sampled]):
        n += table.num_rows
        if "weight" not in table.column_names:
            table = table.append_column("weight", pa.array(np.zeros(table.num_rows)))
        pairs.write(by_part(table, "b"))
        to = (table["b"].to_numpy() >> np.uint64(32)) % np.uint64(partitions)
        for end in ("a", "b"):
            docs = pa.table({"doc": table[end], "to": to}).group_by(["doc", "to"]).aggregate([])
            wanted.write(by_part(docs))
    return {"pairs": n}


def sets_partition(
    part: Part,
    wanted: list[str],
    shingles: list[str | None],
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """Sends the shingle sets of the parts of this partition to where a pair needs them."""
    rows = read_partition(part.root, wanted, partition, partitions, WANTED)
    rows = rows.group_by(["doc", "to"]).aggregate([])
    rows = rows.sort_by([("doc", "ascending"), ("to", "ascending")])
    docs = rows["doc"].to_numpy()
    to = rows["to"].to_numpy()
    sets = part.exchange("sets", keyed(SHINGLES), partitions)
    for index in np.unique(docs >> np.uint64(32)):
        path = shingles[int(index)]
        assert path is not None
        for table in read_tables(part.root, path):
            table = in_corpus(table, int(index))
            first = np.searchsorted(docs, table["doc"].to_numpy(), "left")
            n = np.searchsorted(docs, table["doc"].to_numpy(), "right") - first
            each = np.repeat(np.arange(table.num_rows), n)
            nth = np.arange(len(each)) - np.repeat(np.cumsum(n) - n, n)
            sent = table.take(pa.array(each))
            sets.write(sent.append_column("key", pa.array(to[first[each] + nth])))
    return {"sets": sets.rows}


def verify_partition(
    part: Part,
    pairs: list[str],
    sets: list[str],
    config: MinHash,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """Each pair once, by true Jaccard. Holds the shingles of the partition's candidates."""
    rows = read_partition(part.root, pairs, partition, partitions, PAIRS)
    rows = rows.group_by(["a", "b"]).aggregate([("weight", "min"), ("weight", "max")])
    rows = rows.sort_by([("a", "ascending"), ("b", "ascending")])
    known = read_partition(part.root, sets, partition, partitions, keyed(SHINGLES))
    known = known.drop_columns(["key"])
    proposed = rows.filter(pc.equal(rows["weight_min"], 0.0))
    measured = similar_pairs(proposed, known, config.similarity, config.measure)
    part.table("edges", f"work/{part.stage}", MEASURED, "edges").write(measured)
    forest = spanning_forest(measured["a"].to_numpy(), measured["b"].to_numpy())
    part.table("forest", f"work/{part.stage}", FOREST, "forest").write(
        pa.table(forest, names=["a", "b"])
    )
    sampled = rows.filter(pc.greater(rows["weight_max"], 0.0)).rename_columns(
        {"weight_max": "weight"}
    )
    true = similar_pairs(sampled, known, FLOOR).combine_chunks().join(sampled, ["a", "b"])
    true = true.sort_by([("a", "ascending"), ("b", "ascending")])
    banding = choose_bands(config.similarity, config.recall, config.permutations)
    true = true.append_column("proposed", pa.array(share_a_band(true, known, config, *banding)))
    part.table("sampled", f"work/{part.stage}", SAMPLED, "sampled").write(true)
    return {"candidate_pairs": proposed.num_rows, "verified_pairs": measured.num_rows}


def components_task(part: Part, forests: list[str], partitions: int) -> dict[str, Any]:
    """Merges the contracted partitions. Holds 34 bytes for each document with a verified edge, and
    one forest."""

    def each() -> Any:
        for path in forests:
            yield _forest(part.root, path)

    docs = ends(each())
    of = components(docs, each())
    writer = part.exchange("components", COMPONENTS, partitions)
    step = 1 << 20
    for start in range(0, len(docs), step):
        rows = {"doc": docs[start : start + step], "component": of[start : start + step]}
        writer.write(by_part(pa.table(rows)))
    return {"documents": len(docs), "components": int((docs == of).sum())}


def _forest(root: str, path: str) -> Forest:
    table = pa.concat_tables(list(read_tables(root, path)))
    return table["a"].to_numpy(), table["b"].to_numpy()


def graph_partition(
    part: Part, edges: list[str | None], component: list[str], partition: int, partitions: int
) -> dict[str, Any]:
    """The edges of one partition of `verify`, and their documents, to their components'."""
    rows = MEASURED.empty_table()
    if path := edges[partition]:
        rows = pa.concat_tables(list(read_tables(part.root, path))).combine_chunks()
    known = read_partition(part.root, component, partition, partitions, COMPONENTS)
    rows = rows.append_column(
        "component", known["component"].take(pc.index_in(rows["b"], known["doc"]))
    )
    key = pa.array(mix(rows["component"].to_numpy()))
    rows = rows.append_column("key", key)
    part.exchange("edges", EDGES, partitions).write(rows)
    nodes = part.exchange("nodes", NODES, partitions)
    for end in ("a", "b"):
        ends_ = {"doc": end, "order": f"{end}_order", "id": f"{end}_id"}
        docs = pa.table({name: rows[column] for name, column in ends_.items()})
        docs = docs.append_column("component", rows["component"]).append_column("key", rows["key"])
        nodes.write(docs.group_by(NODES.names).aggregate([]))
    return {"edges": rows.num_rows}


def keepers_partition(
    part: Part,
    edges: list[str],
    nodes: list[str],
    config: MinHash,
    over: int,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """Fates and clusters of whole components. Some 100 bytes an edge."""
    rows = read_partition(part.root, edges, partition, partitions, EDGES)
    docs = read_partition(part.root, nodes, partition, partitions, NODES)
    docs = docs.group_by(NODES.names).aggregate([]).sort_by("doc").combine_chunks()
    fates = choose_keepers(rows, docs, config.similarity)
    clusters, summary = clusters_of(rows, docs, fates)
    part.exchange("clusters", CLUSTERS, partitions).write(by_part(clusters))
    large = summary.filter(pc.greater(summary["documents"], over))
    large = large.sort_by([("documents", "descending"), ("cluster", "ascending")])
    part.table("large", f"work/{part.stage}", LARGE, "large").write(large.slice(0, REPORTED))
    counts = write_fates(part, fates, partitions)
    return {**counts, "clusters": summary.num_rows, "large_clusters": large.num_rows}


def recall_task(
    part: Part,
    sampled: list[str],
    fates: list[str],
    config: MinHash,
    banding: tuple[int, int],
    partitions: int,
) -> dict[str, Any]:
    """What the bands propose of the similar pairs, and what is parted, from those sampled. Holds
    the sample: some 100,000 pairs, whatever the corpus."""
    tables = [SAMPLED.empty_table(), *(t for path in sampled for t in read_tables(part.root, path))]
    rows = pa.concat_tables(tables).sort_by([("b", "ascending"), ("a", "ascending")])
    parted = np.zeros(rows.num_rows, bool)
    for path in fates:
        gone = read_partition(part.root, [path], None, partitions, keyed(FATE))["doc"].to_numpy()
        parted |= np.isin(rows["a"].to_numpy(), gone) | np.isin(rows["b"].to_numpy(), gone)
    return {"recall": estimate(rows, parted, banding, config.similarity)}


def clusters_task(part: Part, large: list[str], documents: list[str | None]) -> dict[str, Any]:
    """The largest clusters, with the beginning of their first document, which is kept."""
    tables = [LARGE.empty_table(), *(t for path in large for t in read_tables(part.root, path))]
    rows = pa.concat_tables(tables).sort_by([("documents", "descending"), ("cluster", "ascending")])
    report = []
    for row in rows.slice(0, REPORTED).to_pylist():
        first = row.pop("first")
        path = documents[first >> 32]
        text = _text_at(part.root, path, first & 0xFFFFFFFF) if path else ""
        report.append({**row, "head": text[:HEAD_CHARS]})
    return {"largest": report}


def _text_at(root: str, path: str, row: int) -> str:
    for table in read_tables(root, path, ["text"]):
        if row < table.num_rows:
            return table["text"][row].as_py() or ""
        row -= table.num_rows
    return ""
