"""Modified Kneser-Ney n-gram models, estimated here because the kenlm wheel scores but does not
train.

Interpolated, with three discounts an order, as lmplz does it (Heafield et al. 2013, "Scalable
Modified Kneser-Ney Language Model Estimation", section 3; Chen and Goodman 1998). Probabilities are
lmplz's within 1e-6 (log10); 1.6 million words at order 5 take 3.2 s of CPU time, lmplz 2.1.

Memory is bounded: n-grams are counted by sorted runs of `chunk` tokens (about 100 bytes a token
while they are sorted), and all arrays are mapped files in a scratch directory: 12 bytes a token, 62
for each distinct n-gram, and 24 for each of every run while an order is counted. 13 million words
at order 5 took 600 MiB besides those files, and 40 s.

An n-gram is its prefix (an n-gram one shorter), its suffix (the same) and its last word, so every
sum of the paper is one loop over one of these columns. As in lmplz,
- words outside the vocabulary are counted, then their n-grams are pruned: their mass goes to the
  lower order, and at the bottom to the uniform distribution, so that <unk> stays rare however many
  rare words the sample holds;
- discounts come from the unpruned counts; what is pruned (at or below `prune[n - 1]` occurrences)
  leaves its whole count to the backoff weight, so that probabilities still sum to 1.
"""

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from filters.compiled import uncounted

MIN_ORDER, MAX_ORDER = 1, 5
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # where counts-of-counts give none: lmplz --discount_fallback
UNK, BOS, EOS = 0, 1, 2  # ids of <unk>, <s>, </s>; words follow
CHUNK = 1 << 22  # tokens sorted at once


class Order(NamedTuple):
    """The distinct n-grams of one length, one row each, in ascending (prefix, word)."""

    prefix: np.ndarray  # int64 row of w_1..w_{n-1} in the order below; 0 for n = 1
    suffix: np.ndarray  # int64 row of w_2..w_n in the order below; 0 for n = 1
    word: np.ndarray  # int32 id of w_n
    times: np.ndarray  # int64 occurrences; 0 for <s> alone, which is never predicted
    begins: np.ndarray  # bool: w_1 is <s>
    kept: np.ndarray  # bool: in the model, not pruned


class Estimate(NamedTuple):
    """A model: for each order its n-grams, the probability of the last word given the others, and
    the backoff weight."""

    orders: list[Order]
    probability: list[np.ndarray]  # float64 a row; of <s> as a unigram 1, as lmplz has it
    backoff: list[np.ndarray]  # float64 a row; 1 where nothing follows; none for the highest order
    discounts: list[tuple[float, float, float]]


def scratch_array(folder: str | Path, n: int, dtype: type) -> np.ndarray:
    """Zeros in a file of the folder that has no name: they cost disk, not memory, and are gone with
    the array."""
    if not n:
        return np.zeros(0, dtype)
    size = n * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype)


def estimate(
    tokens: np.ndarray,
    known: np.ndarray,
    order: int,
    prune: tuple[int, ...],
    folder: str | Path,
    chunk: int = CHUNK,
) -> Estimate:
    """Estimates a model of `order` from a corpus.

    tokens: int32 ids, sentence after sentence, each one `BOS w_1 .. w_k EOS`. known: bool by id,
    False for the words outside the vocabulary. prune: for each order the number of occurrences up
    to which an n-gram is left out; the first is 0 and they do not fall, so that the prefix and
    suffix of a kept n-gram are kept. folder: for scratch files.
    """
    check(order, prune)
    orders = count_ngrams(tokens, known, order, prune, folder, chunk)
    size = int(known.sum()) - 1  # <s> is given, never predicted
    probability: list[np.ndarray] = []
    backoff: list[np.ndarray] = []
    discounts = []
    lower = np.array([1.0 / size])  # the uniform distribution, below the unigrams
    for n, table in enumerate(orders, 1):
        adjusted = table.times  # at the highest order
        if n < order:
            adjusted = scratch_array(folder, len(table.word), np.int64)
            _adjusted_counts(table.begins, table.times, orders[n].suffix, adjusted)
        discount = discounts_of(adjusted)
        weight = scratch_array(folder, len(lower), np.float64)
        p = scratch_array(folder, len(table.word), np.float64)
        taken = np.array([0.0, *discount])
        _interpolate(table.prefix, table.suffix, adjusted, table.kept, taken, lower, weight, p)
        if n == 1:
            p[BOS] = 1.0
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


# --- counting ----------------------------------------------------------------------------------


def count_ngrams(
    tokens: np.ndarray,
    known: np.ndarray,
    order: int,
    prune: tuple[int, ...],
    folder: str | Path,
    chunk: int,
) -> list[Order]:
    """The distinct n-grams of each order up to `order` that lie within one sentence."""
    n_words = len(known)
    counts = np.zeros(n_words, dtype=np.int64)
    rows = scratch_array(folder, len(tokens), np.int64)
    for start in range(0, len(tokens), chunk):
        counts += np.bincount(tokens[start : start + chunk], minlength=n_words)
        rows[start : start + chunk] = tokens[start : start + chunk]
    counts[BOS] = 0
    none = np.zeros(n_words, dtype=np.int64)
    ids = np.arange(n_words, dtype=np.int32)
    orders = [Order(none, none, ids, counts, ids == BOS, known)]
    for n in range(2, order + 1):
        below = orders[-1]
        keys, suffix, times = _distinct(tokens, rows, n, n_words, folder, chunk)
        prefix = scratch_array(folder, len(keys), np.int64)
        word = scratch_array(folder, len(keys), np.int32)
        begins = scratch_array(folder, len(keys), np.bool_)
        kept = scratch_array(folder, len(keys), np.bool_)
        for start in range(0, len(keys), chunk):
            part = slice(start, start + chunk)
            prefix[part], word[part] = np.divmod(keys[part], n_words)
            begins[part] = below.begins[prefix[part]]
            kept[part] = below.kept[prefix[part]] & known[word[part]]
            kept[part] &= times[part] > prune[n - 1]
        orders.append(Order(prefix, suffix, word, times, begins, kept))
    return orders


def _distinct(
    tokens: np.ndarray, rows: np.ndarray, n: int, n_words: int, folder: str | Path, chunk: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct n-grams as ascending keys `row of the prefix * n_words + last word`, the row of
    each one's suffix, and how often it occurs.

    rows: the row of the (n-1)-gram that starts at each position, -1 where it leaves its sentence;
    turned into those of the n-grams.
    """
    runs = []
    for _, _, keys, suffix in _keys(tokens, rows, n, n_words, chunk):
        found, first, count = np.unique(keys, return_index=True, return_counts=True)
        run = scratch_array(folder, 3 * len(found), np.int64).reshape(3, -1)
        run[:] = found, suffix[first], count
        runs.append(run)
    merged = runs[0] if len(runs) == 1 else _merge(runs, folder, chunk)
    for start, fits, keys, _ in _keys(tokens, rows, n, n_words, chunk):
        found, inverse = np.unique(keys, return_inverse=True)
        block = np.full(len(fits), -1)
        block[fits] = np.searchsorted(merged[0], found)[inverse]
        rows[start : start + len(fits)] = block
    return merged[0], merged[1], merged[2]


def _keys(
    tokens: np.ndarray, rows: np.ndarray, n: int, n_words: int, chunk: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """For each chunk of positions: its start, where an n-gram lies within a sentence, and the keys
    and suffixes of those."""
    end = max(len(tokens) - n + 1, 1)
    for start in range(0, end, chunk):
        stop = min(start + chunk, end)
        last = tokens[start + n - 1 : stop + n - 1].astype(np.int64)
        prefix = rows[start : start + len(last)]
        suffix = rows[start + 1 : start + 1 + len(last)]
        fits = (prefix >= 0) & (suffix >= 0) & (last != BOS)
        if n == 2:
            fits &= prefix != EOS
        yield start, fits, prefix[fits] * n_words + last[fits], suffix[fits]


def _merge(runs: list[np.ndarray], folder: str | Path, chunk: int) -> np.ndarray:
    """Runs of (key, suffix, times), each ascending by key, as one; about `chunk` rows at a time."""
    step = max(chunk // len(runs), 1)
    cuts = np.unique(np.concatenate([run[0, step::step] for run in runs]))
    ends = [[0, *np.searchsorted(run[0], cuts), run.shape[1]] for run in runs]
    # files have holes: what the upper bound has too much takes no place
    merged = scratch_array(folder, 3 * sum(run.shape[1] for run in runs), np.int64).reshape(3, -1)
    n = 0
    for i in range(len(cuts) + 1):
        part = [run[:, end[i] : end[i + 1]] for run, end in zip(runs, ends, strict=True)]
        keys, suffix, times = np.concatenate(part, axis=1)
        found, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        out = merged[:, n : n + len(found)]
        out[0], out[1] = found, suffix[first]
        out[2] = np.bincount(inverse, weights=times, minlength=len(found))
        n += len(found)
    return merged[:, :n]


# --- the model ---------------------------------------------------------------------------------


@uncounted
def _adjusted_counts(begins, times, above_suffix, adjusted):
    """Occurrences after <s>; else the number of different words that come before."""
    for row in range(len(above_suffix)):
        adjusted[above_suffix[row]] += 1
    for row in range(len(begins)):
        if begins[row]:
            adjusted[row] = times[row]


@uncounted
def _interpolate(prefix, suffix, adjusted, kept, taken, lower, weight, p):
    """p: the probability of each n-gram; weight: the mass that each prefix leaves to the order
    below. A pruned n-gram leaves its whole count. The rows of a prefix are neighbours."""
    row = 0
    weight[:] = 1.0
    while row < len(prefix):
        end, total, left = row, 0.0, 0.0
        while end < len(prefix) and prefix[end] == prefix[row]:
            total += adjusted[end]
            left += taken[min(adjusted[end], 3)] if kept[end] else adjusted[end]
            end += 1
        if total > 0:
            weight[prefix[row]] = left / total
        for i in range(row, end):
            seen = adjusted[i] - taken[min(adjusted[i], 3)] if kept[i] else 0.0
            p[i] = seen / max(total, 1.0) + weight[prefix[i]] * lower[suffix[i]]
        row = end


def discounts_of(adjusted: np.ndarray) -> tuple[float, float, float]:
    """D(1), D(2), D(3+) from the counts of counts (Chen and Goodman 1998, eq. 26), or
    FALLBACK_DISCOUNTS.

    The fallback is taken where one of t_1..t_3 is 0 or a discount leaves 0..k: small or artificial
    samples.
    """
    t = np.zeros(6)
    for start in range(0, len(adjusted), CHUNK):
        t += np.bincount(np.minimum(adjusted[start : start + CHUNK], 5), minlength=6)
    if (t[1:4] == 0).any():
        return FALLBACK_DISCOUNTS
    y = t[1] / (t[1] + 2 * t[2])
    d1, d2, d3 = (k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    if not (0 <= d1 <= 1 and 0 <= d2 <= 2 and 0 <= d3 <= 3):
        return FALLBACK_DISCOUNTS
    return float(d1), float(d2), float(d3)
