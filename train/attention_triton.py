"""Packed causal attention in Triton: forward and backward, no T x T anything, no atomics.

Tiles of query rows are cut from the T tokens of a batch, not from each document: a tile may hold
the end of one document, twenty short ones and the start of another, so short documents fill the
matrix units as well as long ones do, and the grid is T / BLOCK whatever the lengths. A tile reads
the keys from the first document's start to its own last row. Keys that every row of the tile sees
take the loop without a mask; only tiles with a document's edge or the diagonal in them are masked,
and no tile is computed that is wholly masked.

Tiles go longest first, heads fastest (neighbours share keys in the L2 cache). The backward pass has
one kernel for the gradients of keys and values, which sums over the query heads of a group, and one
for those of queries: seven matrix products where a version with atomic additions has five, and the
same bits every time. Math: Dao 2023 (arXiv 2307.08691), algorithms 1 and 2, with base-2 exponents.

Shapes: T tokens, H query heads, G key/value heads, D head dimension. Row t of a document attends to
keys from visible_start to t, at most `window` of them, and in a prefix to the prefix's end.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

LOG2_E = 1.4426950408889634


class Tiles(NamedTuple):
    """Sizes of a kernel's blocks: rows of the outer operand, of the inner one, warps, stages."""

    outer: int
    inner: int
    warps: int
    stages: int


def default_tiles(head_dim: int, bytes_each: int) -> dict[str, Tiles]:
    """Starting points that fit an SM's 227 KiB of shared memory; not tuned on a GPU yet."""
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
            "forward": Tiles(128, 128, 8, 2),
            "keys": Tiles(128, 64, 8, 2),
            "queries": Tiles(128, 64, 8, 2),
        }
    tiles = Tiles(64, 32, 8, 2)
    return {"forward": tiles, "keys": tiles, "queries": tiles}


class Rows(NamedTuple):
    """For each of the T tokens of a batch, as indices into it; int32 [T]."""

    start: torch.Tensor  # of its document
    end: torch.Tensor  # of its document: the first token behind it
    prefix_end: torch.Tensor  # of its document's prefix; start where it has none


def rows_of(cu_seqlens: torch.Tensor, n_tokens: int, prefix: torch.Tensor | None = None) -> Rows:
    """Made on the device of cu_seqlens, without waiting for it. prefix: int32 [documents]."""
    lengths = cu_seqlens.diff()
    prefix_end = cu_seqlens[:-1] + (0 if prefix is None else prefix)

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.to(torch.int32).repeat_interleave(lengths, output_size=n_tokens)

    return Rows(spread(cu_seqlens[:-1]), spread(cu_seqlens[1:]), spread(prefix_end))


def triton_attention(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    rows: Rows,
    window: int = 0,
    tiles: dict[str, Tiles] | None = None,
) -> torch.Tensor:
    """[T, H, D]; window: keys that a row sees at most, itself included, 0 for all. Raises
    ValueError for what the kernels cannot do."""
    D = q_THD.shape[-1]
    if D > 256:
        raise ValueError(f"attention: heads of {D}, the kernel takes 256 at most")
    if q_THD.dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise ValueError(f"attention: {q_THD.dtype}; the kernel takes bf16, fp16 and fp32")
    if not (q_THD.dtype == k_TGD.dtype == v_TGD.dtype):
        kinds = (q_THD.dtype, k_TGD.dtype, v_TGD.dtype)
        raise ValueError(f"attention: q, k and v of types {kinds}; want one")
    tiles = tiles or default_tiles(D, q_THD.element_size())
    return _Attention.apply(
        q_THD.contiguous(), k_TGD.contiguous(), v_TGD.contiguous(), rows, window, tiles
    )


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, rows, window, tiles):
        T, H, D = q.shape
        out = torch.empty_like(q)
        lse = torch.empty(H, T, dtype=torch.float32, device=q.device)
        size = tiles["forward"]
        order = _longest_first(rows, size.outer, window, "queries")
        _forward[(H, len(order))](
            q, k, v, out, lse, *rows, order, T, H, H // k.shape[1], D**-0.5 * LOG2_E, window,
            **_options(q, rows, size),
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, out, lse, *rows)
        ctx.window, ctx.tiles = window, tiles
        return out

    @staticmethod
    def backward(ctx, grad_out):
        q, k, v, out, lse, *rows = ctx.saved_tensors
        rows = Rows(*rows)
        T, H, D = q.shape
        G = k.shape[1]
        grad_out = grad_out.contiguous()
        delta = (grad_out.float() * out.float()).sum(-1).T.contiguous()  # [H, T]
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        size = ctx.tiles["keys"]
        order = _longest_first(rows, size.outer, ctx.window, "keys")
        scale = D**-0.5
        _backward_keys[(G, len(order))](
            q, k, v, grad_out, grad_k, grad_v, lse, delta, *rows, order, T, H, G, scale, ctx.window,
            **_options(q, rows, size),
        )  # fmt: skip
        size = ctx.tiles["queries"]
        order = _longest_first(rows, size.outer, ctx.window, "queries")
        _backward_queries[(H, len(order))](
            q, k, v, grad_out, grad_q, lse, delta, *rows, order, T, H, H // G, scale, ctx.window,
            **_options(q, rows, size),
        )  # fmt: skip
        return grad_q, grad_k, grad_v, None, None, None


def _options(q: torch.Tensor, rows: Rows, size: Tiles) -> dict:
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


def _longest_first(rows: Rows, outer: int, window: int, of: str) -> torch.Tensor:
    """int32: the tiles of `outer` rows by the work they have, largest first; on the device."""
    T = len(rows.start)
    first = torch.arange(0, T, outer, device=rows.start.device)
    last = (first + outer).clamp(max=T) - 1
    if of == "queries":
        begin, end = rows.start[first], torch.maximum(last + 1, rows.prefix_end[last])
        begin = torch.maximum(begin, first - window + 1) if window else begin
    else:
        in_prefix = rows.prefix_end[first] > first
        begin, end = torch.where(in_prefix, rows.start[first], first), rows.end[last]
        end = torch.minimum(end, last + window) if window else end
    return (end - begin).argsort(descending=True, stable=True).to(torch.int32)


# --- kernels ------------------------------------------------------------------------------------
# Offsets of rows are int64: T x H x D passes 2^31 at 130k tokens of 128 heads of 128.


@triton.jit
def _rows_at(pointer, index, n_rows, row_stride, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """A block of rows [rows, BLOCK_D]; zero past n_rows and past D."""
    column = tl.arange(0, BLOCK_D)
    inside = (index < n_rows)[:, None]
    if D != BLOCK_D:
        inside = inside & (column < D)[None, :]
    offsets = index.to(tl.int64)[:, None] * row_stride + column[None, :]
    return tl.load(pointer + offsets, mask=inside, other=0.0)


@triton.jit
def _store_rows(pointer, index, n_rows, row_stride, values, D: tl.constexpr, BLOCK_D: tl.constexpr):
    column = tl.arange(0, BLOCK_D)
    inside = (index < n_rows)[:, None]
    if D != BLOCK_D:
        inside = inside & (column < D)[None, :]
    offsets = index.to(tl.int64)[:, None] * row_stride + column[None, :]
    tl.store(pointer + offsets, values.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _visible(row, key, start, prefix_end, window):
    """Which keys (a row vector of indices) each row (a column vector) sees."""
    seen = (key >= start) & ((key <= row) | (key < prefix_end))
    if window > 0:
        seen = seen & (row - key < window)
    return seen


@triton.jit
def _key_range(first, last, starts, prefix_ends, window, INNER: tl.constexpr):
    """(begin, full_begin, full_end, end) of the keys of query rows first..last: all of them lie in
    [begin, end), and every row sees those in [full_begin, full_end), whole INNERs from begin."""
    begin = tl.load(starts + first)
    full_begin = tl.load(starts + last)
    full_end = first + 1
    if full_begin == begin:  # one document
        full_end = tl.maximum(full_end, tl.load(prefix_ends + first))
    end = tl.maximum(last + 1, tl.load(prefix_ends + last))
    if window > 0:
        begin = tl.maximum(begin, first - window + 1)
        full_begin = tl.maximum(full_begin, last - window + 1)
    full_begin = begin + tl.cdiv(tl.maximum(full_begin - begin, 0), INNER) * INNER
    full_end = full_begin + tl.maximum(full_end - full_begin, 0) // INNER * INNER
    return begin, tl.minimum(full_begin, end), tl.minimum(full_end, end), end


@triton.jit
def _query_range(first, last, starts, ends, prefix_ends, window, INNER: tl.constexpr):
    """The same for the rows that see keys first..last."""
    prefix_end = tl.load(prefix_ends + first)
    start = tl.load(starts + first)
    begin = first
    if prefix_end > first:
        begin = start
    end = tl.load(ends + last)
    full_begin = last
    if prefix_end > last:
        full_begin = start
    full_end = tl.load(ends + first)
    if window > 0:
        end = tl.minimum(end, last + window)
        full_end = tl.minimum(full_end, first + window)
    full_begin = begin + tl.cdiv(tl.maximum(full_begin - begin, 0), INNER) * INNER
    full_end = full_begin + tl.maximum(full_end - full_begin, 0) // INNER * INNER
    return begin, tl.minimum(full_begin, end), tl.minimum(full_end, end), end


@triton.jit
def _softmax_steps(
    acc, peak, total, q, K, V, row, start, prefix_end, begin, end, T, stride, scale, window,
    MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One pass of online softmax over keys [begin, end)."""
    for at in range(begin, end, INNER):
        key = at + tl.arange(0, INNER)
        k = _rows_at(K, key, end, stride, D, BLOCK_D)
        scores = tl.dot(q, k.T, input_precision=PRECISION) * scale
        if MASKED:
            seen = _visible(row[:, None], key[None, :], start[:, None], prefix_end[:, None], window)
            scores = tl.where(seen & (key < end)[None, :], scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1))
        shift = tl.where(new_peak == float("-inf"), 0.0, new_peak) if MASKED else new_peak
        weights = tl.exp2(scores - shift[:, None])
        rescale = tl.exp2(peak - shift)
        total = total * rescale + tl.sum(weights, 1)
        v = _rows_at(V, key, end, stride, D, BLOCK_D)
        acc = acc * rescale[:, None]
        acc = tl.dot(weights.to(v.dtype), v, acc, input_precision=PRECISION)
        peak = new_peak
    return acc, peak, total


@triton.jit
def _forward(
    Q, K, V, Out, Lse, starts, ends, prefix_ends, order, T, H, group, scale, window,
    D: tl.constexpr, BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    first = tl.load(order + tl.program_id(1)) * OUTER
    last = tl.minimum(first + OUTER, T) - 1
    row = first + tl.arange(0, OUTER)
    start = tl.load(starts + row, mask=row < T, other=0)
    prefix_end = tl.load(prefix_ends + row, mask=row < T, other=0)
    G = H // group
    K += (head // group) * D
    V += (head // group) * D
    q = _rows_at(Q + head * D, row, T, H * D, D, BLOCK_D)
    acc = tl.zeros([OUTER, BLOCK_D], tl.float32)
    peak = tl.full([OUTER], float("-inf"), tl.float32)
    total = tl.zeros([OUTER], tl.float32)
    begin, full_begin, full_end, end = _key_range(first, last, starts, prefix_ends, window, INNER)
    acc, peak, total = _softmax_steps(
        acc, peak, total, q, K, V, row, start, prefix_end, begin, full_begin, T, G * D, scale,
        window, True, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    acc, peak, total = _softmax_steps(
        acc, peak, total, q, K, V, row, start, prefix_end, full_begin, full_end, T, G * D, scale,
        window, False, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    acc, peak, total = _softmax_steps(
        acc, peak, total, q, K, V, row, start, prefix_end, full_end, end, T, G * D, scale,
        window, True, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    total = tl.where(row < T, total, 1.0)
    _store_rows(Out + head * D, row, T, H * D, acc / total[:, None], D, BLOCK_D)
    tl.store(Lse + head.to(tl.int64) * T + row, peak + tl.log2(total), mask=row < T)


@triton.jit
def _key_gradients(
    grad_k, grad_v, k, v, Q, GradOut, Lse, Delta, key, starts, prefix_ends, begin, end, T, stride,
    scale, window, MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    INNER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Adds what query rows [begin, end) give to a tile of keys and values."""
    for at in range(begin, end, INNER):
        row = at + tl.arange(0, INNER)
        q = _rows_at(Q, row, end, stride, D, BLOCK_D)
        lse = tl.load(Lse + row, mask=row < end, other=0.0)
        scores = tl.dot(k, q.T, input_precision=PRECISION) * (scale * 1.4426950408889634)
        weights = tl.exp2(scores - lse[None, :])  # [keys, rows]
        if MASKED:
            start = tl.load(starts + row, mask=row < end, other=0)
            prefix_end = tl.load(prefix_ends + row, mask=row < end, other=0)
            seen = _visible(row[None, :], key[:, None], start[None, :], prefix_end[None, :], window)
            weights = tl.where(seen & (row < end)[None, :], weights, 0.0)
        grad_out = _rows_at(GradOut, row, end, stride, D, BLOCK_D)
        grad_v = tl.dot(weights.to(v.dtype), grad_out, grad_v, input_precision=PRECISION)
        delta = tl.load(Delta + row, mask=row < end, other=0.0)
        grad_weights = tl.dot(v, grad_out.T, input_precision=PRECISION)
        grad_scores = weights * (grad_weights - delta[None, :])
        grad_k = tl.dot(grad_scores.to(v.dtype), q, grad_k, input_precision=PRECISION)
    return grad_k, grad_v


@triton.jit
def _backward_keys(
    Q, K, V, GradOut, GradK, GradV, Lse, Delta, starts, ends, prefix_ends, order, T, H, G, scale,
    window, D: tl.constexpr, BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    kv_head = tl.program_id(0)
    first = tl.load(order + tl.program_id(1)) * OUTER
    last = tl.minimum(first + OUTER, T) - 1
    key = first + tl.arange(0, OUTER)
    k = _rows_at(K + kv_head * D, key, T, G * D, D, BLOCK_D)
    v = _rows_at(V + kv_head * D, key, T, G * D, D, BLOCK_D)
    grad_k = tl.zeros([OUTER, BLOCK_D], tl.float32)
    grad_v = tl.zeros([OUTER, BLOCK_D], tl.float32)
    begin, full_begin, full_end, end = _query_range(
        first, last, starts, ends, prefix_ends, window, INNER
    )
    first_head = kv_head * (H // G)
    Q += first_head * D
    GradOut += first_head * D
    Lse += first_head.to(tl.int64) * T
    Delta += first_head.to(tl.int64) * T
    for _ in range(H // G):
        grad_k, grad_v = _key_gradients(
            grad_k, grad_v, k, v, Q, GradOut, Lse, Delta, key, starts, prefix_ends, begin,
            full_begin, T, H * D, scale, window, True, D, BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        grad_k, grad_v = _key_gradients(
            grad_k, grad_v, k, v, Q, GradOut, Lse, Delta, key, starts, prefix_ends, full_begin,
            full_end, T, H * D, scale, window, False, D, BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        grad_k, grad_v = _key_gradients(
            grad_k, grad_v, k, v, Q, GradOut, Lse, Delta, key, starts, prefix_ends, full_end,
            end, T, H * D, scale, window, True, D, BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        Q += D
        GradOut += D
        Lse += T
        Delta += T
    _store_rows(GradK + kv_head * D, key, T, G * D, grad_k * scale, D, BLOCK_D)
    _store_rows(GradV + kv_head * D, key, T, G * D, grad_v, D, BLOCK_D)


@triton.jit
def _query_gradients(
    grad_q, q, grad_out, lse, delta, K, V, row, start, prefix_end, begin, end, T, stride, scale,
    window, MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Adds what keys [begin, end) give to a tile of query rows."""
    for at in range(begin, end, INNER):
        key = at + tl.arange(0, INNER)
        k = _rows_at(K, key, end, stride, D, BLOCK_D)
        v = _rows_at(V, key, end, stride, D, BLOCK_D)
        scores = tl.dot(q, k.T, input_precision=PRECISION) * (scale * 1.4426950408889634)
        weights = tl.exp2(scores - lse[:, None])
        if MASKED:
            seen = _visible(row[:, None], key[None, :], start[:, None], prefix_end[:, None], window)
            weights = tl.where(seen & (key < end)[None, :], weights, 0.0)
        grad_weights = tl.dot(grad_out, v.T, input_precision=PRECISION)
        grad_scores = weights * (grad_weights - delta[:, None])
        grad_q = tl.dot(grad_scores.to(k.dtype), k, grad_q, input_precision=PRECISION)
    return grad_q


@triton.jit
def _backward_queries(
    Q, K, V, GradOut, GradQ, Lse, Delta, starts, ends, prefix_ends, order, T, H, group, scale,
    window, D: tl.constexpr, BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    first = tl.load(order + tl.program_id(1)) * OUTER
    last = tl.minimum(first + OUTER, T) - 1
    row = first + tl.arange(0, OUTER)
    start = tl.load(starts + row, mask=row < T, other=0)
    prefix_end = tl.load(prefix_ends + row, mask=row < T, other=0)
    G = H // group
    K += (head // group) * D
    V += (head // group) * D
    q = _rows_at(Q + head * D, row, T, H * D, D, BLOCK_D)
    grad_out = _rows_at(GradOut + head * D, row, T, H * D, D, BLOCK_D)
    lse = tl.load(Lse + head.to(tl.int64) * T + row, mask=row < T, other=0.0)
    delta = tl.load(Delta + head.to(tl.int64) * T + row, mask=row < T, other=0.0)
    grad_q = tl.zeros([OUTER, BLOCK_D], tl.float32)
    begin, full_begin, full_end, end = _key_range(first, last, starts, prefix_ends, window, INNER)
    grad_q = _query_gradients(
        grad_q, q, grad_out, lse, delta, K, V, row, start, prefix_end, begin, full_begin, T, G * D,
        scale, window, True, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    grad_q = _query_gradients(
        grad_q, q, grad_out, lse, delta, K, V, row, start, prefix_end, full_begin, full_end, T,
        G * D, scale, window, False, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    grad_q = _query_gradients(
        grad_q, q, grad_out, lse, delta, K, V, row, start, prefix_end, full_end, end, T, G * D,
        scale, window, True, D, BLOCK_D, INNER, PRECISION,
    )  # fmt: skip
    _store_rows(GradQ + head * D, row, T, H * D, grad_q * scale, D, BLOCK_D)
