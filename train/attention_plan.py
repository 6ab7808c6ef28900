"""What the attention kernels know of the documents of a batch: four ends, and the orders of tiles.

With documents, causality, a window and prefixes alike, the keys that a row sees are an interval,
and so are the rows that see a key; and from one token to the next neither end goes back. So tiles
can be cut from the T tokens of a batch, whatever the documents: a tile begins with its first
token's interval and ends with its last token's. Those with the most to do go first.

Made once a batch, for all layers, on the device of cu_seqlens; 16 bytes a token.
"""

import dataclasses
from typing import NamedTuple

import torch

OUTER_SIZES = (32, 64, 128)


class Intervals(NamedTuple):
    """For each of the T tokens of a batch, indices into it; int32 [T], ascending."""

    begin: torch.Tensor
    end: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Plan:
    """Of the documents of a batch, on its device; orders: by outer size, the tiles by the work they
    have, largest first, int32 [tiles]."""

    keys: Intervals  # that each row sees
    rows: Intervals  # that see each key
    key_orders: dict[int, torch.Tensor]  # of tiles of keys
    row_orders: dict[int, torch.Tensor]  # of tiles of rows


def plan_of(
    cu_seqlens: torch.Tensor,
    n_tokens: int,
    window: int = 0,
    prefix: torch.Tensor | None = None,
) -> Plan:
    """Made on the device of cu_seqlens, without waiting for it. window: keys that a row sees at
    most, itself included, 0 for all. prefix: int32 [documents]; the rows of a document's first
    tokens see all of these."""
    lengths = cu_seqlens.diff()
    here = torch.arange(n_tokens, dtype=torch.int32, device=cu_seqlens.device)

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.to(torch.int32).repeat_interleave(lengths, output_size=n_tokens)

    start, end = spread(cu_seqlens[:-1]), spread(cu_seqlens[1:])
    keys, rows = Intervals(start, here + 1), Intervals(here, end)
    if window:
        keys = keys._replace(begin=torch.maximum(start, here - window + 1))
        rows = rows._replace(end=torch.minimum(end, here + window))
    if prefix is not None:
        prefix_end = spread(cu_seqlens[:-1] + prefix)
        keys = keys._replace(end=torch.maximum(here + 1, prefix_end))
        rows = rows._replace(begin=torch.where(here < prefix_end, start, here))
    return Plan(keys, rows, _longest_first(rows), _longest_first(keys))


def _longest_first(seen: Intervals) -> dict[int, torch.Tensor]:
    """The orders of tiles whose tokens see these."""
    T = len(seen.begin)
    orders = {}
    for outer in OUTER_SIZES:
        first = torch.arange(0, T, outer, device=seen.begin.device)
        work = seen.end[(first + outer).clamp(max=T) - 1] - seen.begin[first]
        orders[outer] = work.argsort(descending=True, stable=True).to(torch.int32)
    return orders
