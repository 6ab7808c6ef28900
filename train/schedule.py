"""The learning rate of each step: a linear warm-up, then a cosine down to a tenth (Touvron et al.
2023, arXiv 2302.13971, section 2.3)."""

import math

from train.config import Train


def learning_rate(step: int, config: Train) -> float:
    """Of step 0, 1, ...: 1/w of the peak in the first of w warm-up steps, the peak in the last of
    them, and final_fraction of the peak in the run's last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    after = config.steps - config.warmup_steps
    progress = min((step + 1 - config.warmup_steps) / after, 1.0)
    low = config.final_fraction
    return config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * progress)) / 2)
