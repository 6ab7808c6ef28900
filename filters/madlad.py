"""Documents with too many questionable sentences: MADLAD-400's rules as Dolma 3 applies them.

Kudugunta et al. 2023 (arXiv 2309.04662, section 2.4) call a document's sentence questionable for
five reasons and drop documents with more than 20% of them, or with fewer than 5 sentences; Dolma 3
(allenai/datamap-rs, madlad400_*) keeps rules 2 and 5, and drops from 20% on. Rule 1, a sentence in
another language than its document, is the mixed-language signal of the step `language`. Rule 5
wants the list of "cursed" substrings, which is the user's file (a substring a line, case kept; the
patterns at the end of the published file are not substrings: leave them out). Without a file that
rule finds nothing. Speed on web pages, one core, after the split: 150 MB/s.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from filters.characters import UPPER, character_traits
from filters.kernels import SPACE, character_tables, decode
from filters.keywords import automaton, read_phrases
from filters.rules import Bound, at_least, mark, quotient, with_signals
from filters.spans import spans_of
from filters.tokens import KIND, SYMBOL

LIST_CASE, LENGTH, TECHNICAL, CURSED = range(4)
RULES = (2, 3, 4, 5)  # their published numbers


@dataclass(frozen=True, kw_only=True)
class Madlad:
    rules: tuple[int, ...] = (2, 5)
    """2: of 12 words or more over half start with a capital; 3: under 20 or over 500 characters;
    4: over a fifth of the characters are digits or {}+/()>; 5: holds a listed substring."""
    cursed: tuple[str, ...] = ()
    """Text files of substrings, one a line, for rule 5."""
    min_sentences: int = 5
    max_questionable_fraction: float = 0.2
    """Exclusive: a document goes when its fraction reaches it."""

    def __post_init__(self) -> None:
        if not self.rules or not set(self.rules) <= set(RULES):
            raise ValueError(f"rules {self.rules}: choose from {RULES}")
        if not 0 < self.max_questionable_fraction <= 1:
            raise ValueError(
                f"max_questionable_fraction {self.max_questionable_fraction} is not within 0..1"
            )


def madlad(docs: pa.Table, config: Madlad) -> pa.Table:
    """Adds madlad.n_sentences, madlad.questionable_fraction and each rule's own fraction."""
    cursed = load_madlad(config)
    docs = with_signals(docs, "madlad", measure(docs["text"], config.rules, cursed))
    return mark(docs, madlad_bounds(config))


def madlad_bounds(config: Madlad) -> list[Bound]:
    key = "max_questionable_fraction"
    most = np.nextafter(config.max_questionable_fraction, 0)
    rule, signal = "too_many_questionable_sentences", "madlad.questionable_fraction"
    return [
        at_least(config, "too_few_sentences", "madlad.n_sentences", "min_sentences"),
        Bound(rule, signal, most=most, key=key),
    ]


def load_madlad(config: Madlad) -> tuple[str, ...]:
    """The listed substrings. Raises ValueError for a list without any."""
    return read_phrases(config.cursed, folds_case=False)


def measure(
    texts: pa.ChunkedArray, rules: tuple[int, ...], cursed: tuple[str, ...]
) -> dict[str, pa.Array]:
    """Columns n_sentences (int64) and the fractions of sentences (float64) that `rules` together
    and each of the four question; null for a null text, 0 where there is no sentence."""
    spans = spans_of(texts)
    chosen = sum(1 << RULES.index(rule) for rule in rules)
    found = automaton(cursed, folds_case=False)
    counts = _counts(
        *spans[:2], spans.token_first, spans.token_last, spans.token_start, spans.token_kind,
        character_tables()[0], character_traits(), found.table, found.byte_class, found.groups,
        chosen,
    )  # fmt: skip
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    n = np.maximum(counts[:, 0], 1)
    names = ("questionable", "list_case", "odd_length", "technical", "cursed")
    fractions = {
        f"{name}_fraction": quotient(counts[:, 1 + i], n, absent) for i, name in enumerate(names)
    }
    return {"n_sentences": pa.array(counts[:, 0], mask=absent), **fractions}


@njit(cache=True, nogil=True, inline="always")
def _is_technical(code: int) -> bool:
    return 0x30 <= code <= 0x39 or code in (0x7B, 0x7D, 0x2B, 0x2F, 0x28, 0x29, 0x3E)


@njit(cache=True, nogil=True)
def _counts(
    data: np.ndarray,
    offsets: np.ndarray,
    token_first: np.ndarray,
    token_last: np.ndarray,
    token_start: np.ndarray,
    kinds: np.ndarray,
    classes: np.ndarray,
    traits: np.ndarray,
    table: np.ndarray,
    byte_class: np.ndarray,
    groups: np.ndarray,
    chosen: int,
) -> np.ndarray:
    """int64[documents, 6]: sentences, those that a chosen rule questions, and those of each rule.
    A sentence ends at . ! or ? before white space, which are not part of it."""
    counts = np.zeros((len(offsets) - 1, 6), np.int64)
    for d in range(len(counts)):
        base, end = offsets[d], offsets[d + 1]
        at, token = base, token_first[d]
        while at < end:
            n_chars = n_technical = n_visible = n_marks = state = cursed = 0
            while at < end:
                code, width = decode(data, at, end)
                space = classes[code] == SPACE
                if space and n_marks:
                    break
                n_marks = n_marks + 1 if code in (0x2E, 0x21, 0x3F) else 0
                for k in range(at, at + width):
                    state = table[state, byte_class[data[k]]]
                    cursed |= groups[state]
                n_chars += 1
                n_technical += _is_technical(code)
                n_visible += not space and n_marks == 0
                at += width
            n_words = n_capitals = 0
            while token < token_last[d] and base + token_start[token] < at:
                if kinds[token] & KIND != SYMBOL:
                    n_words += 1
                    start = base + token_start[token]
                    n_capitals += traits[decode(data, start, end)[0]] & UPPER != 0
                token += 1
            n_chars -= n_marks if at < end else 0
            while at < end and classes[decode(data, at, end)[0]] == SPACE:
                at += decode(data, at, end)[1]
            if not n_visible:
                continue
            found = (n_words >= 12 and 2 * n_capitals > n_words) << LIST_CASE
            found |= (n_chars < 20 or n_chars > 500) << LENGTH
            found |= (5 * n_technical > n_chars) << TECHNICAL
            found |= (cursed != 0) << CURSED
            counts[d, 0] += 1
            counts[d, 1] += found & chosen != 0
            for rule in range(4):
                counts[d, 2 + rule] += found >> rule & 1
    return counts
