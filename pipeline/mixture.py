"""Which documents a training run sees, how often and in which order, from weights and a token
budget.

Everything follows from a 64-bit hash of (id, seed), so nothing is sorted or held globally. The
hash's upper 16 bits are a document's *bucket*. A part of `tokens/` contributes one histogram of its
tokens over the 65,536 buckets (512 KiB); the sum over parts says how far into each source a budget
reaches: some full epochs, then the buckets below a limit. Each task then chooses its documents
alone.

Nested: a smaller budget takes a prefix, in the order below, of what a larger one takes; a further
source leaves the order within the others. The price: a group is cut between buckets, at the one
nearest to its share, so it gets up to half a bucket too much or too little: 1/131072 of it, or half
a document. A document comes again about an epoch after it came last, never sooner by chance.

Repeating up to 4 epochs costs little against fresh data (Muennighoff et al. 2023, arXiv 2305.16264,
section 6).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from filters.kernels import hash_strings

BUCKET_BITS = 16
BUCKETS = 1 << BUCKET_BITS
INNER_BITS = 64 - BUCKET_BITS
KEY_BITS = 60  # of choose_documents; the surplus of the last bucket lies above 2^60
_SALT = 0x4D49585455524553


@dataclass(frozen=True, kw_only=True)
class Split:
    """A source divided into groups by a column of its documents."""

    column: str
    """Of the documents: `language.label`, `quality.score`, `meta.NAME`, or `host` of the url."""
    edges: tuple[float, ...] = ()
    """Of a numeric column, ascending: group 0 lies below the first, group 1 from there on, ..."""
    repeat: tuple[float, ...] = ()
    """How often each of those groups is seen, as shares of each other ([0, 1, 2, 4]: the best four
    times where the third is seen twice), within the weight of the source: quality-weighted
    upsampling (Olmo 3, 2025). The groups then need no weights of their own."""

    def __post_init__(self) -> None:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges: {list(self.edges)} do not ascend")
        if self.repeat and len(self.repeat) != len(self.edges) + 1:
            raise ValueError(
                f"repeat: {len(self.repeat)} numbers for {len(self.edges) + 1} groups; "
                "one more than edges"
            )
        if self.repeat and not (min(self.repeat) >= 0 and max(self.repeat) > 0):
            raise ValueError(f"repeat: {list(self.repeat)}; want numbers of at least 0, one above")


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Groups of documents by weight, up to a budget of tokens. A group is a source, or, where the
    source is `split`, a value of its column: `web/en`."""

    sequence_length: int = 2048
    """Tokens in a packed row."""
    tokens: int = 20_000_000
    """The budget: tokens of documents over all groups, repeats included."""
    scheme: Literal["weights", "unimax", "temperature"] = "weights"
    """unimax: equal budgets, as far as max_epochs lets small groups fill theirs (Chung et al. 2023,
    arXiv 2304.09151); temperature: size to the power of 1 / temperature, normalised."""
    weights: dict[str, float] = field(default_factory=dict)
    """Share of the budget of each group, in tokens; they sum to 1. A group without a weight is left
    out. The name of a split source stands for all of its groups, in proportion to their size times
    `repeat`."""
    temperature: float = 1.0
    """1: by size; larger: more even."""
    split: dict[str, Split] = field(default_factory=dict)
    """By source."""
    max_epochs: float = 4.0
    """How often a group may be repeated."""
    epochs: dict[str, float] = field(default_factory=dict)
    """max_epochs of single groups, or of all groups of a source."""
    when_short: Literal["error", "redistribute"] = "error"
    """A weight that max_epochs cannot fill is an error, or what is missing goes to the other
    groups by their weights, and the mixture's table shows it."""
    validation_tokens: int = 0
    """Held out of each source: documents whose near-duplicates are held out with them."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("sequence_length", 2), ("tokens", 1), ("validation_tokens", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is below {least}")
        caps = {"max_epochs": self.max_epochs, "temperature": self.temperature}
        caps |= {f"epochs.{name}": cap for name, cap in self.epochs.items()}
        for name, cap in caps.items():
            if not cap > 0:
                raise ValueError(f"{name}: {cap} is not above 0")
        if self.scheme != "weights":
            if self.weights:
                raise ValueError(f"weights: not with scheme = {self.scheme!r}")
            return
        if not self.weights:
            raise ValueError("weights: none given; name a share for each source, summing to 1")
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"weights.{name}: {weight} is not a number of at least 0")
        total = math.fsum(self.weights.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"weights: they sum to {total:g}, not 1; divide each by {total:g}")


class GroupPlan(NamedTuple):
    """What one group gives. JSON by `_asdict()`."""

    group: str
    weight: float  # share of the budget asked for
    available: int  # tokens in one epoch
    wanted: int  # tokens: weight x budget, after what max_epochs moved
    epochs: float  # wanted / available
    full_epochs: int  # all documents so often,
    limit: int  # and once more those in buckets below this one
    tokens: int  # what that comes to


def source_of(group: str) -> str:
    return group.partition("/")[0]


def bucket_histogram(
    ids: pa.Array | pa.ChunkedArray, n_tokens: np.ndarray, seed: int
) -> np.ndarray:
    """Tokens by bucket of these documents, int64 [65536]. Histograms of parts are added up."""
    bucket = (bucket_hash(ids, seed) >> np.uint64(INNER_BITS)).astype(np.int64)
    histogram = np.zeros(BUCKETS, np.int64)
    np.add.at(histogram, bucket, np.asarray(n_tokens, np.int64))
    return histogram


def plan_mixture(histograms: Mapping[str, np.ndarray], config: Mixture) -> dict[str, GroupPlan]:
    """The plan of each group that takes part, from the summed histogram of every group there is.

    Raises ValueError for a weight of an unknown group, and for a budget that the epochs allowed
    cannot fill.
    """
    available = {name: int(h.sum()) for name, h in histograms.items() if name}
    most = {name: available[name] * epochs_cap(name, config) for name in available}
    if config.scheme == "weights":
        weights = group_weights(available, config)
        wanted = _by_weight(weights, most, available, config)
    elif config.scheme == "temperature":
        sizes = {name: n ** (1 / config.temperature) for name, n in available.items() if n}
        weights = {name: size / sum(sizes.values()) for name, size in sizes.items()}
        wanted = _by_weight(weights, most, available, config)
    else:
        wanted = unimax({name: most[name] for name, n in available.items() if n}, config.tokens)
        if config.tokens - sum(wanted.values()) > 0.5:
            raise ValueError(
                f"mixture.tokens: {config.tokens}, and all groups together give "
                f"{int(sum(wanted.values()))} within max_epochs; use that or less"
            )
        weights = {name: n / config.tokens for name, n in wanted.items()}
    return {
        name: _plan_group(name, weights[name], histograms[name], round(n))
        for name, n in wanted.items()
    }


def epochs_cap(group: str, config: Mixture) -> float:
    """How often a group may be repeated."""
    epochs = config.epochs
    return epochs.get(group, epochs.get(source_of(group), config.max_epochs))


def group_weights(available: dict[str, int], config: Mixture) -> dict[str, float]:
    """The weight of each group; that of a split source divided among its groups."""
    weights: dict[str, float] = {}
    for name, weight in config.weights.items():
        groups = {name: 1.0} if name in available else {}
        if name in config.split:
            split = config.split[name]
            groups = {
                group: size * (split.repeat[int(group.rpartition("/")[2])] if split.repeat else 1.0)
                for group, size in available.items()
                if source_of(group) == name and not (split.repeat and group.endswith("/none"))
            }
        if not groups and weight == 0:  # a source that takes no part was not counted
            continue
        if not groups:
            known = ", ".join(sorted(available))
            raise ValueError(f"mixture.weights.{name}: no such source or group; there are {known}")
        total = sum(groups.values())
        if weight > 0 and not (total and any(available[g] for g in groups)):
            raise ValueError(
                f"mixture.weights.{name}: the source has no tokens; "
                "set its weight to 0 and divide it among the others"
            )
        for group, share in groups.items():
            if weight * share > 0:
                weights[group] = weights.get(group, 0.0) + weight * share / total
    return weights


def _by_weight(
    weights: dict[str, float], most: dict[str, float], available: dict[str, int], config: Mixture
) -> dict[str, float]:
    """Tokens of each group. Groups that max_epochs stops are filled up to it, and what is missing
    goes to the others, or is an error."""
    wanted = {name: weight * config.tokens for name, weight in weights.items()}
    stopped: dict[str, float] = {}
    while over := [n for n in wanted if n not in stopped and wanted[n] > most[n] + 0.5]:
        if config.when_short == "error":
            tightest = min(over, key=lambda name: most[name] / weights[name])
            epochs = wanted[tightest] / available[tightest]
            raise ValueError(
                f"mixture.tokens: {config.tokens} would repeat {tightest} {epochs:.2f} times, "
                f"max_epochs is {epochs_cap(tightest, config):g}; use "
                f"{int(most[tightest] / weights[tightest])} or less, a smaller weight for "
                f'{tightest}, or when_short = "redistribute"'
            )
        stopped |= {name: most[name] for name in over}
        free = {name: weight for name, weight in weights.items() if name not in stopped}
        left = config.tokens - sum(stopped.values())
        if not free:
            raise ValueError(
                f"mixture.tokens: {config.tokens}, and all groups together give "
                f"{int(sum(stopped.values()))} within max_epochs; use that or less"
            )
        total = sum(free.values())
        wanted = stopped | {name: left * weight / total for name, weight in free.items()}
    return {name: wanted[name] for name in weights}


def unimax(most: Mapping[str, float], tokens: int) -> dict[str, float]:
    """Tokens of each group, of which `most` can be had: equal shares; a group too small for its own
    leaves the rest to the larger ones."""
    left = float(tokens)
    wanted = {}
    by_size = sorted(most, key=lambda name: (most[name], name))
    for i, name in enumerate(by_size):
        wanted[name] = min(left / (len(by_size) - i), most[name])
        left -= wanted[name]
    return {name: wanted[name] for name in most}


def choose_documents(ids: pa.Array | pa.ChunkedArray, plan: GroupPlan, seed: int) -> pa.Table:
    """Of these documents of the plan's group, those that the mixture takes: row (in `ids`, int64),
    epoch (int32), key.

    A document that is repeated has a row for each epoch. Ascending `key` (uint64), over all groups
    together, is the order of the mixture: at every point of it the groups have been drawn from in
    proportion to their weights.
    """
    base = bucket_hash(ids, seed)
    bucket = base >> np.uint64(INNER_BITS)
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


def _plan_group(name: str, weight: float, histogram: np.ndarray, wanted: int) -> GroupPlan:
    available = int(histogram.sum())
    full, rest = divmod(wanted, available)
    below = np.concatenate([[0], np.cumsum(histogram)])  # tokens in buckets below b
    limit = nearest(below, rest)
    if not (full or below[limit]) and wanted:
        limit = int(np.searchsorted(below, 1))  # a document at least
    return GroupPlan(
        group=name,
        weight=weight,
        available=available,
        wanted=wanted,
        epochs=wanted / available,
        full_epochs=full,
        limit=limit,
        tokens=full * available + int(below[limit]),
    )


def nearest(below: np.ndarray, tokens: int) -> int:
    """The limit whose buckets hold nearest to so many tokens; of two, the one with fewer. Never
    falls as tokens grow, so smaller budgets stay prefixes."""
    above = int(np.searchsorted(below, tokens))
    less = int(np.searchsorted(below, below[above - 1])) if above else 0
    return less if tokens - below[less] <= below[above] - tokens else above


def bucket_hash(ids: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    return hash_strings(ids, np.uint64((seed ^ _SALT) & (2**64 - 1)))


def _key(base: np.ndarray, epoch: int, epochs: float) -> np.ndarray:
    """How far into the run a document comes, as a share of 2^60: the bucket keeps its place in
    every epoch, the order within it is mixed anew. A budget twice as large halves every key, so a
    smaller one is a prefix."""
    inner = splitmix(base + np.uint64(epoch)) >> np.uint64(BUCKET_BITS)
    bucket = base >> np.uint64(INNER_BITS)
    place = (bucket << np.uint64(INNER_BITS) | inner).astype(np.float64) / 2.0**64
    share = np.minimum((epoch + place) / epochs, 8.0)  # over 1 only in the last bucket's surplus
    return (share * 2.0**KEY_BITS).astype(np.uint64)


def splitmix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014, figure 17), on uint64."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
