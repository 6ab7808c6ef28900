"""Numba kernels over the (data, offsets) of an Arrow string array: UTF-8, characters, hashes
(words: `words.py`).

Classes come from Python's `unicodedata`: characters newer than the interpreter's Unicode may be cut
differently by another Python. Invalid UTF-8 is read as U+FFFD, a byte at a time, and never past a
document's end. Hashes of whole texts: 20 GB/s on one core.
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.compiled import inlined, kernel, uncounted

OTHER, SPACE, LETTER, DIGIT, MARK, IDEOGRAPH, UNSPACED = range(7)  # from LETTER on: word characters

_IDEOGRAPHS = (
    (0x3005, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
"""Han, kana and bopomofo: a character is a word, or half of one."""

_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F),
)  # fmt: skip
"""Thai and Lao, Myanmar, Khmer, Myanmar's extensions: letters, but no spaces between words."""

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)


class Words(NamedTuple):
    """The words of document d lie at word_offsets[d] to word_offsets[d + 1]."""

    word_hash: np.ndarray  # uint64, of the lower-cased characters
    word_start: np.ndarray  # int32, bytes from the start of the document's text
    word_end: np.ndarray  # int32
    word_offsets: np.ndarray  # int64, documents + 1


def text_buffers(array: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """(data uint8, offsets int32 of length n + 1) of a string array; a null is an empty text. No
    copy where there is one chunk and no null. Both are read-only, always, so that a kernel is
    compiled for one kind of array. Raises ValueError for 2 GiB of text or more."""
    if isinstance(array, pa.ChunkedArray):
        n_bytes = array.nbytes
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # what passes int32 offsets stays in chunks
            raise ValueError(f"text: {n_bytes} bytes in a batch; read it in batches under 2 GiB")
    if array.type not in (pa.string(), pa.binary()):
        array = array.cast(pa.string())
    if array.null_count:
        array = pc.fill_null(array, "")  # the bytes under a null are undefined
    if len(array) == 0:
        data, offsets = np.zeros(0, np.uint8), np.zeros(1, np.int32)
    else:
        _, ends, text = array.buffers()
        offsets = np.frombuffer(ends, np.int32)[array.offset : array.offset + len(array) + 1]
        data = np.zeros(0, np.uint8) if text is None else np.frombuffer(text, np.uint8)
    data.flags.writeable = False
    offsets.flags.writeable = False
    return data, offsets


def hash_strings(array: pa.Array | pa.ChunkedArray, seed: np.uint64) -> np.ndarray:
    """XXH64 of each string's bytes, uint64; a null hashes as an empty string."""
    return _hash_all(*text_buffers(array), np.uint64(seed))


@functools.cache
def character_tables() -> tuple[np.ndarray, np.ndarray]:
    """(class uint8 of each code point, lower case uint32 of those under 0x20000): 1.6 MB, .05 s."""
    classes = np.zeros(0x110000, np.uint8)
    lower = np.arange(0x20000, dtype=np.uint32)
    by_category = {"L": LETTER, "N": DIGIT, "M": MARK}
    for code in (*range(0x40000), *range(0xE0000, 0xE1000)):  # elsewhere only private use
        character = chr(code)
        kind = by_category.get(unicodedata.category(character)[0], OTHER)
        classes[code] = SPACE if character.isspace() else kind
    for code in range(len(lower)):
        low = chr(code).lower()
        if len(low) == 1:
            lower[code] = ord(low)
    for ranges, kind in ((_IDEOGRAPHS, IDEOGRAPH), (_UNSPACED, UNSPACED)):
        for first, last in ranges:
            part = classes[first : last + 1]
            part[part == LETTER] = kind
    classes[0x3007] = IDEOGRAPH  # the zero of Chinese numerals, a number to Unicode
    return classes, lower


@inlined
def _rotl(x: np.uint64, r: int) -> np.uint64:
    return (x << np.uint64(r)) | (x >> np.uint64(64 - r))


@inlined
def read_bytes(data: np.ndarray, start: np.uint64, n: int) -> np.uint64:
    """n bytes as a little-endian integer. Unsigned indices, or numba's check for negative ones
    would keep LLVM from making this one load."""
    word = np.uint64(0)
    for k in range(n):
        word |= np.uint64(data[start + np.uint64(k)]) << np.uint64(8 * k)
    return word


@inlined
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotl(lane + word * _P2, 31) * _P1


@uncounted
def mix(x: np.uint64) -> np.uint64:
    """XXH64's avalanche: a bijection after which every bit depends on every bit."""
    x = (x ^ (x >> np.uint64(33))) * _P2
    x = (x ^ (x >> np.uint64(29))) * _P3
    return x ^ (x >> np.uint64(32))


@kernel
def mix_all(values: np.ndarray) -> np.ndarray:
    """`mix` of each of some uint64."""
    mixed = np.empty(len(values), np.uint64)
    for i in range(len(values)):
        mixed[i] = mix(values[i])
    return mixed


@uncounted
def _stripes(data: np.ndarray, start: int, n_stripes: int, seed: np.uint64) -> np.uint64:
    """XXH64 over its 32-byte stripes."""
    a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
    at = np.uint64(start)
    for _ in range(n_stripes):
        a = _round(a, read_bytes(data, at, 8))
        b = _round(b, read_bytes(data, at + np.uint64(8), 8))
        c = _round(c, read_bytes(data, at + np.uint64(16), 8))
        d = _round(d, read_bytes(data, at + np.uint64(24), 8))
        at += np.uint64(32)
    h = _rotl(a, 1) + _rotl(b, 7) + _rotl(c, 12) + _rotl(d, 18)
    for lane in (a, b, c, d):
        h = (h ^ _round(np.uint64(0), lane)) * _P1 + _P4
    return h


@uncounted
def hash_bytes(data: np.ndarray, start: int, end: int, seed: np.uint64) -> np.uint64:
    """XXH64 of data[start:end], the standard value (doc/xxhash_spec.md of Cyan4973/xxHash)."""
    n_stripes = (end - start) // 32
    h = _stripes(data, start, n_stripes, seed) if n_stripes else seed + _P5
    h += np.uint64(end - start)
    at = start + 32 * n_stripes
    while at + 8 <= end:
        h = _rotl(h ^ _round(np.uint64(0), read_bytes(data, np.uint64(at), 8)), 27) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        h = _rotl(h ^ (read_bytes(data, np.uint64(at), 4) * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        h = _rotl(h ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    return mix(h)


@kernel
def _hash_all(data: np.ndarray, offsets: np.ndarray, seed: np.uint64) -> np.ndarray:
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for d in range(len(hashes)):
        hashes[d] = hash_bytes(data, offsets[d], offsets[d + 1], seed)
    return hashes


@uncounted
def table_size(n: int) -> int:
    """A power of two, at most half full with n keys."""
    size = 2
    while size < 2 * n:
        size *= 2
    return size


@inlined
def slot_of(keys: np.ndarray, key: np.uint64) -> np.int64:
    """Where the key is, or an empty slot for it; keys are mixed hashes other than 0."""
    mask = np.uint64(len(keys) - 1)
    at = key & mask
    while keys[at] != 0 and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@uncounted
def _same(a: np.ndarray, i: int, b: np.ndarray, j: int, n: int) -> bool:
    eights = n - n % 8
    for k in range(0, eights, 8):
        if read_bytes(a, np.uint64(i + k), 8) != read_bytes(b, np.uint64(j + k), 8):
            return False
    difference = np.uint8(0)
    for k in range(eights, n):
        difference |= a[i + k] ^ b[j + k]
    return difference == 0


@kernel
def equal_rows(
    old: np.ndarray, old_offsets: np.ndarray, new: np.ndarray, new_offsets: np.ndarray
) -> np.ndarray:
    """int64: for each new text the row of an old one that is equal, or -1."""
    keys = np.zeros(table_size(len(old_offsets) - 1), np.uint64)
    row_of = np.empty(len(keys), np.int64)
    for d in range(len(old_offsets) - 1):
        key = max(hash_bytes(old, old_offsets[d], old_offsets[d + 1], np.uint64(0)), np.uint64(1))
        slot = slot_of(keys, key)
        keys[slot], row_of[slot] = key, d
    rows = np.full(len(new_offsets) - 1, -1)
    for d in range(len(rows)):
        start, end = new_offsets[d], new_offsets[d + 1]
        key = max(hash_bytes(new, start, end, np.uint64(0)), np.uint64(1))
        slot = slot_of(keys, key)
        if keys[slot] == key:
            first, last = old_offsets[row_of[slot]], old_offsets[row_of[slot] + 1]
            if last - first == end - start and _same(old, first, new, start, end - start):
                rows[d] = row_of[slot]
    return rows


@uncounted
def decode(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """(code point, bytes) of the character at data[at], at < end; (0xFFFD, 1) if not UTF-8."""
    lead = data[at] + 0  # from uint8 to int64
    if lead < 0x80:
        return lead, 1
    n = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or at + n > end:
        return 0xFFFD, 1
    code = lead & (0x7F >> n)
    for k in range(1, n):
        byte = data[at + k]
        if byte & 0xC0 != 0x80:
            return 0xFFFD, 1
        code = code << 6 | (byte & 0x3F)
    if code > 0x10FFFF:
        return 0xFFFD, 1
    return code, n
