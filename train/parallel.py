"""Parallel over torchrun's ranks: data parallel by DDP, or by FSDP2 with ZeRO's stages 1 to 3;
tensor parallel by DTensor, alone or inside FSDP2.

    torchrun --nproc-per-node 8 -m train.loop --packed ... --parallel fsdp --tensor-parallel 2

A batch is the same whatever the number of ranks, each takes its slice (those of a tensor parallel
group the same one); so is the loss curve, up to the order of sums. The loss is divided by the
tokens of all ranks before the backward pass, and what DDP and FSDP average after it is therefore
multiplied by the ranks.

Tensor parallel (Shoeybi et al. 2019, arXiv 1909.08053, section 3): the products into heads and into
SwiGLU's width are split by columns, those out of them by rows; a block sends its activations twice
forward and twice backward. The embeddings and the loss are computed by every rank of a group: with
32,000 pieces 5% of the 1.3b preset's products, 2% of a 7B's.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DeviceMesh, DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

from train.config import Train
from train.model import Transformer


class Ranks(NamedTuple):
    rank: int
    world: int
    device: torch.device
    tensor: int = 1  # ranks of a tensor parallel group

    @property
    def data_rank(self) -> int:
        return self.rank // self.tensor

    @property
    def data_world(self) -> int:
        return self.world // self.tensor


@contextlib.contextmanager
def joined(config: Train) -> Iterator[Ranks]:
    """With the other ranks, if torchrun says that there are some. Raises ValueError for a GPU that
    is not there, and for ranks that cannot be grouped as the settings say."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError('train.device: "cuda" is asked for and torch finds no GPU; use "cpu"')
    if config.device == "cuda" and local >= torch.cuda.device_count():
        raise ValueError(
            f"train.device: rank {rank} wants GPU {local} of {torch.cuda.device_count()}; "
            "start no more ranks a node than it has GPUs"
        )
    _check_groups(config, world)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = torch.device(config.device, local) if config.device == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    starting = world > 1 and not dist.is_initialized()
    if starting:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, world, device, config.tensor_parallel)
    finally:
        if starting:
            dist.destroy_process_group()


def _check_groups(config: Train, world: int) -> None:
    n = config.tensor_parallel
    if world % n:
        raise ValueError(
            f"tensor_parallel: {n} does not divide {world} ranks; start a multiple of {n}: "
            f"torchrun --nproc-per-node {n}"
        )
    if world > n > 1 and config.parallel == "ddp":
        raise ValueError(
            f"parallel: {world // n} tensor parallel groups cannot be joined by ddp; use fsdp "
            "(zero_stage = 1 is the nearest)"
        )


def wrap(model: Transformer, config: Train, ranks: Ranks) -> nn.Module:
    """What to call instead of the model. FSDP replaces the model's parameters: make the optimizers
    after this."""
    if ranks.world == 1:
        return model
    shape, names = (ranks.data_world, ranks.tensor), ("data", "tensor")
    mesh = dist.init_device_mesh(ranks.device.type, shape, mesh_dim_names=names)
    if ranks.tensor > 1:
        _split(model, mesh["tensor"])
    if ranks.data_world == 1:
        return model
    if config.parallel == "ddp":
        ids = [ranks.device.index] if ranks.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids)
    for module in (*model.blocks, model):  # in place
        fully_shard(module, mesh=mesh["data"], reshard_after_forward=config.zero_stage == 3)
    return model


def _split(model: Transformer, mesh: DeviceMesh) -> None:
    """What a norm gives is marked as whole on every rank once, so that the gradients of all
    products with it are summed over the ranks together."""
    whole = PrepareModuleOutput(
        output_layouts=Replicate(), desired_output_layouts=Replicate(), use_local_output=False
    )
    plan: dict[str, ParallelStyle] = {"attention_norm": whole, "mlp_norm": whole}
    plan |= {name: ColwiseParallel() for name in ("query", "key", "value", "gate", "up")}
    plan |= {name: RowwiseParallel() for name in ("attention_out", "mlp_out")}
    if model.config.qk_norm:  # of the heads that are here
        heads = SequenceParallel(sequence_dim=1, use_local_output=True)
        plan |= {"query_norm": heads, "key_norm": heads}
    for block in model.blocks:
        parallelize_module(block, mesh, plan)


def reduces(model: nn.Module, config: Train, last: bool) -> contextlib.AbstractContextManager:
    """Around a micro-batch: whether its backward pass reduces gradients over the ranks. Before the
    `last` one of a step DDP and ZeRO 1 only add them up."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last or config.zero_stage > 1)
    return contextlib.nullcontext()


def total(values: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """Summed over the data parallel ranks, in place. Over all of them, and divided: so the ranks of
    a group have the same bits, and decide the same."""
    if ranks.world > 1:
        dist.all_reduce(values)
        values /= ranks.tensor
    return values


def sum_partial_gradients(model: nn.Module) -> None:
    """Gradients that every rank of a tensor parallel group has a summand of: of QK-norms, which
    serve the heads of all."""
    for weight in model.parameters():
        gradient = weight.grad
        if not isinstance(weight, DTensor) or not isinstance(gradient, DTensor):
            continue
        if gradient.placements != weight.placements:
            weight.grad = gradient.redistribute(placements=weight.placements)


def local_gradients(model: nn.Module) -> list[torch.Tensor]:
    """Of this rank's share of the weights."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [g.to_local() if isinstance(g, DTensor) else g for g in gradients]


def gradient_norm(model: nn.Module, ranks: Ranks) -> torch.Tensor:
    """Of the whole gradient; a scalar on the device, which nothing waits for. What several ranks
    hold counts once."""
    by_copies: dict[int, list[torch.Tensor]] = {}
    for weight in model.parameters():
        if weight.grad is not None:
            gradient = weight.grad
            local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
            by_copies.setdefault(ranks.world // _shards(weight), []).append(local)
    norms = {n: torch.nn.utils.get_total_norm(found) for n, found in by_copies.items()}
    if set(norms) <= {ranks.world}:
        return norms[ranks.world]
    square = torch.stack([norm.square() / n for n, norm in norms.items()]).sum()
    dist.all_reduce(square)
    return square.sqrt()


def _shards(weight: torch.Tensor) -> int:
    if not isinstance(weight, DTensor):
        return 1
    sizes = zip(weight.device_mesh.shape, weight.placements, strict=True)
    return math.prod(size for size, placement in sizes if not placement.is_replicate())


def barrier(ranks: Ranks) -> None:
    if ranks.world > 1:
        dist.barrier()
