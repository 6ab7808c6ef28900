"""The transformer: pre-norm RMSNorm, rotary positions, SwiGLU, grouped-query attention, no biases,
in one file.

LLaMA's recipe (Touvron et al. 2023, arXiv 2302.13971, section 2.2), on rows that hold many
documents: attention stays within a document and positions restart with it. The loss never holds T x
vocabulary logits, only CHUNK_TOKENS rows of them at a time.

Shapes: T tokens (all rows of a batch, one after the other), C model dimension, H query heads, G
key/value heads, D head dimension, V vocabulary, n tokens of a chunk.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from train.attention import Implementation, attention, make_plan
from train.config import Model

CHUNK_TOKENS = 1024
# GPT-2's; residual projections are divided by sqrt(2 n_layers) (Radford et al. 2019, section 2.3).
INIT_STD = 0.02


class Transformer(nn.Module):
    def __init__(self, config: Model, seed: int = 0, impl: Implementation = "sdpa") -> None:
        super().__init__()
        self.config, self.impl = config, impl
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config, impl) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.output.weight = self.embedding.weight
        init_weights(self, seed)

    def forward(
        self, tokens_T: torch.Tensor, positions_T: torch.Tensor, cu_seqlens: torch.Tensor
    ) -> torch.Tensor:
        """The last hidden states, normed, [T, C]."""
        rotation = rotary_angles(positions_T, self.config.head_dim, self.config.rope_theta)
        plan = make_plan(cu_seqlens, len(tokens_T), self.impl)
        x_TC = self.embedding(tokens_T)
        for block in self.blocks:
            x_TC = block(x_TC, rotation, cu_seqlens, plan)
        return self.norm(x_TC)

    def loss_sum(
        self,
        tokens_T: torch.Tensor,
        targets_T: torch.Tensor,
        mask_T: torch.Tensor,
        positions_T: torch.Tensor,
        cu_seqlens: torch.Tensor,
    ) -> torch.Tensor:
        """Cross-entropy in nats, float32, summed over the tokens that have a target."""
        hidden_TC = self(tokens_T, positions_T, cu_seqlens)
        if torch.is_autocast_enabled(hidden_TC.device.type):
            hidden_TC = hidden_TC.to(torch.get_autocast_dtype(hidden_TC.device.type))
        return cross_entropy_sum(hidden_TC[mask_T], self.output.weight, targets_T[mask_T])


class Block(nn.Module):
    def __init__(self, config: Model, impl: Implementation) -> None:
        super().__init__()
        self.config, self.impl = config, impl
        kv_dim = config.n_kv_heads * config.head_dim
        self.attention_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.query = nn.Linear(config.dim, config.dim, bias=False)
        self.key = nn.Linear(config.dim, kv_dim, bias=False)
        self.value = nn.Linear(config.dim, kv_dim, bias=False)
        self.attention_out = nn.Linear(config.dim, config.dim, bias=False)
        if config.qk_norm:
            self.query_norm = nn.RMSNorm(config.head_dim, eps=config.norm_eps)
            self.key_norm = nn.RMSNorm(config.head_dim, eps=config.norm_eps)
        self.mlp_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.gate = nn.Linear(config.dim, config.hidden, bias=False)
        self.up = nn.Linear(config.dim, config.hidden, bias=False)
        self.mlp_out = nn.Linear(config.hidden, config.dim, bias=False)

    def forward(
        self,
        x_TC: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        cu_seqlens: torch.Tensor,
        plan: Any,
    ) -> torch.Tensor:
        h_TC = self.attention_norm(x_TC)
        q_THD = self.query(h_TC).unflatten(-1, (self.config.n_heads, self.config.head_dim))
        k_TGD = self.key(h_TC).unflatten(-1, (self.config.n_kv_heads, self.config.head_dim))
        v_TGD = self.value(h_TC).unflatten(-1, (self.config.n_kv_heads, self.config.head_dim))
        if self.config.qk_norm:
            wide = self.query_norm.weight.dtype  # norms are computed in it under bf16 too
            q_THD, k_TGD = self.query_norm(q_THD.to(wide)), self.key_norm(k_TGD.to(wide))
        q_THD, k_TGD = rotate(q_THD, rotation), rotate(k_TGD, rotation)
        a_THD = attention(
            q_THD.to(v_TGD.dtype), k_TGD.to(v_TGD.dtype), v_TGD, cu_seqlens, self.impl, plan=plan
        )
        x_TC = x_TC + self.attention_out(a_THD.flatten(-2))
        h_TC = self.mlp_norm(x_TC)
        return x_TC + self.mlp_out(F.silu(self.gate(h_TC)) * self.up(h_TC))


def rotary_angles(
    positions_T: torch.Tensor, head_dim: int, theta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin, float32 [T, 1, D / 2] (Su et al. 2021, arXiv 2104.09864, equation 34)."""
    exponents = (
        torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions_T.device) / head_dim
    )
    angles = positions_T.float()[:, None] * theta**-exponents
    return angles.cos()[:, None], angles.sin()[:, None]


def rotate(x_THD: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turns dimension i against dimension i + D / 2, as the Hugging Face and GPT-NeoX layouts
    do."""
    cos, sin = rotation
    left, right = x_THD.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


def init_weights(model: Transformer, seed: int) -> None:
    """Every weight from one generator on the CPU, in the order of names: the same on any device."""
    generator = torch.Generator().manual_seed(seed)
    residual_std = INIT_STD / (2 * model.config.n_layers) ** 0.5
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.dim() < 2:
                weight.fill_(1.0)
                continue
            std = (
                residual_std
                if name.endswith(("attention_out.weight", "mlp_out.weight"))
                else INIT_STD
            )
            weight.copy_(torch.empty(weight.shape).normal_(0.0, std, generator=generator))


def cross_entropy_sum(
    hidden_nC: torch.Tensor, weight_VC: torch.Tensor, targets_n: torch.Tensor
) -> torch.Tensor:
    """Sum over n of -log softmax(hidden @ weight.T)[target], without ever holding more than
    CHUNK_TOKENS rows of logits."""
    wanted = torch.is_grad_enabled()  # inside an autograd function it never is
    return _ChunkedCrossEntropy.apply(hidden_nC, weight_VC, targets_n, wanted)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Both gradients are made in the forward pass, where a chunk's logits are at hand.

    Checkpointing would compute the output layer twice: for the tiny preset with 8,192 pieces a
    fifth more products. The price is memory for a gradient of each input.
    """

    @staticmethod
    def forward(ctx, hidden_nC, weight_VC, targets_n, wanted):
        accumulate = torch.float64 if hidden_nC.dtype == torch.float64 else torch.float32
        with torch.autocast(hidden_nC.device.type, enabled=False):
            weight = weight_VC.to(hidden_nC.dtype)
            total = torch.zeros((), dtype=accumulate, device=hidden_nC.device)
            grad_hidden = torch.empty_like(hidden_nC if wanted else hidden_nC[:0])
            grad_weight = torch.zeros_like(weight if wanted else weight[:0], dtype=accumulate)
            for start in range(0, len(targets_n), CHUNK_TOKENS):
                chunk = slice(start, start + CHUNK_TOKENS)
                logits = (hidden_nC[chunk] @ weight.T).to(accumulate)
                log_total = logits.logsumexp(-1)
                target = targets_n[chunk, None]
                total += (log_total - logits.gather(-1, target).squeeze(-1)).sum()
                if wanted:
                    grad_logits = logits.sub_(log_total[:, None]).exp_()
                    grad_logits.scatter_add_(-1, target, grad_logits.new_full(target.shape, -1.0))
                    grad_logits = grad_logits.to(hidden_nC.dtype)
                    grad_hidden[chunk] = grad_logits @ weight
                    grad_weight += grad_logits.T @ hidden_nC[chunk]
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx, grad_total):
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            (grad_hidden * grad_total).to(grad_hidden.dtype),
            grad_weight * grad_total,
            None,
            None,
        )
