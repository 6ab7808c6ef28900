"""Packing: how full the rows are, how many documents are cut, tokens a second on one core; against
plain concatenation (a document goes on in the next row), which every document pays for that lies
over a row's end.

    python -m benchmarks.packing [--tokens 40000000]

Document lengths: short (mean 300 tokens, log-normal), and those of real web pages (mean 2,360), in
rows of 2,048 and 8,192 tokens. A document that is longer than a row has to be cut by anything.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.attention import WEB_QUANTILES
from train.packing import write_packed


def lengths_of(kind: str, n_tokens: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    if kind == "short":
        lengths = draw.lognormal(np.log(300) - 0.6, 1.1, n_tokens // 200)
    else:
        at = np.linspace(0, 1, len(WEB_QUANTILES))
        lengths = np.interp(draw.random(n_tokens // 1500), at, WEB_QUANTILES)
    lengths = np.clip(lengths, 1, 60_000).astype(np.int64)
    return lengths[np.cumsum(lengths) <= n_tokens]


def concatenation_cuts(lengths: np.ndarray, row: int) -> tuple[int, int]:
    """(documents cut, of them those that would fit in a row)."""
    ends = np.cumsum(lengths)
    cut = (ends - lengths) // row != (ends - 1) // row
    return int(cut.sum()), int((cut & (lengths <= row)).sum())


def measure(kind: str, row: int, n_tokens: int, repeats: int) -> dict:
    lengths = lengths_of(kind, n_tokens)
    tokens = np.random.default_rng(1).integers(0, 32_000, int(lengths.sum()), dtype=np.uint16)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    documents = [(str(i), "all", tokens[ends[i] : ends[i + 1]]) for i in range(len(lengths))]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            began = time.process_time()
            packed = write_packed(
                str(Path(folder) / "rows.arrow"),
                documents,
                row,
                vocab_size=32_000,
                tokenizer_digest="none",
            )
            seconds.append(time.process_time() - began)
    cut, fitting = concatenation_cuts(lengths, row)
    longer = int((lengths > row).sum())
    return {
        "documents": len(lengths),
        "longer_than_a_row": longer,
        "fill": round(packed.fill, 6),
        "cut": packed.cut_documents,
        "cut_though_fitting": packed.cut_documents - longer,
        "concatenation_cut": cut,
        "concatenation_cut_though_fitting": fitting,
        "tokens_per_s": [round(len(tokens) / s) for s in sorted(seconds)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=40_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    figures = {}
    for kind in ("short", "web"):
        for row in (2048, 8192):
            figures[f"{kind}, rows of {row}"] = one = measure(kind, row, args.tokens, args.repeats)
            rate = statistics.median(one["tokens_per_s"]) / 1e6
            print(
                f"{kind:5} documents, rows of {row}: {one['fill']:.3%} filled, {rate:.0f} million "
                f"tokens/s\n      cut: {one['cut']} of {one['documents']} (all longer than a row: "
                f"{one['longer_than_a_row']}); by concatenation {one['concatenation_cut']}, "
                f"{one['concatenation_cut_though_fitting']} of them short enough for a row"
            )
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    line = {
        "name": "packing",
        "figures": figures,
        "settings": vars(args),
        "machine": platform.machine(),
        "versions": {"numpy": np.__version__},
        "commit": commit.stdout.strip(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
