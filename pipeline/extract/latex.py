r"""LaTeX sources -> the paper's body, as LLaMA kept it (Touvron et al. 2023, section 2.1, after
Lewkowycz et al. 2022): what stands before the first section, comments, bibliography removed, the
authors' macros expanded. The appendix goes too, as in RedPajama's arXiv, unless it is asked for.

Of pictures only the captions stay. The markup stays LaTeX; `text` makes plain text of it.
"""

import itertools
import re
from typing import NamedTuple

from pipeline.extract.tex_letters import unaccent
from pipeline.extract.tex_macros import expand
from pipeline.extract.tex_plain import PICTURES, plain
from pipeline.extract.tex_source import MATH, whole_source


class Paper(NamedTuple):
    text: str
    title: str
    authors: str


_FIRST = re.compile(r"\\(?:part|chapter|section|newsec|beginsection|heading|head)(?![A-Za-z@])\*?")
_ABSTRACT = re.compile(r"\\begin\{abstract\}|\\abstract(?![A-Za-z@])")
_END_OF_FRONT = re.compile(r"\\end\{abstract\}|\\endabstract|\\maketitle")
_END = re.compile(r"\\end\{document\}|\\bye(?![A-Za-z@])|\\end[ \t]*(?:\n|\Z)")
_APPENDIX = re.compile(r"\\appendix(?![A-Za-z@])|\\begin\{appendi(?:x|ces)\}")
_BIBLIOGRAPHY = re.compile(
    r"\\(?:bibliography(?:style)?[ \t]*\{[^{}]{0,1000}\}"
    r"|printbibliography(?:\[[^][]{0,1000}\])?|listrefs(?![A-Za-z]))"
)
_REFERENCES = re.compile(
    r"\\(?:(?:chapter|(?:sub)?section)\*?|newsec|beginsection)[ \t]*\{?[ \t]*"
    r"(?:References?|REFERENCES?|Bibliography|BIBLIOGRAPHY|Literature cited)[ \t]*(?:\}|\\par|\n)"
)
_AFTER_REFERENCES = re.compile(r"\\(?:part|chapter|section|appendix)(?![A-Za-z@])")
_BIBLIOGRAPHIES = ("thebibliography", "references", "bibdiv", "biblist")
_GRAPHICS = re.compile(
    r"\\(?:includegraphics|epsfig|epsfbox|epsffile|psfig|plotone|index)(?![A-Za-z@])\*?[ \t]*"
    r"(?:\[[^][]{0,1000}\][ \t]*){0,2}\{(?:[^{}]|\{[^{}]{0,300}\}){0,1000}\}"
)
_TITLE = re.compile(r"\\(?:title|Title|icmltitle)(?![A-Za-z@])\s*(?:\[[^][]{0,1000}\])?\s*(?=\{)")
_AUTHOR = re.compile(r"\\author(?![A-Za-z@])\s*(?:\[[^][]{0,1000}\])?\s*(?=\{)")
_BRACE = re.compile(r"\\[\\{}]|[{}]")
_MATH_PART = re.compile(
    r"\n[ \t]*\n|\\[\\$]|\$\$?|\\[()\[\]]"
    rf"|\\(begin|end)\{{(?:{MATH})\*?\}}|\\ensuremath[ \t]*(\{{)|[{{}}]"
)


def latex_to_text(
    files: dict[str, str],
    max_chars: int,
    *,
    text: bool = False,
    math: bool = True,
    abstract: bool = False,
    appendix: bool = False,
) -> Paper:
    """The paper whose .tex and .sty files, by name, these are. `text`: without markup; `math`,
    `abstract`, `appendix`: whether they are kept.

    Raises ExtractError: no_main_file, too_large, too_deep, macro_bomb.
    """
    whole, macros, theorems, maths = expand(whole_source(files, max_chars), max_chars)
    whole = unaccent(whole, macros)
    _, begin, body = whole.partition(r"\begin{document}")
    body = _main_part(body if begin else whole, abstract=abstract, appendix=appendix)
    body = _drop_environments(body, *PICTURES.split("|"))
    body = _ensure_math(_GRAPHICS.sub("", body), math)
    if text:
        body = plain(body, math=math, theorems=theorems, math_environments=maths)
    else:
        body = "\n".join([line.rstrip(" \t") for line in body.split("\n")])
        body = re.sub(r"\n{3,}", "\n\n", body).strip()
    return Paper(body, *_front(whole))


def _front(whole: str) -> tuple[str, str]:
    """(title, authors), as far as they are there in the usual commands."""
    title = _TITLE.search(whole)
    titles = _braced(whole, title.end()) if title else ""
    authors = itertools.islice(_AUTHOR.finditer(whole), 200)
    found = [_braced(whole, match.end()) for match in authors]
    names = []
    for name in re.split(
        r"\\and(?![A-Za-z])|\\AND(?![A-Za-z])|\\And(?![A-Za-z])", "\\and ".join(found)
    ):
        # What follows the name are addresses, marks and thanks.
        name = re.split(r"\\\\|\\(?:thanks|footnote|inst|affil|address|email)(?![A-Za-z])", name)[0]
        names.append(plain(re.sub(r"\$[^$]{0,200}\$", "", name), math=False).strip(" ,"))
    author = ", ".join(" ".join(name.split()) for name in names if name.strip())
    return " ".join(plain(titles).split())[:500], author[:500]


def _braced(text: str, at: int, limit: int = 20_000) -> str:
    """What the braces that open at `at` hold; "" where they do not close within `limit`."""
    depth = 0
    for match in _BRACE.finditer(text, at, at + limit):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return text[at + 1 : match.start()]
    return ""


def _main_part(body: str, *, abstract: bool, appendix: bool) -> str:
    if end := _END.search(body):
        body = body[: end.start()]
    first = _FIRST.search(body)
    start = _ABSTRACT.search(body) if abstract else None
    if start and (not first or start.start() < first.start()):
        body = body[start.start() :]
    elif first:
        body = body[first.start() :]
    elif front := list(_END_OF_FRONT.finditer(body)):
        body = body[front[-1].end() :]
    body = _BIBLIOGRAPHY.sub("", _drop_environments(body, *_BIBLIOGRAPHIES))
    if references := _REFERENCES.search(body):
        after = _AFTER_REFERENCES.search(body, references.end())
        body = body[: references.start()] + (body[after.start() :] if after else "")
    back = _APPENDIX.search(body)
    return body[: back.start()] if back and not appendix else body


def _drop_environments(text: str, *names: str) -> str:
    """Without these environments; one that is not closed reaches to the end."""
    for name in names:
        begin, end = f"\\begin{{{name}}}", f"\\end{{{name}}}"
        kept = []
        at = 0
        while (start := text.find(begin, at)) >= 0:
            kept.append(text[at:start])
            stop = text.find(end, start)
            at = len(text) if stop < 0 else stop + len(end)
        text = "".join([*kept, text[at:]])
    return text


def _ensure_math(text: str, keep: bool) -> str:
    r"""\ensuremath{x}, which macros leave behind, as x in math and $x$ in text; without `keep`,
    no math at all."""
    if keep and "\\ensuremath" not in text:
        return text
    out: list[str] = []
    groups: list[str] = []  # what ends each open group
    maths: list[int] = []  # how many groups were open where each open math began
    at = 0
    for match in _MATH_PART.finditer(text):
        token = match[0]
        if keep or not maths:
            out.append(text[at : match.start()])
        at = match.end()
        outside = not maths
        if token.isspace():
            maths.clear()  # no math goes on in the next paragraph: a $ that is left open is a price
        elif match[2]:
            token = "" if maths else "$"
            groups.append(token)
            if token:
                maths.append(len(groups))
        elif token == "{":
            groups.append("}")
        elif token == "}":
            token = groups.pop() if groups else "}"
            if token == "$":
                maths = maths[:-1]
        elif match[1] == "end" or token in ("\\)", "\\]"):
            maths = maths[:-1]
        elif token in ("$", "$$") and maths and maths[-1] >= len(groups):
            maths.pop()
        elif token[0] == "$" or match[1] or token in ("\\(", "\\["):
            maths.append(len(groups))
        if keep or (outside and not maths) or token.isspace():
            out.append(token)
    if keep or not maths:
        out.append(text[at:])
    return "".join(out)
