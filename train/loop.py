"""The training loop: packed rows in, a trained model, its checkpoints, metrics and loss curve out.

One process on a CPU or one GPU. Run the same call again after a kill: it goes on from the last
checkpoint, with the losses it would have had. It needs torch, numpy and pyarrow only:

    python -m train.loop --packed out/packed/main --out out/train --preset 125m --device cuda
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import sys
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from train import checkpoint
from train.config import Train, parameter_count, training_flops
from train.loader import (
    Batch,
    Inputs,
    Loader,
    PackedRows,
    make_batch,
    packed_files,
    shuffled,
    unpack,
)
from train.model import Transformer
from train.optimizer import make_optimizer
from train.plot import loss_svg
from train.schedule import first_row, learning_rate

METRICS_NAME = "metrics.jsonl"

__all__ = ["Train", "train"]


def train(
    config: Train,
    packed_paths: Sequence[str],
    out_dir: str,
    *,
    eval_paths: Mapping[str, Sequence[str]] | None = None,
    tokenizer_digest: str | None = None,
    say: Callable[[str], None] | None = None,
) -> dict:
    """Trains for config.steps in all, resuming from the newest checkpoint in out_dir/checkpoints.

    packed_paths: .arrow files of train.packing. eval_paths: name -> held-out packed files.
    tokenizer_digest: refused if the packed files were made with another. say: gets progress lines,
    which go to stderr if it is not given.

    Writes metrics.jsonl (a line a step), loss.svg and checkpoints/. Returns steps, resumed_from,
    first_loss, final_loss (mean of the last tenth), eval_loss by name, tokens, parameters, passes
    over the rows, checkpoint. Raises ValueError for mistakes in the call, and for a loss that is
    not finite.
    """
    say = say or _to_stderr
    device = _device(config)
    rows = PackedRows(packed_paths)
    model = Transformer(config.model(rows.vocab_size), config.seed, config.attention).to(device)
    optimizer = make_optimizer(model, config)
    identity = checkpoint.identity_of(
        config, tokenizer=rows.tokenizer, rows=len(rows), sequence_length=rows.sequence_length
    )
    checkpoints = str(Path(out_dir) / "checkpoints")
    newest = checkpoint.latest(checkpoints)
    start = checkpoint.load(newest, model, optimizer, identity) if newest else 0
    log = _read_metrics(out_dir, start)
    passes = first_row(config.steps, config) / len(rows)
    n_parameters = parameter_count(model.config)
    say(
        f"train: {config.preset}, {n_parameters / 1e6:.2f}M parameters, {passes:.2f} passes over "
        f"{len(rows)} rows of {rows.sequence_length} tokens; {start} of {config.steps} steps done"
    )
    loader = Loader(
        packed_paths,
        config,
        start_step=start,
        tokenizer=tokenizer_digest,
        pin_memory=config.device == "cuda",
    )
    with contextlib.closing(iter(loader)) as batches:
        for step in range(start, config.steps):
            line = _train_step(model, optimizer, batches, step, config, device)
            last = step + 1 == config.steps
            if eval_paths and (last or (step + 1) % config.eval_every == 0):
                line["eval_loss"] = evaluate(model, eval_paths, config)
            log.append(line)
            _append_metrics(out_dir, line)
            if last or (step + 1) % config.checkpoint_every == 0:
                keep = config.keep_checkpoints
                newest = checkpoint.save(checkpoints, step + 1, model, optimizer, identity, keep)
            if last or (step + 1) % max(1, config.steps // 20) == 0:
                say(_progress(line, config))
    curve = loss_svg([line["loss"] for line in log], f"Training loss, {config.preset}")
    _write(Path(out_dir) / "loss.svg", curve)
    return {
        "steps": config.steps,
        "resumed_from": start,
        **_summary(log),
        "parameters": n_parameters,
        "passes": passes,
        "checkpoint": newest,
    }


def _summary(log: list[dict]) -> dict:
    losses = [line["loss"] for line in log]
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "first_loss": losses[0],
        "final_loss": sum(tail) / len(tail),
        "eval_loss": log[-1].get("eval_loss", {}),
        "tokens": sum(line["tokens"] for line in log),
    }


@torch.no_grad()
def evaluate(
    model: Transformer, eval_paths: Mapping[str, Sequence[str]], config: Train
) -> dict[str, float]:
    """Mean loss in nats a token on config.eval_rows rows of each set, the same rows every time."""
    device = next(model.parameters()).device
    micro_rows = config.micro_rows or config.batch_rows
    out = {}
    for name, paths in eval_paths.items():
        data = PackedRows(paths)
        chosen = shuffled(np.arange(min(config.eval_rows, len(data))), len(data), 0)
        total, count = 0.0, 0
        for start in range(0, len(chosen), micro_rows):
            part = chosen[start : start + micro_rows]
            batch = make_batch(*data.read(part), part)
            total += _loss_sum(model, unpack(batch, device), config).item()
            count += batch.n_targets()
        out[name] = total / max(count, 1)
    return out


def _train_step(
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[list[Batch]],
    step: int,
    config: Train,
    device: torch.device,
) -> dict:
    """One update; returns its line of metrics. `step` counts from 0, metrics from 1."""
    began = time.perf_counter()
    micro = next(batches)
    waited = time.perf_counter() - began
    n_targets = sum(batch.n_targets() for batch in micro)
    rate = learning_rate(step, config)
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = 0.0
    for batch in micro:
        part = _loss_sum(model, unpack(batch, device), config) / max(n_targets, 1)
        part.backward()
        loss += part.item()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm).item()
    if not (math.isfinite(loss) and math.isfinite(norm)):
        rows = sorted(row for batch in micro for row in batch.rows.tolist())
        raise ValueError(
            f"train: step {step + 1}: loss {loss}, gradient norm {norm}, "
            f"learning rate {rate:g}, rows {rows}; "
            "lower learning_rate or raise warmup_steps, in a new output directory"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - began
    n_tokens = sum(len(batch.tokens_T) for batch in micro)
    flops = sum(_flops(model, batch) for batch in micro)
    return {
        "step": step + 1,
        "loss": loss,
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": n_tokens,
        "tokens_per_s": n_tokens / seconds,
        "tflops_per_s": flops / seconds / 1e12,
        "data_wait_fraction": waited / seconds,
    }


def _loss_sum(model: Transformer, inputs: Inputs, config: Train) -> torch.Tensor:
    bf16 = config.precision == "bf16"
    with torch.autocast(inputs.tokens_T.device.type, torch.bfloat16, enabled=bf16):
        return model.loss_sum(*inputs)


def _flops(model: Transformer, batch: Batch) -> int:
    n = np.diff(batch.cu_seqlens.numpy()).astype(np.int64)
    return training_flops(model.config, len(batch.tokens_T), int((n * (n + 1) // 2).sum()))


def _device(config: Train) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError('train.device: "cuda" is asked for and torch finds no GPU; use "cpu"')
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    return torch.device(config.device)


def _read_metrics(out_dir: str, steps_done: int) -> list[dict]:
    """The lines of the steps that the checkpoint holds; later ones, of a killed run, are removed
    from the file."""
    path = Path(out_dir) / METRICS_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines(keepends=True)[:steps_done] if path.exists() else []
    if len(lines) < steps_done:
        raise ValueError(
            f"{path}: {len(lines)} lines for {steps_done} steps of the checkpoint; "
            "restore it, or choose another output directory"
        )
    _write(path, "".join(lines))
    return [json.loads(line) for line in lines]


def _append_metrics(out_dir: str, line: dict) -> None:
    with (Path(out_dir) / METRICS_NAME).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.write_text(text)
    temporary.replace(path)


def _progress(line: dict, config: Train) -> str:
    return (
        f"train: step {line['step']}/{config.steps}  loss {line['loss']:.3f}  "
        f"grad norm {line['grad_norm']:.2f}  "
        f"{line['tokens_per_s']:,.0f} tokens/s  data wait {line['data_wait_fraction']:.1%}"
    )


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """`python -m train.loop`: for machines that have only torch, numpy and pyarrow. 0, or 2 after a
    mistake in the call."""
    parser = argparse.ArgumentParser(prog="python -m train.loop", description=main.__doc__)
    parser.add_argument(
        "--packed", required=True, help="directory with .arrow files of packed rows"
    )
    parser.add_argument("--out", required=True, help="directory for metrics, checkpoints, loss.svg")
    hints = typing.get_type_hints(Train)
    for field in dataclasses.fields(Train):
        choices = (
            typing.get_args(hints[field.name])
            if typing.get_origin(hints[field.name]) is typing.Literal
            else None
        )
        kind = {float: float, str: str}.get(hints[field.name], str if choices else int)
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, default=field.default, choices=choices
        )
    given = vars(parser.parse_args(arguments))
    packed, out = given.pop("packed"), given.pop("out")
    try:
        result = train(Train(**given), packed_files(packed), out)
    except ValueError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
