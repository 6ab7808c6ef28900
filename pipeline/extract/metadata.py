"""What a page says of itself: its date, language and licence, and whether it may be used.

A pass over the page's bytes finds the few tags that can say so (comments and scripts but JSON-LD
are skipped); only those are taken apart. Every step is bounded: a tag to _TAG_BYTES, a page to
_MOST_TAGS of each kind. Conventions: Creative Commons' rel=license; robots tags; the TDM
Reservation Protocol (W3C community group, 2024); noai and noimageai (DeviantArt, 2022); Open
Graph's article:published_time; schema.org's datePublished.
"""

import html
import re
from email.utils import parsedate

import numpy as np

from filters.compiled import kernel, uncounted
from pipeline.extract.html_syntax import after_comment

_TAG_BYTES = 4096
_MOST_TAGS = 200  # of one kind
_SCRIPT_BYTES = 1 << 16  # of JSON-LD, searched for a date
_CHARS = 200  # of a value

_META, _LINK, _A, _TIME, _HTML, _JSON = range(6)

# name= of a <meta> -> key of meta, and its rank: the lowest that is there counts
_NAMES = {
    "article:published_time": ("date", 0),
    "og:article:published_time": ("date", 0),
    "datepublished": ("date", 0),
    "citation_publication_date": ("date", 2),
    "citation_date": ("date", 2),
    "publication_date": ("date", 2),
    "publish-date": ("date", 2),
    "publish_date": ("date", 2),
    "publishdate": ("date", 2),
    "pubdate": ("date", 2),
    "parsely-pub-date": ("date", 2),
    "sailthru.date": ("date", 2),
    "dcterms.issued": ("date", 3),
    "dcterms.created": ("date", 3),
    "dcterms.date": ("date", 3),
    "dc.date.issued": ("date", 3),
    "dc.date.created": ("date", 3),
    "dc.date": ("date", 3),
    "date": ("date", 4),
    "content-language": ("html_lang", 1),
    "og:locale": ("html_lang", 2),
    "robots": ("robots", 0),
    "tdm-reservation": ("tdm_reservation", 0),
    "tdm-policy": ("tdm_policy", 0),
    "license": ("license", 0),
    "dcterms.license": ("license", 0),
    "dc.rights": ("license", 0),
    "dcterms.rights": ("license", 0),
}
_NAMED = re.compile(
    rb"""(?:name|property|itemprop|http-equiv)\s{0,9}=\s{0,9}["']?\s{0,9}(?:%s)(?:["'\s/>]|\Z)"""
    % b"|".join(re.escape(name).encode() for name in _NAMES),
    re.I,
)
_NAMES_BYTES = frozenset(name.encode() for name in _NAMES)
_FIRST = re.compile(
    rb"""\s{0,9}(?:name|property|itemprop|http-equiv)=["']([^"'>]{0,60})["']""", re.I
)
_ATTRIBUTE = re.compile(
    r"""([^\s=/>"']{1,60})(?:\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)'|([^\s>"']+)))?"""
)
_PUBLISHED = re.compile(rb'"datePublished"\s{0,9}:\s{0,9}"([^"\\]{4,60})"')
_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses|publicdomain)/(zero|mark|[a-z]{2}(?:-[a-z]{2}){0,2})"
    r"(?:/(\d\.\d)(?:/([a-z]{2}|igo|scotland)(?![a-z]))?)?",
    re.I,
)
_ISO = re.compile(r"(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?\S{0,10})?|\Z)")


def page_metadata(page: bytes) -> tuple[dict[str, str], str | None]:
    """(date, html_lang, robots, tdm_reservation, tdm_policy, license_url, license_link; the
    licence) of a page in UTF-8.

    The licence is an SPDX id, of a Creative Commons licence that the page declares for itself
    (rel=license, or a meta tag); license_link is that of a mere link to one.
    """
    best: dict[str, tuple[int, str]] = {}
    licenses: list[str] = []

    def say(key: str, rank: int, value: str | None) -> None:
        value = _clean(value or "")
        if value and (key not in best or rank < best[key][0]):
            best[key] = (rank, value)

    for kind, start, end in find_tags(page):
        tag = page[start:end]
        if kind == _JSON:
            if match := _PUBLISHED.search(tag):
                say("date", 1, _date(match[1].decode("utf-8", "replace")))
            continue
        if kind == _META and not _is_wanted(tag):
            continue
        attributes = _attributes(tag)
        if kind == _META:
            name = next((attributes[k] for k in _NAME_KEYS if k in attributes), "").strip().lower()
            value = attributes.get("content", "")
            key, rank = _NAMES.get(name, ("", 0))
            if key == "license":
                licenses += [value] if spdx_of(value) else []
            elif key:
                say(key, rank, _date(value) if key == "date" else value)
        elif kind == _HTML:
            say("html_lang", 0, attributes.get("lang") or attributes.get("xml:lang"))
        elif kind == _TIME:
            published = "pubdate" in attributes or attributes.get("itemprop") == "datePublished"
            say("date", 5 if published else 6, _date(attributes.get("datetime", "")))
        elif "license" in attributes.get("rel", "").lower().split():
            licenses.append(attributes.get("href", ""))
        else:
            say("license_link", 0, spdx_of(attributes.get("href", "")))
    meta = {key: value for key, (_, value) in best.items()}
    if licenses:
        meta["license_url"] = _clean(licenses[0])
        meta.pop("license_link", None)
    known = {spdx_of(url) for url in licenses}
    return meta, known.pop() if len(known) == 1 else None  # of several, which is the page's?


def _is_wanted(tag: bytes) -> bool:
    """Whether a <meta> has one of the _NAMES. Of 27 on a page, 2 have, and most begin with it."""
    if first := _FIRST.match(tag):
        return first[1].strip().lower() in _NAMES_BYTES
    return _NAMED.search(tag) is not None


_NAME_KEYS = ("name", "property", "itemprop", "http-equiv")


def spdx_of(url: str) -> str | None:
    """SPDX id of a Creative Commons licence's URL: CC-BY-SA-4.0, CC-BY-3.0-DE, CC0-1.0."""
    match = _CREATIVE_COMMONS.search(url)
    if match is None:
        return None
    name = {"zero": "CC0", "mark": "CC-PDM"}.get(match[1].lower(), f"CC-{match[1].upper()}")
    return "-".join(p for p in (name, match[2], match[3] and match[3].upper()) if p)


def opt_outs(*directives: str) -> str:
    """`noai` and `noimageai` among robots directives, of a page or of its server."""
    words = set(re.split(r"[,;:\s]+", " ".join(directives).lower()))
    return ",".join(word for word in ("noai", "noimageai") if word in words)


def _clean(value: str) -> str:
    return " ".join(html.unescape(value[: 4 * _CHARS]).replace("\0", "").split())[:_CHARS]


def _date(value: str) -> str:
    """ISO 8601 of a date in that form, 20240501, 2024/05/01 or RFC 5322; "" of others."""
    value = value.strip()[:_CHARS]
    if match := _ISO.match(value):
        year, month, day, time = match.groups()
        sound = int(year) >= 1900 and 1 <= int(month) <= 12 and 1 <= int(day) <= 31
        return f"{year}-{month}-{day}" + (f"T{time}" if time else "") if sound else ""
    try:
        parsed = parsedate(value)
    except (ValueError, TypeError, IndexError):
        return ""
    if not parsed or not (1900 <= parsed[0] <= 9999 and 1 <= parsed[1] <= 12):
        return ""
    return f"{parsed[0]:04d}-{parsed[1]:02d}-{parsed[2]:02d}"


def _attributes(tag: bytes) -> dict[str, str]:
    """Attributes by their names in lower case; the first of a name counts."""
    found: dict[str, str] = {}
    for name, *values in _ATTRIBUTE.findall(tag.decode("utf-8", "replace")):
        found.setdefault(name.lower(), "".join(values))
    return found


# --- the tags -----------------------------------------------------------------------------------


def find_tags(page: bytes) -> list[tuple[int, int, int]]:
    """(kind, start, end) of the insides of the tags that may say something, in order; of JSON-LD,
    the script's."""
    data = np.frombuffer(page, np.uint8)
    return _find_tags(data, np.flatnonzero(data == 60)).tolist()  # by far the fastest way to a <


def _word(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(name.encode(), "big"))


_NAME_META, _NAME_LINK, _NAME_TIME = _word("meta"), _word("link"), _word("time")
_NAME_A, _NAME_HTML, _NAME_SCRIPT = _word("a"), _word("html"), _word("script")
_ICENS, _MMONS = _word("icens"), _word("mmons.")
_NAME_STYLE, _NAME_TEXTAREA = _word("style"), _word("textarea")


@kernel
def _find_tags(data: np.ndarray, opens: np.ndarray) -> np.ndarray:
    n = len(data)
    found = np.empty((6 * _MOST_TAGS, 3), np.int64)
    counts = np.zeros(6, np.int64)
    n_found = 0
    i = 0
    while i < len(opens):
        at = opens[i] + 1
        i += 1
        if at + 3 >= n:
            break
        if data[at] == 33:  # <!
            if data[at + 1] == 45 and data[at + 2] == 45:
                end = after_comment(data, at - 1)
                while i < len(opens) and opens[i] < end:
                    i += 1
            continue
        name = np.uint64(0)
        length = 0
        while at < n and length < 9 and 97 <= (data[at] | 32) <= 122:
            name = (name << np.uint64(8)) | np.uint64(data[at] | 32)
            length += 1
            at += 1
        if name in (_NAME_SCRIPT, _NAME_STYLE, _NAME_TEXTAREA):
            end = _tag_end(data, at)
            json = name == _NAME_SCRIPT and _has_json(data, at, end)
            while i < len(opens) and not _closes(data, opens[i], name, length):
                i += 1
            stop = opens[i] if i < len(opens) else n
            if json and counts[_JSON] < _MOST_TAGS:
                counts[_JSON] += 1
                found[n_found] = (_JSON, end, min(stop, end + _SCRIPT_BYTES))
                n_found += 1
            continue
        kind = -1
        if name == _NAME_META:
            kind = _META
        elif name == _NAME_A:
            kind = _A
        elif name == _NAME_LINK:
            kind = _LINK
        elif name == _NAME_TIME:
            kind = _TIME
        elif name == _NAME_HTML:
            kind = _HTML
        if kind < 0 or counts[kind] >= _MOST_TAGS:
            continue
        end = _tag_end(data, at)
        if kind in (_A, _LINK) and not _has_license(data, at, end):
            continue
        counts[kind] += 1
        found[n_found] = (kind, at, end)
        n_found += 1
        while i < len(opens) and opens[i] < end:
            i += 1
    return found[:n_found]


@uncounted
def _tag_end(data: np.ndarray, at: int) -> int:
    """The > of a tag, outside of quotes, or _TAG_BYTES on."""
    end = min(len(data), at + _TAG_BYTES)
    quote = 0
    while at < end:
        c = data[at]
        if quote:
            if c == quote:
                quote = 0
        elif c == 62:
            return at
        elif (c == 34 or c == 39) and data[at - 1] in (61, 32, 9, 10, 13):
            quote = c
        at += 1
    return end


@uncounted
def _closes(data: np.ndarray, at: int, name: np.uint64, length: int) -> bool:
    """Whether `</name` stands there."""
    if at + 1 + length >= len(data) or data[at + 1] != 47:
        return False
    found = np.uint64(0)
    for k in range(at + 2, at + 2 + length):
        if k < len(data):
            found = (found << np.uint64(8)) | np.uint64(data[k] | 32)
    return bool(found == name)


@uncounted
def _has_json(data: np.ndarray, at: int, end: int) -> bool:
    """`ld+json` in a tag."""
    for k in range(at, end - 6):
        if data[k] | 32 == 108 and data[k + 1] | 32 == 100 and data[k + 2] == 43:
            return True
    return False


@uncounted
def _has_license(data: np.ndarray, at: int, end: int) -> bool:
    """`icens` or `mmons.` in a tag."""
    for k in range(at, end - 5):
        c = data[k] | 32
        if c != 105 and c != 109:
            continue
        word = np.uint64(0)
        for i in range(6):
            word = (word << np.uint64(8)) | np.uint64(data[k + i] | 32)
        if word == _MMONS or word >> np.uint64(8) == _ICENS:
            return True
    return False
