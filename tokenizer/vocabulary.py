"""A SentencePiece BPE model as flat arrays, for the kernels of tokenizer.bpe and tokenizer.merges.

A model whose ids would not be those of the kernels (another algorithm, a normalisation, no byte
fallback) is refused by name. Pairs of symbols are looked up in open-addressing tables; 8,192 pieces
take .5 MB and are read in 35 ms.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from filters.compiled import inlined, kernel, uncounted
from filters.kernels import mix, slot_of, table_size

SPACE_MARK = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of pieces


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


@kernel
def _filled(keys, values):
    table = np.zeros(table_size(len(keys)), np.uint64)
    table_values = np.zeros(len(table), np.int32)
    for i in range(len(keys)):
        at = slot_of(table, keys[i])
        table[at], table_values[at] = keys[i], values[i]
    return table, table_values


@kernel
def _pair_keys(pairs):
    keys = np.empty(len(pairs), np.uint64)
    for i in range(len(pairs)):
        keys[i] = _pair_key(pairs[i])
    return keys


@uncounted
def _pair_key(pair: np.uint64) -> np.uint64:
    """A mixed key of (left, right), never 0: mix is a bijection, and its argument is not 0."""
    return mix(pair + np.uint64(1))


@inlined
def find_pair(keys: np.ndarray, left: int, right: int) -> int:
    """The slot of a pair of symbols, -1 where it has none."""
    at = slot_of(keys, _pair_key(np.uint64(left) << np.uint64(32) | np.uint64(right)))
    return int(at) if keys[at] else -1


@uncounted
def symbol_of(code, ascii_symbol, character_keys, character_symbols):
    if code < 128:
        return np.int64(ascii_symbol[code])
    at = find_pair(character_keys, code, 0)
    return np.int64(character_symbols[at]) if at >= 0 else np.int64(-1)
