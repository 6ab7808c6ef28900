"""What a worker does with the documents of a part: the steps of their source, fused."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.decontaminate import Decontaminate, contamination_of
from pipeline import quarantine
from pipeline.apply import apply, schema_after
from pipeline.parts import Part, read_tables
from pipeline.redecide import Source, read_earlier
from pipeline.schema import (
    CONTAMINATION,
    DOCUMENT,
    REMOVAL,
    Fault,
)
from pipeline.steps import Use
from pipeline.tally import Tally, text_bytes


def filter_part(
    part: Part,
    source: str,
    shard: str,
    path: str | None,
    steps: list[Use],
    audit_fraction: float,
    out: str,
    batch_bytes: int,
    measured: list[list[Any]],
    source_of_signals: Source | None = None,
) -> dict[str, Any]:
    """The document-local steps of one source, fused, over one part. `measured` says what each step
    measures; what an earlier run has measured is taken from there."""
    tally = Tally()
    if path is None:
        return tally.counts(source)
    schema = schema_after(steps, DOCUMENT)
    earlier = None
    if source_of_signals:
        earlier = read_earlier(part.root, source_of_signals, measured, schema, audit_fraction)
    kept_schema = pa.schema([field for field in schema if field.name not in REMOVAL.names])
    documents = part.table("documents", f"{out}/{source}", kept_schema)
    removed = part.table("removed", f"removed/{source}", schema, prefix="filter")
    shared = part.table("contamination", f"contamination/{source}", CONTAMINATION, prefix="filter")
    for batch in _singly(read_tables(part.root, path, batch_bytes=batch_bytes)):
        tally.n_in += batch.num_rows
        tally.bytes_in += text_bytes(batch)
        batch, faults = _without_quarantined(batch)
        table, more = apply(batch, steps, audit_fraction, earlier)
        faults += more
        part.faults(source, shard, faults)
        tally.lost += len(faults)
        tally.damaged += len(faults)
        marked = table["rule"].is_valid()
        kept, gone = table.filter(pc.invert(marked)), table.filter(marked)
        stage = pa.array(["filter"] * gone.num_rows, pa.string())
        gone = gone.set_column(gone.column_names.index("stage"), REMOVAL.field("stage"), stage)
        documents.write(kept)
        removed.write(gone)
        for use in steps:
            if isinstance(use.config, Decontaminate):
                shared.write(contamination_of(table, use.prefix))
        tally.add_removed(gone)
        tally.kept += kept.num_rows
        tally.bytes_kept += text_bytes(kept)
    return tally.counts(source)


def _singly(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, one at a time where a worker died on one of them."""
    for table in tables:
        if quarantine.careful():
            yield from (table.slice(i, 1).combine_chunks() for i in range(table.num_rows))
        else:
            yield table


def _without_quarantined(batch: pa.Table) -> tuple[pa.Table, list[tuple[str, Fault]]]:
    if not quarantine.careful():
        return batch, []
    [row] = batch.select(["id", "text"]).to_pylist()
    fault = quarantine.refusal(row["id"], (row["text"] or "").encode())
    return (batch.slice(0, 0), [("filter", fault)]) if fault else (batch, [])
