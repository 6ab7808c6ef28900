"""The loss of the output layer, chunk by chunk: T x vocabulary logits are never whole in memory.

A chunk's logits are made, turned into their gradient where they lie, and multiplied into the
gradients of both inputs, all in the forward pass. Checkpointing would compute the output layer
twice: for the tiny preset with 8,192 pieces a fifth more products. The price is memory for a
gradient of each input.

On a CUDA device the rows are a Triton kernel's (cross_entropy_triton.py); `torch` is plain PyTorch,
for CPUs and float64, and the oracle. Bytes through memory for each bf16 logit, counted, not
measured: 6 in the kernel, which reads twice and writes once; 60 in PyTorch, on copies in float32.
Beside them the products read and write 6, and a chunk adds its share to the gradient of the weights
(16 for each weight): over 1,024 rows as much as 16 a logit at C = 1,024, over 4,096 rows 4.

Shapes: T tokens, C model dimension, V vocabulary, n tokens of a chunk.
"""

from typing import Literal, NamedTuple

import torch

from train.config import LOSS_CHUNK_BYTES

Implementation = Literal["torch", "triton"]
# Of a chunk's logits. A CPU likes what its caches hold: 8,192 tokens, a model of 128 and 8,192
# pieces take .86 s of a core in chunks of 16 MiB, 1.01 of 64; 1,024 pieces .106 and .137.
CHUNK_BYTES: dict[Implementation, int] = {"triton": LOSS_CHUNK_BYTES, "torch": 2**24}


class Losses(NamedTuple):
    total: torch.Tensor  # what to descend: cross-entropy and z-loss in nats, float32, summed
    nll_T: torch.Tensor  # cross-entropy of each token, 0 where it has no target; no gradient


class Rows(NamedTuple):
    """What the logits of a chunk give; float32, or float64 of float64 logits."""

    nll_n: torch.Tensor
    loss_n: torch.Tensor  # with the z-loss
    grad_nV: torch.Tensor  # of loss_n's sum by the logits, in their dtype


def cross_entropy(
    hidden_TC: torch.Tensor,
    weight_VC: torch.Tensor,
    targets_T: torch.Tensor,
    mask_T: torch.Tensor,
    z_loss: float = 0.0,
    impl: Implementation | None = None,
) -> Losses:
    """-log softmax(hidden @ weight.T)[target] + z_loss log(Z)^2 where mask_T. impl: by the device
    if not given, `triton` on CUDA, `torch` elsewhere and for float64."""
    if impl is None:
        impl = "triton" if hidden_TC.is_cuda and hidden_TC.dtype != torch.float64 else "torch"
    wanted = torch.is_grad_enabled()  # inside an autograd function it never is
    return Losses(
        *_ChunkedCrossEntropy.apply(hidden_TC, weight_VC, targets_T, mask_T, z_loss, impl, wanted)
    )


def chunk_tokens(vocab_size: int, bytes_each: int, impl: Implementation) -> int:
    """How many tokens' logits come to CHUNK_BYTES; a multiple of the products' tiles of 128."""
    return max(1, CHUNK_BYTES[impl] // (vocab_size * bytes_each * 128)) * 128


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_TC, weight_VC, targets_T, mask_T, z_loss, impl, wanted):
        rows = _implementation(impl)
        T, V = len(targets_T), len(weight_VC)
        accumulate = _wide(hidden_TC.dtype)
        with torch.autocast(hidden_TC.device.type, enabled=False):
            weight = weight_VC.to(hidden_TC.dtype)
            total = torch.zeros((), dtype=accumulate, device=hidden_TC.device)
            nll_T = torch.empty(T, dtype=accumulate, device=hidden_TC.device)
            grad_hidden = torch.empty_like(hidden_TC if wanted else hidden_TC[:0])
            grad_weight = torch.zeros_like(weight if wanted else weight[:0], dtype=accumulate)
            n = chunk_tokens(V, hidden_TC.element_size(), impl)
            for start in range(0, T, n):
                chunk = slice(start, start + n)
                logits = hidden_TC[chunk] @ weight.T
                found = rows(logits, targets_T[chunk], mask_T[chunk], z_loss, wanted)
                nll_T[chunk] = found.nll_n
                total += found.loss_n.sum()
                if wanted:
                    grad_hidden[chunk] = found.grad_nV @ weight
                    grad_weight += found.grad_nV.T @ hidden_TC[chunk]
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.mark_non_differentiable(nll_T)
        return total, nll_T

    @staticmethod
    def backward(ctx, grad_total, _):
        grad_hidden, grad_weight = ctx.saved_tensors
        # in float32: grad_total holds fp16's loss scale, or 1 over the tokens of the batch
        grad_hidden = (grad_hidden.to(grad_total.dtype) * grad_total).to(grad_hidden.dtype)
        return grad_hidden, grad_weight * grad_total, None, None, None, None, None


def torch_rows(
    logits_nV: torch.Tensor,
    targets_n: torch.Tensor,
    mask_n: torch.Tensor,
    z_loss: float,
    wanted: bool,
) -> Rows:
    """wanted: the gradient, which takes the place of the logits, or is theirs still."""
    logits = logits_nV.to(_wide(logits_nV.dtype))
    target, mask = targets_n[:, None], mask_n.to(logits.dtype)
    log_total = logits.logsumexp(-1)
    nll = (log_total - logits.gather(-1, target).squeeze(-1)) * mask
    loss = nll + z_loss * log_total.square() * mask if z_loss else nll
    if not wanted:
        return Rows(nll, loss, logits_nV)
    grad = logits.sub_(log_total[:, None]).exp_()
    if z_loss:  # d log(Z) / d logits is the softmax
        grad *= (1 + 2 * z_loss * log_total)[:, None]
    grad.scatter_add_(-1, target, grad.new_full(target.shape, -1.0))
    grad *= mask[:, None]
    return Rows(nll, loss, grad.to(logits_nV.dtype))


def _implementation(impl: Implementation):
    if impl == "torch":
        return torch_rows
    from train.cross_entropy_triton import triton_rows

    return triton_rows


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
