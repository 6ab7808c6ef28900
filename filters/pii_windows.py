"""Finds where personal data may be: two walks over the bytes, linear on any input.

A window is a proposal; the rules of pii_rules.py and pii_secrets.py judge it. Every look-around is
bounded, so no text is quadratic. The first walk stops at digits, `@` and colons; the second looks
for long runs of letters and digits (keys, tokens, addresses of wallets) at every tenth byte only,
which no run of ten can miss.
"""

import numpy as np

from filters.compiled import uncounted
from filters.pii_numbers import EMAIL, IBAN, IPV6, TOKEN, number_kinds, words_near

MAX_LOCAL, MAX_DOMAIN = 64, 253  # RFC 5321
MAX_IPV6 = 45
MIN_IBAN, MAX_IBAN = 15, 34  # characters without spaces
MIN_DIGITS = 7  # of a phone number; an IPv4 address has three dots instead
MAX_GAP = 4  # bytes between two digits of one number
MIN_WINDOW = 4  # bytes between the starts of two windows of one kind, at least
STRIDE = 10  # length of -----BEGIN
MIN_TOKEN, MAX_TOKEN = 20, 8192  # a longer run is data

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
_TOKEN = _table(_LETTERS + _DIGITS + "_-")

# What keys, tokens and wallets begin with (pii_secrets.py); other runs are not looked at.
_PREFIXES = "AK AS gh gi gl xo xa AI GO sk rk wh np py hf do ey bc BC 0x 0X"
_PREFIX = np.zeros(1 << 16, dtype=np.bool_)
_PREFIX[[ord(pair[0]) << 8 | ord(pair[1]) for pair in _PREFIXES.split()]] = True


def find_windows(
    data: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Proposals in every text, in order of the texts.

    data: uint8, offsets: int32[n + 1], as of an Arrow string array. Returns row (int32), start and
    end (int32, bytes from the text's start) and kinds (uint8, flags of pii_numbers.py).
    """
    # Untouched memory costs nothing: the arrays are as long as the most windows that the bytes
    # could hold.
    room = 2 * len(data) // MIN_WINDOW + len(data) // STRIDE + 16
    row, start, end = (np.empty(room, dtype=np.int32) for _ in range(3))
    kind = np.empty(room, dtype=np.uint8)
    words = words_near()
    tables = words.table, words.byte_class, words.groups
    n = _walk(data, offsets, *tables, row, start, end, kind)
    return row[:n], start[:n], end[:n], kind[:n]


@uncounted
def _walk(data, offsets, table, byte_class, groups, row, start, end, kind):
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
                is_long, left, right = _number(data, i, low, high)
                resume = right
                if is_long:
                    found = number_kinds(data, low, high, left, i, right, table, byte_class, groups)
            elif what == _AT:
                found, left, right = _email(data, i, low, high)
            else:
                found, left, right, resume = _ipv6(data, i, low, high)
            if found:
                row[n], start[n], end[n], kind[n] = text, left - low, right - low, found
                n += 1
            i = resume
        n = _tokens(data, low, high, text, n, row, start, end, kind)
    return n


@uncounted
def _tokens(data, low, high, text, n, row, start, end, kind):
    """Runs of letters, digits, hyphens and underscores that may be a secret or a wallet."""
    i = low + STRIDE - 1
    while i < high:
        if not _TOKEN[data[i]]:
            i += STRIDE
            continue
        left, right = i, i + 1
        while left > low and _TOKEN[data[left - 1]]:  # less than STRIDE bytes
            left -= 1
        while right < high and _TOKEN[data[right]]:
            right += 1
        if _promising(data, low, left, right):
            row[n], start[n], end[n], kind[n] = text, left - low, right - low, TOKEN
            n += 1
        i = right + STRIDE
    return n


@uncounted
def _promising(data, low, left, right):
    """It begins with five hyphens, or is 20 bytes or longer and has a known prefix at its start or
    after a hyphen or underscore, or `SG.` or `ya29.` before it, or may be a Bitcoin address."""
    length = right - left
    if length < STRIDE or length > MAX_TOKEN:
        return False
    if data[left] == 45 and data[left + 4] == 45:
        return True
    if length < MIN_TOKEN:
        return False
    if left - 3 >= low and data[left - 1] == 46:  # .
        a, b = data[left - 3], data[left - 2]
        if (a == 83 and b == 71) or (a == 50 and b == 57):  # SG, 29
            return True
    if 25 < length < 36 and (data[left] == 49 or data[left] == 51):  # 1, 3
        return True
    for at in range(left, right - MIN_TOKEN + 1):
        opens = at == left or data[at - 1] == 45 or data[at - 1] == 95  # - _
        if opens and _PREFIX[(data[at] + 0) << 8 | data[at + 1]]:
            return True
    return False


@uncounted
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


@uncounted
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
    return digits >= MIN_DIGITS or dots >= 3, left, last


@uncounted
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


@uncounted
def _email(data, i, low, high):
    left = i
    while left > low and i - left < MAX_LOCAL and _LOCAL[data[left - 1]]:
        left -= 1
    right, dots = i + 1, 0
    while right < high and right - i <= MAX_DOMAIN and _DOMAIN[data[right]]:
        dots += data[right] == 46
        right += 1
    return (EMAIL if left < i and dots else 0), left, right


@uncounted
def _ipv6(data, i, low, high):
    """Hexadecimal groups around the colon at i: eight of them, or a double colon. The last number
    is where the walk goes on. Where this is no address, it is behind the last colon that has no
    more than four digits before it: an address from one of these on would follow a colon, and
    pii_rules.py takes none that does."""
    left = i
    while left > low and i - left < 4 and _HEX[data[left - 1]]:
        left -= 1
    right = resume = i + 1
    colons, dots, group, double = 1, 0, 0, i > low and data[i - 1] == 58
    while right < high and right - i < MAX_IPV6:
        b = data[right]
        if b == 58 and dots == 0:
            colons += 1
            double |= group == 0
            group, resume = 0, right + 1
            if colons == 8:
                break
        elif b == 46 and dots < 4:
            dots += 1
            group = 0
        elif _HEX[b] and group < 4:
            group += 1
        else:
            break
        right += 1
    found = colons == 7 or (double and colons < 8)
    return (IPV6 if found else 0), left, right, (right if found else resume)
