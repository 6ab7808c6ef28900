"""What the steps of a run share, and its way to and from disk: made, resumed from a checkpoint,
saved, sent back before a loss spike."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from train import checkpoint, metrics, parallel, spikes, tensorboard, update
from train.config import Train
from train.loader import Loader, PackedRows
from train.model import Transformer
from train.optimizer import make_optimizers
from train.sources import Sources, documents_of


class Diverged(ValueError):
    """The loss is not finite, or has spikes that its data does not explain."""


@dataclasses.dataclass
class Run:
    """What the steps of a run share. step: updates done, of which log has a line each."""

    config: Train
    paths: Sequence[str]
    out_dir: str
    tokenizer: str | None
    ranks: parallel.Ranks
    model: Transformer
    wrapped: torch.nn.Module  # what to call
    optimizers: list[torch.optim.Optimizer]
    scale: update.LossScale
    sources: Sources
    bytes_per_token: Mapping[str, float]
    eval_paths: Mapping[str, Sequence[str]]
    identity: dict
    writer: checkpoint.Writer
    say: Callable[[str], None]
    step: int = 0
    log: list[dict] = dataclasses.field(default_factory=list)
    excluded: list[int] = dataclasses.field(default_factory=list)  # rows, after spikes
    n_spikes: int = 0
    board: tensorboard.EventFile | None = None


def make_run(
    config: Train,
    paths: Sequence[str],
    out_dir: str,
    tokenizer: str | None,
    rows: PackedRows,
    ranks: parallel.Ranks,
    say: Callable[[str], None] | None,
) -> Run:
    model = Transformer(
        config.model(rows.vocab_size),
        config.seed,
        config.attention,
        z_loss=config.z_loss,
        embedding_gradient=config.embedding_gradient,
        recompute=config.activation_checkpointing,
    ).to(ranks.device)
    if config.compile:
        for block in model.blocks:
            block.compile()
    wrapped = parallel.wrap(model, config, ranks)
    return Run(
        config=config,
        paths=paths,
        out_dir=out_dir,
        tokenizer=tokenizer,
        ranks=ranks,
        model=model,
        wrapped=wrapped,
        optimizers=make_optimizers(model, config),
        scale=update.LossScale(update.FIRST_SCALE if config.precision == "fp16" else 1.0),
        sources=Sources(paths),
        bytes_per_token={},
        eval_paths={},
        identity=checkpoint.identity_of(
            config, tokenizer=rows.tokenizer, rows=len(rows), sequence_length=rows.sequence_length
        ),
        writer=checkpoint.Writer(
            str(Path(out_dir) / "checkpoints"), config.keep_checkpoints, ranks.rank, ranks.world
        ),
        say=(say or _to_stderr) if ranks.rank == 0 else (lambda line: None),
    )


def resume(run: Run, path: str | None) -> str | None:
    """Goes to the state of a checkpoint; to the start without one."""
    excluded: set[int] = set()
    if path:
        run.step, extra = checkpoint.load(path, run.model, run.optimizers, run.identity)
        run.scale = update.LossScale(**extra["loss_scale"])
        excluded.update(extra["excluded"])
    met = spikes.recorded(run.out_dir)
    run.n_spikes = len(met)
    run.excluded = sorted(excluded.union(*(spike["rows"] for spike in met)))
    run.log = metrics.read(run.out_dir, run.step)
    parallel.barrier(run.ranks)  # all have read it
    if run.ranks.rank == 0:
        metrics.keep(run.out_dir, run.log)
        if run.config.tensorboard:
            run.board = tensorboard.EventFile(Path(run.out_dir) / "tensorboard")
    return path


def save(run: Run) -> None:
    extra: dict = {"loss_scale": dataclasses.asdict(run.scale), "excluded": run.excluded}
    extra["spikes"] = run.n_spikes
    run.writer.save(run.step, run.model, run.optimizers, run.identity, extra)


def go_back(run: Run, spike: dict) -> None:
    """To a checkpoint before the rows concerned, which are left out from there on."""
    config, done = run.config, spikes.recorded(run.out_dir)
    if len(done) >= config.max_spikes:
        raise Diverged(
            f"train: step {spike['step']}: spike {len(done) + 1} (loss {spike['loss']}), more than "
            f"max_spikes; lower learning_rate, in a new output directory, or raise max_spike_z"
        )
    run.writer.wait()
    parallel.barrier(run.ranks)
    step = spike["step"] - 1  # counted from 0
    path = checkpoint.before(str(run.writer.directory), step - config.spike_steps + 1)
    assert path is not None, run.writer.directory
    loader = Loader(run.paths, config, excluded=run.excluded)
    first = max(step - config.spike_steps + 1, int(path[-8:]))
    rows = {int(r) for s in range(first, step + 1) for b in loader.step(s) for r in b.rows}
    spike |= {"back_to": int(path[-8:]), "rows": sorted(rows)}
    if run.ranks.rank == 0:
        spikes.record(run.out_dir, {**spike, "documents": documents_of(run.paths, sorted(rows))})
    run.say(
        f"train: step {spike['step']}: loss {spike['loss']:.3f}, gradient norm "
        f"{spike['grad_norm']:.2f}: a spike; back to step {spike['back_to']}, "
        f"without {len(rows)} rows, which {spikes.SPIKES_NAME} lists"
    )
    discard_abandoned(run)
    resume(run, path)


def discard_abandoned(run: Run) -> None:
    """Deletes checkpoints after the steps that spikes sent the run back to, but for those made
    since: a kill right after a spike may have left them."""
    if run.ranks.rank == 0:
        back_to = [spike["back_to"] for spike in spikes.recorded(run.out_dir)]
        checkpoint.delete(
            run.writer.directory,
            lambda step, extra: any(step > back for back in back_to[extra["spikes"] :]),
        )
    parallel.barrier(run.ranks)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
