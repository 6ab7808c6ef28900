"""What is known of each block of a page: its text, the elements around it, its neighbours.

`describe` gives one row of numbers a block; FEATURES names them. They are the usual ones of
boilerplate removal (Kohlschütter et al. 2010: text and link density of a block and of its
neighbours; Mozilla's Readability: the container with most prose, class words), and say nothing of a
language but for fifty boilerplate words. They were chosen while looking at the 181 pages of
article-extraction-benchmark; their weights are fitted. The article that some pages give for
machines (JSON-LD `articleBody`, 16 of the 181) was tried as one more: no gain, so it is left out.
All of it is linear in the page.
"""

import numpy as np

from filters.compiled import kernel, uncounted
from pipeline.extract.html_names import (
    FNV_OFFSET,
    FNV_PRIME,
    HEADING,
    N_TAGS,
    SPREAD,
    TAG,
    TAG_KIND,
    fnv,
)
from pipeline.extract.markup import Markup
from pipeline.extract.surroundings import N_OWN, N_SURROUNDINGS, OWN, SURROUNDINGS, surroundings

FEATURES = (*OWN, *SURROUNDINGS)
N_FEATURES = N_OWN + N_SURROUNDINGS
(
    _BYTES, _WORDS, _SENTENCES, _COMMAS, _UPPER, _DIGITS, _BOILER, _BOILER_FRACTION, _LINK,
    _N_LINKS, _BOLD, _ENDS, _STARTS_UPPER, _COLON, _LINES, _BYTES_PER_WORD, _KIND_OF, _HEADING,
    _DEPTH, _IN_TITLE, _OF_TITLE, _IN_DESCRIPTION, _COPIES, _COPYRIGHT,
) = range(N_OWN)  # fmt: skip

_U = np.uint64
_BOILERPLATE = """
    advertisement advertisements ad ads subscribe subscription newsletter copyright reserved
    cookies cookie photo photos image images credit getty comments comment share related read
    reading follow click sign login facebook twitter instagram whatsapp pinterest more also
    updated published posted by author loading javascript browser menu search terms privacy
    policy tags category email print skip
"""
_WORD_KEY = np.zeros(256, np.uint64)
for _word in _BOILERPLATE.split():
    _at = (fnv(_word) * SPREAD % 2**64) >> 56
    while _WORD_KEY[_at]:
        _at = (_at + 1) % 256
    _WORD_KEY[_at] = fnv(_word)

_KINDS = np.zeros(N_TAGS, np.float32)
for _i, _names in enumerate(
    ("p", "h1", "h2", "h3", "h4 h5 h6", "li", "td th", "pre listing", "blockquote", "dt dd",
     "figcaption caption", "div", "article section main", "button label legend summary"), 1
):  # fmt: skip
    for _name in _names.split():
        _KINDS[TAG[_name]] = _i


def describe(markup: Markup, title: bytes, description: bytes) -> np.ndarray:
    """float32 (blocks, FEATURES). `title` and `description` are the page's own, in UTF-8."""
    return _describe(
        markup.text,
        markup.blocks,
        markup.elements,
        np.frombuffer(title, np.uint8),
        np.frombuffer(description, np.uint8),
    )


@kernel
def _describe(text, blocks, elements, title, description):
    x = np.zeros((len(blocks), N_FEATURES), np.float32)
    prose = np.zeros(len(blocks), np.float64)  # bytes of text in sentences, 0 of other blocks
    titles, n_titles = _vocabulary(title)
    descriptions, _ = _vocabulary(description)
    whole = np.zeros(len(blocks), np.uint64)
    for b in range(len(blocks)):
        block, row = blocks[b], x[b]
        start, end = block.start, block.end
        size = end - start
        whole[b] = _count(text, start, end, titles, descriptions, row)
        row[_BYTES] = size
        row[_OF_TITLE] = row[_IN_TITLE] / max(n_titles, 1)
        for k in (_UPPER, _DIGITS, _IN_TITLE, _IN_DESCRIPTION):
            row[k] /= max(row[_WORDS], 1)
        row[_BOILER_FRACTION] = row[_BOILER] / max(row[_WORDS], 1)
        row[_BYTES_PER_WORD] = size / max(row[_WORDS], 1)
        row[_LINK] = block.link_bytes / size
        row[_N_LINKS] = block.n_links
        row[_BOLD] = block.bold_bytes / size
        row[_ENDS] = _ends_sentence(text, start, end)
        row[_STARTS_UPPER] = 65 <= text[start] <= 90
        row[_COLON] = text[end - 1] == 58
        element = elements[block.element]
        row[_KIND_OF] = _KINDS[element.tag]
        row[_HEADING] = TAG_KIND[element.tag] & HEADING != 0
        row[_DEPTH] = element.depth
        if size >= 60 and row[_LINK] < 0.4 and (row[_SENTENCES] + row[_COMMAS] > 0 or size > 160):
            prose[b] = size - block.link_bytes
    _count_copies(whole, x)
    surroundings(blocks, elements, prose, x)
    return x


@uncounted
def _count(text, start, end, titles, descriptions, row):
    """Counts words and punctuation of a block; returns a hash of its words."""
    whole = _U(FNV_OFFSET)
    i = start
    while i < end:
        c = text[i]
        if _starts_word(text, i):
            row[_UPPER] += 65 <= c <= 90
            row[_DIGITS] += 48 <= c <= 57
            h, i = _word_at(text, i, end)
            row[_WORDS] += 1
            row[_IN_TITLE] += titles[_slot(titles, h)] == h
            row[_IN_DESCRIPTION] += descriptions[_slot(descriptions, h)] == h
            at = h * _U(SPREAD) >> _U(56)
            while _WORD_KEY[at] != 0 and _WORD_KEY[at] != h:
                at = (at + _U(1)) & _U(255)
            row[_BOILER] += _WORD_KEY[at] == h
            whole = (whole ^ h) * _U(FNV_PRIME)
            continue
        if c == 46 or c == 33 or c == 63:  # . ! ?
            row[_SENTENCES] += i + 1 == end or text[i + 1] <= 34
        elif c == 44:
            row[_COMMAS] += 1
        elif c == 10:
            row[_LINES] += 1
        elif c == 0xC2 and text[i + 1] == 0xA9:
            row[_COPYRIGHT] = 1
        elif c == 0xE3:  # ideographic full stop and comma
            row[_SENTENCES] += text[i + 2] == 0x82
            row[_COMMAS] += text[i + 2] == 0x81
        elif c == 0xEF and text[i + 1] == 0xBC:  # full-width ! ? ,
            row[_SENTENCES] += text[i + 2] == 0x81 or text[i + 2] == 0x9F
            row[_COMMAS] += text[i + 2] == 0x8C
        i += 1
    return whole


@uncounted
def _ends_sentence(text, start, end):
    """Whether the last character, or the one before a closing quote or bracket, ends a sentence."""
    k = end - 1
    if end - start > 4:
        if text[k] == 34 or text[k] == 39 or text[k] == 41:
            k -= 1
        elif text[k - 2] == 0xE2 and text[k - 1] == 0x80 and (text[k] == 0x9D or text[k] == 0x99):
            k -= 3
    last = text[k]
    if last == 46 or last == 33 or last == 63 or k < start + 2 or last < 0x80:
        return last == 46 or last == 33 or last == 63
    first, second = text[k - 2], text[k - 1]
    return (
        (first == 0xE3 and second == 0x80 and last == 0x82)
        or (first == 0xE2 and second == 0x80 and last == 0xA6)
        or (first == 0xEF and second == 0xBC and (last == 0x81 or last == 0x9F))
        or (first == 0xE0 and second == 0xA5 and last == 0xA4)
    )


@uncounted
def _starts_word(text, i):
    """Letters, digits and all beyond Latin-1, but for U+2000 to U+2FFF, U+3000 to U+303F and the
    full-width forms, most of which are punctuation."""
    c = text[i]
    if c == 0xE2 or c == 0xEF or (c == 0xE3 and text[i + 1] == 0x80):
        return False
    return 48 <= c <= 57 or 97 <= c | 32 <= 122 or c >= 0xC3


@uncounted
def _word_at(text, i, end):
    """(hash of the word at i, its end)."""
    h = _U(FNV_OFFSET)
    while i < end and (_starts_word(text, i) or 0x80 <= text[i] < 0xC0):
        c = text[i]
        h = (h ^ _U(c | 32 if c < 0x80 else c)) * _U(FNV_PRIME)
        i += 1
    return h, i


@uncounted
def _slot(keys, key):
    """Where the key is in an open-addressed set, or a free place for it."""
    mask = _U(len(keys) - 1)
    at = ((key * _U(SPREAD)) >> _U(20)) & mask
    while keys[at] != 0 and keys[at] != key:
        at = (at + _U(1)) & mask
    return at


@kernel
def _vocabulary(text):
    """(the set of the hashes of a text's words, how many)."""
    size = 64
    while size < 2 * len(text):
        size *= 2
    keys = np.zeros(size, np.uint64)
    n = i = 0
    while i < len(text):
        if _starts_word(text, i):
            h, i = _word_at(text, i, len(text))
            at = _slot(keys, h)
            n += keys[at] == 0
            keys[at] = h
        else:
            i += 1
    return keys, n


@kernel
def _count_copies(whole, x):
    """How many blocks of the page have a block's words."""
    size = 64
    while size < 4 * len(whole):
        size *= 2
    keys = np.zeros(size, np.uint64)
    times = np.zeros(size, np.int64)
    for h in whole:
        at = _slot(keys, h)
        keys[at] = h
        times[at] += 1
    for b in range(len(whole)):
        x[b, _COPIES] = times[_slot(keys, whole[b])]
