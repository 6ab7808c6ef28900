"""Numba kernels over source files: lines, classes of characters, encoded data, the visible text of
HTML. Lines are Python's `splitlines`, letters its `isalpha`, as in the published filters.
"""

import numpy as np

from filters.compiled import inlined, kernel, uncounted
from filters.kernels import DIGIT, IDEOGRAPH, LETTER, MARK, SPACE, UNSPACED, decode

N_COUNTS = 9
CHARS, LINES, LONGEST, LINE_CHARS, ALPHA, ALNUM, TOKENS, ENCODED, RUN = range(N_COUNTS)
_BASE64, _HEX, _WORD, _SPACE = 1, 2, 4, 8  # flags of an ASCII byte


@inlined
def _breaks(code: int) -> bool:
    """What str.splitlines splits at."""
    return 0x0A <= code <= 0x0D or 0x1C <= code <= 0x1E or code == 0x85 or 0x2028 <= code <= 0x2029


@kernel
def count_code(
    data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, spaced: bool
) -> np.ndarray:
    """int64 [documents, N_COUNTS]: characters, lines, the longest line, characters in lines,
    letters, letters and digits, tokens (runs of letters, of digits, of other signs), characters in
    encoded data and in its longest run. `spaced`: bytes in hexadecimal may have a space after their
    comma."""
    n_docs = len(offsets) - 1
    counts = np.zeros((n_docs, N_COUNTS), np.int64)
    tables = byte_tables()
    for d in range(n_docs):
        first, end = offsets[d], offsets[d + 1]
        _count_characters(data, first, end, classes, counts[d])
        total, longest = _encoded(data, first, end, classes, tables, spaced)
        counts[d, ENCODED], counts[d, RUN] = total, longest
    return counts


@kernel
def byte_tables() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for b in range(256):
        digit = 48 <= b <= 57
        letter = 65 <= b <= 90 or 97 <= b <= 122
        if digit or letter or b == 43 or b == 47 or b == 10 or b == 61:  # + / newline =
            table[b] |= _BASE64
        if digit or 65 <= b <= 70 or 97 <= b <= 102:
            table[b] |= _HEX
        if digit or letter or b == 95:  # _
            table[b] |= _WORD
        if b == 32 or 9 <= b <= 13 or 28 <= b <= 31:
            table[b] |= _SPACE
    return table


@uncounted
def _count_characters(
    data: np.ndarray, at: int, end: int, classes: np.ndarray, counts: np.ndarray
) -> None:
    chars = lines = longest = in_lines = alpha = alnum = tokens = 0
    length = 0
    run = 0  # the kind of the open token: 1 letters, 2 digits, 3 signs
    returned = False  # the character before was a carriage return
    while at < end:
        code, width = decode(data, at, end)
        at += width
        chars += 1
        kind = classes[code]
        if _breaks(code):
            if not (returned and code == 0x0A):
                lines += 1
                in_lines += length
                longest = max(longest, length)
                length = 0
            returned = code == 0x0D
            run = 0
            continue
        returned = False
        length += 1
        if kind in (LETTER, IDEOGRAPH, UNSPACED):
            alpha += 1
            alnum += 1
            tokens += run != 1
            run = 1
        elif kind == DIGIT:
            alnum += 1
            tokens += run != 2
            run = 2
        elif kind == SPACE:
            run = 0
        else:
            tokens += run != 3
            run = 3
    if length:
        lines += 1
        in_lines += length
        longest = max(longest, length)
    counts[CHARS], counts[LINES], counts[LONGEST], counts[LINE_CHARS] = (
        chars,
        lines,
        longest,
        in_lines,
    )
    counts[ALPHA], counts[ALNUM], counts[TOKENS] = alpha, alnum, tokens


# --- encoded data -------------------------------------------------------------------------------


@uncounted
def _encoded(
    data: np.ndarray, first: int, end: int, classes: np.ndarray, tables: np.ndarray, spaced: bool
) -> tuple[int, int]:
    """(characters in any match, the longest match) of StarCoder2's three expressions:

        [a-zA-Z0-9+/\\n=]{64,}
        (?:\\b(?:0x|\\\\x)?[0-9a-fA-F]{2}(?:,|\\b\\s*)){8,}
        (?:\\\\u[0-9a-fA-F]{4}){8,}

    Matches of different expressions that overlap count once."""
    total = longest = 0
    covered = first  # characters before it are counted already
    base_at = hex_at = escape_at = first
    base_start = base_end = hex_start = hex_end = escape_start = escape_end = -1
    while True:
        if base_start < 0:
            base_start, base_end = _next_base64(data, base_at, end, tables)
        if hex_start < 0:
            hex_start, hex_end = _next_hex(data, hex_at, first, end, classes, tables, spaced)
        if escape_start < 0:
            escape_start, escape_end = _next_escapes(data, escape_at, end, tables)
        if base_start >= end and hex_start >= end and escape_start >= end:
            return total, longest
        if base_start <= hex_start and base_start <= escape_start:
            start, stop = base_start, base_end
            base_at, base_start = base_end, -1
        elif hex_start <= escape_start:
            start, stop = hex_start, hex_end
            hex_at, hex_start = hex_end, -1
        else:
            start, stop = escape_start, escape_end
            escape_at, escape_start = escape_end, -1
        longest = max(longest, _n_chars(data, start, stop))
        if stop > covered:
            total += _n_chars(data, max(start, covered), stop)
            covered = stop


@uncounted
def _n_chars(data: np.ndarray, start: int, end: int) -> int:
    n = 0
    for k in range(start, end):
        n += data[k] & 0xC0 != 0x80
    return n


@uncounted
def _next_base64(data: np.ndarray, at: int, end: int, tables: np.ndarray) -> tuple[int, int]:
    """The next run of 64 bytes or more; (end, end) for none. Probes every 64th byte: a run that is
    long enough holds one of them."""
    probe = at + 63
    while probe < end:
        if not tables[data[probe]] & _BASE64:
            probe += 64
            continue
        start = probe
        while start > at and tables[data[start - 1]] & _BASE64:
            start -= 1
        stop = probe + 1
        while stop < end and tables[data[stop]] & _BASE64:
            stop += 1
        if stop - start >= 64:
            return start, stop
        probe = stop + 64
    return end, end


@uncounted
def _next_escapes(data: np.ndarray, at: int, end: int, tables: np.ndarray) -> tuple[int, int]:
    """The next eight \\uXXXX or more, one after another."""
    while at + 48 <= end:
        if data[at] != 92:
            at += 1
            continue
        stop = at
        while stop + 6 <= end and data[stop] == 92 and data[stop + 1] == 117:
            if not (
                tables[data[stop + 2]] & tables[data[stop + 3]] & tables[data[stop + 4]] & _HEX
                and tables[data[stop + 5]] & _HEX
            ):
                break
            stop += 6
        if stop - at >= 48:
            return at, stop
        at = max(stop, at + 1)
    return end, end


@uncounted
def _is_word(data: np.ndarray, at: int, end: int, classes: np.ndarray) -> bool:
    """Whether the character at data[at] is one of \\w."""
    code, _ = decode(data, at, end)
    return (classes[code] >= LETTER and classes[code] != MARK) or code == 95  # _


@inlined
def _is_word_at(
    data: np.ndarray, at: int, end: int, classes: np.ndarray, tables: np.ndarray
) -> bool:
    if at >= end:
        return False
    if data[at] < 0x80:
        return tables[data[at]] & _WORD != 0
    return _is_word(data, at, end, classes)


@inlined
def _is_word_before(
    data: np.ndarray, at: int, first: int, classes: np.ndarray, tables: np.ndarray
) -> bool:
    if at <= first:
        return False
    start = at - 1
    if data[start] < 0x80:
        return tables[data[start]] & _WORD != 0
    while start > first and start > at - 4 and data[start] & 0xC0 == 0x80:
        start -= 1
    return _is_word(data, start, at, classes)


@uncounted
def _next_hex(
    data: np.ndarray,
    at: int,
    first: int,
    end: int,
    classes: np.ndarray,
    tables: np.ndarray,
    spaced: bool,
) -> tuple[int, int]:
    """The next eight bytes in hexadecimal, or more, each a word: 48 31 c0, or 0x48,0x31, or
    (but for the first) \\x48\\x31."""
    while at < end:
        b = data[at]
        if not (tables[b] & _HEX or b == 92) or at + 1 == end:
            at += 1
            continue
        if tables[b] & _HEX and at > first and tables[data[at - 1]] & _HEX:
            at += 1  # inside a word
            continue
        if not (tables[data[at + 1]] & _HEX or data[at + 1] == 120):
            at += 1
            continue
        n, stop = 0, at
        while True:
            after = _hex_unit(data, stop, first, end, classes, tables, spaced)
            if after < 0:
                break
            n, stop = n + 1, after
        if n >= 8:
            return at, stop
        at = max(stop, at + 1)
    return end, end


@inlined
def _hex_unit(
    data: np.ndarray,
    at: int,
    first: int,
    end: int,
    classes: np.ndarray,
    tables: np.ndarray,
    spaced: bool,
) -> int:
    """Where a unit that starts at `at` ends, separator included; -1 for none."""
    start = at
    if at + 1 < end and data[at + 1] == 120 and (data[at] == 48 or data[at] == 92):
        at += 2
    if at + 2 > end or not (tables[data[at]] & tables[data[at + 1]] & _HEX):
        return -1
    before = _is_word_before(data, start, first, classes, tables)
    if before == _is_word_at(data, start, end, classes, tables):
        return -1
    at += 2
    if at < end and data[at] == 44:
        at += 1
        while spaced and at < end and (data[at] == 32 or 9 <= data[at] <= 13):
            at += 1
        return at
    if _is_word_at(data, at, end, classes, tables):
        return -1
    while at < end:
        if data[at] < 0x80:
            width = 1 if tables[data[at]] & _SPACE else 0
        else:
            code, width = decode(data, at, end)
            width = width if classes[code] == SPACE else 0
        if width == 0:
            break
        at += width
    return at


# --- HTML ---------------------------------------------------------------------------------------


@uncounted
def _is_tag(data: np.ndarray, at: int, end: int, name: np.ndarray) -> bool:
    if at + len(name) > end:
        return False
    for k in range(len(name)):
        if data[at + k] | 0x20 != name[k]:
            return False
    after = at + len(name)
    return after >= end or not (97 <= data[after] | 0x20 <= 122 or 48 <= data[after] <= 57)


_SCRIPT = np.frombuffer(b"script", np.uint8)
_STYLE = np.frombuffer(b"style", np.uint8)


@kernel
def visible_chars(data: np.ndarray, offsets: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Characters of each wanted document that are neither tags, comments, scripts nor styles; white
    space counts, and an entity is one."""
    visible = np.zeros(len(offsets) - 1, np.int64)
    for d in range(len(visible)):
        if wanted[d]:
            visible[d] = _visible(data, offsets[d], offsets[d + 1])
    return visible


@uncounted
def _visible(data: np.ndarray, at: int, end: int) -> int:
    n = 0
    while at < end:
        b = data[at]
        if b == 60 and at + 1 < end:  # <
            c = data[at + 1]
            if c == 33 and at + 3 < end and data[at + 2] == 45 and data[at + 3] == 45:
                at = _after(data, at + 4, end, 45, 45)
                continue
            if 97 <= c | 0x20 <= 122 or c == 47 or c == 33 or c == 63:
                script = _is_tag(data, at + 1, end, _SCRIPT)
                style = _is_tag(data, at + 1, end, _STYLE)
                at = _after_tag(data, at + 1, end)
                if script:
                    at = _after_element(data, at, end, _SCRIPT)
                elif style:
                    at = _after_element(data, at, end, _STYLE)
                continue
        elif b == 38:  # &name; or &#123;
            stop = at + 1
            while (
                stop < end
                and stop < at + 32
                and (97 <= data[stop] | 0x20 <= 122 or 48 <= data[stop] <= 57 or data[stop] == 35)
            ):
                stop += 1
            if stop < end and data[stop] == 59 and stop > at + 1:
                at = stop
        n += data[at] & 0xC0 != 0x80
        at += 1
    return n


@uncounted
def _after(data: np.ndarray, at: int, end: int, one: int, two: int) -> int:
    """After the next `-->`; the end where there is none."""
    while at + 2 < end:
        if data[at] == one and data[at + 1] == two and data[at + 2] == 62:
            return at + 3
        at += 1
    return end


@uncounted
def _after_tag(data: np.ndarray, at: int, end: int) -> int:
    """After the > of a tag; one in quotes does not count."""
    quote = 0
    while at < end:
        b = data[at]
        if quote:
            if b == quote:
                quote = 0
        elif b == 62:
            return at + 1
        elif (b == 34 or b == 39) and data[at - 1] == 61:
            quote = b
        at += 1
    return end


@uncounted
def _after_element(data: np.ndarray, at: int, end: int, name: np.ndarray) -> int:
    while at + 1 < end:
        if data[at] == 60 and data[at + 1] == 47 and _is_tag(data, at + 2, end, name):
            return _after_tag(data, at + 2, end)
        at += 1
    return end
