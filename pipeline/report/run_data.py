"""What the page of a run is made of: the manifest, and a bounded look into the tables beside it.

Counts are the manifest's. Samples, thresholds and error messages come from at most FILES files a
folder, chosen by a hash of their names, so a page of a huge run takes as long as one of a large
run; which document is shown is decided by the hash of its id, never by the order of files.
"""

import hashlib
import json
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.ledger import read_manifest
from pipeline.parts import read_tables
from pipeline.storage import join, list_files, read_json

FILES = 400
SAMPLES = 2  # of each rule
HEAD = 280  # characters of a sample


class Sample(NamedTuple):
    order: str  # by which it was chosen
    id: str
    value: float | None
    threshold: float | None
    matched_id: str | None
    head: str


class ErrorKind(NamedTuple):
    source: str
    error: str
    lost: bool
    n: int
    message: str  # one of them


class RunData(NamedTuple):
    manifest: dict[str, Any]
    samples: dict[str, list[Sample]]  # by rule
    errors: list[ErrorKind]
    log: list[dict[str, Any]]  # of the training
    notes: list[str]  # what could not be read, or was not looked at


def read_run(directory: str) -> RunData:
    """Raises ValueError for a directory that holds no finished run."""
    manifest = read_manifest(directory)
    notes: list[str] = []
    samples = _samples(directory, notes)
    errors = _errors(directory, notes)
    return RunData(manifest, samples, errors, _training_log(directory, manifest, notes), notes)


def _tables(directory: str, folder: str, columns: list[str], notes: list[str]) -> Any:
    """Tables of these columns, from at most FILES files; those that cannot be read are noted."""
    base = directory.rstrip("/")
    paths = [p for p in list_files(join(directory, folder)) if p.endswith(".parquet")]
    names = sorted((p[len(base) + 1 :] for p in paths), key=_hash)
    if len(names) > FILES:
        notes.append(f"{folder}/: {FILES} of its {len(names):,} files were looked into.")
    for name in names[:FILES]:
        try:
            yield from read_tables(directory, name, columns)
        except (OSError, pa.ArrowException, KeyError) as error:
            notes.append(f"{name} could not be read: {str(error).splitlines()[0][:120]}")


def _samples(directory: str, notes: list[str]) -> dict[str, list[Sample]]:
    columns = ["id", "text", "rule", "value", "threshold", "matched_id"]
    found: dict[str, list[Sample]] = defaultdict(list)
    for table in _tables(directory, "removed", columns, notes):
        texts = table["text"]
        for i, row in enumerate(table.drop(["text"]).to_pylist()):
            order, best = _hash(row["id"]), found[row["rule"]]
            if len(best) < SAMPLES or order < best[-1].order:
                text = (texts[i].as_py() or "")[: HEAD + 1]
                head = text if len(text) <= HEAD else f"{text[:HEAD]} \u2026"
                facts = {k: row[k] for k in ("id", "value", "threshold", "matched_id")}
                best.append(Sample(order=order, head=head, **facts))
                best.sort()
                del best[SAMPLES:]
    return dict(sorted(found.items()))


def _errors(directory: str, notes: list[str]) -> list[ErrorKind]:
    counts: Counter[tuple[str, str, bool]] = Counter()
    messages: dict[tuple[str, str, bool], str] = {}
    for table in _tables(directory, "errors", ["source", "error", "message", "lost"], notes):
        for row in table.to_pylist():
            key = (row["source"], row["error"], row["lost"])
            counts[key] += 1
            messages[key] = min(messages.get(key, row["message"]), row["message"])
    order = sorted(counts, key=lambda key: (-counts[key], key))
    return [ErrorKind(*key, counts[key], messages[key]) for key in order]


def _training_log(directory: str, manifest: dict[str, Any], notes: list[str]) -> list[dict]:
    """The lines of metrics.jsonl of the training that the manifest speaks of."""
    if "training" not in manifest or "://" in directory:
        return []
    records = [p for p in list_files(join(directory, "_parts", "train")) if p.endswith(".json")]
    for path in records:
        try:
            record = read_json(path)
            if record["counts"]["figures"] == manifest["training"]:
                metrics = join(directory, "train", record["key"][:10], "metrics.jsonl")
                with open(metrics) as file:  # noqa: PTH123 - the path is a text
                    return [json.loads(line) for line in file]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    notes.append("train/: no metrics.jsonl of this training, so its curve is not shown.")
    return []


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
