"""LaTeX sources -> the paper's body, as LLaMA kept it (Touvron et al. 2023, section 2.1, after
Lewkowycz et al. 2022).

Removed: comments, what stands before the abstract or the first section, the bibliography. The
user's macros without arguments are expanded, so that one notation does not split over many private
names. Math and markup stay as they are. Text is only ever taken from the paper's own files, and no
input makes the work grow: \\input is followed 16 deep and once on each path, a macro's expansion
is at most 10,000 characters, the whole at most `max_chars`.
"""

import posixpath
import re

from pipeline.extract.html import ExtractError

_INPUT_DEPTH = 16
_MACRO_CHARS = 10_000
_MACRO_DEPTH = 16
_CANDIDATES = 20

_BEGIN = r"\begin{document}"
_MAIN = re.compile(r"\\document(?:class|style)\b|\\begin\{document\}")
_COMMENT_LINE = re.compile(r"^[ \t]*%.*(?:\n|\Z)", re.M)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*")
_INPUT = re.compile(
    r"\\(?:input|include|subfile)\b[ \t]*(?:\{([^{}\n]{1,300})\}|([^\s\\{}%]{1,300}))"
)
_DEFINE = re.compile(
    r"\\(?:newcommand|renewcommand|providecommand|DeclareRobustCommand)\*?[ \t]*"
    r"\{?[ \t]*(\\[A-Za-z]+)[ \t]*\}?[ \t]*(\[)?"
    r"|\\[gex]?def[ \t]*(\\[A-Za-z]+)[ \t]*(?=\{)"
    r"|\\DeclareMathOperator(\*?)[ \t]*\{[ \t]*(\\[A-Za-z]+)[ \t]*\}"
)
_COMMAND = re.compile(r"\\(?:([A-Za-z]+)|.)", re.S)
_FIRST = re.compile(r"\\begin\{abstract\}|\\abstract\b|\\(?:part|chapter|section)\b\*?")
_BIBLIOGRAPHY = re.compile(
    r"\\(?:bibliography(?:style)?\{[^{}]*\}|printbibliography(?:\[[^\]]*\])?)"
)
_TITLE = re.compile(r"\\title\b[ \t]*(?:\[[^\]]{0,300}\])?[ \t\n]*(?=\{)")


def latex_to_text(files: dict[str, str], max_chars: int) -> tuple[str, str]:
    """(body, title) of the paper whose .tex files, by name, these are.

    Raises ExtractError: no_main_file, too_large.
    """
    sources = {posixpath.normpath(name): _uncomment(text) for name, text in files.items()}
    mains = [name for name in sorted(sources) if _MAIN.search(sources[name])]
    if not mains and len(sources) == 1:
        mains = list(sources)  # plain TeX, or a fragment
    if not mains:
        raise ExtractError(
            "no_main_file", f"no \\documentclass in {', '.join(sorted(sources)[:9])}"
        )
    # Of several (an article and its supplement, one book for three paper sizes, a preamble that
    # all chapters share) the one that holds most.
    wholes = [_resolve(name, sources, max_chars) for name in mains[:_CANDIDATES]]
    whole = max(wholes, key=lambda text: (_BEGIN in text, len(text)))
    _, begin, body = whole.partition(_BEGIN)
    if not begin:
        body = whole
    macros = _macros(whole)
    title = _TITLE.search(whole)
    name = _braced(whole, title.end()) if title else None
    first = _FIRST.search(body)
    if first:
        body = body[first.start() :]
    body = _drop_environments(body.partition(r"\end{document}")[0], "thebibliography", "references")
    body = _expand(_BIBLIOGRAPHY.sub("", body), macros, max_chars)
    body = re.sub(r"[ \t]+$", "", body, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", body).strip(), " ".join((name or "").split())[:500]


def _uncomment(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _COMMENT.sub(r"\1", _COMMENT_LINE.sub("", text))
    return _drop_environments(text, "comment")


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


def _resolve(main: str, sources: dict[str, str], max_chars: int) -> str:
    """The main file with what it reads in its place. A file that is not the paper's own is left
    out."""
    out: list[str] = []
    total = 0

    def read(name: str, path: tuple[str, ...]) -> None:
        nonlocal total
        text = sources[name]
        at = 0
        for match in _INPUT.finditer(text):
            piece = text[at : match.start()]
            out.append(piece)
            total += len(piece)
            at = match.end()
            wanted = posixpath.normpath((match[1] or match[2]).strip().strip('"'))
            found = next((n for n in (wanted + ".tex", wanted) if n in sources), None)
            if found and found not in path and len(path) < _INPUT_DEPTH:
                read(found, (*path, found))
            if total > max_chars:
                raise ExtractError("too_large", f"{main} grows beyond {max_chars} characters")
        out.append(text[at:])
        total += len(text) - at

    read(main, (main,))
    if total > max_chars:
        raise ExtractError("too_large", f"{main} grows beyond {max_chars} characters")
    return "".join(out)


def _braced(text: str, at: int, limit: int = _MACRO_CHARS) -> str | None:
    """What the braces that open at `at` hold; None where they do not close within `limit`."""
    depth = 0
    i = at
    end = min(len(text), at + limit + 2)
    while i < end:
        c = text[i]
        if c == "\\":
            i += 1
        elif c == "{":
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                return text[at + 1 : i]
        i += 1
    return None


def _macros(text: str) -> dict[str, str]:
    """Name -> full expansion, for macros without arguments. One that would contain itself is left
    alone."""
    found: dict[str, str] = {}
    for match in _DEFINE.finditer(text):
        name = match[1] or match[3] or match[5]
        at = match.end()
        while at < len(text) and text[at] in " \t\n":
            at += 1
        if match[2] or at >= len(text) or text[at] != "{":
            found.pop(name[1:], None)  # redefined with arguments, or as a token
            continue
        body = _braced(text, at)
        if body is None or "#" in body:
            continue
        if match[5]:
            body = f"\\operatorname{match[4]}{{{body}}}"
        found[name[1:]] = body
    done: dict[str, str | None] = {}
    for name in found:
        _full(name, found, done, ())
    return {name: body for name, body in done.items() if body is not None}


def _full(
    name: str, found: dict[str, str], done: dict[str, str | None], path: tuple[str, ...]
) -> str | None:
    """The expansion of a macro, None where it does not end within the limits."""
    if name in path or len(path) > _MACRO_DEPTH:
        return None
    if name in done:
        return done[name]
    pieces: list[str] = []
    at = length = 0
    result: str | None = None
    for match in _COMMAND.finditer(found[name]):
        if match[1] not in found:
            continue
        inner = _full(match[1], found, done, (*path, name))
        if inner is None:
            break
        pieces += [found[name][at : match.start()], inner]
        length += len(pieces[-1]) + len(pieces[-2])
        at = match.end()
        if length > _MACRO_CHARS:
            break
    else:
        result = "".join([*pieces, found[name][at:]])
    done[name] = result
    return result


def _expand(text: str, macros: dict[str, str], max_chars: int) -> str:
    total = len(text)

    def replace(match: re.Match[str]) -> str:
        nonlocal total
        body = macros.get(match[1])
        if body is None:
            return match[0]
        total += len(body)
        if total > max_chars:
            raise ExtractError("too_large", f"macros expand to more than {max_chars} characters")
        # \def\a{\alpha} before a letter, as in {\a}b: keep the command's end
        glue = (
            " "
            if re.search(r"\\[A-Za-z]+\Z", body) and text[match.end() : match.end() + 1].isalpha()
            else ""
        )
        return body + glue

    return _COMMAND.sub(replace, text)
