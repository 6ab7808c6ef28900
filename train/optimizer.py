"""Optimizers, with decay on matrices only (Loshchilov and Hutter 2019, arXiv 1711.05101): norms are
scales, and decay would pull them to zero. GPT-3's betas and decay (Brown et al. 2020, arXiv
2005.14165, appendix B) are the defaults in train.config.

- AdamW: two float32 numbers of state for each weight.
- Adafactor (Shazeer and Stern 2018, arXiv 1804.04235): means of the rows and columns of the squared
  gradients instead, next to no memory; no momentum.
- Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982, equation 4 for the scale): momentum,
  orthogonalised, for the matrices inside the blocks; one number of state for each of their weights
  and five matrix products a step. The rest goes to AdamW, so there are two optimizers.
"""

import torch
from torch import optim
from torch.distributed.tensor import DTensor

from train.config import Train


def make_optimizers(model: torch.nn.Module, config: Train) -> list[optim.Optimizer]:
    """Raises ValueError where this PyTorch does not have the one that is asked for."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    if config.optimizer == "adafactor":
        return [_torchs("Adafactor")(_groups(matrices, vectors, config), lr=config.learning_rate)]
    if config.optimizer == "muon":
        inside = {p for name, p in model.named_parameters() if "blocks." in name and p.dim() == 2}
        muon = _torchs("Muon")(
            [p for p in matrices if p in inside],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        return [muon, _adamw([p for p in matrices if p not in inside], vectors, config)]
    return [_adamw(matrices, vectors, config)]


def _adamw(
    matrices: list[torch.nn.Parameter], vectors: list[torch.nn.Parameter], config: Train
) -> optim.Optimizer:
    return optim.AdamW(
        _groups(matrices, vectors, config),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=config.device == "cuda",
    )


def _groups(
    matrices: list[torch.nn.Parameter], vectors: list[torch.nn.Parameter], config: Train
) -> list[dict]:
    """A group for each mesh of ranks that weights are sharded over, for PyTorch updates the weights
    of a group together and cannot mix them."""
    groups: dict[tuple, dict] = {}
    for weights, decay in ((matrices, config.weight_decay), (vectors, 0.0)):
        for weight in weights:
            mesh = weight.device_mesh if isinstance(weight, DTensor) else None
            group = groups.setdefault((decay, mesh), {"params": [], "weight_decay": decay})
            group["params"].append(weight)
    return list(groups.values())


def _torchs(name: str):
    if not hasattr(optim, name):
        raise ValueError(
            f"optimizer: PyTorch {torch.__version__} has no {name}; use adamw, or a newer PyTorch"
        )
    return getattr(optim, name)
