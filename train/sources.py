"""Which source each token of a batch is from, so that the loss is known by source.

A packed file's sidecar lists the documents of its rows in order, and the source of each. Held in
memory: 5 bytes a document piece, 8 a row.
"""

import bisect
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from train.loader import Batch

MAX_SOURCES = 64
OTHER = "other"  # sources beyond MAX_SOURCES, and documents without one


class Sources:
    """names: the sources, sorted; `OTHER` last where there is one. They are empty where a sidecar
    is missing, and nothing is known then. Raises ValueError for a sidecar that does not say."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.names: list[str] = []
        sidecars = [sidecar_of(path) for path in paths]
        if not all(sidecar.exists() for sidecar in sidecars):
            return
        rows, lengths, found, before = [], [], [], 0
        for sidecar in sidecars:
            file = pq.ParquetFile(sidecar)
            if "source" not in file.schema_arrow.names:
                raise ValueError(f"{sidecar}: no column source; it is of old, pack it again")
            for part in file.iter_batches(columns=["row", "source", "length"]):
                rows.append(part["row"].to_numpy() + before)
                lengths.append(part["length"].to_numpy())
                found.append(pc.fill_null(part["source"], OTHER).dictionary_encode())
            before += n_rows(sidecar)
        if not rows:
            return
        names = pa.chunked_array(found).unify_dictionaries().combine_chunks()
        self.names, self._source = _few(names)
        self._length = np.concatenate(lengths)
        self._first = np.searchsorted(np.concatenate(rows), np.arange(before + 1))  # piece of a row

    def of(self, batch: Batch) -> np.ndarray:
        """The source (index into names) of each segment between cu_seqlens; of the empty tails it
        is that of the document before."""
        rows = batch.rows.numpy()
        width = len(batch.tokens_T) // len(rows)
        first, counts = self._first[rows], self._first[rows + 1] - self._first[rows]
        of_row = np.repeat(np.arange(len(rows)), counts)
        piece = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        length = self._length[piece].astype(np.int64)
        ends = np.cumsum(length)
        start_in_row = ends - length - (ends - length)[np.cumsum(counts) - counts][of_row]
        starts = of_row * width + start_in_row
        segment = np.searchsorted(starts, batch.cu_seqlens.numpy()[:-1], "right") - 1
        return self._source[piece][segment]


def _few(sources: pa.DictionaryArray) -> tuple[list[str], np.ndarray]:
    found = np.array(sources.dictionary.to_pylist(), object)
    codes = sources.indices.to_numpy()
    by_count = np.argsort(-np.bincount(codes, minlength=len(found)), kind="stable")
    kept = sorted({str(name) for name in found[by_count[: MAX_SOURCES - 1]]} - {OTHER})
    names = kept if len(kept) == len(found) else [*kept, OTHER]
    index = {name: i for i, name in enumerate(names)}
    return names, np.array([index.get(n, len(names) - 1) for n in found], np.uint8)[codes]


def documents_of(paths: Sequence[str], rows: Sequence[int]) -> list[str] | None:
    """Ids of the documents in these rows (numbered over all the packed files, in the order of the
    paths), from the files' sidecars; None if one of those is not there."""
    out: list[str] = []
    starts = [0]
    for path in paths:
        sidecar = sidecar_of(path)
        if not sidecar.exists():
            return None
        starts.append(starts[-1] + n_rows(sidecar))
    for i, path in enumerate(paths):
        here = [row - starts[i] for row in rows if bisect.bisect(starts, row) - 1 == i]
        if here:
            table = pq.read_table(sidecar_of(path), columns=["id"], filters=[("row", "in", here)])
            out += table["id"].to_pylist()
    return sorted(set(out))


def sidecar_of(path: str) -> Path:
    return Path(path).with_suffix(".documents.parquet")


def n_rows(sidecar: Path) -> int:
    """Rows of the packed file: no row is without a document, and the last row comes last."""
    file = pq.ParquetFile(sidecar)
    if not file.num_row_groups:
        return 0
    last = file.read_row_group(file.num_row_groups - 1, columns=["row"])["row"]
    return int(np.asarray(last)[-1]) + 1
