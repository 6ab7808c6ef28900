r"""pipeline/extract/latex.py: \input, comments, macros, and sources that would grow without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.html import ExtractError
from pipeline.extract.latex import latex_to_text

MAIN = r"""% a comment
\documentclass{article}
\input{macros} % my own
\title{On \emph{Primes}}
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
\bibliographystyle{plain}
\begin{thebibliography}{9}
\bibitem{x} Someone.
\end{thebibliography}
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
EXPECTED = r"""\begin{abstract}
We study $\mathbb{R}$.
\end{abstract}
\section{One}
A 100\% sure thing.

\section{Two}
$\pair{1}{2}$ in $\mathbb{R}$.

\appendix
\section{Proofs}
The $\operatorname{Hom}$ of Ada{} Lovelace."""


def test_a_paper():
    two = "\\section{Two}\n$\\pair{1}{2}$ in $\\R$.\n"
    files = {"main.tex": MAIN, "macros.tex": MACROS, "sections/two.tex": two}
    assert latex_to_text(files, 10_000) == (EXPECTED, r"On \emph{Primes}")
    assert latex_to_text(dict(reversed(files.items())), 10_000)[0] == EXPECTED


def test_which_file_is_the_main_one():
    body = "\\begin{document}\\section{A}%s\\end{document}"
    files = {
        "preamble.tex": "\\documentclass{article}" + "\\usepackage{x}" * 50,
        "b.tex": "\\input{preamble}" + body % ("long " * 20),
        "a.tex": "\\input preamble\n" + body % "short",
        "notes.tex": "words " * 500,
    }
    assert latex_to_text(files, 10_000)[0].startswith("\\section{A}long long")
    assert latex_to_text({"x.tex": "plain \\TeX\\ text"}, 100)[0] == "plain \\TeX\\ text"
    with pytest.raises(ExtractError) as caught:
        latex_to_text({"a.tex": "x", "b.tex": "y"}, 100)
    assert caught.value.kind == "no_main_file"


def test_inputs_stay_inside_and_end():
    main = "\\documentclass{a}\\begin{document}\\section{S}%s\\end{document}"
    files = {
        "main.tex": main
        % "\\input{../../etc/passwd}\\input{/etc/passwd}\\input{loop}\\input{main}.",
        "loop.tex": "x\\input{loop}\\input{pool}",
        "pool.tex": "y\\input{loop}",
    }
    assert latex_to_text(files, 1000)[0] == "\\section{S}xy."
    bomb = {f"f{i}.tex": f"\\input{{f{i + 1}}}" * 10 for i in range(12)}
    bomb["f12.tex"] = "boom"
    with pytest.raises(ExtractError) as caught:
        latex_to_text({"main.tex": main % "\\input{f0}", **bomb}, 100_000)
    assert caught.value.kind == "too_large"


def test_macros_end():
    main = "\\documentclass{a}%s\\begin{document}\\section{S}%s\\end{document}"
    loop = r"\def\a{\b}\def\b{\a}\def\c{\c x}"
    assert latex_to_text({"m.tex": main % (loop, r"\a\b\c")}, 1000)[0] == r"\section{S}\a\b\c"
    laughs = "".join(
        f"\\def\\{x}{{{chr(92) + y}{chr(92) + y}}}"
        for x, y in zip("abcdefghijklmn", "bcdefghijklmno", strict=True)
    )
    text = latex_to_text({"m.tex": main % (laughs + r"\def\o{ha}", r"\n. \a")}, 10**6)[0]
    assert text == r"\section{S}haha. \a"  # \a would be 2^14 times ha
    many = r"\def\o{" + "ha" * 4000 + "}"
    with pytest.raises(ExtractError) as caught:
        latex_to_text({"m.tex": main % (many, r"\o" * 1000)}, 100_000)
    assert caught.value.kind == "too_large"
    deep = "{" * 5000
    assert latex_to_text({"m.tex": main % ("\\def\\x" + deep, r"\x")}, 10**6)[0] == r"\section{S}\x"
    glued = main % (r"\def\al{\alpha}", r"{\al}b \al b \al{}b \al1")
    assert (
        latex_to_text({"m.tex": glued}, 1000)[0]
        == r"\section{S}{\alpha}b \alpha b \alpha{}b \alpha1"
    )


@given(st.text(alphabet="\\ab{}%[]#12 \n", max_size=200))
def test_any_text_ends(text):
    macro = "\\def\\a" + text + "\\newcommand" + text
    body, title = latex_to_text({"m.tex": macro + "\\begin{document}" + text + "\\a\\b"}, 100_000)
    assert len(body) <= 100_000 and title == ""
