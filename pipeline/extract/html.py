"""Bytes of a web page -> its characters -> its main text.

Encodings go by the WHATWG standard (BOM, HTTP header, <meta>, then detection; latin1 means
windows-1252), with one departure: bytes that are valid UTF-8 with at least one multi-byte
character are UTF-8 where the label names a single-byte charset. Such bytes are next to never
anything else, and the label of a web server often lies.

The text is resiliparse's main content (Bevendorff et al. 2018, ECIR): .916 F1 on the 181 labelled
pages of article-extraction-benchmark at 560 pages/s, where trafilatura has .960 at 72. Its tree
walk is quadratic in the depth of nesting (100,000 nested <div>, half a megabyte, take 288 s), and
1,000 unclosed <b id=...> before 20,000 <p> take 50 s, so `nesting` measures
a page first, at 1.4 GB/s, and such pages are refused.
"""

import codecs
import re
from typing import NamedTuple

import numba as nb
import numpy as np
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLParserException, HTMLTree

MAX_DEPTH = 1000  # browsers stop at 512; 1,000 nested <div> take 11 ms
MAX_DEPTH_WORK = 100_000_000  # sum of the depth over all tags: about 3 s
MAX_FORMATTING_WORK = (
    500_000  # sum of the open formatting elements over all other tags: about 1.3 s
)


class Decoded(NamedTuple):
    text: str
    charset: str
    note: tuple[str, str] | None  # (kind, message) of what had to be put right


class ExtractError(ValueError):
    """A page that cannot be parsed in bounded time. `kind` names the fault."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


# --- characters ---------------------------------------------------------------------------------

_META = re.compile(
    rb"""<meta[^>]{0,1000}?charset\s{0,9}=\s{0,9}["']?\s{0,9}([^\s"'/>;]{1,60})""", re.I
)
_XML = re.compile(rb"""\A\s{0,99}<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([^"']{1,60})["']""")
_META_BYTES = 4096  # the standard asks for 1,024; browsers read on, and many heads are longer
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Where Python's codec of that name is narrower than what the standard means by the label.
_WIDER = {
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
}
_MULTI_BYTE = {
    "utf-8",
    "utf-16-le",
    "utf-16-be",
    "gb18030",
    "cp932",
    "cp949",
    "big5hkscs",
    "euc_jp",
    "iso2022_jp",
}


def decode_html(body: bytes, http_charset: str | None) -> Decoded:
    """The page's characters. Never fails: what no charset explains becomes U+FFFD, with a note."""
    for bom, charset in _BOMS:
        if body.startswith(bom):
            return _decode(body[len(bom) :], [charset], None)
    note = None
    labels = []
    declared = _XML.search(body[:_META_BYTES]) or _META.search(body[:_META_BYTES])
    in_page = declared[1].decode("latin-1") if declared else None
    for label, place in ((http_charset, "HTTP header"), (in_page, "page")):
        if not label:
            continue
        known = _charset(label)
        if known is None:
            note = note or (
                "unknown_charset",
                f"the {place} says {label[:60]!r}, which is no charset",
            )
        elif label is in_page and known.startswith("utf-16"):
            labels.append("utf-8")  # the standard: a page whose <meta> can be read is not UTF-16
        else:
            labels.append(known)
    return _decode(body, labels, note)


def _charset(label: str) -> str | None:
    """A Python codec for a WHATWG label, or None."""
    charset = map_encoding_to_html5(label.strip(" \t\r\n\f\"'"), fallback_utf8=False)
    if charset is None and label.lower() == "x-user-defined":
        charset = "cp1252"
    return _WIDER.get(charset, charset) if charset else None


def _decode(body: bytes, labels: list[str], note: tuple[str, str] | None) -> Decoded:
    first = labels[0] if labels else None
    if first not in _MULTI_BYTE:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            if first is None or not body.isascii():
                if first is not None and note is None:
                    note = ("wrong_charset", f"labelled {first}, but it is valid utf-8")
                return Decoded(text, "utf-8", note)
    for label in labels:
        try:
            text = body.decode(label)
        except UnicodeDecodeError:
            continue
        if label != first and note is None:
            note = ("wrong_charset", f"labelled {first}, which does not decode it; {label} does")
        return Decoded(text, label, note)
    guess = detect_encoding(body) or "utf-8"
    guess = _WIDER.get(guess, guess)
    try:
        text = body.decode(guess)
    except UnicodeDecodeError:
        charset = first or guess
        text = body.decode(charset, errors="replace")
        bad = f"{text.count(chr(0xFFFD))} characters do not decode as {charset}"
        return Decoded(
            text, charset, (note[0], f"{note[1]}; {bad}") if note else ("bad_bytes", bad)
        )
    if first is not None and note is None:
        note = (
            "wrong_charset",
            f"labelled {first}, which does not decode it; {guess} was detected and does",
        )
    return Decoded(text, guess, note)


# --- text ---------------------------------------------------------------------------------------


def html_to_text(
    html: str, *, main_content: bool = True, skip: list[str] | None = None
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
