"""Cross-entropy, z-loss and their gradient of a chunk's logits, in place: a Triton program a row.

It reads the row twice, in blocks: once for the maximum and the sum (Milakov and Gimelshein 2018,
arXiv 1805.02867, algorithm 3), once for the gradient, which it writes over the logits. The second
reading comes out of the L2 cache: 132 multiprocessors with 5 programs of 64 KB each (32,000 pieces
in bf16) are 42 MB of an H200's 50.

Arithmetic is float32 whatever the logits are, on differences from the maximum, so large logits lose
nothing. An overflowed logit gives a loss that is not finite, and so does a target that is no piece.
"""

import torch
import triton
import triton.language as tl

from train.cross_entropy import Rows

# On sm_90, bf16: 48 registers a thread, nothing spilled, 16 bytes a load (2 where V is no multiple
# of 8: 64 registers). Blocks of 8,192 take 122, and with them half the programs.
BLOCK, WARPS = 4096, 8


def triton_rows(
    logits_nV: torch.Tensor,
    targets_n: torch.Tensor,
    mask_n: torch.Tensor,
    z_loss: float,
    wanted: bool,
) -> Rows:
    """As `torch_rows`; the gradient always takes the place of the logits. Raises ValueError for
    what the kernel cannot do."""
    if logits_nV.dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise ValueError(f"cross_entropy: {logits_nV.dtype}; the kernel takes bf16, fp16 and fp32")
    assert logits_nV.is_contiguous(), logits_nV.stride()
    n, V = logits_nV.shape
    nll, loss = torch.empty(2, n, dtype=torch.float32, device=logits_nV.device)
    with torch.cuda.device_of(logits_nV):  # Triton launches on the current device
        cross_entropy_rows[(n,)](
            logits_nV, targets_n, mask_n, nll, loss, z_loss,
            V=V, BLOCK=min(BLOCK, triton.next_power_of_2(V)), WANTED=wanted, num_warps=WARPS,
        )  # fmt: skip
    return Rows(nll, loss, logits_nV)


@triton.jit
def cross_entropy_rows(
    Logits, Targets, Mask, Nll, Loss, z_loss, V: tl.constexpr, BLOCK: tl.constexpr,
    WANTED: tl.constexpr,
):  # fmt: skip
    LOG2_E: tl.constexpr = 1.4426950408889634
    row = tl.program_id(0).to(tl.int64)
    logits = Logits + row * V
    target = tl.load(Targets + row)
    counted = tl.load(Mask + row).to(tl.float32)
    # An id that is none gives a NaN.
    known = (target >= 0) & (target < V)
    at_target = tl.load(logits + target, mask=known, other=float("nan")).to(tl.float32)
    # The maximum is the row's, the sum stays spread over the threads until the end.
    peak = float("-inf")
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, V, BLOCK):
        piece = first + tl.arange(0, BLOCK)
        x = tl.load(logits + piece, mask=piece < V, other=float("-inf")).to(tl.float32)
        new_peak = tl.maximum(peak, tl.max(x, 0))
        total = total * tl.exp2((peak - new_peak) * LOG2_E) + tl.exp2((x - new_peak) * LOG2_E)
        peak = new_peak
    Z = tl.sum(total, 0)  # over e^peak
    log_Z = tl.log(Z)
    nll = (peak - at_target + log_Z) * counted
    log_Z += peak
    tl.store(Nll + row, nll)
    tl.store(Loss + row, nll + z_loss * log_Z * log_Z * counted)
    if WANTED:
        tl.debug_barrier()  # every thread has read what it wants of the row
        scale = (1 + 2 * z_loss * log_Z) * counted / Z  # d log(Z) / d logits is the softmax
        for first in range(0, V, BLOCK):
            piece = first + tl.arange(0, BLOCK)
            x = tl.load(logits + piece, mask=piece < V, other=0.0).to(tl.float32)
            gradient = tl.exp2((x - peak) * LOG2_E) * scale
            gradient = tl.where(piece == target, gradient - counted, gradient)
            tl.store(logits + piece, gradient.to(Logits.dtype.element_ty), mask=piece < V)
