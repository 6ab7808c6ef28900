"""What a document's URL says: its registered domain, blocklists, words.

The rules of RefinedWeb (Penedo et al. 2023, arXiv 2306.01116, appendix G.1): a list of domains and
URLs, words of which one is enough, words of which two are needed, and strings that may be part of
a word. Lists have UT1's form (dsi.ut-capitole.fr/blacklists): a folder for each category, with a
file `domains` and a file `urls`. 4 million domains take 48 MB; with them, 100,000
URLs and 1,500 words about 500,000 URLs a second are compared on one core. Nothing is fetched:
public suffixes are the list that tldextract brings along.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels import text_buffers
from filters.rules import record, with_signals
from filters.url_kernels import EXACT, EXCEPTION, IP, PRIVATE, WILDCARD
from filters.url_lists import UrlLists, ascii_hosts, load_lists, public_suffixes
from filters.url_search import gather, search


@dataclass(frozen=True, kw_only=True)
class UrlFilter:
    """Marks documents whose URL is in a list, or speaks for itself. All lists are files, plain or
    .gz, a line an entry; `#` starts a comment."""

    blocklists: tuple[str, ...] = ()
    """Files of UT1's form, such as `blocklists/adult/*`; the folder's name is the category. A line
    without a path is a domain with all below it, one with a path is a URL with all below it."""
    allow: tuple[str, ...] = ()
    """Lists of the same form that win over all the others."""
    hard_words: tuple[str, ...] = ()
    """Files of words; one of them between two signs is enough."""
    subwords: tuple[str, ...] = ()
    """Files of strings; one of them in the URL without its signs is enough."""
    soft_words: tuple[str, ...] = ()
    """Files of words, of which max_soft_words may be there."""
    max_soft_words: int = 1
    """Different ones."""
    require_url: bool = True
    """Mark documents without a URL, or with one that is none: no_url."""
    private_suffixes: bool = False
    """Whether alice.github.io is a domain of its own, and not of github.io's."""

    def __post_init__(self) -> None:
        if self.max_soft_words < 0:
            raise ValueError(f"max_soft_words {self.max_soft_words} is below 0")


def load_url_lists(config: UrlFilter) -> UrlLists:
    """Raises ValueError for a file that is no list."""
    return load_lists(
        config.blocklists, config.allow, config.hard_words, config.soft_words, config.subwords
    )


URL_LISTS = ("blocklists", "allow", "hard_words", "subwords", "soft_words")  # keys that name files


class Measured(NamedTuple):
    """A row a URL; null where there is nothing."""

    usable: np.ndarray  # bool
    registered_domain: pa.Array  # an IP address as it is; null for a public suffix
    match: pa.Array  # "domain" or "url", where it is in a list
    category: pa.Array
    entry: pa.Array
    allowed: np.ndarray  # bool
    hard_word: pa.Array
    subword: pa.Array
    n_soft_words: np.ndarray  # different ones


def url_filter(docs: pa.Table, config: UrlFilter) -> pa.Table:
    """Adds url.* signals; marks no_url, blocked_domain, blocked_url, blocked_word, blocked_subword
    and too_many_soft_words."""
    found = measure_urls(docs["url"], load_url_lists(config), config.private_suffixes)
    signals = {
        "registered_domain": found.registered_domain,
        "category": found.category,
        "match": found.match,
        "hard_word": found.hard_word,
        "subword": found.subword,
        "n_soft_words": pa.array(found.n_soft_words, mask=~found.usable),
        "allowed": pa.array(found.allowed),
    }
    docs = with_signals(docs, "url", signals)
    n_soft = found.n_soft_words.astype(np.float64)
    most = np.full(docs.num_rows, float(config.max_soft_words))
    faults = {
        "blocked_domain": _is(found.match, "domain"),
        "blocked_url": _is(found.match, "url"),
        "blocked_word": found.hard_word.is_valid().to_numpy(zero_copy_only=False),
        "blocked_subword": found.subword.is_valid().to_numpy(zero_copy_only=False),
    }
    none = np.full(docs.num_rows, np.nan)
    verdicts = [("no_url", ~found.usable & config.require_url, none, none)]
    verdicts += [(name, failing & ~found.allowed, none, none) for name, failing in faults.items()]
    verdicts += [("too_many_soft_words", (n_soft > most) & ~found.allowed, n_soft, most)]
    # The list and the entry that the first rule to fail met.
    matched = pc.coalesce(
        pc.binary_join_element_wise(found.category, found.entry, ":"),
        pc.binary_join_element_wise("hard_words", found.hard_word, ":"),
        pc.binary_join_element_wise("subwords", found.subword, ":"),
    )
    return record(docs, verdicts, matched_id=matched)


def _is(values: pa.Array, wanted: str) -> np.ndarray:
    return pc.fill_null(pc.equal(values, wanted), False).to_numpy(zero_copy_only=False)


def measure_urls(
    urls: pa.ChunkedArray, lists: UrlLists, private_suffixes: bool = False
) -> Measured:
    """Knows no threshold."""
    data, offsets = text_buffers(ascii_hosts(urls))
    suffixes, flags = public_suffixes()
    mask = EXACT | WILDCARD | EXCEPTION
    mask |= mask * PRIVATE if private_suffixes else 0
    found = search(
        data, offsets, (suffixes, flags, mask), lists.blocked, lists.allowed,
        (lists.hard_keys, lists.hard_number), lists.soft_keys, lists.automaton,
    )  # fmt: skip
    by_url = np.where(found.category >= 0, found.by_url.astype(np.int32), -1)
    entry: list[str | None] = [None] * len(by_url)
    for i in np.flatnonzero(found.category >= 0):  # its bytes may be no UTF-8
        start, end = found.entry[i]
        entry[i] = found.text[start:end].tobytes().decode("utf-8", "replace")
    return Measured(
        usable=found.status <= IP,
        registered_domain=_strings(found.text, found.domain),
        match=_named(by_url, ["domain", "url"]),
        category=_named(found.category, lists.categories),
        entry=pa.array(entry, pa.string()),
        allowed=found.allowed,
        hard_word=_named(found.hard, lists.hard),
        subword=_named(found.subword, lists.subwords),
        n_soft_words=found.n_soft,
    )


def _named(numbers: np.ndarray, names: list[str]) -> pa.Array:
    """The name of each number, null for -1."""
    return pa.array(names, pa.string()).take(pa.array(numbers, mask=numbers < 0))


def _strings(text: np.ndarray, spans: np.ndarray) -> pa.Array:
    """Spans of ASCII text; null where they are empty."""
    data, offsets = gather(text, spans)
    array = pa.StringArray.from_buffers(len(spans), pa.py_buffer(offsets), pa.py_buffer(data))
    return pc.if_else(pa.array(spans[:, 1] > spans[:, 0]), array, pa.scalar(None, pa.string()))
