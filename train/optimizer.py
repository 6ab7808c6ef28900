"""AdamW with decay on matrices only (Loshchilov and Hutter 2019, arXiv 1711.05101): norms are
scales, and decay would pull them to zero. GPT-3's betas and decay (Brown et al. 2020, arXiv
2005.14165, appendix B) are the defaults in train.config."""

import torch

from train.config import Train


def make_optimizer(model: torch.nn.Module, config: Train) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
    )
