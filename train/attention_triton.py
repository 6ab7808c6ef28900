"""Packed causal attention in Triton: forward and backward, no T x T anything, no atomics.

Tiles of query rows are cut from the T tokens of a batch, not from each document: a tile may hold
the end of one document, twenty short ones and the start of another, so short documents fill the
matrix units as well as long ones do, and the grid is T / outer whatever the lengths.

With documents, causality, a window and prefixes alike, the keys that a row sees are an interval,
and so are the rows that see a key; and from one token to the next neither end goes back. These four
ends are all that the kernels know of a batch. A tile begins with its first row's interval and ends
with its last row's; what lies within all of its intervals takes the loop without a mask, what is
left on both sides the loop with one, and no tile is computed that is wholly masked.

Tiles go longest first, heads fastest (neighbours share keys in the L2 cache). The backward pass has
one kernel for the gradients of keys and values, which sums over the query heads of a group, and one
for those of queries: seven matrix products where a version with atomic additions has five, and the
same bits every time. Math: Dao 2023 (arXiv 2307.08691), algorithms 1 and 2, with base-2 exponents.

Shapes: T tokens, H query heads, G key/value heads, D head dimension.
"""

import dataclasses
from typing import NamedTuple

import torch
import triton
import triton.language as tl

LOG2_E = 1.4426950408889634
OUTER_SIZES = (32, 64, 128)
DELTA_ROWS = 64


class Tiles(NamedTuple):
    """Sizes of a kernel's blocks: rows of the outer operand (one of OUTER_SIZES), of the inner one,
    warps, stages."""

    outer: int
    inner: int
    warps: int
    stages: int


def default_tiles(head_dim: int, bytes_each: int) -> dict[str, Tiles]:
    """Of each kernel. They fit an SM's 227 KiB of shared memory and its registers (`python -m
    benchmarks.attention --compile`); not tuned on a GPU yet."""
    if bytes_each == 4:
        tiles = Tiles(64, 32, 4, 2) if head_dim <= 128 else Tiles(32, 16, 4, 1)
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


class Intervals(NamedTuple):
    """For each of the T tokens of a batch, indices into it; int32 [T], ascending."""

    begin: torch.Tensor
    end: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Plan:
    """Of the documents of a batch, on its device; orders: by outer size, the tiles by the work they
    have, largest first, int32 [tiles]."""

    keys: Intervals  # that each row sees
    rows: Intervals  # that see each key
    key_orders: dict[int, torch.Tensor]  # of tiles of keys
    row_orders: dict[int, torch.Tensor]  # of tiles of rows


def plan_of(
    cu_seqlens: torch.Tensor,
    n_tokens: int,
    window: int = 0,
    prefix: torch.Tensor | None = None,
) -> Plan:
    """Made on the device of cu_seqlens, without waiting for it. window: keys that a row sees at
    most, itself included, 0 for all. prefix: int32 [documents]; the rows of a document's first
    tokens see all of these."""
    lengths = cu_seqlens.diff()
    here = torch.arange(n_tokens, dtype=torch.int32, device=cu_seqlens.device)

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.to(torch.int32).repeat_interleave(lengths, output_size=n_tokens)

    start, end = spread(cu_seqlens[:-1]), spread(cu_seqlens[1:])
    keys, rows = Intervals(start, here + 1), Intervals(here, end)
    if window:
        keys = keys._replace(begin=torch.maximum(start, here - window + 1))
        rows = rows._replace(end=torch.minimum(end, here + window))
    if prefix is not None:
        prefix_end = spread(cu_seqlens[:-1] + prefix)
        keys = keys._replace(end=torch.maximum(here + 1, prefix_end))
        rows = rows._replace(begin=torch.where(here < prefix_end, start, here))
    return Plan(keys, rows, _longest_first(rows), _longest_first(keys))


def _longest_first(seen: Intervals) -> dict[int, torch.Tensor]:
    """The orders of tiles whose tokens see these."""
    T = len(seen.begin)
    orders = {}
    for outer in OUTER_SIZES:
        first = torch.arange(0, T, outer, device=seen.begin.device)
        work = seen.end[(first + outer).clamp(max=T) - 1] - seen.begin[first]
        orders[outer] = work.argsort(descending=True, stable=True).to(torch.int32)
    return orders


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
    return _Attention.apply(q_THD.contiguous(), k_TGD.contiguous(), v_TGD.contiguous(), plan, tiles)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, plan, tiles):
        T, H, D = q.shape
        out = torch.empty_like(q)
        lse = torch.empty(H, T, dtype=torch.float32, device=q.device)
        size = tiles["forward"]
        order = plan.row_orders[size.outer]
        _forward[(H, len(order))](
            q, k, v, out, lse, *plan.keys, order, T, H, H // k.shape[1], D**-0.5 * LOG2_E,
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
        _deltas[(H, triton.cdiv(T, DELTA_ROWS))](
            out, grad_out, delta, T, H, D=D, BLOCK_D=BLOCK_D, ROWS=DELTA_ROWS
        )
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        size = tiles["keys"]
        order = plan.key_orders[size.outer]
        _backward_keys[(G, len(order))](
            q, k, v, grad_out, grad_k, grad_v, lse, delta, *plan.rows, order, T, H, G, D**-0.5,
            **_options(q, size),
        )  # fmt: skip
        size = tiles["queries"]
        order = plan.row_orders[size.outer]
        _backward_queries[(H, len(order))](
            q, k, v, grad_out, grad_q, lse, delta, *plan.keys, order, T, H, H // G, D**-0.5,
            **_options(q, size),
        )  # fmt: skip
        return grad_q, grad_k, grad_v, None, None


def _options(q: torch.Tensor, size: Tiles) -> dict:
    D = q.shape[-1]
    return {
        "D": D,
        "BLOCK_D": max(16, triton.next_power_of_2(D)),
        "OUTER": size.outer,
        "INNER": size.inner,
        "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",
        "num_warps": size.warps,
        "num_stages": size.stages,
    }


# --- kernels ------------------------------------------------------------------------------------
# Offsets of rows are int64: T x H x D passes 2^31 at 130k tokens of 128 heads of 128.


@triton.jit
def _places(first, row_stride, N: tl.constexpr, BLOCK_D: tl.constexpr):
    """Where a block of N rows lies from row `first` on: offsets [N, BLOCK_D]."""
    row = (first + tl.arange(0, N)).to(tl.int64)
    return row[:, None] * row_stride + tl.arange(0, BLOCK_D)[None, :]


@triton.jit
def _load_rows(
    pointer, first, end, row_stride, CHECKED: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """A block of rows [N, BLOCK_D]; zero from row `end` on, if CHECKED, and past D."""
    at = pointer + _places(first, row_stride, N, BLOCK_D)
    past_D = (tl.arange(0, BLOCK_D) >= D)[None, :]
    if CHECKED:
        inside = (first + tl.arange(0, N) < end)[:, None]
        if D != BLOCK_D:
            inside = inside & ~past_D
        return tl.load(at, mask=inside, other=0.0)
    if D != BLOCK_D:
        return tl.load(at, mask=~past_D, other=0.0)
    return tl.load(at)


@triton.jit
def _load_numbers(pointer, first, end, CHECKED: tl.constexpr, N: tl.constexpr):
    """One number a row [N]. The second copy, and the maximum of equals, keep Triton from giving the
    load the layout of the scores, where each thread would fetch 16 of them, 4 bytes at a time: of
    the 336 bytes that a thread spills in `_backward_keys` (D 128) 144 are left."""
    row = first + tl.arange(0, N)[:, None] + tl.zeros([1, 2], tl.int32)
    if CHECKED:
        return tl.max(tl.load(pointer + row, mask=row < end, other=0.0), 1)
    return tl.max(tl.load(pointer + row), 1)


@triton.jit
def _store_rows(
    pointer, first, end, row_stride, values, N: tl.constexpr, D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    inside = (first + tl.arange(0, N) < end)[:, None]
    if D != BLOCK_D:
        inside = inside & (tl.arange(0, BLOCK_D) < D)[None, :]
    at = pointer + _places(first, row_stride, N, BLOCK_D)
    tl.store(at, values.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _tile_range(first, last, Begin, End, INNER: tl.constexpr):
    """What tokens first..last see, in blocks of INNER from `begin`: (begin, masked blocks before,
    blocks that all of them see whole, masked blocks in all)."""
    begin, end = tl.load(Begin + first), tl.load(End + last)
    n_before = tl.cdiv(tl.load(Begin + last) - begin, INNER)
    n_full = tl.maximum(tl.load(End + first) - begin - n_before * INNER, 0) // INNER
    n_masked = tl.maximum(tl.cdiv(end - begin, INNER) - n_full, n_before)
    return begin, n_before, n_full, n_masked


@triton.jit
def _softmax_steps(
    acc, peak, total, q, K, V, seen_begin, seen_end, begin, n_before, n_full, n_blocks, end, stride,
    scale, MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Online softmax over the blocks of keys with a mask, or those without."""
    for i in range(n_blocks):
        if MASKED:
            block = i + tl.where(i < n_before, 0, n_full)
        else:
            block = i + n_before
        at = begin + block * INNER
        key = at + tl.arange(0, INNER)
        k = _load_rows(K, at, end, stride, MASKED, INNER, D, BLOCK_D)
        scores = tl.dot(q, k.T, input_precision=PRECISION)
        if MASKED:
            seen = (key[None, :] >= seen_begin[:, None]) & (key[None, :] < seen_end[:, None])
            scores = tl.where(seen, scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1) * scale)
        shift = tl.where(new_peak == float("-inf"), 0.0, new_peak) if MASKED else new_peak
        weights = tl.exp2(scores * scale - shift[:, None])
        rescale = tl.exp2(peak - shift)
        total = total * rescale + tl.sum(weights, 1)
        v = _load_rows(V, at, end, stride, MASKED, INNER, D, BLOCK_D)
        acc = acc * rescale[:, None]
        acc = tl.dot(weights.to(v.dtype), v, acc, input_precision=PRECISION)
        peak = new_peak
    return acc, peak, total


@triton.jit
def _forward(
    Q, K, V, Out, Lse, Begin, End, order, T, H, group, scale, D: tl.constexpr,
    BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    first = tl.load(order + tl.program_id(1)) * OUTER
    last = tl.minimum(first + OUTER, T) - 1
    row = first + tl.arange(0, OUTER)
    seen_begin = tl.load(Begin + row, mask=row < T, other=0)
    seen_end = tl.load(End + row, mask=row < T, other=0)
    G = H // group
    K += (head // group) * D
    V += (head // group) * D
    q = _load_rows(Q + head * D, first, T, H * D, True, OUTER, D, BLOCK_D)
    acc = tl.zeros([OUTER, BLOCK_D], tl.float32)
    peak = tl.full([OUTER], float("-inf"), tl.float32)
    total = tl.zeros([OUTER], tl.float32)
    begin, n_before, n_full, n_masked = _tile_range(first, last, Begin, End, INNER)
    acc, peak, total = _softmax_steps(
        acc, peak, total, q, K, V, seen_begin, seen_end, begin, n_before, n_full, n_full, T, G * D,
        scale, False, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    acc, peak, total = _softmax_steps(
        acc, peak, total, q, K, V, seen_begin, seen_end, begin, n_before, n_full, n_masked, T,
        G * D, scale, True, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    total = tl.where(row < T, total, 1.0)
    _store_rows(Out + head * D, first, T, H * D, acc / total[:, None], OUTER, D, BLOCK_D)
    tl.store(Lse + head.to(tl.int64) * T + row, peak + tl.log2(total), mask=row < T)


@triton.jit
def _deltas(Out, GradOut, Delta, T, H, D: tl.constexpr, BLOCK_D: tl.constexpr, ROWS: tl.constexpr):
    """Delta [H, T]: the products of output and its gradient, summed over D."""
    head = tl.program_id(0)
    first = tl.program_id(1) * ROWS
    row = first + tl.arange(0, ROWS)
    out = _load_rows(Out + head * D, first, T, H * D, True, ROWS, D, BLOCK_D).to(tl.float32)
    grad = _load_rows(GradOut + head * D, first, T, H * D, True, ROWS, D, BLOCK_D).to(tl.float32)
    tl.store(Delta + head.to(tl.int64) * T + row, tl.sum(out * grad, 1), mask=row < T)


@triton.jit
def _key_gradients(
    grad_k, grad_v, k, v, Q, GradOut, Lse, Delta, seen_begin, seen_end, begin, n_before, n_full,
    n_blocks, end, stride, scale, MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Adds what the blocks of query rows with a mask, or those without, give to a tile of keys and
    values."""
    for i in range(n_blocks):
        if MASKED:
            block = i + tl.where(i < n_before, 0, n_full)
        else:
            block = i + n_before
        at = begin + block * INNER
        row = at + tl.arange(0, INNER)
        q = _load_rows(Q, at, end, stride, MASKED, INNER, D, BLOCK_D)
        lse = _load_numbers(Lse, at, end, MASKED, INNER)
        delta = _load_numbers(Delta, at, end, MASKED, INNER)
        scores = tl.dot(k, q.T, input_precision=PRECISION)  # [keys, rows]
        weights = tl.exp2(scores * (scale * 1.4426950408889634) - lse[None, :])
        if MASKED:
            seen = (row[None, :] >= seen_begin[:, None]) & (row[None, :] < seen_end[:, None])
            weights = tl.where(seen, weights, 0.0)
        grad_out = _load_rows(GradOut, at, end, stride, MASKED, INNER, D, BLOCK_D)
        grad_v = tl.dot(weights.to(v.dtype), grad_out, grad_v, input_precision=PRECISION)
        grad_weights = tl.dot(v, grad_out.T, input_precision=PRECISION)
        grad_scores = weights * (grad_weights - delta[None, :])
        grad_k = tl.dot(grad_scores.to(v.dtype), q, grad_k, input_precision=PRECISION)
    return grad_k, grad_v


@triton.jit
def _backward_keys(
    Q, K, V, GradOut, GradK, GradV, Lse, Delta, Begin, End, order, T, H, G, scale, D: tl.constexpr,
    BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    kv_head = tl.program_id(0)
    first = tl.load(order + tl.program_id(1)) * OUTER
    last = tl.minimum(first + OUTER, T) - 1
    key = first + tl.arange(0, OUTER)
    seen_begin = tl.load(Begin + key, mask=key < T, other=0)
    seen_end = tl.load(End + key, mask=key < T, other=0)
    k = _load_rows(K + kv_head * D, first, T, G * D, True, OUTER, D, BLOCK_D)
    v = _load_rows(V + kv_head * D, first, T, G * D, True, OUTER, D, BLOCK_D)
    grad_k = tl.zeros([OUTER, BLOCK_D], tl.float32)
    grad_v = tl.zeros([OUTER, BLOCK_D], tl.float32)
    begin, n_before, n_full, n_masked = _tile_range(first, last, Begin, End, INNER)
    for head in range(kv_head * (H // G), (kv_head + 1) * (H // G)):
        # A pointer made anew, not moved on: Triton then knows that it is aligned to 16 bytes.
        of_head = head * D
        at_head = head * tl.full([], 1, tl.int64) * T
        grad_k, grad_v = _key_gradients(
            grad_k, grad_v, k, v, Q + of_head, GradOut + of_head, Lse + at_head, Delta + at_head,
            seen_begin, seen_end, begin, n_before, n_full, n_full, T, H * D, scale, False, D,
            BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        grad_k, grad_v = _key_gradients(
            grad_k, grad_v, k, v, Q + of_head, GradOut + of_head, Lse + at_head, Delta + at_head,
            seen_begin, seen_end, begin, n_before, n_full, n_masked, T, H * D, scale, True, D,
            BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
    _store_rows(GradK + kv_head * D, first, T, G * D, grad_k * scale, OUTER, D, BLOCK_D)
    _store_rows(GradV + kv_head * D, first, T, G * D, grad_v, OUTER, D, BLOCK_D)


@triton.jit
def _query_gradients(
    grad_q, q, grad_out, lse, delta, K, V, seen_begin, seen_end, begin, n_before, n_full, n_blocks,
    end, stride, scale, MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Adds what the blocks of keys with a mask, or those without, give to a tile of query rows."""
    for i in range(n_blocks):
        if MASKED:
            block = i + tl.where(i < n_before, 0, n_full)
        else:
            block = i + n_before
        at = begin + block * INNER
        key = at + tl.arange(0, INNER)
        k = _load_rows(K, at, end, stride, MASKED, INNER, D, BLOCK_D)
        v = _load_rows(V, at, end, stride, MASKED, INNER, D, BLOCK_D)
        scores = tl.dot(q, k.T, input_precision=PRECISION)
        weights = tl.exp2(scores * (scale * 1.4426950408889634) - lse[:, None])
        if MASKED:
            seen = (key[None, :] >= seen_begin[:, None]) & (key[None, :] < seen_end[:, None])
            weights = tl.where(seen, weights, 0.0)
        grad_weights = tl.dot(grad_out, v.T, input_precision=PRECISION)
        grad_scores = weights * (grad_weights - delta[:, None])
        grad_q = tl.dot(grad_scores.to(k.dtype), k, grad_q, input_precision=PRECISION)
    return grad_q


@triton.jit
def _backward_queries(
    Q, K, V, GradOut, GradQ, Lse, Delta, Begin, End, order, T, H, group, scale, D: tl.constexpr,
    BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    first = tl.load(order + tl.program_id(1)) * OUTER
    last = tl.minimum(first + OUTER, T) - 1
    row = first + tl.arange(0, OUTER)
    seen_begin = tl.load(Begin + row, mask=row < T, other=0)
    seen_end = tl.load(End + row, mask=row < T, other=0)
    G = H // group
    K += (head // group) * D
    V += (head // group) * D
    q = _load_rows(Q + head * D, first, T, H * D, True, OUTER, D, BLOCK_D)
    grad_out = _load_rows(GradOut + head * D, first, T, H * D, True, OUTER, D, BLOCK_D)
    lse = tl.load(Lse + head.to(tl.int64) * T + row, mask=row < T, other=0.0)
    delta = tl.load(Delta + head.to(tl.int64) * T + row, mask=row < T, other=0.0)
    grad_q = tl.zeros([OUTER, BLOCK_D], tl.float32)
    begin, n_before, n_full, n_masked = _tile_range(first, last, Begin, End, INNER)
    grad_q = _query_gradients(
        grad_q, q, grad_out, lse, delta, K, V, seen_begin, seen_end, begin, n_before, n_full,
        n_full, T, G * D, scale, False, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    grad_q = _query_gradients(
        grad_q, q, grad_out, lse, delta, K, V, seen_begin, seen_end, begin, n_before, n_full,
        n_masked, T, G * D, scale, True, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    _store_rows(GradQ + head * D, first, T, H * D, grad_q * scale, OUTER, D, BLOCK_D)
