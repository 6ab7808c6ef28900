"""The Triton kernels of packed causal attention; attention_triton.py calls them and says what for.

Math: Dao 2023 (arXiv 2307.08691), algorithms 1 and 2, with base-2 exponents. Heads are the fastest
index of a grid (neighbours share keys in the L2 cache), which has one dimension because the others
end at 65,535. Offsets of rows are int64: T x H x D passes 2^31 at 130k tokens of 128 heads of 128.

Shapes: T tokens, H query heads, G key/value heads, D head dimension.
"""

import triton
import triton.language as tl


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
def _source(
    pointer, T, row_stride, TMA: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """What `_fetch_rows` reads blocks of N rows from: the pointer, or a descriptor for the copy
    engine (TMA) of Hopper, which computes the addresses and fills up with zeros by itself."""
    if TMA:
        return tl.make_tensor_descriptor(pointer, [T, D], [row_stride, 1], [N, BLOCK_D])
    else:
        return pointer


@triton.jit
def _fetch_rows(
    source, first, end, row_stride, CHECKED: tl.constexpr, N: tl.constexpr, D: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """`_load_rows`, from a `_source`."""
    if isinstance(source, tl.core.tensor_descriptor_base):
        return source.load([first, 0])
    else:
        return _load_rows(source, first, end, row_stride, CHECKED, N, D, BLOCK_D)


@triton.jit
def _load_numbers(pointer, first, end, CHECKED: tl.constexpr, N: tl.constexpr):
    """One number a row [N]. The second copy, and the maximum of equals, keep Triton from giving the
    load the layout of the scores, where each thread would fetch 16 of them, 4 bytes at a time: of
    the 336 bytes that a thread spills in `backward_keys` (D 128) 152 are left."""
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
def _work_item(turn, n_work, PERSISTENT: tl.constexpr):
    """Which tile and head a program does at its turn; of a persistent grid each has several. They
    come longest first, and every other turn goes through the programs backwards, so that each gets
    about as much. What is left over in the last turn does the last one again."""
    program = tl.program_id(0)
    if PERSISTENT:
        n_programs = tl.num_programs(0)
        backwards = n_programs - 1 - program
        work = turn * n_programs + tl.where(turn % 2 == 0, program, backwards)
        return tl.minimum(work, n_work - 1)
    else:
        return program


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
        k = _fetch_rows(K, at, end, stride, MASKED, INNER, D, BLOCK_D)
        scores = tl.dot(q, k.T, input_precision=PRECISION)
        if MASKED:
            seen = (key[None, :] >= seen_begin[:, None]) & (key[None, :] < seen_end[:, None])
            scores = tl.where(seen, scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1) * scale)
        shift = tl.where(new_peak == float("-inf"), 0.0, new_peak) if MASKED else new_peak
        weights = tl.exp2(scores * scale - shift[:, None])
        rescale = tl.exp2(peak - shift)
        total = total * rescale + tl.sum(weights, 1)
        v = _fetch_rows(V, at, end, stride, MASKED, INNER, D, BLOCK_D)
        acc = acc * rescale[:, None]
        acc = tl.dot(weights.to(v.dtype), v, acc, input_precision=PRECISION)
        peak = new_peak
    return acc, peak, total


@triton.jit
def forward(
    Q, K, V, Out, Lse, Begin, End, order, n_work, T, H, group, scale, D: tl.constexpr,
    BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr, PRECISION: tl.constexpr,
    TMA: tl.constexpr, PERSISTENT: tl.constexpr,
):  # fmt: skip
    for turn in range(tl.cdiv(n_work, tl.num_programs(0)) if PERSISTENT else 1):
        work = _work_item(turn, n_work, PERSISTENT)
        head = work % H
        first = tl.load(order + work // H) * OUTER
        last = tl.minimum(first + OUTER, T) - 1
        row = first + tl.arange(0, OUTER)
        seen_begin = tl.load(Begin + row, mask=row < T, other=0)
        seen_end = tl.load(End + row, mask=row < T, other=0)
        G = H // group
        kv_at = (head // group) * D
        k_source = _source(K + kv_at, T, G * D, TMA, INNER, D, BLOCK_D)
        v_source = _source(V + kv_at, T, G * D, TMA, INNER, D, BLOCK_D)
        q = _load_rows(Q + head * D, first, T, H * D, True, OUTER, D, BLOCK_D)
        acc = tl.zeros([OUTER, BLOCK_D], tl.float32)
        peak = tl.full([OUTER], float("-inf"), tl.float32)
        total = tl.zeros([OUTER], tl.float32)
        begin, n_before, n_full, n_masked = _tile_range(first, last, Begin, End, INNER)
        acc, peak, total = _softmax_steps(
            acc, peak, total, q, k_source, v_source, seen_begin, seen_end, begin, n_before, n_full,
            n_full, T, G * D, scale, False, D, BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        acc, peak, total = _softmax_steps(
            acc, peak, total, q, k_source, v_source, seen_begin, seen_end, begin, n_before, n_full,
            n_masked, T, G * D, scale, True, D, BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        total = tl.where(row < T, total, 1.0)
        _store_rows(Out + head * D, first, T, H * D, acc / total[:, None], OUTER, D, BLOCK_D)
        tl.store(Lse + head.to(tl.int64) * T + row, peak + tl.log2(total), mask=row < T)


@triton.jit
def deltas(Out, GradOut, Delta, T, H, D: tl.constexpr, BLOCK_D: tl.constexpr, ROWS: tl.constexpr):
    """Delta [H, T]: the products of output and its gradient, summed over D."""
    head = tl.program_id(0) % H
    first = tl.program_id(0) // H * ROWS
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
        q = _fetch_rows(Q, at, end, stride, MASKED, INNER, D, BLOCK_D)
        lse = _load_numbers(Lse, at, end, MASKED, INNER)
        delta = _load_numbers(Delta, at, end, MASKED, INNER)
        scores = tl.dot(k, q.T, input_precision=PRECISION)  # [keys, rows]
        weights = tl.exp2(scores * (scale * 1.4426950408889634) - lse[None, :])
        if MASKED:
            seen = (row[None, :] >= seen_begin[:, None]) & (row[None, :] < seen_end[:, None])
            weights = tl.where(seen, weights, 0.0)
        grad_out = _fetch_rows(GradOut, at, end, stride, MASKED, INNER, D, BLOCK_D)
        grad_v = tl.dot(weights.to(v.dtype), grad_out, grad_v, input_precision=PRECISION)
        grad_weights = tl.dot(v, grad_out.T, input_precision=PRECISION)
        grad_scores = weights * (grad_weights - delta[None, :])
        grad_k = tl.dot(grad_scores.to(v.dtype), q, grad_k, input_precision=PRECISION)
    return grad_k, grad_v


@triton.jit
def backward_keys(
    Q, K, V, GradOut, GradK, GradV, Lse, Delta, Begin, End, order, n_work, T, H, G, scale,
    D: tl.constexpr, BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr, TMA: tl.constexpr, PERSISTENT: tl.constexpr,
):  # fmt: skip
    for turn in range(tl.cdiv(n_work, tl.num_programs(0)) if PERSISTENT else 1):
        work = _work_item(turn, n_work, PERSISTENT)
        kv_head = work % G
        first = tl.load(order + work // G) * OUTER
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
            q_source = _source(Q + of_head, T, H * D, TMA, INNER, D, BLOCK_D)
            grad_source = _source(GradOut + of_head, T, H * D, TMA, INNER, D, BLOCK_D)
            grad_k, grad_v = _key_gradients(
                grad_k, grad_v, k, v, q_source, grad_source, Lse + at_head, Delta + at_head,
                seen_begin, seen_end, begin, n_before, n_full, n_full, T, H * D, scale, False, D,
                BLOCK_D, INNER, PRECISION,
            )  # fmt: skip
            grad_k, grad_v = _key_gradients(
                grad_k, grad_v, k, v, q_source, grad_source, Lse + at_head, Delta + at_head,
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
        k = _fetch_rows(K, at, end, stride, MASKED, INNER, D, BLOCK_D)
        v = _fetch_rows(V, at, end, stride, MASKED, INNER, D, BLOCK_D)
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
def backward_queries(
    Q, K, V, GradOut, GradQ, Lse, Delta, Begin, End, order, n_work, T, H, group, scale,
    D: tl.constexpr, BLOCK_D: tl.constexpr, OUTER: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr, TMA: tl.constexpr, PERSISTENT: tl.constexpr,
):  # fmt: skip
    for turn in range(tl.cdiv(n_work, tl.num_programs(0)) if PERSISTENT else 1):
        work = _work_item(turn, n_work, PERSISTENT)
        head = work % H
        first = tl.load(order + work // H) * OUTER
        last = tl.minimum(first + OUTER, T) - 1
        row = first + tl.arange(0, OUTER)
        seen_begin = tl.load(Begin + row, mask=row < T, other=0)
        seen_end = tl.load(End + row, mask=row < T, other=0)
        G = H // group
        kv_at = (head // group) * D
        k_source = _source(K + kv_at, T, G * D, TMA, INNER, D, BLOCK_D)
        v_source = _source(V + kv_at, T, G * D, TMA, INNER, D, BLOCK_D)
        q = _load_rows(Q + head * D, first, T, H * D, True, OUTER, D, BLOCK_D)
        grad_out = _load_rows(GradOut + head * D, first, T, H * D, True, OUTER, D, BLOCK_D)
        lse = tl.load(Lse + head.to(tl.int64) * T + row, mask=row < T, other=0.0)
        delta = tl.load(Delta + head.to(tl.int64) * T + row, mask=row < T, other=0.0)
        grad_q = tl.zeros([OUTER, BLOCK_D], tl.float32)
        begin, n_before, n_full, n_masked = _tile_range(first, last, Begin, End, INNER)
        grad_q = _query_gradients(
            grad_q, q, grad_out, lse, delta, k_source, v_source, seen_begin, seen_end, begin,
            n_before, n_full, n_full, T, G * D, scale, False, D, BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        grad_q = _query_gradients(
            grad_q, q, grad_out, lse, delta, k_source, v_source, seen_begin, seen_end, begin,
            n_before, n_full, n_masked, T, G * D, scale, True, D, BLOCK_D, INNER, PRECISION,
        )  # fmt: skip
        _store_rows(GradQ + head * D, first, T, H * D, grad_q * scale, OUTER, D, BLOCK_D)
