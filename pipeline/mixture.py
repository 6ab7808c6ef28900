"""Which documents a training run sees, how often and in which order, from source weights and a
token budget.

Everything follows from a 64-bit hash of (id, seed), so nothing is sorted or held globally. The
hash's upper 16 bits are a document's *bucket*. A part of `tokens/` contributes one histogram of its
tokens over the 65,536 buckets (512 KiB); the sum over parts says how far into each source a budget
reaches: some full epochs, then the buckets below a limit. Each task then chooses its documents
alone.

Nested: a smaller budget takes a prefix, in the order below, of what a larger one takes; a further
source leaves the order within the others. The price: a source is cut between buckets, so it gets up
to one bucket's tokens too much, 1/65536 of it or a document. A document comes again about an epoch
after it came last, never sooner by chance.

Repeating up to 4 epochs costs little against fresh data (Muennighoff et al. 2023, arXiv 2305.16264,
section 6).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.kernels import hash_strings

BUCKET_BITS = 16
BUCKETS = 1 << BUCKET_BITS
_INNER_BITS = 64 - BUCKET_BITS
KEY_BITS = 60  # of choose_documents; the surplus of the last bucket lies above 2^60
_SALT = 0x4D49585455524553


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Sources by weight, up to a budget of tokens."""

    sequence_length: int = 2048
    """Tokens in a packed row."""
    tokens: int = 20_000_000
    """The budget: tokens of documents over all sources, repeats included."""
    weights: dict[str, float]
    """Share of the budget of each source, in tokens; they sum to 1. A source without a weight is
    left out."""
    max_epochs: float = 4.0
    """How often a source may be repeated; more is an error, not a smaller mixture."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sequence_length < 2:
            raise ValueError(f"sequence_length: {self.sequence_length} is below 2")
        if self.tokens < 1:
            raise ValueError(f"tokens: {self.tokens} is below 1")
        if not self.max_epochs > 0:
            raise ValueError(f"max_epochs: {self.max_epochs} is not above 0")
        if not self.weights:
            raise ValueError("weights: none given; name a share for each source, summing to 1")
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"weights.{name}: {weight} is not a number of at least 0")
        total = math.fsum(self.weights.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"weights: they sum to {total:g}, not 1; divide each by {total:g}")


class SourcePlan(NamedTuple):
    """A row of the mixture's table: what one source gives. JSON by `_asdict()`."""

    source: str
    weight: float
    available: int  # tokens in one epoch
    wanted: int  # tokens: weight x budget
    epochs: float  # wanted / available
    full_epochs: int  # all documents so often,
    limit: int  # and once more those in buckets below this one
    tokens: int  # what that comes to


def bucket_histogram(
    ids: pa.Array | pa.ChunkedArray, n_tokens: np.ndarray, seed: int
) -> np.ndarray:
    """Tokens by bucket of these documents, int64 [65536]. Histograms of parts are added up."""
    bucket = (_hash(ids, seed) >> np.uint64(_INNER_BITS)).astype(np.int64)
    histogram = np.zeros(BUCKETS, np.int64)
    np.add.at(histogram, bucket, np.asarray(n_tokens, np.int64))
    return histogram


def plan_mixture(histograms: Mapping[str, np.ndarray], config: Mixture) -> dict[str, SourcePlan]:
    """The plan of each source with a weight, from the summed histogram of every source there is.

    Raises ValueError for a weight of an unknown source, and for a budget that the epochs allowed
    cannot fill.
    """
    for name in config.weights:
        if name not in histograms:
            known = ", ".join(sorted(histograms))
            raise ValueError(f"mixture.weights.{name}: no such source; there are {known}")
    weights = {name: weight for name, weight in config.weights.items() if weight > 0}
    available = {name: int(histograms[name].sum()) for name in weights}
    most = {name: available[name] * config.max_epochs / weights[name] for name in weights}
    tightest = min(most, key=lambda name: most[name])
    if most[tightest] < config.tokens:
        if not available[tightest]:
            raise ValueError(
                f"mixture.weights.{tightest}: the source has no tokens; "
                "set its weight to 0 and divide it among the others"
            )
        epochs = config.tokens * weights[tightest] / available[tightest]
        raise ValueError(
            f"mixture.tokens: {config.tokens} would repeat {tightest} {epochs:.2f} times, "
            f"max_epochs is {config.max_epochs:g}; "
            f"use {int(most[tightest])} or less, or a smaller weight for {tightest}"
        )
    return {
        name: _plan_source(name, weights[name], histograms[name], config.tokens) for name in weights
    }


def choose_documents(ids: pa.Array | pa.ChunkedArray, plan: SourcePlan, seed: int) -> pa.Table:
    """Of these documents of the plan's source, those that the mixture takes: row (in `ids`, int64),
    epoch (int32), key.

    A document that is repeated has a row for each epoch. Ascending `key` (uint64), over all sources
    together, is the order of the mixture: at every point of it the sources have been drawn from in
    proportion to their weights.
    """
    base = _hash(ids, seed)
    bucket = base >> np.uint64(_INNER_BITS)
    tables = []
    for epoch in range(plan.full_epochs + (plan.limit > 0)):
        last = epoch == plan.full_epochs
        rows = np.flatnonzero(bucket < np.uint64(plan.limit)) if last else np.arange(len(base))
        tables.append(
            (rows, np.full(len(rows), epoch, np.int32), _key(base[rows], epoch, plan.epochs))
        )
    rows = np.concatenate([t[0] for t in tables] or [np.empty(0, np.int64)])
    epochs = np.concatenate([t[1] for t in tables] or [np.empty(0, np.int32)])
    keys = np.concatenate([t[2] for t in tables] or [np.empty(0, np.uint64)])
    order = np.lexsort((rows, epochs, keys))
    columns = [rows[order].astype(np.int64), epochs[order], keys[order]]
    return pa.table(dict(zip(["row", "epoch", "key"], map(pa.array, columns), strict=True)))


def _plan_source(name: str, weight: float, histogram: np.ndarray, budget: int) -> SourcePlan:
    available = int(histogram.sum())
    wanted = round(weight * budget)
    full, rest = divmod(wanted, available)
    below = np.concatenate([[0], np.cumsum(histogram)])  # tokens in buckets below b
    limit = int(np.searchsorted(below, rest))  # the first limit that reaches the rest
    return SourcePlan(
        source=name,
        weight=weight,
        available=available,
        wanted=wanted,
        epochs=wanted / available,
        full_epochs=full,
        limit=limit,
        tokens=full * available + int(below[limit]),
    )


def _hash(ids: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    return hash_strings(ids, np.uint64((seed ^ _SALT) & (2**64 - 1)))


def _key(base: np.ndarray, epoch: int, epochs: float) -> np.ndarray:
    """How far into the run a document comes, as a share of 2^60: the bucket keeps its place in
    every epoch, the order within it is mixed anew. A budget twice as large halves every key, so a
    smaller one is a prefix."""
    inner = _splitmix(base + np.uint64(epoch)) >> np.uint64(BUCKET_BITS)
    bucket = base >> np.uint64(_INNER_BITS)
    place = (bucket << np.uint64(_INNER_BITS) | inner).astype(np.float64) / 2.0**64
    share = np.minimum((epoch + place) / epochs, 8.0)  # over 1 only in the last bucket's surplus
    return (share * 2.0**KEY_BITS).astype(np.uint64)


def _splitmix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014, figure 17), on uint64."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
