r"""The macros that a paper defines, expanded in place, so that one notation does not split over
many private names (Touvron et al. 2023, section 2.1).

As TeX does it: in one pass from the start of the source, definitions taken as they come, what a
macro expands to read again. Unlike TeX: definitions are global, arguments are expanded before they
are put in, a macro is not expanded inside itself, and one that programs TeX (conditionals, \csname,
names with @) stays as it is written. Work and output are bounded by multiples of the source.
"""

import re
from typing import NamedTuple

from pipeline.extract.html import ExtractError
from pipeline.extract.tex_definitions import PRIMITIVES, Definitions, Environment, Macro
from pipeline.extract.tex_reader import COMMAND, Frame, Reader, Work
from pipeline.extract.tex_source import VERBATIM

GROWTH, GROWTH_CHARS = 16, 1 << 20  # output: at most 16 times the source and a million characters
DEPTH = 64  # of macros within macros, and of macros within arguments


class Expanded(NamedTuple):
    text: str
    macros: frozenset[str]  # every name that the paper gave to a macro
    theorems: dict[str, str]  # environment -> its printed name
    math: frozenset[str]  # environments of the paper that hold math and could not be expanded


_CONDITIONAL = re.compile(r"\\(?:(if[A-Za-z@]*|else|fi)(?![A-Za-z@])|\\)")
_ENVIRONMENT = re.compile(r"[ \t]*\{([^{}\\]{1,60})\}")
_VERBATIM = re.compile(rf"(?:{VERBATIM})\Z")
_WORD_AT_END = re.compile(r"\\[A-Za-z@]+\Z")


def expand(source: str, max_chars: int) -> Expanded:
    """The source with its macros expanded and without their definitions.

    Raises ExtractError: macro_bomb where they grow or run on without measure, too_large.
    """
    expander = _Expander(source, max_chars)
    text = expander.expand(source, 0)
    known = expander.known
    return Expanded(text, frozenset(known.macros), known.theorems, frozenset(known.math))


class _Expander:
    def __init__(self, source: str, max_chars: int) -> None:
        self.known = Definitions()
        self.work = Work(source)
        self.left = GROWTH * len(source) + GROWTH_CHARS
        self.too_large = max_chars < self.left
        self.left = min(max_chars, self.left)

    def expand(self, text: str, depth: int) -> str:
        out: list[str] = []
        reader = Reader(text, self.work)
        names = self.known.names
        while reader.frames:
            frame = reader.frames[-1]
            for match in COMMAND.finditer(frame.text, frame.at):
                if match[1] in names:
                    break
            else:
                self._emit(out, frame.text[frame.at :], depth)
                reader.frames.pop()
                continue
            self._emit(out, frame.text[frame.at : match.start()], depth)
            frame.at = match.end()
            self._command(match[1], reader, out, depth)
        return "".join(out)

    def _emit(self, out: list[str], text: str, depth: int) -> None:
        if not text:
            return
        if out and text[0].isalpha() and _WORD_AT_END.search(out[-1][-60:]):
            out.append(" ")  # \al of \def\al{\alpha}, before a letter
        out.append(text)
        if depth == 0:
            self.left -= len(text) + 1
            if self.left < 0:
                kind = "too_large" if self.too_large else "macro_bomb"
                raise ExtractError(kind, "the macros expand beyond all measure")

    def _command(self, name: str, reader: Reader, out: list[str], depth: int) -> None:
        if macro := self.known.macros.get(name):
            self._call(name, macro, reader, out, depth)
        elif name in PRIMITIVES:
            frame = reader.frames[-1]
            start = frame.at
            if not PRIMITIVES[name](reader, self.known):
                if reader.frames[-1] is frame:
                    frame.at = start
                self._emit(out, "\\" + name, depth)
        elif name in ("begin", "end"):
            self._environment(name, reader, out, depth)
        elif name == "verb":
            frame = reader.frames[-1]
            delimiter = frame.text[frame.at : frame.at + 1]
            found = frame.text.find(delimiter, frame.at + 1, frame.at + 1000) if delimiter else -1
            stop = max(found + 1, frame.at)
            self._emit(out, "\\verb" + frame.text[frame.at : stop], depth)
            frame.at = stop
        elif name == "xspace":
            while len(reader.frames) > 1 and reader.frames[-1].at == len(reader.frames[-1].text):
                reader.frames.pop()
            frame = reader.frames[-1]
            after = frame.text[frame.at : frame.at + 1]
            frame.at += 2 * frame.text.startswith("{}", frame.at)
            self._emit(out, " " if after.isalnum() or after in ("(", "$", "`") else "", depth)
        elif name[:2] == "if":
            self._conditional(name[2:], reader, out, depth)
        elif name.endswith("true"):
            self.known.flags[name.removesuffix("true")] = True
        else:
            self.known.flags[name.removesuffix("false")] = False

    def _call(self, name: str, macro: Macro, reader: Reader, out: list[str], depth: int) -> None:
        frame = reader.frames[-1]
        if (
            macro.parts is None
            or len(reader.frames) + depth > DEPTH
            or any(frame.name == name for frame in reader.frames)
            or not frame.text.startswith(macro.before, frame.at)
        ):
            self._emit(out, "\\" + name, depth)
            return
        frame.at += len(macro.before)
        complete, arguments = _arguments(macro, reader)
        if not complete:
            given = "".join("{" + argument + "}" for argument in arguments)
            self._emit(out, "\\" + name + macro.before + given, depth)
            return
        body = self._body(macro, arguments, depth)
        frame = reader.frames[-1]
        if not macro.after and frame.text.startswith("{}", frame.at):
            frame.at += 0 if _WORD_AT_END.search(body[-60:]) else 2
        if macro.final:
            self._emit(out, body, depth)
        else:
            reader.frames.append(Frame(body, name))

    def _body(self, macro: Macro, arguments: list[str], depth: int) -> str:
        plain = [
            self.expand(argument, depth + 1) if "\\" in argument else argument
            for argument in arguments
        ]
        pieces: list[str] = []
        for part in macro.parts or ():
            piece = part if isinstance(part, str) else plain[part]
            if piece and piece[0].isalpha() and pieces and _WORD_AT_END.search(pieces[-1][-60:]):
                pieces.append(" ")
            if piece:
                pieces.append(piece)
        body = "".join(pieces)
        self.work.spend(len(body))
        return body

    def _environment(self, side: str, reader: Reader, out: list[str], depth: int) -> None:
        r"""\begin or \end: a verbatim environment copied, the paper's own expanded."""
        frame = reader.frames[-1]
        match = _ENVIRONMENT.match(frame.text, frame.at)
        name = match[1] if match else ""
        known = self.known.environments.get(name)
        verbatim = side == "begin" and _VERBATIM.match(name)
        if match and (verbatim or (known is None and name in self.known.environments)):
            end = f"\\end{{{name}}}"
            stop = frame.text.find(end, match.end())
            stop = len(frame.text) if stop < 0 else stop + len(end)
            if verbatim:
                self._emit(out, "\\begin" + frame.text[frame.at : stop], depth)
            frame.at = stop
            return
        inside = any(frame.name == side + " " + name for frame in reader.frames)
        if match and known and not inside and len(reader.frames) + depth <= DEPTH:
            start = frame.at
            frame.at = match.end()
            body = self._begin(known, reader, depth) if side == "begin" else known.end
            if body is not None:
                reader.frames.append(Frame(body, side + " " + name))
                return
            frame.at = start
        self._emit(out, "\\" + side, depth)

    def _begin(self, environment: Environment, reader: Reader, depth: int) -> str | None:
        complete, arguments = _arguments(environment.begin, reader)
        return self._body(environment.begin, arguments, depth) if complete else None

    def _conditional(self, flag: str, reader: Reader, out: list[str], depth: int) -> None:
        r"""\iffalse, or \iffoo of a \newif\iffoo: one of its branches."""
        frame = reader.frames[-1]
        nested = 0
        middle = -1
        for match in _CONDITIONAL.finditer(frame.text, frame.at):
            word = match[1] or ""
            if word == "fi" and nested == 0:
                branches = [frame.text[frame.at : match.start()], ""]
                if middle >= 0:
                    rest = middle + len("\\else")
                    branches = [frame.text[frame.at : middle], frame.text[rest : match.start()]]
                self.work.spend(match.end() - frame.at)
                frame.at = match.end()
                reader.frames.append(Frame(branches[not self.known.flags[flag]], ""))
                if len(reader.frames) > 4 * DEPTH:
                    raise ExtractError("macro_bomb", "conditionals are nested without measure")
                return
            if word == "fi":
                nested -= 1
            elif word == "else":
                middle = match.start() if nested == 0 and middle < 0 else middle
            elif word and word not in ("iff", "ifthenelse"):
                nested += 1
        self.work.spend(len(frame.text) - frame.at)
        self._emit(out, "\\if" + flag, depth)


def _arguments(macro: Macro, reader: Reader) -> tuple[bool, list[str]]:
    """(whether all are there, the arguments that are)."""
    found: list[str] = []
    for i, end in enumerate(macro.after):
        if i == 0 and macro.default is not None:
            optional = reader.optional()
            argument: str | None = macro.default if optional is None else optional
        else:
            argument = reader.delimited(end) if end else reader.argument()
        if argument is None:
            return False, found
        found.append(argument)
    return True, found
