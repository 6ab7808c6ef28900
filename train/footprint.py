"""How much memory a training run needs: weights, gradients and optimizer states by ZeRO stage, and
what the backward pass keeps of the forward one.

States are those of Rajbhandari et al. 2020 (arXiv 1910.02054, section 3.1 and figure 1). Kept
activations are counted on our own block (`train/model.py`), tensor by tensor, and the test counts
them again on a real one: within 3 %. Korthikanti et al. 2022 (arXiv 2205.05198, equation 2) give 34
bytes a token, layer and unit of width for GPT's block in 16 bits with dropout; ours, SwiGLU without
it, but with norms and the residual in 32 bits, comes to 57. Not counted: fragmentation, buffers for
communication, the allocator's rounding; 10 to 20 % more is usual.
"""

from typing import Literal, NamedTuple

from train.config import LOSS_CHUNK_BYTES, Model, parameter_count

Precision = Literal["mixed", "autocast", "fp32"]
# Bytes a weight: (weights, gradients, optimizer). mixed: 16-bit weights and gradients, and a copy,
# momentum and variance in 32 bits. autocast: what train/loop.py does under precision = "bf16",
# 32-bit weights and gradients, and a 16-bit copy for the products.
STATE_BYTES: dict[str, tuple[int, int, int]] = {
    "mixed": (2, 2, 12),
    "autocast": (4 + 2, 4, 8),
    "fp32": (4, 4, 8),
}


class States(NamedTuple):
    """Bytes on each device."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer


def state_bytes(
    n_weights: float, n_devices: int, stage: int, precision: Precision = "mixed"
) -> States:
    """ZeRO's stage 1 divides the optimizer's states among the devices, 2 also the gradients, 3 also
    the weights; 0 is plain data parallelism."""
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"stage: {stage} is not one of 0, 1, 2, 3")
    if n_devices < 1:
        raise ValueError(f"n_devices: {n_devices} is below 1")
    weights, gradients, optimizer = (n_weights * size for size in STATE_BYTES[precision])
    return States(
        weights / (n_devices if stage >= 3 else 1),
        gradients / (n_devices if stage >= 2 else 1),
        optimizer / (n_devices if stage >= 1 else 1),
    )


def activation_bytes(
    model: Model, n_tokens: int, precision: Precision = "mixed", checkpointing: bool = False
) -> float:
    """Of n_tokens on one device, attention that keeps no scores (sdpa, flash) assumed.

    checkpointing: a block's input is kept and the block computed again in the backward pass, one at
    a time (Chen et al. 2016, arXiv 1604.06174): a third more operations.
    """
    block = _block_bytes(model, precision)
    layers = model.n_layers * 4 * model.dim + block if checkpointing else model.n_layers * block
    # the last norm's input and output; the loss's gradient of its input; a chunk of logits, which
    # their gradient overwrites
    head = 3 * 4 * model.dim
    narrow = 4 if precision == "fp32" else 2
    logits = min(LOSS_CHUNK_BYTES, narrow * n_tokens * model.vocab_size)
    return n_tokens * (layers + head) + logits


def _block_bytes(model: Model, precision: Precision) -> float:
    """Bytes a token that the backward pass of one block needs."""
    kv_dim = model.n_kv_heads * model.head_dim
    wide, narrow = 4, 4 if precision == "fp32" else 2
    # inputs and normed inputs of both norms; with qk_norm those of q and k, too
    norms = wide * (4 * model.dim + (2 * (model.dim + kv_dim) if model.qk_norm else 0))
    # q, k and v after rotation, what attention gives, and (under autocast) narrow copies of each
    # norm's output and of what attention gives, for the products
    copies = 3 if precision == "fp32" else 6
    attention = narrow * (2 * model.dim + 2 * kv_dim)
    swiglu = narrow * 4 * model.hidden
    return norms + narrow * copies * model.dim + attention + swiglu


def shape_of(n_weights: float, vocab_size: int) -> Model:
    """The model of about so many weights with LLaMA's proportions: heads of 128, a layer for each
    128 of width, SwiGLU of 8/3 width (Touvron et al. 2023, table 2: 7B is 4096 by 32). Below 300 M
    weights heads are of 64 and the embeddings tied."""
    small = n_weights < 3e8
    unit = 64 if small else 128
    shapes = (
        Model(
            dim=dim,
            n_layers=max(2, round(dim / 128)),
            n_heads=dim // unit,
            n_kv_heads=dim // unit,
            hidden=-(-8 * dim // (3 * unit)) * unit,
            vocab_size=vocab_size,
            tied_embeddings=small,
        )
        for dim in range(unit, 65536, unit)
    )
    best = next(shapes)
    for shape in shapes:
        if abs(parameter_count(shape) - n_weights) > abs(parameter_count(best) - n_weights):
            break
        best = shape
    return best
