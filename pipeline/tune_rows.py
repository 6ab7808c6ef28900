"""The rules of a finished run and the documents that they judged: a row each, with the value of the
rule's signal, from the columns of the tables alone. `tune.py` counts them.
"""

import difflib
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.rules import Bound, concerned
from pipeline.apply import audited
from pipeline.config import ConfigError, parse_steps
from pipeline.steps import Use, bounds_of
from pipeline.storage import join, list_files, open_input


class Rule(NamedTuple):
    """A rule with a threshold, as one source has it."""

    source: str
    steps: list[Use]
    place: int  # of its step
    bound: Bound

    @property
    def name(self) -> str:
        return f"{self.steps[self.place].label}.{self.bound.rule}"

    @property
    def now(self) -> float:
        bound = self.bound
        found = bound.least if bound.least is not None else bound.most
        return float("nan") if found is None else float(found)


class Rows(NamedTuple):
    """The documents that came to the filters of a source, a row each."""

    table: pa.Table  # id, rule, failed, text.n_bytes, the signal, _file, _row
    value: np.ndarray  # float64, NaN where null
    measured: np.ndarray  # bool, came to the step
    audited: np.ndarray  # bool, saw every step
    concerned: np.ndarray  # bool, the bound holds for it
    other: np.ndarray  # bool, another rule failed as well
    behind: np.ndarray  # bool, a rule of a later step failed
    n_bytes: np.ndarray  # int64, of text


def find_rules(manifest: dict[str, Any], name: str, source: str | None) -> list[Rule]:
    found: list[Rule] = []
    known: set[str] = set()
    for label, config in manifest["config"]["sources"].items():
        if source is not None and label != source:
            continue
        steps = list(parse_steps([_without_none(e) for e in config["steps"]], f"sources.{label}"))
        for place, use in enumerate(steps):
            for bound in _bounds(use):
                known.add(f"{use.label}.{bound.rule}")
                if f"{use.label}.{bound.rule}" == name:
                    found.append(Rule(label, steps, place, bound))
    if source is not None and source not in manifest["config"]["sources"]:
        there = ", ".join(manifest["config"]["sources"])
        raise ConfigError([f"--source {source}: the run has no such source; it has {there}"])
    if not known:
        raise ConfigError([f"--rule {name}: no step of this run has a rule with a threshold"])
    if not found:
        close = difflib.get_close_matches(name, known, 1) or sorted(known)
        hint = f"Did you mean {close[0]}?" if len(close) == 1 else f"Known: {', '.join(close)}"
        raise ConfigError([f"--rule {name}: no rule with a threshold in this run. {hint}"])
    return found


def _bounds(use: Use) -> list[Bound]:
    """A step's bounds; without the thresholds where they are in a file that is not there."""
    try:
        return bounds_of(use)
    except (ValueError, OSError) as error:
        where = f"{use.label}: its threshold is in a file: {error}"
        raise ValueError(f"{where}; start where the run was started") from None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value


def read_rows(root: str, rule: Rule, audit_fraction: float) -> Rows:
    columns = ["id", "rule", "failed", "text.n_bytes", rule.bound.signal]
    if rule.bound.among is not None or rule.bound.besides:
        columns.append("meta")
    tables = []
    files = [p for f in ("documents", "removed") for p in list_files(join(root, f, rule.source))]
    for i, path in enumerate(files):
        with open_input(path) as file:
            reader = pq.ParquetFile(file)
            if rule.bound.signal not in reader.schema_arrow.names:
                continue  # what ingest removed
            if "text.n_bytes" not in reader.schema_arrow.names:
                raise ValueError(f"{root}: made by an earlier version; run it again")
            table = reader.read([c for c in columns if c in reader.schema_arrow.names])
        for column, kind in (("rule", pa.string()), ("failed", pa.list_(pa.string()))):
            if column not in table.column_names:
                table = table.append_column(column, pa.nulls(len(table), kind))
        place = {"_file": np.full(len(table), i), "_row": np.arange(len(table))}
        for column, numbers in place.items():
            table = table.append_column(column, pa.array(numbers))
        tables.append(table.select([*columns, "_file", "_row"]))
    if not tables:
        raise ValueError(f"{root}: no document of {rule.source} has {rule.bound.signal}")
    return _rows(pa.concat_tables(tables).combine_chunks(), rule, audit_fraction)


def _rows(table: pa.Table, rule: Rule, audit_fraction: float) -> Rows:
    column = table[rule.bound.signal]
    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    value = column.cast(pa.float64()).to_numpy().astype(np.float64)
    place = {use.label: i for i, use in enumerate(rule.steps)}
    last = [
        place.get((name or "").partition(".")[0], len(place)) for name in table["rule"].to_pylist()
    ]
    seen = np.array(last, np.int64)
    chosen = audited(table, audit_fraction).to_numpy(zero_copy_only=False)
    other, behind = np.zeros((2, len(table)), bool)
    for i, names in enumerate(table["failed"].to_pylist()):
        steps = [place.get(n.partition(".")[0], -1) for n in names or () if n != rule.name]
        other[i] = max(steps, default=-1) >= 0
        behind[i] = max(steps, default=-1) > rule.place
    bound = rule.bound
    everywhere = bound.among is None and not bound.besides
    return Rows(
        table,
        value,
        (seen >= rule.place) | chosen,
        chosen,
        np.ones(len(table), bool) if everywhere else concerned(table, bound),
        other,
        behind,
        pc.fill_null(table["text.n_bytes"], 0).to_numpy(),
    )


def failing(rows: Rows, bound: Bound, threshold: float) -> np.ndarray:
    """bool[rows]: measured, and beyond the threshold or null."""
    with np.errstate(invalid="ignore"):
        good = rows.value >= threshold if is_least(bound) else rows.value <= threshold
    return rows.measured & rows.concerned & ~good


def is_least(bound: Bound) -> bool:
    return bound.least is not None or (bound.most is None and bound.key.startswith("min_"))
