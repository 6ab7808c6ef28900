"""Documents that hold words or phrases of the user's lists.

All phrases are looked for at once (Aho and Corasick 1975), as a complete automaton over bytes: one
table look-up for each byte of text, whatever the number of phrases. Its memory is states times used
byte values: 400 phrases take 1.3 MB. Speed on web pages, one core, with those: 195 MB/s.

The defaults are those of C4 with its list of bad words (LDNOOBW; Raffel et al. 2020, arXiv
1910.10683, section 2.2): lower-cased text, a phrase counts where no word character touches it, one
is enough, and for lists in scripts without spaces `whole_words = false`.
"""

import functools
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.characters import ALNUM, character_traits
from filters.compiled import inlined, kernel, uncounted
from filters.kernels import decode, hash_strings, text_buffers
from filters.rules import Bound, at_most, mark, with_signals
from filters.tokens import last_code

MAX_TABLE_BYTES = 1 << 30
KEEP_SEED = 0x4B455950


@dataclass(frozen=True, kw_only=True)
class Keywords:
    """Marks documents with too many of the listed words or phrases."""

    lists: tuple[str, ...]
    """Text files, UTF-8, a word or phrase a line; empty lines are skipped."""
    max_keywords: int = 0
    whole_words: bool = True
    """A phrase counts only where no letter, digit or underscore touches it."""
    keep_fraction: float = 0.0
    """Share of the documents with too many that is kept, by a hash of the id (mC4: .001)."""

    def __post_init__(self) -> None:
        if not self.lists:
            raise ValueError("lists: empty; name at least one file of words")
        if self.max_keywords < 0:
            raise ValueError(f"max_keywords {self.max_keywords} is below 0")
        if not 0 <= self.keep_fraction <= 1:
            raise ValueError(f"keep_fraction {self.keep_fraction} is not within 0..1")


class Automaton(NamedTuple):
    table: np.ndarray  # int32[states, byte classes]: the next state; 0 is the start
    byte_class: np.ndarray  # uint8[256]
    length: np.ndarray  # int32[states], bytes of the phrase that ends here; 0: none does
    shorter: np.ndarray  # int32[states], where the next shorter phrase that ends here is found
    groups: np.ndarray  # uint8[states], an OR of 1 << group of all phrases that end here


def keywords(docs: pa.Table, config: Keywords) -> pa.Table:
    """Adds keywords.n_found; with `keep_fraction` keywords.n_counted too, 0 where it keeps."""
    n_found = count_phrases(docs["text"], load_keywords(config), config.whole_words)
    docs = with_signals(docs, "keywords", {"n_found": n_found})
    if not config.keep_fraction:
        return mark(docs, keywords_bounds(config))
    excused = _chance(docs["id"]) < config.keep_fraction
    counted = pc.if_else(pa.array(excused), pa.scalar(0, pa.int64()), n_found)
    docs = with_signals(docs, "keywords", {"n_counted": counted})
    return mark(docs, keywords_bounds(config))


def keywords_bounds(config: Keywords) -> list[Bound]:
    signal = "keywords.n_counted" if config.keep_fraction else "keywords.n_found"
    return [at_most(config, "too_many_keywords", signal, "max_keywords")]


def load_keywords(config: Keywords) -> Automaton:
    """Raises ValueError for lists without a phrase, or with too many."""
    return automaton(read_phrases(config.lists))


def count_phrases(texts: pa.ChunkedArray, phrases: Automaton, whole_words: bool) -> pa.Array:
    """int64: places in the lower-cased text where a phrase ends; null for a null text."""
    data, offsets = text_buffers(pc.utf8_lower(texts))
    counts = _count(data, offsets, *phrases[:4], whole_words, character_traits())
    return pa.array(counts, mask=texts.is_null().to_numpy(zero_copy_only=False))


@functools.lru_cache(8)
def read_phrases(paths: tuple[str, ...], folds_case: bool = True) -> tuple[str, ...]:
    """The lines of the files, each once, lower-cased and without white space around them if
    `folds_case`. Raises ValueError for a file without any."""
    phrases: dict[str, None] = {}
    for path in paths:
        n_before = len(phrases)
        for line in Path(path).read_text("utf-8-sig").splitlines():
            if line.strip():
                phrases[line.strip().lower() if folds_case else line] = None
        if len(phrases) == n_before == 0:
            raise ValueError(f"{path}: no word or phrase in it; it needs one a line")
    return tuple(phrases)


@functools.lru_cache(4)
def automaton(
    phrases: tuple[str, ...], groups: tuple[int, ...] = (), folds_case: bool = True
) -> Automaton:
    """`folds_case`: phrases are in lower case, and ASCII capitals of a text count as small letters.
    `groups`: a number from 0 to 7 for each phrase. Raises ValueError for more phrases than memory
    allows."""
    encoded = [phrase.encode() for phrase in phrases]
    used = sorted(set(b"".join(encoded)))
    byte_class = np.zeros(256, np.uint8)
    byte_class[used] = np.arange(1, len(used) + 1)
    for capital in range(0x41, 0x5B) if folds_case else ():
        byte_class[capital] = byte_class[capital + 0x20]
    children: list[dict[int, int]] = [{}]
    length, mask = [0], [0]
    for i, phrase in enumerate(encoded):
        state = 0
        for byte in phrase:
            if byte not in children[state]:
                children[state][byte] = len(children)
                children.append({})
                length.append(0)
                mask.append(0)
            state = children[state][byte]
        length[state] = len(phrase)
        mask[state] |= 1 << (groups[i] if groups else 0)
    n_bytes = 4 * len(children) * (len(used) + 1)
    if n_bytes > MAX_TABLE_BYTES:
        raise ValueError(
            f"{len(phrases)} phrases need a table of {n_bytes} bytes; 1 GiB is the most"
        )
    return _completed(children, byte_class, np.array(length, np.int32), np.array(mask, np.uint8))


def _completed(
    children: list[dict[int, int]], byte_class: np.ndarray, length: np.ndarray, mask: np.ndarray
) -> Automaton:
    """The trie with all transitions, breadth first: those that are not there are those of the
    longest proper suffix that is a state."""
    table = np.zeros((len(children), int(byte_class.max()) + 1), np.int32)
    shorter = np.zeros(len(children), np.int32)
    suffix = np.zeros(len(children), np.int32)
    queue = deque([0])
    while queue:
        state = queue.popleft()
        row = table[suffix[state]].copy() if state else table[0]
        for byte, child in children[state].items():
            c = byte_class[byte]
            suffix[child] = row[c] if state else 0
            row[c] = child
            queue.append(child)
        table[state] = row
        if state:
            shorter[state] = suffix[state] if length[suffix[state]] else shorter[suffix[state]]
            mask[state] |= mask[suffix[state]]
    return Automaton(table, byte_class, length, shorter, mask)


def _chance(ids: pa.ChunkedArray) -> np.ndarray:
    """float64 in 0..1 for each id, the same in every run."""
    return hash_strings(ids, np.uint64(KEEP_SEED)) / 2.0**64


@kernel
def _count(
    data: np.ndarray,
    offsets: np.ndarray,
    table: np.ndarray,
    byte_class: np.ndarray,
    length: np.ndarray,
    shorter: np.ndarray,
    whole_words: bool,
    traits: np.ndarray,
) -> np.ndarray:
    counts = np.zeros(len(offsets) - 1, np.int64)
    for d in range(len(counts)):
        first, end = offsets[d], offsets[d + 1]
        state = 0
        for at in range(first, end):
            state = table[state, byte_class[data[at]]]
            found = state if length[state] else shorter[state]
            if found and whole_words and at + 1 < end and _starts_word(data, at + 1, end, traits):
                found = 0
            while found:
                start = at + 1 - length[found]
                if (
                    not whole_words
                    or start == first
                    or not _is_word(last_code(data, start), traits)
                ):
                    counts[d] += 1
                    break
                found = shorter[found]
    return counts


@uncounted
def _starts_word(data: np.ndarray, at: int, end: int, traits: np.ndarray) -> bool:
    return _is_word(decode(data, at, end)[0], traits)


@inlined
def _is_word(code: int, traits: np.ndarray) -> bool:
    """As \\w of a Python pattern."""
    return code == 0x5F or traits[code] & ALNUM != 0
