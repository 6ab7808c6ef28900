r"""LaTeX whose macros are expanded -> plain reading text, in one pass over its tokens.

Headings, paragraphs, items, captions, table rows and theorems stand on lines of their own; accents
and dashes become Unicode; math stays as its source between its own delimiters, or goes. \ref
becomes [ref] and \cite [cite]: what they print is in no source. A command that is not known here
vanishes and its arguments stay.
"""

import re
import unicodedata

from pipeline.extract.tex_commands import (
    DROPPED,
    ENVIRONMENT_ARGUMENTS,
    HEADINGS,
    LISTS,
    MARKS,
    TABLES,
    THEOREMS,
    WORDS,
)
from pipeline.extract.tex_letters import ACCENTS
from pipeline.extract.tex_source import MATH, VERBATIM

_MATH = re.compile(rf"(?:{MATH})\*?\Z")
_VERBATIM = re.compile(rf"(?:{VERBATIM})\Z")
PICTURES = "tikzpicture|pgfpicture|picture|pspicture|tikzcd|asy|overpic|forest|axis"
_HIDDEN = re.compile(rf"(?:{PICTURES}|comment|filecontents|thebibliography|references)\*?\Z")

_TOKEN = re.compile(
    r"\\(?:([A-Za-z@]+)\*?|(.))|(\$\$?)|([{}~&])|(``|''|---?|`)|(\n[ \t]*\n\s*)|(?<![\w\\])(\")",
    re.S,
)
_BLANKS = re.compile(r"\s+")
_DOLLAR = re.compile(r"\\.|[{}]|\$\$?", re.S)
_GROUP = re.compile(r"\\.|[{}]", re.S)
_KEEP = "\ufdd0"  # stands for a piece whose blanks are kept: a noncharacter, in no text


def plain(
    source: str,
    *,
    math: bool = True,
    theorems: dict[str, str] | None = None,
    math_environments: frozenset[str] = frozenset(),
) -> str:
    """The text. `theorems`: environment -> the name that it prints; `math_environments`: more
    environments that hold math."""
    reader = _Reader(source.replace(_KEEP, ""), math, theorems or {}, math_environments)
    return reader.text()


class _Reader:
    def __init__(
        self, source: str, math: bool, theorems: dict[str, str], maths: frozenset[str]
    ) -> None:
        self.source, self.math, self.maths = source, math, maths
        self.theorems = THEOREMS | theorems
        self.out: list[str] = []
        self.kept: list[str] = []
        self.closers: list[str] = []  # what to print where each open group closes
        self.lists: list[int] = []  # the open lists: their counter, -1 without
        self.tables = 0
        self.unclosed: set[str] = set()  # ends that do not come any more
        self.work = 4 * len(source) + (1 << 16)  # characters looked at to find a group's end

    def text(self) -> str:
        source = self.source
        at = 0
        while match := _TOKEN.search(source, at):
            self.out.append(_BLANKS.sub(" ", source[at : match.start()]))
            word, symbol, dollar, character, mark, paragraph, quote = match.groups()
            at = match.end()
            if word:
                at = self._word(word, at)
            elif symbol:
                at = self._symbol(symbol, at)
            elif dollar:
                at = self._dollar(dollar, match.start(), at)
            elif character:
                self._character(character)
            else:
                self.out.append("\n\n" if paragraph else MARKS.get(mark or quote, mark))
        self.out.append(_BLANKS.sub(" ", source[at:]))
        text = re.sub(r"[ \t]*\n[ \t]*", "\n", re.sub(r"[ \t]{2,}", " ", "".join(self.out)))
        text = re.sub(r"\n{3,}", "\n\n", text)
        text = re.sub(r" +([,.;:)])", r"\1", text).replace("( ", "(").strip()
        kept = iter(self.kept)
        return re.sub(_KEEP, lambda _: next(kept), text)

    def _character(self, character: str) -> None:
        if character == "{":
            self.closers.append("")
        elif character == "}":
            self.out.append(self.closers.pop() if self.closers else "")
        else:
            self.out.append((" | " if self.tables else " ") if character == "&" else "\u00a0")

    def _open(self, at: int, before: str, after: str) -> int:
        """Prints the group that starts at `at` between two strings; a lone token without."""
        blank = _skip_blanks(self.source, at)
        if not self.source.startswith("{", blank):
            return at
        self.out.append(before)
        self.closers.append(after)
        return blank + 1

    def _skip(self, at: int, groups: int) -> int:
        """Behind an optional argument and so many groups."""
        for opener in ("[", "{" * groups):
            for _ in opener:
                blank = _skip_blanks(self.source, at)
                if self.source.startswith("[", blank) and opener == "[":
                    stop = self.source.find("]", blank, blank + 1000)
                    at = stop + 1 if stop >= 0 else at
                elif self.source.startswith("{", blank) and opener != "[":
                    stop = self._group_end(blank)
                    at = stop if stop >= 0 else at
        return at

    def _group_end(self, at: int) -> int:
        depth = 0
        if self.work < 0:
            return -1
        for match in _GROUP.finditer(self.source, at, at + 20_000):
            depth += (match[0] == "{") - (match[0] == "}")
            if depth == 0:
                self.work -= match.end() - at
                return match.end()
        self.work -= min(len(self.source) - at, 20_000)
        return -1

    def _until(self, end: str, at: int) -> int:
        """Where `end` comes next, or -1; each end is looked for in vain only once."""
        if end in self.unclosed:
            return -1
        found = self.source.find(end, at)
        if found < 0:
            self.unclosed.add(end)
        return found

    def _word(self, word: str, at: int) -> int:
        if word in ("begin", "end"):
            return self._environment(word, at)
        if word in HEADINGS:
            return self._open(self._skip(at, 0), "\n\n", "\n\n")
        if word in ("caption", "captionof"):
            return self._open(self._skip(at, word == "captionof"), "\n\n", "\n\n")
        if word in ("footnote", "footnotetext"):
            return self._open(self._skip(at, 0), " (", ")")
        if word == "item":
            return self._item(at)
        if word in ("verb", "lstinline"):
            stop = self.source.find(self.source[at : at + 1] or "\n", at + 1, at + 1000)
            self._keep(self.source[at + 1 : stop] if stop > at else "")
            return stop + 1 if stop > at else at
        if word in ("url", "path"):
            stop = self._group_end(at) if self.source.startswith("{", at) else -1
            self._keep(self.source[at + 1 : stop - 1] if stop > 0 else "")
            return stop if stop > 0 else at
        if word in DROPPED:
            return self._skip(at, DROPPED[word])
        lower = word.lower()
        if lower.endswith("ref") or lower == "cref":
            self.out.append("[ref]")
            return self._skip(at, 1)
        if "cite" in lower:
            self.out.append("[cite]")
            return self._skip(self._skip(at, 0), 1)
        if word in ACCENTS:
            return self._accent(word, at)
        self.out.append(WORDS.get(word, ""))
        if word == "ensuremath":
            return self._ensuremath(at)
        after = _skip_blanks(self.source, at)  # TeX skips blanks behind a word, and so {} ends one
        if word not in WORDS and self.source.startswith("[", at):
            stop = self.source.find("]", at, at + 200)
            return stop + 1 if stop >= 0 else at
        paragraph = self.source.count("\n", at, after) > 1
        return at if paragraph or word not in WORDS else after

    def _symbol(self, symbol: str, at: int) -> int:
        if symbol in "([":
            end = "\\)" if symbol == "(" else "\\]"
            stop = self._until(end, at)
            if stop >= 0:
                self._print_math(self.source[at - 2 : stop + 2], display=symbol == "[")
                return stop + 2
        elif symbol in ACCENTS:
            return self._accent(symbol, at)
        elif symbol == "\\":
            self.out.append("\n")
            at = self._skip(at + self.source.startswith("*", at), 0)
        elif symbol in "%&$#_{}":
            self.out.append(symbol)
        elif symbol in " ,;:>\n\t":
            self.out.append(" ")
        return at

    def _accent(self, accent: str, at: int) -> int:
        match = re.compile(r"\s*(?:\{\s*\\?(\w?)\s*\}|\\([ij])(?![A-Za-z])\s?|(\w))").match(
            self.source, at
        )
        if not match or (accent.isalpha() and match[3] and match.start(3) == at):
            return at
        letter = match[1] or match[2] or match[3] or ""
        self.out.append(unicodedata.normalize("NFC", letter + ACCENTS[accent]) if letter else "")
        return match.end()

    def _dollar(self, dollar: str, start: int, at: int) -> int:
        stop = self._dollar_end(dollar, at)
        inner = self.source[at : max(stop, at)]
        if stop < 0 or (dollar == "$" and re.search(r"\n[ \t]*\n", inner)):
            self.out.append(dollar)  # a price
            return at
        self._print_math(self.source[start : stop + len(dollar)], display=dollar == "$$")
        return stop + len(dollar)

    def _dollar_end(self, dollar: str, at: int) -> int:
        """Where the math closes: not at a $ within its own groups (\\mbox{$x$})."""
        depth = 0
        for match in _DOLLAR.finditer(self.source, at, at + 20_000 if self.work > 0 else at):
            depth += (match[0] == "{") - (match[0] == "}")
            if match[0].startswith(dollar) and depth <= 0:
                self.work -= match.end() - at
                return match.start()
        self.work -= min(len(self.source) - at, 20_000)
        return self._until(dollar, at)

    def _ensuremath(self, at: int) -> int:
        stop = self._group_end(at) if self.source.startswith("{", at) else -1
        if stop < 0:
            return at
        self._print_math("$" + self.source[at + 1 : stop - 1] + "$", display=False)
        return stop

    def _print_math(self, source: str, display: bool) -> None:
        if not self.math:
            self.out.append("\n\n" if display else " ")
            return
        source = re.sub(r"\\label\{[^{}]{0,300}\}[ \t]*", "", source)
        if not display:
            source = _BLANKS.sub(" ", source)
        self.out.append("\n" if display else "")
        self._keep(re.sub(r"[ \t]*\n\s*", "\n", source.strip()))
        self.out.append("\n" if display else "")

    def _keep(self, text: str) -> None:
        self.kept.append(text)
        self.out.append(_KEEP)

    def _item(self, at: int) -> int:
        label = ""
        blank = _skip_blanks(self.source, at)
        if self.source.startswith("[", blank):
            stop = self.source.find("]", blank, blank + 1000)
            if stop >= 0:
                label, at = plain(self.source[blank + 1 : stop], math=self.math), stop + 1
        if not label and self.lists and self.lists[-1] >= 0:
            self.lists[-1] += 1
            label = f"{self.lists[-1]}."
        self.out.append(f"\n{label or '-'} ")
        return at

    def _environment(self, side: str, at: int) -> int:
        match = re.compile(r"[ \t]*\{([^{}]{1,60})\}").match(self.source, at)
        if not match:
            return at
        name, at = match[1], match.end()
        bare = name.removesuffix("*")
        end = f"\\end{{{name}}}"
        is_math = _MATH.match(name) or name in self.maths
        if side == "end":
            if bare in LISTS and self.lists:
                self.lists.pop()
            self.tables -= bool(name in TABLES and self.tables)
            self.out.append("\n\n")
        elif is_math or _VERBATIM.match(name) or _HIDDEN.match(name):
            stop = self._until(end, at)
            stop = len(self.source) if stop < 0 else stop
            if is_math:
                self._print_math(self.source[match.start() - 6 : stop + len(end)], display=True)
            elif _VERBATIM.match(name):
                self.out.append("\n\n")
                self._keep(self.source[self._skip(at, 0) : stop].strip("\n"))
                self.out.append("\n\n")
            at = stop + len(end)
        elif bare in self.theorems:
            blank = _skip_blanks(self.source, at)
            stop = self.source.find("]", blank, blank + 1000)
            note = ""
            if self.source.startswith("[", blank) and stop >= 0:
                note, at = f" ({plain(self.source[blank + 1 : stop], math=self.math)})", stop + 1
            self.out.append(f"\n\n{self.theorems[bare]}{note}. ")
        else:
            if bare in LISTS:
                self.lists.append(0 if "enum" in bare else -1)
            self.tables += name in TABLES
            at = self._skip(at, ENVIRONMENT_ARGUMENTS.get(name, 0))
            self.out.append("\n\n")
        return at


def _skip_blanks(source: str, at: int) -> int:
    while source[at : at + 1] in (" ", "\t", "\n"):
        at += 1
    return at
