"""Bytes of a web page -> its characters, by the WHATWG Encoding standard and HTML's rules: BOM,
HTTP header, <meta> in the first 1,024 bytes (comments skipped), then detection; latin1 means
windows-1252.

Departures, for labels lie, and nobody reads an archive's page and tries another one. Bytes that are
valid UTF-8 with multi-byte characters are UTF-8 whatever the label. Other pages are read as the
detector says where it contradicts the label on MANY characters, or on few that make no words or are
in no alphabet under the label. Each repair is a note. Of 242 texts of 200 characters in 34 pairs of
language and encoding, chardet 7 finds 242, uchardet (in resiliparse) 235, charset-normalizer 210;
it takes .4 ms a page, and only pages that are neither ASCII nor UTF-8 need it.
"""

import codecs
import re
from typing import NamedTuple

import chardet
from resiliparse.parse.encoding import map_encoding_to_html5

from pipeline.extract.spelling import alphabet_shares, word_share


class Decoded(NamedTuple):
    text: str
    charset: str
    note: tuple[str, str] | None  # (kind, message) of what had to be put right


_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Where Python's codec of that name is narrower than what the standard means by the label.
_WIDER = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    # the detector's names
    "euc_kr": "cp949",
    "euc_jis_2004": "euc_jp",
    "shift_jis_2004": "cp932",
    "iso2022_jp_2": "iso2022_jp",
    "utf-16": "utf-16-le",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
}
_MORE_LABELS = {  # what the library's map leaves out
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-ukrainian": "mac-cyrillic",
    "x-user-defined": "cp1252",  # as the standard says for a <meta>
    # the standard replaces such a page by one U+FFFD, for the safety of forms
    "hz-gb-2312": "hz",
    "iso-2022-kr": "iso2022_kr",
    "csiso2022kr": "iso2022_kr",
    **{f"{maker}{n}": f"cp{n}" for n in (437, 850, 852, 857) for maker in ("cp", "ibm", "dos-")},
}
_DETECTED = [  # not iso8859-15: windows-1252 but for the euro sign
    *(
        "utf-8",
        "utf-16-le",
        "utf-16-be",
        "gb18030",
        "big5hkscs",
        "cp932",
        "cp949",
        "cp866",
        "cp874",
    ),
    *("euc_jis_2004", "iso2022_jp_2", "iso2022_kr", "hz", "koi8-r", "koi8-u", "mac-roman"),
    "mac-cyrillic",
    *(f"cp{n}" for n in range(1250, 1259)),
    *(f"iso8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 16)),
]
_DOS = ["cp437", "cp850", "cp852", "cp857"]  # of plain texts: browsers know none but cp866
_DOS_LETTERS = re.compile(rb"[a-z][\x81\x82\x84](?![\xa0-\xff])")  # ü é ä: no letters elsewhere
_ESCAPED = frozenset(
    {"iso2022_jp", "iso2022_kr", "hz", "utf-16-le", "utf-16-be"}
)  # ASCII bytes too
_DOUBLE = frozenset({"gb18030", "cp932", "cp949", "big5hkscs", "euc_jp"})
MANY = 40  # bytes beyond ASCII from which the detector is believed against a label
_KINDS = 5  # different ones: forty times the same name says nothing more
_SAMPLE_BYTES = 4096
_SURE_UTF8 = 8  # characters: fewer may be valid by chance in a double-byte charset
_BAD = 0.02  # share of the characters beyond ASCII that may be damaged in a charset that is right
_DIFFERENT = 0.02  # share of the characters beyond ASCII in which two readings have to differ
# Shares of the letters beyond ASCII that are in one alphabet. Of 2,112 pieces (one to six lines) of
# the Declaration of Human Rights in all its Latin languages and charsets with a right label, 19 are
# noted and 29 misread, where numbers of characters alone note 183 and misread 42; of 2,633 with a
# wrong one, 1,040 come out right (517) and 889 are silently wrong (1,095), nearly all in languages
# without an alphabet there.
_ONE_ALPHABET, _NO_ALPHABET = 0.99, 0.8
_SURE = 0.9  # from which the label is not doubted by their number
_DOUBT = 5  # such characters from which a detector that disagrees is worth a note
_FEW_ACCENTS = 0.01  # of a page's text, beyond ASCII; Czech has 14%, French 4%, English .1%


def decode_html(body: bytes, http_charset: str | None, *, in_page: bool = True) -> Decoded:
    """The page's characters. Never fails: what no charset explains becomes U+FFFD, with a note.
    in_page=False: a plain text, which says nothing of its charset."""
    for bom, charset in _BOMS:
        if body.startswith(bom):
            return _best(body[len(bom) :], [charset], None, None)
    labels, note = _labels(http_charset, declared_charset(body) if in_page else None)
    candidates = _DETECTED if in_page else _DETECTED + _DOS
    first = labels[0] if labels else None
    if first in _ESCAPED:
        return _best(body, labels, None, note)
    if b"\x1b" in body or b"\0" in body[:512]:
        guess = _detect(body, candidates)
        if guess in _ESCAPED:
            return _best(body, [guess, *labels] if first is None else labels, guess, note)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        if body.isascii():
            return Decoded(text, first or "utf-8", note)
        if first not in _DOUBLE or _n_beyond_ascii(text) >= _SURE_UTF8:
            if first not in (None, "utf-8") and note is None:
                note = ("wrong_charset", f"labelled {first}, but it is valid utf-8")
            return Decoded(text, "utf-8", note)
    return _best(body, labels, _detect(body, candidates), note)


def _labels(
    http_charset: str | None, in_page: str | None
) -> tuple[list[str], tuple[str, str] | None]:
    """Python codecs of the labels in the order of their word's weight, and a note of a bad one."""
    note = None
    labels = []
    for label, place in ((http_charset, "HTTP header"), (in_page, "page")):
        if not label:
            continue
        known = charset_of_label(label)
        if known is None:
            message = f"the {place} says {label[:60]!r}, which is no charset"
            note = note or ("unknown_charset", message)
        elif place == "page" and known.startswith("utf-16"):
            labels.append("utf-8")  # the standard: a page whose <meta> can be read is not UTF-16
        else:
            labels.append(known)
    return labels, note


def charset_of_label(label: str) -> str | None:
    """A Python codec for a WHATWG label, or None."""
    label = label.strip(" \t\r\n\f\"'").lower()
    charset = _MORE_LABELS.get(label) or map_encoding_to_html5(label, fallback_utf8=False)
    return _WIDER.get(charset, charset) if charset else None


# --- the page's own word ------------------------------------------------------------------------

_XML = re.compile(rb"""\s{0,99}<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([^"']{1,60})["']""")
_PRESCAN_BYTES = 1024
_TAG = re.compile(
    rb"""<!--(?:>|->|.*?(?:-->|\Z))|<meta(?=[\s/])((?:[^>"']|"[^"]*"|'[^']*')*+)>?""", re.I | re.S
)
_ATTRIBUTE = re.compile(rb"""([^\s=/>"']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+)))?""")
_IN_CONTENT = re.compile(rb"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.I)


def declared_charset(body: bytes) -> str | None:
    """The label that the page gives itself: HTML's prescan of the first 1,024 bytes, or an XML
    declaration's."""
    head = body[:_PRESCAN_BYTES]
    if xml := _XML.match(head):
        return xml[1].decode("latin-1")
    for tag in _TAG.finditer(head):
        if tag[1] is None:
            continue
        found: dict[bytes, bytes] = {}
        for name, *values in _ATTRIBUTE.findall(tag[1]):
            found.setdefault(name.lower(), b"".join(values))
        label = found.get(b"charset")
        if label is None and found.get(b"http-equiv", b"").strip().lower() == b"content-type":
            inside = _IN_CONTENT.search(found.get(b"content", b""))
            label = b"".join(g for g in inside.groups() if g) if inside else None
        if label:
            return label.decode("latin-1")
    return None


# --- decoding -----------------------------------------------------------------------------------


def _whatwg(error: UnicodeError) -> tuple[str, int]:
    """What the standard makes of bytes for which Python's table has nothing: C1 controls in
    single-byte charsets, rows 13 and 89 to 92 of JIS X 0208 in EUC-JP, U+FFFD elsewhere."""
    assert isinstance(error, UnicodeDecodeError)
    data, at = error.object, error.start
    if error.encoding == "charmap" and data[at] < 0xA0:
        return chr(data[at]), at + 1
    if error.encoding == "gb18030" and data[at] == 0x80:
        return "€", at + 1
    if error.encoding == "euc_jp" and at + 1 < len(data) and min(data[at], data[at + 1]) > 0xA0:
        row, cell = data[at] - 0xA1, data[at + 1] - 0xA1
        lead = row // 2 + (0x81 if row < 62 else 0xC1)
        trail = cell + (0x9F if row % 2 else 0x40 + (cell >= 63))
        character = bytes([lead, trail]).decode("cp932", "replace")
        return (character, at + 2) if len(character) == 1 else ("\ufffd", at + 1)
    return "\ufffd", error.end


_WHATWG = "corpusmill.whatwg"
codecs.register_error(_WHATWG, _whatwg)


def _best(
    body: bytes, labels: list[str], guess: str | None, note: tuple[str, str] | None
) -> Decoded:
    """The reading of the first label that the bytes bear out, or the detector's."""
    first = labels[0] if labels else None
    chosen = None
    for charset in dict.fromkeys([*labels, "utf-8"]):
        text = body.decode(charset, _WHATWG)
        n_bad = _n_bad(text)
        if n_bad <= _BAD * _n_beyond_ascii(text):
            chosen = charset
            break
    sure = chosen == "utf-8" and _n_beyond_ascii(text) >= _SURE_UTF8  # no other bytes look like it
    if guess and guess != chosen and not sure:
        guessed = body.decode(guess, _WHATWG)
        if chosen is None or (_n_bad(guessed) <= n_bad and _is_better(guessed, text)):
            chosen, text, n_bad = guess, guessed, _n_bad(guessed)
        elif note is None and _is_doubtful(guessed, text):
            note = ("charset_doubt", f"read as {chosen}, its label; {guess} was detected")
    if chosen is None:
        chosen = first or "utf-8"
        text = body.decode(chosen, _WHATWG)
        n_bad = _n_bad(text)
    notes = [note[1]] if note else []
    kind = note[0] if note else None
    if first and chosen != first:
        kind = kind or "wrong_charset"
        notes.append(f"labelled {first}; it is {chosen} by its bytes")
    if n_bad:
        kind = kind or "bad_bytes"
        notes.append(f"{n_bad} characters do not decode as {chosen}")
    return Decoded(text, chosen, (kind, "; ".join(notes)) if kind else None)


_C1 = re.compile("[\x80-\x84\x86-\x9f\ufffd]")  # U+0085 is a line end


def _n_bad(text: str) -> int:
    return 0 if text.isascii() else len(_C1.findall(text))


def _n_beyond_ascii(text: str) -> int:
    return len(text) - len(text.encode("ascii", "ignore"))


def _is_better(guessed: str, text: str) -> bool:
    """Whether the detector's reading goes before the label's: by the number of characters, or, of
    few, because only one of the two makes words or is in one alphabet. Readings that differ in a
    few signs, as those of windows-1252 and iso-8859-15, are the label's."""
    n = max(_n_beyond_ascii(guessed), _n_beyond_ascii(text))
    if _n_different(guessed, text) <= _DIFFERENT * min(n, _COMPARED):
        return False
    ours, theirs = alphabet_shares(guessed, text)
    if ours < theirs:
        return False
    kinds = max(len({c for c in t if c > "\x7f"}) for t in (guessed, text))
    if n >= MANY and kinds >= _KINDS:
        return True
    return ours > _ONE_ALPHABET > _NO_ALPHABET > theirs or _only_first_makes_words(guessed, text)


def _is_doubtful(guessed: str, text: str) -> bool:
    """Whether the label's reading is kept, and yet the detector's may be right: by a letter that no
    alphabet has with the others of the page, or by many."""
    n = min(_n_beyond_ascii(text), _n_different(guessed, text))
    ours, theirs = alphabet_shares(guessed, text)
    return n > 0 and (ours > theirs or (n >= _DOUBT and theirs < _SURE))


_COMPARED = 2000  # characters


def _n_different(one: str, other: str) -> int:
    """In how many of the first characters beyond ASCII two readings of the same bytes differ."""
    ones = [c for c in one if c > "\x7f"][:_COMPARED]
    others = [c for c in other if c > "\x7f"][:_COMPARED]
    return max(len(ones), len(others)) - sum(a == b for a, b in zip(ones, others, strict=False))


def _only_first_makes_words(one: str, other: str) -> bool:
    return word_share(one) > 0.8 and word_share(other) < 0.5


def _detect(body: bytes, candidates: list[str]) -> str | None:
    """A Python codec, from the text that is beyond ASCII: markup says nothing."""
    parts = []
    size = read = 0
    if b"\x1b" in body or b"\0" in body[:512]:
        parts.append(body[:_SAMPLE_BYTES])
    else:
        for match in _BETWEEN_TAGS.finditer(body):
            read += len(match[0])
            if not match[0].isascii():
                parts.append(match[0][: _SAMPLE_BYTES - size])
                size += len(parts[-1])
                if size >= _SAMPLE_BYTES:
                    break
    sample = b"\n".join(parts)
    found = chardet.detect(sample, compat_names=False, include_encodings=candidates)["encoding"]
    if found is None:
        return None
    guess = _WIDER.get(found, found)
    western = sample.decode("cp1252", _WHATWG)  # of a few bytes the detector knows little: Caf\xe9
    n = _n_beyond_ascii(western)
    if "cp437" in candidates and guess not in _DOUBLE and _DOS_LETTERS.search(sample):
        return guess if guess in _DOS else "cp437"
    reading = sample.decode(guess, _WHATWG)
    ours, theirs = alphabet_shares(western, reading)
    if ours > theirs:
        return "cp1252"
    if n < MANY and (
        _only_first_makes_words(western, reading)
        # a language of few accents, such as English: of those, nearly all is windows-1252
        or (n < _FEW_ACCENTS * read and word_share(western) == word_share(reading))
    ):
        return "cp1252"
    return guess


_BETWEEN_TAGS = re.compile(rb"[^<>]+")
