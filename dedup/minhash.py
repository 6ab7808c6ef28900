"""MinHash signatures of n-grams (Broder 1997): documents as sets of shingles, as bands for `lsh.py`
and as sorted sets for `verify.py`.

A shingle is the hash of `words` consecutive normalized words (`filters/words.py`: case and
punctuation folded, digits kept: 2019's list is not 2024's), or of so many characters of these words
with a space between them. A document with fewer has no shingles, so it is never a near-duplicate of
anything: only an exact one.

Signatures are those of datasketch 2.0, scheme "affine32" or "affine64", bit for bit, for the low 32
or all 64 bits of the shingle hashes: murmur3's finalizer once, then a * h + b for each permutation,
which LLVM turns into vector code. So datasketch's LSH indexes accept them. Splitting, signing and
sorting of a document follow each other, so that nothing but the results goes through memory.
Measured on one core (Zen 5), 9 MB of books, 128 permutations: 200 MB/s, 170 with 64 bits; 175 with
256 permutations, 100 with 1,024; 40 with shingles of 24 characters, 120 with punctuation.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.compiled import kernel, uncounted
from filters.kernels import mix, text_buffers
from filters.words import comparison_tables, split_characters, split_words

BASE = np.uint64(0x9E3779B97F4A7C15)  # of the rolling hash: odd, so no word is lost
TILE = 2048  # shingles whose hashes are passed over once a permutation: 8 or 16 KiB stay in L1
LANES = 32  # what LLVM takes at a time: 4 accumulators of 8 lanes


@dataclass(frozen=True, kw_only=True)
class MinHash:
    """Near-duplicates: documents whose n-grams have a Jaccard similarity of `similarity` or more.

    Texts are compared without case and punctuation, as they are composed, and with their digits;
    `lowercase`, `punctuation` and `unicode` choose otherwise."""

    similarity: float = 0.8
    """Verified similarity from which a document is a duplicate of a kept one."""
    measure: Literal["jaccard", "containment"] = "jaccard"
    """What is verified of the sets of shingles A and B: |A and B| / |A or B|, or / the smaller of
    |A| and |B|, for one that holds the other. Only pairs that MinHash proposes are verified, and it
    proposes by Jaccard: a tenth of a document is contained in it and has a Jaccard of .1. So
    containment removes more of what is proposed, and finds no excerpts (`ngrams` does)."""
    recall: float = 0.95
    """Share of the pairs at that Jaccard similarity that have to become candidates; bands
    follow."""
    permutations: int = 128
    """At most so many values in a signature."""
    bits: Literal[32, 64] = 32
    """Of a value. In a document of 10^8 shingles, some share their 32 bits: 64 take 1.2 times as
    long to sign, 1.3 times with 256 permutations."""
    words: int = 5
    """Words in a shingle."""
    characters: int = 0
    """Characters in a shingle, in the place of words; 0: words. One shingle for each character
    makes five times as many."""
    lowercase: bool = True
    punctuation: bool = False
    """Each punctuation mark or symbol counts, as a word."""
    unicode: Literal["as_is", "nfc", "nfkc"] = "as_is"
    """Composition before: nfc joins letters and accents, nfkc also makes one of the forms of a
    character (full-width, ligatures)."""
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
        if self.characters < 0:
            raise ValueError(f"characters {self.characters} is below 0; 0 means shingles of words")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed {self.seed} is not within 0..2^32 - 1")
        if self.max_bucket < 2:
            raise ValueError(f"max_bucket {self.max_bucket} is below 2")


class Signed(NamedTuple):
    """The shingles of document d lie at offsets[d] to offsets[d + 1]."""

    signatures: np.ndarray  # uint32 or uint64 (documents, permutations)
    shingles: np.ndarray  # uint64, sorted and distinct in each document
    offsets: np.ndarray  # int32, documents + 1


def sketch(docs: pa.Table, config: MinHash, bands: int, rows: int) -> tuple[pa.Table, pa.Table]:
    """Documents (id, text, doc, order) with at least one shingle, as

    - band rows (key uint64, doc, order), `bands` a document: equal keys are equal values in the
      same band, but for collisions of 64 bits;
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
    if config.unicode != "as_is":
        texts = pc.utf8_normalize(texts, form=config.unicode.upper())
    tables = comparison_tables(config.lowercase, config.punctuation)
    a, b = permutations(config.permutations, config.seed, config.bits)
    data, offsets = text_buffers(texts)
    length, by_character = config.characters or config.words, config.characters > 0
    no_shingle = np.iinfo(a.dtype).max  # as in datasketch
    signatures = np.full((len(offsets) - 1, n), no_shingle, a.dtype)
    sets = _sign(data, offsets, *tables, length, by_character, a[:n], b[:n], signatures)
    return Signed(signatures, *sets)


def band_keys_of(sets: pa.ListArray, config: MinHash, bands: int, rows: int) -> np.ndarray:
    """The keys of `sketch` again, uint64 (documents, bands), from stored sets of shingles."""
    a, b = permutations(config.permutations, config.seed, config.bits)
    n = bands * rows
    signatures = np.full((len(sets), n), np.iinfo(a.dtype).max, a.dtype)
    _sign_sets(sets.offsets.to_numpy(), sets.values.to_numpy(), a[:n], b[:n], signatures)
    return _band_keys(signatures, bands, rows)


@kernel
def _sign_sets(
    offsets: np.ndarray, shingles: np.ndarray, a: np.ndarray, b: np.ndarray, signatures: np.ndarray
) -> None:
    tile = np.empty(TILE, a.dtype)
    for d in range(len(signatures)):
        _lower(signatures[d], shingles[offsets[d] : offsets[d + 1]], a, b, tile)


def permutations(n: int, seed: int, bits: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) of h -> a * h + b, as datasketch draws them: a is odd, so it is a bijection."""
    generator = np.random.RandomState(seed)
    width = np.uint32 if bits == 32 else np.uint64
    a = generator.randint(0, 1 << (bits - 1), n, dtype=width) * width(2) + width(1)
    return a, generator.randint(0, 1 << bits, n, dtype=width)


@kernel
def _sign(
    data: np.ndarray,
    text_offsets: np.ndarray,
    classes: np.ndarray,
    lower: np.ndarray,
    length: int,
    by_character: bool,
    a: np.ndarray,
    b: np.ndarray,
    signatures: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(shingles, offsets); lowers the signatures."""
    n_docs = len(text_offsets) - 1
    longest = np.int64(0)
    for d in range(n_docs):
        longest = max(longest, np.int64(text_offsets[d + 1] - text_offsets[d]))
    hashes = np.empty(longest + 1, np.uint64)  # of one text: only pages written become memory
    place = np.empty(2 * longest + 3, np.int32)
    sets = np.empty(text_offsets[n_docs] - text_offsets[0], np.uint64)
    offsets = np.zeros(n_docs + 1, np.int32)
    tile = np.empty(TILE, a.dtype)
    used = 0
    for d in range(n_docs):
        first, end = int(text_offsets[d]), int(text_offsets[d + 1])
        if by_character:
            n = split_characters(data, first, end, classes, lower, hashes)
        else:
            n = split_words(data, first, end, classes, lower, hashes, None, None)
        if n >= length:
            _shingles(hashes, n, length)
            shingles = hashes[: n - length + 1]
            _lower(signatures[d], shingles, a, b, tile)
            used += _sorted_distinct(shingles, sets[used:], place)
        offsets[d + 1] = used
    return sets[:used], offsets


@uncounted
def _shingles(hashes: np.ndarray, n: int, length: int) -> None:
    """In the place of each of n hashes that begins a run of `length`: a polynomial in BASE over
    the run, rolled from one to the next, mixed."""
    leaving = np.uint64(1)  # BASE ** length: the factor of the hash that leaves
    rolled = np.uint64(0)
    for i in range(length):
        rolled = rolled * BASE + hashes[i]
        leaving *= BASE
    before = hashes[0]
    hashes[0] = mix(rolled)
    for i in range(1, n - length + 1):
        rolled = rolled * BASE + hashes[i + length - 1] - leaving * before
        before = hashes[i]
        hashes[i] = mix(rolled)


@uncounted
def _lower(
    signature: np.ndarray, shingles: np.ndarray, a: np.ndarray, b: np.ndarray, tile: np.ndarray
) -> None:
    """The minimum of each permutation. Shingles inside, permutations outside: a, b and the minimum
    stay in registers, one load a lane."""
    for start in range(0, len(shingles), TILE):
        n = min(TILE, len(shingles) - start)
        _finalize(shingles[start : start + n], tile)
        full = -(-n // LANES) * LANES
        tile[n:full] = tile[0]  # a value twice has the same minimum, and no scalar rest is left
        for k in range(len(a)):
            times, plus, least = a[k], b[k], signature[k]
            for i in range(full):
                least = min(least, tile.dtype.type(times * tile[i] + plus))
            signature[k] = least


@uncounted
def _finalize(shingles: np.ndarray, tile: np.ndarray) -> None:
    """As many bits of the shingles as the tile has, each depending on all others."""
    if tile.itemsize == 4:
        for i in range(len(shingles)):
            tile[i] = _fmix32(np.uint32(shingles[i]))
    else:
        for i in range(len(shingles)):
            tile[i] = _fmix64(shingles[i])


@uncounted
def _fmix32(h: np.uint32) -> np.uint32:
    """Murmur3's 32-bit finalizer."""
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@uncounted
def _fmix64(h: np.uint64) -> np.uint64:
    """Murmur3's 64-bit finalizer."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@uncounted
def _sorted_distinct(values: np.ndarray, out: np.ndarray, place: np.ndarray) -> int:
    """Sorts hashes into `out` without repeats; returns how many. One bucket a value by the top
    bits, then insertion: linear for uniform hashes, and a value that is there already is not
    inserted, so a million times the same few shingles are linear too. np.sort in numba takes
    2.5 times as long on a page, 8 on a book. `place` has room for 2 len(values) + 1."""
    bits = 1
    while 1 << bits < len(values):
        bits += 1
    shift = np.uint64(64 - bits)
    place[: (1 << bits) + 1] = 0
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


@kernel
def _band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    keys = np.empty((len(signatures), bands), np.uint64)
    for d in range(len(signatures)):
        for band in range(bands):
            key = mix(np.uint64(band + 1))
            for value in signatures[d, band * rows : (band + 1) * rows]:
                key = mix(key ^ np.uint64(value))
            keys[d, band] = key
    return keys
