"""How deeply a page is nested, from its tags alone: what resiliparse and trafilatura cannot stand.

resiliparse's tree walk is quadratic in the depth (100,000 nested <div>, half a megabyte, take
288 s), and 1,000 unclosed <b id=...> before 20,000 <p> take 50 s; trafilatura parses with libxml2
and walks in Python. So for them `nesting` measures a page first, at 1.4 GB/s, and such pages are
refused. The project's own engine has no need of it.
"""

import numpy as np

from filters.compiled import kernel, uncounted

MAX_DEPTH = 1000  # browsers stop at 512; 1,000 nested <div> take 11 ms
MAX_DEPTH_WORK = 100_000_000  # sum of the depth over all tags: about 3 s
MAX_FORMATTING_WORK = (
    500_000  # sum of the open formatting elements over all other tags: about 1.3 s
)


def _codes(names: str) -> np.ndarray:
    """Tag names as integers, one byte a place, as `nesting` reads them."""
    return np.array(sorted(int.from_bytes(n.encode()[:8], "big") for n in names.split()), np.uint64)


# Elements without content, and those that the next of their kind closes by itself.
_FLAT = _codes(
    "area base br col embed hr img input link meta param source track wbr frame keygen basefont "
    "bgsound p li td th tr dt dd tbody thead tfoot colgroup rp rt html head body"
)
_FORMATTING = _codes("b big code em font i s small strike strong tt u")
_RAW = _codes("script style textarea title xmp iframe noembed noframes")


@kernel
def nesting(html: np.ndarray) -> tuple[int, int, int]:
    """(deepest nesting, sum of the depth over tags, sum of the open formatting elements over other
    tags) of UTF-8 HTML.

    An upper estimate from the tags alone, in one pass; it stops soon after a limit is passed.
    """
    n = len(html)
    stack = np.zeros(MAX_DEPTH + 2, np.uint64)
    open_formatting = np.zeros(len(_FORMATTING), np.int64)
    depth = 0
    formatting = 0
    deepest = 0
    depth_work = 0
    formatting_work = 0
    i = 0
    while i < n - 1:
        if html[i] != 60:  # <
            i += 1
            continue
        if html[i + 1] == 33 and i + 3 < n and html[i + 2] == 45 and html[i + 3] == 45:  # <!--
            i += 4
            while i < n and not (html[i] == 62 and html[i - 1] == 45 and html[i - 2] == 45):
                i += 1
            continue
        closing = html[i + 1] == 47
        i += 2 if closing else 1
        code = np.uint64(0)
        length = 0
        while i < n:
            c = html[i] | 32
            if not (97 <= c <= 122 or (length > 0 and (48 <= html[i] <= 57 or html[i] == 45))):
                break
            if length < 8:
                code = (code << np.uint64(8)) | np.uint64(c)
            length += 1
            i += 1
        if length == 0 or _is_in(_FLAT, code):
            depth_work += depth
            formatting_work += formatting
            continue
        place = np.searchsorted(_FORMATTING, code)
        if place < len(_FORMATTING) and _FORMATTING[place] == code:
            if not closing:
                open_formatting[place] += 1
                formatting += 1
            elif open_formatting[place] > 0:
                open_formatting[place] -= 1
                formatting -= 1
        elif closing:
            at = depth - 1
            while at >= 0 and stack[at] != code:
                at -= 1
            if at >= 0:
                depth = at
        elif _is_in(_RAW, code):
            i = _end_of_raw(html, i, code)
        else:
            stack[depth] = code
            depth += 1
            depth_work += depth
            formatting_work += formatting
        deepest = max(deepest, depth + formatting)
        if (
            deepest > MAX_DEPTH
            or depth_work > MAX_DEPTH_WORK
            or formatting_work > MAX_FORMATTING_WORK
        ):
            break
    return deepest, depth_work, formatting_work


@uncounted
def _is_in(codes: np.ndarray, code: np.uint64) -> bool:
    place = np.searchsorted(codes, code)
    return bool(place < len(codes) and codes[place] == code)


@uncounted
def _end_of_raw(html: np.ndarray, start: int, code: np.uint64) -> int:
    """Where the text of <script> and its like ends: at its own end tag."""
    n = len(html)
    for i in range(start, n - 1):
        if html[i] == 60 and html[i + 1] == 47:
            name = np.uint64(0)
            at = i + 2
            while at < n and at < i + 10 and 97 <= (html[at] | 32) <= 122:
                name = (name << np.uint64(8)) | np.uint64(html[at] | 32)
                at += 1
            if name == code:
                return i
    return n
