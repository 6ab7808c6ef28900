"""The training loop: packed rows in, a trained model, its checkpoints, metrics and loss curve out.

One process on a CPU or a GPU, or torchrun's on many (train.parallel). Run the same call again after
a kill: it goes on from the last checkpoint, with the losses it would have had. It needs torch,
numpy and pyarrow only:

    python -m train.loop --packed out/packed/main --out out/train --preset 125m --device cuda
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from train import checkpoint, metrics, parallel, spikes, update
from train.config import Train, parameter_count
from train.evaluate import evaluate
from train.loader import Loader, PackedRows
from train.plot import loss_svg
from train.run import Diverged, Run, discard_abandoned, go_back, make_run, resume, save
from train.schedule import first_row, learning_rate

__all__ = ["Diverged", "Train", "train"]


def train(
    config: Train,
    packed_paths: Sequence[str],
    out_dir: str,
    *,
    eval_paths: Mapping[str, Sequence[str]] | None = None,
    tokenizer_digest: str | None = None,
    bytes_per_token: Mapping[str, float] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict:
    """Trains for config.steps in all, resuming from the newest checkpoint in out_dir/checkpoints.

    packed_paths: .arrow files of train.packing. eval_paths: name -> held-out packed files.
    tokenizer_digest: refused if the packed files were made with another. bytes_per_token: of the
    text of each source and held-out set, for bits per byte. say: gets progress lines, which go to
    stderr if it is not given.

    Writes metrics.jsonl (a line a step), tensorboard/, loss.svg, checkpoints/ and, after loss
    spikes, spikes.jsonl. Returns steps, resumed_from, first_loss, final_loss (mean of the last
    tenth), eval_loss by name, tokens, parameters, passes over the rows, unigram_entropy, spikes,
    checkpoint. Raises ValueError for mistakes in the call and a checkpoint that cannot be written,
    and Diverged, which is one.
    """
    with contextlib.ExitStack() as at_the_end:
        ranks = at_the_end.enter_context(parallel.joined(config))
        metrics.check_bytes(bytes_per_token or {})
        rows = PackedRows(packed_paths)
        _check_held_out(rows, eval_paths or {})
        run = make_run(config, packed_paths, out_dir, tokenizer_digest, rows, ranks, say)
        at_the_end.callback(run.writer.close)
        run.bytes_per_token, run.eval_paths = bytes_per_token or {}, eval_paths or {}
        discard_abandoned(run)
        newest = resume(run, checkpoint.latest(str(run.writer.directory)))
        result = _announced(run, rows)
        if config.max_spike_z and not newest:
            save(run)  # there is always one to go back to
            run.writer.wait()
        while spiked := _steps(run):
            go_back(run, spiked)
        run.writer.wait()
        parallel.barrier(ranks)
        if ranks.rank == 0:
            title = f"Training loss, {config.preset}"
            metrics.write(Path(out_dir) / "loss.svg", loss_svg(run.log, title))
        result |= metrics.summary(run.log)
        result["spikes"] = len(spikes.recorded(out_dir))
        return result | {"checkpoint": checkpoint.latest(str(run.writer.directory))}


def _announced(run: Run, rows: PackedRows) -> dict:
    """What is known of a run before its steps."""
    config, n_parameters = run.config, parameter_count(run.model.config)
    passes = first_row(config.steps, config) / len(rows)
    run.say(
        f"train: {config.preset}, {n_parameters / 1e6:.2f}M parameters, {passes:.2f} passes "
        f"over {len(rows)} rows of {rows.sequence_length} tokens; "
        f"{run.step} of {config.steps} steps done"
    )
    return {
        "steps": config.steps,
        "resumed_from": run.step,
        "parameters": n_parameters,
        "passes": passes,
        "unigram_entropy": metrics.unigram_entropy(rows),
    }


def _check_held_out(rows: PackedRows, eval_paths: Mapping[str, Sequence[str]]) -> None:
    for name, paths in eval_paths.items():
        there = PackedRows(paths)
        if (there.vocab_size, there.tokenizer) != (rows.vocab_size, rows.tokenizer):
            raise ValueError(
                f"{paths[0]}: held out as {name}, but packed with another tokenizer than the rows "
                "to train on; pack it with theirs"
            )


def _steps(run: Run) -> dict | None:
    """Steps until the end; or until a loss spike, which it returns."""
    config = run.config
    loader = Loader(
        run.paths,
        config,
        run.ranks.data_rank,
        run.ranks.data_world,
        start_step=run.step,
        tokenizer=run.tokenizer,
        pin_memory=config.device == "cuda",
        excluded=run.excluded,
    )
    peak = metrics.peak_tflops(config, run.ranks.device)
    with contextlib.closing(iter(loader)) as batches:
        while run.step < config.steps:
            began = time.perf_counter()
            micro = next(batches)
            waited = time.perf_counter() - began
            rate = learning_rate(run.step, config)
            found = update.gradients(
                run.wrapped,
                micro,
                config,
                run.ranks,
                run.sources,
                run.scale.scale,
                flops=metrics.flops(run.model.config, micro),
                waited_s=waited,
            )
            line: dict = {"step": run.step + 1, "loss": found.loss, "learning_rate": rate}
            line |= {"grad_norm": found.norm}
            scores = spikes.spike_scores(run.log, line, config)
            overflow = config.precision == "fp16" and math.isfinite(found.loss)
            overflow &= not math.isfinite(found.norm) and run.scale.scale > 1
            if scores and not overflow:
                run.model.zero_grad(set_to_none=True)
                return {**line, "z": scores}
            if not overflow:
                _check_finite(line, micro)
                update.step(run.wrapped, run.optimizers, rate, found.norm, run.scale.scale, config)
            run.model.zero_grad(set_to_none=True)
            if config.precision == "fp16":
                line |= {"loss_scale": run.scale.scale, "overflow": overflow}
                line["grad_norm"] = None if overflow else found.norm
                run.scale.update(not overflow)
            run.step += 1
            _after_step(run, line | _figures(run, found, time.perf_counter() - began, peak))
    return None


def _figures(run: Run, found: update.Gradients, seconds: float, peak: float | None) -> dict:
    line = metrics.speed(found.tokens, found.flops, seconds, peak, run.ranks.world)
    line["data_wait_fraction"] = min(1.0, found.waited_s / seconds)
    line["peak_memory_gib"] = metrics.peak_memory_gib(run.ranks.device)
    if run.config.z_loss:
        line["z_loss"] = found.objective - found.loss
    names, known = run.sources.names, run.bytes_per_token
    return line | metrics.by_source(names, found.nll, found.counts, known)


def _after_step(run: Run, line: dict) -> None:
    """Evaluation, metrics, checkpoint and progress, where they are due."""
    config, last = run.config, run.step == run.config.steps
    if run.eval_paths and (last or run.step % config.eval_every == 0):
        line["eval_loss"] = evaluate(run.wrapped, run.eval_paths, config, run.ranks)
        line["eval_bits_per_byte"] = metrics.bits_per_byte(line["eval_loss"], run.bytes_per_token)
    run.log.append(line)
    if run.ranks.rank == 0:
        metrics.append(run.out_dir, line)
        if run.board:
            run.board.add(line)
    run.writer.check()
    if last or run.step % config.checkpoint_every == 0:
        save(run)
    if last or run.step % max(1, config.steps // 20) == 0:
        run.say(metrics.progress(line, config))


def _check_finite(line: dict, micro: Sequence) -> None:
    if math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]):
        return
    rows = sorted(row for batch in micro for row in batch.rows.tolist())
    raise Diverged(
        f"train: step {line['step']}: loss {line['loss']}, gradient norm {line['grad_norm']}, "
        f"learning rate {line['learning_rate']:g}, rows {rows}; "
        "lower learning_rate or raise warmup_steps, in a new output directory"
    )


if __name__ == "__main__":
    from train.command import main

    sys.exit(main())
