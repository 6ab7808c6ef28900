"""Does an ablation find the mixture that is known to be right? Real models, trained on made texts.

    python -m benchmarks.ablation [--repeats 2] [--draws 5]

Two sources: `good`, texts of 70 made words of which each has five that may follow, and `other`,
random letters. The validation text is more of `good`, so other is noise to it, and the right weight
of good is 1; or, in the second case, what one epoch of too few documents allows. Each repeat makes
other texts, draws other mixtures and trains from other first weights.

Printed for both laws: the weight of good they propose, its 90% interval, the error on mixtures that
they had not seen; and for the law with the smaller error what its proposal came to when trained.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.ablation.parse import parse_ablation
from pipeline.ablation.run import ablate
from pipeline.executor import connect

WORDS = [a + b + c for a in "bdfgklm" for b in "aeiou" for c in ("nt", "rk")]
DOCUMENTS = {"free": 240, "capped": 45}  # of the good source
N_OTHER, STEPS, TARGET = 240, 40, "bits_per_byte/mine"


def ordered(seed: int, n: int) -> str:
    """n words, each of which has five that may follow."""
    rng, out = random.Random(seed), []
    at = rng.randrange(len(WORDS))
    for _ in range(n):
        out.append(WORDS[at])
        at = (at * 7 + 3 + rng.randrange(5)) % len(WORDS)
    return " ".join(out)


def noise(seed: int, n: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("cghjpqstvwxz", k=5)) for _ in range(n))


def write_texts(path: Path, texts: dict[str, str]) -> str:
    rows = ({"id": name, "text": text} for name, text in texts.items())
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def configuration(folder: Path, n_good: int, seed: int, draws: int) -> dict[str, Any]:
    """Writes the texts; an ablation without arms of its own, but for a design."""
    first = 10_000 * (seed + 1)
    texts = {
        "good": {f"g{i}": ordered(first + i, 90) for i in range(n_good)},
        "other": {f"n{i}": noise(first + i, 60) for i in range(N_OTHER)},
        "mine": {f"m{i}": ordered(first + 5_000 + i, 80) for i in range(20)},
    }
    paths = {name: write_texts(folder / f"{name}.jsonl", rows) for name, rows in texts.items()}
    sources = {n: {"format": "table", "paths": [paths[n]]} for n in ("good", "other")}
    base = {"name": "made", "sources": sources, "tokenizer": {"vocab_size": 320}}
    base["mixture"] = {"weights": {"good": 0.5, "other": 0.5}, "max_epochs": 1.0, "seed": seed}
    proxy = {"preset": "tiny", "tokens": STEPS * 256, "sequence_length": 64, "batch_rows": 4}
    proxy |= {"validation_tokens": 1500, "warmup_steps": 4, "checkpoint_every": 1000}
    design = {"draws": draws, "confirm": True, "seeds": 2, "seed": seed}
    if n_good < DOCUMENTS["free"]:
        base["mixture"]["weights"] = {"good": 0.25, "other": 0.75}
    return {
        **{"base": base, "seeds": [2 * seed, 2 * seed + 1], "proxy": proxy, "design": design},
        "evaluate": {"texts": {"mine": [paths["mine"]]}},
    }


def measure(case: str, seed: int, draws: int) -> dict[str, Any]:
    """One ablation: what each law proposes of the good source, and what is right."""
    with tempfile.TemporaryDirectory(prefix="ablation-") as name, connect("off") as cluster:
        table = configuration(Path(name), DOCUMENTS[case], seed, draws)
        out = Path(name, "out")
        before = time.process_time()
        outcome = ablate(parse_ablation(table), str(out), cluster, lambda line: None)
        seconds = time.process_time() - before
        law = [row for row in read(out, "law") if row["source"] == "good"]
        trials = [row for row in read(out, "trials") if row["measure"] == TARGET]
    available = outcome.report["arms"]["base"]["mixture"]["good"]["available_tokens"]
    return {
        "right": min(1.0, available / (STEPS * 256)),
        "laws": {row.pop("kind"): row for row in law},
        "bits_per_byte": {
            role: statistics.fmean(row["value"] for row in trials if row["role"] == role)
            for role in ("base", "confirm")
        },
        "trials": len(trials),
        "cpu_s": round(seconds, 1),
    }


def read(out: Path, name: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(out / f"{name}.parquet").to_pylist()


def error(found: dict[str, Any]) -> float:
    """Of the weight that the believed law proposes: the one that was confirmed."""
    [law] = [law for law in found["laws"].values() if law["measured"] is not None]
    return abs(law["weight"] - found["right"])


def show(case: str, found: dict[str, Any]) -> None:
    print(
        f"{case}: right {found['right']:.3f}; {found['trials']} trials, {found['cpu_s']} s of CPU"
    )
    for kind, row in found["laws"].items():
        line = f"  {kind:<12} proposes {row['weight']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        line += f", held-out error {row['rmse']:.4f}; predicts {row['predicted']:.3f}"
        line += f" ({row['predicted_low']:.3f} to {row['predicted_high']:.3f})"
        if row["measured"] is not None:
            line += f", measured {row['measured']:.3f}"
        print(line)
    bits = found["bits_per_byte"]
    print(f"  bits a byte: base {bits['base']:.3f}, proposal {bits['confirm']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--draws", type=int, default=5)
    args = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {case: [] for case in DOCUMENTS}
    for case, rows in figures.items():
        for seed in range(args.repeats):
            rows.append(measure(case, seed, args.draws))
            show(case, rows[-1])
    off = {case: max(error(found) for found in rows) for case, rows in figures.items()}
    for case, largest in off.items():
        print(f"{case}: the law with the smaller held-out error is {largest:.3f} off at most")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    line = {
        "name": "ablation",
        "figures": figures,
        "largest_error": off,
        "settings": vars(args),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"numpy": np.__version__, "torch": torch.__version__},
        "commit": commit.stdout.strip(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
