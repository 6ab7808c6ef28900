"""SentencePiece's BPE encoding over Arrow buffers: the same ids, at many times its speed.

SentencePiece merges, again and again, the adjacent pair of symbols whose concatenation is the piece
of the highest score, the leftmost of equals (Sennrich et al. 2016, arXiv 1508.07909; bpe_model.cc).
No merge crosses two characters that stand side by side in no piece, so the text is cut there into
chunks (for a model that splits at white space: about words), whatever the options of the model
were; a chunk is merged once and its ids are remembered in a table of 2^20 slots. Cut rule, merge
order and byte fallback are exact, so equality needs no vocabulary of one kind.

Memory: 34 MB for the table, 16 MB at most for its chunks, 3 bytes for each byte of a batch.
"""

from typing import NamedTuple

import numpy as np

from filters.compiled import inlined, uncounted
from filters.kernels import decode, hash_bytes, mix
from tokenizer.merges import merge, new_scratch
from tokenizer.vocabulary import Vocabulary, find_pair, symbol_of

N_SLOTS = 1 << 20
MAX_CHUNK = 64  # bytes of a chunk that is remembered; longer ones are rare and merged each time
_ARENA = 16 << 20
_PAIR = np.uint64(0x9E3779B97F4A7C15)


class Memory(NamedTuple):
    """Chunks seen so far. A slot is (hash, first eight bytes, place and length of the chunk, place
    and number of its ids); hash 0 is an empty slot. Ids do not depend on what is remembered."""

    slots: np.ndarray  # uint64[N_SLOTS, 4]
    chunks: np.ndarray  # uint8
    ids: np.ndarray  # int32
    used: np.ndarray  # int64[2]: slots, bytes of chunks (ids lie at the same places)


def new_memory() -> Memory:
    return Memory(
        np.zeros((N_SLOTS, 4), np.uint64),
        np.empty(_ARENA, np.uint8),
        np.empty(_ARENA, np.int32),
        np.zeros(2, np.int64),
    )


def encode_batch(
    data: np.ndarray, offsets: np.ndarray, vocabulary: Vocabulary, memory: Memory
) -> tuple[np.ndarray, np.ndarray]:
    """(ids int32, offsets int64 of length documents + 1). EOS ends every text but empty ones."""
    n_docs = len(offsets) - 1
    ids = np.empty(offsets[n_docs] - offsets[0] + n_docs, np.int32)  # a token has a byte at least
    id_offsets = np.zeros(n_docs + 1, np.int64)
    d, room = 0, MAX_CHUNK
    while d < n_docs:
        scratch = new_scratch(room)
        d, room = _encode(data, offsets, vocabulary, memory, scratch, ids, id_offsets, d)
    return ids[: id_offsets[n_docs]], id_offsets


@uncounted
def _encode(data, offsets, vocabulary, memory, scratch, ids, id_offsets, d):
    """Writes the ids of the documents from d on, and where they end. Returns the first that is left
    because a chunk of it is too long for `scratch`, and room for it and those a quarter longer, so
    that few documents are begun again; (documents, 0) if none is."""
    ascii_symbol, ascii_joined = vocabulary.ascii_symbol, vocabulary.ascii_joined
    starts_fixed, n_pieces = vocabulary.starts_fixed, vocabulary.n_pieces
    n = id_offsets[d]
    while d < len(offsets) - 1:
        at, end = np.int64(offsets[d]), np.int64(offsets[d + 1])
        empty = at == end
        while at < end:
            if starts_fixed[data[at]]:
                length, fixed_id = _fixed_at(data, at, end, vocabulary)
                if length:
                    ids[n] = fixed_id
                    n += 1
                    at += length
                    continue
            chunk = at
            last = data[at]
            at += 1
            if last < 128:
                while (
                    at < end
                    and data[at] < 128
                    and ascii_joined[np.uint64(last) << np.uint64(7) | np.uint64(data[at])]
                    and not starts_fixed[data[at]]
                ):
                    last = data[at]
                    at += 1
            if last >= 128 or (at < end and data[at] >= 128):
                at = _end_of_chunk(data, at - 1, end, vocabulary)
            if at - chunk == 1 and last < 128 and 0 <= ascii_symbol[last] < n_pieces:
                ids[n] = ascii_symbol[last]
                n += 1
            elif at - chunk <= MAX_CHUNK:
                slot, known = _look_up(data, chunk, at, memory.slots, memory.chunks)
                if known:
                    place = np.int64(memory.slots[slot, 3] >> np.uint64(8))
                    n_ids = np.int64(memory.slots[slot, 3] & np.uint64(255))
                    for k in range(n_ids):
                        ids[n + k] = memory.ids[place + k]
                    n = n + n_ids
                else:
                    after = merge(data, chunk, at, vocabulary, scratch, ids, n)
                    _remember(data, chunk, at, slot, memory, ids, n, after)
                    n = after
            elif at - chunk < scratch[0].shape[1]:
                n = merge(data, chunk, at, vocabulary, scratch, ids, n)
            else:
                return d, (at - chunk) * 5 // 4
        if not empty:
            ids[n] = vocabulary.eos
            n += 1
        d += 1
        id_offsets[d] = n
    return d, 0


@uncounted
def _end_of_chunk(data, at, end, vocabulary):
    """Where the chunk ends that has come as far as the character at `at`."""
    characters = (
        vocabulary.ascii_symbol, vocabulary.character_keys, vocabulary.character_symbols,
    )  # fmt: skip
    code, width = decode(data, at, end)
    symbol = symbol_of(code, *characters)
    at += width
    while at < end and not vocabulary.starts_fixed[data[at]]:
        code, width = decode(data, at, end)
        following = symbol_of(code, *characters)
        if symbol < 0 or following < 0 or find_pair(vocabulary.joined_keys, symbol, following) < 0:
            break
        symbol = following
        at += width
    return at


@uncounted
def _fixed_at(data, at, end, vocabulary):
    """(bytes, id) of the longest user-defined symbol that starts at `at`; (0, 0) for none."""
    start = 0
    for i in range(len(vocabulary.fixed_ends)):
        length = vocabulary.fixed_ends[i] - start
        if at + length <= end:
            k = 0
            while k < length and data[at + k] == vocabulary.fixed[start + k]:
                k += 1
            if k == length:
                return length, vocabulary.fixed_ids[i]
        start = vocabulary.fixed_ends[i]
    return np.int64(0), np.int32(0)


@inlined
def _first_eight(data, start, end):
    word = np.uint64(0)
    if start + 8 <= len(data):
        at = np.uint64(start)
        for k in range(8):
            word |= np.uint64(data[at + np.uint64(k)]) << np.uint64(8 * k)
        if end - start < 8:
            word &= (np.uint64(1) << np.uint64(8 * (end - start))) - np.uint64(1)
    else:
        for k in range(min(end - start, 8)):
            word |= np.uint64(data[start + k]) << np.uint64(8 * k)
    return word


@inlined
def _look_up(data, start, end, slots, chunks):
    """(slot, known): where a chunk is remembered, or where it may be put."""
    length = end - start
    first = _first_eight(data, start, end)
    if length <= 8:
        h = mix(first * _PAIR + np.uint64(length)) | np.uint64(1)
    else:
        h = hash_bytes(data, start, end, np.uint64(0)) | np.uint64(1)
    mask = np.uint64(N_SLOTS - 1)
    at = (h >> np.uint64(1)) & mask
    known = False
    while slots[at, 0]:
        same_length = np.int64(slots[at, 2] & np.uint64(255)) == length
        if slots[at, 0] == h and slots[at, 1] == first and same_length:
            place = np.int64(slots[at, 2] >> np.uint64(8))
            k = 8
            while k < length and chunks[place + k] == data[start + k]:
                k += 1
            if k >= length:
                known = True
                break
        at = (at + np.uint64(1)) & mask
    if not known:
        slots[at, 0], slots[at, 1] = h, first
    return at, known


@uncounted
def _remember(data, start, end, slot, memory, ids, n, after):
    slots, used = memory.slots, memory.used
    if used[0] * 2 >= N_SLOTS or used[1] + MAX_CHUNK > len(memory.chunks):
        slots[:, 0] = 0  # full: what is common comes back soon
        used[:] = 0
        return
    place = used[1]
    for k in range(end - start):
        memory.chunks[place + k] = data[start + k]
    for k in range(after - n):
        memory.ids[place + k] = ids[n + k]
    slots[slot, 2] = np.uint64(place) << np.uint64(8) | np.uint64(end - start)
    slots[slot, 3] = np.uint64(place) << np.uint64(8) | np.uint64(after - n)
    used[0] += 1
    used[1] += end - start
