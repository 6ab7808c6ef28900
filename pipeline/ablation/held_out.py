"""What the arms of an ablation may not train on, and all of them are measured on.

Held out are documents of the base, whole duplicate clusters of them. An arm that filters or
deduplicates otherwise has other clusters, and documents that the base does not have; it leaves out

    the documents held out and their clusters, as the base has them
    what the base removed as a duplicate of one of them, which the arm may keep
    the clusters that these are in in the arm, and what the arm kept in their place
    documents that share 13 words in a row with a text or a task that the user named

    held    part     ids and clusters of the base's documents below the limit      -> names
    kin     part     what lies in a cluster with a name, or fell to one            -> names
    names   one      all of these, each once                                       -> names
    aside   part     which of an arm's documents are out, and why                  -> aside

Two steps of kinship are followed, the base's and the arm's; a passage that a held-out document
shares with others, of less than the similarity of near-duplicates, is not looked for.
"""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.contamination import measure_contamination
from filters.decontaminate import Decontaminate, load_sets
from pipeline.executor import make_task
from pipeline.identity import code_version
from pipeline.mixture_stages import PACK_CODE
from pipeline.mixture_tasks import CLUSTER, Tokens, held_out
from pipeline.parts import Part, path_of, read_tables
from pipeline.state import Piece, State, content_of, contents, paths
from pipeline.storage import join, open_input

CODE = ("pipeline/ablation/held_out.py", *PACK_CODE)
NAMES = pa.schema([("name", pa.string())])
ASIDE = pa.schema(
    [
        ("id", pa.string()),
        ("reason", pa.string()),  # held_out, or evaluation
        ("item", pa.string()),  # of the named texts and tasks, of which most was found
        ("item_fraction", pa.float64()),  # of its words
    ]
)
Records = list[dict[str, Any]]


# --- what workers do -----------------------------------------------------------------------------


def held_part(
    part: Part, documents: str, source: str, seed: int, limits: dict[str, int]
) -> dict[str, Any]:
    """Ids and clusters of the documents of one part that are held out."""
    writer = part.table("names", "work/held", NAMES, "names")
    for table in _read(part.root, documents, ["id", CLUSTER]):
        _write_names(writer, table.filter(pa.array(held_out(table, source, seed, limits))))
    return {}


def kin_part(part: Part, files: list[str], names: str) -> dict[str, Any]:
    """Of documents kept and removed: all names of those that have one among the names."""
    known = _names(part.root, names)
    writer = part.table("names", "work/kin", NAMES, "names")
    for path in files:
        for table in _read(part.root, path, ["id", CLUSTER, "matched_id"]):
            _write_names(writer, table.filter(_any_in(table, known)))
    return {}


def merge_names(part: Part, files: list[str]) -> dict[str, Any]:
    tables = [NAMES.empty_table(), *(t for path in files for t in read_tables(part.root, path))]
    names = pc.unique(pa.concat_tables(tables)["name"])
    table = pa.table({"name": names}, schema=NAMES).sort_by("name")
    part.table("names", "work/names", NAMES, "names").write(table)
    return {"names": table.num_rows}


def aside_part(
    part: Part, documents: str | None, names: str | None, against: Decontaminate | None
) -> dict[str, Any]:
    """Which documents of a part are left out of training."""
    known = _names(part.root, names) if names else pa.array([], pa.string())
    writer = part.table("aside", "work/aside", ASIDE, "aside")
    counts: Counter[str] = Counter(documents=0, held_out=0, evaluation=0)
    items: dict[str, dict[str, Any]] = {}
    columns = ["id", CLUSTER, *(["text"] if against else [])]
    for table in _read(part.root, documents, columns) if documents else ():
        counts["documents"] += table.num_rows
        held = _any_in(table, known)
        rows = _aside(table.filter(held)["id"], "held_out")
        counts["held_out"] += rows.num_rows
        writer.write(rows)
        if against:
            rows = _with_items(table.filter(pc.invert(held)), against)
            counts["evaluation"] += rows.num_rows
            _add_items(items, rows)
            writer.write(rows)
    return {**counts, "items": items}


def _add_items(items: dict[str, dict[str, Any]], rows: pa.Table) -> None:
    """By text or task: documents, and the one that holds the largest share of an item."""
    for row in rows.to_pylist():
        name = row["item"].rpartition("/")[0].removesuffix(".jsonl")
        found = items.setdefault(name, {"documents": 0, "largest": 0.0, "item": "", "id": ""})
        found["documents"] += 1
        if row["item_fraction"] > found["largest"]:
            largest = round(row["item_fraction"], 4)
            found |= {"largest": largest, "item": row["item"], "id": row["id"]}


def _with_items(table: pa.Table, against: Decontaminate) -> pa.Table:
    """The documents that share enough with an item, and the item they share most with."""
    sets = load_sets(against)
    found = measure_contamination(table["text"].combine_chunks(), sets)
    pairs = pa.table(
        {"doc": found.pairs.doc, "item": found.pairs.item, "fraction": found.pairs.fraction}
    )
    enough = found.n_matched_ngrams >= against.min_matched_ngrams
    pairs = pairs.filter(pa.array(enough[found.pairs.doc]))
    pairs = pairs.sort_by([("doc", "ascending"), ("fraction", "descending"), ("item", "ascending")])
    _, first = _first_of_each(pairs["doc"])
    pairs = pairs.take(first)
    ids = table["id"].take(pairs["doc"])
    names = pa.array(sets.names, pa.string()).take(pairs["item"].combine_chunks())
    return _aside(ids, "evaluation", names, pairs["fraction"])


def _first_of_each(values: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    rows = pa.table({"value": values, "row": pa.array(range(len(values)), pa.int64())})
    first = rows.group_by("value", use_threads=False).aggregate([("row", "min")])
    return first["value"].combine_chunks(), first["row_min"].combine_chunks()


def _aside(ids: pa.ChunkedArray, reason: str, items: Any = None, fractions: Any = None) -> pa.Table:
    n = len(ids)
    columns = {"id": ids, "reason": pa.repeat(pa.scalar(reason), n)}
    columns["item"] = pa.nulls(n, pa.string()) if items is None else items
    columns["item_fraction"] = pa.nulls(n, pa.float64()) if fractions is None else fractions
    return pa.table(columns, schema=ASIDE)


def _read(root: str, path: str, columns: list[str]) -> Any:
    """Tables with those of the columns that the file has."""
    with open_input(join(root, path)) as file:
        there = set(pq.read_schema(file).names)
    yield from read_tables(root, path, [name for name in columns if name in there])


def _any_in(table: pa.Table, known: pa.Array) -> pa.Array:
    found = pa.repeat(pa.scalar(False), table.num_rows)
    for name in ("id", CLUSTER, "matched_id"):
        if name in table.column_names:
            found = pc.or_(found, pc.is_in(table[name].combine_chunks(), known))
    return found


def _names(root: str, path: str) -> pa.Array:
    tables = [NAMES.empty_table(), *read_tables(root, path)]
    return pa.concat_tables(tables)["name"].combine_chunks()


def _write_names(writer: Any, table: pa.Table) -> None:
    for name in ("id", CLUSTER, "matched_id"):
        if name in table.column_names:
            column = table[name].combine_chunks().drop_null()
            writer.write(pa.table({"name": column}, schema=NAMES))


# --- the stages ----------------------------------------------------------------------------------


def held_names(state: State, parts: list[Tokens], limits: dict[str, int], seed: int) -> Records:
    """The names that the base holds out: a record with at most one file."""
    tasks = []
    for p in parts:
        if p.source in limits:
            args = {"documents": p.documents, "source": p.source, "seed": seed, "limits": limits}
            identity = [p.content, p.source, seed, limits, code_version(*CODE)]
            tasks.append(make_task(p.label, held_part, args, *identity))
    return _merged(state, state.stage("held", tasks))


def with_kin(state: State, pieces: list[Piece], names: Records) -> Records:
    """The names, and those of all documents of this run that are in a cluster with one."""
    path = path_of(names[0], "names")
    if path is None:
        return names
    removed = state.records.get("dedup") or [{"files": {}}] * len(pieces)
    tasks = []
    for piece, record in zip(pieces, removed, strict=True):
        files = [p for p in (piece.path, path_of(record, "removed")) if p]
        identity = [piece.content, content_of(record, "removed"), contents(names, "names")]
        args = {"files": files, "names": path}
        tasks.append(make_task(piece.label, kin_part, args, *identity, code_version(*CODE)))
    return _merged(state, [*names, *state.stage("kin", tasks)])


def _merged(state: State, records: Records) -> Records:
    args = {"files": paths(records, "names")}
    identity = [sorted(contents(records, "names")), code_version(*CODE)]
    return state.stage("names", [make_task("names", merge_names, args, *identity)])


def set_aside(
    state: State, pieces: list[Piece], names: Records, against: Decontaminate | None, sets: str
) -> Records:
    """For each part the documents that are left out. `sets`: the content of `against`."""
    tasks = []
    for piece in pieces:
        args: dict[str, Any] = {"documents": piece.path, "names": path_of(names[0], "names")}
        args["against"] = against
        identity = [piece.content, contents(names, "names"), sets, code_version(*CODE, "filters")]
        tasks.append(make_task(piece.label, aside_part, args, *identity))
    return state.stage("aside", tasks)
