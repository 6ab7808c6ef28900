"""Paragraphs and documents most of whose n-grams were seen before: the deduplication of DCLM and
Dolma (Li et al. 2024, arXiv 2406.11794, 4.2: BFF, `--remove-type old-both`, 13-grams, .8; Soldaini
et al. 2024, arXiv 2402.00159).

They stream the corpus past one Bloom filter, and so have false positives, as many as the guess of
its capacity is wrong (a filter that was made too small removes 90% and more, mlfoundations/dclm
#71), and another outcome in each run: threads race, and the hashes are seeded by chance. Here it is
an exact set, by hash partition, in the total order: there is no capacity to guess, no false
positive (but for collisions of 128 bits), and the outcome of one stream, whatever the workers. A
Bloom filter takes 9.6 bits an n-gram (.01 false positives) in the memory of one machine; this takes
36 bytes an n-gram in files, 20 after compression (3.7 bytes for each byte of text of web pages),
and in memory 60 for those of one partition. Signing runs at 85 MB/s on one core.

The rule, over the paragraphs in the total order (order, doc, position): an n-gram was seen if an
earlier paragraph *that stays* holds it. A paragraph goes if `min_repeated_fraction` of its n-grams
were; a document goes as a whole if that share of all its n-grams were seen in earlier documents (in
BFF also in itself: a list that repeats its one line would go, here one line of it stays). What goes
adds nothing to what was seen. So what was removed has that share of its n-grams in what stays, and
paragraphs that drift, each .85 like the one before, do not go one for the other.

That is a recurrence, which no partition can follow alone. It is solved in rounds: `seen_before`
counts, for each paragraph, its n-grams held by earlier paragraphs that stay for certain and by
those that may; `decide` settles the paragraphs for which both give one answer. Every round settles
at least the first that is open; on real pages and on editions of books two rounds settle all.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from dedup.ngrams import ODD, window_hashes
from dedup.segments import segments_of
from filters.kernels import text_buffers
from filters.words import normalized_words

DOCUMENT_RULE = "repeated_document"
_STAYS, _OPEN, _GOES = range(3)


@dataclass(frozen=True, kw_only=True)
class Paragraphs:
    """Paragraphs, and documents, most of whose n-grams were seen before."""

    rule: ClassVar[str] = "repeated_paragraphs"
    length: ClassVar[int] = 1

    unit: Literal["line", "paragraph"] = "line"
    """What is a paragraph. line: up to a line break (as in DCLM); paragraph: up to an empty
    line."""
    words: int = 13
    """Words in an n-gram; case, punctuation and spacing are not compared."""
    min_words: int = 0
    """A shorter paragraph stays; one from here to `words` is compared as a whole. 0: `words`, so
    all without an n-gram stay."""
    min_repeated_fraction: float = 0.8
    """The share of n-grams seen before from which a paragraph or a document goes."""
    remove: Literal["both", "paragraphs", "documents"] = "both"
    action: Literal["cut", "mark"] = "cut"
    """mark: nothing goes, dedup.repeated_fraction says what share of the words would."""
    min_remaining_words: int = 1
    """A document with fewer after the cut goes too."""

    def __post_init__(self) -> None:
        if self.words < 2:
            raise ValueError(f"words {self.words} is below 2: every word would be an n-gram")
        if not 0 <= self.min_words <= self.words:
            raise ValueError(f"min_words {self.min_words} is not within 0..words = {self.words}")
        if not 0 < self.min_repeated_fraction <= 1:
            share = self.min_repeated_fraction
            raise ValueError(f"min_repeated_fraction {share} is not above 0 and at most 1")
        if self.min_remaining_words < 0:
            raise ValueError(f"min_remaining_words {self.min_remaining_words} is below 0")


class Decided(NamedTuple):
    """What a round knows."""

    unsettled: pa.Table  # doc, position, open: paragraphs that do not stay, or may not
    cuts: pa.Table  # doc, position, first_doc: paragraphs to cut of documents that stay
    documents: pa.Table  # doc, matched, share: documents that go


def paragraph_ngrams(docs: pa.Table, config: Paragraphs) -> tuple[pa.Table, pa.Table]:
    """Of the documents (text, doc, order): a row (key uint64, key_low uint64, doc, order, position
    int32) for each n-gram, where position is its paragraph's; and a row (doc, position, n int32)
    for each paragraph that has n-grams."""
    data, offsets = text_buffers(docs["text"])
    found = segments_of(data, offsets, config.unit)
    words = normalized_words(data, offsets)
    word_offsets = np.append(0, np.cumsum(found.words, dtype=np.int64))
    assert word_offsets[-1] == len(words.word_hash), "a word across two paragraphs"
    short = (found.words >= (config.min_words or config.words)) & (found.words < config.words)
    n = np.where(short, 1, np.maximum(found.words - config.words + 1, 0))
    keys = []
    for whole, odd in zip((found.high, found.low), ODD, strict=True):
        key = np.repeat(whole, n)
        key[np.repeat(~short, n)] = window_hashes(words.word_hash, word_offsets, config.words, odd)
        keys.append(key)
    of_doc = np.repeat(np.arange(docs.num_rows), np.diff(found.offsets))
    position = (np.arange(len(n)) - found.offsets[of_doc]).astype(np.int32)
    doc, order = (docs[name].to_numpy()[of_doc] for name in ("doc", "order"))
    rows = {"key": keys[0], "key_low": keys[1], "doc": np.repeat(doc, n)}
    rows |= {"order": np.repeat(order, n), "position": np.repeat(position, n)}
    some = n > 0
    sizes = {"doc": doc[some], "position": position[some], "n": n[some].astype(np.int32)}
    return pa.table(rows), pa.table(sizes)


def shared_ngrams(rows: pa.Table) -> pa.Table:
    """The rows of n-grams that occur more than once, each n-gram's in the total order; from those
    of `paragraph_ngrams`, all of a key together."""
    key = rows["key"].to_numpy()
    ordered = np.argsort(key)
    new = _changes(key[ordered])
    rows = rows.take(pa.array(ordered[~(new[:-1] & new[1:])]))  # most are alone: before the sort
    names = ("position", "doc", "order", "key_low", "key")
    rows = rows.take(pa.array(np.lexsort([rows[name].to_numpy() for name in names])))
    new = _changes(rows["key"].to_numpy(), rows["key_low"].to_numpy())
    return rows.filter(pa.array(~(new[:-1] & new[1:])))


def seen_before(rows: pa.Table, unsettled: pa.Table | None) -> pa.Table:
    """(doc, position, first_doc, sure, maybe int64), sorted: how many n-grams of each paragraph are
    held, first by one of first_doc, by an earlier paragraph of those that stay (sure), of those
    that may (maybe). From the rows of `shared_ngrams` and what is unsettled (None: everything).
    Every paragraph of the rows is there, if need be with zeros."""
    doc, position = rows["doc"].to_numpy(), rows["position"].to_numpy()
    state = np.full(len(doc), _OPEN)
    if unsettled is not None:
        unsettled = unsettled.sort_by([("doc", "ascending"), ("position", "ascending")])
        known = _places(unsettled, rows)
        settled = np.where(unsettled["open"].to_numpy(), _OPEN, _GOES)
        state = np.append(settled, _STAYS)[known]  # -1, what is not there, is the last
    new = _changes(rows["key"].to_numpy(), rows["key_low"].to_numpy())
    starts, group = np.flatnonzero(new[:-1]), np.cumsum(new[:-1]) - 1
    row, zero = np.arange(len(doc)), np.zeros(len(doc), np.int64)
    names = ["doc", "position", "first_doc", "sure", "maybe"]
    tables = [pa.table([doc, position, doc, zero, zero], names)]
    for worst in (_STAYS, _OPEN):
        held = np.where(state <= worst, row, len(doc))
        first = np.minimum.reduceat(held, starts)[group] if len(doc) else row
        seen = np.flatnonzero(first < row)
        of = first[seen]
        seen = seen[(doc[of] != doc[seen]) | (position[of] != position[seen])]
        n = np.full(len(seen), worst == _STAYS).astype(np.int64)
        tables.append(pa.table([doc[seen], position[seen], doc[first[seen]], n, 1 - n], names))
    counts = (
        pa.concat_tables(tables).group_by(names[:3]).aggregate([("sure", "sum"), ("maybe", "sum")])
    )
    return counts.rename_columns(names).sort_by([(name, "ascending") for name in names[:3]])


def decide(sizes: pa.Table, counts: pa.Table, keepers: np.ndarray, config: Paragraphs) -> Decided:
    """From the (doc, position, n) of paragraphs, whole documents, and their rows of `seen_before`
    from all partitions. The documents `keepers`, for which others went, stay."""
    sizes = sizes.sort_by([("doc", "ascending"), ("position", "ascending")])
    doc, n = sizes["doc"].to_numpy(), sizes["n"].to_numpy()
    docs, of = np.unique(doc, return_inverse=True)
    at = _places(sizes, counts)
    assert (at >= 0).all(), "n-grams of a paragraph that has none"
    first_doc = counts["first_doc"].to_numpy()
    sure, maybe = counts["sure"].to_numpy(), counts["maybe"].to_numpy()
    other = first_doc != counts["doc"].to_numpy()

    def settle(place: np.ndarray, total: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, ...]:
        """(goes, may go), given the place in `total` that each row of counts is for."""
        least, most = (
            np.bincount(place[counted], x[counted], len(total)) / np.maximum(total, 1)
            for x in (sure, maybe)
        )
        goes = least >= config.min_repeated_fraction
        return goes, ~goes & (most >= config.min_repeated_fraction), least

    every = np.ones(len(at), bool)
    cut, cut_open, _ = settle(at, n, every)
    gone, gone_open, share = settle(of[at], np.bincount(of, n, len(docs)), other)
    if config.remove == "documents":
        cut, cut_open = np.zeros_like(cut), np.zeros_like(cut)
    free = ~np.isin(docs, keepers) & (config.remove != "paragraphs")
    gone, gone_open = gone & free, gone_open & free

    open_ = ~(cut | gone[of]) & (cut_open | gone_open[of])
    places = sizes.select(["doc", "position"])
    unsettled = places.append_column("open", pa.array(open_))
    theirs = _most(of[at][other], first_doc[other], sure[other], len(docs))
    matched = np.where(gone[of], theirs[of], _most(at, first_doc, sure, len(n)))
    cuts, removed = cut & ~gone[of], gone
    if config.action == "mark":  # all that would go is repeated
        cuts, removed = cut | gone[of], np.zeros_like(gone)
    return Decided(
        unsettled.filter(pa.array(open_ | cut | gone[of])),
        places.append_column("first_doc", pa.array(matched)).filter(pa.array(cuts)),
        pa.table({"doc": docs[removed], "matched": theirs[removed], "share": share[removed]}),
    )


def _most(place: np.ndarray, first_doc: np.ndarray, n: np.ndarray, size: int) -> np.ndarray:
    """For each place the first_doc with the most n-grams, the first of several; 0 where none is."""
    rows = pa.table({"place": place, "first_doc": first_doc, "n": n})
    rows = rows.group_by(["place", "first_doc"]).aggregate([("n", "sum")])
    by = [("place", "ascending"), ("n_sum", "descending"), ("first_doc", "ascending")]
    rows = rows.sort_by(by)
    places, first = np.unique(rows["place"].to_numpy(), return_index=True)
    out = np.zeros(size, np.uint64)
    out[places] = rows["first_doc"].to_numpy()[first]
    return out


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Where sorted rows differ from those before; one longer than they are, True at both ends."""
    new = np.ones(len(columns[0]) + 1, bool)
    new[1:-1] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return new


def _places(table: pa.Table, rows: pa.Table) -> np.ndarray:
    """The row of `table`, sorted by (doc, position), with each row's paragraph; -1 where there is
    none."""
    docs = np.unique(table["doc"].to_numpy())

    def packed(of: pa.Table) -> np.ndarray:
        return np.searchsorted(docs, of["doc"].to_numpy()) << 32 | of["position"].to_numpy()

    there, wanted = packed(table), packed(rows)
    at = np.minimum(np.searchsorted(there, wanted), len(there) - 1)
    found = (there[at] == wanted) & np.isin(rows["doc"].to_numpy(), docs) if len(docs) else at >= 0
    return np.where(found, at, -1)
