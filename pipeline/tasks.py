"""What workers run on one part each, but for the exchanges of deduplication (`exchange/`).

Every function is `(part, **args) -> counts`. It streams its input in batches bounded by bytes,
writes through `part`, and gives `{source: {in, kept, removed: {rule: n}, lost, bytes_in,
bytes_kept}}`, from which the ledger is made.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.cutoffs import EVERY, cutoffs_of, write_cutoffs
from filters.decontaminate import Decontaminate, contamination_of
from filters.fit_perplexity import fit_perplexity
from filters.fit_quality import fit_quality
from filters.kernels import hash_strings
from filters.language import load_fasttext, one_line
from filters.perplexity import Perplexity, measure_perplexity
from filters.quality import POSITIVE, PREFIX_CHARS, measure_quality
from pipeline import quarantine
from pipeline.apply import apply, schema_after
from pipeline.mixture import Mixture
from pipeline.parts import Part, read_tables
from pipeline.redecide import Source, read_earlier
from pipeline.schema import (
    CONTAMINATION,
    DOCUMENT,
    EXPECTED_ERRORS,
    HEAD_BYTES,
    REMOVAL,
    Document,
    Fault,
    tokens_schema,
)
from pipeline.sources import FORMATS
from pipeline.steps import Use
from pipeline.tokenizer_sample import Documents, sample_texts
from tokenizer.encode import encode
from tokenizer.train import (
    MODEL_NAME,
    TOKENIZER_JSON,
    VOCABULARY_NAME,
    Tokenizer,
    train_tokenizer,
)

REMOVED = pa.schema([*DOCUMENT, *REMOVAL])


class Tally:
    """The counts of one source in one part."""

    def __init__(self) -> None:
        self.n_in = self.lost = self.damaged = self.bytes_in = self.bytes_kept = self.kept = 0
        self.removed: Counter[str] = Counter()

    def counts(self, source: str) -> dict[str, Any]:
        removed = dict(sorted(self.removed.items()))
        return {
            source: {
                "in": self.n_in,
                "kept": self.kept,
                "removed": removed,
                "lost": self.lost,
                "damaged": self.damaged,
                "bytes_in": self.bytes_in,
                "bytes_kept": self.bytes_kept,
            }
        }

    def add_removed(self, table: pa.Table) -> None:
        for entry in pc.value_counts(table["rule"]).to_pylist():
            self.removed[entry["values"]] += entry["counts"]


def text_bytes(table: pa.Table) -> int:
    return pc.sum(pc.binary_length(table["text"])).as_py() or 0


# --- ingest ------------------------------------------------------------------------------------


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


# --- filter ------------------------------------------------------------------------------------


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


# --- models ------------------------------------------------------------------------------------


def sampled_texts(
    root: str, paths: list[str], fraction: float, seed: int, batch_bytes: int = 8 << 20
) -> Iterator[pa.Array]:
    """Texts of the documents that a hash of (id, seed) chooses."""
    limit = np.uint64(min(int(fraction * 2.0**64), 2**64 - 1))
    for path in paths:
        for table in read_tables(root, path, ["id", "text"], batch_bytes):
            if fraction < 1:
                table = table.filter(pa.array(hash_strings(table["id"], np.uint64(seed)) < limit))
            if table.num_rows:
                yield table["text"].combine_chunks()


def fit_perplexity_model(
    part: Part,
    name: str,
    paths: list[str],
    fraction: float,
    order: int,
    reference: tuple[list[str], float],
    seed: int,
) -> dict[str, Any]:
    """An n-gram model, and with `reference` the distribution of its scores."""
    local = part.file("model", f"models/{name}-{part.key[:10]}.arpa")
    fit_perplexity(sampled_texts(part.root, paths, fraction, seed), local, order=order)
    if reference[0]:
        config, scores = Perplexity(model=local), []
        for texts in sampled_texts(part.root, *reference, seed):
            column = pa.chunked_array([texts])
            found = measure_perplexity(column, [EVERY] * len(texts), config)
            scores += found["value"].to_pylist()
        place = part.file("cutoffs", f"models/{name}-{part.key[:10]}.cutoffs.json")
        write_cutoffs(cutoffs_of("perplexity.value", scores), place)
    return {}


def fit_quality_model(
    part: Part,
    name: str,
    positive: list[str],
    negative: list[str],
    fractions: tuple[float, float],
    reference: tuple[list[str], float],
    seed: int,
) -> dict[str, Any]:
    """A classifier, and the distribution of its scores on `reference`, or else on the held-out
    ordinary text."""
    local = part.file("model", f"models/{name}-{part.key[:10]}.bin")
    found = fit_quality(
        sampled_texts(part.root, positive, fractions[0], seed),
        sampled_texts(part.root, negative, fractions[1], seed),
        local,
    )
    scores: list[float | None] = [*found.scores]
    if reference[0]:
        model, scores = load_fasttext(local), []
        for texts in sampled_texts(part.root, *reference, seed):
            lines = one_line(texts, PREFIX_CHARS)
            scores += measure_quality(lines, model, POSITIVE).to_pylist()
    if scores:
        place = part.file("cutoffs", f"models/{name}-{part.key[:10]}.cutoffs.json")
        write_cutoffs(cutoffs_of("quality.score", scores), place)
    return {"held_out": found.figures}


# --- tokens ------------------------------------------------------------------------------------


def fit_tokenizer(
    part: Part,
    sources: list[Documents],
    mixture: Mixture | None,
    config: Tokenizer,
    seed: int,
) -> dict[str, Any]:
    """One SentencePiece model from a sample of the kept documents by the mixture's weights."""
    names = {"model": MODEL_NAME, "vocabulary": VOCABULARY_NAME}
    if config.normalization == "identity":
        names["tokenizer_json"] = TOKENIZER_JSON
    with tempfile.TemporaryDirectory() as made:
        sample = sample_texts(part.root, sources, mixture, config.sample_bytes, seed)
        figures = train_tokenizer(sample, config, made)
        for role, name in names.items():
            shutil.move(Path(made) / name, part.file(role, f"tokenizer/{part.key[:10]}/{name}"))
    return {"figures": {k: v for k, v in figures.items() if k != "model"}}


def tokenize_part(
    part: Part,
    source: str,
    path: str | None,
    model: str,
    impl: Literal["corpusmill", "sentencepiece"],
    vocab_size: int,
    batch_bytes: int,
) -> dict[str, Any]:
    """ids of every document of a part."""
    counts: dict[str, Any] = {"in": 0, "kept": 0, "removed": {}, "lost": 0}
    counts |= {"bytes_in": 0, "tokens": 0}
    if path is None:
        return {source: counts}
    schema = tokens_schema(vocab_size)
    tokens = part.table("tokens", f"tokens/{source}", schema)
    for table in read_tables(part.root, path, ["id", "text"], batch_bytes):
        ids = encode(table["text"].combine_chunks(), model, impl)
        n_bytes = pc.cast(pc.fill_null(pc.binary_length(table["text"]), 0), pa.int64())
        tokens.write(pa.table({"id": table["id"], "ids": ids, "n_bytes": n_bytes}))
        counts["in"] += table.num_rows
        counts["bytes_in"] += text_bytes(table)
        counts["tokens"] += pc.sum(pc.list_value_length(ids)).as_py() or 0
    counts["kept"] = tokens.rows
    return {source: counts}
