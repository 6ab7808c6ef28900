"""The pieces of HTML's syntax: names, attributes, comments, raw text (WHATWG HTML, section 13.2.5).

Each function takes the bytes and a place and returns the place after; none looks at a byte more
than a fixed number of times.
"""

import numpy as np

from filters.compiled import inlined, uncounted
from pipeline.extract.html_names import (
    BIT,
    FNV_OFFSET,
    FNV_PRIME,
    LONGEST_WORD,
    SPREAD,
    TAG_CODE,
    TAG_ID,
    UNKNOWN,
    WORD_KEY,
    WORD_MASK,
    code,
)  # fmt: skip

_U = np.uint64
_AT_ARIA, _AT_CLASS, _AT_CONTENT = code("aria-hidden"), code("class"), code("content")
_AT_HIDDEN, _AT_HREF, _AT_ID, _AT_ITEMPROP = map(code, ("hidden", "href", "id", "itemprop"))
_AT_NAME, _AT_PROPERTY, _AT_ROLE, _AT_STYLE = map(code, ("name", "property", "role", "style"))
_CONCEALED = BIT["concealed"]
_DESCRIPTION_CODE, _OG_CODE = code("description"), code("og:description")
_DISPLAY_CODE = code("display:")
_NONE_CODE, _TRUE_CODE = code("none"), code("true")


@inlined
def is_letter(c):
    return 97 <= c | 32 <= 122


@uncounted
def after_comment(html, i):
    """Past a comment, a doctype, a processing instruction, an end tag without a name."""
    n = len(html)
    if i + 3 < n and html[i + 1] == 33 and html[i + 2] == 45 and html[i + 3] == 45:
        first = i + 4
        i = first
        while i < n:
            if html[i] == 62:
                if i == first or (html[i - 1] == 45 and (i == first + 1 or html[i - 2] == 45)):
                    return i + 1
                if i >= first + 3 and html[i - 1] == 33 and html[i - 2] == 45 and html[i - 3] == 45:
                    return i + 1
            i += 1
        return n
    while i < n and html[i] != 62:
        i += 1
    return i + 1


@uncounted
def read_name(html, i):
    """(code of the first eight letters in lower case, whether it has a hyphen, its end)."""
    n = len(html)
    value = _U(0)
    length = 0
    hyphen = False
    while i < n:
        c = html[i]
        if c <= 32 or c == 62 or c == 47 or c == 61:
            break
        if 65 <= c <= 90:
            c |= 32
        if length < 8:
            value = (value << _U(8)) | _U(c)
        hyphen |= c == 45
        length += 1
        i += 1
    return value, hyphen, i


@uncounted
def tag_of(name):
    h = name * _U(SPREAD)
    at = h >> _U(54)
    while TAG_CODE[at] != 0 and TAG_CODE[at] != name:
        at = (at + _U(1)) & _U(len(TAG_CODE) - 1)
    if TAG_CODE[at] == name:
        return np.int64(TAG_ID[at])
    return np.int64(_U(UNKNOWN) | (h >> _U(56)))


@uncounted
def read_attributes(html, i):
    """(where the text goes on, beyond the end if the tag has none; purposes; has href; is hidden;
    is named a description; start and end of `content`)."""
    n = len(html)
    mask = _U(0)
    href = hidden = False
    is_description = False
    first = last = 0
    while i < n:
        c = html[i]
        if c == 62:
            return i + 1, mask, href, hidden, is_description, first, last
        if c <= 32 or c == 47 or c == 61:
            i += 1
            continue
        name, _, i = read_name(html, i)
        while i < n and html[i] <= 32:
            i += 1
        start = end = i
        if i < n and html[i] == 61:
            i += 1
            while i < n and html[i] <= 32:
                i += 1
            if i < n and (html[i] == 34 or html[i] == 39):
                quote = html[i]
                i += 1
                start = i
                while i < n and html[i] != quote:
                    i += 1
                end = i
                i += 1
            else:
                start = i
                while i < n and html[i] > 32 and html[i] != 62:
                    i += 1
                end = i
            if i >= n:
                break
        if name in (_AT_CLASS, _AT_ID, _AT_ROLE, _AT_ITEMPROP):
            mask |= _purposes(html, start, end)
        elif name == _AT_HREF:
            href = True
        elif name == _AT_HIDDEN:
            hidden = True
        elif name == _AT_STYLE:
            hidden |= _is_display_none(html, start, end)
        elif name == _AT_ARIA:
            if read_name(html, start)[0] == _TRUE_CODE:
                mask |= _U(_CONCEALED)
        elif name == _AT_CONTENT:
            first, last = start, end
        elif name in (_AT_NAME, _AT_PROPERTY):
            value = read_name(html, start)[0]
            if value in (_DESCRIPTION_CODE, _OG_CODE):
                is_description = True
    return n + 1, mask, href, hidden, is_description, first, last


@uncounted
def _purposes(html, i, end):
    """The purposes that the words of a class, id, role or itemprop name. Words begin after what is
    no letter and at capitals, and run on over hyphens: article-body and articleBody have the words
    article, articlebody and body."""
    mask = _U(0)
    before = np.uint8(0)
    while i < end:
        c = html[i]
        if is_letter(c) and (not is_letter(before) or (c <= 90 and before >= 97)):
            h = _U(FNV_OFFSET)
            length = 0
            j = i
            while j < end and length < LONGEST_WORD:
                c = html[j]
                j += 1
                if c == 45 or c == 95:
                    continue
                if not is_letter(c):
                    break
                h = (h ^ _U(c | 32)) * _U(FNV_PRIME)
                length += 1
                if length < 2:
                    continue
                at = (h * _U(SPREAD)) >> _U(54)
                while WORD_KEY[at] != 0 and WORD_KEY[at] != h:
                    at = (at + _U(1)) & _U(len(WORD_KEY) - 1)
                if WORD_KEY[at] == h:
                    mask |= WORD_MASK[at, 0]
                    if j >= end or not is_letter(html[j]) or (html[j] <= 90 and c >= 97):
                        mask |= WORD_MASK[at, 1]
        before = html[i]
        i += 1
    return mask


@uncounted
def _is_display_none(html, i, end):
    """Whether a style has display:none."""
    window = _U(0)
    for j in range(i, end):
        c = html[j]
        if c > 32:
            window = (window << _U(8)) | _U(c | 32 if is_letter(c) else c)
            if window == _DISPLAY_CODE:
                seen = _U(0)
                k = j + 1
                while k < end and seen >> _U(24) == 0:
                    if html[k] > 32:
                        seen = (seen << _U(8)) | _U(html[k] | 32)
                    k += 1
                if seen == _NONE_CODE:
                    return True
                # "displ" may begin again later; whatever was read is read once more at most
    return False


@uncounted
def end_of_raw(html, i, name):
    """Past the end tag of <script> and its like, or where its text ends."""
    n = len(html)
    while i < n - 1:
        if html[i] == 60 and html[i + 1] == 47:
            found, _, j = read_name(html, i + 2)
            if found == name:
                return i
            i = j
        else:
            i += 1
    return n
