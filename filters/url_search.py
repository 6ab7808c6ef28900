"""The one pass over a batch of URLs: normalize, split the host, look everything up."""

from typing import NamedTuple

import numpy as np

from filters.compiled import kernel, uncounted
from filters.url_kernels import (
    IP,
    START,
    authority,
    backward,
    find,
    forward,
    grown,
    host_keys,
    key_of,
    normalize,
    suffix_labels,
    trim,
)

_MAX_SOFT = 64  # different soft words that are counted


class Automaton(NamedTuple):
    """Aho and Corasick 1975: next state by state and byte class, and the word that a state ends."""

    classes: np.ndarray  # uint8[256]: of each byte; 0 is no byte of any word
    moves: np.ndarray  # int32[states, classes]
    word: np.ndarray  # int32[states]: the number of a word that ends there, or -1


class Entries(NamedTuple):
    """Domains and URLs, each with the number of its category."""

    domains: np.ndarray
    domain_category: np.ndarray
    urls: np.ndarray
    url_category: np.ndarray


class Found(NamedTuple):
    text: np.ndarray  # uint8: the one form of each URL, at the place of the URL
    status: np.ndarray  # uint8: OK, IP, MISSING, INVALID
    domain: np.ndarray  # int32[n, 2]: the registered domain in text
    category: np.ndarray  # int16, -1: in no list
    by_url: np.ndarray  # bool: a URL's entry, not a domain's
    entry: np.ndarray  # int32[n, 2]: in text
    allowed: np.ndarray  # bool
    hard: np.ndarray  # int32: number of a hard word, or -1
    subword: np.ndarray  # int32
    n_soft: np.ndarray  # int32


def automaton(words: list[str]) -> Automaton:
    """Of UTF-8 words; memory is 4 bytes x (bytes of all words) x (different bytes)."""
    encoded = [word.encode() for word in words]
    used = sorted({byte for word in encoded for byte in word})
    classes = np.zeros(256, np.uint8)
    for number, byte in enumerate(used, 1):
        classes[byte] = min(number, 255)
    n = sum(map(len, encoded)) + 1
    moves = np.full((n, len(used) + 1), -1, np.int32)
    moves[:, 0] = 0
    ends = np.full(n, -1, np.int32)
    states = 1
    for number, word in enumerate(encoded):
        state = 0
        for byte in word:
            if moves[state, classes[byte]] < 0:
                moves[state, classes[byte]] = states
                states += 1
            state = moves[state, classes[byte]]
        ends[state] = number if ends[state] < 0 else ends[state]
    _link(moves, ends)
    return Automaton(classes, moves[:states], ends[:states])


def _link(moves: np.ndarray, ends: np.ndarray) -> None:
    """Fills the moves that lead nowhere with those of the longest suffix that is a state."""
    fail = np.zeros(len(moves), np.int32)
    queue = [0]
    for state in queue:
        for c in range(1, moves.shape[1]):
            to = moves[state, c]
            below = 0 if state == 0 else moves[fail[state], c]
            if to < 0:
                moves[state, c] = below
                continue
            fail[to] = below
            if ends[to] < 0:
                ends[to] = ends[below]
            queue.append(to)


@kernel
def line_keys(data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(keys of the lines that are a host, keys of those with a path, spans of those whose host is
    not ASCII)."""
    n = 1
    for c in data:
        n += c == 10
    domains, urls = np.empty(n, np.uint64), np.empty(n, np.uint64)
    odd = np.empty((n, 2), np.int64)
    n_domains = n_urls = n_odd = 0
    out = np.empty(8192, np.uint8)
    at = 0
    while at < len(data):
        end = at
        while end < len(data) and data[end] != 10:
            end += 1
        first, stop = trim(data, at, end)
        line, at = at, end + 1
        if first == stop or data[first] == 35:
            continue
        host, after, _ = authority(data, first, stop)
        is_odd = False
        for k in range(max(host, 0), max(after, 0)):
            is_odd = is_odd or data[k] >= 128 or data[k] == 37
        if is_odd:
            odd[n_odd, 0], odd[n_odd, 1] = line, end
            n_odd += 1
            continue
        host, last, status = normalize(data, first, stop, out, 0, True)
        if status <= IP:
            if last == host:
                domains[n_domains] = backward(out, 0, host)
                n_domains += 1
            else:
                urls[n_urls] = forward(out, bare_host(out, 0, host), last)
                n_urls += 1
    return domains[:n_domains], urls[:n_urls], odd[:n_odd]


@uncounted
def bare_host(out: np.ndarray, start: int, host: int) -> int:
    """Where the host starts without `www.`, as long as a dot is left."""
    www = host - start > 4 and out[start] == 119 and out[start + 1] == 119
    if www and out[start + 2] == 119 and out[start + 3] == 46:
        for k in range(start + 4, host):
            if out[k] == 46:
                return start + 4
    return start


@uncounted
def _by_url(text, start, host, end, table):
    """(the end of the shortest beginning of a URL, up to a sign between its parts, that is in the
    table, its slot); -1 where none is."""
    h = START
    for at in range(start, end + 1):
        if at >= host and (at == end or text[at] == 47 or text[at] == 63 or text[at] == 38):
            slot = find(table, key_of(h))
            if table[slot] != 0:
                return at, slot
        if at < end:
            h = grown(h, text[at])
    return -1, 0


@uncounted
def _by_domain(keys, n, is_ip, table):
    """The number of labels of the longest domain that is in the table, less one; -1 where none
    is."""
    for k in range(n - 1, -1, -1):
        if table[find(table, keys[k])] != 0:
            return k
        if is_ip:
            break
    return -1


@kernel
def _search_words(text, start, end, hard, hard_number, soft, classes, moves, word):
    """(number of the first hard word, how many different soft words, number of the first subword),
    -1 where there is none."""
    seen = np.empty(_MAX_SOFT, np.int64)
    first_hard = part = -1
    n_soft = 0
    state = 0
    at = start
    while at < end:
        begin = at
        h = START
        while at < end and (text[at] >= 128 or 97 <= text[at] <= 122 or 48 <= text[at] <= 57):
            h = grown(h, text[at])
            if len(word) > 1:
                state = moves[state, classes[text[at]]]
                if part < 0:
                    part = word[state]
            at += 1
        if at > begin:
            key = key_of(h)
            slot = find(hard, key)
            if first_hard < 0 and hard[slot] != 0:
                first_hard = hard_number[slot]
            slot = find(soft, key)
            if soft[slot] != 0 and n_soft < _MAX_SOFT:
                new = True
                for k in range(n_soft):
                    new = new and seen[k] != slot
                if new:
                    seen[n_soft] = slot
                    n_soft += 1
        at += 1
    return first_hard, n_soft, part


@kernel
def _search(
    data, offsets, suffixes, flags, mask, domains, domain_category, urls, url_category,
    good_domains, good_urls, hard, hard_number, soft, classes, moves, word,
):  # fmt: skip
    n = len(offsets) - 1
    base = offsets[0]
    text = np.empty(offsets[n] - base + 1, np.uint8)
    status = np.empty(n, np.uint8)
    domain = np.zeros((n, 2), np.int32)
    category = np.full(n, -1, np.int16)
    by_url = np.zeros(n, np.bool_)
    entry = np.zeros((n, 2), np.int32)
    allowed = np.zeros(n, np.bool_)
    first_hard = np.full(n, -1, np.int32)
    subword = np.full(n, -1, np.int32)
    n_soft = np.zeros(n, np.int32)
    places = np.empty(128, np.int64)
    keys = np.empty(128, np.uint64)
    for i in range(n):
        start = offsets[i] - base
        host, end, kind = normalize(data, offsets[i], offsets[i + 1], text, start, True)
        status[i] = kind
        if kind > IP:
            continue
        is_ip = kind == IP
        if is_ip:
            places[0] = start
            keys[0] = backward(text, start, host)
            n_labels = 1
            domain[i, 0], domain[i, 1] = start, host
        else:
            n_labels = host_keys(text, start, host, places, keys)
            n_suffix = suffix_labels(keys, n_labels, suffixes, flags, mask)
            if n_suffix < n_labels:
                domain[i, 0], domain[i, 1] = places[n_suffix], host
        k = _by_domain(keys, n_labels, is_ip, domains)
        if k >= 0:
            category[i] = domain_category[find(domains, keys[k])]
            entry[i, 0], entry[i, 1] = places[k], host
        elif len(urls) > 8:
            bare = bare_host(text, start, host)
            stop, slot = _by_url(text, bare, host, end, urls)
            if stop >= 0:
                category[i] = url_category[slot]
                by_url[i] = True
                entry[i, 0], entry[i, 1] = bare, stop
        allowed[i] = _by_domain(keys, n_labels, is_ip, good_domains) >= 0
        if not allowed[i] and len(good_urls) > 8:
            bare = bare_host(text, start, host)
            allowed[i] = _by_url(text, bare, host, end, good_urls)[0] >= 0
        if len(hard) > 8 or len(soft) > 8 or len(word) > 1:
            first_hard[i], n_soft[i], subword[i] = _search_words(
                text, start, end, hard, hard_number, soft, classes, moves, word
            )
    return text, status, domain, category, by_url, entry, allowed, first_hard, subword, n_soft


def search(
    data: np.ndarray,
    offsets: np.ndarray,
    suffixes: tuple[np.ndarray, np.ndarray, int],
    blocked: Entries,
    allowed: Entries,
    hard: tuple[np.ndarray, np.ndarray],
    soft: np.ndarray,
    automaton: Automaton,
) -> Found:
    """`suffixes`: keys, flags and which flags count; `hard`: keys and numbers of words; `soft`:
    keys."""
    return Found(
        *_search(
            data, offsets, suffixes[0], suffixes[1], suffixes[2],
            blocked.domains, blocked.domain_category, blocked.urls, blocked.url_category,
            allowed.domains, allowed.urls, hard[0], hard[1], soft,
            automaton.classes, automaton.moves, automaton.word,
        )
    )  # fmt: skip


@kernel
def gather(text: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bytes, offsets) of an Arrow string array of the spans."""
    offsets = np.zeros(len(spans) + 1, np.int32)
    for i in range(len(spans)):
        offsets[i + 1] = offsets[i] + spans[i, 1] - spans[i, 0]
    data = np.empty(offsets[-1], np.uint8)
    for i in range(len(spans)):
        for k in range(offsets[i + 1] - offsets[i]):
            data[offsets[i] + k] = text[spans[i, 0] + k]
    return data, offsets
