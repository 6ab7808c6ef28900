"""How much a document looks like text that is known to be good: a fastText classifier, as in GPT-3,
LLaMA and DCLM (Li et al. 2024, arXiv 2406.11794, where it beat every dearer filter that was tried).

Text is read as DCLM reads it (line breaks become spaces), so its published model loads as it is:
min_score 0.018112 keeps its best tenth. Word unigrams and bigrams, 50 MB/s; only the first 20,000
characters are looked at.

There are no canaries: what trips the rules depends on the user's model.
"""

from dataclasses import dataclass

import fasttext
import numpy as np
import pyarrow as pa

from filters.cutoffs import load_cutoffs
from filters.kernels import hash_strings
from filters.language import LABEL, load_fasttext, one_line, predict
from filters.rules import Bound, mark, record, with_signals

PREFIX_CHARS = 20_000
POSITIVE, NEGATIVE = f"{LABEL}hq", f"{LABEL}lq"
MIN_SCORE = 0.5
PARETO_SEED = np.uint64(0x50415245)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Removes documents that a classifier finds unlike its good examples. One of min_score,
    keep_fraction and pareto_alpha decides; min_score 0.5 if none is set."""

    model: str
    """A fastText supervised model (.bin or .ftz), such as `corpusmill fit quality` writes or DCLM
    publishes."""
    positive_label: str = POSITIVE
    """Whose probability is the score; DCLM's is `__label__hq` too, against `__label__cc`."""
    prefix_chars: int = PREFIX_CHARS
    """Characters at the start of the text that are looked at; 0 takes whole texts, as DCLM."""
    min_score: float | None = None
    keep_fraction: float | None = None
    """Keeps the best part of what the sample in `cutoffs` stands for: 0.1 is DCLM's best tenth."""
    cutoffs: str | None = None
    """The distribution of scores in a sample: a file of `corpusmill fit quality` or `fit
    cutoffs`."""
    pareto_alpha: float | None = None
    """Keeps a document if a Pareto draw is above 1 - score, so that some of the low scores stay: 9
    in GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix A). The draw is a hash of the id."""
    pareto_seed: int = 0

    def __post_init__(self) -> None:
        ways = ("min_score", "keep_fraction", "pareto_alpha")
        chosen = [name for name in ways if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise ValueError(f"{chosen[0]} and {chosen[1]} exclude each other")
        for name in ("min_score", "keep_fraction"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} {value} is not within 0..1")
        if self.pareto_alpha is not None and self.pareto_alpha <= 0:
            raise ValueError(f"pareto_alpha {self.pareto_alpha} is not above 0")
        if (self.keep_fraction is None) != (self.cutoffs is None):
            raise ValueError("keep_fraction and cutoffs need each other")
        if self.prefix_chars < 0:
            raise ValueError(f"prefix_chars {self.prefix_chars} is below 0")


def quality(docs: pa.Table, config: Quality) -> pa.Table:
    """Adds quality.score; marks low_quality, or not_drawn under Pareto sampling."""
    model = load_quality(config)
    lines = one_line(docs["text"], config.prefix_chars or None)
    scores = measure_quality(lines, model, config.positive_label)
    return decide_quality(with_signals(docs, "quality", {"score": scores}), config)


def decide_quality(docs: pa.Table, config: Quality) -> pa.Table:
    """Marks from the score alone."""
    if config.pareto_alpha is not None:
        return _mark_undrawn(docs, config.pareto_alpha, config.pareto_seed)
    return mark(docs, quality_bounds(config))


def quality_bounds(config: Quality) -> list[Bound]:
    """Reads the cut-offs where a share is to be kept; off under Pareto sampling."""
    if config.pareto_alpha is not None:
        return [Bound("low_quality", "quality.score", key="min_score")]
    key, least = "min_score", MIN_SCORE if config.min_score is None else config.min_score
    if config.keep_fraction is not None:
        cutoffs = load_cutoffs(config.cutoffs or "", "quality.score")
        key, least = "keep_fraction", cutoffs.at(1 - config.keep_fraction) or 0.0
    return [Bound("low_quality", "quality.score", least=least, key=key)]


def load_quality(config: Quality) -> "fasttext.FastText._FastText":
    """The model. Raises ValueError for a label or cut-offs that it does not have."""
    model = load_fasttext(config.model)
    labels = model.get_labels()
    if config.positive_label not in labels:
        known = ", ".join(labels[:5])
        raise ValueError(
            f"positive_label {config.positive_label!r}: not in {config.model}. Known: {known}"
        )
    if config.cutoffs:
        load_cutoffs(config.cutoffs, "quality.score")
    return model


def measure_quality(
    lines: pa.Array, model: "fasttext.FastText._FastText", positive_label: str
) -> pa.Array:
    """The probability of the label (float64) for texts made one line by `one_line`; null for a
    blank one."""
    scores = [
        min(dict(every).get(positive_label, 0.0), 1.0) if every else None
        for every in predict(model, lines, k=-1)
    ]
    return pa.array(scores, pa.float64())


def _mark_undrawn(docs: pa.Table, alpha: float, seed: int) -> pa.Table:
    """Keeps where X > 1 - score for X of numpy.random.pareto(alpha), whose distribution function is
    1 - (1 + x) ** -alpha. The threshold of a mark is the least score that this draw keeps."""
    value = docs["quality.score"].to_numpy(zero_copy_only=False)
    draw = hash_strings(docs["id"], PARETO_SEED ^ np.uint64(seed))
    uniform = ((draw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53  # within (0, 1)
    least = 1.0 - (uniform ** (-1.0 / alpha) - 1.0)
    return record(docs, [("not_drawn", ~(value > least), value, least)])
