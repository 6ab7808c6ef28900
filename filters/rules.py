"""Deciding, apart from measuring: signals and bounds -> marks.

A step measures columns with a function that knows no threshold, adds them with `with_signals`, and
states its bounds in order; `mark` records the first that fails, with value and threshold, and the
names of all that fail. A null measurement fails: Arrow nulls would pass through `and_` and
`if_else` and could erase an earlier mark, so the deciding is in numpy.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import REMOVAL


class Bound(NamedTuple):
    """`rule` names the fault. A row fails if its signal is null, below `least` or above `most`. One
    without either is off."""

    rule: str
    signal: str  # a column of the table, numeric or boolean (as 0 and 1)
    least: float | None = None
    most: float | None = None
    key: str = ""  # of the config, that sets the threshold; "" where none does
    among: tuple[str, ...] | None = None  # only documents of these languages of code
    besides: tuple[str, ...] = ()  # not documents of these


def at_least(config: Any, rule: str, signal: str, key: str, **where: Any) -> Bound:
    """The bound whose threshold is a key of the config."""
    return Bound(rule, signal, least=getattr(config, key), key=key, **where)


def at_most(config: Any, rule: str, signal: str, key: str, **where: Any) -> Bound:
    return Bound(rule, signal, most=getattr(config, key), key=key, **where)


def with_signals(
    docs: pa.Table, prefix: str, columns: dict[str, pa.Array | np.ndarray]
) -> pa.Table:
    """Appends `<prefix>.<name>` for each column; a column that is there already is replaced."""
    for name, values in columns.items():
        full = f"{prefix}.{name}"
        values = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
        if full in docs.column_names:
            docs = docs.set_column(docs.column_names.index(full), full, values)
        else:
            docs = docs.append_column(full, values)
    return docs


def edited_texts(data: np.ndarray, offsets: np.ndarray, absent: np.ndarray) -> pa.Array:
    """The string array of what a kernel left of texts, null where `absent`."""
    valid = pa.py_buffer(np.packbits(~absent, bitorder="little")) if absent.any() else None
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(absent), buffers)


def quotient(numerator: np.ndarray, denominator: np.ndarray, absent: np.ndarray) -> pa.Array:
    """float64, null where a row is absent or there is nothing to divide by."""
    empty = absent | (denominator == 0)
    return pa.array(numerator / np.where(empty, 1, denominator), mask=empty)


def mark(docs: pa.Table, bounds: list[Bound]) -> pa.Table:
    """Sets rule, value and threshold of rows that fail a bound and had no rule yet; adds every
    failed rule to `failed`."""
    verdicts = []
    for bound in bounds:
        if bound.least is bound.most is None:
            continue
        value, null = _as_float(docs[bound.signal])
        failing = null.copy()
        threshold = np.full(len(value), np.nan)
        with np.errstate(invalid="ignore"):
            if bound.least is not None:
                low = value < bound.least
                failing |= low
                threshold[low | null] = bound.least
            if bound.most is not None:
                high = value > bound.most
                failing |= high
                threshold[high | (null & np.isnan(threshold))] = bound.most
        if bound.among is not None or bound.besides:
            failing &= concerned(docs, bound)
        verdicts.append((bound.rule, failing, np.where(null, np.nan, value), threshold))
    return record(docs, verdicts)


def concerned(docs: pa.Table, bound: Bound) -> np.ndarray:
    """bool[rows]: documents in a language of code for which the bound holds."""
    language = languages_of_code(docs)
    here = np.ones(len(language), bool) if bound.among is None else np.isin(language, bound.among)
    return here & ~np.isin(language, bound.besides)


def languages_of_code(docs: pa.Table) -> np.ndarray:
    """`language` in each document's meta, "" where it has none."""
    found = pc.map_lookup(docs["meta"], "language", "first")
    return pc.fill_null(found, "").to_numpy(zero_copy_only=False).astype(str)


def record(
    docs: pa.Table,
    verdicts: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    matched_id: pa.Array | None = None,
    similarity: np.ndarray | None = None,
) -> pa.Table:
    """Writes verdicts (rule, failing mask, value, threshold; NaN for null) in their order into the
    REMOVAL columns."""
    docs = with_removal(docs)
    n = docs.num_rows
    free = docs["rule"].is_null().to_numpy()
    first = np.full(n, -1)
    value = np.full(n, np.nan)
    threshold = np.full(n, np.nan)
    for i, (_, failing, v, t) in enumerate(verdicts):
        new = failing & free & (first < 0)
        first[new] = i
        value[new], threshold[new] = v[new], t[new]
    fails = np.array([failing for _, failing, _, _ in verdicts], bool).reshape(len(verdicts), n)
    if not fails.any():
        return docs
    marked = first >= 0
    names = pa.array([name for name, *_ in verdicts], pa.string())
    rule = names.take(pa.array(first, mask=~marked))
    docs = _put(docs, "rule", pc.coalesce(docs["rule"], rule))
    docs = _put(docs, "failed", _extended(docs["failed"], fails, names))
    docs = _put(docs, "value", _overlay(docs["value"], marked, value))
    docs = _put(docs, "threshold", _overlay(docs["threshold"], marked, threshold))
    if similarity is not None:
        docs = _put(docs, "similarity", _overlay(docs["similarity"], marked, similarity))
    if matched_id is not None:
        ids = pc.if_else(pa.array(marked), matched_id, docs["matched_id"])
        docs = _put(docs, "matched_id", ids)
    return docs


def with_removal(docs: pa.Table) -> pa.Table:
    """The table with all REMOVAL columns, null where they were missing."""
    for field in REMOVAL:
        if field.name not in docs.column_names:
            docs = docs.append_column(field, pa.nulls(docs.num_rows, field.type))
    return docs


def _as_float(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    null = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    value = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return value, null | np.isnan(value)


def _overlay(column: pa.ChunkedArray, where: np.ndarray, values: np.ndarray) -> pa.Array:
    old = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    merged = np.where(where, values, old)
    return pa.array(merged, pa.float64(), mask=np.isnan(merged))


def _extended(lists: pa.ChunkedArray, fails: np.ndarray, names: pa.Array) -> pa.Array:
    """Each row's list, null as empty, and after it the names of what it fails; null where that is
    still empty. `fails` is bool[names, rows]."""
    n = fails.shape[1]
    old_lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    row, name = np.nonzero(fails.T)
    rows = np.concatenate([np.repeat(np.arange(n), old_lengths), row])
    old = pc.list_flatten(lists)
    old = old.combine_chunks() if isinstance(old, pa.ChunkedArray) else old
    values = pa.concat_arrays([old, names.take(pa.array(name))])
    ends = np.cumsum(old_lengths + fails.sum(axis=0))
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], ends]), pa.int32()),
        values.take(pa.array(np.argsort(rows, kind="stable"))),
        mask=pa.array(np.diff(ends, prepend=0) == 0),
    )


def _put(docs: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return docs.set_column(docs.column_names.index(name), docs.schema.field(name), values)
