"""The comment at the top of a source file, and the licence notice in it.

LLaMA (Touvron et al. 2023, section 2.1) removed "boilerplate, such as headers, with regular
expressions"; the published reading of it (RedPajama) cuts the first block comment that says
"copyright", and any run of line comments, documentation included. Here only the paragraphs of the
top comments that are a notice go: a description beside them stays, and so do the shebang and the
encoding line.
"""

import re
from typing import NamedTuple

HEADER_CHARS = 20_000  # the longest header that is looked at; the GPL's notice has 700

_LINE = r"""
# awk bazel cmake coffeescript crystal cython dockerfile elixir fish gdscript gherkin gnuplot
  go-module graphql hcl ini janet julia just kconfig makefile meson nim nix perl powershell
  properties puppet python r raku robotframework ruby shell snakefile sparql starlark tcl tcsh
  toml turtle yaml
// actionscript antlr apex arduino asp bluespec c chapel cpp csharp cuda d dart fsharp glsl go
  gradle groovy hack haxe hlsl java javascript jsonnet kotlin less metal modelica motoko move
  objective-c objective-c++ odin opencl openscad pascal php protobuf pug qml reason renderscript
  rescript rust sass scala smarty solidity squirrel stan stylus supercollider svelte swift
  systemverilog thrift typescript typst vala verilog vlang vue webidl wgsl xtend zig
-- ada agda alloy applescript eiffel elm haskell idris lean lua plsql purescript sql terra vhdl
; assembly autohotkey autoit clojure common-lisp emacs-lisp fennel idl ini llvm
  motorola-68k-assembly racket rebol scheme
% erlang matlab mercury postscript prolog tex
! factor fortran
' basic visual-basic
" vim-script
dnl m4
.\" roff
rem batch
:: batch
* cobol gap sas stata
"""
"""Sign of a line comment, and whose it is; an indented line goes on."""
_BLOCK = r"""
/* */ actionscript ampl antlr apex arduino asp assembly bison bluespec c chapel cpp csharp css
  cuda d dart fsharp glsl go gradle groovy hack haxe hcl hlsl idl java javascript jsonnet kotlin
  less less lex llvm metal modelica motoko move objective-c objective-c++ odin opencl openscad
  pascal php php prolog protobuf pug qml reason renderscript rescript rust sas sass sass scala
  smarty solidity sql squirrel stan stata stylus supercollider svelte swift systemverilog thrift
  typescript typst vala verilog vlang vue webidl wgsl xtend yacc zig
<!-- --> erb handlebars html java-server-pages markdown mustache php svelte svg vue xml xslt
(* *) applescript coq fsharp isabelle mathematica modula-2 ocaml pascal reason standard-ml
{- -} agda elm haskell idris purescript
--[[ ]] lua terra
=begin =end ruby
#| |# common-lisp racket scheme
/- -/ lean
<# #> powershell
%{ %} matlab
#[ ]# nim
{# #} jinja twig
"""
_FIRST = re.compile(
    r"#!.{0,200}|<\?(?:php|xml|hh|=)?[^>\n]{0,200}(?:\?>)?[ \t]*$|<!doctype[^>\n]{0,200}>"
    r"|.{0,20}\b(?:coding|encoding)[:=][ \t]*[-\w.]{1,40}.{0,60}|.{0,10}-\*-.{0,120}-\*-.{0,20}"
    r"|[\"'%#/; ]{0,4}(?:vim?|ex): .{0,120}|\{-#.{0,200}#-\}|@charset .{0,60}|%\{|package \w+;",
    re.I,
)
"""A line that stays at the top: shebang, encoding, mode lines, an opening tag."""
_NOTICE = re.compile(
    r"\bcopyright\b|\bcopr\.|©|\(c\) ?(?:by )?(?:19|20)\d\d|spdx-|all rights reserved"
    r"|\bpublic domain\b|\blicen[cs]ed? (?:under|to)\b|\blicen[cs]es?[:/]|\.?license-"
    r"|\blicense agreement\b|\bsubject to the (?:terms|\w+ )|\bsection 7 of (?:the )?gpl"
    r"|\b(?:under|by) (?:the terms|an? [\w-]{2,20}(?: style)? licen|the [\w .,-]{2,40} licen)"
    r"|permission (?:is hereby|to use)|redistributions? |without (?:any )?(?:even the implied )?"
    r"warrant|\bwarranties\b|\b(?:see|read|refer to) (?:the )?(?:accompanying )?(?:file )?[\"'`]?"
    r"(?:\w+[ /])?(?:licen[cs]e|copying|notice)\b|you may (?:not use|obtain a copy|copy|redist)"
    r"|this (?:program|file|library|software|source|source code|code|work|package|module) (?:is|may"
    r"|can) (?:free|part of|distributed|provided|licen|subject|made available|covered|released"
    r"|governed|dual)|unless required by applicable law|you should have received a copy"
    r"|in compliance with the license|governing permissions|the above copyright"
    r"|hold(?:er|ers)? be liable|merchantability|no warrant(?:y|ies)\b"
    r"|use, modification,? and distribution",
    re.I,
)
_DECORATION = re.compile(r"[\s*#/\-=~+_;%!|'\"<>(){}.@:\\]*\Z")


class Comment(NamedTuple):
    """One comment: lines[start:end] of the file. `body` is its lines without comment signs."""

    start: int
    end: int
    body: list[str]
    open: str  # "" for a run of line comments
    close: str


def line_comment(language: str) -> str:
    """The sign that starts a line comment, "#" where the language has none or is not known."""
    return next((sign for sign, names in _LINES if language in names), "#")


def _entries(table: str) -> list[list[str]]:
    return [entry.split() for entry in table.replace("\n  ", " ").strip().splitlines()]


_LINES = [(sign, frozenset(names)) for sign, *names in _entries(_LINE)]
_BLOCKS = [((first, last), frozenset(names)) for first, last, *names in _entries(_BLOCK)]
_BLOCKS += [((quotes, quotes), frozenset({"python"})) for quotes in ('"' * 3, "'" * 3)]


def top_comments(text: str, language: str) -> tuple[list[str], list[Comment]]:
    """(the first lines of the text, with their ends; the comments among them that come before any
    code)."""
    lines = text[:HEADER_CHARS].splitlines(keepends=True)
    if len(text) > HEADER_CHARS and lines:
        lines.pop()  # it may be cut
    signs = [sign for sign, names in _LINES if language in names]
    pairs = [pair for pair, names in _BLOCKS if language in names]
    comments: list[Comment] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line or (len(comments) == 0 and at < 5 and _FIRST.fullmatch(line)):
            at += 1
            continue
        comment = _block_at(lines, at, pairs) or _run_at(lines, at, signs)
        if comment is None:
            break
        comments.append(comment)
        at = comment.end
    return lines, comments


def _block_at(lines: list[str], at: int, pairs: list[tuple[str, str]]) -> Comment | None:
    first = lines[at].strip()
    for opening, closing in pairs:
        if not first.startswith(opening):
            continue
        for end in range(at, len(lines)):
            line = lines[end].strip()
            inside = line[len(opening) :] if end == at else line
            if closing in inside:
                if inside.partition(closing)[2].strip():
                    return None  # code follows on the same line
                body = [_bare(line, "") for line in lines[at : end + 1]]
                return Comment(at, end + 1, body, opening, closing)
    return None


def _run_at(lines: list[str], at: int, signs: list[str]) -> Comment | None:
    for sign in signs:
        end = at
        while end < len(lines) and lines[end].lstrip().lower().startswith(sign):
            end += 1
        if end > at:
            return Comment(at, end, [_bare(line, sign) for line in lines[at:end]], "", "")
    return None


def _bare(line: str, sign: str) -> str:
    line = line.strip()
    line = line[len(sign) :] if sign else line
    return "" if _DECORATION.match(line) else line


_WORDS = (
    "copyright",
    "licen",
    "(c)",
    "©",
    "spdx",
    "warrant",
    "permission",
    "public domain",
    "copr.",
)


def may_hold_notice(text: str) -> bool:
    """Cheap, and true of every text with a notice: the expression takes 7 ms a file, this 10 µs."""
    lower = text.lower()
    return any(word in lower for word in _WORDS)


def header_text(text: str, language: str) -> str:
    """What the top comments say, without comment signs at the start of lines."""
    _, comments = top_comments(text, language)
    lines = [line for comment in comments for line in comment.body]
    return "\n".join(line.lstrip("*#/;%!-\"' \t") for line in lines)


def cut_license_header(text: str, language: str) -> str:
    """The text without the licence notices of its top comments."""
    if not may_hold_notice(text[:HEADER_CHARS]):
        return text
    lines, comments = top_comments(text, language)
    gone: set[int] = set()
    for comment in comments:
        if not may_hold_notice("\n".join(comment.body)):
            continue
        notice = _notice_lines(comment)
        gone |= notice
        end = comment.end
        while len(notice) == comment.end - comment.start and end < len(lines):
            if lines[end].strip():
                break
            gone.add(end)  # the blank lines after it; those before it stay
            end += 1
    if not gone:
        return text
    first = min(gone)
    head = "".join(lines[:first])
    tail = "".join(line for i, line in enumerate(lines[first:], first) if i not in gone)
    tail += text[sum(map(len, lines)) :]
    stripped = tail.lstrip("\r\n")  # the blank lines that set the notice apart go with it
    blank = tail[: len(tail) - len(stripped)]
    return head + ("\n" if head.strip() and blank else "") + stripped


def _notice_lines(comment: Comment) -> set[int]:
    """Which lines of the file go: of each paragraph, from its first line that reads as a notice to
    its end; the whole comment where nothing but decoration is left."""
    body = comment.body
    gone: set[int] = set()
    after_notice = in_notice = False  # the paragraph before was one; this one is, from here on
    for i, line in enumerate(body):
        if not line:
            after_notice, in_notice = in_notice or after_notice, False
            continue
        if not in_notice and (i == 0 or not body[i - 1]):  # a paragraph starts
            paragraph = " ".join(line.lstrip("*# \t/;") for line in _lines_of(body, i))
            goes_on = re.match(r"\W*(?:[a-z]|https?://\S+\s*\Z)", paragraph)
            whole = bool(_NOTICE.search(paragraph))
            in_notice = after_notice and (whole or bool(goes_on))
            in_notice |= whole and not any(map(_NOTICE.search, _lines_of(body, i)))
            after_notice = False
        if in_notice or _NOTICE.search(line):
            in_notice = True
            gone.add(i)
    if not gone:
        return gone
    marks = (comment.open, comment.close)
    left = [line for i, line in enumerate(body) if i not in gone and _without(line, marks)]
    if not left:
        return set(range(comment.start, comment.end))
    for i in sorted(gone):  # empty lines of the comment around the notice
        for step in (-1, 1):
            j = i + step
            while 0 <= j < len(body) and not body[j] and j not in gone:
                gone.add(j)
                j += step
    if comment.open:  # the lines that open and close the comment stay
        gone -= {0, len(body) - 1}
    return {comment.start + i for i in gone}


def _lines_of(body: list[str], at: int) -> list[str]:
    """The lines of the paragraph that starts at `at`."""
    end = at
    while end < len(body) and body[end]:
        end += 1
    return body[at:end]


def _without(line: str, marks: tuple[str, str]) -> str:
    for mark in marks:
        line = line.replace(mark, "") if mark else line
    return "" if _DECORATION.match(line) else line
