"""Words and lines as RedPajama-V2 counts them: the kernels of `filters.redpajama`."""

import math

import numpy as np

from filters.characters import ALNUM, CASED, NUMERIC, UPPER
from filters.compiled import inlined, kernel, uncounted
from filters.kernels import SPACE, decode, hash_bytes, mix, slot_of, table_size
from filters.spans import rstrip
from filters.tokens import last_code

_ODD = np.uint64(0x9E3779B97F4A7C15)
BULLETS = (0x2022, 0x2023, 0x25B6, 0x25C0, 0x25E6, 0x25A0, 0x25A1, 0x25AA, 0x25AB, 0x2013)


def vocabulary(words: tuple[str, ...]) -> np.ndarray:
    """A table for `slot_of` of the words' hashes."""
    keys = np.zeros(table_size(max(len(words), 1)), np.uint64)
    for word in words:
        data = np.frombuffer(word.encode(), np.uint8)
        key = hash_bytes(data, 0, len(data), np.uint64(0))
        keys[slot_of(keys, key)] = key
    return keys


def _hash_of(word: str) -> np.uint64:
    h = _ODD
    for char in word:
        h = np.uint64((int(h) ^ (int(h) >> 29) ^ ord(char)) * int(_ODD) & 0xFFFFFFFFFFFFFFFF)
    return max(mix(h), np.uint64(1))


LOREM, IPSUM, JAVASCRIPT = _hash_of("lorem"), _hash_of("ipsum"), _hash_of("javascript")


@inlined
def _is_punctuation(code: int) -> bool:
    """string.punctuation."""
    return (
        0x21 <= code <= 0x2F or 0x3A <= code <= 0x40 or 0x5B <= code <= 0x60 or 0x7B <= code <= 0x7E
    )


@kernel
def _diversity(hashes: np.ndarray) -> tuple[int, float]:
    """(different words, entropy of their distribution in nats)."""
    keys = np.zeros(table_size(len(hashes)), np.uint64)
    counts = np.zeros(len(keys), np.int64)
    for h in hashes:
        slot = slot_of(keys, h)
        keys[slot] = h
        counts[slot] += 1
    n, entropy = 0, 0.0
    for count in counts:
        if count:
            n += 1
            share = count / len(hashes)
            entropy -= share * math.log(share)
    return n, entropy


@kernel
def normalized(
    data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, traits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of texts in lower case and NFD: (hashes, characters) of the words, their places by document
    (first, last), and float64[documents, 8]: words, their characters, different ones, entropy,
    "lorem ipsum"; over the lines the sums of words, of "javascript" and of the share of characters
    that are numeric."""
    n_docs = len(offsets) - 1
    most = offsets[n_docs] - offsets[0]
    hashes, chars = np.empty(most, np.uint64), np.empty(most, np.int32)
    ends = np.zeros(n_docs + 1, np.int64)
    sums = np.zeros((n_docs, 8), np.float64)
    n = 0
    for d in range(n_docs):
        at, end = offsets[d], offsets[d + 1]
        while at < end:  # a line
            line, n_numeric, n_chars, code = n, 0, 0, 0
            while at < end and code != 0x0A:  # a word
                h, length = _ODD, 0
                while at < end:
                    code, width = decode(data, at, end)
                    at += width
                    if classes[code] == SPACE:
                        break
                    if not _is_punctuation(code):
                        h = (h ^ (h >> np.uint64(29)) ^ np.uint64(code)) * _ODD
                        length += 1
                        n_numeric += traits[code] & NUMERIC != 0
                if length:
                    hashes[n], chars[n] = max(mix(h), np.uint64(1)), length
                    n_chars += length
                    sums[d, 6] += hashes[n] == JAVASCRIPT
                    n += 1
            sums[d, 5] += n - line
            sums[d, 7] += n_numeric / max(n_chars + max(n - line - 1, 0), 1)
        ends[d + 1] = n
        words = hashes[ends[d] : n]
        sums[d, 0], sums[d, 1] = len(words), chars[ends[d] : n].sum()
        sums[d, 2], sums[d, 3] = _diversity(words)
        for i in range(len(words) - 1):
            sums[d, 4] += words[i] == LOREM and words[i + 1] == IPSUM
    return hashes[:n], chars[:n], ends[:-1], ends[1:], sums


@uncounted
def _count_words(
    data: np.ndarray,
    at: int,
    end: int,
    classes: np.ndarray,
    traits: np.ndarray,
    stops: np.ndarray,
    out: np.ndarray,
) -> None:
    """Adds to `out` raw words, those with a letter of A-Z, those all in capitals, stop words, curly
    brackets, and sentences: runs without . ! ? that hold a letter, a digit or an underscore."""
    held = False
    while at < end:
        code, width = decode(data, at, end)
        if classes[code] == SPACE:
            at += width
            continue
        first, word = at, code == 0x5F or traits[code] & ALNUM != 0
        latin = upper = cased = False
        while at < end and classes[code] != SPACE:
            if (code == 0x5F or traits[code] & ALNUM != 0) != word:
                break
            latin |= 0x41 <= code & ~0x20 <= 0x5A and code < 0x80
            upper |= traits[code] & UPPER != 0
            cased |= traits[code] & CASED != 0
            out[4] += code in (0x7B, 0x7D)
            if code in (0x21, 0x2E, 0x3F):
                out[5] += held
                held = False
            held |= word
            at += width
            if at < end:
                code, width = decode(data, at, end)
        out[0] += 1
        out[1] += latin
        out[2] += upper and not cased
        key = hash_bytes(data, first, at, np.uint64(0))
        out[3] += stops[slot_of(stops, key)] == key
    out[5] += held


@kernel
def raw(
    data: np.ndarray,
    offsets: np.ndarray,
    classes: np.ndarray,
    traits: np.ndarray,
    stops: np.ndarray,
) -> np.ndarray:
    """float64[documents, 10]: what `_count_words` counts; lines, as \\n ends them, those that end
    with . ! ? or ”, those that start with a bullet, and the sum of their shares of capitals."""
    counts = np.zeros((len(offsets) - 1, 10), np.float64)
    for d in range(len(counts)):
        _count_words(data, offsets[d], offsets[d + 1], classes, traits, stops, counts[d])
        at, end = offsets[d], offsets[d + 1]
        while at < end:
            start, first, n_chars, n_upper, code = at, 0, 0, 0, 0
            while at < end and code != 0x0A:
                code, width = decode(data, at, end)
                if first == 0 and classes[code] != SPACE:
                    first = code
                n_chars += 1
                n_upper += traits[code] & UPPER != 0
                at += width
            stop = rstrip(data, start, at, classes)
            final = last_code(data, stop) if stop > start else 0
            counts[d, 6] += 1
            counts[d, 7] += final in (0x21, 0x2E, 0x3F, 0x201D)
            counts[d, 8] += first in BULLETS
            counts[d, 9] += n_upper / n_chars
    return counts
