"""Near-duplicates across parts: what workers run on one partition.

    pairs      partition of band keys     band buckets of documents still there -> candidate pairs
    sets       partition of parts         the shingle sets that some pair needs, to its partition
    verify     partition of parts (b's)   candidate pairs and sets -> edges of checked similarity
    (who stays: `exchange/graph.py`)      edges -> fates, clusters
    recall     one task                   the sampled pairs -> what was proposed, what is parted

A pair belongs to the part of its later document: a hub comes first in a million pairs, and they
spread over all partitions. Each part's shingle sets are read once, in the order of its documents.
Files: one a partition and exchange. No task holds more than its partition.
"""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.components import spanning_forest
from dedup.lsh import candidate_batches, choose_bands
from dedup.minhash import MinHash
from dedup.recall import FLOOR, estimate, sample_pairs, share_a_band
from dedup.verify import similar_pairs
from pipeline.exchange.equal import still_there
from pipeline.exchange.files import by_part, in_corpus, keyed, read_partition
from pipeline.exchange.sign import BANDS, SHINGLES
from pipeline.parts import Part, read_tables
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
