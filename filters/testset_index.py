"""An index from n-grams of folded words to the test items that they are in.

What of a question or an answer is indexed: every n-gram where it has n words; the whole, where it
has 8 or more (as GPT-3, Brown et al. 2020, appendix C); the whole question of 5 to 7 words and 20
bytes, which counts only with its answer after it. Shorter ones cannot be told from chance, and are
reported.

With `ignore_numbers` an n-gram is of n words that are not numbers, whatever numbers stand between
them, so an item whose numbers were changed is found, and tables of numbers have no n-gram at all. A
passage of fewer such words is looked for whole and with its own numbers: "Find the greatest common
divisor of 12 and 18" is no item's where the numbers are others. Numbers as one word "0" in 13-grams
found as many of the changed items, but 46 of 1,483 items of HumanEval and GSM8K hold a 13-gram of
another item then (problems of one template), 23 with this, 20 with numbers as they are; of 14,000
files of code and tables 6 held one, against 1 and 5.

Four things keep common text from counting as a test item, all decided before a document is read,
so that the same document has the same fate in any run: an n-gram is left out where fewer than half
of its words, and fewer than 8, are no numbers, where half of them repeat another, where many items
share it (a template of the test set), and where many documents of a background text have it.
"""

import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.compiled import kernel
from filters.folded_words import NUMBER, folded_words
from filters.kernels import Words, text_buffers
from filters.ngram_table import HEAD, NGrams, build, find_ngrams, key_table, keys_of, ngram_hashes
from filters.testsets import Item, ItemFields, read_items, read_texts

MIN_WORDS = 8
"""Words of a question or answer that counts by itself."""
MAX_WHOLE_WORDS = 64
"""Of a passage that counts as a whole, since it is looked for wherever its first words are."""
MIN_QUESTION_WORDS, MIN_QUESTION_BYTES = HEAD, 20
"""Of a question that counts with its answer."""


class TestSets(NamedTuple):
    """All items; n-gram g is in items items[item_offsets[g]:item_offsets[g + 1]]."""

    names: list[str]  # of each item: <file name>/<number, from 0>
    ngrams: NGrams
    vocabulary: np.ndarray  # uint64, a table of the hashes of all words of the items
    items: np.ndarray  # int32
    positions: np.ndarray  # int32, the word of the item at which the n-gram first starts
    lengths: np.ndarray  # int64, the words of the item from there to its end, numbers too
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
        counts = _documents_with(sets, background)
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
    words = folded_words(data, offsets)
    first_word = words.word_offsets[::2]
    passed_over = NUMBER if ignore_numbers else np.uint64(0)
    keys, places, lengths, whole = _ngrams_of(words, np.diff(offsets), n, passed_over)
    item = np.searchsorted(first_word, places, side="right") - 1
    n_common = 0
    if common is not None:
        kept = ~np.isin(keys, common)
        n_common = len(common)
        keys, places, lengths, whole = keys[kept], places[kept], lengths[kept], whole[kept]
        item = item[kept]
    # The first place of each n-gram in each item.
    order = np.lexsort((places, item, keys))
    new = np.ones(len(keys), bool)
    new[1:] = (np.diff(keys[order]) != 0) | (np.diff(item[order]) != 0)
    order = order[new]
    keys, places, lengths, item = keys[order], places[order], lengths[order], item[order]
    heads = ngram_hashes(words.word_hash, words.word_offsets, HEAD)[places]
    different, first, ngram, n_sharing = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    usual = n_sharing <= max_items_per_ngram
    kept = usual[ngram]
    short = first[usual & whole[order][first]]
    table = build(different[usual], n, passed_over, lengths[short], heads[short])
    item, places, lengths = item[kept], places[kept], lengths[kept]
    by_place = np.lexsort((places, item))
    return TestSets(
        names=[item.name for item in items],
        ngrams=table,
        vocabulary=key_table(np.unique(words.word_hash))[0],
        items=item.astype(np.int32),
        positions=(places - first_word[item]).astype(np.int32),
        lengths=lengths,
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
    words: Words, n_bytes: np.ndarray, n: int, passed_over: np.uint64
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(hash, place of its first word, words, whether it is a whole passage) of every n-gram that
    may count; n_bytes of each passage."""
    counted = np.flatnonzero(words.word_hash & passed_over == 0)
    first_counted = np.searchsorted(counted, words.word_offsets)
    n_words, n_counted = np.diff(words.word_offsets), np.diff(first_counted)
    keys, at = _usable(words.word_hash[counted], first_counted, n, n_counted >= n)
    places = counted[at]
    found = [(keys, places, counted[at + n - 1] + 1 - places, np.zeros(len(at), bool))]
    whole = n_words >= MIN_WORDS
    beside_answer = (n_words >= MIN_QUESTION_WORDS) & (n_bytes >= MIN_QUESTION_BYTES)
    beside_answer &= (np.arange(len(n_words)) % 2 == 0) & (np.roll(n_words, -1) > 0)
    whole = (n_counted < n) & (n_words <= MAX_WHOLE_WORDS) & (whole | beside_answer)
    for length in np.unique(n_words[whole]).tolist():
        chosen = whole & (n_words == length)
        keys, places = _usable(words.word_hash, words.word_offsets, length, chosen)
        found.append((keys, places, np.full(len(keys), length), np.ones(len(keys), bool)))
    keys, places, lengths, wholes = (
        np.concatenate(columns) for columns in zip(*found, strict=True)
    )
    return keys, places, lengths, wholes


def _usable(
    word_hash: np.ndarray, word_offsets: np.ndarray, length: int, passages: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(hash, place) of the n-grams of the chosen passages that are neither numbers nor one word
    again and again, for the most part."""
    hashes = ngram_hashes(word_hash, word_offsets, length)
    at = np.flatnonzero((hashes != 0) & np.repeat(passages, np.diff(word_offsets)))
    n_numbers = np.concatenate([[0], np.cumsum(word_hash & NUMBER != 0)])  # before each word
    n_others = length - (n_numbers[at + length] - n_numbers[at])
    at = at[n_others >= min(MIN_WORDS, (length + 1) // 2)]
    at = at[2 * _n_different(word_hash, at, length) > length]
    return hashes[at], at


def _documents_with(sets: TestSets, paths: tuple[str, ...]) -> np.ndarray:
    """int64: in how many documents of the background each n-gram is."""
    n_ngrams = len(sets.item_offsets) - 1
    counts = np.zeros(n_ngrams, np.int64)
    for path in sorted(set(paths)):
        for texts in read_texts(path):
            words = folded_words(*text_buffers(texts), sets.vocabulary)
            place, _, ngram = find_ngrams(words, sets.ngrams)
            doc = np.searchsorted(words.word_offsets, place, side="right") - 1
            pairs = np.unique(doc * n_ngrams + ngram)
            counts += np.bincount(pairs % max(n_ngrams, 1), minlength=n_ngrams)
    return counts


def covered_words(group: np.ndarray, start: np.ndarray, length: np.ndarray, n: int) -> np.ndarray:
    """int64: how many words the spans of each of n groups cover. Sorted by group and start; of a
    group, spans that start later end later, so each adds what the next does not cover."""
    reach = length.copy()
    same = group[1:] == group[:-1]
    reach[:-1][same] = np.minimum(length[:-1], np.diff(start))[same]
    return np.bincount(group, reach, minlength=n).astype(np.int64)


@kernel
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
