"""The tables of an ablation, read for its page."""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage import exists, join, open_input, read_json

Rows = list[dict[str, Any]]


class Tables(NamedTuple):
    trials: Rows
    mixtures: Rows
    curves: Rows
    verdicts: Rows
    law: Rows
    predictions: Rows
    about: dict[str, Any]  # ablation.json

    def roles(self) -> dict[str, str]:
        return {row["arm"]: row["role"] for row in [*self.mixtures, *self.trials]}

    def role(self, wanted: str) -> str | None:
        return next((arm for arm, role in self.roles().items() if role == wanted), None)


def read(directory: str) -> Tables:
    """Raises ValueError for a table that is missing or damaged."""
    rows = {name: _rows(join(directory, f"{name}.parquet")) for name in Tables._fields[:-1]}
    about = join(directory, "ablation.json")
    return Tables(**rows, about=read_json(about) if exists(about) else {})


def _rows(path: str) -> Rows:
    if not exists(path):
        raise ValueError(f"{path}: no such table; run `corpusmill ablate` first")
    try:
        with open_input(path) as file:
            return pq.ParquetFile(file).read(use_threads=False).to_pylist()
    except pa.ArrowException as error:
        raise ValueError(f"{path}: damaged ({error}); run `corpusmill ablate` again") from None
