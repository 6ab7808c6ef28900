"""How surprising a text is to an n-gram model of text that is known to be good (CCNet, Wenzek et
al. 2019, arXiv 1911.00359).

Perplexity is 10 ** (-log10 p / (words + lines)) over the lines of the normalised text, each a
sentence with its end, as in CCNet. Words, not SentencePiece pieces, are the units, so that a model
needs no second file; figures are therefore higher than CCNet's, and comparable only under one
model. Scored by kenlm (Heafield 2011) at about 20 MB/s, on the first 20,000 characters of a text: a
book costs what a long page does.
"""

import functools
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kneser_ney import BOS, EOS, check, estimate, write_arpa
from filters.rules import Bound, mark, with_signals

# Scripts written without spaces: each character is a word, as in the house's other words.
SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
SPECIAL = ("<unk>", "<s>", "</s>")


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Removes text that a model of good text finds too surprising, or (boilerplate, repetition) too
    plain."""

    model: str
    """An ARPA file or kenlm binary over words normalised as by `normalized_lines`, such as
    `fit_perplexity` writes."""
    max_perplexity: float = 1500.0
    """Data-Juicer's bound; it was set on SentencePiece units: look at the report's histogram before
    trusting it."""
    min_perplexity: float | None = None
    prefix_chars: int = 20_000
    """Characters at the start of the text that are scored."""

    def __post_init__(self) -> None:
        if self.max_perplexity <= (self.min_perplexity or 0):
            raise ValueError(f"max_perplexity {self.max_perplexity} is not above min_perplexity")
        if self.prefix_chars < 1:
            raise ValueError(f"prefix_chars {self.prefix_chars} is below 1")


def perplexity(docs: pa.Table, config: Perplexity) -> pa.Table:
    """Adds perplexity.perplexity; marks high_perplexity and low_perplexity."""
    values = measure_perplexity(docs["text"], load_kenlm(config.model), config.prefix_chars)
    docs = with_signals(docs, "perplexity", {"perplexity": values})
    bounds = [Bound("high_perplexity", "perplexity.perplexity", most=config.max_perplexity)]
    if config.min_perplexity is not None:
        least = config.min_perplexity
        bounds.append(Bound("low_perplexity", "perplexity.perplexity", least=least))
    return mark(docs, bounds)


def measure_perplexity(texts: pa.ChunkedArray, model: kenlm.Model, prefix_chars: int) -> pa.Array:
    """Perplexity a word (float64); null for a text without words."""
    values: list[float | None] = []
    for text in normalized_lines(pc.utf8_slice_codeunits(texts, 0, prefix_chars)).to_pylist():
        log10, units = 0.0, 0
        for line in (text or "").split("\n"):
            if line:
                log10 += model.score(line)
                units += line.count(" ") + 2  # the words and the end of the sentence
        # 300 digits are beyond any threshold, and an overflow would stop the run.
        values.append(10.0 ** min(-log10 / units, 300.0) if units else None)
    return pa.array(values, pa.float64())


def normalized_lines(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Texts as the model sees them: for fitting and for scoring.

    Lower-cased; every decimal digit of any script is 0 (as in CCNet); what is not a letter, number
    or mark parts words (CCNet keeps punctuation as words of its own); each character of a spaceless
    script is a word. Words are parted by one space, lines by newlines; a line may be empty.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    texts = pc.utf8_lower(texts)
    texts = pc.replace_substring_regex(texts, SPACELESS, r" \0 ")
    texts = pc.replace_substring_regex(texts, r"[^\p{L}\p{N}\p{M}\n]+", " ")
    texts = pc.replace_substring_regex(texts, r" *\n[ \n]*", "\n")
    texts = pc.replace_substring_regex(texts, r"\p{Nd}", "0")
    return pc.utf8_trim_whitespace(texts)


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
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not a kenlm model ({reason})") from None


def fit_perplexity(
    texts: Iterable[pa.Array],
    path: str,
    *,
    order: int = 3,
    vocabulary: int = 50_000,
    prune: tuple[int, ...] | None = None,
) -> dict[str, int]:
    """Fits a modified Kneser-Ney model to good text and writes it to `path` as ARPA, whole or not
    at all.

    vocabulary: the most frequent words that get a probability of their own, equals by text order.
    prune: see `kneser_ney.estimate`; n-grams of order 3 and above that occur once are left out if
    unset, as with lmplz --prune 0 0 1. Returns the number of words, of sentences and of n-grams by
    order. The same texts in the same order give the same bytes.
    """
    prune = prune or (0, 0, 1, 1, 1)[:order]
    check(order, prune)
    tokens, words = _encode(texts)
    n_words, n_sentences = int((tokens > EOS).sum()), int((tokens == BOS).sum())
    if not n_words:
        raise ValueError(f"{path}: no words to fit a perplexity model to; check its sources")
    tokens, words, known = _rank(tokens, words, vocabulary)
    model = estimate(tokens, known, order, prune)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        written = Path(scratch) / target.name
        write_arpa(model, words, written)
        written.replace(target)
    figures = {"words": n_words, "sentences": n_sentences}
    return figures | {f"ngrams_{n}": int(t.kept.sum()) for n, t in enumerate(model.orders, 1)}


def _encode(texts: Iterable[pa.Array]) -> tuple[np.ndarray, pa.Array]:
    """Word ids of all sentences, each `BOS .. EOS`, and the words in order of first appearance,
    SPECIAL first."""
    ids: dict[str, int] = {word: i for i, word in enumerate(SPECIAL)}
    parts = []
    for batch in texts:
        lines = pc.split_pattern(normalized_lines(batch).drop_null(), "\n").flatten()
        lines = lines.filter(pc.not_equal(lines, ""))
        split = pc.split_pattern(lines, " ")
        encoded = split.flatten().dictionary_encode()
        known = [ids.setdefault(word, len(ids)) for word in encoded.dictionary.to_pylist()]
        flat = np.array(known, dtype=np.int64)[encoded.indices.to_numpy()]
        length = pc.list_value_length(split).to_numpy()
        ends = np.cumsum(length)
        # Equal places keep the given order: the end of a sentence comes before the start of the
        # next.
        places = np.concatenate([ends, ends - length])
        parts.append(np.insert(flat, places, np.repeat([EOS, BOS], len(ends))))
    tokens = np.concatenate([np.empty(0, dtype=np.int64), *parts])
    return tokens, pa.array(list(ids), pa.string())


def _rank(
    tokens: np.ndarray, words: pa.Array, vocabulary: int
) -> tuple[np.ndarray, pa.Array, np.ndarray]:
    """Ids by falling frequency, equals by text order; and which are in the vocabulary."""
    n_special = len(SPECIAL)
    counts = np.bincount(tokens, minlength=len(words))
    table = pa.table({"count": counts[n_special:], "word": words.slice(n_special)})
    order = pc.sort_indices(table, [("count", "descending"), ("word", "ascending")])
    order = np.concatenate([np.arange(n_special), order.to_numpy().astype(np.int64) + n_special])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    known = np.arange(len(order)) < vocabulary + n_special
    return rank[tokens], words.take(pa.array(order)), known
