"""Fits a modified Kneser-Ney model to good text: with lmplz (Heafield et al. 2013) where the caller
asks for it, or by `kneser_ney.py`. A model that is fitted within a run is always ours, so that the
corpus does not depend on what else is installed."""

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.arpa import write_arpa
from filters.kneser_ney import BOS, CHUNK, EOS, check, estimate, scratch_array
from filters.perplexity_text import SPECIAL, Units, sentences

VOCABULARY = 50_000
BATCH_ROWS = 64  # texts normalised at once


def fit_perplexity(
    texts: Iterable[pa.Array],
    path: str,
    *,
    order: int = 3,
    vocabulary: int | None = None,
    prune: tuple[int, ...] | None = None,
    units: Units | None = None,
    lmplz: str | None = None,
    chunk: int = CHUNK,
) -> dict[str, int]:
    """Fits a model and writes it to `path` as ARPA, whole or not at all.

    vocabulary: the most frequent units that get a probability of their own, equals by text order;
    50,000 words, or all pieces, if unset. prune: see `kneser_ney.estimate`; n-grams of order 3 and
    above that occur once are left out if unset, as with lmplz --prune 0 0 1. lmplz: the program, in
    the place of our own estimator. Returns the number of units, of sentences and of n-grams by
    order. The same texts in the same order give the same bytes.
    """
    prune = prune or (0, 0, 1, 1, 1)[:order]
    check(order, prune)
    units = units or Units()
    if vocabulary is None and units.tokenizer is None:
        vocabulary = VOCABULARY
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder, written = Path(scratch), Path(scratch) / target.name
        with (folder / "sentences").open("wb") as out:
            n_units, n_sentences, counts = _spill(texts, units, out)
        if not n_units:
            raise ValueError(f"{path}: no words to fit a perplexity model to; check its sources")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        known = ranked[:vocabulary]
        if lmplz is None:
            words = pa.array([*SPECIAL, *ranked], pa.string())
            tokens = scratch_array(folder, n_units + 2 * n_sentences, np.int32)
            _fill(tokens, folder / "sentences", words)
            mask = np.arange(len(words)) < len(SPECIAL) + len(known)
            model = estimate(tokens, mask, order, prune, folder, chunk)
            write_arpa(model, words, written)
            ngrams = [int(table.kept.sum()) for table in model.orders]
        else:
            limit = known if len(known) < len(ranked) else None
            ngrams = _lmplz(lmplz, folder, written, limit, order, prune)
        written.replace(target)
    figures = {"words": n_units, "sentences": n_sentences}
    return figures | {f"ngrams_{n}": count for n, count in enumerate(ngrams, 1)}


def _spill(
    texts: Iterable[pa.Array], units: Units, out: IO[bytes]
) -> tuple[int, int, Counter[str]]:
    """Writes the sentences, one a line; the number of units and of sentences, and of each unit."""
    counts: Counter[str] = Counter()
    n_sentences = 0
    for batch in texts:
        for start in range(0, len(batch), BATCH_ROWS):
            for text in sentences(batch.slice(start, BATCH_ROWS), units):
                if text:
                    counts.update(text.replace("\n", " ").split(" "))
                    n_sentences += text.count("\n") + 1
                    out.write(text.encode() + b"\n")
    return counts.total(), n_sentences, counts


def _fill(tokens: np.ndarray, path: Path, words: pa.Array) -> None:
    """The ids of the sentences' units, each sentence `BOS .. EOS`."""
    n = 0
    with path.open("rb") as file:
        while block := file.readlines(1 << 22):
            lines = pa.array([line[:-1].decode() for line in block], pa.string())
            split = pc.split_pattern(lines, " ")
            flat = pc.index_in(split.flatten(), words).to_numpy()
            length = pc.list_value_length(split).to_numpy()
            ends = np.cumsum(length)
            # Equal places keep the given order: a sentence ends before the next one starts.
            places = np.concatenate([ends, ends - length])
            ids = np.insert(flat, places, np.repeat([EOS, BOS], len(ends)))
            tokens[n : n + len(ids)] = ids
            n += len(ids)
    assert n == len(tokens), (n, len(tokens))


def _lmplz(
    program: str,
    folder: Path,
    written: Path,
    known: list[str] | None,
    order: int,
    prune: tuple[int, ...],
) -> list[int]:
    """Runs lmplz; the number of n-grams by order, from the ARPA file's header."""
    command = [program, "--order", str(order), "--text", str(folder / "sentences")]
    command += ["--arpa", str(written), "--temp_prefix", str(folder / "lmplz"), "--memory", "1G"]
    command += ["--discount_fallback", "0.5", "1", "1.5", "--prune", *map(str, prune)]
    if known is not None:
        (folder / "vocabulary").write_text("\n".join(known) + "\n")
        command += ["--limit_vocab_file", str(folder / "vocabulary")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
        raise ValueError(f"{program} failed: {reason}")
    counts = []
    with written.open() as lines:
        next(lines)
        for line in lines:
            if not line.startswith("ngram "):
                break
            counts.append(int(line.split("=")[1]))
    return counts


def find_lmplz(estimator: str) -> str | None:
    """The program that the flag --estimator (auto, lmplz or own) means; None for our own. Raises
    ValueError where lmplz is asked for and not on the path."""
    found = shutil.which("lmplz") if estimator != "own" else None
    if estimator == "lmplz" and found is None:
        raise ValueError("--estimator lmplz: no such program on the path; take own, or build kenlm")
    return found
