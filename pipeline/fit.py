"""`corpusmill fit`: models for the steps that need one, from tables of reference text. One process,
in the order of the shards, so the same tables give the same bytes."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.cutoffs import Cutoffs, cutoffs_of, write_cutoffs
from filters.fit_perplexity import find_lmplz, fit_perplexity
from filters.fit_quality import fit_quality
from filters.kernels import hash_strings
from filters.kneser_ney import check
from filters.language import Language, language
from filters.perplexity_text import Units, load_sentencepiece
from pipeline.build_config import ConfigError
from pipeline.config import Run, parse_steps
from pipeline.curves import evaluation_svg
from pipeline.identity import input_identity
from pipeline.named_files import find_shards, prepare, resolve_files
from pipeline.schema import DOCUMENT, Document, Fault
from pipeline.sources import FORMATS
from pipeline.state import input_path
from pipeline.steps import STEPS
from pipeline.storage import write_json

SIGNALS = {
    "perplexity": "perplexity.value",
    "quality": "quality.score",
    "neural_quality": "neural_quality.score",
}
BATCH_ROWS, BATCH_CHARS = 1024, 8 << 20


class Documents:
    """The documents of a run's sources, or a part of them chosen by a hash of the id; reading them
    counts what could not be read."""

    def __init__(self, run: Run, fraction: float = 1.0) -> None:
        self.run, self.fraction = run, fraction
        self.shards = find_shards(run, lambda path: input_path(run, path), lambda path: "")
        self.n, self.lost, self.first = 0, 0, ""

    def tables(self) -> Iterator[pa.Table]:
        limit = np.uint64(min(int(self.fraction * 2.0**64), 2**64 - 1))
        records = self._records()
        while rows := list(_until(records, BATCH_CHARS)):
            table = pa.Table.from_pylist(rows, schema=DOCUMENT)
            if self.fraction < 1:
                chosen = hash_strings(table["id"], np.uint64(self.run.seed)) < limit
                table = table.filter(pa.array(chosen)).combine_chunks()
            self.n += table.num_rows
            if table.num_rows:
                yield table

    def texts(self) -> Iterator[pa.Array]:
        return (table["text"].combine_chunks() for table in self.tables())

    def _records(self) -> Iterator[dict[str, Any]]:
        for shard in self.shards:
            source = self.run.sources[shard.source]
            form = FORMATS[source.format]
            for start, end in form.split(shard.path, 1 << 62):
                for record in form.read(shard.path, start, end, source.reader):
                    if isinstance(record, Document):
                        name = record.id or f"{shard.source}/{shard.name}/{record.locator}"
                        meta = sorted(record.meta.items())
                        row = {"id": name, "text": record.text, "source": shard.source}
                        yield row | {"meta": meta}
                    elif record.lost:
                        self._note(shard.path, record)

    def _note(self, path: str, fault: Fault) -> None:
        self.first = self.first or f"{path}: {fault.locator} {fault.error}: {fault.message}"
        self.lost += 1

    def report(self) -> dict[str, int]:
        if self.lost:
            print(f"{self.lost} records could not be read; the first: {self.first}")
        return {"documents": self.n, "lost": self.lost}


def _until(records: Iterator[dict[str, Any]], chars: int) -> Iterator[dict[str, Any]]:
    for record in islice(records, BATCH_ROWS):
        yield record
        chars -= len(record["text"])
        if chars <= 0:
            return


def perplexity_model(
    documents: Documents,
    out: str,
    *,
    order: int,
    prune: tuple[int, ...] | None,
    vocabulary: int | None,
    units: Units,
    estimator: str,
) -> dict[str, Any]:
    """Writes an ARPA file, and beside it how it was made. Raises ConfigError."""
    try:
        lmplz = find_lmplz(estimator)
        check(order, prune or (0,) * order)
        if units.tokenizer:
            load_sentencepiece(units.tokenizer)
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    print(f"estimator: {f'lmplz ({lmplz})' if lmplz else 'our own'}", flush=True)
    figures: dict[str, Any] = fit_perplexity(
        documents.texts(),
        out,
        order=order,
        prune=prune,
        vocabulary=vocabulary,
        units=units,
        lmplz=lmplz,
    )
    figures |= documents.report()
    ngrams = " ".join(f"{figures[f'ngrams_{n}']:,}" for n in range(1, order + 1))
    print(f"{figures['words']:,} units in {figures['sentences']:,} sentences; n-grams: {ngrams}")
    made: dict[str, Any] = {"estimator": "lmplz" if lmplz else "own"}
    made |= {"normalization": units.normalization}
    made |= {"sentence": units.sentence, "tokenizer": units.tokenizer}
    write_json(str(Path(out).with_suffix(".json")), made | figures)
    print(f"{out}: {Path(out).stat().st_size:,} bytes")
    return {"out": out, "estimator": made["estimator"], **figures}


def quality_model(
    positive: Documents, negative: Documents, reference: Documents | None, out: str
) -> dict[str, Any]:
    """Writes model.bin; evaluation.json and .svg, how it does on held-out text; cutoffs.json, the
    scores of the reference or else of the held-out ordinary text."""
    folder = Path(out)
    model = str(folder / "model.bin")
    found = fit_quality(positive.texts(), negative.texts(), model)
    figures = {f"positive_{name}": n for name, n in positive.report().items()}
    figures |= {f"negative_{name}": n for name, n in negative.report().items()}
    shown = {name: value for name, value in found._asdict().items() if name != "scores"}
    (folder / "evaluation.json").write_text(json.dumps(shown, sort_keys=True) + "\n")
    (folder / "evaluation.svg").write_text(evaluation_svg(found))
    if reference is not None:
        cutoffs = score_cutoffs(reference, "quality", {"model": model}, None)
        write_cutoffs(cutoffs, folder / "cutoffs.json")
    elif found.scores:
        write_cutoffs(cutoffs_of("quality.score", found.scores), folder / "cutoffs.json")
    for name, value in found.figures.items():
        print(f"{name:<18} {'-' if value is None else format(value, '.6g')}")
    print(f"{out}: model.bin, evaluation.json, evaluation.svg, cutoffs.json")
    return {"out": out, **figures, **found.figures}


def score_cutoffs(
    documents: Documents, step: str, settings: dict[str, Any], lid: str | None
) -> Cutoffs:
    """The distribution of a step's score over documents, by language where `lid` names a model of
    language.py ("" for lid.176). Raises ConfigError."""
    [use] = parse_steps([{"use": step, **settings}], "steps")
    run = documents.run
    known: dict[str, list] = {}
    [use], _ = resolve_files(
        (use,),
        "steps",
        {},
        lambda path: input_path(run, path),
        lambda path: input_identity(path, known),
    )
    if mistakes := prepare([use], "steps"):
        raise ConfigError(mistakes)
    scores: list[float | None] = []
    labels: list[str | None] = []
    for table in documents.tables():
        if lid is not None:
            table = language(table, Language(model=lid or None))
            labels += table["language.label"].to_pylist()
        table = STEPS[step].function(table, use.config)
        scores += table[SIGNALS[step]].to_pylist()
    return cutoffs_of(SIGNALS[step], scores, None if lid is None else labels)
