r"""pipeline/extract/tex_macros.py, tex_definitions.py, tex_reader.py: what papers define."""

import itertools
import time

import pytest

from pipeline.extract.html import ExtractError
from pipeline.extract.tex_macros import GROWTH, GROWTH_CHARS, expand


def text(source, max_chars=10**6):
    return expand(source, max_chars).text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\newcommand{\R}{\mathbb{R}}$\R^n$", r"$\mathbb{R}^n$"),
        (r"\newcommand*\n[1]{\|#1\|}$\n{x}+\n y$", r"$\|x\|+\|y\|$"),
        (r"\newcommand\n[1]{|#1|}\n{\n{\n{x}}}", "|||x|||"),
        (r"\newcommand{\ip}[2][V]{<#2>_{#1}}\ip{a}\ip[W]{b}\ip[{]}]{c}", "<a>_{V}<b>_{W}<c>_{{]}}"),
        (r"\newcommand{\o}[1][d]{(#1)}\o x \o[y]", "(d) x (y)"),
        (r"\def\p(#1,#2){<#1|#2>}\p(a,{b,c})\p[a]", r"<a|b,c>\p[a]"),
        (r"\def\to#1.{[#1]}\to a b. c", "[ a b] c"),
        (
            r"\def\be{\begin{equation}}\def\ee{\end{equation}}\be x\ee",
            r"\begin{equation} x\end{equation}",
        ),
        (r"\newcommand{\bb}{\f}\newcommand{\f}[1]{<#1>}\bb Rx", "<R>x"),  # the argument is outside
        (r"\let\eps=\varepsilon\renewcommand{\varepsilon}{\e}\eps\varepsilon", r"\varepsilon\e"),
        (r"\def\a{1}\let\b\a\def\a{2}\b\a", "12"),
        (r"\def\a{1}\a\def\a{2}\a", "12"),
        (r"\providecommand\a{1}\providecommand\a{2}\a", "1"),
        (r"\DeclareMathOperator*{\am}{arg\,max}\am_x", r"\operatorname*{arg\,max}_x"),
        (r"\NewDocumentCommand{\x}{O{1} m}{#1:#2}\x{a}\x[2]{b}", "1:a2:b"),
        (r"\newenvironment{e}[1]{<#1|}{|>}\begin{e}{t}body\end{e}", "<t|body|>"),
        (r"\newenvironment{hide}{\comment}{\endcomment}a\begin{hide}b\end{hide}c", "ac"),
        (r"\excludecomment{hide}a\begin{hide}b\end{hide}c", "ac"),
        (r"\iffalse gone \iftrue too \fi\else here\fi.", " here."),
        (r"\newif\ifd\dtrue\ifd yes\else no\fi\dfalse\ifd yes\else no\fi", " yes no"),
        (r"\def\ie{i.e.\xspace}\ie this, \ie, and \ie{} that", "i.e. this, i.e., and i.e. that"),
        (r"\long\def\a#1{(#1)}\global\let\b\a\b x", "(x)"),
        (r"\newcommand{\todo}[1]{}a\todo{b}c", "ac"),
        (r"\al\def\al{\alpha}{\al}b \al b \al{}b \al1", r"\al{\alpha}b \alpha b \alpha{}b \alpha1"),
        (r"\newcommand{\w}[1]{#1x}\w{\alpha}", r"\alpha x"),
        (
            r"\def\x{y}\verb|\x| \begin{verbatim}\x\end{verbatim}\x",
            r"\verb|\x| \begin{verbatim}\x\end{verbatim}y",
        ),
        (r"\def\x{y}\\x \\\x", r"\\x \\y"),
        (r"\mathchoice{a}{b}{c}{d}\texorpdfstring{$x$}{x}", "a$x$"),
        # left alone: structure, what programs TeX, what is not a definition
        (r"\renewcommand{\section}[1]{no}\section{S}", r"\section{S}"),
        (r"\newcommand{\x}[1]{\@ifnextchar[{#1}{}}\x{a}", r"\x{a}"),
        (r"\def\x#1#1{}\x y", r"\x y"),
        (r"\def\x{a", r"\def\x{a"),
        (r"\newcommand{\x}[n]{a}", r"\newcommand{\x}[n]{a}"),
        (r"\newcommand{\x}[2]{(#1#2)}\x{a}", r"\x{a}"),
        (r"\ifx\a\b c\fi \iff", r"\ifx\a\b c\fi \iff"),
    ],
)
def test_expansion(source, expected):
    assert text(source) == expected


def test_names_of_theorems_and_of_math():
    found = expand(
        r"\newtheorem{thm}{Theorem}[section]\newtheorem*{lem*}[thm]{Lemma}"
        r"\newenvironment{eq}{\@x\begin{align}}{\end{align}}\newcommand\a{}",
        1000,
    )
    assert found.theorems == {"thm": "Theorem", "lem*": "Lemma"}
    assert found.math == {"eq"} and "a" in found.macros and found.text == ""


def test_what_would_not_end():
    assert text(r"\def\a{\b}\def\b{\a}\a\b") == r"\a\b"
    assert text(r"\def\c{\c x}\c") == r"\c x"
    assert text(r"\def\c#1{\c{#1}}\c y") == r"\c{y}"
    assert text("\\def\\x" + "{" * 5000) == "\\def\\x" + "{" * 5000


def laughs(n):
    names = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(n + 1)]
    lines = [f"\\def\\{a}{{\\{b}\\{b}}}" for a, b in itertools.pairwise(names)]
    return "".join(lines) + f"\\def\\{names[-1]}{{ha}}\\{names[0]}"


@pytest.mark.parametrize(
    "source",
    [
        laughs(40),
        "\\def\\a{" + "x" * 5000 + "}" + "\\a" * 50_000,
        "\\def\\a#1{#1#1}" + "\\a{" * 30 + "x" + "}" * 30,
        "\\newcommand\\a[1]{}" + "\\a{" * 100_000,
        "\\def\\a#1;{}" + "\\a" * 100_000,
        "\\iftrue" * 50_000,
        "\\iftrue" * 2000 + "\\fi" * 2000,
        "\\newcommand\\a[1][]{}" + "\\a[" * 100_000,
    ],
    ids=range(8),
)
def test_bombs_are_faults(source):
    start = time.process_time()
    with pytest.raises(ExtractError) as caught:
        text(source, 32 << 20)
    assert caught.value.kind == "macro_bomb"
    assert time.process_time() - start < 60  # not a benchmark: without a budget these take hours


def test_many_definitions_take_linear_work():
    names = [f"\\m{'abcdefghij'[i % 10]}{'abcdefghij'[i // 10 % 10]}" for i in range(100)]
    source = "".join(f"\\def{name}{{x}}" for name in names) * 200 + "".join(names)
    assert text(source) == "x" * 100


def test_output_is_bounded():
    source = "\\def\\a{" + "x" * 1000 + "}" + "\\a" * 1000
    found = text(source, 32 << 20)
    assert len(found) == 1_000_000
    assert len(found) <= GROWTH * len(source) + GROWTH_CHARS
    with pytest.raises(ExtractError) as caught:
        text(source, 100_000)
    assert caught.value.kind == "too_large"
