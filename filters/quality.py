"""How much a document looks like text that is known to be good: a fastText classifier, as in DCLM
(Li et al. 2024, arXiv 2406.11794, where it beat every dearer filter that was tried).

Text is read as DCLM reads it (line breaks become spaces), so its published model loads as it is:
min_score 0.018112 keeps its best tenth. Word unigrams and bigrams, 50 MB/s; only the first 20,000
characters are looked at.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels import hash_strings
from filters.language import LABEL, load_fasttext, one_line, predict
from filters.rules import Bound, mark, with_signals

PREFIX_CHARS = 20_000
POSITIVE, NEGATIVE = f"{LABEL}hq", f"{LABEL}lq"
MMAP_BYTES = 1 << 16  # see _train
SPLIT_SEED, ORDER_SEED = np.uint64(0x53504C49), np.uint64(0x4F524445)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Removes documents that a classifier finds unlike its good examples."""

    model: str
    """A fastText supervised model (.bin or .ftz), such as `fit_quality` writes or DCLM
    publishes."""
    min_score: float = 0.5
    positive_label: str = POSITIVE
    """Whose probability is the score."""
    prefix_chars: int = PREFIX_CHARS
    """Characters at the start of the text that are looked at."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score {self.min_score} is not within 0..1")
        if self.prefix_chars < 1:
            raise ValueError(f"prefix_chars {self.prefix_chars} is below 1")


def quality(docs: pa.Table, config: Quality) -> pa.Table:
    """Adds quality.score; marks low_quality."""
    model = load_fasttext(config.model)
    labels = model.get_labels()
    if config.positive_label not in labels:
        known = ", ".join(labels[:5])
        raise ValueError(
            f"positive_label {config.positive_label!r}: not in {config.model}. Known: {known}"
        )
    lines = one_line(docs["text"], config.prefix_chars)
    scores = measure_quality(lines, model, config.positive_label)
    docs = with_signals(docs, "quality", {"score": scores})
    return mark(docs, [Bound("low_quality", "quality.score", least=config.min_score)])


def measure_quality(
    lines: pa.Array, model: "fasttext.FastText._FastText", positive_label: str
) -> pa.Array:
    """The probability of the label (float64) for texts made one line by `one_line`; null for a
    blank one."""
    scores = [
        min(dict(every).get(positive_label, 0.0), 1.0) if every else None
        for every in predict(model, lines, k=-1)
    ]
    return pa.array(scores, pa.float64())


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
) -> dict[str, float | None]:
    """Trains a classifier of good (`__label__hq`) against ordinary text (`__label__lq`); writes it
    to `path`, whole or not at all.

    Texts are cut into pieces, so that a book is not one example. Blocks of 20,000 characters, as
    much as a step looks at, are held out by a hash of the block: a share of the pages, and of a
    book a share of its parts, whose other parts are trained on. buckets * dim * 4 bytes is the
    model's size without its vocabulary (4 MB). The larger side is sampled down to the smaller, so
    that 0.5 means as likely good as ordinary. One thread, a fixed seed and an order given by
    hashes: the same texts in any order give the same bytes.

    Returns the number of pieces and, on the held-out blocks, precision and recall at 0.5 and the
    area under the ROC curve; None where the held-out blocks are not of both kinds.
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
    return {"pieces": 2 * n} | evaluate(model, held_out[0], held_out[1])


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


def evaluate(
    model: "fasttext.FastText._FastText", positive: pa.Array, negative: pa.Array
) -> dict[str, float | None]:
    """Figures on one-line texts: precision and recall at 0.5, and the area under the ROC curve
    (Mann-Whitney's U)."""
    figures: dict[str, float | None] = {
        "held_out_positive": len(positive),
        "held_out_negative": len(negative),
        "precision": None,
        "recall": None,
        "auc": None,
    }
    if not len(positive) or not len(negative):
        return figures
    good = measure_quality(positive, model, POSITIVE).to_numpy(zero_copy_only=False)
    bad = measure_quality(negative, model, POSITIVE).to_numpy(zero_copy_only=False)
    taken = int((good >= 0.5).sum())
    wrong = int((bad >= 0.5).sum())
    bad = np.sort(bad)
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    figures["precision"] = taken / (taken + wrong) if taken + wrong else None
    figures["recall"] = taken / len(good)
    figures["auc"] = float(below.mean() / 2 / len(bad))
    return figures


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
