"""An allow-list of URLs: only pages that someone linked to, as in WebText (Radford et al. 2019,
section 2.1: Reddit links with a score of 3 or more).

URLs are compared in one form (`url_kernels.py`): scheme, `www.`, port, fragment, a slash at the end
and the parameters of trackers (utm_*, fbclid ...) do not count; the case of a path does. A list is
held as hashes, 10.7 bytes a URL and 5.3 more for its score: 100 million need 1.6 GB in each worker.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from filters.compiled import kernel, uncounted
from filters.kernels import text_buffers
from filters.rules import Bound, at_least, mark, with_signals
from filters.url_kernels import (
    IP,
    find,
    forward,
    insert,
    keys_of,
    new_table,
    normalize,
    without_tracking,
)
from filters.url_lists import ascii_hosts
from filters.url_search import bare_host


@dataclass(frozen=True, kw_only=True)
class LinkList:
    """Marks pages that are not in a list of URLs: not_linked, low_link_score."""

    links: tuple[str, ...]
    """Files: .parquet, .jsonl, .csv, .tsv, or one URL a line; text files also .gz. A .csv or .tsv
    without the names of the columns has the URL first and the score second."""
    min_score: float | None = None
    """The best score that a URL has in the lists. Unset: none is needed."""
    url_column: str = "url"
    score_column: str = "score"

    def __post_init__(self) -> None:
        if not self.links:
            raise ValueError("links is empty; name at least one list of URLs")


class Links(NamedTuple):
    keys: np.ndarray  # a table of url_kernels.py
    scores: np.ndarray  # float32, by slot; NaN for a URL without one


def link_list(docs: pa.Table, config: LinkList) -> pa.Table:
    """Adds link_list.linked and link_list.score."""
    linked, score = measure_links(docs["url"], load_links(config))
    docs = with_signals(docs, "link_list", {"linked": linked, "score": score})
    return mark(docs, link_list_bounds(config))


def link_list_bounds(config: LinkList) -> list[Bound]:
    return [
        Bound("not_linked", "link_list.linked", least=1),
        at_least(config, "low_link_score", "link_list.score", "min_score"),
    ]


def measure_links(urls: pa.ChunkedArray, links: Links) -> tuple[pa.Array, pa.Array]:
    """(whether a URL is in the list, its score, null where it has none)."""
    keys = link_keys(urls)
    slots = _slots(links.keys, keys)
    score = np.where(slots >= 0, links.scores[slots], np.nan).astype(np.float64)
    return pa.array(slots >= 0), pa.array(score, mask=np.isnan(score))


def load_links(config: LinkList) -> Links:
    """Raises ValueError for a list that cannot be read."""
    links = _load(config.links, config.url_column, config.score_column)
    if config.min_score is not None and np.isnan(links.scores).all():
        raise ValueError(f"min_score {config.min_score}: no URL of {config.links[0]} has a score")
    return links


@functools.cache
def _load(paths: tuple[str, ...], url_column: str, score_column: str) -> Links:
    """The lists, once a process."""
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    for path in sorted(set(paths)):
        try:
            for urls, scores in _read(path, url_column, score_column):
                keys = link_keys(urls)
                blocks.append((keys[keys != 0], scores[keys != 0]))
        except (pa.ArrowException, OSError, KeyError) as error:
            raise ValueError(f"{path}: not a list of URLs that can be read ({error})") from None
    table = new_table(sum(len(keys) for keys, _ in blocks))
    best = np.full(len(table), np.nan, np.float32)
    for keys, scores in blocks:
        _insert(table, best, keys, scores)
    return Links(table, best)


def _read(path: str, url_column: str, score_column: str) -> Iterator[tuple[pa.Array, np.ndarray]]:
    """(URLs, float32 scores) of a list, batch by batch."""
    name = path.lower().removesuffix(".gz")
    with pa.OSFile(path) as file:
        if name.endswith(".parquet"):
            batches = pq.ParquetFile(file).iter_batches(1 << 18)
        else:
            stream = pa.CompressedInputStream(file, "gzip") if path.endswith(".gz") else file
            batches = (
                _jsonl(stream)
                if name.endswith((".jsonl", ".ndjson"))
                else _delimited(stream, "," if name.endswith(".csv") else "\t", path, url_column)
            )
        for batch in batches:
            names = batch.schema.names
            plain = names[0] == "f0"
            urls = batch.column("f0" if plain else url_column).cast(pa.string())
            named = "f1" if plain else score_column
            scores = np.full(len(urls), np.nan, np.float32)
            if named in names:
                scores = batch.column(named).cast(pa.float32()).to_numpy(zero_copy_only=False)
            yield urls, scores


def _jsonl(stream) -> Iterator[pa.RecordBatch]:
    options = pa.json.ReadOptions(block_size=16 << 20)
    return pa.json.open_json(stream, read_options=options)


def _delimited(stream, delimiter: str, path: str, url_column: str) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(path) as file:
        first = pa.CompressedInputStream(file, "gzip") if path.endswith(".gz") else file
        header = first.read(4096).split(b"\n")[0].decode("utf-8", "replace")
    names = [name.strip(' "\r\ufeff') for name in header.split(delimiter)]
    has_names = url_column in names
    return pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(
            block_size=16 << 20, autogenerate_column_names=not has_names
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter, quote_char='"' if delimiter == "," else False
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types={url_column if has_names else "f0": pa.string()}
        ),
    )


# --- one key for equal URLs ---------------------------------------------------------------------

_TRACKING = (
    "fbclid gclid dclid gbraid wbraid msclkid yclid twclid ttclid igshid mc_cid mc_eid _ga "
    "_gl _hsenc _hsmi mkt_tok oly_anon_id oly_enc_id "
    "vero_id wickedid ref_src ref_url cmpid ocid srsltid"
)


def link_keys(urls: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The key of each URL, 0 for what is none."""
    return _keys(*text_buffers(ascii_hosts(urls)), _tracking())


@functools.cache
def _tracking() -> np.ndarray:
    names = _TRACKING.split()
    table = new_table(len(names))
    values = np.zeros(len(table), np.uint8)
    insert(table, values, keys_of(*text_buffers(pa.array(names)), False), 1, False)
    return table


@kernel
def _keys(data: np.ndarray, offsets: np.ndarray, tracking: np.ndarray) -> np.ndarray:
    keys = np.zeros(len(offsets) - 1, np.uint64)
    out = np.empty(8192, np.uint8)
    for i in range(len(keys)):
        host, end, status = normalize(data, offsets[i], offsets[i + 1], out, 0, False)
        if status <= IP:
            end = without_tracking(out, host, end, tracking)
            keys[i] = forward(out, bare_host(out, 0, host), end)
    return keys


@uncounted
def _insert(table: np.ndarray, best: np.ndarray, keys: np.ndarray, scores: np.ndarray) -> None:
    """Of a URL that comes again the best score stays."""
    for i in range(len(keys)):
        at = find(table, keys[i])
        if table[at] == 0 or not scores[i] <= best[at]:
            best[at] = scores[i] if not np.isnan(scores[i]) else best[at]
            table[at] = keys[i]


@kernel
def _slots(table: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where each key is in the table, -1 where it is not."""
    slots = np.full(len(keys), -1, np.int64)
    for i in range(len(keys)):
        if keys[i] != 0:
            at = find(table, keys[i])
            slots[i] = at if table[at] != 0 else -1
    return slots
