"""The texts that a tokenizer learns from: of each group of the mixture as many bytes as its weight
says, chosen by a hash of (id, seed), so the same ones in any order and any parts.

No full read: ids come first (and the column of a split), and of the texts only those row groups in
which a document is chosen. Row groups hold 8 MB, so a sample of 100 MB out of 10 TB reads a few
hundred thousandths of it. Sizes of groups are estimated by their documents (of equal length within
a source); a share is drawn three times too large, and cut to size by the hash of the texts.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.kernels import hash_strings
from pipeline.files import located
from pipeline.mixture import Mixture, epochs_cap, group_weights, unimax
from pipeline.mixture_groups import columns_of, groups_of
from pipeline.storage import open_input
from tokenizer.train import Sample

BYTES_PER_TOKEN = 4  # about, to compare the sizes of groups with a budget
SPARE = 3


class Documents(NamedTuple):
    """The kept documents of a source."""

    source: str
    paths: list[str]
    n_bytes: int  # of their texts


def sample_texts(
    root: str, sources: list[Documents], mixture: Mixture | None, n_bytes: int, seed: int
) -> Iterator[pa.Array]:
    """About `n_bytes` of UTF-8, or what there is."""
    sizes = group_sizes(root, sources, mixture)
    shares = group_shares(sizes, mixture)
    for documents in sources:
        mine = [g for g in shares if shares[g] and g in sizes and _is_of(g, documents.source)]
        draws = {g: Sample(max(1, round(n_bytes * shares[g])), seed) for g in mine}
        limits = {g: SPARE * n_bytes * shares[g] / max(sizes[g], 1) for g in mine}
        for groups, texts in _chosen(root, documents, mixture, limits, seed):
            for group in np.unique(groups).tolist():
                draws[group].add(texts.filter(pa.array(groups == group)))
        for draw in draws.values():
            yield pa.array(draw.texts(), pa.string())


def group_sizes(root: str, sources: list[Documents], mixture: Mixture | None) -> dict[str, float]:
    """Bytes of text of each group, about."""
    sizes: dict[str, float] = {}
    for documents in sources:
        split = mixture.split.get(documents.source) if mixture else None
        if split is None:
            sizes[documents.source] = documents.n_bytes
            continue
        found: Counter[str] = Counter()
        for path in documents.paths:
            with open_input(located(root, path)) as file:
                table = pq.ParquetFile(file).read(["id", *columns_of(split)], use_threads=False)
            found.update(groups_of(documents.source, table.combine_chunks(), split).to_pylist())
        for group, n in found.items():
            sizes[group] = documents.n_bytes * n / found.total()
    return sizes


def group_shares(sizes: dict[str, float], mixture: Mixture | None) -> dict[str, float]:
    """The share of each group in the sample: the mixture's, or its size where there is none."""
    total = max(sum(sizes.values()), 1)
    if mixture is None:
        return {name: size / total for name, size in sizes.items()}
    if mixture.scheme == "weights":
        return group_weights({name: round(size) for name, size in sizes.items()}, mixture)
    if mixture.scheme == "temperature":
        powers = {name: size ** (1 / mixture.temperature) for name, size in sizes.items() if size}
        return {name: power / sum(powers.values()) for name, power in powers.items()}
    tokens = {name: size / BYTES_PER_TOKEN for name, size in sizes.items() if size}
    wanted = unimax(
        {n: size * epochs_cap(n, mixture) for n, size in tokens.items()}, mixture.tokens
    )
    return {name: n / sum(wanted.values()) for name, n in wanted.items()}


def _is_of(group: str, source: str) -> bool:
    return group.partition("/")[0] == source


def _chosen(
    root: str, documents: Documents, mixture: Mixture | None, limits: dict[str, float], seed: int
) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """(groups, texts) of the documents whose hash lies below the limit of their group, 0..1."""
    split = mixture.split.get(documents.source) if mixture else None
    for path in documents.paths if limits else ():
        with open_input(located(root, path)) as file:
            reader = pq.ParquetFile(file)
            for i in range(reader.num_row_groups):
                table = reader.read_row_group(i, ["id", *columns_of(split)], use_threads=False)
                table = table.combine_chunks()
                groups = groups_of(documents.source, table, split)
                groups = groups.to_numpy(zero_copy_only=False).astype(str)
                limit = np.array([limits.get(group, 0.0) for group in groups.tolist()])
                place = hash_strings(table["id"], np.uint64(seed)).astype(np.float64) / 2.0**64
                rows = np.flatnonzero((place < limit) | (limit >= 1))
                if len(rows):
                    texts = reader.read_row_group(i, ["text"], use_threads=False)["text"]
                    yield groups[rows], pc.take(texts, pa.array(rows)).combine_chunks()
