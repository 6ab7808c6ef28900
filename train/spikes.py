"""Loss spikes: seen by a robust z-score, undone by going back, not met again.

PaLM went back 100 steps and skipped 200 to 500 batches (Chowdhery et al. 2022, arXiv 2204.02311,
section 5.1). Here the run goes back to a checkpoint before the rows concerned, and those rows alone
are left out for good, others in their places (`Loader(excluded=...)`): the batch size and all other
rows stay. `spikes.jsonl` says which rows and documents; a resumed run reads it, so it leaves out
the same.

The z-score is (x - median) / (1.4826 MAD) over the steps before (Iglewicz and Hoaglin 1993): a
spike in the window hardly moves it, where it would lift a standard deviation over itself.
"""

import json
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from train.config import Train

SPIKES_NAME = "spikes.jsonl"
# A spread below this share of the median is taken for it: the loss of a run that memorised its data
# hardly moves, and any change would look like a spike.
LEAST_SPREAD = 0.01


def spike_scores(log: Sequence[dict], line: dict, config: Train) -> dict[str, float]:
    """z-scores above max_spike_z of this step's loss and gradient norm against those of the last
    spike_window steps; none if it is no spike. What is not finite is one with z = infinity."""
    before = log[-config.spike_window :]
    if not config.max_spike_z:
        return {}
    found = {}
    for key in ("loss", "grad_norm"):
        known = [past[key] for past in before if past[key] is not None]  # None: fp16 overflowed
        if not math.isfinite(line[key]):
            found[key] = math.inf
        elif len(known) >= config.spike_window // 2:
            z = robust_z(line[key], known)
            if z > config.max_spike_z:
                found[key] = z
    return found


def robust_z(value: float, before: Sequence[float]) -> float:
    middle = statistics.median(before)
    spread = 1.4826 * statistics.median(abs(x - middle) for x in before)
    return (value - middle) / max(spread, LEAST_SPREAD * abs(middle), 1e-12)


def record(out_dir: str, spike: dict) -> None:
    """Adds a line to spikes.jsonl; on disk when it returns, for the run goes back after it."""
    spike = {**spike, "z": {key: _json(z) for key, z in spike["z"].items()}}
    spike |= {key: _json(spike[key]) for key in ("loss", "grad_norm")}
    with (Path(out_dir) / SPIKES_NAME).open("a") as file:
        file.write(json.dumps(spike) + "\n")
        file.flush()
        os.fsync(file.fileno())


def recorded(out_dir: str) -> list[dict]:
    path = Path(out_dir) / SPIKES_NAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _json(value: float) -> float | str:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else str(value)
