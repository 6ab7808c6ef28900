"""An index from n-grams of folded words to the test items that they are in.

What of a question or an answer is indexed: every n-gram where it has n words; the whole, where it
has 8 or more (as GPT-3, Brown et al. 2020, appendix C); the whole question of 5 to 7 words and 20
bytes, which counts only with its answer after it. Shorter ones cannot be told from chance, and are
reported.

Four things keep common text from counting as a test item, all decided before a document is read, so
that the same document has the same fate in any run: an n-gram is left out where more than half of
its words are numbers, where half of them repeat another, where many items share it (a template of
the test set), and where many documents of a background text have it. Against HumanEval and GSM8K,
61 of 12,000 Python files of the standard library and of installed packages match without the rule
on numbers ("1, 2, 3, ..."), 3 with it, each with a tenth of an item ("zero", "one", "two", ...).
"""

import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from filters.folded_words import folded_words
from filters.kernels import Words, text_buffers
from filters.ngram_table import HEAD, NGrams, build, find_ngrams, key_table, keys_of, ngram_hashes
from filters.testsets import Item, ItemFields, read_items, read_texts

MIN_WORDS = 8
"""Words of a question or answer that counts by itself."""
MIN_QUESTION_WORDS, MIN_QUESTION_BYTES = HEAD, 20
"""Of a question that counts with its answer."""


class TestSets(NamedTuple):
    """All items; n-gram g is in items items[item_offsets[g]:item_offsets[g + 1]]."""

    names: list[str]  # of each item: <file name>/<number, from 0>
    ngrams: NGrams
    vocabulary: np.ndarray  # uint64, a table of the hashes of all words of the items
    ngram_words: np.ndarray  # int64, the length of each n-gram
    items: np.ndarray  # int32
    positions: np.ndarray  # int32, the word of the item at which the n-gram first starts
    item_offsets: np.ndarray  # int64
    word_hash: np.ndarray  # uint64, of all items: of each first the question, then the answer
    first_word: np.ndarray  # int64, items + 1
    question_words: np.ndarray  # int64, of each item
    item_ngrams: np.ndarray  # int64, different n-grams of each item
    item_words: np.ndarray  # int64, words of each item that lie in one of them
    n_templates: int  # n-grams left out because of max_items_per_ngram
    n_common: int  # n-grams left out because of the background


@functools.cache
def load_testsets(
    paths: tuple[str, ...],
    fields: tuple[tuple[str, ItemFields], ...],
    n: int,
    ignore_numbers: bool,
    max_items_per_ngram: int,
    background: tuple[str, ...],
    max_background_documents: int,
) -> TestSets:
    """Reads test sets, once a process. ValueError for a file or an item that cannot be used.

    fields: by file name; "" is all others.
    """
    of_file = dict(fields)
    unknown = [name for name in of_file if name and name not in {_file(path) for path in paths}]
    if unknown:
        known = ", ".join(sorted({_file(path) for path in paths}))
        raise ValueError(f"sets: no test set {unknown[0]!r}. Known: {known}")
    items: list[Item] = []
    for path in sorted(set(paths)):
        items += read_items(path, of_file.get(_file(path), of_file[""]))
    sets = _index(items, n, ignore_numbers, max_items_per_ngram)
    if background:
        counts = _documents_with(sets, background, ignore_numbers)
        common = np.flatnonzero(counts > max_background_documents)
        sets = _index(items, n, ignore_numbers, max_items_per_ngram, keys_of(sets.ngrams, common))
    return sets


def _file(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _index(
    items: list[Item],
    n: int,
    ignore_numbers: bool,
    max_items_per_ngram: int,
    common: np.ndarray | None = None,
) -> TestSets:
    passages = [text for item in items for text in (item.question, item.answer)]
    data, offsets = text_buffers(pa.array(passages, pa.string()))
    words = folded_words(data, offsets, ignore_numbers)
    first_word = words.word_offsets[::2]
    keys, places, lengths = _ngrams_of(words, data, offsets, n)
    item = np.searchsorted(first_word, places, side="right") - 1
    n_common = 0
    if common is not None:
        kept = ~np.isin(keys, common)
        n_common = len(common)
        keys, places, lengths, item = keys[kept], places[kept], lengths[kept], item[kept]
    # The first place of each n-gram in each item; places ascend within a length.
    order = np.lexsort((places, item, keys))
    keys, places, lengths, item = keys[order], places[order], lengths[order], item[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]) | (item[1:] != item[:-1])
    keys, places, lengths, item = keys[new], places[new], lengths[new], item[new]
    different, first, ngram, n_sharing = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    usual = n_sharing <= max_items_per_ngram
    firsts = first[usual]
    kept = usual[ngram]
    table = build(different[usual], lengths[firsts], n, words, places[firsts])
    ngram_words = lengths[firsts]
    item, places, lengths = item[kept], places[kept], lengths[kept]
    by_place = np.lexsort((places, item))
    return TestSets(
        names=[item.name for item in items],
        ngrams=table,
        vocabulary=key_table(np.unique(words.word_hash))[0],
        ngram_words=ngram_words,
        items=item.astype(np.int32),
        positions=(places - first_word[item]).astype(np.int32),
        item_offsets=np.concatenate([[0], np.cumsum(n_sharing[usual])]),
        word_hash=words.word_hash,
        first_word=first_word,
        question_words=np.diff(words.word_offsets)[::2],
        item_ngrams=np.bincount(item, minlength=len(items)),
        item_words=covered_words(item[by_place], places[by_place], lengths[by_place], len(items)),
        n_templates=int((~usual).sum()),
        n_common=n_common,
    )


def _ngrams_of(
    words: Words, data: np.ndarray, offsets: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hash, place of its first word, length) of every n-gram that may count."""
    n_words = np.diff(words.word_offsets)
    passage = np.repeat(np.arange(len(n_words)), n_words)
    length_of = np.where(n_words >= MIN_WORDS, np.minimum(n_words, n), 0)
    beside_answer = (n_words >= MIN_QUESTION_WORDS) & (n_words < MIN_WORDS)
    beside_answer &= (np.arange(len(n_words)) % 2 == 0) & (np.roll(n_words, -1) > 0)
    beside_answer &= np.diff(offsets) >= MIN_QUESTION_BYTES
    length_of[beside_answer] = n_words[beside_answer]
    initials = data[offsets[passage] + words.word_start]
    is_number = (initials >= ord("0")) & (initials <= ord("9"))
    n_numbers = np.concatenate([[0], np.cumsum(is_number)])  # before each word
    keys, places, lengths = [], [], []
    for length in np.unique(length_of[length_of > 0]).tolist():
        hashes = ngram_hashes(words.word_hash, words.word_offsets, length)
        at = np.flatnonzero((hashes != 0) & (length_of[passage] == length))
        at = at[2 * (n_numbers[at + length] - n_numbers[at]) <= length]
        at = at[2 * _n_different(words.word_hash, at, length) > length]
        keys.append(hashes[at])
        places.append(at)
        lengths.append(np.full(len(at), length))
    none = np.zeros(0, np.int64)
    return (
        np.concatenate([np.zeros(0, np.uint64), *keys]),
        np.concatenate([none, *places]),
        np.concatenate([none, *lengths]),
    )


def _documents_with(sets: TestSets, paths: tuple[str, ...], ignore_numbers: bool) -> np.ndarray:
    """int64: in how many documents of the background each n-gram is."""
    counts = np.zeros(len(sets.ngram_words), np.int64)
    for path in sorted(set(paths)):
        for texts in read_texts(path):
            words = folded_words(*text_buffers(texts), ignore_numbers, sets.vocabulary)
            place, ngram = find_ngrams(words, sets.ngrams)
            doc = np.searchsorted(words.word_offsets, place, side="right") - 1
            pairs = np.unique(doc * len(counts) + ngram)
            counts += np.bincount(pairs % max(len(counts), 1), minlength=len(counts))
    return counts


def covered_words(group: np.ndarray, start: np.ndarray, length: np.ndarray, n: int) -> np.ndarray:
    """int64: how many words the spans of each of n groups cover. Sorted by group and start; of a
    group, spans that start later end later, so each adds what the next does not cover."""
    reach = length.copy()
    same = group[1:] == group[:-1]
    reach[:-1][same] = np.minimum(length[:-1], np.diff(start))[same]
    return np.bincount(group, reach, minlength=n).astype(np.int64)


@njit(cache=True, nogil=True)
def _n_different(word_hash: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    """int64: different words in the n-gram at each place."""
    counts = np.zeros(len(places), np.int64)
    for i in range(len(places)):
        for k in range(length):
            seen = False
            for j in range(k):
                seen |= word_hash[places[i] + j] == word_hash[places[i] + k]
            counts[i] += not seen
    return counts
