"""Where the chapters of a book begin: [title, offset in characters] pairs, from marks that were set
in its HTML, or from the headings of a plain text.

The offsets hold for the text as it is ingested; steps that edit a text (`scrub`) move what follows.
"""

import itertools
import json
import re
from html import unescape
from typing import NamedTuple

Chapters = list[tuple[str, int]]
MAX_CHAPTERS = 5000
TITLE_CHARS = 200

# A mark in the HTML that comes out in the text: noncharacters, which no text has.
_MARK = re.compile("\ufdd0([0-9]{1,6})\ufdd1")
_HEADING_TAG = re.compile(r"<(h[1-3])(\s[^<>]{0,1000}|)>(.{1,500}?)(?=</\1)", re.I | re.S)
_TAG = re.compile(r"<[^<>]*>")


def as_json(chapters: Chapters) -> str:
    return json.dumps(chapters, ensure_ascii=False, separators=(",", ":"))


def mark(number: int) -> str:
    return f"\ufdd0{number}\ufdd1"


def without_marks(html: str) -> str:
    return html.replace("\ufdd0", "").replace("\ufdd1", "")


def mark_headings(html: str, titles: list[str]) -> str:
    """HTML with a mark in each heading; adds their titles."""

    def set_mark(match: re.Match[str]) -> str:
        titles.append(unescape(_TAG.sub(" ", match[3])))
        return f"<{match[1]}{match[2]}>{mark(len(titles) - 1)}{match[3]}"

    return _HEADING_TAG.sub(set_mark, html)


def take_marks(text: str, titles: list[str]) -> tuple[str, Chapters]:
    """(the text without its marks, the chapters that begin at them). `titles` of the marks by
    number."""
    text = text.strip()
    pieces: list[str] = []
    found: list[tuple[int, int]] = []
    length = at = 0
    for match in _MARK.finditer(text):
        piece = text[at : match.start()]
        pieces.append(piece)
        length += len(piece)
        found.append((int(match[1]), length))
        at = match.end()
        last = next((piece for piece in reversed(pieces) if piece), "\n")
        if last[-1].isspace():  # the mark was a block of its own
            while at < len(text) and text[at].isspace():
                at += 1
    text = without_marks("".join([*pieces, text[at:]]).rstrip())
    chapters: dict[int, str] = {}
    for number, offset in found[:MAX_CHAPTERS]:
        while offset < len(text) and text[offset].isspace():
            offset += 1
        if offset < len(text):
            name = titles[number] if number < len(titles) else ""
            chapters.setdefault(offset, " ".join(name.split())[:TITLE_CHARS])
    return text, [(name, offset) for offset, name in sorted(chapters.items()) if name]


# --- plain text ---

_NUMBER = (
    r"(?:[0-9]{1,3}|(?-i:[IVXLCDM]{1,9}|[ivxlc]{1,7})|the (?:first|second|third|fourth|fifth|last)"
    r"|(?:twenty|thirty|forty|fifty)?[- ]?(?:one|two|three|four|five|six|seven|eight|nine|ten"
    r"|eleven|twelve|first|second|third|fourth|fifth)|(?:thir|four|fif|six|seven|eigh|nine)teen|twenty"
    r"|thirty|forty|premier|première|erste[rs]?|zweite[rs]?|dritte[rs]?|primer[oa]?|primo|prima)"
)
_KIND = (
    r"chapter|chap|book|part|act|scene|letter|volume|stave|canto|epoch|adventure|section|lesson"
    r"|chapitre|livre|partie|acte|scène|kapitel|buch|teil|akt|szene|brief|capítulo|capitulo|libro"
    r"|parte|capitolo|canto|hoofdstuk|boek|deel|kapittel|luku|rozdział|глава|часть"
)
_HEADING = re.compile(
    rf"(?:THE )?(?:{_KIND})\.? {_NUMBER}\b[.:,—–-]{{0,3}}(?P<title>(?: [^\n]{{1,120}})?)", re.I
)
_ORDINAL = re.compile(
    r"(?:erstes|zweites|drittes|viertes|fünftes|sechstes|siebentes|siebtes|achtes|neuntes|zehntes"
    r"|elftes|zwölftes|first|second|third|fourth|fifth|sixth)"
    r" (?:kapitel|buch|teil|akt|book|part|act)"
    r"\.?(?P<title>(?: [^\n]{1,120})?)",
    re.I,
)
_ROMAN = re.compile(r"(?P<number>[IVXLC]{1,7})(?:\.(?P<title> [^\n]{1,80})?)?")
_NAMED = re.compile(
    r"(?:the )?(?:preface|foreword|introduction|prologue|epilogue|conclusion|afterword|postscript"
    r"|author['’]s (?:preface|note)|préface|avant-propos|vorwort|einleitung|prólogo|prefazione"
    r"|epilog|prolog|finale)\.?",
    re.I,
)
_CONTENTS_RUN = 3  # headings without text between them: a list of contents
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


class _Heading(NamedTuple):
    title: str
    label: str  # what a list of contents would repeat: `chapter 1`
    start: int
    end: int
    number: int  # 0: none
    lone: bool  # nothing but a roman number, and perhaps a title


def find_chapters(text: str) -> Chapters:
    """The chapters of a plain text whose paragraphs stand apart by empty lines."""
    headings: list[_Heading] = []
    at = 0
    paragraphs = text.split("\n\n")
    for i, paragraph in enumerate(paragraphs):
        if len(paragraph) <= 200 and (not headings or at >= headings[-1].end):
            following = paragraphs[i + 1] if i + 1 < len(paragraphs) else ""
            if heading := _heading(paragraph, following, at):
                headings.append(heading)
        at += len(paragraph) + 2
    headings = _without_contents(_in_sequence(headings), text)
    return [(heading.title[:TITLE_CHARS], heading.start) for heading in headings[:MAX_CHAPTERS]]


def _heading(paragraph: str, following: str, at: int) -> _Heading | None:
    line = " ".join(paragraph.split())
    if not line or not line[0].isupper():
        return None
    start, end = at + len(paragraph) - len(paragraph.lstrip()), at + len(paragraph)
    if _NAMED.fullmatch(line):
        return _Heading(line, line.casefold(), start, end, 0, False)
    if roman := _ROMAN.fullmatch(line):
        return _Heading(line, roman["number"], start, end, _value(roman["number"]), True)
    match = _HEADING.fullmatch(line) or _ORDINAL.fullmatch(line)
    if not match or _is_prose(match["title"]):
        return None
    label = line[: match.start("title")].rstrip(".,:—–-").casefold()
    if not match["title"] and _is_title(following.strip()):
        line += " " + " ".join(following.split())
        end += 2 + len(following)
    last = label.split()[-1]
    roman = _ROMAN.fullmatch(last.upper())
    number = _value(roman["number"]) if roman else int(last) if last.isdecimal() else 0
    return _Heading(line, label, start, end, number, False)


def _is_prose(title: str) -> bool:
    """`Part two of his speech was over.` is no heading."""
    words = title.split()
    return bool(words) and words[0][0].islower()


def _is_title(line: str) -> bool:
    """Whether a paragraph is the title that follows `CHAPTER I.`: a short line in capitals, or
    whose words have them."""
    words = [word for word in line.split() if len(word) > 3]
    return (
        0 < len(line) <= 80
        and "\n" not in line
        and line[0].isalpha()
        and not (_HEADING.fullmatch(line) or _ROMAN.fullmatch(line))
        and all(word[0].isupper() or not word[0].isalpha() for word in words)
    )


def _value(number: str) -> int:
    values = [_ROMAN_DIGITS.get(digit, 0) for digit in number]
    following = [*values[1:], 0]
    return sum(-v if v < n else v for v, n in zip(values, following, strict=True))


def _in_sequence(headings: list[_Heading]) -> list[_Heading]:
    """Without lone roman numbers that do not count up from I or go on from another heading's:
    initials, a king's number."""
    kept: list[_Heading] = []
    expected = {1}
    lone, other = 0, 0
    for i, heading in enumerate(headings):
        if heading.lone and heading.number not in expected:
            continue
        alone = heading.lone and heading.number == 1
        if alone and not any(h.lone and h.number == 2 for h in headings[i + 1 : i + 12]):
            continue
        if heading.lone and heading.number != other + 1:
            lone = heading.number
        else:
            other = heading.number or other
        expected = {1, lone + 1, other + 1}
        kept.append(heading)
    return kept


def _without_contents(headings: list[_Heading], text: str) -> list[_Heading]:
    """Without a list of contents: headings that follow each other at once and come again later."""
    last = {heading.label: i for i, heading in enumerate(headings)}
    bare = [
        _is_bare(text[heading.end : following.start])
        for heading, following in itertools.pairwise(headings)
    ]
    kept = []
    for i, heading in enumerate(headings):
        first, stop = i, i
        while first > 0 and i - first < _CONTENTS_RUN and bare[first - 1]:
            first -= 1
        while stop < len(bare) and stop - i < _CONTENTS_RUN and bare[stop]:
            stop += 1
        if stop - first + 1 < _CONTENTS_RUN or last[heading.label] == i:
            kept.append(heading)
    return kept


def _is_bare(between: str) -> bool:
    """Nothing, or lines that end with a page's number."""
    lines = [line for line in between[:8000].split("\n") if line.strip()]
    numbered = sum(line.rstrip()[-1].isdigit() for line in lines)
    return len(between) <= 8000 and numbered >= 0.7 * len(lines)
