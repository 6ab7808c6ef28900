"""The loss on held-out packed rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from train import parallel, update
from train.config import Train
from train.loader import PackedRows, make_batch, shuffled


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    eval_paths: Mapping[str, Sequence[str]],
    config: Train,
    ranks: parallel.Ranks | None = None,
) -> dict[str, float]:
    """Mean loss in nats a token on config.eval_rows rows of each set, the same rows every time."""
    ranks = ranks or parallel.Ranks(0, 1, next(model.parameters()).device)
    micro_rows = config.micro_rows or config.batch_rows
    out = {}
    for name, paths in eval_paths.items():
        data = PackedRows(paths)
        chosen = shuffled(np.arange(min(config.eval_rows, len(data))), len(data), 0)
        parts = [chosen[i : i + micro_rows] for i in range(0, len(chosen), micro_rows)]
        sums = torch.zeros(2, dtype=torch.float64, device=ranks.device)
        for i in range(0, len(parts), ranks.data_world):
            # FSDP wants as many forward passes of every rank: one without a part repeats the first.
            mine = i + ranks.data_rank
            part = parts[mine] if mine < len(parts) else parts[0]
            batch = make_batch(*data.read(part), part)
            nll = update.losses_of(model, batch, config, ranks.device).nll_T.sum()
            if mine < len(parts):
                sums += torch.stack([nll.double(), nll.new_tensor(batch.n_targets()).double()])
        total, count = parallel.total(sums, ranks).tolist()
        out[name] = total / max(count, 1)
    return out
