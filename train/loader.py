"""Packed rows to batches: memory-mapped, shuffled, the same for any number of ranks, resumable at
any step.

The order is a permutation of all rows, computed for each position by a Feistel network instead of
being stored: no start-up, no memory, and any step is reached at once. The global batch of a step is
fixed; a rank takes its slice of it. When all rows were seen, they come again in another order.

Shapes: T = rows x sequence_length tokens of a rank's batch; D = documents in it, empty row tails
counted as documents.
"""

import functools
import queue
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from train.packing import FORMAT

FEISTEL_ROUNDS = 6


class Batch(NamedTuple):
    """One step's input of one rank. No target crosses a document; where `mask_T` is False there is
    none."""

    tokens_T: torch.Tensor  # int64
    targets_T: torch.Tensor  # int64: the next token of the document, 0 where there is none
    mask_T: torch.Tensor  # bool
    positions_T: torch.Tensor  # int64, from 0 in each document
    cu_seqlens: torch.Tensor  # int32 [D + 1], from 0 to T
    rows: torch.Tensor  # int64: which rows these are, for the sidecars

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(x.to(device, non_blocking=True) for x in self))


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

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """tokens [len(rows), sequence_length] as stored, and each row's document lengths."""
        tokens = np.empty((len(rows), self.sequence_length), self._tokens[0].dtype)
        lengths = []
        for i, row in enumerate(rows.tolist()):
            b = int(np.searchsorted(self._starts, row, "right")) - 1
            local = row - int(self._starts[b])
            tokens[i] = self._tokens[b][local]
            offsets, values = self._lengths[b]
            lengths.append(values[offsets[local] : offsets[local + 1]])
        return tokens, lengths


class Loader:
    """Iterates over the batches of steps start_step, start_step + 1, ... without end; a thread
    reads ahead.

    batch_rows: rows of the global batch, a multiple of `world`. Raises ValueError where the files
    do not go together, are truncated, or were made with another tokenizer than `tokenizer` (its
    digest, see tokenizer.encode.digest).
    """

    def __init__(
        self,
        paths: Sequence[str],
        batch_rows: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        *,
        tokenizer: str | None = None,
        prefetch: int = 4,
        pin_memory: bool = False,
    ) -> None:
        self.rows = PackedRows(paths)
        if tokenizer is not None and tokenizer != self.rows.tokenizer:
            raise ValueError(
                f"{paths[0]}: packed with tokenizer {self.rows.tokenizer}, not {tokenizer}; "
                "pack it again"
            )
        if batch_rows < 1 or batch_rows % world:
            raise ValueError(
                f"batch_rows: {batch_rows} is not a positive multiple of {world} ranks"
            )
        assert 0 <= rank < world, (rank, world)
        self.batch_rows, self.seed, self.rank, self.world = batch_rows, seed, rank, world
        self.start_step, self.prefetch, self.pin_memory = start_step, prefetch, pin_memory

    def batch(self, step: int) -> Batch:
        """The batch of any step."""
        share = self.batch_rows // self.world
        first = step * self.batch_rows + self.rank * share
        rows = shuffled(np.arange(first, first + share), len(self.rows), self.seed)
        batch = make_batch(*self.rows.read(rows), rows)
        return Batch(*(x.pin_memory() for x in batch)) if self.pin_memory else batch

    def __iter__(self) -> Generator[Batch, None, None]:
        ready: queue.Queue[Batch | BaseException] = queue.Queue(self.prefetch)
        stop = threading.Event()
        work = functools.partial(self._read_ahead, ready, stop)
        thread = threading.Thread(target=work, name="loader", daemon=True)
        thread.start()
        try:
            while True:
                batch = ready.get()
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            stop.set()
            thread.join()

    def _read_ahead(
        self, ready: "queue.Queue[Batch | BaseException]", stop: threading.Event
    ) -> None:
        step = self.start_step
        while not stop.is_set():
            item: Batch | BaseException
            try:
                item = self.batch(step)
            except BaseException as error:  # handed to the consumer, which raises it
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.05)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return
            step += 1


def make_batch(tokens_RL: np.ndarray, lengths: list[np.ndarray], rows: np.ndarray) -> Batch:
    """A batch from rows [R, L] and their documents' lengths; the tail of a row is a document
    without targets."""
    n_rows, width = tokens_RL.shape
    tails = [np.append(row, width - row.sum()) for row in lengths]
    segments = np.concatenate(tails).astype(np.int64)
    is_tail = np.concatenate([np.arange(len(t)) == len(t) - 1 for t in tails])
    segments, is_tail = segments[segments > 0], is_tail[segments > 0]
    cu_seqlens = np.concatenate([[0], np.cumsum(segments)])
    tokens = tokens_RL.reshape(-1).astype(np.int64)
    mask = np.repeat(~is_tail, segments)
    mask[cu_seqlens[1:] - 1] = False  # a document's last token has no next one
    targets = np.append(tokens[1:], 0) * mask
    positions = np.arange(n_rows * width) - np.repeat(cu_seqlens[:-1], segments)
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(targets),
        torch.from_numpy(mask),
        torch.from_numpy(positions),
        torch.from_numpy(cu_seqlens.astype(np.int32)),
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
