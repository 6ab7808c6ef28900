"""Equal texts, URLs or values of a column, by a 128-bit hash.

Two XXH64 with two seeds: in 10^12 documents, the chance that any two unlike texts share both is
2^-49. The text itself is not kept, so 32 bytes and an id for each document are all that is
exchanged. XXH64 is not cryptographic: a text made to collide with another could be removed for it,
so a corpus that fears that wants `minhash` alone, which checks shingles.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.columns import values_of
from filters.compiled import kernel
from filters.kernels import hash_strings, mix, text_buffers
from filters.words import normalized_words
from pipeline.schema import FATE

RULE = "exact_duplicate"
_URL = r"^(?i:[a-z][a-z0-9+.-]*)://(?:[^/?#@]*@)?(?P<host>[^/?#]*)(?P<rest>[^#]*)"
_HIGH, _LOW = np.uint64(0x45584143), np.uint64(0x54484F57)


@dataclass(frozen=True, kw_only=True)
class Exact:
    """Documents of equal text, or of one URL, or with one value in a column of theirs."""

    by: str = "text"
    """text, url, a column of the documents (path, license, a signal) or meta.KEY: another column of
    a table. Null and empty values are no duplicates."""
    normalize: Literal["strip", "words"] = "strip"
    """What has to be equal. strip: the bytes without ASCII white space at either end; words: the
    normalized words, in order (case, punctuation and spacing may differ). A URL is compared without
    scheme, user, `www.`, default port, fragment and slashes at its end, its host in lower case; the
    rest, the query too, as it is."""

    def __post_init__(self) -> None:
        if not self.by:
            raise ValueError("by is empty; use text, url or the name of a column")
        if self.by != "text" and self.normalize != "strip":
            raise ValueError(f"normalize {self.normalize!r} is for by = 'text', not {self.by!r}")

    @property
    def rule(self) -> str:
        return {"text": RULE, "url": "same_url"}.get(self.by, "same_value")


def exact_keys(docs: pa.Table, config: Exact) -> pa.Table:
    """(key uint64, key_low uint64, doc, order, id) of the documents (id, text, doc, order and the
    column asked for) where that is not empty once normalized: empty documents are no duplicates of
    each other. Without the column there are none."""
    if config.normalize == "words":
        words = normalized_words(*text_buffers(docs["text"]))
        key, key_low = (_fold(words.word_hash, words.word_offsets, s) for s in (_HIGH, _LOW))
        some = np.diff(words.word_offsets) > 0
    else:
        texts = pc.fill_null(pc.ascii_trim_whitespace(values_of(docs, config.by)), "")
        texts = normalized_urls(texts) if config.by == "url" else texts
        key, key_low = (hash_strings(texts, s) for s in (_HIGH, _LOW))
        some = pc.binary_length(texts).to_numpy() > 0
    keys = pa.table({"key": key, "key_low": key_low})
    for name in ("doc", "order", "id"):
        keys = keys.append_column(name, docs[name])
    return keys.filter(pa.array(some))


def normalized_urls(urls: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """URLs as they are compared; what is none stays as it is."""
    if isinstance(urls, pa.ChunkedArray):
        urls = urls.combine_chunks()
    split = pc.extract_regex(urls, _URL)
    host, rest = (pc.struct_field(split, name) for name in ("host", "rest"))
    host = pc.replace_substring_regex(pc.utf8_lower(host), r"^www\.|\.?(:80|:443)?$", "")
    rest = pc.replace_substring_regex(rest, r"/+$", "")
    joined = pc.binary_join_element_wise(host, rest, "")
    return pa.chunked_array([pc.if_else(pc.is_valid(split), joined, urls)])


def exact_duplicates(rows: pa.Table, config: Exact) -> pa.Table:
    """FATE rows, sorted by doc, of the documents whose key is that of one before them in the total
    order (order, then doc); from the rows of `exact_keys`, all those of a key together. Only equal
    texts have a similarity."""
    names = ("key", "key_low", "order", "doc")
    rows = rows.sort_by([(name, "ascending") for name in names])
    key, key_low = rows["key"].to_numpy(), rows["key_low"].to_numpy()
    again = np.zeros(rows.num_rows, dtype=bool)
    again[1:] = (key[1:] == key[:-1]) & (key_low[1:] == key_low[:-1])
    keeper = np.maximum.accumulate(np.where(again, 0, np.arange(rows.num_rows)))
    n = int(again.sum())
    fates = {
        "doc": rows["doc"].filter(pa.array(again)),
        "matched": rows["doc"].take(keeper[again]),
        "rule": pa.repeat(pa.scalar(config.rule), n),
        "value": pa.nulls(n, pa.float64()),
        "threshold": pa.nulls(n, pa.float64()),
        "matched_id": rows["id"].take(keeper[again]),
        "similarity": np.ones(n) if config.by == "text" else pa.nulls(n, pa.float64()),
    }
    return pa.table(fates, schema=FATE).sort_by("doc")


@kernel
def _fold(word_hash: np.ndarray, word_offsets: np.ndarray, seed: np.uint64) -> np.ndarray:
    """One hash of each document's words in their order."""
    out = np.empty(len(word_offsets) - 1, np.uint64)
    for d in range(len(out)):
        h = mix(seed)
        for w in word_hash[word_offsets[d] : word_offsets[d + 1]]:
            h = mix(h ^ w)
        out[d] = h
    return out
