"""SentencePiece's BPE encoding over Arrow buffers: the same ids, at many times its speed.

SentencePiece merges, again and again, the adjacent pair of symbols whose concatenation is the piece
of the highest score, the leftmost of equals (Sennrich et al. 2016, arXiv 1508.07909; bpe_model.cc).
No merge crosses two characters that stand side by side in no piece, so the text is cut there into
chunks (for a model that splits at white space: about words), whatever the options of the model
were; a chunk is merged once and its ids are remembered in a table of 2^20 slots. Cut rule, merge
order and byte fallback are exact, so equality needs no vocabulary of one kind.

Memory: 34 MB for the table, 16 MB at most for its chunks, 3 bytes for each byte of a batch.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import sentencepiece
from numba import njit
from sentencepiece import sentencepiece_model_pb2

from filters.kernels import decode, hash_bytes, mix, slot_of, table_size

SPACE_MARK = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of pieces
N_SLOTS = 1 << 20
MAX_CHUNK = 64  # bytes of a chunk that is remembered; longer ones are rare and merged each time
_ARENA = 16 << 20
NEVER = np.int64(1 << 30)  # the rank of what does not merge
_PAIR = np.uint64(0x9E3779B97F4A7C15)


class Piece(NamedTuple):
    text: str  # with spaces as spaces
    score: float
    kind: int


class Vocabulary(NamedTuple):
    """A model as flat arrays. Symbols 0..n_pieces-1 are pieces; those behind them are characters
    that stand in pieces without being one."""

    ascii_symbol: np.ndarray  # int32[128], -1 where no piece has the character
    character_keys: np.ndarray  # uint64, open addressing: mixed code point -> character_symbols
    character_symbols: np.ndarray  # int32
    ascii_joined: np.ndarray  # uint8[128 * 128]: do these two stand side by side in a piece?
    joined_keys: np.ndarray  # uint64, the same for all pairs of symbols of characters
    merge_keys: np.ndarray  # uint64, (left, right) -> merge_symbols
    merge_symbols: np.ndarray  # int32
    rank: np.ndarray  # int64 of each symbol: 0 is merged first, equals have equal scores
    byte_ids: np.ndarray  # int32[256]
    fixed: np.ndarray  # uint8: user-defined symbols one after another, longest first
    fixed_ends: np.ndarray  # int64, and where they end
    fixed_ids: np.ndarray  # int32
    starts_fixed: np.ndarray  # bool[256]: first bytes of user-defined symbols
    n_pieces: int
    eos: int


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


def read_pieces(model: bytes) -> list[Piece]:
    """The pieces of a serialised SentencePiece model, by id. Raises ValueError where its ids would
    not be ours: another algorithm, a normalisation, no byte fallback."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)  # type: ignore[attr-defined]
    _refuse_others(proto)
    return [Piece(p.piece.replace(SPACE_MARK, " "), p.score, p.type) for p in proto.pieces]


def read_vocabulary(model: bytes) -> Vocabulary:
    """The arrays of a serialised SentencePiece model. Raises ValueError as read_pieces does."""
    given = read_pieces(model)
    pieces, kinds = [piece.text for piece in given], [piece.kind for piece in given]
    mergeable = {p: i for i, p in enumerate(pieces) if kinds[i] in (NORMAL, USER_DEFINED)}
    symbols = dict(mergeable)
    for character in sorted({c for piece in mergeable for c in piece}):
        symbols.setdefault(character, len(pieces) + len(symbols) - len(mergeable))
    scores = np.full(len(pieces) + len(symbols) - len(mergeable), -np.inf)
    scores[: len(pieces)] = [piece.score for piece in given]
    merges = [
        (symbols[piece[:i]], symbols[piece[i:]], symbol)
        for piece, symbol in mergeable.items()
        for i in range(1, len(piece))
        if piece[:i] in symbols and piece[i:] in symbols
    ]
    joined = sorted({(symbols[a], symbols[b]) for piece in mergeable for a, b in pairwise(piece)})
    ascii_symbol = np.array([symbols.get(chr(c), -1) for c in range(128)], np.int32)
    ascii_joined = np.zeros((128, 128), np.uint8)
    for piece in mergeable:
        for a, b in pairwise(piece):
            if a < "\x80" and b < "\x80":
                ascii_joined[ord(a), ord(b)] = 1
    characters = [(ord(c), s) for c, s in symbols.items() if len(c) == 1]
    fixed = sorted(
        (p.encode() for p, i in mergeable.items() if kinds[i] == USER_DEFINED),
        key=lambda p: (-len(p), p),
    )
    starts_fixed = np.zeros(256, np.bool_)
    starts_fixed[[p[0] for p in fixed]] = True
    return Vocabulary(
        ascii_symbol,
        *_table(_keys([c for c, _ in characters], 0), [s for _, s in characters]),
        ascii_joined.reshape(-1),
        _table(_keys(*_columns(joined, 2)), [0] * len(joined))[0],
        *_table(_keys(*_columns(merges, 3)[:2]), [m[2] for m in merges]),
        np.unique(-scores, return_inverse=True)[1].astype(np.int64),
        _byte_ids(given),
        np.frombuffer(b"".join(fixed), np.uint8),
        np.cumsum([len(p) for p in fixed], dtype=np.int64),
        np.array([mergeable[p.decode()] for p in fixed], np.int32),
        starts_fixed,
        len(pieces),
        sentencepiece.SentencePieceProcessor(model_proto=model).eos_id(),
    )


def _refuse_others(proto) -> None:
    normalizer, kinds = proto.normalizer_spec, {piece.type for piece in proto.pieces}
    problems = {
        "is no BPE model": proto.trainer_spec.model_type != proto.trainer_spec.BPE,
        "has no byte fallback": BYTE not in kinds,
        "normalises characters": bool(normalizer.precompiled_charsmap),
        "adds a space before each text": normalizer.add_dummy_prefix,
        "removes white space": normalizer.remove_extra_whitespaces,
        "keeps spaces as they are": not normalizer.escape_whitespaces,
        "writes a space after its word": proto.trainer_spec.treat_whitespace_as_suffix,
        "has pieces marked unused": UNUSED in kinds,
    }
    for problem, is_so in problems.items():
        if is_so:
            raise ValueError(f"the model {problem}; use impl = 'sentencepiece'")


def _byte_ids(pieces: list[Piece]) -> np.ndarray:
    byte_ids = np.full(256, -1, np.int32)
    for i, piece in enumerate(pieces):
        if piece.kind == BYTE:
            byte_ids[int(piece.text[3:5], 16)] = i
    if (byte_ids < 0).any():
        raise ValueError("the model lacks byte pieces; use impl = 'sentencepiece'")
    return byte_ids


def _columns(rows: Sequence[tuple[int, ...]], n: int) -> list[list[int]]:
    return [[row[i] for row in rows] for i in range(n)]


def _keys(left: list[int], right: list[int] | int) -> np.ndarray:
    pairs = np.empty(len(left), np.uint64)
    pairs[:] = np.array(left, np.uint64) << np.uint64(32) | np.array(right, np.uint64)
    return _pair_keys(pairs)


def _table(keys: np.ndarray, values: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return _filled(keys, np.array(values, np.int32))


@njit(cache=True, nogil=True)
def _filled(keys, values):
    table = np.zeros(table_size(len(keys)), np.uint64)
    table_values = np.zeros(len(table), np.int32)
    for i in range(len(keys)):
        at = slot_of(table, keys[i])
        table[at], table_values[at] = keys[i], values[i]
    return table, table_values


@njit(cache=True, nogil=True)
def _pair_keys(pairs):
    keys = np.empty(len(pairs), np.uint64)
    for i in range(len(pairs)):
        keys[i] = _pair_key(pairs[i])
    return keys


@njit(cache=True, nogil=True)
def _pair_key(pair: np.uint64) -> np.uint64:
    """A mixed key of (left, right), never 0: mix is a bijection, and its argument is not 0."""
    return mix(pair + np.uint64(1))


@njit(cache=True, nogil=True, inline="always")
def _find(keys: np.ndarray, left: int, right: int) -> int:
    """The slot of a pair of symbols, -1 where it has none."""
    at = slot_of(keys, _pair_key(np.uint64(left) << np.uint64(32) | np.uint64(right)))
    return int(at) if keys[at] else -1


@njit(cache=True, nogil=True)
def _symbol(code, ascii_symbol, character_keys, character_symbols):
    if code < 128:
        return np.int64(ascii_symbol[code])
    at = _find(character_keys, code, 0)
    return np.int64(character_symbols[at]) if at >= 0 else np.int64(-1)


@njit(cache=True, nogil=True)
def encode_batch(
    data: np.ndarray, offsets: np.ndarray, vocabulary: Vocabulary, memory: Memory
) -> tuple[np.ndarray, np.ndarray]:
    """(ids int32, offsets int64 of length documents + 1). EOS ends every text but empty ones."""
    n_docs = len(offsets) - 1
    ids = np.empty(offsets[n_docs] - offsets[0] + n_docs, np.int32)  # a token has a byte at least
    id_offsets = np.zeros(n_docs + 1, np.int64)
    ascii_symbol, ascii_joined = vocabulary.ascii_symbol, vocabulary.ascii_joined
    starts_fixed, n_pieces = vocabulary.starts_fixed, vocabulary.n_pieces
    scratch = _new_scratch(MAX_CHUNK)
    n = np.int64(0)
    for d in range(n_docs):
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
                    after = _merge(data, chunk, at, vocabulary, scratch, ids, n)
                    _remember(data, chunk, at, slot, memory, ids, n, after)
                    n = after
            else:
                n = _merge(data, chunk, at, vocabulary, _new_scratch(at - chunk), ids, n)
        if not empty:
            ids[n] = vocabulary.eos
            n += 1
        id_offsets[d + 1] = n
    return ids[:n], id_offsets


@njit(cache=True, nogil=True)
def _end_of_chunk(data, at, end, vocabulary):
    """Where the chunk ends that has come as far as the character at `at`."""
    characters = (
        vocabulary.ascii_symbol, vocabulary.character_keys, vocabulary.character_symbols,
    )  # fmt: skip
    code, width = decode(data, at, end)
    symbol = _symbol(code, *characters)
    at += width
    while at < end and not vocabulary.starts_fixed[data[at]]:
        code, width = decode(data, at, end)
        following = _symbol(code, *characters)
        if symbol < 0 or following < 0 or _find(vocabulary.joined_keys, symbol, following) < 0:
            break
        symbol = following
        at += width
    return at


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True, inline="always")
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


@njit(cache=True, nogil=True, inline="always")
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


@njit(cache=True, nogil=True)
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


# --- merging ------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _new_scratch(most):
    """Room for a chunk of so many bytes: symbols, where they begin, what each merges to with the
    next one, and at which rank."""
    return np.empty((4, most + 1), np.int64)


@njit(cache=True, nogil=True)
def _merge(data, start, end, vocabulary, scratch, ids, n):
    """Writes the ids of one chunk at ids[n:]; returns where they end."""
    symbols, begins = scratch[0], scratch[1]
    characters = (
        vocabulary.ascii_symbol, vocabulary.character_keys, vocabulary.character_symbols,
    )  # fmt: skip
    tables = vocabulary.merge_keys, vocabulary.merge_symbols, vocabulary.rank
    n_symbols = 0
    at = start
    while at < end:
        code, width = decode(data, at, end)
        symbols[n_symbols], begins[n_symbols] = _symbol(code, *characters), at
        n_symbols += 1
        at += width
    for i in range(n_symbols - 1):
        scratch[2, i], scratch[3, i] = _pair(symbols[i], symbols[i + 1], tables)
    if n_symbols <= MAX_CHUNK:
        n_symbols = _merge_by_scan(scratch, n_symbols, tables)
    else:
        n_symbols = _merge_by_heap(scratch, n_symbols, tables)
    begins[n_symbols] = end
    for i in range(n_symbols):
        if 0 <= symbols[i] < vocabulary.n_pieces:
            ids[n] = symbols[i]
            n += 1
        else:
            for at in range(begins[i], begins[i + 1]):
                ids[n] = vocabulary.byte_ids[data[at]]
                n += 1
    return n


@njit(cache=True, nogil=True, inline="always")
def _pair(left, right, tables):
    """(symbol, rank) of what two neighbours merge to; (-1, NEVER) for nothing."""
    merge_keys, merge_symbols, rank = tables
    if left < 0 or right < 0:
        return np.int64(-1), NEVER
    at = _find(merge_keys, left, right)
    if at < 0:
        return np.int64(-1), NEVER
    return np.int64(merge_symbols[at]), rank[merge_symbols[at]]


@njit(cache=True, nogil=True)
def _merge_by_scan(scratch, n, tables):
    """SentencePiece's loop for a few symbols: looks at every pair each time. Returns how many are
    left, at the front of `scratch`."""
    symbols, begins, pairs, ranks = scratch[0], scratch[1], scratch[2], scratch[3]
    while True:
        best, left = NEVER, 0
        for i in range(n - 1):
            if ranks[i] < best:
                best, left = ranks[i], i
        if best == NEVER:
            return n
        symbols[left] = pairs[left]
        n -= 1
        for i in range(left + 1, n):
            symbols[i], begins[i] = symbols[i + 1], begins[i + 1]
            pairs[i], ranks[i] = pairs[i + 1], ranks[i + 1]
        for i in (left - 1, left):
            if 0 <= i < n - 1:
                pairs[i], ranks[i] = _pair(symbols[i], symbols[i + 1], tables)


@njit(cache=True, nogil=True)
def _merge_by_heap(scratch, n, tables):
    """The same in n log n steps: a heap of (rank, left symbol), whose entries are stale where the
    pair at that place is another by now."""
    symbols, begins, pairs, ranks = scratch[0], scratch[1], scratch[2], scratch[3]
    following, before = np.arange(1, n + 1), np.arange(-1, n - 1)
    heap = np.empty(3 * n, np.int64)
    n_heap = 0
    for i in range(n - 1):
        if ranks[i] != NEVER:
            n_heap = _push(heap, n_heap, ranks[i] << 32 | i)
    ranks[n - 1] = NEVER
    while n_heap:
        top = heap[0]
        n_heap -= 1
        _sift_down(heap, n_heap)
        left = top & 0xFFFFFFFF
        if ranks[left] != top >> 32:
            continue
        right = following[left]
        symbols[left] = pairs[left]
        ranks[left] = ranks[right] = NEVER
        following[left] = following[right]
        if following[left] < n:
            before[following[left]] = left
        for i in (before[left], left):
            if i >= 0 and following[i] < n:
                pairs[i], ranks[i] = _pair(symbols[i], symbols[following[i]], tables)
                if ranks[i] != NEVER:
                    n_heap = _push(heap, n_heap, ranks[i] << 32 | i)
    left, n_left = 0, 0
    while left < n:
        symbols[n_left], begins[n_left] = symbols[left], begins[left]
        n_left += 1
        left = following[left]
    return n_left


@njit(cache=True, nogil=True)
def _push(heap, n, entry):
    i = n
    while i > 0 and heap[(i - 1) // 2] > entry:
        heap[i] = heap[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i] = entry
    return n + 1


@njit(cache=True, nogil=True)
def _sift_down(heap, n):
    """Removes the top: heap[n], the last entry, goes where it belongs."""
    entry = heap[n]
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry
