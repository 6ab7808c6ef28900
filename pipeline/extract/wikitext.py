"""Wikitext -> text: paragraphs, headings and list items on lines of their own.

Two passes of constant work for each bracket. The first pairs brackets ({{ }}, [[ ]], {| |},
<table>) with a stack and takes the content of extension tags (<ref>, <math>) whole; the second
writes what is text and jumps over what is not, from an opening bracket to its partner. A bracket
without a partner is left out and hides nothing. So the time is linear whatever the nesting: 12 MB/s
on articles of the English Wikipedia, where mwparserfromhell 0.7.2 parses and strips 1.9 MB/s
(`benchmarks/sources.py`) and takes 6.7 s for 5,000 unclosed templates (20 kB), four times that for
twice as many.

Templates are not expanded: those whose text stands in a sentence are known by name
(`wikitext_names.py`) and give their arguments; all others, infoboxes among them, are dropped.
Sources: the preprocessor ABNF and Help:Formatting of MediaWiki 1.43.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pipeline.extract.html import ExtractError
from pipeline.extract.wikitext_lines import blocks, inline, rows
from pipeline.extract.wikitext_names import SECTIONS, TEMPLATES

MAX_TOKENS = 1_000_000  # about 150 bytes each; a page of 2 MB, MediaWiki's limit, has up to 200,000
MAX_DEPTH = 40  # of brackets that give text; deeper ones are dropped (MediaWiki's limit is 100)


@dataclass(frozen=True, kw_only=True)
class Wikitext:
    """What of an article is text."""

    tables: Literal["drop", "rows"] = "drop"
    """rows: a line a row, cells between bars."""
    math: Literal["keep", "drop"] = "keep"
    """keep: as LaTeX between dollar signs."""
    drop_sections: dict[str, tuple[str, ...]] = field(default_factory=lambda: SECTIONS)
    """Language -> headings of sections that are no text, with what is below them. A language that
    is not here takes those of `en`."""
    templates: dict[str, str] = field(default_factory=dict)
    """More templates that are text: name -> pattern, as in `wikitext_names.py`."""


class Site(NamedTuple):
    """What an article's markup means depends on its wiki: names in lower case."""

    language: str = "en"
    hidden: frozenset[str] = frozenset({"file", "image", "category", "media"})  # namespaces


ENGLISH = Site()


class _Token(NamedTuple):
    start: int
    end: int
    kind: str
    text: str = ""  # of an extension tag: what it gives


# Every alternative starts with one of seven characters, which makes the search three times as fast.
_TOKEN = re.compile(r"\{\{+|\{\||\}\}+|\[\[|\]\]|\|\}(?!\})|\||<(?=[a-zA-Z/])[^<>]*>")
_KIND = {"[[": "link", "]]": "unlink", "|": "bar", "{|": "table", "|}": "untable"}
_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LITERAL = _names("nowiki pre syntaxhighlight source math chem ce")
_RAW = _LITERAL | _names(
    "ref references gallery timeline imagemap score graph mapframe maplink hiero templatedata "
    "templatestyles inputbox categorytree charinsert includeonly section indicator style "
    "script"
)
_BREAKING = _names("br p div ul ol dl dt dd blockquote center tr hr h1 h2 h3 h4 h5 h6 poem")
_INLINE = _names(
    "b i u s em strong span small big sub code tt kbd var samp font abbr cite q bdi bdo del ins "
    "ruby rt rp rb time data wbr mark dfn nobr strike noinclude onlyinclude"
)
_STASH = re.compile("\x01(\\d+)\x02")  # where text stands that is finished: no markup in it
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def wikitext_to_text(source: str, config: Wikitext = Wikitext(), site: Site = ENGLISH) -> str:
    """The text of an article; "" where it has none. Raises ExtractError for one that is mostly
    brackets."""
    source = _CONTROL.sub("", _without_comments(source))
    stash: list[str] = []

    def keep(text: str) -> str:
        stash.append(text)
        return f"\x01{len(stash) - 1}\x02"

    tokens = _tokens(source, config, keep)
    text = _write(source, tokens, _pairs(tokens), config, site, keep)
    wanted = config.drop_sections.get(site.language, config.drop_sections.get("en", ()))
    lines = blocks(inline(text), frozenset(name.lower() for name in wanted))
    return _STASH.sub(lambda match: stash[int(match[1])], lines).strip()


def _without_comments(source: str) -> str:
    """A comment that is not closed goes to the end, as in MediaWiki; one that has lines of its own
    takes their line breaks with it."""
    parts, at = [], 0
    while (start := source.find("<!--", at)) >= 0:
        parts.append(source[at:start])
        end = source.find("-->", start + 4)
        if end < 0:
            at = len(source)
            break
        at = end + 3
        if source[start - 1 : start] in ("", "\n") and source[at : at + 1] == "\n":
            at += 1
    return "".join(parts) + source[at:] if parts or at else source


# --- brackets -----------------------------------------------------------------------------------


def _tokens(source: str, config: Wikitext, keep: Callable[[str], str]) -> list[_Token]:
    """Brackets, bars and tags in their order; an extension tag with its content is one token."""
    tokens: list[_Token] = []
    unclosed: set[str] = set()  # tags whose end was not found: it is not looked for again
    at = 0
    while match := _TOKEN.search(source, at):
        start, at = match.span()
        found = match[0]
        if len(tokens) > MAX_TOKENS:
            raise ExtractError("too_much_markup", f"more than {MAX_TOKENS} brackets and bars")
        if kind := _KIND.get(found):
            if kind in ("table", "untable") and not _starts_line(source, start):
                kind, at = "bar", at if kind == "table" else start + 1
            tokens.append(_Token(start, at, kind))
        elif found[0] == "{":
            tokens += _braces(start, at)
        elif found[0] == "}":
            tokens.append(_Token(start, at, "close"))
        elif tag := _TAG.match(found):
            name = tag[1].lower()
            if name in _RAW and found[1] != "/" and found[-2] != "/" and name not in unclosed:
                end = re.compile(rf"</{name}\s*>", re.I).search(source, at)
                if end is None:
                    unclosed.add(name)
                else:
                    inside = source[at : end.start()]
                    at = end.end()
                    text = _literal(name, inside, config, keep) if name in _LITERAL else ""
                    tokens.append(_Token(start, at, "text", text))
                    continue
            tokens += _tag(source, start, at, name, found[1] == "/")
    return tokens


def _starts_line(source: str, at: int) -> bool:
    """Whether there is nothing but marks of indentation before it on its line."""
    before = source[max(at - 40, 0) : at]
    return not before.rpartition("\n")[2].strip(" \t:*#;")


def _braces(start: int, end: int) -> list[_Token]:
    """A run of n opening braces as pairs, and a triple (an argument) innermost where n is odd."""
    tokens = []
    while end - start >= 2:
        width = 3 if end - start == 3 else 2
        kind = "argument" if width == 3 else "template"
        tokens.append(_Token(start, start + width, kind))
        start += width
    return tokens


def _literal(name: str, inside: str, config: Wikitext, keep: Callable[[str], str]) -> str:
    if name in ("math", "chem", "ce"):
        tex = " ".join(inside.split())
        return keep(f"${tex}$") if config.math == "keep" and tex else ""
    inside = html.unescape(inside) if name in ("nowiki", "pre") else inside
    if name == "nowiki":
        return keep(inside)
    inside = inside.strip("\n").rstrip()
    return f"\n\n{keep(inside)}\n\n" if inside else ""


def _tag(source: str, start: int, end: int, name: str, closes: bool) -> list[_Token]:
    if name == "table":
        return [_Token(start, end, "untable" if closes else "table")]
    if name == "li":
        return [_Token(start, end, "text", "\n" if closes else "\n* ")]
    if name in _BREAKING:
        return [_Token(start, end, "text", "\n")]
    if name == "sup":  # 10<sup>6</sup> is not 106; 19<sup>th</sup> is 19th
        power = not closes and source[end : end + 1] in tuple("0123456789+-−")
        return [_Token(start, end, "text", "^" if power else "")]
    if name in _INLINE or name in _RAW:
        return [_Token(start, end, "text")]
    return []  # MediaWiki shows tags that it does not know


def _pairs(tokens: list[_Token]) -> dict[int, int]:
    """Opening token -> closing token. Braces win over tables, tables over links: an inner bracket
    that is open when an outer one closes has no partner."""
    pairs: dict[int, int] = {}
    links: list[int] = []  # open since the last open table or brace
    stack: list[
        tuple[int, list[int]]
    ] = []  # open tables and braces, and the links open around each
    n_braces = 0
    for i, token in enumerate(tokens):
        kind = token.kind
        if kind == "link":
            links.append(i)
        elif kind == "unlink":
            if links:
                pairs[links.pop()] = i
        elif kind in ("template", "argument", "table"):
            stack.append((i, links))
            links = []
            n_braces += kind != "table"
        elif kind == "untable":
            if stack and tokens[stack[-1][0]].kind == "table":
                opening, links = stack.pop()
                pairs[opening] = i
        elif kind == "close":
            width = token.end - token.start
            while width >= 2 and n_braces:
                opening, links = stack.pop()
                if tokens[opening].kind == "table":
                    continue
                pairs[opening] = i
                n_braces -= 1
                width -= 3 if tokens[opening].kind == "argument" and width >= 3 else 2
    return pairs


# --- text ---------------------------------------------------------------------------------------


def _write(
    source: str,
    tokens: list[_Token],
    pairs: dict[int, int],
    config: Wikitext,
    site: Site,
    keep: Callable[[str], str],
) -> str:
    """The source without what is no text, each bracket that gives text replaced by it."""
    patterns = TEMPLATES | config.templates
    out: list[str] = []
    frames: list[tuple[int, int, list[str], list[str]]] = []  # opening, closing, parts, outer out
    parts: list[str] = []
    i = at = 0
    while i < len(tokens):
        token = tokens[i]
        if at < token.start:
            out.append(source[at : token.start])
        at = max(at, token.end)
        kind = token.kind
        if kind == "text":
            out.append(token.text)
        elif i in pairs:
            if len(frames) >= MAX_DEPTH or _is_dropped(source, tokens, i, config, site, patterns):
                i = pairs[i]
                # several openings may share one closing run: what is left of it stays to be met
                at = tokens[i].end
                i += 0 if frames and frames[-1][1] == i else 1
                continue
            frames.append((i, pairs[i], parts, out))
            parts, out = [], []
        elif kind == "bar":
            if frames and tokens[frames[-1][0]].kind != "table":
                parts.append("".join(out))
                out.clear()
            else:
                out.append("|")
        while frames and frames[-1][1] == i:
            opening, _, outer_parts, outer = frames.pop()
            parts.append("".join(out))
            outer.append(_value(tokens[opening].kind, parts, patterns, keep))
            parts, out = outer_parts, outer
        i += 1
    assert not frames, frames  # each has its closing token
    out.append(source[at:])
    return "".join(out)


def _is_dropped(
    source: str,
    tokens: list[_Token],
    i: int,
    config: Wikitext,
    site: Site,
    patterns: dict[str, str],
) -> bool:
    """Whether all that is inside the bracket is no text."""
    kind = tokens[i].kind
    if kind == "table":
        return config.tables == "drop" or source[tokens[i].start] == "<"
    if kind == "argument":
        return False
    head = source[tokens[i].end : tokens[i + 1].start]
    if kind == "template":
        return tokens[i + 1].kind not in ("bar", "close") or _name(head) not in patterns
    prefix, colon, _ = head.partition(":")
    prefix = prefix.strip().lower()
    return bool(colon) and (prefix in site.hidden or bool(_LANGUAGE.match(prefix)))


# The prefix of a link to the same article in another language. Of the shorter interwiki prefixes
# (s:, q:, d:, wikt:) none has this form, and `simple` is a language here.
_LANGUAGE = re.compile(r"(?:[a-z]{2,3}|simple|[a-z]{2,3}(?:-[a-z]{1,4}){1,2}|be-tarask|roa-rup)\Z")


def _name(head: str) -> str:
    return " ".join(head.replace("_", " ").split()).lower()


def _value(
    kind: str, parts: list[str], patterns: dict[str, str], keep: Callable[[str], str]
) -> str:
    if kind == "table":
        text = rows(inline(parts[0]))
        return f"\n\n{keep(text)}\n\n" if text else ""
    if kind == "argument":
        return parts[1] if len(parts) > 1 else ""
    if kind == "template":
        return _fill(patterns[_name(parts[0])], parts[1:])
    if "\n" in parts[0]:
        return "|".join(parts)  # brackets that were no link
    return "|".join(parts[1:]) if len(parts) > 1 else parts[0].strip().removeprefix(":")


_NAMED = re.compile(r"\s*+(\w[\w -]{0,40}?)\s*+=")
_PLACE = re.compile(r"\$(\*|-?\d+|[a-z]+)")


def _fill(pattern: str, parts: list[str]) -> str:
    """A template's text: the first alternative whose arguments are all there."""
    given: dict[str, str] = {}
    n = 0
    for part in parts:
        if named := _NAMED.match(part):
            given[named[1]] = part[named.end() :].strip()
        else:
            n += 1
            given[str(n)] = part.strip()
    if pattern == "convert":
        return _convert(given)
    given["-1"] = given.get(str(n), "")
    given["*"] = "".join(given.get(str(k), "") for k in range(1, n + 1))
    for choice in pattern.split("|"):
        if all(given.get(name) for name in _PLACE.findall(choice)):
            return _PLACE.sub(lambda match: given[match[1]], choice)
    return ""


_BETWEEN = {"-": "–", "–": "–", "to": " to ", "and": " and ", "or": " or ", "x": " × ",
            "×": " × ", "by": " by ", "+/-": " ± ", "±": " ± ", "to(-)": " to "}  # fmt: skip


def _convert(given: dict[str, str]) -> str:
    """{{convert|3|to|5|km|mi}} -> 3 to 5 km: the numbers as they are given, and their unit."""
    out = ""
    for k in range(1, 9):
        value = given.get(str(k), "")
        if value in _BETWEEN and out:
            out += _BETWEEN[value]
        elif not out or out.endswith((" ", "–")):
            out += value
        else:
            return f"{out} {value}".strip()
    return out
