r"""The files of a LaTeX paper -> one source: main file found, comments out, \input followed.

Text only ever comes from the paper's own files: a name that is not one of them is left out, and so
is a file that would read itself. Paths are looked up from the main file's folder and from the top.
"""

import posixpath
import re

from pipeline.extract.html import ExtractError

INPUT_DEPTH = 16
MAIN_CANDIDATES = 20

MATH = (
    "equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|dmath|IEEEeqnarray"
    "|subequations|xalignat"
)
# Environments whose text TeX does not read. What is in those of NOT_READ is no text of the paper.
VERBATIM = r"verbatim\*?|Verbatim|lstlisting|minted|alltt"
NOT_READ = r"comment|filecontents\*?"
_EVENT = re.compile(
    rf"\\(?:begin\{{(?:({VERBATIM})|({NOT_READ}))\}}"
    r"|(?:verb\*?|lstinline)([^A-Za-z\s*{\[\\])|(url|path|href)[ \t]*\{"
    r"|[\\%])|%"
)
_MAIN = re.compile(r"\\document(?:class|style)\b|\\begin\{document\}")
_PLAIN_TEX = re.compile(
    r"\\bye\b|\\magnification\b|\\end\s*\Z|\\input\s+(?:amstex|amsppt|harvmac|phyzzx|eplain)\b"
)
_INPUT = re.compile(
    r"\\(?:(?:input|include|subfile|subfileinclude|InputIfFileExists)(?![A-Za-z@])[ \t]*"
    r"(?:\{([^{}\n]{1,300})\}|([^\s\\{}%]{1,300}))"
    r"|(?:sub)?(?:import|includefrom|inputfrom)\*?[ \t]*\{([^{}\n]{0,300})\}"
    r"[ \t]*\{([^{}\n]{1,300})\}"
    r"|(?:usepackage|RequirePackage)[ \t]*(?:\[[^][]{0,2000}\])?[ \t]*\{([^{}]{1,2000})\})"
)
_BEGIN, _END = r"\begin{document}", r"\end{document}"
_ENDINPUT = re.compile(r"^[ \t]*\\endinput\b", re.M)


def whole_source(files: dict[str, str], max_chars: int) -> str:
    """The source of the paper whose files, by name, these are.

    Of several main files (an article and its supplement, one book for three paper sizes, a
    preamble that all chapters share) the one that holds most. Raises ExtractError: no_main_file,
    too_large.
    """
    sources = {posixpath.normpath(name): uncomment(text) for name, text in sorted(files.items())}
    papers = {name: text for name, text in sources.items() if not name.endswith(".sty")}
    mains = [name for name, text in papers.items() if _MAIN.search(text)]
    mains = mains or [name for name, text in papers.items() if _PLAIN_TEX.search(text)]
    if not mains and len(papers) == 1:
        mains = list(papers)  # a fragment
    if not mains:
        names = ", ".join(list(sources)[:9])
        raise ExtractError("no_main_file", f"no \\documentclass, no \\bye in {names}")
    # A chapter that a main file reads is none itself: its own class is there for drafts.
    read = {found for name in mains for found in _read_by(name, papers[name], sources) - {name}}
    mains = [name for name in mains if name not in read] or mains
    wholes = [_resolve(name, sources, max_chars) for name in mains[:MAIN_CANDIDATES]]
    return max(wholes, key=lambda text: (_BEGIN in text, len(text)))


def uncomment(text: str) -> str:
    r"""Without comments, as TeX leaves them out (with the end of their line), and without the
    environments that hold comments. \verb, verbatim and URLs keep their `%`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    out: list[str] = []
    at = 0  # up to here the text is dealt with
    search = 0
    while match := _EVENT.search(text, search):
        verbatim, comment, delimiter, url = match.groups()
        search = match.end()
        if verbatim:
            search = _after(text, f"\\end{{{verbatim}}}", search)
        elif comment:
            if at < match.start():
                out.append(text[at : match.start()])
            at = search = _after(text, f"\\end{{{comment}}}", search)
        elif delimiter or url:
            stop = text.find(delimiter or "}", search, search + 1000)
            line = text.find("\n", search, search + 1000)
            search = stop + 1 if stop >= 0 and not 0 <= line < stop else search
        elif match[0] == "%":
            start = match.start()
            line = text.rfind("\n", at, start) + 1 or at
            own_line = not text[line:start].strip() and (
                line > at or not out or out[-1].endswith("\n")
            )
            if at < (line if own_line else start):
                out.append(text[at : line if own_line else start])
            stop = text.find("\n", start)
            stop = len(text) if stop < 0 else stop
            if own_line:
                stop += 1
            else:  # TeX skips the blanks of the next line; an empty one still ends the paragraph
                after = stop + 1
                while after < len(text) and text[after] in " \t":
                    after += 1
                stop = after if text[after : after + 1] not in ("\n", "") else stop
            at = search = min(stop, len(text))
    out.append(text[at:])
    text = "".join(out)
    stop_reading = _ENDINPUT.search(text)
    return text[: stop_reading.start()] if stop_reading else text


def _after(text: str, end: str, at: int) -> int:
    """Behind the next `end`, or the end of the text: as far as TeX would read."""
    found = text.find(end, at)
    return len(text) if found < 0 else found + len(end)


def _wanted(match: re.Match[str]) -> list[tuple[str, ...]]:
    """The files that a command asks for, each as the names that it may have."""
    name, bare, folder, file, packages = match.groups()
    if packages:
        return [(package.strip() + ".sty",) for package in packages.split(",")]
    path = posixpath.join(folder, file.strip()) if file else (name or bare).strip().strip('"')
    return [(path + ".tex", path)]


def _find(names: tuple[str, ...], folder: str, sources: dict[str, str]) -> str | None:
    paths = (
        posixpath.normpath(posixpath.join(top, name)) for top in (folder, "") for name in names
    )
    return next((path for path in paths if path in sources), None)


def _read_by(name: str, text: str, sources: dict[str, str]) -> set[str]:
    folder = posixpath.dirname(name)
    return {
        found
        for match in _INPUT.finditer(text)
        for names in _wanted(match)
        if (found := _find(names, folder, sources))
    }


def _resolve(main: str, sources: dict[str, str], max_chars: int) -> str:
    """The main file with what it reads in its place."""
    out: list[str] = []
    total = 0
    folder = posixpath.dirname(main)

    def read(text: str, path: tuple[str, ...]) -> None:
        nonlocal total
        at = 0
        for match in _INPUT.finditer(text):
            out.append(text[at : match.start()])
            total += match.end() - at
            at = match.end()
            for names in _wanted(match):
                found = _find(names, folder, sources)
                if found and found not in path and len(path) < INPUT_DEPTH:
                    read(_body(sources[found]), (*path, found))
                elif found and len(path) >= INPUT_DEPTH:
                    raise ExtractError("too_deep", f"{main}: \\input {INPUT_DEPTH} files deep")
            if total > max_chars:
                raise ExtractError("too_large", f"{main} grows beyond {max_chars} characters")
        out.append(text[at:])
        total += len(text) - at

    read(sources[main], (main,))
    if total > max_chars:
        raise ExtractError("too_large", f"{main} grows beyond {max_chars} characters")
    return "".join(out)


def _body(text: str) -> str:
    """A file as it is read by another: of a subfile, what stands between begin and end."""
    _, begin, body = text.partition(_BEGIN)
    return body.partition(_END)[0] if begin else text
