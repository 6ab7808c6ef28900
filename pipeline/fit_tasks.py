"""Models that a run fits from a sample of its own documents: one task each."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from filters.cutoffs import EVERY, cutoffs_of, write_cutoffs
from filters.fit_perplexity import fit_perplexity
from filters.fit_quality import fit_quality
from filters.kernels import hash_strings
from filters.language import load_fasttext, one_line
from filters.perplexity import Perplexity, measure_perplexity
from filters.quality import POSITIVE, PREFIX_CHARS, measure_quality
from pipeline.parts import Part, read_tables


def sampled_texts(
    root: str, paths: list[str], fraction: float, seed: int, batch_bytes: int = 8 << 20
) -> Iterator[pa.Array]:
    """Texts of the documents that a hash of (id, seed) chooses."""
    limit = np.uint64(min(int(fraction * 2.0**64), 2**64 - 1))
    for path in paths:
        for table in read_tables(root, path, ["id", "text"], batch_bytes):
            if fraction < 1:
                table = table.filter(pa.array(hash_strings(table["id"], np.uint64(seed)) < limit))
            if table.num_rows:
                yield table["text"].combine_chunks()


def fit_perplexity_model(
    part: Part,
    name: str,
    paths: list[str],
    fraction: float,
    order: int,
    reference: tuple[list[str], float],
    seed: int,
) -> dict[str, Any]:
    """An n-gram model, and with `reference` the distribution of its scores."""
    local = part.file("model", f"models/{name}-{part.key[:10]}.arpa")
    fit_perplexity(sampled_texts(part.root, paths, fraction, seed), local, order=order)
    if reference[0]:
        config, scores = Perplexity(model=local), []
        for texts in sampled_texts(part.root, *reference, seed):
            column = pa.chunked_array([texts])
            found = measure_perplexity(column, [EVERY] * len(texts), config)
            scores += found["value"].to_pylist()
        place = part.file("cutoffs", f"models/{name}-{part.key[:10]}.cutoffs.json")
        write_cutoffs(cutoffs_of("perplexity.value", scores), place)
    return {}


def fit_quality_model(
    part: Part,
    name: str,
    positive: list[str],
    negative: list[str],
    fractions: tuple[float, float],
    reference: tuple[list[str], float],
    seed: int,
) -> dict[str, Any]:
    """A classifier, and the distribution of its scores on `reference`, or else on the held-out
    ordinary text."""
    local = part.file("model", f"models/{name}-{part.key[:10]}.bin")
    found = fit_quality(
        sampled_texts(part.root, positive, fractions[0], seed),
        sampled_texts(part.root, negative, fractions[1], seed),
        local,
    )
    scores: list[float | None] = [*found.scores]
    if reference[0]:
        model, scores = load_fasttext(local), []
        for texts in sampled_texts(part.root, *reference, seed):
            lines = one_line(texts, PREFIX_CHARS)
            scores += measure_quality(lines, model, POSITIVE).to_pylist()
    if scores:
        place = part.file("cutoffs", f"models/{name}-{part.key[:10]}.cutoffs.json")
        write_cutoffs(cutoffs_of("quality.score", scores), place)
    return {"held_out": found.figures}
