"""Wikitext line by line, once its brackets are resolved: quotes, lists, headings, table rows."""

import html
import re

_EXTERNAL = re.compile(
    r"\[(?:(?:https?:|ftp:)?//|mailto:)[^\s\[\]]*+(?:[ \t]++([^\[\]\n]*+))?\]", re.I
)
_VARIANT = re.compile(r"-\{([^{}\n]*)\}-")
_SWITCH = re.compile(r"__[^\W\d_]{3,40}__")
_QUOTES = re.compile(r"'{2,}")
_EMPTY = re.compile(r"[(（][\s,;:/、，；]*+[)）]")  # what a dropped template leaves
_LEADING = re.compile(r"([(（])[ \t]*+[,;、，；][ \t]*")
_SPACES = re.compile("  +")
_LIST = re.compile(r"[*#:;]+")


def _variant(match: re.Match[str]) -> str:
    """-{zh-hans:A; zh-hant:B}-: the first of the variants; -{T|...}- and -{H|...}- show nothing."""
    flags, bar, rules = match[1].partition("|")
    if bar and set(flags) & set("THD-"):
        return ""
    first = (rules if bar else match[1]).split(";")[0]
    return first.split(":", 1)[1].strip() if re.match(r"\s*[a-z-]+\s*:", first) else first


def inline(text: str) -> str:
    """Markup inside lines, all but quotes and lists."""
    text = _EXTERNAL.sub(lambda match: match[1] or "", text)
    text = _SWITCH.sub("", _VARIANT.sub(_variant, text))
    text = html.unescape(text)
    text = "\n".join(_unquoted(line) if "''" in line else line for line in text.split("\n"))
    text = _EMPTY.sub("\x03", text).replace(" \x03", "").replace("\x03", "")
    text = _LEADING.sub(r"\1", text)
    return _SPACES.sub(" ", text.replace("\xa0", " ").replace("\t", " "))


def _unquoted(line: str) -> str:
    """Without the apostrophes of bold and italics. Where both are odd, L'''Avion'' is an apostrophe
    and italics (MediaWiki's doQuotes)."""
    runs = [len(run) for run in _QUOTES.findall(line)]
    odd = sum(n in (3, 5) for n in runs) % 2 and sum(n in (2, 5) for n in runs) % 2

    def replaced(match: re.Match[str]) -> str:
        nonlocal odd
        n = len(match[0])
        before = line[max(match.start() - 2, 0) : match.start()]
        if odd and n == 3 and before.strip() and (len(before) == 1 or before[0].isspace()):
            odd = 0
            return "'"
        return "'" * (1 if n == 4 else max(n - 5, 0))

    return _QUOTES.sub(replaced, line)


def blocks(text: str, dropped: frozenset[str]) -> str:
    """Blocks apart by empty lines; without sections of these names, and without empty ones."""
    out: list[str] = []
    headings: list[tuple[int, str]] = []  # written when there is text under them
    hidden = 0  # the level of the section that is being left out
    gap = False
    for line in text.split("\n"):
        line = line.strip()
        level = _level(line)
        if level:
            title = line[level:-level].strip()
            if hidden and level > hidden:
                continue
            hidden = level if title.lower() in dropped else 0
            headings = [h for h in headings if h[0] < level]
            if not hidden and title:
                headings.append((level, title))
            gap = True
            continue
        if not line or line.startswith(("|", "{|", "----")):
            gap = True
            continue
        marks = _LIST.match(line)
        if marks:
            line = line[marks.end() :].strip()
            line = f"- {line}" if line and marks[0][-1] in "*#" else line
        if hidden or not line:
            continue
        for _, title in headings:
            out += ["", title, ""]
            gap = False
        headings = []
        if gap and out and out[-1]:
            out.append("")
        gap = False
        out.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out))


def _level(line: str) -> int:
    """Of a heading; 0 for other lines."""
    if not line.startswith("=") or not line.endswith("="):
        return 0
    n = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), 6)
    return n if len(line) > 2 * n else 0


def rows(text: str) -> str:
    """The rows of a table's wikitext, a line each, cells between bars; the caption before them."""
    lines: list[str] = []
    cells: list[str] = []
    for line in [*text.split("\n")[1:], "|-"]:
        line = line.strip()
        if line.startswith("|-"):
            lines.append(" | ".join(cells).strip(" |"))
            cells = []
        elif line.startswith("|+"):
            lines.append(_cell(line[2:]))
        elif line.startswith(("|", "!")):
            inner = line[1:].replace("!!", "||") if line[0] == "!" else line[1:]
            cells += [_cell(cell) for cell in inner.split("||")]
        elif line and cells:
            cells[-1] = f"{cells[-1]} {line}".strip()
    return "\n".join(line for line in lines if line)


def _cell(text: str) -> str:
    """Without the attributes that may stand before it."""
    attributes, bar, content = text.partition("|")
    return (content if bar and "=" in attributes else text).strip()
