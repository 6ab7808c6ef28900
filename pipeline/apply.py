"""How a list of steps runs over a batch of documents.

Marked rows leave the batch after each step, so dear steps see few rows; a hash-chosen share of
documents (`audit`) sees every step all the same, which gives each rule's total removal beside its
marginal one. What an earlier run measured (redecide.py) is only decided again, and a text that it
edited is taken over.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels import hash_strings
from filters.rules import with_removal, with_signals
from pipeline.schema import DOCUMENT, REMOVAL, Fault
from pipeline.steps import STEPS, Use, judge

AUDIT_SEED = 0x41554449


class Earlier(NamedTuple):
    """What an earlier run measured of the documents of a part: see redecide.py."""

    rows: pa.Table  # id, the signals, REMOVAL
    seen: np.ndarray  # int64, the last step of that run that saw the row
    places: list[int]  # where in that run each step of this one was, -1: its signals are others
    edited: np.ndarray  # int64, the editing step of this run whose text the row has; -1: as it came
    texts: Callable[[np.ndarray], pa.Array]  # of some rows


def apply(
    docs: pa.Table, steps: list[Use], audit_fraction: float, earlier: Earlier | None = None
) -> tuple[pa.Table, list[tuple[str, Fault]]]:
    """Runs the steps; returns every surviving row (marked or not, in the given order) with all
    signals and REMOVAL columns, and (step, fault) for documents that a step could not process.
    What `earlier` knows is not measured again."""
    n_bytes = pc.cast(pc.binary_length(docs["text"]), pa.int64())
    docs = with_removal(with_signals(docs, "text", {"n_bytes": n_bytes}))
    row = pa.array(np.arange(docs.num_rows))
    docs = docs.append_column("_row", row).append_column("_audit", audited(docs, audit_fraction))
    if earlier:
        at = pc.index_in(docs["id"], value_set=earlier.rows["id"].combine_chunks())
        docs = docs.append_column("_at", pc.fill_null(at, -1))
        docs = docs.append_column("_edited", pa.array(np.full(len(docs), -1)))
    done: list[pa.Table] = []
    faults: list[tuple[str, Fault]] = []
    editing = -1  # the last editing step so far
    for i, use in enumerate(steps):
        if earlier is None:
            docs, lost = _run_step(docs, use)
        else:
            docs, lost = _with_earlier(docs, steps, i, editing, earlier)
        editing = i if use.edits else editing
        faults += [(use.label, fault) for fault in lost]
        leaving = pc.and_(docs["rule"].is_valid(), pc.invert(docs["_audit"]))
        done.append(_caught_up(docs.filter(leaving), steps, editing, earlier))
        docs = docs.filter(pc.invert(leaving)).combine_chunks()
    done.append(_caught_up(docs, steps, editing, earlier))
    merged = pa.concat_tables(done, promote_options="default").combine_chunks()
    merged = merged.sort_by("_row")
    merged = merged.drop_columns([n for n in merged.column_names if n.startswith("_")])
    return merged.select(output_schema(merged.schema).names), faults


def _with_earlier(
    docs: pa.Table, steps: list[Use], i: int, editing: int, earlier: Earlier
) -> tuple[pa.Table, list[Fault]]:
    """Step i over a batch: documents whose signals an earlier run has are only decided. If the step
    edits, their texts stay behind until they are needed; `editing` is the one before that does."""
    use = steps[i]
    known = _known_rows(docs, use, earlier, earlier.places[i], editing >= 0 or use.edits)
    rest = _caught_up(docs.filter(pa.array(~known)), steps, editing, earlier)
    measured, lost = _run_step(rest.combine_chunks(), use)
    if use.edits:
        at = measured.column_names.index("_edited")
        measured = measured.set_column(at, "_edited", pa.array(np.full(len(measured), i)))
    if not known.any():
        return measured, lost
    docs = docs.filter(pa.array(known)).combine_chunks()
    before, failed_before = docs["rule"], docs["failed"]
    rows = pa.array(docs["_at"].to_numpy())
    for field in measured.schema:
        if field.name not in docs.column_names:
            values = earlier.rows[field.name].take(rows).combine_chunks()
            docs = docs.append_column(field, values)
    if decide := judge(use.name):
        docs = _prefix_rules(_call(decide, docs, use), before, failed_before, use.label)
    both = pa.concat_tables([measured, docs.select(measured.column_names)])
    return both.sort_by("_row").combine_chunks(), lost


def _known_rows(docs: pa.Table, use: Use, earlier: Earlier, place: int, edited: bool) -> np.ndarray:
    """bool[rows] of the documents whose signals of a step are known."""
    if place < 0:
        return np.zeros(len(docs), bool)
    at = docs["_at"].to_numpy()
    known = (at >= 0) & (earlier.seen[at] >= place)
    if edited:  # steps that edit leave audited documents that are marked as they are
        known &= ~docs["_audit"].to_numpy(zero_copy_only=False)
    if judge(use.name) is None:  # only that nothing failed is known
        rows = earlier.rows["failed"].take(pa.array(np.maximum(at, 0))).to_pylist()
        failed = [any(rule.startswith(f"{use.label}.") for rule in rules or ()) for rules in rows]
        known &= ~np.array(failed, bool)
    return known


def _caught_up(docs: pa.Table, steps: list[Use], editing: int, earlier: Earlier | None) -> pa.Table:
    """The documents with the texts that the step `editing` left: those of the earlier run where it
    left them so, else by the editing steps that were passed over."""
    if earlier is None or editing < 0:
        return docs
    edited = docs["_edited"].to_numpy().copy()
    behind = edited != editing
    at = docs["_at"].to_numpy()
    stored = behind & (earlier.edited[at] == editing)
    if stored.any():
        docs = _with_texts(docs, stored, earlier.texts(at[stored]))
        edited[stored] = editing
    for k in range(editing + 1):
        late = edited < k
        if steps[k].edits and late.any():
            rows = docs.filter(pa.array(late)).drop_columns(REMOVAL.names)  # none marked them then
            texts = _call(STEPS[steps[k].name].function, with_removal(rows), steps[k])["text"]
            docs = _with_texts(docs, late, texts.combine_chunks())
            edited[late] = k
    return docs.set_column(docs.column_names.index("_edited"), "_edited", pa.array(edited))


def _with_texts(docs: pa.Table, where: np.ndarray, texts: pa.Array) -> pa.Table:
    place = docs.column_names.index("text")
    values = pc.replace_with_mask(docs["text"].combine_chunks(), pa.array(where), texts)
    return docs.set_column(place, docs.field("text"), values)


def _call(function: Callable[[pa.Table, Any], pa.Table], docs: pa.Table, use: Use) -> pa.Table:
    """A step's function, which knows its signals by their usual names."""
    if not use.called:
        return function(docs, use.config)
    return _swapped(function(_swapped(docs, use), use.config), use)


def _swapped(docs: pa.Table, use: Use) -> pa.Table:
    """The table with the signals of this use and those by the step's usual name renamed to each
    other, so that the second use does not overwrite the first's."""
    usual = STEPS[use.name].prefix or use.name
    other = {usual: use.called, use.called: usual}
    parts = [name.partition(".") for name in docs.column_names]
    return docs.rename_columns(
        ["".join([other.get(p, p) if dot else p, dot, rest]) for p, dot, rest in parts]
    )


def audited(docs: pa.Table, fraction: float) -> pa.Array:
    """Which documents see every step, by a hash of the id."""
    hashes = hash_strings(docs["id"], np.uint64(AUDIT_SEED))
    return pa.array(hashes < np.uint64(min(int(fraction * 2.0**64), 2**64 - 1)))


def output_schema(schema: pa.Schema) -> pa.Schema:
    """DOCUMENT, then the signals in their order, then REMOVAL."""
    fixed = set(DOCUMENT.names) | set(REMOVAL.names)
    signals = [field for field in schema if field.name not in fixed]
    return pa.schema([*DOCUMENT, *signals, *REMOVAL])


def schema_after(steps: list[Use], before: pa.Schema) -> pa.Schema:
    """The columns that the steps give, found by running them on no documents."""
    empty = pa.Table.from_pylist([], schema=before)
    return apply(empty, steps, 0.0)[0].schema


def _run_step(docs: pa.Table, use: Use) -> tuple[pa.Table, list[Fault]]:
    """One step over a batch; where it raises, the batch is halved until the document at fault is
    alone."""
    before = docs["rule"]
    try:
        # Audited rows keep their first mark: `mark` writes only where no rule is set.
        after = _call(STEPS[use.name].function, docs, use)
    except Exception as error:  # quarantine: the document goes to errors/ with this reason
        if not docs.num_rows:
            raise  # no document is at fault
        if docs.num_rows == 1:
            empty = _call(STEPS[use.name].function, docs.slice(0, 0), use)
            return empty, list(_fault(docs, error))
        half = docs.num_rows // 2
        left, left_faults = _run_step(docs.slice(0, half).combine_chunks(), use)
        right, right_faults = _run_step(docs.slice(half).combine_chunks(), use)
        return pa.concat_tables([left, right]).combine_chunks(), left_faults + right_faults
    return _prefix_rules(after, before, docs["failed"], use.label), []


def _fault(docs: pa.Table, error: Exception) -> Iterator[Fault]:
    for row in docs.select(["id", "text"]).to_pylist():
        head = (row["text"] or "").encode()[:4096]
        yield Fault(row["id"], "step_failed", f"{type(error).__name__}: {error}", head)


def _prefix_rules(
    docs: pa.Table, rule_before: pa.ChunkedArray, failed_before: pa.ChunkedArray, name: str
) -> pa.Table:
    """`too_few_words` -> `gopher_quality.too_few_words` for what this step marked."""
    new = pc.and_(docs["rule"].is_valid(), rule_before.is_null())
    grown = pc.fill_null(pc.not_equal(_lengths(docs["failed"]), _lengths(failed_before)), False)
    if not pc.any(pc.or_(new, grown)).as_py():
        return docs
    rule = pc.if_else(new, pc.binary_join_element_wise(name, docs["rule"], "."), docs["rule"])
    index = docs.column_names.index("rule")
    docs = docs.set_column(index, REMOVAL.field("rule"), rule)
    failed = docs["failed"].to_pylist()
    seen = _lengths(failed_before).to_pylist()
    for row in np.flatnonzero(grown.to_numpy()):
        n = seen[row]
        failed[row] = failed[row][:n] + [f"{name}.{rule}" for rule in failed[row][n:]]
    index = docs.column_names.index("failed")
    field = REMOVAL.field("failed")
    return docs.set_column(index, field, pa.array(failed, field.type))


def _lengths(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.list_value_length(lists), 0)
