"""Documents to rows of exactly `sequence_length` tokens, written so that a loader maps them into
memory.

Best-fit decreasing within a window of documents (Ding et al. 2024, arXiv 2404.10830, section 3): a
document is cut only if it is longer than a row, and then at row boundaries only; plain
concatenation cuts one in every row. Documents that are cut anyway fill what gaps the others leave
(`pack`): without that, pages of 1,000 to 2,000 tokens fill 98.8% of rows of 2,048. The tail of a
row that nothing fits stays empty: under 0.1% of the slots for usual lengths and windows. The window
(16M tokens, 32 MB) bounds memory; rows hold documents of one window. About 0.7 us a document,
whatever its length.

A file `X.arrow` (Arrow IPC) has a record batch for every 1024 rows: `tokens`,
fixed_size_list<uint16|uint32>, and `lengths`, the documents' tokens in the row, in order. Its
neighbour `X.documents.parquet` says which: row, id, source, offset, length.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FORMAT = "corpusmill-packed-1"
WINDOW_TOKENS = 1 << 24
ROWS_PER_BATCH = 1024
SHORTEST_PIECE = 32  # of a document in a row, where it could be in one piece


class Packing(NamedTuple):
    """Pieces of documents, ordered by (row, document); all arrays int64, one entry a piece."""

    row: np.ndarray
    document: np.ndarray  # index into the lengths given
    offset: np.ndarray  # of the piece's first token in its document
    length: np.ndarray
    n_rows: int


class PackedFile(NamedTuple):
    """What write_packed wrote, and how well it is filled."""

    path: str
    documents_path: str
    rows: int
    documents: int  # with at least one token
    tokens: int
    fill: float  # tokens / (rows x sequence_length), 0 for no rows
    cut_documents: int  # documents in more than one piece


def pack(lengths: np.ndarray, sequence_length: int) -> Packing:
    """Places documents of one window. lengths: int [n], tokens of each; empty ones are left out.

    Documents that fit in a row are placed longest first, each into the row with the least room that
    fits; of equally long ones the earlier goes first, of equally full rows the one last added to is
    taken. A document of k full rows and a rest gives k rows of its own; the rest goes where it
    fits, or, rather than open a row, its first tokens fill one row up and its last tokens go into
    another.
    """
    assert sequence_length > 0, sequence_length
    lengths = np.asarray(lengths, np.int64)
    full, rest = np.divmod(lengths, sequence_length)
    longest_first = np.argsort(-rest, kind="stable")
    longest_first = longest_first[rest[longest_first] > 0]
    short, long = (
        longest_first[is_long] for is_long in (full[longest_first] == 0, full[longest_first] > 0)
    )
    rooms = _Rooms(sequence_length)
    row_of_short = np.array([rooms.add(n) for n in rest[short].tolist()], np.int64)
    ends = [rooms.add_in_two(n) for n in rest[long].tolist()]
    head, head_row, tail_row = (np.array([end[i] for end in ends], np.int64) for i in range(3))

    n_full = int(full.sum())
    whole = np.repeat(np.arange(len(lengths)), full)  # the document of each full row
    nth = np.arange(n_full) - np.repeat(np.cumsum(full) - full, full)
    head_of = np.zeros(len(lengths), np.int64)
    head_of[long] = head
    tail = rest[long] - head
    in_two, has_tail = head > 0, tail > 0
    row = np.concatenate([row_of_short, head_row[in_two], tail_row[has_tail]])
    row = np.concatenate([np.arange(n_full), n_full + row])
    document = np.concatenate([whole, short, long[in_two], long[has_tail]])
    offset = np.concatenate(
        [
            head_of[whole] + nth * sequence_length,
            np.zeros(len(short) + int(in_two.sum()), np.int64),
            (head + full[long] * sequence_length)[has_tail],
        ]
    )
    length = np.concatenate(
        [np.full(n_full, sequence_length), rest[short], head[in_two], tail[has_tail]]
    )
    return _in_order(row, document, offset, length, n_full + rooms.n_rows)


def _in_order(
    row: np.ndarray, document: np.ndarray, offset: np.ndarray, length: np.ndarray, n_rows: int
) -> Packing:
    """Rows in the order of their first documents, so that the file follows the mixture's order as
    far as packing lets it."""
    first = np.full(n_rows, document.max(initial=0) + 1)
    np.minimum.at(first, row, document)
    by_first = np.argsort(first, kind="stable")
    rank = np.empty(n_rows, np.int64)
    rank[by_first] = np.arange(n_rows)
    row = rank[row]
    by_row = np.lexsort((offset, document, row))
    return Packing(row[by_row], document[by_row], offset[by_row], length[by_row], n_rows)


class _Rooms:
    """Rows by the room they have left."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.n_rows = capacity, 0
        self._rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # by room; used as stacks
        self._rooms = 0  # bit r is set where _rows[r] is not empty

    def add(self, length: int) -> int:
        """Into the row with the least room that fits, or a new one; which."""
        fitting = self._rooms >> length
        if not fitting:
            self.n_rows += 1
            self._open(self.n_rows - 1, self.capacity - length)
            return self.n_rows - 1
        return self._take(length + (fitting & -fitting).bit_length() - 1, length)

    def add_in_two(self, length: int) -> tuple[int, int, int]:
        """(tokens in a first piece, or 0; its row; the row of the others). In two pieces only where
        one would open a row and two do not; none of them shorter than SHORTEST_PIECE."""
        below = (1 << max(length - SHORTEST_PIECE + 1, 0)) - 1
        room = (self._rooms & below).bit_length() - 1  # the largest that leaves a second piece
        if not self._rooms >> length and room >= SHORTEST_PIECE:
            row = self._take(room, room)
            if self._rooms >> (length - room):
                return room, row, self.add(length - room)
            self._open(row, room)
        return 0, 0, self.add(length)

    def _take(self, room: int, length: int) -> int:
        row = self._rows[room].pop()
        if not self._rows[room]:
            self._rooms ^= 1 << room
        self._open(row, room - length)
        return row

    def _open(self, row: int, room: int) -> None:
        if room:
            self._rows[room].append(row)
            self._rooms |= 1 << room


def write_packed(
    path: str,
    documents: Iterable[tuple[str, str, np.ndarray]],
    sequence_length: int,
    *,
    vocab_size: int,
    tokenizer_digest: str,
    window_tokens: int = WINDOW_TOKENS,
) -> PackedFile:
    """Packs (id, source, token ids) in the order given, window by window, into `path` (local,
    `.arrow`) and its sidecar.

    Both files appear under their names when they are complete. Raises ValueError for ids outside
    the vocabulary.
    """
    place = Path(path)
    sidecar = place.with_suffix(".documents.parquet")
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = [p.with_name(f".tmp-{os.getpid()}-{p.name}") for p in (place, sidecar)]
    schema = packed_schema(sequence_length, vocab_size, tokenizer_digest)
    rows = n_documents = tokens = cut = 0
    with (
        pa.ipc.new_file(temporary[0], schema) as rows_out,
        pq.ParquetWriter(temporary[1], DOCUMENTS, compression="zstd") as documents_out,
    ):
        for ids, sources, arrays in _windows(documents, window_tokens):
            packing = pack(np.array([len(a) for a in arrays]), sequence_length)
            for batch in _row_batches(packing, arrays, schema, place):
                rows_out.write_batch(batch)
            if packing.n_rows:
                documents_out.write_table(_documents_table(packing, ids, sources, rows))
            pieces = np.bincount(packing.document, minlength=len(ids))
            rows += packing.n_rows
            n_documents += int((pieces > 0).sum())
            cut += int((pieces > 1).sum())
            tokens += int(packing.length.sum())
    temporary[1].replace(sidecar)  # the rows last: a reader that sees them finds the sidecar too
    temporary[0].replace(place)
    fill = tokens / (rows * sequence_length) if rows else 0.0
    return PackedFile(path, str(sidecar), rows, n_documents, tokens, fill, cut)


DOCUMENTS = pa.schema(
    [
        pa.field("row", pa.int64()),  # in the file
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("offset", pa.int64()),  # of the piece's first token in the document
        pa.field("length", pa.int32()),
    ]
)


def packed_schema(sequence_length: int, vocab_size: int, tokenizer_digest: str) -> pa.Schema:
    width = pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()
    return pa.schema(
        [
            pa.field("tokens", pa.list_(pa.field("item", width, nullable=False), sequence_length)),
            pa.field("lengths", pa.list_(pa.int32())),
        ],
        metadata={
            "format": FORMAT,
            "sequence_length": str(sequence_length),
            "vocab_size": str(vocab_size),
            "tokenizer": tokenizer_digest,
        },
    )


def _windows(
    documents: Iterable[tuple[str, str, np.ndarray]], window_tokens: int
) -> Iterator[tuple[list[str], list[str], list[np.ndarray]]]:
    ids: list[str] = []
    sources: list[str] = []
    arrays: list[np.ndarray] = []
    held = 0
    for document_id, source, array in documents:
        ids.append(document_id)
        sources.append(source)
        arrays.append(array)
        held += len(array)
        if held >= window_tokens:
            yield ids, sources, arrays
            ids, sources, arrays, held = [], [], [], 0
    if ids:
        yield ids, sources, arrays


def _row_batches(
    packing: Packing, arrays: list[np.ndarray], schema: pa.Schema, place: Path
) -> Iterator[pa.RecordBatch]:
    width = schema.field("tokens").type.list_size
    dtype = schema.field("tokens").type.value_type.to_pandas_dtype()
    vocab_size = int(schema.metadata[b"vocab_size"])
    starts = np.searchsorted(packing.row, np.arange(packing.n_rows + 1))  # first piece of each row
    for first in range(0, packing.n_rows, ROWS_PER_BATCH):
        end = min(first + ROWS_PER_BATCH, packing.n_rows)
        tokens = np.zeros((end - first, width), dtype)
        for row in range(first, end):
            at = 0
            for i in range(starts[row], starts[row + 1]):
                offset, length = packing.offset[i], packing.length[i]
                piece = arrays[packing.document[i]][offset : offset + length]
                tokens[row - first, at : at + length] = piece
                at += length
        if tokens.max() >= vocab_size:
            raise ValueError(
                f"{place.name}: token id {tokens.max()} is outside the vocabulary of {vocab_size}; "
                "pack tokens of this tokenizer"
            )
        offsets = pa.array(starts[first : end + 1] - starts[first], pa.int32())
        lengths = pa.array(packing.length[starts[first] : starts[end]], pa.int32())
        columns = [
            pa.FixedSizeListArray.from_arrays(tokens.ravel(), type=schema.field("tokens").type),
            pa.ListArray.from_arrays(offsets, lengths),
        ]
        yield pa.record_batch(columns, schema=schema)


def _documents_table(
    packing: Packing, ids: list[str], sources: list[str], rows_before: int
) -> pa.Table:
    document = pa.array(packing.document)
    columns = [
        pa.array(packing.row + rows_before),
        pa.array(ids, pa.string()).take(document),
        pa.array(sources, pa.string()).take(document),
        pa.array(packing.offset),
        pa.array(packing.length, pa.int32()),
    ]
    return pa.Table.from_arrays(columns, schema=DOCUMENTS)
