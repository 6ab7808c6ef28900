"""One update: gradients over the micro-batches of a step, its figures, the optimizers' step.

The host waits for the device once a step, for all of the figures together, before the weights are
changed: whether the loss is finite, or a spike, is known by then, and bad gradients do no harm.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from train import parallel
from train.attention import document_bounds, make_plan
from train.config import Train
from train.cross_entropy import Losses
from train.loader import Batch, unpack
from train.parallel import Ranks
from train.sources import Sources

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Micikevicius et al. 2018 (arXiv 1710.03740), section 3.2, with the numbers of torch.amp.GradScaler
FIRST_SCALE, GROW_EVERY = 2.0**16, 2000


@dataclasses.dataclass
class LossScale:
    """fp16's: halved when a gradient overflows, doubled after GROW_EVERY steps without that. It
    stays 1 in other precisions."""

    scale: float = 1.0
    good_steps: int = 0

    def update(self, finite: bool) -> None:
        self.good_steps = self.good_steps + 1 if finite else 0
        if not finite:
            self.scale /= 2
        elif self.good_steps % GROW_EVERY == 0:
            self.scale *= 2


class Gradients(NamedTuple):
    """Of a step, over all ranks; the gradients themselves are at the weights."""

    loss: float  # mean cross-entropy in nats
    objective: float  # with the z-loss
    norm: float
    nll: list[float]  # summed, by source
    counts: list[float]  # targets, by source
    tokens: int
    flops: float
    waited_s: float  # for data, the longest of the ranks' means: their sum over their number


def gradients(
    model: torch.nn.Module,
    micro: Sequence[Batch],
    config: Train,
    ranks: Ranks,
    sources: Sources,
    scale: float,
    *,
    flops: float = 0.0,
    waited_s: float = 0.0,
) -> Gradients:
    """Runs the forward and backward passes of this rank's micro-batches."""
    device, n_sources = ranks.device, len(sources.names)
    targets = torch.tensor([float(sum(b.n_targets() for b in micro))], dtype=torch.float64)
    targets = parallel.total(targets.to(device, non_blocking=True), ranks)
    factor = scale * ranks.data_world / targets[0].clamp(min=1).float()
    sums = torch.zeros(2 + n_sources, dtype=torch.float64, device=device)
    counts = np.zeros(n_sources)
    for i, batch in enumerate(micro):
        source = sources.of(batch) if n_sources else None
        with parallel.reduces(model, config, i + 1 == len(micro)):
            losses = losses_of(model, batch, config, device)
            (losses.total * factor).backward()
        sums[0] += losses.nll_T.sum()
        sums[1] += losses.total.detach()
        if source is not None:
            counts += np.bincount(source, n_targets_of(batch), n_sources)
            sums[2:] += nll_by_source(losses.nll_T, batch, source, n_sources)
    known = [*counts, sum(len(b.tokens_T) for b in micro), flops, waited_s]
    host = torch.tensor(known, dtype=torch.float64).to(device, non_blocking=True)
    sums = torch.cat([sums, host])
    sums = parallel.total(sums, ranks)
    parallel.sum_partial_gradients(model)
    norm = parallel.gradient_norm(model, ranks) / scale
    values = torch.cat([sums, targets, norm[None].double()]).tolist()
    *totals, n_tokens, all_flops, waited, n_targets, norm_ = values
    n = max(n_targets, 1)
    by_source = totals[2:]
    return Gradients(
        totals[0] / n,
        totals[1] / n,
        norm_,
        by_source[:n_sources],
        by_source[n_sources:],
        int(n_tokens),
        all_flops,
        waited / ranks.data_world,
    )


def losses_of(model: torch.nn.Module, batch: Batch, config: Train, device: torch.device) -> Losses:
    """cu_seqlens are checked on the CPU, where they are; nothing waits for the device."""
    bounds = document_bounds(batch.cu_seqlens, len(batch.tokens_T))
    inputs = unpack(batch, device)
    plan = make_plan(inputs.cu_seqlens, len(batch.tokens_T), config.attention, bounds=bounds)
    dtype = PRECISIONS[config.precision]
    with torch.autocast(device.type, dtype, enabled=config.precision != "fp32"):
        return model(*inputs, plan)


def n_targets_of(batch: Batch) -> np.ndarray:
    """Of each segment between cu_seqlens."""
    return (batch.cu_seqlens.diff() - 1).numpy() * ~batch.empty_D.numpy()


def nll_by_source(
    nll_T: torch.Tensor, batch: Batch, source_D: np.ndarray, n_sources: int
) -> torch.Tensor:
    """float64 [n_sources]. Differences of a running sum at the documents' ends, then sums of the
    documents: without atomics, so the same every time on a CPU."""
    ends = batch.cu_seqlens.to(nll_T.device, torch.int64, non_blocking=True)
    running = torch.cat([nll_T.new_zeros(1, dtype=torch.float64), nll_T.double().cumsum(0)])
    by_document = running[ends].diff()
    source = torch.from_numpy(source_D.astype(np.int64)).to(nll_T.device, non_blocking=True)
    out = torch.zeros(n_sources, dtype=torch.float64, device=nll_T.device)
    return out.index_add_(0, source, by_document)


def step(
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    rate: float,
    norm: float,
    scale: float,
    config: Train,
) -> None:
    """Gradients unscaled and clipped to clip_norm, then the optimizers' step."""
    factor = min(1.0, config.clip_norm / (norm + 1e-6)) / scale
    if factor != 1.0:
        torch._foreach_mul_(parallel.local_gradients(model), factor)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
