"""Paragraphs seen before, across parts: what workers run on one partition in one round.

seen      partition of n-grams   shared n-grams, what is settled   -> counts of paragraphs
decide    partition of parts     counts and sizes of paragraphs    -> what is settled, cuts, fates

What a round settles goes back only to the partitions that hold n-grams of the paragraph: 13 bytes
for each that does not stay. The n-grams that are alone are dropped in the first round; the others
stay with their partition.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from dedup.paragraphs import DOCUMENT_RULE, Paragraphs, decide, seen_before, shared_ngrams
from pipeline.exchange.equal import KEEPERS, REPEATS, still_there
from pipeline.exchange.files import by_part, in_corpus, keyed, read_partition
from pipeline.exchange.resolve import ids_of
from pipeline.exchange.sign import SIZES, WINDOWS
from pipeline.parts import Part, read_tables
from pipeline.schema import FATE

COUNTS = pa.schema(
    [
        ("doc", pa.uint64()),
        ("position", pa.int32()),
        ("first_doc", pa.uint64()),
        ("sure", pa.int64()),
        ("maybe", pa.int64()),
    ]
)
UNSETTLED = pa.schema([("doc", pa.uint64()), ("position", pa.int32()), ("open", pa.bool_())])


def share_partition(
    part: Part, windows: list[str | None], gone: list[str], partition: int, partitions: int
) -> dict[str, Any]:
    """The first round: nothing is settled."""
    rows = read_partition(part.root, windows, partition, partitions, WINDOWS, own_rows=True)
    rows = shared_ngrams(still_there(rows, part.root, gone))
    part.table("shared", f"work/{part.stage}", WINDOWS, "shared").write(rows)
    return _count(part, rows, None, partitions)


def seen_partition(
    part: Part, shared: list[str | None], unsettled: list[str], partition: int, partitions: int
) -> dict[str, Any]:
    """A later round."""
    path = shared[partition]
    tables = [WINDOWS.empty_table(), *(read_tables(part.root, path) if path else [])]
    known = read_partition(part.root, unsettled, partition, partitions, keyed(UNSETTLED))
    return _count(part, pa.concat_tables(tables).combine_chunks(), known, partitions)


def _count(part: Part, rows: pa.Table, known: pa.Table | None, partitions: int) -> dict[str, Any]:
    counts = seen_before(rows, known)
    part.exchange("counts", keyed(COUNTS), partitions).write(by_part(counts))
    return {"shared": rows.num_rows}


def decide_partition(
    part: Part,
    counts: list[str],
    sizes: list[str | None],
    keepers: list[str],
    documents: list[str | None],
    config: Paragraphs,
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """What is settled of the paragraphs of every part of this partition. `counts[i]` is from
    partition i of the n-grams."""
    schema = keyed(COUNTS)
    counted = [read_partition(part.root, [p], partition, partitions, schema) for p in counts]
    of = np.repeat(np.arange(len(counted)), [len(table) for table in counted])
    rows = pa.concat_tables(counted).combine_chunks()
    kept = read_partition(part.root, keepers, partition, partitions, KEEPERS)
    known = [SIZES.empty_table()]
    for index in range(partition, len(sizes), partitions):
        if path := sizes[index]:
            known += [in_corpus(table, index) for table in read_tables(part.root, path)]
    made = decide(pa.concat_tables(known).combine_chunks(), rows, kept["doc"].to_numpy(), config)

    places = rows.select(["doc", "position"]).append_column("key", pa.array(of.astype(np.uint64)))
    places = places.group_by(places.column_names).aggregate([])
    told = made.unsettled.combine_chunks().join(places, ["doc", "position"], join_type="inner")
    told = told.sort_by([("key", "ascending"), ("doc", "ascending"), ("position", "ascending")])
    part.exchange("unsettled", keyed(UNSETTLED), partitions).write(told)
    part.exchange("repeats", keyed(REPEATS), partitions).write(by_part(made.cuts))
    fates = _fates(part.root, documents, made.documents, config)
    part.exchange("fates", keyed(FATE), partitions).write(by_part(fates))
    return {"open": int(np.count_nonzero(made.unsettled["open"].to_numpy()))}


def _fates(root: str, documents: list[str | None], gone: pa.Table, config: Paragraphs) -> pa.Table:
    share = gone["share"]
    fates = {"doc": gone["doc"], "matched": gone["matched"]}
    fates |= {"rule": pa.repeat(pa.scalar(DOCUMENT_RULE), len(gone)), "value": share}
    fates["threshold"] = pa.repeat(pa.scalar(config.min_repeated_fraction), len(gone))
    fates |= {"matched_id": ids_of(root, documents, gone["matched"]), "similarity": share}
    return pa.table(fates, schema=FATE)
