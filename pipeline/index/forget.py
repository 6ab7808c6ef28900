"""Forgetting: documents are taken out of an index as if they had never been there.

Their rows leave every file of the parts that held them, and the exchanges run over what is left. A
part without some of its documents is no longer what its shard is: the shard cannot be added again
under that name.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.build_config import ConfigError
from pipeline.config import Run
from pipeline.exchange.files import ExchangeWriter, read_partition
from pipeline.executor import Cluster, make_task
from pipeline.identity import code_version
from pipeline.index.extend import SIGNED, fates_of
from pipeline.index.store import IDS, Entry, check_apart, dedup_of, finish, located, read_index
from pipeline.parts import Part, TableWriter, read_tables
from pipeline.state import State
from pipeline.storage import absolute, delete, join


def forget(
    index: str, out: str, cluster: Cluster, source: str = "", ids: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Withdraws a source or documents. What was removed only because of them comes back: a row
    of `changes/` in `out`. Raises ConfigError for what is not in the index."""
    index = absolute(index)
    stored = read_index(index)
    check_apart(index, out)
    run = Run(name="forget", sources={}, dedup=dedup_of(stored["dedup"]))
    entries = stored["parts"]
    if source and all(entry["source"] != source for entry in entries):
        known = ", ".join(sorted({entry["source"] for entry in entries}))
        raise ConfigError([f"--source {source}: not in the index. Known: {known}."])
    state = State(run, out, cluster)
    delete(join(state.out, "manifest.json"))
    kept = [entry for entry in entries if not source or entry["source"] != source]
    if ids:
        kept = _without(state, index, kept, ids)
    kept = [located(entry, index) for entry in kept]
    routed = fates_of(state, kept)
    manifest = {"name": run.name, "dedup": state.reports, "stages": {}}
    return finish(state, index, kept, routed, manifest)


def _without(state: State, index: str, entries: list[Entry], ids: frozenset[str]) -> list[Entry]:
    """The parts without some documents, whose rows are taken out of every file."""
    tasks, at = [], []
    found: set[str] = set()
    for i, entry in enumerate(entries):
        path = entry["files"].get("ids")
        names = [table["id"] for table in read_tables(index, path)] if path else []
        rows = np.array([name in ids for column in names for name in column.to_pylist()], bool)
        if rows.any():
            found |= {n for column in names for n in column.to_pylist() if n in ids}
            entry = located(entry, index)
            args = {"files": entry["files"], "rows": np.flatnonzero(rows).tolist()}
            args |= {"partitions": state.run.dedup.partitions}
            identity = [entry["sha256"], args["rows"], code_version("pipeline/index/forget.py")]
            tasks.append(make_task(entry["label"], forget_part, args, *identity))
            at.append(i)
    if missing := sorted(ids - found):
        raise ConfigError([f"--ids: {name} is not in the index" for name in missing[:20]])
    out = list(entries)
    for i, record in zip(at, state.stage("forget", tasks), strict=True):
        old = {r: f for r, f in out[i]["files"].items() if r == "fates"}
        files = {role: join(state.out, f["path"]) for role, f in record["files"].items()}
        shas = {role: file["sha256"] for role, file in record["files"].items()}
        shas["fates"] = out[i]["sha256"]["fates"]
        out[i] = {**out[i], "files": {**old, **files}, "sha256": shas}
        out[i]["shingled"] = record["counts"]["shingled"]
    return out


def forget_part(
    part: Part, files: dict[str, str], rows: list[int], partitions: int
) -> dict[str, Any]:
    gone = pa.array(rows, pa.uint64())
    shingled = 0
    for role, schema in SIGNED.items():
        if role not in files:
            continue
        if role == "shingles":
            writer: TableWriter | ExchangeWriter = part.table(
                role, "work/forget", schema, role, "none"
            )
            for table in read_tables("", files[role]):
                kept = table.filter(pc.invert(pc.is_in(table["doc"], gone)))
                writer.write(kept)
                shingled += kept.num_rows
            continue
        writer = part.exchange(role, schema, partitions)
        for p in range(partitions):
            table = read_partition("", [files[role]], p, partitions, schema)
            writer.write(table.filter(pc.invert(pc.is_in(table["doc"], gone))))
    ids = pa.concat_tables(list(read_tables("", files["ids"])))["id"].combine_chunks()
    keep = np.ones(len(ids), bool)
    keep[rows] = False
    names = pc.if_else(pa.array(keep), ids, pa.scalar(None, pa.string()))
    part.table("ids", "work/forget", IDS, "ids").write(pa.table({"id": names}))
    return {"shingled": shingled}
