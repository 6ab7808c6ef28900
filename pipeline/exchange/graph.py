"""What the verified graph of near-duplicates says: who stays, and which documents belong together.

    components one task                   the edges' spanning forests -> each document's component
    graph      partition of parts         edges and their documents, to their component's partition
    keepers    partition of components    whole components -> fates, clusters
    clusters   one task                   the large clusters of all partitions -> a report

Files: one a partition and exchange. No task but `components` holds more than its partition.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.clusters import clusters_of, shared_text
from dedup.components import Forest, components, ends
from dedup.keepers import choose_keepers
from dedup.minhash import MinHash
from filters.kernels import mix_all
from pipeline.exchange.equal import write_fates
from pipeline.exchange.files import by_part, read_partition
from pipeline.exchange.near import MEASURED
from pipeline.parts import Part, read_rows, read_tables

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
        ("sample", pa.list_(pa.uint64())),
        ("cluster", pa.string()),
        ("documents", pa.int64()),
        ("kept", pa.int64()),
        ("min_similarity", pa.float64()),
        ("max_similarity", pa.float64()),
    ]
)
REPORTED = 100  # large clusters, the largest first
TEXT_CHARS = 1 << 20  # of a document, compared for what a cluster shares
SHOWN_CHARS = 200


def components_task(part: Part, forests: list[str], partitions: int) -> dict[str, Any]:
    """Merges the contracted partitions. Holds 16 bytes for each document with a verified edge, and
    one forest."""

    def each() -> Any:
        for path in forests:
            yield _forest(part.root, path)

    docs = ends(each)
    first = components(docs, each())
    writer = part.exchange("components", COMPONENTS, partitions)
    n, step = 0, 1 << 18
    for start in range(0, len(docs), step):
        rows = {"doc": docs[start : start + step], "component": docs[first[start : start + step]]}
        writer.write(by_part(pa.table(rows)))
        n += int((rows["doc"] == rows["component"]).sum())
    return {"documents": len(docs), "components": n}


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
    key = pa.array(mix_all(rows["component"].to_numpy()))
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
    """Fates and clusters of whole components. Some 60 bytes an edge."""
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


def clusters_task(part: Part, large: list[str], documents: list[str | None]) -> dict[str, Any]:
    """The largest clusters, with what some of their documents share. Reads the row groups of these
    documents: at most REPORTED x SAMPLED, whatever the corpus."""
    tables = [LARGE.empty_table(), *(t for path in large for t in read_tables(part.root, path))]
    rows = pa.concat_tables(tables).sort_by([("documents", "descending"), ("cluster", "ascending")])
    rows = rows.slice(0, REPORTED)
    text_of = _texts(part.root, documents, pc.unique(pc.list_flatten(rows["sample"])))
    report = []
    for row in rows.to_pylist():
        texts = [text_of[doc] for doc in row.pop("sample") if doc in text_of]
        found = shared_text(texts)._asdict()
        found["text"] = found["text"][:SHOWN_CHARS]
        report.append({**row, "shared": {**found, "of": len(texts)}})
    return {"largest": report}


def _texts(root: str, documents: list[str | None], docs: pa.Array) -> dict[int, str]:
    """The beginnings of the texts of some places in the corpus, where there are any: an index has
    none."""
    places = np.sort(docs.to_numpy())
    out = {}
    for index in np.unique(places >> np.uint64(32)).tolist():
        if not (path := documents[index]):
            continue
        mine = places[places >> np.uint64(32) == index]
        rows = (mine & np.uint64(0xFFFFFFFF)).astype(np.int64)
        for doc, text in zip(mine.tolist(), read_rows(root, path, "text", rows), strict=True):
            out[doc] = (text or "")[:TEXT_CHARS]
    return out
