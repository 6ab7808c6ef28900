"""How surprising a text is to an n-gram model of text that is known to be good (CCNet, Wenzek et
al. 2019, arXiv 1911.00359).

Perplexity is 10 ** (-log10 p / (units + sentences)) over the sentences of the normalised text, each
with its end, as in CCNet. Units are words, so that a model needs no second file, or SentencePiece
pieces; figures are comparable only under one model. Scored by kenlm (Heafield 2011), words at about
19 MB/s and pieces at 6, on the first 20,000 characters of a text: a book costs what a long page
does.

There are no canaries: what trips a rule depends on the user's model.
"""

import functools
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import kenlm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.cutoffs import EVERY, load_cutoffs
from filters.perplexity_text import CCNET, Ccnet, Units, load_sentencepiece, sentences
from filters.rules import Bound, at_most, mark, record, with_signals

MAX_PERPLEXITY = 1500.0
BUCKETS = ("head", "middle", "tail")
MAX_LOG10 = 300.0  # beyond any threshold; an overflow would stop the run


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Removes text that a model of good text finds too surprising, or (boilerplate, repetition) too
    plain."""

    model: str | dict[str, str]
    """An ARPA file or kenlm binary, such as `corpusmill fit perplexity` writes; one for each
    language as `lm/{lang}.arpa.bin`, where {lang} is language.label of an earlier step."""
    tokenizer: str | dict[str, str] | None = None
    """The SentencePiece model that the model's text was cut with; or `lm/{lang}.sp.model`."""
    normalization: Literal["words", "ccnet"] = "words"
    """What the model's text was normalised by; see perplexity_text.py."""
    ccnet: Ccnet = CCNET
    sentence: Literal["line", "text"] = "line"
    """What is scored as one sentence. CCNet's published figures are of whole texts."""
    prefix_chars: int = 20_000
    """Characters at the start of the text that are scored."""
    max_perplexity: float | None = None
    """1,500 if neither this nor `cutoffs` is set: Data-Juicer's bound, set on SentencePiece units.
    Look at the report's histogram before trusting it."""
    min_perplexity: float | None = None
    cutoffs: str | None = None
    """A file of `corpusmill fit cutoffs`: documents are then kept by their place among those of
    their language."""
    percentiles: tuple[float, ...] = (30.0, 60.0)
    """cutoffs: where the head and where the middle ends; CCNet's."""
    keep: tuple[Literal["head", "middle", "tail", "all"], ...] = ("head", "middle")
    """cutoffs: which are kept. `all` is CCNet's name for languages without a model or cut-off."""
    max_line_perplexity: float | None = None
    """A sentence above it is a surprising one; measured only if set."""
    max_surprising_fraction: float | None = None
    """Most characters in surprising sentences; needs max_line_perplexity."""
    min_line_units: int = 5
    """Shorter sentences say nothing and are not looked at one by one."""

    def __post_init__(self) -> None:
        if self.prefix_chars < 1 or self.min_line_units < 1:
            raise ValueError("prefix_chars and min_line_units have to be 1 or more")
        if self.cutoffs and not (self.max_perplexity is self.min_perplexity is None):
            raise ValueError("cutoffs and max_perplexity or min_perplexity exclude each other")
        if not self.cutoffs and self.most <= (self.min_perplexity or 0):
            raise ValueError(f"max_perplexity {self.most} is not above min_perplexity")
        if len(self.percentiles) != 2 or not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles {list(self.percentiles)}: two of 0..100, rising")
        if not self.keep:
            raise ValueError('keep is empty; name at least one of "head", "middle", "tail"')
        if self.max_surprising_fraction is not None and self.max_line_perplexity is None:
            raise ValueError("max_surprising_fraction needs max_line_perplexity")

    @property
    def most(self) -> float:
        return MAX_PERPLEXITY if self.max_perplexity is None else self.max_perplexity

    def units(self, label: str) -> Units:
        return Units(
            normalization=self.normalization,
            ccnet=self.ccnet,
            sentence=self.sentence,
            tokenizer=_of_language(self.tokenizer, label),
        )


def perplexity(docs: pa.Table, config: Perplexity) -> pa.Table:
    """Adds perplexity.value and worst_line, and as asked surprising_fraction and bucket; marks
    high_perplexity, low_perplexity, unwanted_bucket, no_language_model and surprising_lines."""
    labels = languages_of(docs, config)
    signals = measure_perplexity(docs["text"], labels, config)
    return decide_perplexity(with_signals(docs, "perplexity", signals), config)


def decide_perplexity(docs: pa.Table, config: Perplexity) -> pa.Table:
    """Marks from the signals alone, and language.label; adds perplexity.bucket with cut-offs."""
    if config.cutoffs:
        docs = _mark_buckets(docs, languages_of(docs, config), config)
    return mark(docs, perplexity_bounds(config))


def perplexity_bounds(config: Perplexity) -> list[Bound]:
    value, least = "perplexity.value", config.min_perplexity
    most = None if config.cutoffs else config.most
    lines = "perplexity.surprising_fraction", "max_surprising_fraction"
    return [
        Bound("high_perplexity", value, most=most, key="max_perplexity"),
        Bound("low_perplexity", value, least=least, key="min_perplexity"),
        at_most(config, "surprising_lines", *lines),
    ]


def languages_of(docs: pa.Table, config: Perplexity) -> list[str | None]:
    """Which model and which cut-offs a document has: its language's where there is one, else
    EVERY. Raises ValueError where models are by language and no step before has told it."""
    if "language.label" in docs.column_names:
        return docs["language.label"].to_pylist()
    if isinstance(config.model, dict):
        raise ValueError('models by {lang} need a step { use = "language" } before this one')
    return [EVERY] * docs.num_rows


def measure_perplexity(
    texts: pa.ChunkedArray, labels: list[str | None], config: Perplexity
) -> dict[str, pa.Array]:
    """value: perplexity a unit; worst_line: of the most surprising sentence of min_line_units or
    more; surprising_fraction: share of the characters in sentences above max_line_perplexity (all
    float64). Null for a text without units or of a language without a model."""
    starts = pc.utf8_slice_codeunits(texts.combine_chunks(), 0, config.prefix_chars)
    # One group a language; one for all where there is one model.
    groups = labels if isinstance(config.model, dict) else [EVERY] * len(starts)
    rows: list[tuple[float | None, float | None, float | None]] = [(None, None, None)] * len(starts)
    for label in sorted({*groups} - {None}):
        path = _of_language(config.model, label)
        tokenizer = _of_language(config.tokenizer, label)
        if path is None or (config.tokenizer and tokenizer is None):
            continue
        mine = np.flatnonzero([group == label for group in groups])
        model = load_kenlm(path)
        for row, text in zip(
            mine, sentences(starts.take(pa.array(mine)), config.units(label)), strict=True
        ):
            rows[row] = _score(text, model, config)
    columns = {"value": [r[0] for r in rows], "worst_line": [r[1] for r in rows]}
    if config.max_line_perplexity is not None:
        columns["surprising_fraction"] = [r[2] for r in rows]
    return {name: pa.array(values, pa.float64()) for name, values in columns.items()}


def _score(
    text: str, model: kenlm.Model, config: Perplexity
) -> tuple[float | None, float | None, float | None]:
    if not text:
        return None, None, None
    log10, units, worst = [], 0, None
    long, surprising = 0, 0
    bound = config.max_line_perplexity
    for line, times in Counter(text.split("\n")).items():  # a repeated line is asked for once
        score = model.score(line)
        n = line.count(" ") + 2  # the units and the end of the sentence
        log10.append(score * times)
        units += n * times
        if n > config.min_line_units:
            surprise = 10.0 ** min(-score / n, MAX_LOG10)
            worst = surprise if worst is None else max(worst, surprise)
            long += len(line) * times
            if bound is not None and surprise > bound:
                surprising += len(line) * times
    value = 10.0 ** min(-math.fsum(log10) / units, MAX_LOG10)
    return value, worst, surprising / long if long else 0.0


def _mark_buckets(docs: pa.Table, labels: list[str | None], config: Perplexity) -> pa.Table:
    """Adds perplexity.bucket. The threshold of a mark is the cut-off that parts the document from
    the nearest bucket that is kept; null where it is the language that is unwanted."""
    cutoffs = load_cutoffs(config.cutoffs or "", "perplexity.value")
    if len(cutoffs.n) == 1:  # a sample whose languages were not told apart
        labels = [EVERY] * len(labels)
    ends = [percent / 100 for percent in config.percentiles]
    cuts = {name: [cutoffs.at(end, name) for end in ends] for name in {*labels}}
    for name in cuts:
        for files in (config.model, config.tokenizer):
            if isinstance(files, dict) and name not in files and name != EVERY:
                cuts[name] = [None]
    wanted = [i for i, name in enumerate(BUCKETS) if name in config.keep]
    value = docs["perplexity.value"].to_numpy(zero_copy_only=False)
    buckets: list[str | None] = []
    threshold = np.full(len(value), np.nan)
    for row, label in enumerate(labels):
        mine = cuts[label]
        if None in mine:
            buckets.append("all")
        elif np.isnan(value[row]):
            buckets.append(None)  # no text to speak of
        else:
            place = int(value[row] >= mine[0]) + int(value[row] >= mine[1])
            buckets.append(BUCKETS[place])
            nearest = min(wanted, key=lambda i: abs(i - place), default=place)
            if nearest != place:
                threshold[row] = mine[nearest if nearest < place else nearest - 1]
    docs = with_signals(docs, "perplexity", {"bucket": pa.array(buckets, pa.string())})
    unwanted = np.array([bucket not in config.keep for bucket in buckets], dtype=bool)
    other = np.array([bucket == "all" for bucket in buckets], dtype=bool)
    none = np.full(len(value), np.nan)
    return record(
        docs,
        [
            ("unwanted_bucket", unwanted & ~other, value, threshold),
            ("no_language_model", unwanted & other, value, none),
        ],
    )


def load_perplexity(config: Perplexity) -> None:
    """Loads every model that the step may need. Raises ValueError where one is no use."""
    for files, load in ((config.model, load_kenlm), (config.tokenizer, load_sentencepiece)):
        for path in files.values() if isinstance(files, dict) else [files]:
            if path:
                load(path)
    if config.cutoffs:
        load_cutoffs(config.cutoffs, "perplexity.value")


def _of_language(files: str | dict[str, str] | None, label: str) -> str | None:
    return files.get(label) if isinstance(files, dict) else files


@functools.cache
def load_kenlm(path: str) -> kenlm.Model:
    """A kenlm model, loaded once a process. Raises ValueError where there is none."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; a kenlm model (ARPA or binary) is needed")
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(path, config)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not a kenlm model ({reason})") from None
