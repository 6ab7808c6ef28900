"""What a run says of itself: a line of metrics.jsonl a step, and the summary at the end.

The model's FLOPs are counted by the documents' real lengths: attention between documents is not
computed, so it is not counted. `mfu` is their share of the peak of all the devices (Chowdhery et
al. 2022, arXiv 2204.02311, appendix B).
"""

import json
import math
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from train.config import Model, Train, training_flops
from train.loader import Batch, PackedRows

METRICS_NAME = "metrics.jsonl"
ENTROPY_ROWS = 1024
# Dense bf16 and fp16 TFLOP/s in the vendor's data sheets, by what stands in the device's name; the
# first that does. Without more in it, it is an SXM board.
PEAK_TFLOPS = {
    **{"H100 PCIe": 756.0, "H100 NVL": 835.0, "H200 NVL": 835.0, "H100": 989.0, "H200": 989.0},
    **{"A100": 312.0, "B200": 2250.0, "L40S": 362.0},
}


def peak_tflops(config: Train, device: torch.device) -> float | None:
    if config.peak_tflops is not None or device.type != "cuda" or config.precision == "fp32":
        return config.peak_tflops
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def flops(model: Model, micro: Sequence[Batch]) -> int:
    """Of a step on this rank's micro-batches, forward and backward."""
    total = 0
    for batch in micro:
        n = np.diff(batch.cu_seqlens.numpy()).astype(np.int64)
        total += training_flops(model, len(batch.tokens_T), int((n * (n + 1) // 2).sum()))
    return total


def speed(tokens: int, done_flops: float, seconds: float, peak: float | None, world: int) -> dict:
    """Over all ranks; mfu only where the peak is known."""
    out = {
        "tokens": tokens,
        "tokens_per_s": tokens / seconds,
        "tflops_per_s": done_flops / seconds / 1e12,
    }
    return out | ({"mfu": out["tflops_per_s"] / (peak * world)} if peak else {})


def by_source(
    names: Sequence[str],
    nll: Sequence[float],
    counts: Sequence[float],
    bytes_per_token: Mapping[str, float],
) -> dict:
    """Mean loss of each source that the step had tokens of; bits per byte of those whose bytes a
    token are known, and of all if they all are."""
    if not names:
        return {}
    seen = [(s, a, n) for s, a, n in zip(names, nll, counts, strict=True) if n]
    out: dict = {
        "loss_by_source": {source: total / n for source, total, n in seen},
        "targets_by_source": {source: int(n) for source, _, n in seen},
    }
    bits = bits_per_byte(out["loss_by_source"], bytes_per_token)
    if bits:
        out["bits_per_byte_by_source"] = bits
    if seen and len(bits) == len(seen):
        n_bytes = sum(n * bytes_per_token[source] for source, _, n in seen)
        out["bits_per_byte"] = sum(total for _, total, _ in seen) / math.log(2) / n_bytes
    return out


def bits_per_byte(
    losses: Mapping[str, float], bytes_per_token: Mapping[str, float]
) -> dict[str, float]:
    """Of losses in nats a token, which no tokenizer can be compared by."""
    return {
        name: loss / math.log(2) / bytes_per_token[name]
        for name, loss in losses.items()
        if name in bytes_per_token
    }


def check_bytes(bytes_per_token: Mapping[str, float]) -> None:
    if not isinstance(bytes_per_token, Mapping):
        raise ValueError(f"bytes_per_token: {bytes_per_token!r} is no table of sources")
    for name, value in bytes_per_token.items():
        if not (isinstance(value, (int, float)) and value > 0):
            raise ValueError(f"bytes_per_token: {value!r} for {name} is not a number above 0")


def peak_memory_gib(device: torch.device) -> float:
    """Of the device since the start; of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, but for macOS
    return most / (2**30 if sys.platform == "darwin" else 2**20)


def unigram_entropy(rows: PackedRows) -> float:
    """In nats a token, of up to ENTROPY_ROWS rows: the loss of one who knows how often each token
    comes and nothing else."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, ENTROPY_ROWS).astype(np.int64))
    tokens, lengths, documents = rows.read(chosen)
    filled = np.bincount(np.repeat(np.arange(len(chosen)), documents), lengths, len(chosen))
    inside = np.arange(rows.sequence_length)[None] < filled[:, None]
    counts = np.bincount(tokens[inside])
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def summary(log: Sequence[dict]) -> dict:
    losses = [line["loss"] for line in log]
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "first_loss": losses[0],
        "final_loss": sum(tail) / len(tail),
        "eval_loss": log[-1].get("eval_loss", {}),
        "tokens": sum(line["tokens"] for line in log),
    }


def read(out_dir: str, steps_done: int) -> list[dict]:
    """The lines of the steps that the checkpoint holds."""
    path = Path(out_dir) / METRICS_NAME
    lines = path.read_text().splitlines()[:steps_done] if path.exists() else []
    if len(lines) < steps_done:
        raise ValueError(
            f"{path}: {len(lines)} lines for {steps_done} steps of the checkpoint; "
            "restore it, or choose another output directory"
        )
    return [json.loads(line) for line in lines]


def keep(out_dir: str, log: Sequence[dict]) -> None:
    """These lines and no others: those of a killed run, or of steps that are done again, go."""
    write(Path(out_dir) / METRICS_NAME, "".join(json.dumps(line) + "\n" for line in log))


def append(out_dir: str, line: dict) -> None:
    with (Path(out_dir) / METRICS_NAME).open("a") as file:
        file.write(json.dumps(line) + "\n")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.write_text(text)
    temporary.replace(path)


def progress(line: dict, config: Train) -> str:
    norm = line["grad_norm"]
    norm = "overflow" if norm is None else f"{norm:.2f}"
    mfu = f"  MFU {line['mfu']:.1%}" if "mfu" in line else ""
    return (
        f"train: step {line['step']}/{config.steps}  loss {line['loss']:.3f}  "
        f"grad norm {norm}  "
        f"{line['tokens_per_s']:,.0f} tokens/s{mfu}  data wait {line['data_wait_fraction']:.1%}"
    )
