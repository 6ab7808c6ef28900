"""Causal attention in packed documents: one signature, implementations that agree, no fallback.

- `reference` is plain PyTorch, one document at a time, and the oracle for every other
  implementation: it runs in float64, forms n x n scores for a document of n tokens and never T x T.
- `sdpa` gives each document to scaled_dot_product_attention, which forms no scores at all: on two
  CPU cores 1.3x to 4x as fast, forward and backward (32 to 2,048 tokens, D 32 and 64). Both launch
  a few kernels for every document, which on a GPU costs more than the arithmetic of short ones.
- `triton` is our kernel for GPUs (attention_triton.py).
- `flex` is PyTorch's FlexAttention with a document mask, `varlen` its FlashAttention for packed
  documents: what there is without us, for comparison and as a second opinion on a GPU.

Shapes: T tokens, H query heads, G key/value heads (H a multiple of G), D head dimension, n tokens
of one document.
"""

import functools
import inspect
import itertools
import math
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch.nn.attention import flex_attention as flex

from train.attention_plan import plan_of

Implementation = Literal["reference", "sdpa", "triton", "flex", "varlen"]
ON_GPU_ONLY = ("triton", "flex", "varlen")


def attention(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    cu_seqlens: torch.Tensor,
    impl: Implementation = "reference",
    *,
    window: int = 0,
    prefix: torch.Tensor | None = None,
    plan: Any = None,
) -> torch.Tensor:
    """Each token attends to itself and the tokens before it in its document; scale 1/sqrt(D).
    Returns [T, H, D].

    cu_seqlens: int32 [documents + 1], strictly ascending from 0 to T. Query head h uses key/value
    head h // (H / G). window: keys a token sees at most, itself included; 0 for all. prefix: int32
    [documents], of so many tokens at a document's start each sees all (prefix-LM; not with a
    window). plan: what `make_plan` made of these documents, where several layers share it; without
    one it is made here, which checks cu_seqlens and so waits for the GPU.
    """
    T, H, D = q_THD.shape
    if k_TGD.shape != v_TGD.shape or k_TGD.shape[::2] != (T, D) or H % k_TGD.shape[1]:
        shapes = [tuple(x.shape) for x in (q_THD, k_TGD, v_TGD)]
        raise ValueError(
            f"attention: q, k, v of shapes {shapes}; want [T, H, D] and twice [T, G, D], H % G == 0"
        )
    if plan is None:
        plan = make_plan(cu_seqlens, T, impl, window=window, prefix=prefix)
    if impl == "triton":
        from train.attention_triton import triton_attention

        return triton_attention(q_THD, k_TGD, v_TGD, plan)
    if impl == "flex":
        return _flex(q_THD, k_TGD, v_TGD, plan)
    if impl == "varlen":
        return _varlen(q_THD, k_TGD, v_TGD, cu_seqlens, plan)
    documents = zip(*(x.split(plan) for x in (q_THD, k_TGD, v_TGD)), strict=True)
    if impl == "sdpa":
        return torch.cat([_sdpa(*qkv) for qkv in documents])
    prefixes = [0] * len(plan) if prefix is None else prefix.tolist()
    return torch.cat(
        [_reference(q, k, v, window, n) for (q, k, v), n in zip(documents, prefixes, strict=True)]
    )


def make_plan(
    cu_seqlens: torch.Tensor,
    n_tokens: int,
    impl: Implementation,
    *,
    window: int = 0,
    prefix: torch.Tensor | None = None,
    bounds: list[int] | None = None,
) -> Any:
    """What an implementation wants to know of the documents of a batch; one for all layers. bounds:
    what `document_bounds` made of the same cu_seqlens where they lie on the CPU, so that nothing
    waits for the GPU. Raises ValueError for cu_seqlens that are wrong, and for what the
    implementation cannot do."""
    if impl not in get_args(Implementation):
        raise ValueError(
            f"attention: no implementation {impl!r}; use one of {get_args(Implementation)}"
        )
    if window and prefix is not None:
        raise ValueError("attention: a window and a prefix; use one of them")
    if window < 0:
        raise ValueError(f"attention: window {window} is below 0; 0 is no window")
    if impl in ("sdpa", "varlen") and (window or prefix is not None):
        raise ValueError(f"attention: {impl} knows no window and no prefix; use triton or flex")
    check_device(impl, cu_seqlens.device)
    if bounds is None:
        bounds = document_bounds(cu_seqlens, n_tokens)
    lengths = [end - start for start, end in itertools.pairwise(bounds)]
    if prefix is not None:
        _check_prefix(prefix, lengths)
    if impl == "triton":
        return plan_of(cu_seqlens, n_tokens, window, prefix)
    if impl == "flex":
        return _block_mask(cu_seqlens, n_tokens, window, prefix)
    if impl == "varlen":
        return max(lengths)
    return lengths


def check_device(impl: Implementation, device: torch.device) -> None:
    """Raises ValueError where an implementation cannot run: there is no fallback."""
    if impl in ON_GPU_ONLY and device.type != "cuda":
        if impl == "triton":
            from triton import knobs

            if knobs.runtime.interpret:
                return  # TRITON_INTERPRET=1: for tests
        raise ValueError(
            f"attention: {impl} needs a CUDA device, the documents are on {device.type}; "
            "use 'sdpa' there"
        )


def document_bounds(cu_seqlens: torch.Tensor, n_tokens: int) -> list[int]:
    """cu_seqlens as a list. Raises ValueError unless it is int32, one-dimensional and ascends
    strictly from 0 to n_tokens."""
    if cu_seqlens.dtype != torch.int32 or cu_seqlens.dim() != 1 or len(cu_seqlens) < 2:
        raise ValueError(
            f"cu_seqlens: {cu_seqlens.dtype} of shape {tuple(cu_seqlens.shape)}; "
            "want int32 [documents + 1]"
        )
    bounds = cu_seqlens.tolist()
    if bounds[0] != 0 or bounds[-1] != n_tokens:
        raise ValueError(
            f"cu_seqlens: from {bounds[0]} to {bounds[-1]}; want from 0 to T = {n_tokens}"
        )
    for i, (start, end) in enumerate(itertools.pairwise(bounds)):
        if start >= end:
            raise ValueError(
                f"cu_seqlens[{i + 1}]: {end} is not above {start} before it; "
                "leave out empty documents"
            )
    return bounds


def _check_prefix(prefix: torch.Tensor, lengths: list[int]) -> None:
    if prefix.dtype != torch.int32 or prefix.shape != (len(lengths),):
        raise ValueError(
            f"attention: prefix is {prefix.dtype} of shape {tuple(prefix.shape)}; "
            f"want int32 [{len(lengths)}]"
        )
    for i, (n, length) in enumerate(zip(prefix.tolist(), lengths, strict=True)):
        if not 0 <= n <= length:
            raise ValueError(f"attention: prefix[{i}] is {n}, not within 0..{length}")


def _reference(
    q_nHD: torch.Tensor, k_nGD: torch.Tensor, v_nGD: torch.Tensor, window: int, prefix: int
) -> torch.Tensor:
    n, H, D = q_nHD.shape
    group = H // k_nGD.shape[1]
    k_nHD = k_nGD.repeat_interleave(group, dim=1)
    v_nHD = v_nGD.repeat_interleave(group, dim=1)
    scores_Hnn = torch.einsum("qhd,khd->hqk", q_nHD, k_nHD) / math.sqrt(D)
    hidden_nn = torch.ones(n, n, dtype=torch.bool, device=q_nHD.device).triu(1)
    hidden_nn[:, :prefix] = False
    if window:
        hidden_nn |= torch.ones_like(hidden_nn).tril(-window)
    weights_Hnn = scores_Hnn.masked_fill(hidden_nn, -math.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights_Hnn, v_nHD)


def _sdpa(q_nHD: torch.Tensor, k_nGD: torch.Tensor, v_nGD: torch.Tensor) -> torch.Tensor:
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q_nHD, k_nGD, v_nGD))
    out = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1]
    )
    return out.squeeze(0).transpose(0, 1)


def _block_mask(
    cu_seqlens: torch.Tensor, n_tokens: int, window: int, prefix: torch.Tensor | None
) -> flex.BlockMask:
    lengths = cu_seqlens.diff()
    documents = torch.arange(len(lengths), device=cu_seqlens.device)
    document_T = documents.repeat_interleave(lengths, output_size=n_tokens)
    ends = cu_seqlens[:-1] + (0 if prefix is None else prefix)
    prefix_end_T = ends.repeat_interleave(lengths, output_size=n_tokens)

    def seen(batch, head, q, k):
        ahead = (k <= q) | (k < prefix_end_T[q])
        near = q - k < window if window else ahead
        return (document_T[q] == document_T[k]) & ahead & near

    return flex.create_block_mask(
        seen, None, None, n_tokens, n_tokens, device=cu_seqlens.device, _compile=True
    )


@functools.cache
def _compiled_flex():
    return torch.compile(flex.flex_attention, dynamic=False)


def _flex(
    q_THD: torch.Tensor, k_TGD: torch.Tensor, v_TGD: torch.Tensor, mask: flex.BlockMask
) -> torch.Tensor:
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q_THD, k_TGD, v_TGD))
    out = _compiled_flex()(q, k, v, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
    return out.squeeze(0).transpose(0, 1)


def _varlen(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    cu_seqlens: torch.Tensor,
    longest: int,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    group = q_THD.shape[1] // k_TGD.shape[1]
    if group > 1:  # PyTorch 2.11's knows no grouped heads
        k_TGD, v_TGD = (x.repeat_interleave(group, dim=1) for x in (k_TGD, v_TGD))
    named_window = "window_size" in inspect.signature(varlen_attn).parameters
    causal: dict = {"window_size": (-1, 0)} if named_window else {"is_causal": True}
    out = varlen_attn(q_THD, k_TGD, v_TGD, cu_seqlens, cu_seqlens, longest, longest, **causal)
    assert isinstance(out, torch.Tensor), type(out)
    return out
