"""Modified Kneser-Ney n-gram models, estimated here because the kenlm wheel scores but does not
train.

Interpolated, with three discounts an order, as lmplz does it (Heafield et al. 2013, "Scalable
Modified Kneser-Ney Language Model Estimation", section 3; Chen and Goodman 1998). In memory, on
sorted numpy columns: about 2 s and 0.3 GB for a million words at order 3, where lmplz streams from
disk. Meant for samples of some tens of megabytes.

An n-gram is its prefix (an n-gram one shorter), its suffix (the same) and its last word, so every
sum of the paper is one bincount over one of these columns. As in lmplz,
- words outside the vocabulary are counted, then their n-grams are pruned: their mass goes to the
  lower order, and at the bottom to the uniform distribution, so that <unk> stays rare however many
  rare words the sample holds;
- discounts come from the unpruned counts; what is pruned (at or below `prune[n - 1]` occurrences)
  leaves its whole count to the backoff weight, so that probabilities still sum to 1.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MIN_ORDER, MAX_ORDER = 2, 5  # kenlm reads no unigram models
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # where counts-of-counts give none: lmplz --discount_fallback
UNK, BOS, EOS = 0, 1, 2  # ids of <unk>, <s>, </s>; words follow
WRITE_ROWS = 1 << 20  # n-grams made into text at once


class Order(NamedTuple):
    """The distinct n-grams of one length, one row each, in ascending (prefix, word)."""

    prefix: np.ndarray  # int64 row of w_1..w_{n-1} in the order below; 0 for n = 1
    suffix: np.ndarray  # int64 row of w_2..w_n in the order below; 0 for n = 1
    word: np.ndarray  # int64 id of w_n
    times: np.ndarray  # int64 occurrences; 0 for <s> alone, which is never predicted
    begins: np.ndarray  # bool: w_1 is <s>
    kept: np.ndarray  # bool: in the model, not pruned


class Estimate(NamedTuple):
    """A model: for each order its n-grams, the probability of the last word given the others, and
    the backoff weight."""

    orders: list[Order]
    probability: list[np.ndarray]  # float64 a row; of <s> as a unigram 0
    backoff: list[np.ndarray]  # float64 a row; 1 where nothing follows; none for the highest order
    discounts: list[tuple[float, float, float]]


def estimate(tokens: np.ndarray, known: np.ndarray, order: int, prune: tuple[int, ...]) -> Estimate:
    """Estimates a model of `order` from a corpus.

    tokens: int64 ids, sentence after sentence, each one `BOS w_1 .. w_k EOS`. known: bool by id,
    False for the words outside the vocabulary. prune: for each order the number of occurrences up
    to which an n-gram is left out; the first is 0 and they do not fall, so that the prefix and
    suffix of a kept n-gram are kept.
    """
    check(order, prune)
    orders = count_ngrams(tokens, known, order, prune)
    size = int(known.sum()) - 1  # <s> is given, never predicted
    probability: list[np.ndarray] = []
    backoff: list[np.ndarray] = []
    discounts = []
    lower = np.array([1.0 / size])  # the uniform distribution, below the unigrams
    for n, table in enumerate(orders, 1):
        above = orders[n] if n < order else None
        adjusted = adjusted_counts(table, above)
        discount = discounts_of(adjusted)
        seen, weight = _split_mass(table, adjusted, discount, len(lower))
        p = seen + weight[table.prefix] * lower[table.suffix]
        if n == 1:
            p[BOS] = 0.0
        else:
            backoff.append(weight)
        probability.append(p)
        discounts.append(discount)
        lower = p
    return Estimate(orders, probability, backoff, discounts)


def check(order: int, prune: tuple[int, ...]) -> None:
    """Raises ValueError for an order or thresholds that cannot be estimated."""
    if not MIN_ORDER <= order <= MAX_ORDER:
        raise ValueError(f"order {order} is not within {MIN_ORDER}..{MAX_ORDER}")
    if len(prune) != order or prune[0] != 0 or list(prune) != sorted(prune):
        raise ValueError(f"prune {prune}: needs {order} numbers, the first 0 and none falling")


def count_ngrams(
    tokens: np.ndarray, known: np.ndarray, order: int, prune: tuple[int, ...]
) -> list[Order]:
    """The distinct n-grams of each order up to `order` that lie within one sentence."""
    n_words = len(known)
    counts = np.bincount(tokens, minlength=n_words)
    counts[BOS] = 0
    none = np.zeros(n_words, dtype=np.int64)
    ids = np.arange(n_words)
    orders = [Order(none, none, ids, counts, ids == BOS, known)]
    rows = tokens  # the (n-1)-gram that starts at each position; -1 where it leaves its sentence
    for n in range(2, order + 1):
        below = orders[-1]
        last = tokens[n - 1 :]
        prefix, suffix = rows[: len(last)], rows[1 : len(last) + 1]
        fits = (prefix >= 0) & (suffix >= 0) & (last != BOS)
        if n == 2:
            fits &= prefix != EOS
        keys, first, inverse, count = np.unique(
            prefix[fits] * n_words + last[fits],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        rows = np.full(len(last), -1, dtype=np.int64)
        rows[fits] = inverse
        prefix, suffix = prefix[fits][first], suffix[fits][first]
        word = keys % n_words
        kept = below.kept[prefix] & known[word] & (count > prune[n - 1])
        orders.append(Order(prefix, suffix, word, count, below.begins[prefix], kept))
    return orders


def adjusted_counts(table: Order, above: Order | None) -> np.ndarray:
    """Occurrences at the highest order and after <s>; else the number of different words that come
    before (int64)."""
    if above is None:
        return table.times
    before = np.bincount(above.suffix, minlength=len(table.word))
    return np.where(table.begins, table.times, before)


def discounts_of(adjusted: np.ndarray) -> tuple[float, float, float]:
    """D(1), D(2), D(3+) from the counts of counts (Chen and Goodman 1998, eq. 26), or
    FALLBACK_DISCOUNTS.

    The fallback is taken where one of t_1..t_4 is 0 or a discount leaves 0..k: small or artificial
    samples.
    """
    t = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].astype(np.float64)
    if (t[1:] == 0).any():
        return FALLBACK_DISCOUNTS
    y = t[1] / (t[1] + 2 * t[2])
    d1, d2, d3 = (k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    if not (0 <= d1 <= 1 and 0 <= d2 <= 2 and 0 <= d3 <= 3):
        return FALLBACK_DISCOUNTS
    return float(d1), float(d2), float(d3)


def _split_mass(
    table: Order, adjusted: np.ndarray, discount: tuple[float, float, float], n_prefixes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The discounted probability of each n-gram (0 if pruned), and the mass that each prefix leaves
    to the order below."""
    taken = np.array([0.0, *discount])[np.minimum(adjusted, 3)]
    taken = np.where(table.kept, taken, adjusted)
    total = np.bincount(table.prefix, weights=adjusted, minlength=n_prefixes)
    left = np.bincount(table.prefix, weights=taken, minlength=n_prefixes)
    weight = np.divide(left, total, out=np.ones(n_prefixes), where=total > 0)
    return (adjusted - taken) / np.maximum(total, 1.0)[table.prefix], weight


def write_arpa(model: Estimate, words: pa.Array, path: str | Path) -> None:
    """Writes the model as ARPA text. words: the text of each id, <unk>, <s> and </s> first."""
    with Path(path).open("wb") as out:
        out.write(b"\\data\\\n")
        for n, table in enumerate(model.orders, 1):
            out.write(b"ngram %d=%d\n" % (n, table.kept.sum()))
        for n, table in enumerate(model.orders, 1):
            out.write(b"\n\\%d-grams:\n" % n)
            backoff = model.backoff[n - 1] if n < len(model.orders) else None
            rows = np.flatnonzero(table.kept)
            for start in range(0, len(rows), WRITE_ROWS):
                out.write(_arpa_lines(model, n, rows[start : start + WRITE_ROWS], words, backoff))
        out.write(b"\n\\end\\\n")


def _arpa_lines(
    model: Estimate, n: int, rows: np.ndarray, words: pa.Array, backoff: np.ndarray | None
) -> bytes:
    parts = [_log10(model.probability[n - 1][rows]), ngram_text(model, n, rows, words)]
    if backoff is not None:
        parts.append(_log10(backoff[rows]))
    lines = pc.binary_join_element_wise(*parts, "\t")
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "\n")
    return joined[0].as_buffer().to_pybytes() + b"\n"


def ngram_text(model: Estimate, n: int, rows: np.ndarray, words: pa.Array) -> pa.Array:
    """The words of n-grams, parted by spaces."""
    columns = []
    for length in range(n, 0, -1):
        columns.append(words.take(pa.array(model.orders[length - 1].word[rows])))
        rows = model.orders[length - 1].prefix[rows]
    return pc.binary_join_element_wise(*reversed(columns), " ")


def _log10(values: np.ndarray) -> pa.Array:
    """As text with the precision of the float32 that kenlm keeps; -99 for zero, by the convention
    of ARPA files."""
    with np.errstate(divide="ignore"):
        logs = np.where(values > 0, np.log10(values), -99.0)
    return pa.array(logs.astype(np.float32)).cast(pa.string())
