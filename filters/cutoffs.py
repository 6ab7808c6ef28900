"""How a score is distributed over a reference sample, by language: what "the best tenth" or CCNet's
"head" are measured against. Fitted once and kept in a file beside the model, so that a document's
fate does not depend on which others are in its batch.

The file is JSON: {"signal": "perplexity.value", "n": {"*": 812, "en": 500, ...}, "quantiles":
{"*": [...], "en": [...], ...}}. A language's 1,001 quantiles are the scores below which 0, 0.1,
..., 100% of its documents are; "*" is all documents. 50,000 documents a language put the 10% cut
within 0.3 points of its place (two standard errors).
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

STEPS = 1000
EVERY = "*"


class Cutoffs(NamedTuple):
    """A distribution for each language, and for all documents under EVERY."""

    signal: str
    n: dict[str, int]
    quantiles: dict[str, list[float]]

    def at(self, fraction: float, label: str | None = EVERY) -> float | None:
        """The score below which a fraction of the language's documents are; None for a language
        that the sample does not have."""
        values = self.quantiles.get(label or "")
        return None if values is None else float(np.interp(fraction * STEPS, _PLACES, values))


_PLACES = np.arange(STEPS + 1)


def cutoffs_of(
    signal: str, scores: Sequence[float | None], labels: Sequence[str | None] | None = None
) -> Cutoffs:
    """The distribution of scores, nulls left out; by label where there are labels. Raises
    ValueError where nothing is left."""
    value = np.array([np.nan if score is None else score for score in scores], dtype=np.float64)
    there = ~np.isnan(value)
    if not there.any():
        raise ValueError(f"{signal}: no document of the sample has a score; check the sample")
    groups = {EVERY: value[there]}
    if labels is not None:
        label = np.array([name or "" for name in labels])
        for name in sorted({*label[there].tolist()} - {""}):
            groups[name] = value[there & (label == name)]
    places = _PLACES / STEPS
    return Cutoffs(
        signal,
        {name: len(group) for name, group in groups.items()},
        {name: np.quantile(group, places).tolist() for name, group in groups.items()},
    )


def write_cutoffs(cutoffs: Cutoffs, path: str | Path) -> None:
    text = json.dumps(cutoffs._asdict(), indent=None, sort_keys=True) + "\n"
    Path(path).write_text(text)


@functools.cache
def load_cutoffs(path: str, signal: str) -> Cutoffs:
    """Reads a file of `write_cutoffs`. Raises ValueError where it is none, or of another signal."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; `corpusmill fit cutoffs` makes one")
    try:
        table = json.loads(Path(path).read_text())
        cutoffs = Cutoffs(table["signal"], table["n"], table["quantiles"])
        sound = all(len(values) == STEPS + 1 for values in cutoffs.quantiles.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise ValueError(f"{path}: not a file of cut-offs; `corpusmill fit cutoffs` makes one")
    if cutoffs.signal != signal:
        raise ValueError(f"{path}: cut-offs of {cutoffs.signal}, and {signal} is wanted")
    return cutoffs
