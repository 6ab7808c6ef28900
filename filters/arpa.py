"""An n-gram model as ARPA text, which kenlm and every other toolkit reads (ngram-format(5) of
SRILM): log10 probability, n-gram, log10 backoff weight."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kneser_ney import Estimate

WRITE_ROWS = 1 << 18  # n-grams made into text at once


def write_arpa(model: Estimate, words: pa.Array, path: str | Path) -> None:
    """Writes the model as ARPA text. words: the text of each id, <unk>, <s> and </s> first."""
    with Path(path).open("wb") as out:
        out.write(b"\\data\\\n")
        for n, table in enumerate(model.orders, 1):
            out.write(b"ngram %d=%d\n" % (n, table.kept.sum()))
        for n, table in enumerate(model.orders, 1):
            out.write(b"\n\\%d-grams:\n" % n)
            backoff = model.backoff[n - 1] if n < len(model.orders) else None
            for start in range(0, len(table.kept), WRITE_ROWS):
                rows = start + np.flatnonzero(table.kept[start : start + WRITE_ROWS])
                if len(rows):
                    out.write(_arpa_lines(model, n, rows, words, backoff))
        out.write(b"\n\\end\\\n")


def _arpa_lines(
    model: Estimate, n: int, rows: np.ndarray, words: pa.Array, backoff: np.ndarray | None
) -> bytes:
    parts = [_log10(model.probability[n - 1][rows]), ngram_text(model, n, rows, words)]
    if backoff is not None:
        parts.append(_log10(backoff[rows]))
    lines = pc.binary_join_element_wise(*parts, "\t")
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "\n")
    return joined[0].as_buffer().to_pybytes() + b"\n"


def ngram_text(model: Estimate, n: int, rows: np.ndarray, words: pa.Array) -> pa.Array:
    """The words of n-grams, parted by spaces."""
    columns = []
    for length in range(n, 0, -1):
        columns.append(words.take(pa.array(model.orders[length - 1].word[rows])))
        rows = model.orders[length - 1].prefix[rows]
    return pc.binary_join_element_wise(*reversed(columns), " ")


def _log10(values: np.ndarray) -> pa.Array:
    """As text with the precision of the float32 that kenlm keeps; -99 for zero, by the convention
    of ARPA files."""
    with np.errstate(divide="ignore"):
        logs = np.where(values > 0, np.log10(values), -99.0)
    return pa.array(logs.astype(np.float32)).cast(pa.string())
