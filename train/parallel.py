"""Data parallel over torchrun's ranks: DDP, or FSDP2 with ZeRO's stages 1 to 3.

    torchrun --nproc-per-node 8 -m train.loop --packed ... --parallel fsdp --zero-stage 2

A batch is the same whatever the number of ranks, each takes its slice; so is the loss curve, up to
the order of sums. The loss is divided by the tokens of all ranks before the backward pass, and what
DDP and FSDP average after it is therefore multiplied by the ranks.
"""

import contextlib
import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from train.config import Train
from train.model import Transformer


class Ranks(NamedTuple):
    rank: int
    world: int
    device: torch.device


def start(config: Train) -> Ranks:
    """Joins the other ranks, if torchrun says that there are some. Raises ValueError for a GPU that
    is not there."""
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
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = torch.device(config.device, local) if config.device == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Ranks(rank, world, device)


def wrap(model: Transformer, config: Train, ranks: Ranks) -> nn.Module:
    """What to call instead of the model. FSDP replaces the model's parameters: make the optimizers
    after this."""
    if ranks.world == 1:
        return model
    if config.parallel == "ddp":
        ids = [ranks.device.index] if ranks.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids)
    mesh = dist.init_device_mesh(ranks.device.type, (ranks.world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=config.zero_stage == 3)
    fully_shard(model, mesh=mesh, reshard_after_forward=config.zero_stage == 3)  # in place
    return model


def reduces(model: nn.Module, config: Train, last: bool) -> contextlib.AbstractContextManager:
    """Around a micro-batch: whether its backward pass reduces gradients over the ranks. Before the
    `last` one of a step DDP and ZeRO 1 only add them up."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last or config.zero_stage > 1)
    return contextlib.nullcontext()


def total(values: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """Summed over the ranks, in place."""
    if ranks.world > 1:
        dist.all_reduce(values)
    return values


def local_gradients(model: nn.Module) -> list[torch.Tensor]:
    """Of this rank's share of the weights."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [g.to_local() if isinstance(g, DTensor) else g for g in gradients]


def gradient_norm(model: nn.Module, gradients: list[torch.Tensor], ranks: Ranks) -> torch.Tensor:
    """Of the whole gradient; a scalar on the device, which nothing waits for."""
    norm = torch.nn.utils.get_total_norm(gradients)
    return total(norm.square(), ranks).sqrt() if isinstance(model, FSDPModule) else norm


def barrier(ranks: Ranks) -> None:
    if ranks.world > 1:
        dist.barrier()


def stop(ranks: Ranks) -> None:
    if ranks.world > 1 and dist.is_initialized():
        dist.destroy_process_group()
