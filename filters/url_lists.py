"""What URLs are compared with: blocklists of UT1's form, words, public suffixes; and hosts that are
not ASCII, made so. Read once a process: 4 million domains in 1 s."""

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import idna
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels import text_buffers
from filters.url_kernels import (
    EXACT,
    EXCEPTION,
    PRIVATE,
    WILDCARD,
    insert,
    keys_of,
    new_table,
    odd_hosts,
)
from filters.url_search import Automaton, Entries, automaton, line_keys


class UrlLists(NamedTuple):
    categories: list[str]
    blocked: Entries
    allowed: Entries
    hard: list[str]
    hard_keys: np.ndarray
    hard_number: np.ndarray
    soft_keys: np.ndarray
    subwords: list[str]
    automaton: Automaton


# --- hosts --------------------------------------------------------------------------------------


def ascii_hosts(urls: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """The URLs, with hosts as they are asked for: münchen.de is xn--mnchen-3ya.de."""
    data, offsets = text_buffers(urls)
    odd = odd_hosts(data, offsets)
    if not odd.any():
        return urls
    mask = pa.array(odd)
    texts = urls.filter(mask).to_pylist()
    return pc.replace_with_mask(
        urls.combine_chunks() if isinstance(urls, pa.ChunkedArray) else urls,
        mask,
        pa.array([_ascii_host(text) for text in texts], urls.type),
    )


def _ascii_host(url: str) -> str:
    scheme, slashes, rest = url.strip().partition("//")
    if not slashes:
        scheme, rest = "", url.strip()
    end = min((i for i in map(rest.find, "/\\?#") if i >= 0), default=len(rest))
    host = rest[:end].rpartition("@")[2]
    return f"{scheme}{slashes}{_punycode(unquote(host))}{rest[end:]}"


def _punycode(host: str) -> str:
    """By UTS 46, else by IDNA 2003, which has symbols; as it is (and so no host) where neither
    can."""
    name, colon, port = host.partition(":")
    if len(name) > 253:
        return host
    try:
        return idna.encode(name, uts46=True).decode() + colon + port
    except UnicodeError:
        pass
    try:
        return name.encode("idna").decode() + colon + port
    except UnicodeError:
        return host


@functools.cache
def public_suffixes() -> tuple[np.ndarray, np.ndarray]:
    """(keys, flags) of the list that tldextract brings along."""
    spec = importlib.util.find_spec("tldextract")
    assert spec is not None and spec.submodule_search_locations
    text = (Path(spec.submodule_search_locations[0]) / ".tld_set_snapshot").read_text("utf-8")
    rules: dict[int, list[str]] = {}
    scale = 1
    for line in text.splitlines():
        if "===BEGIN PRIVATE DOMAINS===" in line:
            scale = PRIVATE
        if line and not line.startswith("//"):
            kind = WILDCARD if line[0] == "*" else EXCEPTION if line[0] == "!" else EXACT
            name = line.strip().removeprefix("*.").removeprefix("!")
            rules.setdefault(kind * scale, []).append(name if name.isascii() else _punycode(name))
    keys = new_table(sum(map(len, rules.values())))
    flags = np.zeros(len(keys), np.uint8)
    for flag, names in rules.items():
        insert(keys, flags, keys_of(*text_buffers(pa.array(names, pa.string())), True), flag, True)
    return keys, flags


# --- lists --------------------------------------------------------------------------------------

_SIDE_FILES = {"usage", "expressions", "very_restrictive_expression"}  # of UT1, that are no lists
_READ_BYTES = 32 << 20


@functools.cache
def load_lists(
    blocklists: tuple[str, ...],
    allow: tuple[str, ...],
    hard_words: tuple[str, ...],
    soft_words: tuple[str, ...],
    subwords: tuple[str, ...],
) -> UrlLists:
    """All lists, once a process. Raises ValueError for a file that is no list."""
    categories = sorted({_category(path) for path in blocklists})
    if len(categories) > 255:
        raise ValueError(f"blocklists: {len(categories)} categories, and 255 can be told apart")
    hard, soft, parts = _words(hard_words), _words(soft_words), _words(subwords)
    hard_keys, hard_number = _word_table(hard)
    return UrlLists(
        categories=categories,
        blocked=_entries([(path, categories.index(_category(path))) for path in blocklists]),
        allowed=_entries([(path, 0) for path in allow]),
        hard=hard,
        hard_keys=hard_keys,
        hard_number=hard_number,
        soft_keys=_word_table(soft)[0],
        subwords=parts,
        automaton=automaton(parts),
    )


def _category(path: str) -> str:
    """blocklists/adult/domains.gz -> adult; blocklists/mine.txt -> mine."""
    name = Path(path.removesuffix(".gz"))
    return name.parent.name if name.name in ("domains", "urls") else name.stem


def _entries(files: list[tuple[str, int]]) -> Entries:
    """The entries of all files; of one that is in several, the first category in the alphabet."""
    found = [
        (keys, category)
        for path, category in sorted(files, key=lambda f: (f[1], f[0]))
        if Path(path).name.removesuffix(".gz") not in _SIDE_FILES
        for keys in read_entries(path)
    ]
    tables = []
    for place in (0, 1):
        table = new_table(sum(len(keys[place]) for keys, _ in found))
        values = np.zeros(len(table), np.uint8)
        for keys, category in found:
            insert(table, values, keys[place], category, False)
        tables += [table, values]
    return Entries(*tables)


def read_entries(path: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(keys of domains, keys of URLs) of a list, a pair for each block of lines."""
    try:
        with pa.OSFile(path) as file:
            stream = pa.CompressedInputStream(file, "gzip") if path.endswith(".gz") else file
            rest = b""
            while block := stream.read(_READ_BYTES):
                lines, newline, rest = (rest + block).rpartition(b"\n")
                if not newline:
                    raise ValueError(f"{path}: a line of {len(rest)} bytes; a list has short ones")
                yield _block_keys(lines)
            yield _block_keys(rest)
    except OSError as error:
        raise ValueError(f"{path}: not a list that can be read ({error})") from None


def _block_keys(lines: bytes) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(lines, np.uint8)
    domains, urls, odd = line_keys(data)
    if not len(odd):
        return domains, urls
    texts = [lines[start:end].decode("utf-8", "replace").strip() for start, end in odd]
    again = "\n".join(_ascii_host(text) for text in texts if not text.startswith("#"))
    more = line_keys(np.frombuffer(again.encode(), np.uint8))
    return np.concatenate([domains, more[0]]), np.concatenate([urls, more[1]])


def _words(files: tuple[str, ...]) -> list[str]:
    """Letters and digits of each line, in lower case."""
    words = set()
    for path in files:
        for line in Path(path).read_text("utf-8", errors="replace").splitlines():
            word = "".join(c for c in line.lower() if c.isalnum() or ord(c) >= 128)
            if word and not line.startswith("#"):
                words.add(word)
    return sorted(words)


def _word_table(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    keys = new_table(len(words))
    numbers = np.full(len(keys), -1, np.int32)
    for number, key in enumerate(keys_of(*text_buffers(pa.array(words, pa.string())), False)):
        insert(keys, numbers, np.array([key]), number, False)
    return keys, numbers
