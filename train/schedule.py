"""What changes from step to step: the learning rate, the rows of a batch, the length of sequences.

All of them are functions of the step alone, so a run resumes anywhere. Learning rate: a linear
warm-up, then a cosine down to a tenth (Touvron et al. 2023, arXiv 2302.13971, section 2.3), or the
peak until a straight decay at the end (Haegele et al. 2024, arXiv 2405.18392, section 3). Batch: a
linear ramp (Brown et al. 2020, arXiv 2005.14165, table 2.1: 32k to 3.2M tokens over the first 4
to 12 billion). Sequence length: short ones first (Li et al. 2022, arXiv 2108.06084).
"""

import functools
import math

import numpy as np

from train.config import Train


def learning_rate(step: int, config: Train) -> float:
    """Of step 0, 1, ...: 1/w of the peak in the first of w warm-up steps, the peak in the last of
    them, and final_fraction of the peak in the run's last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    after = config.steps - config.warmup_steps
    low = config.final_fraction
    if config.schedule == "wsd":
        falling = min(after, max(1, round(config.steps * config.decay_fraction)))
        left = min((config.steps - step - 1) / falling, 1.0)
        return config.learning_rate * (low + (1 - low) * left)
    progress = min((step + 1 - config.warmup_steps) / after, 1.0)
    return config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * progress)) / 2)


def batch_rows(step: int, config: Train) -> int:
    """Rows of the global batch: from first_batch_rows in multiples of it up to batch_rows, which
    step batch_ramp_steps is the first to have."""
    if step >= config.batch_ramp_steps or not config.first_batch_rows:
        return config.batch_rows
    most = config.batch_rows // config.first_batch_rows
    return config.first_batch_rows * (1 + step * (most - 1) // config.batch_ramp_steps)


def first_row(step: int, config: Train) -> int:
    """Rows that all the steps before this one read."""
    ramp = _ramp(config)
    if step < len(ramp):
        return int(ramp[step])
    return int(ramp[-1]) + (step - len(ramp) + 1) * config.batch_rows


@functools.lru_cache(maxsize=8)
def _ramp(config: Train) -> np.ndarray:
    rows = [batch_rows(step, config) for step in range(config.batch_ramp_steps)]
    return np.cumsum([0, *rows])


def sequence_length(step: int, config: Train, longest: int) -> int:
    """At which length the rows, of `longest` tokens, are cut: from first_sequence_length in
    multiples of it up to whole rows at step length_ramp_steps."""
    if step >= config.length_ramp_steps or not config.first_sequence_length:
        return longest
    most = -(-longest // config.first_sequence_length)
    times = 1 + step * (most - 1) // config.length_ramp_steps
    return min(longest, config.first_sequence_length * times)
