r"""What a paper defines: \newcommand, \def, \let, \newenvironment and their like, read from where
they stand into tables."""

import re
from collections.abc import Callable
from typing import NamedTuple

from pipeline.extract.tex_reader import Reader
from pipeline.extract.tex_source import MATH


class Macro(NamedTuple):
    parts: tuple[str | int, ...] | None  # the body, split at its parameters; None: left alone
    before: str = ""  # what has to stand before the first argument (\def\a(#1){})
    after: tuple[str, ...] = ()  # for each argument, what ends it; "" for a token or group
    default: str | None = None  # of a first argument in brackets
    final: bool = False  # the body is not read again (\let\a\b, when \b is a command of TeX)


class Environment(NamedTuple):
    begin: Macro
    end: str


class Definitions:
    """All that has been defined so far."""

    def __init__(self) -> None:
        self.macros = {
            "mathchoice": Macro((0,), after=("",) * 4),
            "texorpdfstring": Macro((0,), after=("",) * 2),
        }
        self.environments: dict[str, Environment | None] = {}  # None: its text is a comment
        self.theorems: dict[str, str] = {}  # environment -> its printed name
        self.math: set[str] = set()  # environments of the paper that hold math, left alone
        self.flags = {"false": False, "true": True}  # of \newif
        # Every command that is not simply copied.
        self.names = {*self.macros, *PRIMITIVES, "begin", "end", "verb", "xspace"}
        self.names |= {"iffalse", "iftrue"}

    def macro(self, name: str, macro: Macro) -> None:
        if name[0].isalpha() and name not in PROTECTED and name not in PRIMITIVES:
            self.macros[name] = macro
            self.names.add(name)

    def flag(self, name: str) -> None:
        self.flags[name] = False
        self.names |= {"if" + name, name + "true", name + "false"}


# Commands and environments that give a document its structure: a paper's new look for them
# (\renewcommand{\section}...) says nothing about its text.
PROTECTED = frozenset(
    [
        "begin",
        "end",
        "documentclass",
        "document",
        "part",
        "chapter",
        "section",
        "subsection",
        "subsubsection",
        "paragraph",
        "subparagraph",
        "caption",
        "label",
        "ref",
        "eqref",
        "pageref",
        "cite",
        "citep",
        "citet",
        "citealt",
        "citeauthor",
        "item",
        "footnote",
        "footnotetext",
        "title",
        "author",
        "date",
        "abstract",
        "maketitle",
        "input",
        "include",
        "usepackage",
        "appendix",
        "bibitem",
        "bibliography",
        "bibliographystyle",
        "includegraphics",
        "par",
        "newline",
        "tableofcontents",
        "today",
        "normalsize",
        "small",
        "footnotesize",
        "large",
        "figure",
        "table",
        "equation",
        "align",
        "eqnarray",
        "itemize",
        "enumerate",
        "description",
        "proof",
        "verbatim",
        "tabular",
        "array",
        "center",
        "quote",
        "thebibliography",
        "frac",
        "sqrt",
        "left",
        "right",
        "math",
        "text",
        "displaymath",
        "gather",
        "multline",
        "verb",
        "xspace",
        "iffalse",
        "iftrue",
        "fi",
        "else",
    ]
)
# What only TeX itself could run. \iff is no conditional.
_PROGRAM = re.compile(
    r"\\(?:[A-Za-z]*@[A-Za-z@]*|if(?!f(?![A-Za-z]))[A-Za-z]*|else|fi|csname|expandafter|futurelet"
    r"|catcode|[egx]?def|let|newcommand|renewcommand|providecommand|read|loop|repeat)(?![A-Za-z@])"
)
_NAME = re.compile(r"[ \t\n]*(?:\{[ \t\n]*\\([A-Za-z@]+|.)[ \t\n]*\}|\\([A-Za-z@]+|.))", re.S)
_PARAMETER = re.compile(r"#([1-9])")
_DEF_HEAD = re.compile(r"[ \t\n]*\\([A-Za-z@]+|.)([^{}]{0,300})(?=\{)", re.S)
_LET = re.compile(r"[ \t\n]*\\([A-Za-z@]+)[ \t\n]*=?[ ]?(\\(?:[A-Za-z@]+|.)|[^\\{}#\s])", re.S)
_XPARSE = re.compile(r"\s*(?:(o)|O\s*\{([^{}]{0,200})\})?((?:\s*m){0,9})\s*\Z")
_HOLDS_MATH = re.compile(rf"\\end\{{(?:{MATH})\*?\}}")
_NEWIF = re.compile(r"[ \t\n]*\\if([A-Za-z@]+)")


def macro_of(
    body: str, before: str = "", after: tuple[str, ...] = (), default: str | None = None
) -> Macro:
    pieces = _PARAMETER.split(body)
    numbers = [int(number) - 1 for number in pieces[1::2]]
    if _PROGRAM.search(body) or "##" in body or any(number >= len(after) for number in numbers):
        return Macro(None)
    parts: list[str | int] = [pieces[0].strip() if len(pieces) == 1 else pieces[0]]
    for number, piece in zip(numbers, pieces[2::2], strict=True):
        parts += [number, piece]
    return Macro(tuple(parts), before, after, default)


# Each reads what follows its name, and says whether it was a definition.


def _name(reader: Reader) -> str | None:
    frame = reader.frames[-1]
    frame.at += frame.text.startswith("*", frame.at)
    match = _NAME.match(frame.text, frame.at)
    if not match:
        return None
    frame.at = match.end()
    return match[1] or match[2]


def _signature_and_body(reader: Reader) -> Macro | None:
    """[n][default]{body}"""
    count = reader.optional()
    default = reader.optional() if count else None
    body = reader.argument()
    if body is None or (count and not re.fullmatch(r"\s*[0-9]\s*", count, re.A)):
        return None
    return macro_of(body, after=("",) * int(count or 0), default=default)


def _newcommand(reader: Reader, known: Definitions) -> bool:
    name = _name(reader)
    macro = _signature_and_body(reader) if name else None
    if name and macro:
        known.macro(name, macro)
    return macro is not None


def _providecommand(reader: Reader, known: Definitions) -> bool:
    name = _name(reader)
    macro = _signature_and_body(reader) if name else None
    if name and macro and name not in known.macros:
        known.macro(name, macro)
    return macro is not None


def _def(reader: Reader, known: Definitions) -> bool:
    frame = reader.frames[-1]
    head = _DEF_HEAD.match(frame.text, frame.at)
    end = reader.group_end(frame.text, head.end()) if head else -1
    if not head or end < 0:
        return False
    body = frame.text[head.end() + 1 : end - 1]
    frame.at = end
    before, *after = re.split(r"#[1-9]", head[2])
    numbers = "".join(_PARAMETER.findall(head[2]))
    if "#" in before + "".join(after) or numbers != "123456789"[: len(numbers)]:
        known.macro(head[1], Macro(None))
    else:
        before = before.lstrip() if after else before.strip()
        known.macro(head[1], macro_of(body, before, tuple(after)))
    return True


def _let(reader: Reader, known: Definitions) -> bool:
    frame = reader.frames[-1]
    match = _LET.match(frame.text, frame.at)
    if not match:
        return False
    frame.at = match.end()
    copied = known.macros.get(match[2][1:]) if match[2][0] == "\\" else None
    known.macro(match[1], copied or Macro((match[2],), final=True))
    return True


def _operator(reader: Reader, known: Definitions) -> bool:
    frame = reader.frames[-1]
    star = "*" if frame.text.startswith("*", frame.at) else ""
    name = _name(reader)
    body = reader.argument() if name else None
    if name and body is not None:
        known.macro(name, Macro((f"\\operatorname{star}{{{body}}}",)))
    return body is not None


def _xparse(reader: Reader, known: Definitions) -> bool:
    name = _name(reader)
    spec = reader.argument() if name else None
    body = reader.argument() if spec is not None else None
    if name is None or spec is None or body is None:
        return False
    simple = _XPARSE.match(spec)
    if simple and not simple[1]:
        count = simple[3].count("m") + (simple[2] is not None)
        known.macro(name, macro_of(body, after=("",) * count, default=simple[2]))
    else:
        known.macro(name, Macro(None))  # its body asks which arguments are there
    return True


def _newenvironment(reader: Reader, known: Definitions) -> bool:
    reader.frames[-1].at += reader.frames[-1].text.startswith("*", reader.frames[-1].at)
    name = reader.argument()
    begin = _signature_and_body(reader) if name else None
    end = reader.argument() if begin else None
    if name is None or begin is None or end is None:
        return False
    if begin.parts == ("\\comment",):
        known.environments[name] = None
    elif name not in PROTECTED and begin.parts is not None and not _PROGRAM.search(end):
        known.environments[name] = Environment(begin, end)
    elif _HOLDS_MATH.search(end):
        known.math.add(name)
    return True


def _excludecomment(reader: Reader, known: Definitions) -> bool:
    name = reader.argument()
    if name:
        known.environments[name] = None
    return bool(name)


def _newtheorem(reader: Reader, known: Definitions) -> bool:
    reader.frames[-1].at += reader.frames[-1].text.startswith("*", reader.frames[-1].at)
    name = reader.argument()
    reader.optional()
    printed = reader.argument() if name else None
    reader.optional()
    if name and printed:
        known.theorems[name] = printed
    return bool(printed)


def _newif(reader: Reader, known: Definitions) -> bool:
    frame = reader.frames[-1]
    match = _NEWIF.match(frame.text, frame.at)
    if match:
        frame.at = match.end()
        known.flag(match[1])
    return bool(match)


def _prefix(reader: Reader, known: Definitions) -> bool:
    return True  # \long\def, \global\let: nothing of its own


PRIMITIVES: dict[str, Callable[[Reader, Definitions], bool]] = {
    **dict.fromkeys(("newcommand", "renewcommand", "DeclareRobustCommand"), _newcommand),
    "providecommand": _providecommand,
    **dict.fromkeys(("def", "gdef", "edef", "xdef"), _def),
    "let": _let,
    **dict.fromkeys(("DeclareMathOperator", "newoperator"), _operator),
    **dict.fromkeys(("NewDocumentCommand", "RenewDocumentCommand"), _xparse),
    **dict.fromkeys(("newenvironment", "renewenvironment"), _newenvironment),
    **dict.fromkeys(("excludecomment", "excludeversion"), _excludecomment),
    "newtheorem": _newtheorem,
    "newif": _newif,
    **dict.fromkeys(("long", "global", "makeatletter", "makeatother"), _prefix),
}
