"""The transformer: pre-norm RMSNorm, rotary positions, SwiGLU, grouped-query attention, no biases,
in one file.

LLaMA's recipe (Touvron et al. 2023, arXiv 2302.13971, section 2.2), on rows that hold many
documents: attention stays within a document and positions restart with it.

Shapes: T tokens (all rows of a batch, one after the other), C model dimension, H query heads, G
key/value heads, D head dimension.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from train.attention import Implementation, attention, make_plan
from train.config import Model
from train.cross_entropy import Losses, cross_entropy

# GPT-2's; residual projections are divided by sqrt(2 n_layers) (Radford et al. 2019, section 2.3).
INIT_STD = 0.02


class Transformer(nn.Module):
    """z_loss, embedding_gradient, recompute: see `train.config.Train`."""

    def __init__(
        self,
        config: Model,
        seed: int = 0,
        impl: Implementation = "sdpa",
        *,
        z_loss: float = 0.0,
        embedding_gradient: float = 1.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.impl, self.z_loss = config, impl, z_loss
        self.embedding_gradient, self.recompute = embedding_gradient, recompute
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config, impl) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.output.weight = self.embedding.weight
        init_weights(self, seed)

    def forward(
        self,
        tokens_T: torch.Tensor,
        targets_T: torch.Tensor,
        mask_T: torch.Tensor,
        positions_T: torch.Tensor,
        cu_seqlens: torch.Tensor,
        plan: Any = None,
    ) -> Losses:
        """The loss over the tokens that have a target. Those without (a document's last: well under
        1% of the web's) are computed too and count 0: to pick the others out by their mask would
        wait for the GPU."""
        hidden_TC = self.hidden(tokens_T, positions_T, cu_seqlens, plan)
        if torch.is_autocast_enabled(hidden_TC.device.type):
            hidden_TC = hidden_TC.to(torch.get_autocast_dtype(hidden_TC.device.type))
        return cross_entropy(hidden_TC, self.output.weight, targets_T, mask_T, self.z_loss)

    def hidden(
        self,
        tokens_T: torch.Tensor,
        positions_T: torch.Tensor,
        cu_seqlens: torch.Tensor,
        plan: Any = None,
    ) -> torch.Tensor:
        """The last hidden states, normed, [T, C]. plan: of `make_plan`, made here (which waits for
        the device) where it is not given."""
        rotation = rotary_angles(positions_T, self.config.head_dim, self.config.rope_theta)
        if plan is None:
            plan = make_plan(cu_seqlens, len(tokens_T), self.impl)
        x_TC = self.embedding(tokens_T)
        if self.embedding_gradient != 1.0:
            x_TC = x_TC * self.embedding_gradient + x_TC.detach() * (1 - self.embedding_gradient)
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x_TC = checkpoint(block, x_TC, rotation, cu_seqlens, plan, use_reentrant=False)
            else:
                x_TC = block(x_TC, rotation, cu_seqlens, plan)
        return self.norm(x_TC)


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
        heads = (-1, self.config.head_dim)  # tensor parallel ranks have some of them
        q_THD = self.query(h_TC).unflatten(-1, heads)
        k_TGD = self.key(h_TC).unflatten(-1, heads)
        v_TGD = self.value(h_TC).unflatten(-1, heads)
        if self.config.qk_norm:
            wide = self.query_norm.weight.dtype  # norms are computed in it under bf16 too
            q_THD, k_TGD = self.query_norm(q_THD.to(wide)), self.key_norm(k_TGD.to(wide))
        q_THD, k_TGD = rotate(q_THD, rotation), rotate(k_TGD, rotation)
        a_THD = _attention(
            q_THD.to(v_TGD.dtype), k_TGD.to(v_TGD.dtype), v_TGD, cu_seqlens, self.impl, plan=plan
        )
        x_TC = x_TC + self.attention_out(a_THD.flatten(-2))
        h_TC = self.mlp_norm(x_TC)
        return x_TC + self.mlp_out(F.silu(self.gate(h_TC)) * self.up(h_TC))


@torch.compiler.disable
def _attention(*arguments: Any, **options: Any) -> torch.Tensor:
    """Not traced by torch.compile: its kernels are compiled already, and its plan has another
    length in every batch, for each of which a block would be compiled again."""
    return attention(*arguments, **options)


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
