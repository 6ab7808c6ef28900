"""Bytes of a web page -> its characters, by the WHATWG standard: BOM, HTTP header, <meta>, then
detection; latin1 means windows-1252. One departure: bytes that are valid UTF-8 with at least one
multi-byte character are UTF-8 where the label names a single-byte charset. Such bytes are next to
never anything else, and the label of a web server often lies.
"""

import codecs
import re
from typing import NamedTuple

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5


class Decoded(NamedTuple):
    text: str
    charset: str
    note: tuple[str, str] | None  # (kind, message) of what had to be put right


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
