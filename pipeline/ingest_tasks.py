"""What a worker does with a range of a shard: documents out of it, and on record what is none.

Every task is `(part, **args) -> counts`. It streams its input in batches bounded by bytes, writes
through `part`, and gives `{source: {in, kept, removed: {rule: n}, lost, bytes_in, bytes_kept}}`,
from which the ledger is made.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline import quarantine
from pipeline.parts import Part
from pipeline.schema import (
    DOCUMENT,
    EXPECTED_ERRORS,
    HEAD_BYTES,
    REMOVAL,
    Document,
    Fault,
)
from pipeline.sources import FORMATS
from pipeline.tally import Tally, text_bytes

REMOVED = pa.schema([*DOCUMENT, *REMOVAL])


def ingest_part(
    part: Part,
    source: str,
    format: str,
    reader: Any,
    path: str,
    shard: str,
    start: int,
    end: int,
    limit: int,
    sample_fraction: float,
    out: str,
    batch_bytes: int,
) -> dict[str, Any]:
    """One range of one shard -> documents, removed (what is no text) and errors."""
    tally, faults = Tally(), []
    documents = part.table("documents", f"{out}/{source}", DOCUMENT)
    removed = part.table("removed", f"removed/{source}", REMOVED, prefix="ingest")
    quarantine.sample(f"{source}/{shard}/", sample_fraction)
    records = filter(_is_sampled, FORMATS[format].read(path, start, end, reader))
    for rows in _batches(islice(records, limit or None), batch_bytes):
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for record in rows:
            if isinstance(record, Document):
                record, note = _validated(record)
                faults += [note] if note else []
            if isinstance(record, Fault):
                faults.append(record)
                continue
            row = _row(record, source, shard)
            if record.rule is None:
                good.append(row)
            else:
                bad.append(row | {"stage": "ingest", "rule": f"ingest.{record.rule}"})
                tally.removed[f"ingest.{record.rule}"] += 1
        table = pa.Table.from_pylist(good, schema=DOCUMENT)
        documents.write(table)
        removed.write(pa.Table.from_pylist(bad, schema=REMOVED))
        tally.kept += len(good)
        tally.bytes_kept += text_bytes(table)
        tally.n_in += len(good) + len(bad)
    tally.lost = sum(fault.lost for fault in faults)
    tally.damaged = sum(fault.lost and fault.error not in EXPECTED_ERRORS for fault in faults)
    tally.n_in += tally.lost
    tally.bytes_in = tally.bytes_kept
    part.faults(source, shard, [("ingest", fault) for fault in faults])
    return tally.counts(source)


def _is_sampled(record: Document | Fault) -> bool:
    """Neither what the reader left out, nor damage beyond the sample's share of it."""
    return isinstance(record, Document) or quarantine.chosen(record.locator)


def _validated(record: Document) -> tuple[Document | Fault, Fault | None]:
    """A text is valid Unicode without NUL, or it is not a document."""
    if record.text.isascii() and "\0" not in record.text:
        return record, None
    try:
        head = record.text[:HEAD_BYTES].encode()[:HEAD_BYTES]
        record.text.encode()
    except UnicodeEncodeError as error:
        head = record.text[:HEAD_BYTES].encode(errors="backslashreplace")[:HEAD_BYTES]
        return Fault(record.locator, "lone_surrogate", str(error), head), None
    if "\0" in record.text:
        return Fault(record.locator, "nul_bytes", "the text holds NUL characters", head), None
    return record, None


def _row(record: Document, source: str, shard: str) -> dict[str, Any]:
    return {
        "id": record.id if record.id is not None else f"{source}/{shard}/{record.locator}",
        "text": record.text,
        "source": source,
        "url": record.url,
        "path": record.path,
        "created": record.created,
        "license": record.license,
        "meta": sorted(record.meta.items()),
    }


def _batches(
    records: Iterator[Document | Fault], batch_bytes: int
) -> Iterator[list[Document | Fault]]:
    batch: list[Document | Fault] = []
    size = 0
    for record in records:
        batch.append(record)
        size += 200 + (len(record.text) if isinstance(record, Document) else len(record.head))
        if size >= batch_bytes or len(batch) >= 20_000:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
