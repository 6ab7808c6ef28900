"""Test sets as they lie on disk: items with a question and an answer.

Of each row every string counts, nested ones too: as the answer if its field is called so
(`ANSWER_FIELDS`), as the question otherwise. `ItemFields` names other fields, for one file or for
all.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

ANSWER_FIELDS = (
    "answer", "answers", "answer_text", "best_answer", "canonical_solution", "completion",
    "correct_answer", "gold", "ground_truth", "output", "response", "solution", "solutions",
    "target", "targets",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ItemFields:
    """What of an item is its question, what its answer; `a.b` is field b of what lies in field
    a."""

    question: tuple[str, ...] | None = None
    """In this order; if unset, every string but the answer's."""
    answer: tuple[str, ...] | None = None
    """In this order, numbers too; if unset, those of the usual names (`testsets.ANSWER_FIELDS`), or
    none where `question` is set. [] for none."""

    def __post_init__(self) -> None:
        if self.question is not None and not self.question and not self.answer:
            raise ValueError("question is empty, and so is answer; name some fields")


class Item(NamedTuple):
    name: str  # <file name>/<number, from 0>
    question: str
    answer: str


def read_items(path: str, fields: ItemFields) -> Iterator[Item]:
    """The items of a .jsonl (also .gz, .zst, .bz2) or .parquet file. ValueError for what cannot be
    used."""
    n_items = 0
    for n_items, (place, row) in enumerate(_rows(path), 1):
        if fields.question is None and fields.answer is None:
            question = _joined([v for k, v in row.items() if k not in ANSWER_FIELDS])
            answer = _joined([v for k, v in row.items() if k in ANSWER_FIELDS], numbers=True)
        else:
            answers = fields.answer or ()
            questions = fields.question
            if questions is None:
                questions = tuple(k for k in row if k not in answers)
            question = _joined([_field(row, name, place) for name in questions])
            answer = _joined([_field(row, name, place) for name in answers], numbers=True)
        yield Item(f"{Path(path).name}/{n_items - 1}", question, answer)
    if n_items == 0:
        raise ValueError(f"{path}: no items in it; check the file")


def read_texts(path: str) -> Iterator[pa.Array]:
    """Column `text` of a Parquet or JSONL file, in batches."""
    if _suffix(path) == ".parquet":
        with pq.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                names = ", ".join(file.schema_arrow.names)
                raise ValueError(f"{path}: no column 'text'; it has {names}")
            for batch in file.iter_batches(1000, columns=["text"]):
                yield batch.column(0).cast(pa.string())
        return
    texts = [_field(row, "text", place) for place, row in _rows(path)]
    yield pa.array([_encodable(t) if isinstance(t, str) else None for t in texts], pa.string())


def _rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(its place, row) of a Parquet file, (its place, object) of a JSONL file."""
    if _suffix(path) == ".parquet":
        for number, row in enumerate(pq.read_table(path).to_pylist()):
            yield f"{path}, row {number}", row
        return
    if _suffix(path) != ".jsonl":
        raise ValueError(f"{path}: not a test set; give .jsonl (.gz, .zst, .bz2) or .parquet")
    with pa.input_stream(path) as stream:  # decompresses by the suffix
        lines = stream.read().split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{path}, line {number}", _object(line, f"{path}, line {number}")


def _suffix(path: str) -> str:
    suffixes = [s for s in Path(path).suffixes if s not in (".gz", ".zst", ".bz2")]
    return suffixes[-1] if suffixes else ""


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{place}: not JSON ({error}); a test set has an object each line"
        ) from None
    if not isinstance(item, dict):
        raise ValueError(f"{place}: {type(item).__name__}; a test set has an object each line")
    return item


def _field(row: dict[str, Any], name: str, place: str) -> Any:
    """What lies at a dotted name; of a list, what lies there in each of its objects."""
    value: Any = row
    for part in [name] if name in row else name.split("."):
        if isinstance(value, list):
            value = [inner[part] for inner in value if isinstance(inner, dict) and part in inner]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            raise ValueError(f"{place}: no field {name!r}; it has {', '.join(row)}")
    return value


def _joined(values: list[Any], numbers: bool = False) -> str:
    return _encodable("\n".join(s for value in values for s in _strings(value, numbers)))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # a lone surrogate: ?


def _strings(value: Any, numbers: bool) -> Iterator[str]:
    """Every string in a JSON value, in its order."""
    if isinstance(value, str):
        yield value
    elif numbers and isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner, numbers)
