"""RefinedWeb's line-wise corrections (Penedo et al. 2023, arXiv 2306.01116, section 3.2, appendix
G.2), with the definitions of DCLM, who reproduced them (dclm_baseline_refinedweb.yaml).

Lines go that are mostly capitals, only digits, a counter (3 likes) or a single word; short lines
lose "items in cart", a "Read more..." at their end and a "Sign-in" at their start. A document that
would lose more than 5% of its words is marked instead, and keeps its whole text. DCLM writes the
second phrase as a pattern, whose points match any character; here they are points. Words are those
of `spans.split` without punctuation. Speed on web pages, one core, after the split: 275 MB/s.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.c4 import line_arguments
from filters.characters import character_traits
from filters.kernels import character_tables, text_buffers
from filters.refinedweb_lines import ANYWHERE, COUNTS, END, START, correct_lines, pair_traits
from filters.rules import Bound, at_most, edited_texts, mark, quotient, with_signals
from filters.spans import spans_of, split
from filters.tokens import KIND, SYMBOL

COUNTERS = (
    "likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes",
    "downvotes", "downloads", "views", "followers",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RefinedWeb:
    """Which lines go (buttons, counters, capitals), and the documents that lose too many."""

    max_uppercase_fraction: float = 0.5
    """Of a line's characters; a line with more is removed."""
    max_digit_fraction: float = 0.999999
    """Of a line's characters: in effect, lines of digits alone are removed."""
    counters: tuple[str, ...] = COUNTERS
    """A line that is a number and one of these is removed."""
    min_words_per_line: int = 2
    """Words are what white space separates."""
    phrases: tuple[str, ...] = ("items in cart",)
    """Cut out of lines of at most `phrase_line_words` words, in any case, as are the two below."""
    end_phrases: tuple[str, ...] = ("read more...",)
    start_phrases: tuple[str, ...] = ("sign-in",)
    phrase_line_words: int = 10
    max_removed_word_fraction: float = 0.05

    def __post_init__(self) -> None:
        for name in ("max_uppercase_fraction", "max_digit_fraction", "max_removed_word_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not within 0..1")
        for name in ("counters", "phrases", "end_phrases", "start_phrases"):
            if not all(text and text.isascii() for text in getattr(self, name)):
                raise ValueError(f"{name}: give ASCII phrases, none of them empty")


def refinedweb(docs: pa.Table, config: RefinedWeb) -> pa.Table:
    """Adds refinedweb.n_words and seven more signals, corrects documents that it does not mark."""
    texts = docs["text"]
    columns, left = measure(texts, config)
    docs = with_signals(docs, "refinedweb", columns)
    docs = mark(docs, refinedweb_bounds(config))
    edited = pc.if_else(docs["rule"].is_null(), left, texts)
    return docs.set_column(docs.column_names.index("text"), docs.schema.field("text"), edited)


def refinedweb_bounds(config: RefinedWeb) -> list[Bound]:
    signal, key = "refinedweb.removed_word_fraction", "max_removed_word_fraction"
    return [
        Bound("no_word", "refinedweb.n_words", least=1),
        at_most(config, "too_many_words_removed", signal, key),
    ]


def measure(texts: pa.ChunkedArray, config: RefinedWeb) -> tuple[dict[str, pa.Array], pa.Array]:
    """int64 columns and removed_word_fraction (float64; 0 for a text without words), null for a
    null text; and the texts as corrected."""
    spans = spans_of(texts)
    data, offsets, counts = correct_lines(
        *line_arguments(spans),
        spans.line_chars,
        character_tables()[0],
        character_traits(),
        pair_traits(),
        *text_buffers(pa.array([c.lower() for c in config.counters], pa.string())),
        *_phrases(config),
        config.max_uppercase_fraction,
        config.max_digit_fraction,
        config.min_words_per_line,
        config.phrase_line_words,
    )
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    left = edited_texts(data, offsets, absent)
    columns = {name: pa.array(counts[:, i], mask=absent) for i, name in enumerate(COUNTS)}
    removed = quotient(counts[:, 1], np.maximum(counts[:, 0], 1), absent)
    return columns | {"removed_word_fraction": removed}, left


def _phrases(config: RefinedWeb) -> tuple[Any, ...]:
    """(data, offsets, place, words) of all phrases, lower-cased."""
    placed = ((config.phrases, ANYWHERE), (config.end_phrases, END), (config.start_phrases, START))
    flat = [(phrase.lower(), place) for phrases, place in placed for phrase in phrases]
    data, offsets = text_buffers(pa.array([phrase for phrase, _ in flat], pa.string()))
    words = split(data, offsets)
    is_word = np.concatenate([[0], np.cumsum(words.token_kind & KIND != SYMBOL)])
    n_words = is_word[words.token_last] - is_word[words.token_first]
    return data, offsets, np.array([place for _, place in flat], np.int64), n_words
