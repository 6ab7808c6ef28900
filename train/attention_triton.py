"""Packed causal attention in Triton: forward and backward, no T x T anything, no atomics.

Tiles of query rows are cut from the T tokens of a batch, not from each document: a tile may hold
the end of one document, twenty short ones and the start of another, so short documents fill the
matrix units as well as long ones do, and the grid is T / outer whatever the lengths.

What lies within the intervals of all tokens of a tile (attention_plan.py) takes a loop without a
mask, what is left on both sides the loop with one, and no block is computed that is wholly masked.

The backward pass has one kernel for the gradients of keys and values, which sums over the query
heads of a group, and one for those of queries: seven matrix products where a version with atomic
additions has five, and the same bits every time.

Shapes: T tokens, H query heads, G key/value heads, D head dimension.
"""

from typing import NamedTuple

import torch
import triton

from train import attention_kernels as kernels
from train.attention_plan import Plan

LOG2_E = 1.4426950408889634
DELTA_ROWS = 64


class Tiles(NamedTuple):
    """Sizes of a kernel's blocks: rows of the outer operand (one of attention_plan.OUTER_SIZES), of
    the inner one, warps, stages. tma: blocks of the inner operand are fetched by Hopper's copy
    engine, where rows are multiples of 16 bytes; it saves up to 47 registers a thread. programs: of
    a persistent grid, on each multiprocessor, for up to 24 registers more; 0: one for each tile."""

    outer: int
    inner: int
    warps: int
    stages: int
    tma: bool = False
    programs: int = 0


def default_tiles(head_dim: int, bytes_each: int) -> dict[str, Tiles]:
    """Of each kernel. They fit an SM's 227 KiB of shared memory and its registers (`python -m
    benchmarks.attention --compile`); not tuned on a GPU yet."""
    if bytes_each == 4:
        tiles = Tiles(32, 16, 4, 1)  # no matrix units in full float32: larger ones spill kilobytes
        return {"forward": tiles, "keys": tiles, "queries": tiles}
    if head_dim <= 64:
        return {
            "forward": Tiles(128, 128, 8, 3),
            "keys": Tiles(128, 64, 8, 3),
            "queries": Tiles(128, 64, 8, 3),
        }
    if head_dim <= 128:
        return {
            "forward": Tiles(128, 64, 8, 3),
            "keys": Tiles(128, 64, 8, 2),
            "queries": Tiles(128, 64, 8, 2),
        }
    tiles = Tiles(64, 32, 8, 2)
    return {"forward": tiles, "keys": tiles, "queries": tiles}


def triton_attention(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    plan: Plan,
    tiles: dict[str, Tiles] | None = None,
) -> torch.Tensor:
    """[T, H, D]. Raises ValueError for what the kernels cannot do."""
    D = q_THD.shape[-1]
    if D > 256:
        raise ValueError(f"attention: heads of {D}, the kernel takes 256 at most")
    if q_THD.dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise ValueError(f"attention: {q_THD.dtype}; the kernel takes bf16, fp16 and fp32")
    if not (q_THD.dtype == k_TGD.dtype == v_TGD.dtype):
        kinds = (q_THD.dtype, k_TGD.dtype, v_TGD.dtype)
        raise ValueError(f"attention: q, k and v of types {kinds}; want one")
    tiles = tiles or default_tiles(D, q_THD.element_size())
    q, k, v = (x.contiguous() for x in (q_THD, k_TGD, v_TGD))
    with torch.cuda.device_of(q):  # Triton launches on the current device; autograd sees to it
        return _Attention.apply(q, k, v, plan, tiles)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, plan, tiles):
        T, H, D = q.shape
        out = torch.empty_like(q)
        lse = torch.empty(H, T, dtype=torch.float32, device=q.device)
        size = tiles["forward"]
        order = plan.row_orders[size.outer]
        n_work = H * len(order)
        kernels.forward[_grid(n_work, size, q.device)](
            q, k, v, out, lse, *plan.keys, order, n_work, T, H, H // k.shape[1], D**-0.5 * LOG2_E,
            **_options(q, size),
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.plan, ctx.tiles = plan, tiles
        return out

    @staticmethod
    def backward(ctx, grad_out):
        q, k, v, out, lse = ctx.saved_tensors
        plan, tiles = ctx.plan, ctx.tiles
        T, H, D = q.shape
        G = k.shape[1]
        grad_out = grad_out.contiguous()
        delta = torch.empty_like(lse)
        BLOCK_D = max(16, triton.next_power_of_2(D))
        kernels.deltas[(H * triton.cdiv(T, DELTA_ROWS),)](
            out, grad_out, delta, T, H, D=D, BLOCK_D=BLOCK_D, ROWS=DELTA_ROWS
        )
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        size = tiles["keys"]
        order = plan.key_orders[size.outer]
        n_work = G * len(order)
        kernels.backward_keys[_grid(n_work, size, q.device)](
            q, k, v, grad_out, grad_k, grad_v, lse, delta, *plan.rows, order, n_work, T, H, G,
            D**-0.5, **_options(q, size),
        )  # fmt: skip
        size = tiles["queries"]
        order = plan.row_orders[size.outer]
        n_work = H * len(order)
        kernels.backward_queries[_grid(n_work, size, q.device)](
            q, k, v, grad_out, grad_q, lse, delta, *plan.keys, order, n_work, T, H, H // G,
            D**-0.5, **_options(q, size),
        )  # fmt: skip
        return grad_q, grad_k, grad_v, None, None


def _grid(n_work: int, size: Tiles, device: torch.device) -> tuple[int]:
    """n_work: tiles times heads."""
    if not size.programs:
        return (n_work,)
    on_gpu = device.type == "cuda"
    n = torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else 1
    return (min(n_work, size.programs * n),)


def _options(q: torch.Tensor, size: Tiles) -> dict:
    D = q.shape[-1]
    if size.tma:  # per thread, and autograd has one of its own
        triton.set_allocator(_descriptors)
    return {
        "D": D,
        "BLOCK_D": max(16, triton.next_power_of_2(D)),
        "OUTER": size.outer,
        "INNER": size.inner,
        "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",
        "TMA": size.tma and D * q.element_size() % 16 == 0,
        "PERSISTENT": size.programs > 0,
        "num_warps": size.warps,
        "num_stages": size.stages,
    }


def _descriptors(n_bytes: int, alignment: int, stream: int | None) -> torch.Tensor:
    """Memory for the descriptors that a kernel makes; the caching allocator's is aligned enough."""
    return torch.empty(n_bytes, dtype=torch.int8, device="cuda")
