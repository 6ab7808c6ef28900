"""Test sets as an index from n-grams of normalized words to the items that they are in.

Two things keep common text from counting as a test item, both decided on the test sets alone: an
n-gram is left out where more than half of its words are numbers, and where many items share it (a
template of the test set). Against HumanEval and GSM8K, 141 of 12,000 Python files of the standard
library and of installed packages match without the rule on numbers ("1, 2, 3, ..."), 2 with it.
An item shorter than n words is indexed whole, as one n-gram of its length.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

from filters.kernels import mix, normalized_words, slot_of, table_size, text_buffers

MIN_WORDS = 8
"""Items of fewer words are too short to tell from chance, and reported as such."""

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that a rolling hash modulo 2^64 loses nothing


class TestSets(NamedTuple):
    """The n-grams of all items. N-gram g is in items items[item_offsets[g]:item_offsets[g + 1]]."""

    names: list[str]  # of each item: <file name>/<number, from 0>
    lengths: tuple[int, ...]  # of n-grams in words: n, and those of short items
    table_keys: np.ndarray  # uint64, open addressing over n-gram hashes, 0 where empty
    table_ngrams: np.ndarray  # int32, the number g of the n-gram in each slot
    items: np.ndarray  # int32
    item_offsets: np.ndarray  # int64
    item_ngrams: np.ndarray  # int64, different n-grams of each item
    n_too_short: int  # items of fewer than MIN_WORDS words
    n_templates: int  # n-grams left out because of max_items_per_ngram


@functools.cache
def load_testsets(
    paths: tuple[str, ...], n: int, fields: tuple[str, ...] | None, max_items_per_ngram: int
) -> TestSets:
    """Reads test sets, once a process. ValueError for a file or an item that cannot be used."""
    names, texts = [], []
    for path in sorted(set(paths)):
        for number, item in _items(path):
            names.append(f"{Path(path).name}/{number}")
            texts.append(_text(item, fields, f"{path}, item {number}"))
    data, offsets = text_buffers(pa.array(texts, pa.string()))
    words = normalized_words(data, offsets)
    n_words = np.diff(words.word_offsets)
    item_of = np.repeat(np.arange(len(names)), n_words)
    initials = data[offsets[item_of] + words.word_start]
    is_number = (initials >= ord("0")) & (initials <= ord("9"))
    n_numbers = np.concatenate([[0], np.cumsum(is_number)])  # before each word
    lengths = np.unique(np.minimum(n_words[n_words >= MIN_WORDS], n))
    keys, items = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for length in lengths:
        hashes = ngram_hashes(words.word_hash, words.word_offsets, length)
        at = np.flatnonzero((hashes != 0) & ((length == n) | (n_words[item_of] == length)))
        at = at[2 * (n_numbers[at + length] - n_numbers[at]) <= length]
        keys.append(hashes[at])
        items.append(item_of[at])
    return TestSets(
        names=names,
        lengths=tuple(lengths.tolist()),
        n_too_short=int((n_words < MIN_WORDS).sum()),
        **_index(np.concatenate(keys), np.concatenate(items), len(names), max_items_per_ngram),
    )


def testset_summary(
    paths: tuple[str, ...],
    n: int = 13,
    fields: tuple[str, ...] | None = None,
    max_items_per_ngram: int = 10,
) -> dict[str, int]:
    """What `Decontaminate` with these values can find: items and n-grams, items too short to be
    found, items of nothing but templates and numbers, and n-grams left out as templates."""
    sets = load_testsets(tuple(paths), n, fields, max_items_per_ngram)
    return {
        "items": len(sets.names),
        "ngrams": len(sets.item_offsets) - 1,
        "items_too_short": sets.n_too_short,
        "items_without_ngrams": int((sets.item_ngrams == 0).sum()) - sets.n_too_short,
        "template_ngrams": sets.n_templates,
    }


def _items(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, item): the row of a Parquet file, the line of a JSONL file, from 0."""
    suffixes = [s for s in Path(path).suffixes if s not in (".gz", ".zst", ".bz2")]
    n_items = 0
    if suffixes[-1:] == [".parquet"]:
        for item in pq.read_table(path).to_pylist():
            yield n_items, item
            n_items += 1
    elif suffixes[-1:] == [".jsonl"]:
        with pa.input_stream(path) as stream:  # decompresses by the suffix
            lines = stream.read().split(b"\n")
        for number, line in enumerate(lines):
            if line.strip():
                yield number, _object(line, f"{path}, line {number + 1}")
                n_items += 1
    else:
        raise ValueError(f"{path}: not a test set; give .jsonl (.gz, .zst, .bz2) or .parquet")
    if n_items == 0:
        raise ValueError(f"{path}: no items in it; check the file")


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"{place}: not JSON ({error}); a test set has an object each line"
        ) from None
    if not isinstance(item, dict):
        raise ValueError(f"{place}: {type(item).__name__}; a test set has an object each line")
    return item


def _text(item: dict[str, Any], fields: tuple[str, ...] | None, place: str) -> str:
    for name in fields or ():
        if name not in item:
            raise ValueError(f"{place}: no field {name!r}; it has {', '.join(item)}")
    strings = _strings([item[name] for name in fields] if fields else item)
    return "\n".join(strings).encode("utf-8", "replace").decode()  # a lone surrogate: ?


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, in its order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _index(
    keys: np.ndarray, items: np.ndarray, n_items: int, max_items_per_ngram: int
) -> dict[str, Any]:
    """The table, from the hash and the item of each n-gram."""
    keys, ngram = np.unique(keys, return_inverse=True)
    pairs = np.unique(ngram * n_items + items)
    ngram, items = pairs // n_items, pairs % n_items
    n_sharing = np.bincount(ngram, minlength=len(keys))
    kept = n_sharing <= max_items_per_ngram
    items = items[kept[ngram]].astype(np.int32)
    table_keys, table_ngrams = _table(keys[kept])
    return {
        "table_keys": table_keys,
        "table_ngrams": table_ngrams,
        "items": items,
        "item_offsets": np.concatenate([[0], np.cumsum(n_sharing[kept])]),
        "item_ngrams": np.bincount(items, minlength=n_items),
        "n_templates": int((~kept).sum()),
    }


@njit(cache=True, nogil=True)
def ngram_hashes(word_hash: np.ndarray, word_offsets: np.ndarray, length: int) -> np.ndarray:
    """uint64 of the n-gram that starts at each word; 0 where the document ends before it does."""
    hashes = np.zeros(len(word_hash), np.uint64)
    drop = np.uint64(1)  # what the word before the window was multiplied by, times _BASE
    for _ in range(length):
        drop *= _BASE
    for d in range(len(word_offsets) - 1):
        start, end = word_offsets[d], word_offsets[d + 1]
        rolling = np.uint64(0)
        for at in range(start, end):
            rolling = rolling * _BASE + word_hash[at]
            if at - start >= length:
                rolling -= word_hash[at - length] * drop
            if at - start >= length - 1:
                hashes[at - length + 1] = max(mix(rolling + np.uint64(length)), np.uint64(1))
    return hashes


@njit(cache=True, nogil=True)
def _table(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An open-addressing table of different keys: (key or 0, place of the key) in each slot."""
    slots = np.zeros(table_size(len(keys)), np.uint64)
    places = np.zeros(len(slots), np.int32)
    for place in range(len(keys)):
        slot = slot_of(slots, keys[place])
        slots[slot], places[slot] = keys[place], place
    return slots, places
