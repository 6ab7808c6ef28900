"""Deciding again without measuring again: what a run with changed thresholds takes over from the
files of the run before.

A filter record says what each step measured: a digest of its configuration without the keys that
only decide, of its files, and of what changed texts before it. Where a part was filtered from the
same content by the same code, a step with the same digest takes its signals from those files, for
the rows that it had seen then, and only decides. So does a step that edits, if nothing of its
configuration changed, and a document's text is read from those files where they hold it as the last
editing step that it comes to now left it; the few others are edited again. A step behind an edit
that changed runs anew, as the digest tells. Rows that the earlier run removed before the step are
measured now. The bytes that come out are those of a fresh run.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.apply import Earlier, audited
from pipeline.identity import digest
from pipeline.parts import is_complete, path_of, read_tables
from pipeline.schema import DOCUMENT, REMOVAL
from pipeline.steps import STEPS, Use, bounds_of
from pipeline.storage import join, list_files, open_input, read_json

NO_STEP = -2  # of this run: the text is as no step of it leaves it


class Source(NamedTuple):
    """An earlier filter record: its files, and the `measurements` of its steps."""

    documents: str | None
    removed: str | None
    steps: list[list[Any]]


def measurements(steps: list[Use], identity: list) -> list[list[Any]]:
    """[label, digest of what the step measures, whether it edits] of each step; "" where no one may
    take it over. `identity` is that of `stages.resolve_files`."""
    out: list[list[Any]] = []
    before: list[Any] = []  # what a step's text, and the label it may look up, depend on
    shared = _shared(steps)
    for use, (label, name, config, contents) in zip(steps, identity, strict=True):
        decides = {bound.key.partition(".")[0] for bound in bounds_of(use)}
        decides |= set(STEPS[name].deciding)
        if use.edits:  # of what it marks, it may leave the text as it is
            decides = set()
        measuring = {k: v for k, v in config.items() if k not in decides}
        mine = digest([name, measuring, contents, before])
        out.append([label, "" if label in shared else mine, use.edits])
        if use.edits or label == "language":
            before.append(mine)
    return out


def _shared(steps: list[Use]) -> set[str]:
    """Steps that write a signal that another step of the list writes too."""
    written = {use.label: {bound.signal for bound in bounds_of(use)} for use in steps}
    signals = Counter(name for names in written.values() for name in names)
    return {label for label, names in written.items() if any(signals[s] > 1 for s in names)}


def find_earlier(root: str, stage: str = "filter") -> dict[str, dict[str, Any]]:
    """Complete records of the stage that say what was measured, by what their parts were made of;
    of more than one the first by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in list_files(join(root, "_parts", stage)):
        if not path.endswith(".json"):
            continue
        try:
            record = read_json(path)
        except ValueError:
            continue  # damaged: what it was of is made anew
        if "measured" in record and is_complete(root, record):
            found.setdefault(record["measured"]["of"], record)
    return found


def source_of(record: dict[str, Any]) -> Source:
    return Source(
        path_of(record, "documents"), path_of(record, "removed"), record["measured"]["steps"]
    )


def read_earlier(
    root: str, source: Source, steps: list[list[Any]], schema: pa.Schema, audit_fraction: float
) -> Earlier | None:
    """The earlier signals of a part in the columns of `schema`; None where ids are not unique.
    `steps` are the measurements of this run, which has the same audit_fraction."""
    wanted = [name for name in schema.names if name not in {*DOCUMENT.names, *REMOVAL.names}]
    paths = [path for path in (source.documents, source.removed) if path]
    columns = ["id", *wanted, *REMOVAL.names]
    tables = [table for path in paths for table in _read(root, path, columns, schema)]
    if not tables:
        return None
    rows = pa.concat_tables(tables).combine_chunks()
    if pc.count_distinct(rows["id"]).as_py() != rows.num_rows:
        return None
    position = {label: i for i, (label, _, _) in enumerate(source.steps)}
    measured = {label: step for label, step, _ in source.steps}
    places = [position[n] if d and measured.get(n) == d else -1 for n, d, _ in steps]
    rules = rows["rule"].dictionary_encode().combine_chunks()
    last = [position.get(rule.partition(".")[0], -1) for rule in rules.dictionary.to_pylist()]
    code = pc.fill_null(rules.indices, len(last)).to_numpy(zero_copy_only=False)
    seen = np.array([*last, len(source.steps)])[code]
    seen[audited(rows, audit_fraction)] = len(source.steps)
    # The editing step of this run after which a text is as it was when these steps had seen it.
    edited = [-1]  # none had
    for i, (_, _, edits) in enumerate(source.steps):
        edited.append((places.index(i) if i in places else NO_STEP) if edits else edited[-1])
    edited.append(edited[-1])
    return Earlier(rows, seen, places, np.array(edited)[seen + 1], _texts(root, paths))


def _texts(root: str, paths: list[str]) -> Callable[[np.ndarray], pa.Array]:
    """Reads the texts of some rows, counted over all files: by row groups, of which two are held,
    since documents come in the order in which they were written."""
    groups: list[tuple[str, int]] = []
    first = [0]
    for path in paths:
        with open_input(join(root, path)) as file:
            metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            groups.append((path, group))
            first.append(first[-1] + metadata.row_group(group).num_rows)

    @functools.lru_cache(maxsize=2)
    def read(number: int) -> pa.Array:
        path, group = groups[number]
        with open_input(join(root, path)) as file:
            table = pq.ParquetFile(file).read_row_group(group, ["text"], use_threads=False)
        return table["text"].combine_chunks()

    def texts(rows: np.ndarray) -> pa.Array:
        order = np.argsort(rows, kind="stable")
        number = np.searchsorted(first, rows[order], side="right") - 1
        found = [
            read(int(n)).take(pa.array(rows[order][number == n] - first[n]))
            for n in np.unique(number)
        ]
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_arrays(found).take(pa.array(back))

    return texts


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
