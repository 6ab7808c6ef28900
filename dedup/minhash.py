"""MinHash signatures of word n-grams (Broder 1997): documents as sets of shingles, as bands for
`lsh.py` and as sorted sets for `verify.py`.

A shingle is the hash of `words` consecutive normalized words (`filters/kernels.py`: case and
punctuation folded, digits kept: 2019's list is not 2024's). A document with fewer words has no
shingles, so it is never a near-duplicate of anything: only an exact one.

Signatures are those of datasketch 2.0, scheme "affine32", bit for bit, for the low 32 bits of the
shingle hashes: murmur3's finalizer once, then a * h + b in uint32 for each permutation, which LLVM
turns into vector code. So datasketch's LSH indexes accept them. Measured on one core (Zen 5), on
9 MB of books: 130 MB/s; 33 of 45 ns a word go into splitting the text, 5 into 128 permutations.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from filters.kernels import mix, normalized_words, text_buffers

BASE = np.uint64(0x9E3779B97F4A7C15)  # of the rolling hash: odd, so no word is lost
TILE = 2048  # shingles whose 32-bit hashes are passed over once a permutation: 8 KiB stay in L1
LANES = 32  # what LLVM takes at a time: 4 accumulators of 8 lanes
NO_SHINGLE = np.uint32(0xFFFFFFFF)  # in a signature, as in datasketch


@dataclass(frozen=True, kw_only=True)
class MinHash:
    """Near-duplicates: documents whose word n-grams have a Jaccard similarity of `similarity` or
    more."""

    similarity: float = 0.8
    """Verified Jaccard of word n-grams from which a document is a duplicate of a kept one."""
    recall: float = 0.95
    """Share of the pairs at that similarity that have to become candidates; bands follow."""
    permutations: int = 128
    """At most so many values in a signature."""
    words: int = 5
    """Words in a shingle."""
    seed: int = 1
    """Of the permutations, as in datasketch."""
    max_bucket: int = 64
    """Members of a bucket up to which all are paired; in a larger one, each with the first 16."""

    def __post_init__(self) -> None:
        if not 0 < self.similarity <= 1:
            raise ValueError(f"similarity {self.similarity} is not above 0 and at most 1")
        if not 0 < self.recall < 1:
            raise ValueError(f"recall {self.recall} is not between 0 and 1; try 0.95")
        if not 1 <= self.permutations <= 4096:
            raise ValueError(f"permutations {self.permutations} is not within 1..4096")
        if self.words < 1:
            raise ValueError(f"words {self.words} is below 1")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed {self.seed} is not within 0..2^32 - 1")
        if self.max_bucket < 2:
            raise ValueError(f"max_bucket {self.max_bucket} is below 2")


class Signed(NamedTuple):
    """The shingles of document d lie at offsets[d] to offsets[d + 1]."""

    signatures: np.ndarray  # uint32 (documents, permutations)
    shingles: np.ndarray  # uint64, sorted and distinct in each document
    offsets: np.ndarray  # int32, documents + 1


def sketch(docs: pa.Table, config: MinHash, bands: int, rows: int) -> tuple[pa.Table, pa.Table]:
    """Documents (id, text, doc, order) with at least one shingle, as

    - band rows (key uint64, doc, order), `bands` a document: equal keys are equal values in the
    same
      band, but for collisions of 64 bits;
    - shingles (doc, order, id, shingles: list<uint64>, sorted and distinct)."""
    assert bands * rows <= config.permutations, (bands, rows, config.permutations)
    signed = sign(docs["text"], config, bands * rows)
    some = np.flatnonzero(np.diff(signed.offsets))
    doc, order = docs["doc"].take(some), docs["order"].take(some)
    keys = _band_keys(signed.signatures[some], bands, rows)
    each = np.repeat(np.arange(len(some)), bands)
    band_rows = {"key": keys.ravel(), "doc": doc.take(each), "order": order.take(each)}
    ends = np.append(signed.offsets[some], signed.offsets[-1])
    sets = pa.ListArray.from_arrays(pa.array(ends), pa.array(signed.shingles))
    ids = docs["id"].take(some)
    return pa.table(band_rows), pa.table({"doc": doc, "order": order, "id": ids, "shingles": sets})


def sign(texts: pa.Array | pa.ChunkedArray, config: MinHash, n: int) -> Signed:
    """The first n values of each text's signature, and its shingles."""
    words = normalized_words(*text_buffers(texts))
    a, b = (values[:n] for values in permutations(config.permutations, config.seed))
    return Signed(*_sign(words.word_hash, words.word_offsets, config.words, a, b))


def permutations(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) uint32 of h -> a * h + b, as datasketch draws them: a is odd, so it is a bijection."""
    generator = np.random.RandomState(seed)
    a = generator.randint(0, 1 << 31, n, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, generator.randint(0, 1 << 32, n, dtype=np.uint32)


@njit(cache=True, nogil=True)
def _sign(
    word_hash: np.ndarray, word_offsets: np.ndarray, words: int, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n_docs = len(word_offsets) - 1
    signatures = np.full((n_docs, len(a)), NO_SHINGLE, np.uint32)
    sets = np.empty(len(word_hash), np.uint64)
    offsets = np.zeros(n_docs + 1, np.int32)
    tile = np.empty(TILE, np.uint32)
    used = 0
    for d in range(n_docs):
        own = word_hash[word_offsets[d] : word_offsets[d + 1]]
        if len(own) >= words:
            shingles = _shingles(own, words)
            _lower(signatures[d], shingles, a, b, tile)
            used += _sorted_distinct(shingles, sets[used:])
        offsets[d + 1] = used
    return signatures, sets[:used], offsets


@njit(cache=True, nogil=True)
def _shingles(word_hash: np.ndarray, words: int) -> np.ndarray:
    """A polynomial in BASE over each run of `words` words, rolled from one to the next, mixed."""
    shingles = np.empty(len(word_hash) - words + 1, np.uint64)
    leaving = np.uint64(1)  # BASE ** words: the factor of the word that leaves
    rolled = np.uint64(0)
    for i in range(words):
        rolled = rolled * BASE + word_hash[i]
        leaving *= BASE
    shingles[0] = mix(rolled)
    for i in range(1, len(shingles)):
        rolled = rolled * BASE + word_hash[i + words - 1] - leaving * word_hash[i - 1]
        shingles[i] = mix(rolled)
    return shingles


@njit(cache=True, nogil=True)
def _lower(
    signature: np.ndarray, shingles: np.ndarray, a: np.ndarray, b: np.ndarray, tile: np.ndarray
) -> None:
    """The minimum of each permutation. Shingles inside, permutations outside: a, b and the minimum
    stay in registers, one load a lane."""
    for start in range(0, len(shingles), TILE):
        n = min(TILE, len(shingles) - start)
        for i in range(n):
            tile[i] = _fmix32(np.uint32(shingles[start + i]))
        full = -(-n // LANES) * LANES
        tile[n:full] = tile[0]  # a value twice has the same minimum, and no scalar rest is left
        for k in range(len(a)):
            times, plus, least = a[k], b[k], signature[k]
            for i in range(full):
                least = min(least, np.uint32(times * tile[i] + plus))
            signature[k] = least


@njit(cache=True, nogil=True)
def _fmix32(h: np.uint32) -> np.uint32:
    """Murmur3's 32-bit finalizer."""
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def _sorted_distinct(values: np.ndarray, out: np.ndarray) -> int:
    """Sorts hashes into `out` without repeats; returns how many. One bucket a value by the top
    bits, then insertion: linear for uniform hashes, and a value that is there already is not
    inserted, so a million times the same few shingles are linear too. np.sort in numba takes
    2.5 times as long on a page, 8 on a book."""
    bits = 1
    while 1 << bits < len(values):
        bits += 1
    shift = np.uint64(64 - bits)
    place = np.zeros((1 << bits) + 1, np.int64)
    for value in values:
        place[np.int64(value >> shift) + 1] += 1
    for bucket in range(1 << bits):
        place[bucket + 1] += place[bucket]
    for value in values:
        first = np.int64(value >> shift)
        out[place[first]] = value
        place[first] += 1
    n = 0
    for i in range(len(values)):
        value = out[i]
        at = n
        while at > 0 and out[at - 1] > value:
            at -= 1
        if at > 0 and out[at - 1] == value:
            continue
        for k in range(n, at, -1):
            out[k] = out[k - 1]
        out[at] = value
        n += 1
    return n


@njit(cache=True, nogil=True)
def _band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    keys = np.empty((len(signatures), bands), np.uint64)
    for d in range(len(signatures)):
        for band in range(bands):
            key = mix(np.uint64(band + 1))
            for value in signatures[d, band * rows : (band + 1) * rows]:
                key = mix(key ^ np.uint64(value))
            keys[d, band] = key
    return keys
