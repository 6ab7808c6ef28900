"""The training loop, whole: tokens a second, MFU, time spent waiting for data, peak memory; with
our attention kernel, FlexAttention, torch's varlen, and on padded rows with dense attention.

    python -m benchmarks.train [--out benchmarks/results/train.json]    on a GPU
    python -m benchmarks.train --tiny                                   that it runs, on a CPU
    python -m benchmarks.train --packed out/real/packed/real            on rows of one's own

Needs only torch, triton, numpy and pyarrow. Each variant is `python -m train.loop` in a process of
its own, so one that runs out of memory is reported and the others go on; it is stopped when
metrics.jsonl has the lines that are wanted. The first lines (compilation, the allocator) do not
count; what is shown is the median of the others, and their quartiles.

Rows, unless --packed is given: random tokens of 32,000, documents of the lengths of real web pages
(benchmarks.attention: WEB_QUANTILES). `padded`: the same documents, cut at the sequence length, one
a row and the rest of it filled up, dense causal attention over all of it; tokens/s and MFU count
the documents' own tokens and pairs, as everywhere.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.attention import WEB_QUANTILES
from train.config import PRESETS, Train, training_flops
from train.loader import PackedRows, packed_files
from train.metrics import peak_tflops
from train.packing import write_packed

REPO = Path(__file__).resolve().parent.parent
VOCAB = 32_000
VARIANTS = {  # name -> attention, padded
    "triton": ("triton", False),
    "flex": ("flex", False),
    "varlen": ("varlen", False),
    "padded": ("sdpa", True),
}
TINY_VARIANTS = {
    "sdpa": ("sdpa", False),
    "reference": ("reference", False),
    "padded": ("sdpa", True),
}


def web_documents(n_tokens: int, scale: float) -> Iterator[np.ndarray]:
    draw = np.random.default_rng(0)
    quantiles = np.array(WEB_QUANTILES, float) * scale
    while n_tokens > 0:
        at = np.interp(draw.random(), np.linspace(0, 1, len(quantiles)), quantiles)
        n = max(2, int(at))
        yield draw.integers(0, VOCAB, n)
        n_tokens -= n


def packed_documents(directory: str) -> Iterator[np.ndarray]:
    """Pieces of documents, as they lie in packed rows."""
    rows = PackedRows(packed_files(directory))
    for row in range(len(rows)):
        tokens, lengths, _ = rows.read(np.array([row]))
        ends = np.cumsum(lengths)
        yield from (tokens[0, end - n : end] for n, end in zip(lengths, ends, strict=True))


def make_rows(args: argparse.Namespace, place: Path) -> tuple[dict[bool, str], float, float]:
    """The packed files by `padded`; and of the padded one the shares of its tokens and of its
    FLOPs-making pairs that are documents'."""
    width = args.sequence_length
    given = {"vocab_size": VOCAB, "tokenizer_digest": "none"}
    scale = width / 4096 if args.tiny else 1.0
    if args.packed:
        documents = list(packed_documents(args.packed))
        given["vocab_size"] = PackedRows(packed_files(args.packed)).vocab_size
    else:
        documents = list(web_documents(args.rows * width, scale))
    whole = ((str(i), "web", tokens) for i, tokens in enumerate(documents))
    write_packed(str(place / "packed" / "rows.arrow"), whole, width, **given)
    cut = [tokens[:width] for tokens in documents][: args.rows]
    padded = ((str(i), "web", np.pad(x, (0, width - len(x)))) for i, x in enumerate(cut))
    write_packed(str(place / "padded" / "rows.arrow"), padded, width, **given)
    n = np.array([len(x) for x in cut], np.int64)
    tokens, pairs = n.sum() / (len(n) * width), (n * (n + 1)).sum() / (len(n) * width * (width + 1))
    return {False: str(place / "packed"), True: str(place / "padded")}, float(tokens), float(pairs)


def run(
    args: argparse.Namespace, preset: str, attention: str, packed: str, out: Path
) -> tuple[list[dict], str]:
    """The lines of metrics.jsonl that count, and what the run said if it ended before it had
    them."""
    wanted = args.warmup + args.steps
    command = [sys.executable, "-m", "train.loop", "--packed", packed, "--out", str(out)]
    command += ["--preset", preset, "--attention", attention, "--no-tensorboard"]
    command += ["--steps", "1000000", "--checkpoint-every", "1000000"]
    command += ["--batch-rows", str(args.batch_rows), "--micro-rows", str(args.micro_rows)]
    if args.tiny:
        command += ["--threads", "1", "--peak-tflops", "0.1"]
    else:
        command += ["--device", "cuda", "--precision", "bf16"]
        command += ["--compile"] if args.compile else []
    path = out / "metrics.jsonl"
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=REPO, stdout=said, stderr=said)
        until = time.monotonic() + args.limit_s
        try:
            while n_lines(path) < wanted and process.poll() is None and time.monotonic() < until:
                time.sleep(0.2)
            ended = process.poll() is not None
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]
    if len(lines) < wanted:
        why = last[0][:300] if ended and last else f"{len(lines)} steps in {args.limit_s} s"
        return lines[args.warmup :], why
    return lines[args.warmup : wanted], ""


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def figures_of(lines: list[dict], useful_tokens: float, useful_flops: float) -> dict:
    """Median and quartiles; of padded rows the documents' share."""
    out: dict = {"steps": len(lines)}
    for name, share in (("tokens_per_s", useful_tokens), ("mfu", useful_flops)):
        values = [line[name] * share for line in lines if name in line]
        if values:
            low, middle, high = quartiles(values)
            out[name], out[f"{name}_quartiles"] = middle, [low, high]
    waits = [line["data_wait_fraction"] for line in lines]
    out["data_wait_fraction"] = statistics.median(waits)
    out["data_wait_fraction_mean"] = statistics.fmean(waits)
    out["peak_memory_gib"] = max(line["peak_memory_gib"] for line in lines)
    return out


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return low, middle, high


def useful_flops(preset: str, width: int, tokens: float, pairs: float) -> float:
    """The share of a padded row's operations that its document makes."""
    shape = PRESETS[preset]
    all_pairs = width * (width + 1) // 2
    of_row = training_flops(shape, width, all_pairs)
    return training_flops(shape, round(width * tokens), round(all_pairs * pairs)) / of_row


def shown(preset: str, name: str, one: dict) -> str:
    low, high = one["tokens_per_s_quartiles"]
    mfu = f"MFU {one['mfu']:6.1%}  " if "mfu" in one else ""
    return (
        f"{preset:8} {name:10} {one['tokens_per_s']:12,.0f} tokens/s ({low:,.0f} to {high:,.0f})  "
        f"{mfu}data wait {one['data_wait_fraction']:.2%}  {one['peak_memory_gib']:.1f} GiB"
    )


def main() -> None:
    args = arguments()
    device = torch.device("cpu" if args.tiny else "cuda")
    if not args.tiny and not torch.cuda.is_available():
        sys.exit("benchmarks.train: torch finds no GPU; --tiny runs on a CPU")
    variants = TINY_VARIANTS if args.tiny else VARIANTS
    chosen = args.variants or list(variants)
    if unknown := set(chosen) - set(variants):
        sys.exit(f"benchmarks.train: no variant {sorted(unknown)}; there are {list(variants)}")
    figures: dict[str, dict] = {}
    report = {
        "name": "train",
        "figures": figures,
        "ratios": {},
        "settings": vars(args),
        "peak_tflops": peak_tflops(Train(precision="bf16"), device),
        "machine": platform.processor() if args.tiny else torch.cuda.get_device_name(),
        "versions": versions(),
        "commit": commit(),
    }
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        rows, tokens, pairs = make_rows(args, Path(work))
        report["padded_rows"] = {"documents_share_of_tokens": tokens, "of_pairs": pairs}
        print(f"sequence {args.sequence_length}, {args.batch_rows} rows a step; {tokens:.1%} of a "
              "padded row is its document", flush=True)  # fmt: skip
        for preset in args.presets:
            for name in chosen:
                attention, padded = variants[name]
                place = Path(work) / f"{preset}-{name}"
                lines, problem = run(args, preset, attention, rows[padded], place)
                key = f"{preset} {name}"
                if problem:
                    print(f"{preset:8} {name:10} {problem}", flush=True)
                if lines:
                    share = useful_flops(preset, args.sequence_length, tokens, pairs)
                    figures[key] = figures_of(lines, *((tokens, share) if padded else (1, 1)))
                    print(shown(preset, name, figures[key]), flush=True)
                if problem:
                    figures[key] = {**figures.get(key, {}), "problem": problem}
                report["ratios"] = ratios(figures, args.presets, chosen)
                if args.out:  # after each, for a machine that is taken away
                    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
                    Path(args.out).write_text(json.dumps(report) + "\n")
    for key, value in report["ratios"].items():
        print(f"{key}: {value:.2f}")
    print(json.dumps(report))


def ratios(figures: dict[str, dict], presets: list[str], chosen: list[str]) -> dict[str, float]:
    """Tokens a second of the first variant over each other one's."""
    out = {}
    for preset in presets:
        speeds = {name: figures.get(f"{preset} {name}", {}).get("tokens_per_s") for name in chosen}
        first = speeds[chosen[0]]
        for name in chosen[1:]:
            if first and speeds[name]:
                out[f"{preset} {chosen[0]} / {name}"] = first / speeds[name]
    return out


def versions() -> dict[str, str]:
    out = {"torch": torch.__version__, "python": platform.python_version()}
    out |= {"numpy": np.__version__, "pyarrow": pa.__version__, "cuda": torch.version.cuda or ""}
    try:
        import triton
    except ImportError:
        return out
    return out | {"triton": triton.__version__}


def commit() -> str:
    """Empty in a copy without git."""
    try:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, cwd=REPO).stdout.strip()
    except OSError:
        return os.environ.get("COMMIT", "")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="on a CPU: that it runs")
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS))
    parser.add_argument("--variants", nargs="+", help="the first is compared with the others")
    parser.add_argument("--packed", metavar="DIR", help="packed rows with real documents")
    parser.add_argument("--sequence-length", type=int)
    parser.add_argument("--rows", type=int, help="to make; they are read again and again")
    parser.add_argument("--batch-rows", type=int)
    parser.add_argument("--micro-rows", type=int)
    parser.add_argument("--warmup", type=int, default=10, help="steps that do not count")
    parser.add_argument("--steps", type=int, help="that count")
    parser.add_argument("--limit-s", type=float, default=150, help="of a variant")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--work", metavar="DIR", help="for rows and logs (default: temporary)")
    parser.add_argument("--out", metavar="FILE", help="the last line, kept after each variant too")
    args = parser.parse_args()
    defaults = {"presets": ["350m", "1.3b"], "sequence_length": 4096, "rows": 2048}
    defaults |= {"batch_rows": 16, "micro_rows": 8, "steps": 30}
    tiny = {"presets": ["tiny"], "sequence_length": 256, "rows": 64}
    tiny |= {"batch_rows": 2, "micro_rows": 1, "steps": 6}
    for name, value in (tiny if args.tiny else defaults).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.tiny:
        args.warmup = min(args.warmup, 2)
    return args


if __name__ == "__main__":
    main()
