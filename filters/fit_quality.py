"""Trains the quality classifier: fastText on good text against ordinary text, as in GPT-3, LLaMA
and DCLM (Li et al. 2024, arXiv 2406.11794, section 4.4)."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels import hash_strings
from filters.language import LABEL, one_line
from filters.quality import NEGATIVE, POSITIVE, PREFIX_CHARS, measure_quality

MMAP_BYTES = 1 << 16  # see _train
SPLIT_SEED, ORDER_SEED = np.uint64(0x53504C49), np.uint64(0x4F524445)
BINS = 50  # of the histograms


class Evaluation(NamedTuple):
    """How a classifier does on held-out blocks. Empty where they are not of both kinds."""

    figures: dict[str, float | None]  # counts; at 0.5 precision and recall; area under the ROC
    curve: list[tuple[float, float | None, float]]  # threshold, precision, recall
    positive: list[int]  # blocks by score, in BINS equal bins of 0..1
    negative: list[int]
    scores: list[float]  # of the negative blocks: the ordinary text


def fit_quality(
    positive: Iterable[pa.Array],
    negative: Iterable[pa.Array],
    path: str,
    *,
    held_out_fraction: float = 0.1,
    piece_chars: int = 2000,
    dim: int = 16,
    buckets: int = 1 << 16,
    epochs: int = 10,
    lr: float = 0.5,
    min_count: int = 2,
) -> Evaluation:
    """Trains a classifier of good (`__label__hq`) against ordinary text (`__label__lq`); writes it
    to `path`, whole or not at all.

    Texts are cut into pieces, so that a book is not one example. Blocks of 20,000 characters, as
    much as a step looks at, are held out by a hash of the block: a share of the pages, and of a
    book a share of its parts, whose other parts are trained on. buckets * dim * 4 bytes is the
    model's size without its vocabulary (4 MB). The larger side is sampled down to the smaller, so
    that 0.5 means as likely good as ordinary. One thread, a fixed seed and an order given by
    hashes: the same texts in any order give the same bytes.

    Returns the number of pieces and how the model does on the held-out blocks.
    """
    kept, held_out = [], []
    if dim * buckets * 4 < MMAP_BYTES:
        raise ValueError(f"dim {dim} * buckets {buckets}: below {MMAP_BYTES // 4}; see _train")
    for label, texts in ((POSITIVE, positive), (NEGATIVE, negative)):
        pieces, blocks = _split(texts, held_out_fraction, piece_chars)
        if not len(pieces):
            what = "positive" if label == POSITIVE else "negative"
            raise ValueError(f"{path}: no {what} text to fit a quality model to; check its sources")
        kept.append(pieces)
        held_out.append(blocks)
    n = min(map(len, kept))
    kept = [_sample(pieces, n) for pieces in kept]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    settings = {"dim": dim, "bucket": buckets, "epoch": epochs, "lr": lr, "minCount": min_count}
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        lines, saved = Path(scratch) / "lines.txt", Path(scratch) / target.name
        lines.write_bytes(_training_lines(kept))
        _train(lines, saved, settings)
        model = fasttext.load_model(str(saved))
        saved.replace(target)
    evaluation = evaluate(model, held_out)
    return evaluation._replace(figures={"pieces": 2 * n} | evaluation.figures)


def _train(lines: Path, saved: Path, settings: dict[str, float]) -> None:
    """Trains in a process of its own whose allocator hands out only zeroed memory.

    fastText 0.9.3 with one thread initialises a tenth of its matrix (DenseMatrix::uniformThread
    fills one of ten blocks for each thread) and trains on what the memory held before in the rest:
    other bytes each time, or "Encountered NaN". Blocks that come from mmap are zero, and glibc
    takes every block above this threshold from there.
    """
    settings = {"wordNgrams": 2, "thread": 1, "seed": 1, "verbose": 0, **settings}
    code = (
        "import fasttext, json, sys\n"
        "lines, saved, settings = sys.argv[1:]\n"
        "model = fasttext.train_supervised(input=lines, **json.loads(settings))\n"
        "model.save_model(saved)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(lines), str(saved), json.dumps(settings)],
        env={**os.environ, "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={MMAP_BYTES}"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
        raise ValueError(
            f"{saved.name}: fastText failed ({reason}); give it more text or a lower lr"
        )


def evaluate(model: "fasttext.FastText._FastText", held_out: list[pa.Array]) -> Evaluation:
    """Scores on one-line texts, positive and negative ones, and what follows from them."""
    good, bad = (
        measure_quality(texts, model, POSITIVE).to_numpy(zero_copy_only=False) for texts in held_out
    )
    figures: dict[str, float | None] = {
        "held_out_positive": len(good),
        "held_out_negative": len(bad),
        "precision": None,
        "recall": None,
        "auc": None,
    }
    curve: list[tuple[float, float | None, float]] = []
    if len(good) and len(bad):
        curve = [(i / 100, *_precision_recall(good, bad, i / 100)) for i in range(101)]
        figures["precision"], figures["recall"] = _precision_recall(good, bad, 0.5)
        ordered = np.sort(bad)  # Mann-Whitney's U
        below = np.searchsorted(ordered, good, "left") + np.searchsorted(ordered, good, "right")
        figures["auc"] = float(below.mean() / 2 / len(bad))
    edges = np.linspace(0, 1, BINS + 1)
    histogram = [np.histogram(scores, edges)[0].tolist() for scores in (good, bad)]
    return Evaluation(figures, curve, histogram[0], histogram[1], bad.tolist())


def _precision_recall(
    good: np.ndarray, bad: np.ndarray, threshold: float
) -> tuple[float | None, float]:
    """Precision is None where nothing is taken."""
    taken, wrong = int((good >= threshold).sum()), int((bad >= threshold).sum())
    return (taken / (taken + wrong) if taken + wrong else None), taken / len(good)


def _split(
    texts: Iterable[pa.Array], held_out_fraction: float, piece_chars: int
) -> tuple[pa.Array, pa.Array]:
    """Different pieces to train on, and blocks that are held out; each in ascending order."""
    pieces: set[str] = set()
    blocks: set[str] = set()
    limit = np.uint64(min(int(held_out_fraction * 2.0**64), 2**64 - 1))
    for batch in texts:
        cut = [
            b for line in one_line(batch.drop_null()).to_pylist() for b in _cut(line, PREFIX_CHARS)
        ]
        held_out = hash_strings(pa.array(cut, pa.string()), SPLIT_SEED) < limit
        for block, tested in zip(cut, held_out.tolist(), strict=True):
            if tested:
                blocks.add(block)
            else:
                pieces.update(_cut(block, piece_chars))
    return pa.array(sorted(pieces), pa.string()), pa.array(sorted(blocks), pa.string())


def _cut(text: str, length: int) -> list[str]:
    parts = (text[start : start + length].strip() for start in range(0, len(text), length))
    return [part for part in parts if part]


def _sample(pieces: pa.Array, n: int) -> pa.Array:
    return pieces.take(pa.array(np.argsort(hash_strings(pieces, ORDER_SEED), kind="stable")[:n]))


def _training_lines(kept: list[pa.Array]) -> bytes:
    """fastText's training file: a label and a piece in each line, in an order given by a hash of
    the line."""
    lines = pa.concat_arrays(
        [
            # A word that looks like a label would become one; when scoring fastText passes over it.
            pc.binary_join_element_wise(label, pc.replace_substring(pieces, LABEL, ""), " ")
            for label, pieces in zip((POSITIVE, NEGATIVE), kept, strict=True)
        ]
    )
    return ("\n".join(_sample(lines, len(lines)).to_pylist()) + "\n").encode()
