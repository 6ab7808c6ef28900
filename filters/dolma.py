"""Runs of the same thing, as Dolma and OLMo 2 remove them.

- a sequence of 1 to 13 words that follows itself: OLMo 2 (arXiv 2501.00656, section 2.4; the same
  for the later mixes) drops what holds 32 or more in a row, counted on the tokens of its BPE
  vocabulary; here they are words and punctuation, so a run of the same subwords within one word
  shows in the second rule only;
- a group of up to 13 characters that follows itself four times or more, white space aside: Dolma
  1.6 drops documents with such a run of 100 characters or more (its pattern bounds no group's
  length, and takes quadratic time).

Speed on web pages, one core, after the split: 60 MB/s.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.compiled import kernel, uncounted
from filters.kernels import SPACE, character_tables, decode
from filters.rules import Bound, mark, with_signals
from filters.spans import Spans, spans_of

MAX_PERIOD = 13
MIN_TIMES = 4  # of a group of characters, for a run


@dataclass(frozen=True, kw_only=True)
class DolmaRepetition:
    """Does it say the same few words, or characters, again and again in a row?"""

    max_repeats: int = 31
    """Times that 1 to 13 words stand in a row."""
    max_run_chars: int = 99
    """Characters, without white space, of a group that is repeated four times or more."""

    def __post_init__(self) -> None:
        if self.max_repeats < 1:
            raise ValueError(f"max_repeats {self.max_repeats} is below 1, which any word reaches")
        if self.max_run_chars < 0:
            raise ValueError(f"max_run_chars {self.max_run_chars} is below 0")


def dolma_repetition(docs: pa.Table, config: DolmaRepetition) -> pa.Table:
    """Adds dolma.n_repeats and dolma.n_run_chars; marks the first rule failed."""
    docs = with_signals(docs, "dolma", measure(docs["text"]))
    return mark(docs, dolma_repetition_bounds(config))


def dolma_repetition_bounds(config: DolmaRepetition) -> list[Bound]:
    repeats, chars = config.max_repeats, config.max_run_chars
    return [
        Bound("too_many_repeats", "dolma.n_repeats", most=repeats, key="max_repeats"),
        Bound("long_run_of_characters", "dolma.n_run_chars", most=chars, key="max_run_chars"),
    ]


def measure(texts: pa.ChunkedArray) -> dict[str, pa.Array]:
    """int64 columns, null for a null text; n_repeats is 0 for a text without words, else 1 at
    least."""
    spans: Spans = spans_of(texts)
    repeats = _repeats(spans.token_hash, spans.token_first, spans.token_last)
    runs = _char_runs(spans.data, spans.offsets, character_tables()[0])
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    return {
        "n_repeats": pa.array(repeats, mask=absent),
        "n_run_chars": pa.array(runs, mask=absent),
    }


@uncounted
def _longest_match(values: np.ndarray, period: int) -> int:
    """The most values in a row that equal the one `period` before them."""
    longest = run = 0
    for i in range(period, len(values)):
        run = run + 1 if values[i] == values[i - period] else 0
        longest = max(longest, run)
    return longest


@kernel
def _repeats(hashes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    counts = np.zeros(len(first), np.int64)
    for d in range(len(counts)):
        words = hashes[first[d] : last[d]]
        counts[d] = len(words) > 0
        for period in range(1, min(MAX_PERIOD, len(words)) + 1):
            counts[d] = max(counts[d], (_longest_match(words, period) + period) // period)
    return counts


@kernel
def _char_runs(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    longest = np.zeros(len(offsets) - 1, np.int64)
    codes = np.empty(max(np.diff(offsets).max(), 0) if len(offsets) > 1 else 0, np.int32)
    for d in range(len(longest)):
        at, n = offsets[d], 0
        while at < offsets[d + 1]:
            code, width = decode(data, at, offsets[d + 1])
            at += width
            if classes[code] != SPACE:
                codes[n] = code
                n += 1
        for period in range(1, MAX_PERIOD + 1):
            run = _longest_match(codes[:n], period) + period
            if run >= MIN_TIMES * period:
                longest[d] = max(longest[d], run)
    return longest
