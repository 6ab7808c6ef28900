"""Text of a page into blocks: white space, character references, when a block begins and ends."""

from typing import NamedTuple

import numpy as np

from filters.compiled import uncounted
from pipeline.extract.html_names import (
    ENTITY,
    ENTITY_KEY,
    FNV_OFFSET,
    FNV_PRIME,
    SPREAD,
    WINDOWS_1252,
)
from pipeline.extract.html_syntax import is_letter

_U = np.uint64

BLOCK_DTYPE = np.dtype(
    [
        ("start", np.int32),  # into the text
        ("end", np.int32),
        ("link_bytes", np.int32),  # of the text, inside <a href>
        ("bold_bytes", np.int32),  # inside <b>, <strong>, <em>, <i>
        ("n_links", np.int32),
        ("element", np.int32),  # the innermost block-level element
        ("at", np.int64),  # where in the HTML it begins
        ("inline_mask", np.uint64),  # purposes of the inline elements that cover the whole block
    ]
)
ELEMENT_DTYPE = np.dtype(
    [
        ("parent", np.int32),  # -1 for the page; a parent precedes its children
        ("tag", np.int32),  # into TAGS; from UNKNOWN on not HTML's
        ("depth", np.int64),
        ("mask", np.uint64),  # purposes by its tag, class, id, role and itemprop
    ]
)
OPEN_DTYPE = np.dtype(  # an entry of the stack of open elements
    [
        ("tag", np.int32),
        ("kind", np.int32),
        ("element", np.int32),  # its number; of an inline one, its block's
        ("below", np.int32),  # the open element of the same tag below, or -1
        ("scope", np.int32),  # the innermost open table cell, button and the like up to here, or -1
        ("listing", np.int32),  # ... list, or -1
        ("table", np.int32),  # ... table, or -1
        ("block", np.int32),  # ... block-level element, or -1
        ("linked", np.int64),  # 1 for <a href>
        ("code", np.uint64),
        ("inline", np.uint64),  # purposes of the open inline elements within the innermost block
    ]
)
STATE_DTYPE = np.dtype(
    [
        ("out", np.int64),  # bytes of text
        ("n_blocks", np.int64),  # complete ones
        ("n_elements", np.int64),
        ("n_spans", np.int64),
        ("open", np.int64),  # 1 within a block
        ("space", np.int64),  # 1 if a space is due
        ("newlines", np.int64),  # line breaks that are due
        ("after_link", np.int64),
        ("pre", np.int64),  # how many <pre> are open
        ("links", np.int64),
        ("bolds", np.int64),
        ("drop", np.int64),  # the outermost open element without text, or 0
        ("top", np.int64),  # of the stack
    ]
)


class Pass(NamedTuple):
    """What one pass over a page writes."""

    text: np.ndarray
    blocks: np.ndarray
    elements: np.ndarray
    spans: np.ndarray
    stack: np.ndarray
    innermost: np.ndarray  # by tag: its innermost open element, or -1
    state: np.ndarray  # one STATE_DTYPE


@uncounted
def read_text(html, i, m, s):
    """The text from i to the next '<'."""
    n = len(html)
    if s.drop:
        while i < n and html[i] != 60:
            i += 1
        return i
    while i < n:
        c = html[i]
        if c == 60:
            break
        if c <= 32:
            _white(i, c, m, s)
            i += 1
        elif c == 38:
            i = _reference(html, i, m, s)
        elif c == 0xC2 and (html[i + 1] == 0xA0 or html[i + 1] == 0x85 or html[i + 1] == 0xAD):
            if html[i + 1] != 0xAD:  # a soft hyphen is no character
                _white(i, 32, m, s)
            i += 2
        elif c == 0xE2 and html[i + 1] == 0x80 and (html[i + 2] == 0xA8 or html[i + 2] == 0xA9):
            _white(i, 32, m, s)
            i += 3
        elif c == 0xEF and html[i + 1] == 0xBB and html[i + 2] == 0xBF:
            i += 3
        else:
            _due(i, m, s)
            out = first = s.out
            while True:
                m.text[out] = c
                out += 1
                i += 1
                if i >= n:
                    break
                c = html[i]
                if c <= 60 and (c <= 32 or c == 38 or c == 60):
                    break
                if c == 0xC2 or c == 0xE2 or c == 0xEF:
                    break
            _written(out - first, m, s)
    return i


@uncounted
def _due(at, m, s):
    """What has to stand before the next character: a new block, line breaks, a space."""
    top = s.top
    if s.open and s.newlines >= 2 and not s.pre:
        end_block(m, s)
    b = s.n_blocks
    if not s.open:
        s.open = 1
        m.blocks[b].start = s.out
        m.blocks[b].link_bytes = m.blocks[b].bold_bytes = 0
        m.blocks[b].n_links = 1 if s.links else 0
        m.blocks[b].element = m.stack[top].element
        m.blocks[b].inline_mask = m.stack[top].inline
        m.blocks[b].at = at
    else:
        m.blocks[b].inline_mask &= m.stack[top].inline
        due = s.newlines
        for _ in range(due):
            m.text[s.out] = 10
            s.out += 1
        if not due and s.space:
            m.text[s.out] = 32
            s.out += 1
    s.space = s.newlines = s.after_link = 0


@uncounted
def _written(n_bytes, m, s):
    b = s.n_blocks
    s.out += n_bytes
    if s.links:
        m.blocks[b].link_bytes += n_bytes
    if s.bolds:
        m.blocks[b].bold_bytes += n_bytes


@uncounted
def write(byte, at, m, s):
    """One byte of text."""
    if not s.drop:
        _due(at, m, s)
        m.text[s.out] = byte
        _written(1, m, s)


@uncounted
def end_block(m, s):
    """The end of a block."""
    if s.open:
        m.blocks[s.n_blocks].end = s.out
        s.n_blocks += 1
        s.open = 0
    s.space = s.newlines = s.after_link = 0


@uncounted
def line_break(m, s):
    """<br>: two of them end a block, except in <pre>."""
    if not s.drop and s.open:
        s.newlines += 1


@uncounted
def _white(at, byte, m, s):
    """White space: itself in <pre>, else one space before the next character of the block."""
    if not s.pre:
        s.space = 1
    elif byte == 10:
        s.newlines += s.open
    elif byte != 13:
        write(9 if byte == 9 else 32, at, m, s)


@uncounted
def _reference(html, i, m, s):
    """The character reference at html[i] == '&'; returns where the text goes on."""
    n = len(html)
    j = i + 1
    if j < n and html[j] == 35:
        return _numeric(html, i, m, s)
    h = _U(FNV_OFFSET)
    found, goes_on = np.int64(-1), i + 1
    while j < n and j < i + 34:
        c = html[j]
        if not (48 <= c <= 57 or is_letter(c) or c == 59):
            break
        h = (h ^ _U(c)) * _U(FNV_PRIME)
        j += 1
        if c == 59 or j - i <= 7:  # names that may lack their semicolon have at most 6 letters
            at = (h * _U(SPREAD)) >> _U(51)
            while ENTITY_KEY[at] != 0 and ENTITY_KEY[at] != h:
                at = (at + _U(1)) & _U(len(ENTITY_KEY) - 1)
            if ENTITY_KEY[at] == h:
                found, goes_on = np.int64(at), j
        if c == 59:
            break
    if found < 0:
        write(38, i, m, s)
        return i + 1
    _write_code(ENTITY[found, 0], i, m, s)
    if ENTITY[found, 1]:
        _write_code(ENTITY[found, 1], i, m, s)
    return goes_on


@uncounted
def _numeric(html, i, m, s):
    n = len(html)
    j = i + 2
    base = 10
    if j < n and html[j] | 32 == 120:
        base = 16
        j += 1
    first, value = j, 0
    while j < n:
        c = html[j]
        digit = c - 48 if 48 <= c <= 57 else (c | 32) - 87 if 97 <= c | 32 <= 102 else 99
        if digit >= base:
            break
        value = min(value * base + digit, 0x110000)
        j += 1
    if j == first:
        write(38, i, m, s)
        return i + 1
    if value == 0:
        value = 0xFFFD
    if 0x80 <= value < 0xA0:
        value = int(WINDOWS_1252[value - 0x80])
    _write_code(value, i, m, s)
    return j + 1 if j < n and html[j] == 59 else j


@uncounted
def _write_code(value, at, m, s):
    """A code point, as UTF-8."""
    if value <= 32 or value == 0xA0 or value == 0x85 or value == 0x2028 or value == 0x2029:
        _white(at, value if value == 9 or value == 10 else 32, m, s)
    elif value == 0xAD or value == 0xFEFF:
        return
    elif value < 0x80:
        write(value, at, m, s)
    elif value < 0x800:
        write(0xC0 | value >> 6, at, m, s)
        write(0x80 | value & 0x3F, at, m, s)
    else:
        if value > 0x10FFFF or 0xD800 <= value < 0xE000:
            value = 0xFFFD
        if value < 0x10000:
            write(0xE0 | value >> 12, at, m, s)
        else:
            write(0xF0 | value >> 18, at, m, s)
            write(0x80 | value >> 12 & 0x3F, at, m, s)
        write(0x80 | value >> 6 & 0x3F, at, m, s)
        write(0x80 | value & 0x3F, at, m, s)
