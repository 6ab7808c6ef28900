"""Finds documents that hold parts of test sets, by n-grams of folded words.

Case, punctuation, line breaks and Unicode forms do not matter: where re-wrapping a text to 8-word
lines took paragraph overlap from .87 to 0 (Marin, issue 6852), it changes nothing here. 13 words
are the choice of GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C), and so is cutting 200
characters around them. Which words: `filters/folded_words.py`; which n-grams of a test set:
`filters/testset_index.py`. Paraphrases and translations are not found.
`benchmarks/decontaminate.py` measures speed, recall by kind of edit, and false removals.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.contamination import Pairs, measure_contamination
from filters.cut_spans import Cut, cut_spans
from filters.rules import record, with_signals
from filters.testset_index import MIN_WORDS, TestSets, load_testsets
from filters.testsets import ItemFields
from pipeline.schema import CONTAMINATION


@dataclass(frozen=True, kw_only=True)
class Decontaminate:
    """Marks documents that share an n-gram with a test item, cuts it out of them, or reports it."""

    against: tuple[str, ...]
    """Test sets: .jsonl (also .gz, .zst, .bz2) or .parquet, an item each row."""
    mode: Literal["mark", "cut", "report"] = "mark"
    """cut: what is shared goes, with `context_chars` around it, and the rest stays as one document;
    report: only the signals and the table contamination/ say what was found."""
    n: int = 13
    """Words in an n-gram, 8 to 20. A shorter question or answer of 8 words or more is matched as a
    whole, with its numbers; a question of 5 to 7 words with its answer after it."""
    question: tuple[str, ...] | None = None
    """Fields that are the question, of all files that `sets` does not name; see ItemFields."""
    answer: tuple[str, ...] | None = None
    """Fields that are the answer."""
    sets: dict[str, ItemFields] = field(default_factory=dict)
    """By file name, what is the question and the answer in that file."""
    ignore_numbers: bool = True
    """An n-gram is of n words that do not begin with a digit, whatever numbers are between them: an
    item with other numbers is found. false: numbers are words like others, as in GPT-3."""
    min_matched_ngrams: int = 1
    """A document is marked where as many of its n-grams, or more, are in the test sets."""
    min_item_fraction: float = 0.0
    """And where it holds this share, or more, of the words of one item."""
    max_items_per_ngram: int = 10
    """An n-gram of more items than this is a template of the test set, and does not count."""
    background: tuple[str, ...] = ()
    """Ordinary text, .parquet or .jsonl with a column `text`, as the documents of an earlier
    ingest: its common n-grams do not count. Read once by each worker, at 100 MB/s."""
    max_background_documents: int = 10
    """An n-gram in more documents of the background than this is common (10: GPT-3)."""
    context_chars: int = 200
    """cut: characters that go on each side, to the next space."""
    min_piece_chars: int = 200
    """cut: what is left between two cuts goes too if it is shorter."""
    max_pieces: int = 10
    """cut: a document that falls into more pieces is marked, or of which none is left."""

    def __post_init__(self) -> None:
        if not self.against:
            raise ValueError("against is empty; name the test sets")
        if not MIN_WORDS <= self.n <= 20:
            raise ValueError(f"n {self.n} is not within {MIN_WORDS}..20")
        if not 0 <= self.min_item_fraction <= 1:
            raise ValueError(f"min_item_fraction {self.min_item_fraction} is not within 0..1")
        for name in ("min_matched_ngrams", "max_items_per_ngram", "max_pieces"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below 1")
        for name in ("max_background_documents", "context_chars", "min_piece_chars"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} is below 0")
        ItemFields(question=self.question, answer=self.answer)


def decontaminate(docs: pa.Table, config: Decontaminate) -> pa.Table:
    """Adds decontaminate.* signals. Rule test_item names as matched_id the item of which most
    n-grams were found; similarity is the share of its words."""
    sets = load_sets(config)
    texts = docs["text"].combine_chunks()
    found = measure_contamination(texts, sets)
    pairs = found.pairs
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    best = _best_pairs(pairs, len(texts))
    fraction = np.where(best >= 0, np.append(pairs.fraction, 0.0)[best], 0.0)
    names = pa.array(sets.names, pa.string()).take(pa.array(pairs.item))
    signals: dict[str, Any] = {
        "n_matched_ngrams": pa.array(found.n_matched_ngrams, mask=absent),
        "matched_fraction": pa.array(found.matched_fraction, mask=absent),
        "item_fraction": pa.array(fraction, mask=absent),
        "items": _lists(pairs.doc, names, len(texts)),
        "fractions": _lists(pairs.doc, pa.array(pairs.fraction), len(texts)),
        "answers": _lists(pairs.doc, pa.array(pairs.answer), len(texts)),
    }
    value = np.where(absent, np.nan, found.n_matched_ngrams)
    holds = (value >= config.min_matched_ngrams) & (fraction >= config.min_item_fraction)
    failing = (np.isnan(value) & (config.mode != "report")) | (holds & (config.mode == "mark"))
    threshold = np.full(len(texts), float(config.min_matched_ngrams))
    verdicts = [("test_item", failing, value, threshold)]
    if config.mode == "cut":
        limits = (config.context_chars, config.min_piece_chars)
        cut = cut_spans(texts, found.span_doc, found.span_start, found.span_end, holds, *limits)
        signals["n_cut_chars"] = pa.array(cut.n_cut_chars, mask=absent)
        docs, verdicts = _with_cuts(docs, cut, config, verdicts)
    docs = with_signals(docs, "decontaminate", signals)
    matched = names.take(pa.array(best, mask=best < 0))
    similarity = np.where(best >= 0, fraction, np.nan)
    return record(docs, verdicts, matched_id=matched, similarity=similarity)


def load_sets(config: Decontaminate) -> TestSets:
    """The index of a config. ValueError for a test set that cannot be used."""
    fields = {"": ItemFields(question=config.question, answer=config.answer), **config.sets}
    return load_testsets(
        tuple(config.against),
        tuple(sorted(fields.items())),
        config.n,
        config.ignore_numbers,
        config.max_items_per_ngram,
        tuple(config.background),
        config.max_background_documents,
    )


def contamination_of(docs: pa.Table, prefix: str = "decontaminate") -> pa.Table:
    """Rows of CONTAMINATION: an item, and a document that holds something of it. `prefix` is that
    of the signals."""
    items = docs[f"{prefix}.items"].combine_chunks()
    columns = ["id", "source", f"{prefix}.matched_fraction", "rule"]
    rows = docs.select(columns).take(pc.list_parent_indices(items))
    return pa.table(
        {
            "item": pc.list_flatten(items),
            "id": rows["id"],
            "source": rows["source"],
            "item_fraction": pc.list_flatten(docs[f"{prefix}.fractions"].combine_chunks()),
            "answer": pc.list_flatten(docs[f"{prefix}.answers"].combine_chunks()),
            "document_fraction": rows[f"{prefix}.matched_fraction"],
            "rule": rows["rule"],
        },
        schema=CONTAMINATION,
    )


def testset_summary(config: Decontaminate) -> dict[str, dict[str, int]]:
    """What can be found, by test set: items, those too short to be found, and those of nothing but
    templates, numbers and common text."""
    sets = load_sets(config)
    answer_words = np.diff(sets.first_word) - sets.question_words
    too_short = (sets.question_words < MIN_WORDS) & (answer_words < MIN_WORDS)
    summary: dict[str, dict[str, int]] = {}
    for name, short, n in zip(sets.names, too_short, sets.item_ngrams, strict=True):
        counts = summary.setdefault(name.rsplit("/", 1)[0], {"items": 0})
        for key, fact in (
            ("items", True),
            ("items_too_short", n == 0 and short),
            ("items_without_ngrams", n == 0 and not short),
        ):
            counts[key] = counts.get(key, 0) + int(fact)
    return summary


def _best_pairs(pairs: Pairs, n_docs: int) -> np.ndarray:
    """For each document the pair with most n-grams found, the first of equals; -1 for none."""
    best = np.full(n_docs, -1)
    order = np.lexsort((pairs.item, -pairs.n_ngrams, pairs.doc))
    doc, at = np.unique(pairs.doc[order], return_index=True)
    best[doc] = order[at]
    return best


def _lists(doc: np.ndarray, values: pa.Array, n_docs: int) -> pa.ListArray:
    """Values as a list for each document, null where it has none."""
    counts = np.bincount(doc, minlength=n_docs)
    ends = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(ends, values, mask=pa.array(counts == 0))


def _with_cuts(
    docs: pa.Table, cut: Cut, config: Decontaminate, verdicts: list[Any]
) -> tuple[pa.Table, list[Any]]:
    """The documents with what is left of their texts, but for those that are marked."""
    nothing = (cut.n_cut_chars > 0) & (cut.n_pieces == 0)
    many = cut.n_pieces > config.max_pieces
    n_pieces = cut.n_pieces.astype(np.float64)
    verdicts = [
        *verdicts,
        ("nothing_left", nothing, n_pieces, np.full(len(many), 1.0)),
        ("too_many_pieces", many, n_pieces, np.full(len(many), float(config.max_pieces))),
    ]
    before = docs["text"].combine_chunks()
    keep = pa.array(nothing | many | (cut.n_cut_chars == 0))
    texts = pc.if_else(keep, before, cut.texts)
    return docs.set_column(docs.column_names.index("text"), docs.field("text"), texts), verdicts


_TEXT = (
    "A ferry leaves the island every forty minutes, carries at most thirty cars and takes an hour "
    "for the crossing; how many cars can reach the mainland before noon if the first one leaves at "
    "six in the morning?"
)
_CLEAN = (
    "The ferry to the island takes cars and leaves every hour from the old pier, which was built "
    "of stone after the storm; ask at the office on the quay for the times."
)
CANARIES: dict[str, tuple[str, str]] = {
    "test_item": (_TEXT, _CLEAN),
    "nothing_left": (_TEXT, _CLEAN),
    "too_many_pieces": (f"{_TEXT} {_CLEAN * 4} " * 11, f"{_TEXT} {_CLEAN * 4} " * 2),
}
"""For each rule a text that trips it and one that passes, under `canary_config`."""


def canary_config(rule: str, path: str) -> Decontaminate:
    """A config under which its canaries show what a rule does; `path` is a test set with the text
    that trips test_item."""
    return Decontaminate(against=(path,), mode="mark" if rule == "test_item" else "cut")
