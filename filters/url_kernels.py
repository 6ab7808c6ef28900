"""Numba kernels over URLs: one form for equal URLs, host labels, hash tables, words.

A URL is written as `host/path?query`: scheme, user, port and fragment dropped, a dot after the host
and a slash after the path too, the host in lower case, %41 as A. The rules are those of the WHATWG
URL standard as far as they decide which host and path a browser would ask for; hosts that are not
ASCII are made so before (`url_lists.py`). Only the first MAX_BYTES of a URL are looked at.

A table holds 64-bit hashes only, 10.7 bytes an entry (three quarters full): that a URL is taken for
one of n entries has a probability of n / 2^64 for each look-up.
"""

import numpy as np

from filters.compiled import inlined, kernel, uncounted
from filters.kernels import mix

MAX_BYTES = 4096
OK, IP, MISSING, INVALID = range(4)
START, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
EXACT, WILDCARD, EXCEPTION = 1, 2, 4  # of a public suffix; of a private one, times PRIVATE
PRIVATE = 8
_LABELS = 128  # most of a host's 253 bytes


# --- tables -------------------------------------------------------------------------------------


@kernel
def new_table(n: int) -> np.ndarray:
    return np.zeros(n * 4 // 3 + 8, np.uint64)


@inlined
def find(keys: np.ndarray, key: np.uint64) -> np.int64:
    """Where the key is, or the empty slot for it."""
    at = np.int64(((key >> np.uint64(32)) * np.uint64(len(keys))) >> np.uint64(32))
    while keys[at] != 0 and keys[at] != key:
        at += 1
        if at == len(keys):
            at = np.int64(0)
    return at


@uncounted
def insert(keys: np.ndarray, values: np.ndarray, new: np.ndarray, value: int, join: bool) -> None:
    """Puts the keys in with a value; of those there the value stays, or is joined bit by bit."""
    for key in new:
        at = find(keys, key)
        if keys[at] == 0:
            keys[at] = key
            values[at] = value
        elif join:
            values[at] |= value


@inlined
def grown(h: np.uint64, byte: int) -> np.uint64:
    """FNV-1a of one byte more: a URL is hashed once, and every beginning of it on the way."""
    return (h ^ np.uint64(byte)) * _PRIME


@inlined
def key_of(h: np.uint64) -> np.uint64:
    """Other than 0, which is an empty slot's."""
    h = mix(h)
    return h if h != 0 else np.uint64(1)


@uncounted
def forward(data: np.ndarray, start: int, end: int) -> np.uint64:
    h = START
    for at in range(start, end):
        h = grown(h, data[at])
    return key_of(h)


@uncounted
def backward(data: np.ndarray, start: int, end: int) -> np.uint64:
    """From the last byte to the first, as hosts are read."""
    h = START
    for at in range(end - 1, start - 1, -1):
        h = grown(h, data[at])
    return key_of(h)


@kernel
def keys_of(data: np.ndarray, offsets: np.ndarray, is_host: bool) -> np.ndarray:
    """The key of each string."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    for i in range(len(keys)):
        if is_host:
            keys[i] = backward(data, offsets[i], offsets[i + 1])
        else:
            keys[i] = forward(data, offsets[i], offsets[i + 1])
    return keys


# --- one form for equal URLs --------------------------------------------------------------------


@inlined
def _is_alnum(c: int) -> bool:
    return 48 <= c <= 57 or 97 <= c <= 122 or 65 <= c <= 90 or c >= 128


@inlined
def _lower(c: int) -> int:
    return c + 32 if 65 <= c <= 90 else c


@inlined
def _hex(c: int) -> int:
    if 48 <= c <= 57:
        return c - 48
    c = _lower(c)
    return c - 87 if 97 <= c <= 102 else -1


@uncounted
def authority(data: np.ndarray, start: int, end: int) -> tuple[int, int, int]:
    """(start, end of the host and port, start of the path); (-1, ...) where there is none, as in
    mailto:a@b."""
    at = start
    while at < end and (data[at] == 43 or data[at] == 45 or data[at] == 46 or _is_alnum(data[at])):
        at += 1
    after = start
    if at < end and data[at] == 58 and at > start:  # a scheme, or a host with its port
        slashes = at + 2 < end and (data[at + 1] == 47 or data[at + 1] == 92)
        slashes = slashes and (data[at + 2] == 47 or data[at + 2] == 92)
        if slashes:
            after = at + 3
        elif at + 1 >= end or not 48 <= data[at + 1] <= 57:
            return -1, -1, -1
    elif end - start > 2 and data[start] == 47 and data[start + 1] == 47:
        after = start + 2
    stop = after
    first = after
    while stop < end:
        c = data[stop]
        if c == 47 or c == 92 or c == 63 or c == 35:
            break
        if c == 64:  # what is before an @ is a user
            first = stop + 1
        stop += 1
    return first, stop, stop


@uncounted
def trim(data: np.ndarray, start: int, end: int) -> tuple[int, int]:
    while start < end and data[start] <= 32:
        start += 1
    while start < end and data[end - 1] <= 32:
        end -= 1
    return start, min(end, start + MAX_BYTES)


@kernel
def odd_hosts(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Which URLs have a host that is not plain ASCII, or percent-encoded."""
    odd = np.zeros(len(offsets) - 1, np.bool_)
    for i in range(len(odd)):
        start, end = trim(data, offsets[i], offsets[i + 1])
        first, stop, _ = authority(data, start, end)
        if first >= 0:
            for at in range(first, stop):
                if data[at] >= 128 or data[at] == 37:
                    odd[i] = True
                    break
    return odd


@uncounted
def _host(data: np.ndarray, first: int, stop: int, out: np.ndarray, at: int) -> tuple[int, int]:
    """Writes the host; returns (its end in `out`, OK, IP or INVALID)."""
    start = at
    if first < stop and data[first] == 91:  # [::1]
        while first < stop and data[first] != 93:
            out[at] = _lower(data[first])
            at += 1
            first += 1
        if first == stop:
            return start, INVALID
        out[at] = 93
        return at + 1, IP
    n_dots = 0
    number = 0  # of the label
    digits = True  # whether the label is a number so far
    four = True  # whether all labels were numbers up to 255
    label = at
    while first < stop:
        c = _lower(data[first])
        if c == 58:
            for k in range(first + 1, stop):
                if not 48 <= data[k] <= 57:
                    return start, INVALID
            break
        if c == 46:
            if at == label:
                return start, INVALID
            four = four and digits and number < 256
            n_dots += 1
            label = at + 1
            digits, number = True, 0
        elif 48 <= c <= 57:
            number = min(number * 10 + c - 48, 1000)
        elif 97 <= c <= 122 or c == 45 or c == 95:
            digits = False
        else:
            return start, INVALID
        out[at] = c
        at += 1
        first += 1
    if at > start and out[at - 1] == 46:  # example.com.
        at -= 1
        n_dots -= 1
        number, digits = 0, False
        if four and n_dots == 3:
            return at, IP
    elif digits and at > start:  # a name does not end in a number
        return at, IP if four and number < 256 and n_dots == 3 else INVALID
    return at, OK if 0 < at - start <= 253 else INVALID


@uncounted
def normalize(
    data: np.ndarray, start: int, end: int, out: np.ndarray, at: int, fold: bool
) -> tuple[int, int, int]:
    """Writes the one form of a URL to out[at:]; returns (end of the host, end, OK, IP, MISSING or
    INVALID). `fold`: paths in lower case and every %41 decoded, to be searched; else only what
    RFC 3986 6.2.2 calls equal."""
    start, end = trim(data, start, end)
    if start == end:
        return at, at, MISSING
    first, stop, path = authority(data, start, end)
    if first < 0:
        return at, at, INVALID
    host, kind = _host(data, first, stop, out, at)
    if kind == INVALID:
        return at, at, INVALID
    at = host
    query = False
    while path < end and data[path] != 35:
        c = 47 if data[path] == 92 else data[path] + 0  # from uint8 to int64
        if c == 37 and path + 2 < end:
            high, low = _hex(data[path + 1]), _hex(data[path + 2])
            code = high * 16 + low
            plain = _is_alnum(code) or code == 45 or code == 46 or code == 95 or code == 126
            if high >= 0 and low >= 0 and (plain or (fold and code >= 32)):
                c = code
                path += 2
        elif c == 63 and not query:
            query = True
            while at > host and out[at - 1] == 47:
                at -= 1
        out[at] = _lower(c) if fold else c
        at += 1
        path += 1
    while at > host and out[at - 1] == 47:
        at -= 1
    return host, at, kind


@uncounted
def without_tracking(out: np.ndarray, host: int, end: int, names: np.ndarray) -> int:
    """Drops the parameters with these names, or utm_*, in place; returns the new end."""
    query = host
    while query < end and out[query] != 63:
        query += 1
    at = query
    read = query + 1
    while read <= end and query < end:
        stop = read
        equals = -1
        while stop < end and out[stop] != 38:
            if out[stop] == 61 and equals < 0:
                equals = stop
            stop += 1
        name_end = stop if equals < 0 else equals
        utm = (
            name_end - read > 4 and out[read] == 117 and out[read + 1] == 116
            and out[read + 2] == 109 and out[read + 3] == 95
        )  # fmt: skip
        if stop > read and not utm and names[find(names, forward(out, read, name_end))] == 0:
            out[at] = 63 if at == query else 38
            at += 1
            for k in range(read, stop):
                out[at] = out[k]
                at += 1
        read = stop + 1
    while at > host and out[at - 1] == 47:
        at -= 1
    return at


# --- hosts --------------------------------------------------------------------------------------


@uncounted
def host_keys(out: np.ndarray, start: int, end: int, places: np.ndarray, keys: np.ndarray) -> int:
    """The host's last label, its last two, ... : where each starts, and its key. Returns how
    many."""
    n = 0
    at = end
    h = START
    while at > start and n < _LABELS:
        at -= 1
        h = grown(h, out[at])
        if at == start or out[at - 1] == 46:
            places[n] = at
            keys[n] = key_of(h)
            n += 1
    return n


@uncounted
def suffix_labels(keys: np.ndarray, n: int, table: np.ndarray, flags: np.ndarray, mask: int) -> int:
    """How many of a host's labels are its public suffix (publicsuffix.org/list, "Algorithm")."""
    best = 1
    for k in range(n):
        slot = find(table, keys[k])
        if table[slot] == 0:
            continue
        flag = flags[slot] & mask
        flag |= flag // PRIVATE
        if flag & EXCEPTION:
            return k
        if flag & EXACT:
            best = max(best, k + 1)
        if flag & WILDCARD and k + 1 < n:
            best = max(best, k + 2)
    return best
