"""The loader alone: tokens a second from memory-mapped rows on one core, and that a resumed loader
and other numbers of ranks give the same batches.

    python -m benchmarks.loader [--rows 20000] [--sequence-length 2048] [--batch-rows 64]

`stored` is what a training step reads and sends to its device (2 bytes a token); `unpacked` adds
targets, mask and positions made on the CPU, as a run without a GPU does.
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from train.config import Train
from train.loader import Loader, unpack
from train.packing import write_packed


def packed(folder: Path, n_rows: int, length: int) -> str:
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, 32_000, n_rows * length, dtype=np.uint16)
    lengths = np.minimum(
        draw.lognormal(6.2, 1.1, n_rows * length // 400).astype(np.int64) + 1, 20_000
    )
    ends = np.cumsum(lengths)
    lengths = lengths[ends <= len(tokens)]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    documents = ((str(i), "all", tokens[starts[i] : starts[i + 1]]) for i in range(len(lengths)))
    path = str(folder / "part.arrow")
    write_packed(path, documents, length, vocab_size=32_000, tokenizer_digest="none")
    return path


def rate(path: str, config: Train, steps: int, unpacked: bool) -> float:
    """Tokens a CPU second of this process."""
    loader = Loader([path], config)
    device = torch.device("cpu")
    began = time.process_time()
    n = 0
    for step in range(steps):
        for batch in loader.step(step):
            n += len(unpack(batch, device).tokens_T if unpacked else batch.tokens_T)
    return n / (time.process_time() - began)


def same_batches(path: str, config: Train) -> int:
    """Compares rows of an uninterrupted loader with resumed ones of 1, 2 and 4 ranks; how many."""
    whole = [batch.rows for [batch] in itertools.islice(Loader([path], config), 12)]
    compared = 0
    for world in (1, 2, 4):
        ranks = [Loader([path], config, rank, world, start_step=5) for rank in range(world)]
        for step, parts in enumerate(itertools.islice(zip(*ranks, strict=True), 7), start=5):
            rows = torch.cat([batch.rows for rank in parts for batch in rank])
            assert torch.equal(rows, whole[step]), (world, step)
            compared += len(rows)
    return compared


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--sequence-length", type=int, default=2048)
    parser.add_argument("--batch-rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = Train(batch_rows=args.batch_rows)
    steps = args.rows // args.batch_rows
    with tempfile.TemporaryDirectory() as folder:
        path = packed(Path(folder), args.rows, args.sequence_length)
        figures = {
            kind: [rate(path, config, steps, kind == "unpacked") for _ in range(args.repeats)]
            for kind in ("stored", "unpacked")
        }
        compared = same_batches(path, config)
    for kind, rates in figures.items():
        low, middle, high = (f(rates) / 1e6 for f in (min, statistics.median, max))
        print(f"{kind:9} {middle:8.1f} million tokens/s   ({low:.1f} to {high:.1f})")
    print(f"{compared} rows read after a resume, with 1, 2 and 4 ranks: the same")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    line = {
        "name": "loader",
        "tokens_per_s": {k: round(statistics.median(v)) for k, v in figures.items()},
        "rows_compared": compared,
        "settings": vars(args),
        "machine": platform.processor() or platform.machine(),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "commit": commit.stdout.strip(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
