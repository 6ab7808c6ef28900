"""Negative controls: the base's documents made worse on purpose.

An ablation that finds no difference has shown something only if it could have seen one. A control
is a corpus that has to come out worse: if it does not, seeds, tokens or held-out rows were too few.

    shuffled   the tokens of a share of the documents in an order by hash: the same tokens, no
               sentences (Sinha et al. 2021, arXiv 2104.06644, shuffle words within a sentence)
    repeated   a share of the documents left out, and the others repeated in their places; milder
               than .1% of the data 100 times over, which made 800 million weights as bad as 400
               (Hernandez et al. 2022, arXiv 2205.10487), so it asks more of an ablation

Everything goes by the hash of a document's id and the seed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels import hash_strings
from pipeline.mixture import splitmix

BLOCK_TOKENS = 1 << 22  # shuffled at once: a sort needs 40 bytes a token
_CHOICE = 0x2545F4914F6CDD1D  # so that it is not the choice of the mixture


@dataclass(frozen=True, kw_only=True)
class Control:
    """What is done to the documents of the base."""

    kind: Literal["shuffled", "repeated"] = "shuffled"
    share: float = 0.5
    """Of the documents: those shuffled, or those left out for repeats of the others."""

    def __post_init__(self) -> None:
        if self.kind not in ("shuffled", "repeated"):
            raise ValueError(f'kind: {self.kind!r} is neither "shuffled" nor "repeated"')
        most = 1.0 if self.kind == "shuffled" else 0.99
        if not 0 < self.share <= most:
            raise ValueError(f"share: {self.share} is not within 0..{most:g}, 0 left out")


def degrade(rows: pa.Table, control: Control, seed: int) -> pa.Table:
    """The chosen documents of a packed part (key, order, epoch, id, ids), made worse: the same
    columns. Shuffled: the same rows with as many tokens; repeated: about as many tokens, up to half
    a document."""
    if not rows.num_rows:
        return rows
    hashes = hash_strings(rows["id"], np.uint64((seed ^ _CHOICE) & (2**64 - 1)))
    if control.kind == "shuffled":
        return _shuffled(rows, hashes, hashes < _bound(control.share))
    return _repeated(rows, hashes, hashes < _bound(control.share))


def _bound(share: float) -> np.uint64:
    return np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def _shuffled(rows: pa.Table, hashes: np.ndarray, chosen: np.ndarray) -> pa.Table:
    """A document's last token, its EOS, stays where it is."""
    lists = rows["ids"].combine_chunks()
    offsets = lists.offsets.to_numpy().astype(np.int64)
    values = lists.values.to_numpy().copy()
    first = 0
    while first < len(lists):
        end = int(np.searchsorted(offsets, offsets[first] + BLOCK_TOKENS, "right")) - 1
        end = min(max(end, first + 1), len(lists))
        inner = np.maximum(np.diff(offsets[first : end + 1]) - 1, 0) * chosen[first:end]
        document = np.repeat(np.arange(first, end), inner)
        nth = np.arange(len(document)) - np.repeat(np.cumsum(inner) - inner, inner)
        place = offsets[document] + nth
        keys = splitmix(hashes[document] ^ splitmix(nth.astype(np.uint64)))
        values[place] = values[place[np.lexsort((keys, document))]]
        first = end
    ids = pa.ListArray.from_arrays(lists.offsets, pa.array(values))
    return rows.set_column(rows.schema.get_field_index("ids"), rows.schema.field("ids"), ids)


def _repeated(rows: pa.Table, hashes: np.ndarray, gone: np.ndarray) -> pa.Table:
    """Copies of those that stay, in the order of their hash and round after round, take the places
    of those that go."""
    if gone.all():
        gone[np.lexsort((rows["epoch"].to_numpy(), hashes))[-1]] = False
    order = np.lexsort((rows["epoch"].to_numpy(), hashes))
    staying, places = order[~gone[order]], order[gone[order]]
    sizes = pc.list_value_length(rows["ids"]).to_numpy().astype(np.int64)
    wanted = int(sizes[places].sum())
    filled = np.cumsum(sizes[staying])
    if not len(places) or not filled[-1]:
        return rows
    rounds, rest = divmod(wanted, int(filled[-1]))
    more = int(np.searchsorted(filled, rest, "right"))
    if more < len(filled) and filled[more] - rest <= rest - (filled[more - 1] if more else 0):
        more += 1  # nearer with the document that goes beyond
    copies = np.concatenate([np.tile(staying, rounds), staying[:more]]).astype(np.int64)
    at = places[np.arange(len(copies)) % len(places)]
    added = rows.take(pa.array(copies))
    for name in ("key", "order"):
        taken = rows[name].take(pa.array(at))
        added = added.set_column(added.schema.get_field_index(name), rows.schema.field(name), taken)
    nth = np.arange(len(copies)) // max(len(staying), 1) + 1
    epochs = pa.array((int(pc.max(rows["epoch"]).as_py()) + nth).astype(np.int32))
    added = added.set_column(
        added.schema.get_field_index("epoch"), rows.schema.field("epoch"), epochs
    )
    return pa.concat_tables([rows.take(pa.array(np.sort(staying))), added])
