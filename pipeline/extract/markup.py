"""HTML bytes -> the blocks of text in them and the elements around each, in one pass.

No tree is built: a stack of open elements with the standard's implied end tags (WHATWG HTML,
sections 13.2.5 and 13.2.6, as far as they decide where text belongs) is enough to say which text
forms a block, how much of it is link, and in which elements, classes and ids it stands. Every step
takes constant time (an end tag looks its element up and never searches the stack) and the stack
stops at MAX_DEPTH, so the time is linear in the bytes, whatever they are.

Where it departs from the standard: no adoption agency, no foster parenting; unknown tags may close
themselves; <noscript> is read as markup and noted.
"""

from typing import NamedTuple

import numpy as np

from filters.compiled import kernel, uncounted
from pipeline.extract.block_writer import (
    BLOCK_DTYPE,
    ELEMENT_DTYPE,
    OPEN_DTYPE,
    STATE_DTYPE,
    Pass,
    end_block,
    line_break,
    read_text,
    write,
)  # fmt: skip
from pipeline.extract.html_names import (
    BIT,
    BLOCK,
    BOLD,
    CELL,
    CLOSES_P,
    DROPPED,
    HEADING,
    IGNORED,
    LIST,
    N_TAGS,
    PRE,
    RAW,
    SCOPE,
    TABLE_PART,
    TAG,
    TAG_KIND,
    TAG_MASK,
    UNKNOWN,
    VOID,
)  # fmt: skip
from pipeline.extract.html_syntax import (
    after_comment,
    end_of_raw,
    is_letter,
    read_attributes,
    read_name,
    tag_of,
)  # fmt: skip

MAX_DEPTH = 512  # as browsers; deeper elements lend their text to the one that holds them
TITLE, DESCRIPTION = range(2)
_MAX_SPANS = 16


class Markup(NamedTuple):
    """Blocks, each a run of text that nothing breaks, in the order of the page, and the block-level
    elements that hold them; element 0 is the page."""

    text: np.ndarray  # uint8: the blocks' text, UTF-8, white space collapsed
    blocks: np.ndarray  # BLOCK_DTYPE
    elements: np.ndarray  # ELEMENT_DTYPE
    spans: np.ndarray  # (k, 3) int32: TITLE or DESCRIPTION, start, end in the HTML


def read_markup(html: bytes) -> Markup:
    """The blocks of a page in UTF-8 without NUL."""
    return Markup(*_read(np.frombuffer(html, np.uint8)))


_U = np.uint64
_A, _BR, _HR, _IMG = TAG["a"], TAG["br"], TAG["hr"], TAG["img"]
_INPUT, _META, _P, _TITLE = TAG["input"], TAG["meta"], TAG["p"], TAG["title"]
_BUTTON, _DD, _DT, _LI = TAG["button"], TAG["dd"], TAG["dt"], TAG["li"]
_TABLE, _TD, _TH, _TR = TAG["table"], TAG["td"], TAG["th"], TAG["tr"]
_TBODY, _TFOOT, _THEAD = TAG["tbody"], TAG["tfoot"], TAG["thead"]
_H1, _H6 = TAG["h1"], TAG["h6"]
_HIDDEN = BIT["hidden"]


@kernel
def _read(html):
    n = len(html)
    most = 2
    for i in range(n - 1):
        if html[i] == 60 and (html[i + 1] == 47 or is_letter(html[i + 1])):
            most += 1
    m = Pass(
        np.empty(2 * n + 16, np.uint8),
        np.empty(most, BLOCK_DTYPE),
        np.empty(most, ELEMENT_DTYPE),
        np.empty((_MAX_SPANS, 3), np.int32),
        np.zeros(MAX_DEPTH + 1, OPEN_DTYPE),
        np.full(N_TAGS, -1, np.int32),
        np.zeros(1, STATE_DTYPE),
    )
    s = m.state[0]  # a view: it does not keep its array alive, `m` does
    page, bottom = m.elements[0], m.stack[0]
    page.parent, page.tag, page.depth, page.mask = -1, 0, 0, 0
    bottom.below = bottom.scope = bottom.listing = bottom.table = bottom.block = -1
    s.n_elements = 1
    i = 0
    while i < n:
        if html[i] != 60:
            i = read_text(html, i, m, s)
        elif i + 1 < n and is_letter(html[i + 1]):
            i = _start_tag(html, i + 1, m, s)
        elif i + 2 < n and html[i + 1] == 47 and is_letter(html[i + 2]):
            i = _end_tag(html, i + 2, m, s)
        elif i + 1 < n and (html[i + 1] == 33 or html[i + 1] == 63 or html[i + 1] == 47):
            i = after_comment(html, i)
        else:
            write(60, i, m, s)
            i += 1
    end_block(m, s)
    n_text, n_blocks, n_elements, n_spans = s.out, s.n_blocks, s.n_elements, s.n_spans
    return (
        m.text[:n_text].copy(),
        m.blocks[:n_blocks].copy(),
        m.elements[:n_elements].copy(),
        m.spans[:n_spans].copy(),
    )


@uncounted
def _start_tag(html, i, m, s):
    """The start tag whose name begins at i; returns where the text goes on."""
    n = len(html)
    name, hyphen, i = read_name(html, i)
    tag = tag_of(name)
    kind = TAG_KIND[tag]
    if tag >= UNKNOWN and hyphen:  # a custom element is laid out by its script, mostly as a block
        kind = BLOCK
    i, mask, href, hidden, is_description, first, last = read_attributes(html, i)
    if i > n:
        return n  # the page ends within the tag: it is none
    slash = html[i - 2] == 47
    if kind & RAW:
        if s.drop and (slash or tag == _TITLE):
            return i  # in <svg> both are ordinary elements
        end = end_of_raw(html, i, name)
        if tag == _TITLE:
            _span(TITLE, i, end, m, s)
        return end
    closed = slash and (tag >= UNKNOWN or kind & DROPPED != 0)
    if s.drop:
        if not kind & (VOID | IGNORED) and not closed:
            _push(tag, name, kind, _U(0), m, s)
        return i
    if kind & VOID:
        if tag == _BR:
            line_break(m, s)
        elif tag == _HR:
            _close_p(m, s)
            end_block(m, s)
        elif tag == _META and is_description:
            _span(DESCRIPTION, first, last, m, s)
        elif tag in (_IMG, _INPUT):
            s.space |= 1 - min(s.pre, 1)
        return i
    if kind & IGNORED:
        return i
    mask |= TAG_MASK[tag]
    if hidden:
        mask |= _U(_HIDDEN)
    if kind & BLOCK:
        _close_implied(tag, kind, m, s)
        end_block(m, s)
    elif kind & DROPPED:
        s.space |= 1 - min(s.pre, 1)
    elif tag == _A:
        if m.innermost[_A] >= max(m.stack[s.top].scope, 1):
            _close_inline(m.innermost[_A], m, s)
        s.space |= s.after_link
        if s.open and href:
            m.blocks[s.n_blocks].n_links += 1
    if not closed:
        _push(tag, name, kind, mask, m, s)
        if tag == _A and href and m.innermost[_A] == s.top:
            m.stack[s.top].linked = 1
            s.links += 1
    return i


@uncounted
def _end_tag(html, i, m, s):
    """The end tag whose name begins at i."""
    n = len(html)
    name, hyphen, i = read_name(html, i)
    i = read_attributes(html, i)[0]
    if i > n:
        return n
    tag = tag_of(name)
    kind = TAG_KIND[tag]
    if tag >= UNKNOWN and hyphen:
        kind = BLOCK
    if kind & (VOID | RAW | IGNORED):
        if tag == _BR:
            line_break(m, s)
        return i
    at, top = m.innermost[tag], s.top
    if kind & HEADING:
        for heading in range(_H1, _H6 + 1):
            at = max(at, m.innermost[heading])
    limit = m.stack[top].table if kind & TABLE_PART else m.stack[top].scope
    if at < 1 or at < limit or (tag >= UNKNOWN and m.stack[at].code != name):
        if tag == _P and not s.drop:
            end_block(m, s)
        return i
    if kind & (BLOCK | DROPPED):
        while s.top >= at:
            _pop(m, s)
    elif not s.drop or at > s.drop:
        _close_inline(at, m, s)
    if tag == _A:
        s.after_link = 1
    return i


@uncounted
def _push(tag, name, kind, mask, m, s):
    if s.top == MAX_DEPTH:
        return
    under = m.stack[s.top]
    s.top += 1
    new = m.stack[s.top]
    new.tag, new.kind, new.code, new.linked = tag, kind, name, 0
    new.below = m.innermost[tag]
    m.innermost[tag] = s.top
    new.scope = s.top if kind & SCOPE else under.scope
    new.listing = s.top if kind & LIST else under.listing
    new.table = s.top if tag == _TABLE else under.table
    new.element, new.block, new.inline = under.element, under.block, _U(0)
    if s.drop:
        return
    if kind & DROPPED:
        s.drop = s.top
    if kind & BLOCK:
        element = m.elements[s.n_elements]
        element.parent, element.tag, element.mask = under.element, tag, mask
        element.depth = m.elements[under.element].depth + 1
        new.element, new.block = s.n_elements, s.top
        s.n_elements += 1
        s.pre += kind & PRE != 0
    else:
        new.inline = under.inline | mask
        s.bolds += kind & BOLD != 0


@uncounted
def _pop(m, s):
    top = s.top
    kind = m.stack[top].kind
    if not s.drop:
        if kind & BLOCK:
            end_block(m, s)
            s.pre -= kind & PRE != 0
        _end_styles(top, m, s)
    elif s.drop == top:
        s.drop = 0
    if m.innermost[m.stack[top].tag] == top:  # else an end tag has closed it before
        m.innermost[m.stack[top].tag] = m.stack[top].below
    s.top = top - 1


@uncounted
def _end_styles(at, m, s):
    s.bolds -= m.stack[at].kind & BOLD != 0
    s.links -= m.stack[at].linked
    m.stack[at].linked = 0


@uncounted
def _close_inline(at, m, s):
    """Ends an inline element; blocks that were opened within it stay open."""
    if m.stack[s.top].block < at:
        while s.top >= at:
            _pop(m, s)
        return
    m.innermost[m.stack[at].tag] = m.stack[at].below
    _end_styles(at, m, s)
    m.stack[at].kind = 0


@uncounted
def _close_p(m, s):
    at = m.innermost[_P]
    if at >= 1 and at > m.stack[s.top].scope:
        while s.top >= at:
            _pop(m, s)


@uncounted
def _close_implied(tag, kind, m, s):
    """The elements that a start tag ends: a <p> before a block, a <li> before the next ..."""
    if kind & CLOSES_P:
        _close_p(m, s)
    top = s.top
    at, limit = -1, m.stack[top].table
    if tag == _LI:
        at, limit = m.innermost[_LI], max(m.stack[top].listing, m.stack[top].scope)
    elif tag in (_DD, _DT):
        at = max(m.innermost[_DD], m.innermost[_DT])
        limit = max(m.stack[top].listing, m.stack[top].scope)
    elif kind & CELL:
        at = max(m.innermost[_TD], m.innermost[_TH])
    elif tag == _TR:
        at = m.innermost[_TR]
    elif tag in (_TBODY, _TFOOT, _THEAD):
        at = max(m.innermost[_TBODY], m.innermost[_TFOOT], m.innermost[_THEAD])
    elif tag == _BUTTON:
        at, limit = m.innermost[_BUTTON], m.stack[top].scope - 1
    elif kind & HEADING and m.stack[top].kind & HEADING:
        at, limit = top, 0
    if at >= 1 and at > limit:
        while s.top >= at:
            _pop(m, s)


@uncounted
def _span(what, start, end, m, s):
    if s.n_spans < _MAX_SPANS:
        k = s.n_spans
        m.spans[k, 0], m.spans[k, 1], m.spans[k, 2] = what, start, end
        s.n_spans = k + 1
