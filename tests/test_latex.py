r"""pipeline/extract/latex.py and tex_source.py: files, comments, what is cut, sources that would
grow without end."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.extract.html import ExtractError
from pipeline.extract.latex import latex_to_text
from pipeline.extract.tex_source import uncomment

MAIN = r"""% a comment
\documentclass{article}
\input{macros} % my own
\title{On \emph{Primes} and G\"odel}
\author{Kurt G\"{o}del$^1$\thanks{IAS} \and Paul Erd{\H o}s \\ Budapest}
\begin{document}
\maketitle
Front matter.
\begin{abstract}
We study $\R$.
\end{abstract}
\section{One}
A 100\% sure thing. % not this
% nor this
\begin{comment}
nor this
\end{comment}
\include{sections/two}
\begin{figure}\includegraphics[width=3cm]{f.pdf}
\begin{tikzpicture}\draw (0,0);\end{tikzpicture}
\caption{A \'etude.}\end{figure}
\bibliographystyle{plain}
\begin{thebibliography}{9}
\bibitem{x} Someone.
\end{thebibliography}
\section*{References} [1] Someone else.
\appendix
\section{Proofs}
The $\Hom$ of \name.
\bibliography{refs}
\end{document}
After the end.
"""
MACROS = r"""
\newcommand{\R}{\mathbb{R}}
\newcommand*\name{\first{} \last}
\def\first{Ada}\def\last{Lovelace}
\newcommand{\pair}[2]{(#1,#2)}
\DeclareMathOperator{\Hom}{Hom}
\renewcommand{\section}[1]{no}
"""
TWO = "\\section{Two}\n$\\pair{1}{2}$ in $\\R$.\n"
EXPECTED = r"""\section{One}
A 100\% sure thing.
\section{Two}
$(1,2)$ in $\mathbb{R}$.

\begin{figure}

\caption{A étude.}\end{figure}"""
APPENDIX = r"""\appendix
\section{Proofs}
The $\operatorname{Hom}$ of Ada Lovelace."""


def paper() -> dict[str, str]:
    """A small sound paper of three files: a seed for mutations."""
    return {"main.tex": MAIN, "macros.tex": MACROS, "sections/two.tex": TWO}


def body(source, **options):
    main = "\\documentclass{a}\\begin{document}\\section{S}" + source + "\\end{document}"
    return latex_to_text({"m.tex": main}, 100_000, **options).text.removeprefix("\\section{S}")


def kind(files, max_chars=10**6):
    with pytest.raises(ExtractError) as caught:
        latex_to_text(files, max_chars)
    return caught.value.kind


def test_a_paper():
    found = latex_to_text(paper(), 10_000)
    assert found == (EXPECTED, "On Primes and Gödel", "Kurt Gödel, Paul Erdős")
    assert latex_to_text(dict(reversed(paper().items())), 10_000) == found


def test_abstract_and_appendix_where_asked_for():
    text = latex_to_text(paper(), 10_000, abstract=True, appendix=True).text
    assert text.startswith("\\begin{abstract}\nWe study $\\mathbb{R}$.\n\\end{abstract}\n\\section")
    assert text.endswith(APPENDIX) and "Someone" not in text


def test_plain_text_and_no_math():
    text = "One\n\nA 100% sure thing.\n\nTwo\n\n$(1,2)$ in $\\mathbb{R}$.\n\nA étude."
    assert latex_to_text(paper(), 10_000, text=True).text == text
    text = "One\n\nA 100% sure thing.\n\nTwo\n\nin.\n\nA étude."
    assert latex_to_text(paper(), 10_000, text=True, math=False).text == text
    assert body("a $x\\mbox{ if $y$}z$ b $5\n\nc $x$ d", math=False).split() == list("abcd")
    math = r"a $x$ b \[ y \] c \begin{align*} z \end{align*} d \$5 $$w$$ e \(v\) f"
    assert body(math, math=False).split() == [r"a", r"b", r"c", r"d", r"\$5", r"e", r"f"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a% b\nc", "ac"),
        ("a % b\n   c", "a c"),
        ("a\n  % b\nc", "a\nc"),
        ("a% b\n\nc", "a\n\nc"),
        ("% b", ""),
        (r"50\% off \\% line", r"50\% off \\"),
        (r"\verb|%| \url{http://a/%7E} x", r"\verb|%| \url{http://a/%7E} x"),
        (
            "\\begin{verbatim}\n% kept\n\\end{verbatim}%x",
            "\\begin{verbatim}\n% kept\n\\end{verbatim}",
        ),
        ("\\begin{verbatim} % open", "\\begin{verbatim} % open"),
        ("a\\begin{comment} % \\end{comment}b", "ab"),
        ("a\n\\endinput\nb", "a\n"),
        ("a\r\nb\rc % d\r\ne", "a\nb\nc e"),
    ],
)
def test_comments(source, expected):
    assert uncomment(source) == expected


def test_ensuremath_is_math_where_it_stands():
    assert body(r"\newcommand\N{\ensuremath{\mathbb{N}}}$\N$ and \N, $x_{\N}$.") == (
        r"$\mathbb{N}$ and $\mathbb{N}$, $x_{\mathbb{N}}$."
    )


def test_which_file_is_the_main_one():
    text = "\\begin{document}\\section{A}%s\\end{document}"
    files = {
        "preamble.tex": "\\documentclass{article}" + "\\usepackage{x}" * 50,
        "b.tex": "\\input{preamble}" + text % ("long " * 20),
        "a.tex": "\\input preamble\n" + text % "short",
        "notes.tex": "words " * 500,
    }
    assert latex_to_text(files, 10_000).text.startswith("\\section{A}long long")
    assert latex_to_text({"x.tex": "plain \\TeX\\ text"}, 100).text == "plain \\TeX\\ text"
    plain = {"p.tex": "\\input harvmac\n\\newsec{Intro}\n\\input q\n\\bye gone", "q.tex": "Text."}
    assert latex_to_text(plain, 1000).text == "\\newsec{Intro}\nText."
    assert kind({"a.tex": "x", "b.tex": "y"}) == "no_main_file"


def test_packages_subfiles_and_folders():
    chapter = (
        "\\documentclass[main]{subfiles}\\begin{document}Inner \\n.\\end{document}" + "%" * 999
    )
    files = {
        "src/main.tex": "\\documentclass{a}\\usepackage{graphicx, mine}\\begin{document}"
        "\\section{S}\\subfile{ch/one}\\import{ch/}{two}\\input{ch/three.tex}\\end{document}",
        "src/ch/one.tex": chapter,
        "src/ch/two.tex": "Two.",
        "ch/three.tex": "Three.",
        "mine.sty": "\\newcommand{\\n}{name}",
    }
    assert latex_to_text(files, 10_000).text == "\\section{S}Inner name.Two.Three."


def test_inputs_stay_inside_and_end():
    main = "\\documentclass{a}\\begin{document}\\section{S}%s\\end{document}"
    files = {
        "main.tex": main
        % "\\input{../../etc/passwd}\\input{/etc/passwd}\\input{loop}\\input{main}.",
        "loop.tex": "x\\input{loop}\\input{pool}",
        "pool.tex": "y\\input{loop}",
    }
    assert latex_to_text(files, 1000).text == "\\section{S}xy."
    bomb = {f"f{i}.tex": f"\\input{{f{i + 1}}}" * 10 for i in range(12)}
    bomb["f12.tex"] = "boom"
    assert kind({"main.tex": main % "\\input{f0}", **bomb}, 100_000) == "too_large"
    chain = {f"f{i}.tex": f"\\input{{f{i + 1}}}" for i in range(30)} | {"f30.tex": "deep"}
    assert kind({"main.tex": main % "\\input{f0}", **chain}) == "too_deep"


@pytest.mark.parametrize(
    ("title", "author", "expected"),
    [
        (r"\title[short]{A \\ B\footnote{c}}", "", ("A B (c)", "")),
        ("", r"\author{X Y}\author[2]{Z}", ("", "X Y, Z")),
        (r"\title{unclosed", r"\author", ("", "")),
    ],
)
def test_title_and_authors(title, author, expected):
    files = {"m.tex": f"\\documentclass{{a}}{title}\n{author}\n\\begin{{document}}x"}
    assert latex_to_text(files, 1000)[1:] == expected


@settings(max_examples=200)
@given(
    st.text(alphabet="\\abe{}%[]#12$&~^' \n", max_size=200),
    st.booleans(),
    st.booleans(),
)
def test_any_text_ends(text, as_text, math):
    source = "\\def\\a" + text + "\\newcommand" + text + "\\begin{document}" + text + "\\a\\b"
    try:
        found = latex_to_text({"m.tex": source}, 100_000, text=as_text, math=math)
    except ExtractError as error:
        assert error.kind in ("macro_bomb", "too_large")
    else:
        assert len(found.text) <= 16 * len(source) + (1 << 20)


def test_mutations_of_a_paper():
    random.seed(5)
    pieces = [
        "\\",
        "{",
        "}",
        "\\begin{",
        "\\end{document}",
        "$",
        "%",
        "\\def\\x#1",
        "\\iffalse",
        "\\input{main}",
        "\\newcommand{\\R}{\\R\\R}",
        "\\verb",
        "\n\n",
        "[",
        "é",
    ]
    for _ in range(300):
        files = paper()
        name = random.choice(sorted(files))
        text = files[name]
        for _ in range(random.randint(1, 6)):
            at, stop = sorted(random.choices(range(len(text)), k=2))
            text = random.choice(
                [text[:at] + text[stop:], text[:at] + random.choice(pieces) + text[at:]]
            )
            text = text or "x"
        files[name] = text
        for as_text in (False, True):
            try:
                found = latex_to_text(files, 100_000, text=as_text)
            except ExtractError as error:
                assert error.kind in ("macro_bomb", "too_large", "no_main_file", "too_deep")
            else:
                assert len(found.text) <= 100_000 and "\ufdd0" not in found.text


@pytest.mark.parametrize(
    "piece",
    [
        "% \n",
        "\\author{",
        "\\begin{verbatim}",
        "\\url{",
        "\\ensuremath{",
        "$",
        "{",
        "\\title[",
        "\\input{x}",
    ],
)
def test_long_hostile_sources_take_linear_work(piece):
    assert latex_to_text({"m.tex": "\\begin{document}" + piece * 50_000}, 32 << 20) is not None
