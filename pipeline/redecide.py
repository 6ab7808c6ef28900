"""Deciding again without measuring again: what a run with changed thresholds takes over from the
files of the run before.

A filter record says what each step measured: a digest of its configuration without the keys that
only decide, of its files, and of what changed texts before it. Where a part was filtered from the
same content by the same code, a step with the same digest takes its signals from those files, for
the rows that it had seen then, and only decides. Steps that edit run anew, and so does a step
behind one whose configuration changed, as the digest tells. Rows that the earlier run removed
before the step are measured now. The bytes that come out are those of a fresh run.
"""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.parts import path_of, read_tables
from pipeline.schema import DOCUMENT, REMOVAL
from pipeline.steps import STEPS, Earlier, Use, audited
from pipeline.storage import digest, exists, join, list_files, open_input, read_json


class Source(NamedTuple):
    """An earlier filter record: its files, and [name, digest] of its steps in order."""

    documents: str | None
    removed: str | None
    steps: list[list[str]]


def measurements(steps: list[Use], identity: list) -> list[list[str]]:
    """[name, digest of what the step measures] of each step; "" where no one may take it over.
    `identity` is that of `stages.resolve_files`."""
    out: list[list[str]] = []
    before: list[Any] = []  # what a step's text, and the label it may look up, depend on
    shared = _shared(steps)
    for use, (name, config, contents) in zip(steps, identity, strict=True):
        step, edits = STEPS[name], STEPS[name].edits(use.config)
        bounds = step.bounds(use.config) if step.bounds else []
        decides = {bound.key.partition(".")[0] for bound in bounds} | set(step.deciding)
        measuring = {k: v for k, v in config.items() if k not in decides}
        mine = digest([name, measuring, contents, before])
        out.append([name, "" if edits or name in shared else mine])
        if edits:
            before.append([name, config, contents])
        elif name == "language":
            before.append(mine)
    return out


def _shared(steps: list[Use]) -> set[str]:
    """Steps that write a signal that another step of the list writes too."""
    signals = Counter(use.name for use in steps)
    written: dict[str, set[str]] = {}
    for use in steps:
        bounds = STEPS[use.name].bounds
        written[use.name] = {b.signal for b in bounds(use.config)} if bounds else set()
    for names in written.values():
        signals.update(names)
    return {n for n, own in written.items() if any(signals[s] > 1 for s in {n, *own})}


def find_earlier(root: str, stage: str = "filter") -> dict[str, dict[str, Any]]:
    """Complete records of the stage that say what was measured, by what their parts were made of;
    of more than one the first by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in list_files(join(root, "_parts", stage)):
        if not path.endswith(".json"):
            continue
        record = read_json(path)
        files = (record["files"].get(role) for role in ("documents", "removed"))
        if "measured" in record and all(exists(join(root, f["path"])) for f in files if f):
            found.setdefault(record["measured"]["of"], record)
    return found


def source_of(record: dict[str, Any]) -> Source:
    return Source(
        path_of(record, "documents"), path_of(record, "removed"), record["measured"]["steps"]
    )


def read_earlier(
    root: str, source: Source, steps: list[list[str]], schema: pa.Schema, audit_fraction: float
) -> Earlier | None:
    """The earlier signals of a part in the columns of `schema`; None where ids are not unique.
    `steps` are the measurements of this run, which has the same audit_fraction."""
    wanted = [name for name in schema.names if name not in {*DOCUMENT.names, *REMOVAL.names}]
    tables = []
    for path in (source.documents, source.removed):
        if path:
            columns = ["id", *wanted, *REMOVAL.names]
            tables += list(_read(root, path, [c for c in columns if c != "text"], schema))
    if not tables:
        return None
    rows = pa.concat_tables(tables).combine_chunks()
    if pc.count_distinct(rows["id"]).as_py() != rows.num_rows:
        return None
    position = {name: i for i, (name, _) in reversed(list(enumerate(source.steps)))}
    measured = {step[0]: step[1] for step in source.steps}
    places = [position[n] if d and measured.get(n) == d else -1 for n, d in steps]
    rules = rows["rule"].dictionary_encode().combine_chunks()
    last = [position.get(rule.partition(".")[0], -1) for rule in rules.dictionary.to_pylist()]
    code = pc.fill_null(rules.indices, len(last)).to_numpy(zero_copy_only=False)
    seen = np.array([*last, len(source.steps)])[code]
    seen[audited(rows, audit_fraction)] = len(source.steps)
    return Earlier(rows, seen, places)


def _read(root: str, path: str, columns: list[str], schema: pa.Schema) -> list[pa.Table]:
    """The columns that the file has; the others null."""
    tables = []
    with open_input(join(root, path)) as file:
        there = set(pq.read_schema(file).names)
    for table in read_tables(root, path, [name for name in columns if name in there]):
        for name in columns:
            if name not in there:
                table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
        tables.append(table.select(columns).cast(pa.schema([schema.field(n) for n in columns])))
    return tables
