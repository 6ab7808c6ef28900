"""C4's heuristics: lines are removed, then documents (Raffel et al. 2020, arXiv 1910.10683, section
2.2), in the order and with the definitions of datatrove 0.10.1 (C4QualityFilter).

Two versions are published. The first one of the paper, which datatrove follows and with it FineWeb,
wants 3 words in a line and 5 sentences in a document: the defaults here. The journal version and
the code that made C4 (tensorflow_datasets, text/c4_utils.py) want 5 and 3, and know no ' as an end
mark: see configs/presets/c4.toml. C4's list of bad words is the step `keywords`; its removal of
spans of three sentences that were seen before is deduplication.

A document that is marked keeps its whole text, so that removed/ shows what came in; the others lose
the lines. A changed option therefore needs the texts again. Speed on web pages, one core: 55 MB/s,
of which the split of the shortened texts is half; the step after it finds that done.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.c4_lines import COUNTS, JAVASCRIPT, LOREM, POLICY, clean_lines, count_line_sentences
from filters.kernels import character_tables
from filters.keywords import Automaton, automaton
from filters.rules import Bound, at_least, at_most, edited_texts, mark, with_signals
from filters.spans import Spans, spans_of

POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


@dataclass(frozen=True, kw_only=True)
class C4:
    """Which lines go, and which documents."""

    needs_end_mark: bool = True
    """Lines that do not end with one of `end_marks`, or end with ..., are removed. FineWeb left
    this out: it alone removes 30% of the tokens."""
    end_marks: str = ".?!\"'"
    """ASCII characters. The code that made C4 has no '."""
    min_words_per_line: int = 3
    """Words are what white space separates."""
    max_word_chars: int = 1000
    """A line with a longer word is removed."""
    removes_citations: bool = True
    """[1], [], [edit] and [citation needed] are cut out of lines."""
    removes_javascript_lines: bool = True
    policy_phrases: tuple[str, ...] = POLICY_PHRASES
    """A line with one of them, in any case, is removed."""
    max_lorem_ipsum_lines: int = 0
    max_curly_bracket_lines: int = 0
    min_sentences: int = 5
    """Of what is left. 0: a document is marked only if no line is left."""

    def __post_init__(self) -> None:
        for name in ("min_words_per_line", "max_word_chars", "min_sentences"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} is below 0")
        if not self.end_marks.isascii() or (self.needs_end_mark and not self.end_marks):
            raise ValueError(f"end_marks {self.end_marks!r}: give ASCII characters, at least one")
        if not all(phrase.strip() for phrase in self.policy_phrases):
            raise ValueError("policy_phrases: an empty phrase would remove every line")


def c4(docs: pa.Table, config: C4) -> pa.Table:
    """Adds c4.n_lines and ten more signals, removes lines from documents that it does not mark."""
    texts = docs["text"]
    columns, left = measure(texts, config)
    docs = mark(with_signals(docs, "c4", columns), c4_bounds(config))
    edited = pc.if_else(docs["rule"].is_null(), left, texts)
    return docs.set_column(docs.column_names.index("text"), docs.schema.field("text"), edited)


def c4_bounds(config: C4) -> list[Bound]:
    lorem, brackets = "max_lorem_ipsum_lines", "max_curly_bracket_lines"
    found = [
        at_most(config, "lorem_ipsum", "c4.n_lorem_ipsum_lines", lorem),
        at_most(config, "curly_bracket", "c4.n_curly_bracket_lines", brackets),
    ]
    if config.min_sentences:
        return [*found, at_least(config, "too_few_sentences", "c4.n_sentences", "min_sentences")]
    return [*found, Bound("no_line_left", "c4.n_kept_lines", least=1)]


def measure(texts: pa.ChunkedArray, config: C4) -> tuple[dict[str, pa.Array], pa.Array]:
    """int64 columns, null for a null text, and the texts with the lines that are left. Of a line
    that more than one rule would remove only the first counts, in the order of `COUNTS`."""
    spans = spans_of(texts)
    data, offsets, counts = clean_lines(
        *line_arguments(spans),
        character_tables()[0],
        *_phrases(config),
        np.isin(np.arange(256), list(config.end_marks.encode())) & config.needs_end_mark,
        config.min_words_per_line,
        config.max_word_chars,
        config.removes_citations,
        config.removes_javascript_lines,
    )
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    left = edited_texts(data, offsets, absent)
    columns = {name: pa.array(counts[:, i], mask=absent) for i, name in enumerate(COUNTS)}
    n_sentences = count_line_sentences(*_sentence_arguments(spans_of(left)))
    return columns | {"n_sentences": pa.array(n_sentences, mask=absent)}, left


def line_arguments(spans: Spans) -> tuple[Any, ...]:
    """What kernels over lines and their words take first."""
    return (
        spans.data, spans.offsets, spans.token_last, spans.line_first, spans.line_last,
        spans.token_kind, spans.token_chars, spans.line_start, spans.line_end, spans.line_token,
    )  # fmt: skip


def _sentence_arguments(spans: Spans) -> tuple[np.ndarray, ...]:
    lines = spans.line_first, spans.line_last, spans.line_token
    return spans.token_last, *lines, spans.token_kind


def _phrases(config: C4) -> tuple[Any, ...]:
    policy = tuple(phrase.lower() for phrase in config.policy_phrases)
    groups = (LOREM, JAVASCRIPT) + (POLICY,) * len(policy)
    found: Automaton = automaton(("lorem ipsum", "javascript", *policy), groups)
    return found.table, found.byte_class, found.groups
