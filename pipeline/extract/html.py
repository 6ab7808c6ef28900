"""A web page -> its main text.

The text is resiliparse's main content (Bevendorff et al. 2018, ECIR): .916 F1 on the 181 labelled
pages of article-extraction-benchmark at 560 pages/s, where trafilatura has .960 at 72. Its tree
walk is quadratic in the depth of nesting (100,000 nested <div>, half a megabyte, take 288 s), and
1,000 unclosed <b id=...> before 20,000 <p> take 50 s, so `nesting` measures
a page first, at 1.4 GB/s, and such pages are refused.
"""

from dataclasses import dataclass
from typing import Literal

import numba as nb
import numpy as np
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLParserException, HTMLTree

MAX_DEPTH = 1000  # browsers stop at 512; 1,000 nested <div> take 11 ms
MAX_DEPTH_WORK = 100_000_000  # sum of the depth over all tags: about 3 s
MAX_FORMATTING_WORK = (
    500_000  # sum of the open formatting elements over all other tags: about 1.3 s
)


@dataclass(frozen=True, kw_only=True)
class Extract:
    """How the main text of a page is found."""

    engine: Literal["resiliparse"] = "resiliparse"


class ExtractError(ValueError):
    """A page that cannot be parsed in bounded time. `kind` names the fault."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def html_to_text(
    html: str,
    config: Extract = Extract(),
    *,
    main_content: bool = True,
    skip: list[str] | None = None,
) -> tuple[str, str]:
    """(text, title): blocks on lines of their own, list bullets, no links, no alternative texts.

    `skip`: CSS selectors of elements to leave out. Raises ExtractError for a page nested too
    deeply.
    """
    html = html.replace("\0", "")
    try:
        data = html.encode()
    except UnicodeEncodeError:  # lone surrogates
        data = html.encode(errors="replace")
        html = data.decode()
    depth, depth_work, formatting_work = nesting(np.frombuffer(data, np.uint8))
    if depth > MAX_DEPTH or depth_work > MAX_DEPTH_WORK or formatting_work > MAX_FORMATTING_WORK:
        raise ExtractError(
            "too_deep",
            f"{depth} elements are nested (at most {MAX_DEPTH}), {formatting_work} times an open "
            f"formatting element would be repeated (at most {MAX_FORMATTING_WORK})",
        )
    try:
        tree = HTMLTree.parse(html)
        text = extract_plain_text(
            tree,
            preserve_formatting=True,
            main_content=main_content,
            list_bullets=True,
            alt_texts=False,
            links=False,
            skip_elements=skip or [],
        )
    except HTMLParserException as error:
        raise ExtractError("bad_html", str(error)) from error
    return text.replace("\0", "").strip(), " ".join((tree.title or "").replace("\0", "").split())


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


@nb.njit(cache=True, nogil=True)
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


@nb.njit(cache=True, nogil=True)
def _is_in(codes: np.ndarray, code: np.uint64) -> bool:
    place = np.searchsorted(codes, code)
    return bool(place < len(codes) and codes[place] == code)


@nb.njit(cache=True, nogil=True)
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
