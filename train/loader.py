"""Packed rows to batches: memory-mapped, shuffled, the same for any number of ranks, resumable at
any step.

The order is a permutation of all rows, computed for each position by a Feistel network instead of
being stored: no start-up, no memory, and any step is reached at once. The global batch of a step is
fixed; a rank takes its slice of it. When all rows were seen, they come again in another order.

A batch is read, pinned and sent as it is stored: 2 bytes a token and the documents' lengths. What
the model wants besides (targets, mask, positions: 25 bytes a token) `unpack` makes on its device.

Shapes: T = rows x sequence_length tokens of a micro-batch; D = documents in it, empty row tails
counted as documents.
"""

import contextlib
import functools
import queue
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from train.config import Train
from train.packing import FORMAT
from train.schedule import batch_rows, first_row, sequence_length

FEISTEL_ROUNDS = 6


class Batch(NamedTuple):
    """A micro-batch of one rank, as it is stored."""

    tokens_T: torch.Tensor  # int16 with the bits of uint16, or int32
    cu_seqlens: torch.Tensor  # int32 [D + 1], from 0 to T
    empty_D: torch.Tensor  # bool: the tails of rows, which are no documents
    rows: torch.Tensor  # int64: which rows these are, for the sidecars

    def n_targets(self) -> int:
        """Tokens that have a next one in their document."""
        return int((self.cu_seqlens.diff() - 1)[~self.empty_D].sum())


class Inputs(NamedTuple):
    """What the model takes. No target crosses a document; where `mask_T` is False there is none."""

    tokens_T: torch.Tensor  # int64
    targets_T: torch.Tensor  # int64: the next token of the document, 0 where there is none
    mask_T: torch.Tensor  # bool
    positions_T: torch.Tensor  # int64, from 0 in each document
    cu_seqlens: torch.Tensor  # int32 [D + 1]


def unpack(batch: Batch, device: torch.device) -> Inputs:
    """A batch on its device; nothing waits for it."""
    T = len(batch.tokens_T)
    stored, cu_seqlens, empty_D = (x.to(device, non_blocking=True) for x in batch[:3])
    tokens = stored.long() & 0xFFFF if stored.dtype == torch.int16 else stored.long()
    lengths = cu_seqlens.diff()
    mask = (~empty_D).repeat_interleave(lengths, output_size=T)
    mask[cu_seqlens[1:].long() - 1] = False  # a document's last token has no next one
    starts = cu_seqlens[:-1].long().repeat_interleave(lengths, output_size=T)
    positions = torch.arange(T, device=device) - starts
    return Inputs(tokens, tokens.roll(-1) * mask, mask, positions, cu_seqlens)


class PackedRows:
    """All rows of some packed files, in the order of the paths; nothing is read until it is asked
    for."""

    def __init__(self, paths: Sequence[str]) -> None:
        if not paths:
            raise ValueError("packed rows: no files; give at least one .arrow file")
        batches: list[pa.RecordBatch] = []
        first: dict[bytes, bytes] = {}
        for path in paths:
            file_batches, metadata = _open(path)
            first = first or metadata
            for key in (b"sequence_length", b"vocab_size", b"tokenizer"):
                if metadata[key] != first[key]:
                    raise ValueError(
                        f"{path}: {key.decode()} is {metadata[key].decode()}, "
                        f"but {first[key].decode()} in {paths[0]}; "
                        "pack them with one tokenizer and mixture"
                    )
            batches += file_batches
        self.sequence_length = int(first[b"sequence_length"])
        self.vocab_size = int(first[b"vocab_size"])
        self.tokenizer = first[b"tokenizer"].decode()
        self._starts = np.cumsum([0, *(b.num_rows for b in batches)])
        self._tokens = [_tokens_view(b) for b in batches]
        self._lengths = [
            (b["lengths"].offsets.to_numpy(), b["lengths"].values.to_numpy()) for b in batches
        ]
        if not len(self):
            raise ValueError(f"{paths[0]}: no rows; pack a larger budget")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(tokens [len(rows), sequence_length] as stored, lengths of their documents one row after
        another, number of documents of each row)."""
        tokens = np.empty((len(rows), self.sequence_length), self._tokens[0].dtype)
        lengths = []
        in_batch = np.searchsorted(self._starts, rows, "right") - 1
        local = rows - self._starts[in_batch]
        for i, (b, row) in enumerate(zip(in_batch.tolist(), local.tolist(), strict=True)):
            tokens[i] = self._tokens[b][row]
            offsets, values = self._lengths[b]
            lengths.append(values[offsets[row] : offsets[row + 1]])
        if (largest := int(tokens.max(initial=0))) >= self.vocab_size:  # a GPU would not say which
            raise ValueError(
                f"packed rows: token id {largest} is outside their vocabulary of "
                f"{self.vocab_size}; pack them again"
            )
        return tokens, np.concatenate(lengths), np.array([len(n) for n in lengths])


class Loader:
    """Iterates over what a rank reads in steps start_step, start_step + 1, ... without end: a list
    of micro-batches each. A thread reads ahead.

    The rows of a step depend on config (seed, batch_rows and its ramp) alone, so any number of
    ranks, of which each takes its slice, sees the same. excluded: rows that other rows stand in for
    (train.spikes). Raises ValueError where the files do not go
    together, are truncated, or were made with another tokenizer than `tokenizer` (its digest, see
    tokenizer.encode.digest).
    """

    def __init__(
        self,
        paths: Sequence[str],
        config: Train,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        *,
        tokenizer: str | None = None,
        prefetch: int = 4,
        pin_memory: bool = False,
        excluded: Sequence[int] = (),
    ) -> None:
        self.rows = PackedRows(paths)
        if tokenizer is not None and tokenizer != self.rows.tokenizer:
            raise ValueError(
                f"{paths[0]}: packed with tokenizer {self.rows.tokenizer}, not {tokenizer}; "
                "pack it again"
            )
        for name in ("batch_rows", "first_batch_rows"):
            if getattr(config, name) % world:
                raise ValueError(
                    f"{name}: {getattr(config, name)} is not a multiple of {world} ranks"
                )
        assert 0 <= rank < world, (rank, world)
        self.config, self.rank, self.world = config, rank, world
        self.start_step, self.prefetch, self.pin_memory = start_step, prefetch, pin_memory
        self.excluded = np.array(sorted(set(excluded)), np.int64)
        if len(self.excluded) >= len(self.rows):
            raise ValueError(f"{paths[0]}: all {len(self.rows)} rows are left out after spikes")

    def step(self, step: int) -> list[Batch]:
        """What this rank reads in any step."""
        share = batch_rows(step, self.config) // self.world
        first = first_row(step, self.config) + self.rank * share
        rows = self._order(np.arange(first, first + share))
        cut_at = sequence_length(step, self.config, self.rows.sequence_length)
        micro = self.config.micro_rows or share
        batches = [
            make_batch(*self.rows.read(part), part, cut_at)
            for part in (rows[i : i + micro] for i in range(0, share, micro))
        ]
        if self.pin_memory:
            batches = [Batch(*(x.pin_memory() for x in batch)) for batch in batches]
        return batches

    def _order(self, positions: np.ndarray) -> np.ndarray:
        """The row at each position. In the place of one that is left out comes the row at the same
        position of another order, so that every other position stays what it was."""
        rows = shuffled(positions, len(self.rows), self.config.seed)
        seed = self.config.seed
        while (out := np.isin(rows, self.excluded)).any():
            seed += 1 << 32
            rows[out] = shuffled(positions[out], len(self.rows), seed)
        return rows

    def __iter__(self) -> Generator[list[Batch], None, None]:
        ready: queue.Queue[list[Batch] | BaseException] = queue.Queue(self.prefetch)
        stop = threading.Event()
        work = functools.partial(self._read_ahead, ready, stop)
        thread = threading.Thread(target=work, name="loader", daemon=True)
        thread.start()
        try:
            while True:
                batches = ready.get()
                if isinstance(batches, BaseException):
                    raise batches
                yield batches
        finally:
            stop.set()
            thread.join()

    def _read_ahead(
        self, ready: "queue.Queue[list[Batch] | BaseException]", stop: threading.Event
    ) -> None:
        step = self.start_step
        while not stop.is_set():
            item: list[Batch] | BaseException
            try:
                item = self.step(step)
            except BaseException as error:  # handed to the consumer, which raises it
                item = error
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    ready.put(item, timeout=0.05)
                    break
            if isinstance(item, BaseException):
                return
            step += 1


def make_batch(
    tokens_RL: np.ndarray,
    lengths: np.ndarray,
    documents_R: np.ndarray,
    rows: np.ndarray,
    cut_at: int = 0,
) -> Batch:
    """A batch from rows [R, L]: the lengths of their documents, one row after another, and how many
    each row has. What they leave of a row is its tail. Documents are cut where a row reaches a
    multiple of cut_at."""
    n_rows, width = tokens_RL.shape
    row_of = np.repeat(np.arange(n_rows), documents_R)
    filled = np.bincount(row_of, lengths, n_rows).astype(np.int64)
    behind = np.cumsum(documents_R)  # where the tails go
    segments = np.insert(lengths.astype(np.int64), behind, width - filled)
    empty = np.insert(np.zeros(len(lengths), bool), behind, True)
    segments, empty = segments[segments > 0], empty[segments > 0]
    cu_seqlens = np.concatenate([[0], np.cumsum(segments)])
    if cut_at and cut_at < width:
        cuts = (np.arange(n_rows)[:, None] * width + np.arange(0, width, cut_at)[None]).ravel()
        finer = np.union1d(cu_seqlens, cuts)
        empty = empty[np.searchsorted(cu_seqlens, finer[:-1], "right") - 1]
        cu_seqlens = finer
    tokens = tokens_RL.reshape(-1)
    return Batch(
        torch.from_numpy(tokens.view(np.int16 if tokens.dtype == np.uint16 else np.int32)),
        torch.from_numpy(cu_seqlens.astype(np.int32)),
        torch.from_numpy(empty),
        torch.from_numpy(rows),
    )


def shuffled(positions: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Row at each position (int64, from 0) of an endless order: positions kn to (k+1)n - 1 are a
    permutation of the n rows, another one for every pass k. A balanced Feistel network on the next
    even power of two, walked until it lands below n."""
    passes, x = np.divmod(np.asarray(positions, np.uint64), np.uint64(n))
    half = np.uint64(max(1, (int(n - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = _mix(passes + _mix(np.full_like(passes, seed & (2**64 - 1))))
    outside = np.ones(len(x), bool)
    while outside.any():
        left, right = x[outside] >> half, x[outside] & mask
        for i in range(FEISTEL_ROUNDS):
            scrambled = _mix(right ^ _mix(keys[outside] + np.uint64(i))) & mask
            left, right = right, left ^ scrambled
        x[outside] = left << half | right
        outside = x >= np.uint64(n)
    return x.astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014, figure 17)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _open(path: str) -> tuple[list[pa.RecordBatch], dict[bytes, bytes]]:
    try:
        reader = pa.ipc.open_file(pa.memory_map(path))
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; pack first") from None
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path}: truncated or not a packed file ({error}); pack it again"
        ) from None
    metadata = reader.schema.metadata or {}
    if metadata.get(b"format") != FORMAT.encode():
        raise ValueError(f"{path}: an Arrow file, but not packed rows; pack it again")
    return batches, metadata


def _tokens_view(batch: pa.RecordBatch) -> np.ndarray:
    return batch["tokens"].flatten().to_numpy().reshape(batch.num_rows, -1)


def packed_files(directory: str) -> list[str]:
    """The packed files of a directory, by name."""
    found = sorted(str(p) for p in Path(directory).glob("*.arrow") if not p.name.startswith("."))
    if not found:
        raise ValueError(f"{directory}: no .arrow files; pack first")
    return found
