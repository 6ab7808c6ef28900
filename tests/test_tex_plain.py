r"""pipeline/extract/tex_plain.py: LaTeX to reading text, token by token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.tex_letters import unaccent
from pipeline.extract.tex_plain import plain


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("a\nb\n\n\nc", "a b\n\nc"),
        (r"\section*{One \textbf{two}}\label{s}Text", "One two\n\nText"),
        (r"see~\ref{a}, \eqref{b} and \citep[p.~3]{c,d}.", "see\u00a0[ref], [ref] and [cite]."),
        ("``a'' -- b --- `c' d-e", "“a” – b — ‘c' d-e"),
        (
            r"G\"odel, \'{e}, \v{s}, Erd{\H o}s, \c{c}, \'\i, \^{\i}, na\"{\i}ve",
            "Gödel, é, š, Erdős, ç, í, î, naïve",
        ),
        (
            r"Stra{\ss}e, \o re, \AA ngstr\"om, \OE uvre, \dots\ \S 5",
            "Straße, øre, Ångström, Œuvre, … §5",
        ),
        (r"100\% of \$5 \& \#1 \_x \{y\}", "100% of $5 & #1 _x {y}"),
        (r"It\footnote{A note.} holds.", "It (A note.) holds."),
        (r"\begin{itemize}\item a\item[x] b\end{itemize}c", "- a\nx b\n\nc"),
        (
            r"\begin{enumerate}\item a\item b\begin{enumerate}\item c\end{enumerate}"
            r"\item d\end{enumerate}",
            "1. a\n2. b\n\n1. c\n\n3. d",
        ),
        (
            r"\begin{tabular}{l|r}a & b \\ \hline c & \multicolumn{2}{c}{d}\\[2pt]\end{tabular}",
            "a | b\nc | d",
        ),
        (r"\begin{table}[ht]\centering\caption[s]{Long}\end{table}", "Long"),
        (
            r"\begin{theorem}[Main] X.\end{theorem}\begin{proof}Y.\end{proof}",
            "Theorem (Main). X.\n\nProof. Y.",
        ),
        ("\\begin{verbatim}\n a  % b\n  c\n\\end{verbatim}", " a  % b\n  c"),
        (r"\verb|a  \b| \url{http://x/%7E_y}", r"a  \b http://x/%7E_y"),
        (r"$a  b$, \(c\), costs $5", r"$a b$, \(c\), costs $5"),
        (
            "x\n\\begin{align}\n a &= b \\label{q} \\\\\n c\n\\end{align}\ny",
            "x\n\\begin{align}\na &= b \\\\\nc\n\\end{align}\ny",
        ),
        (r"a \[ x \] b", "a\n\\[ x \\]\nb"),
        (r"\begin{tikzpicture}\draw;\end{tikzpicture}a\includegraphics[w]{f}\vspace{1em}b", "ab"),
        (r"\href{http://x}{link} \textcolor{red}{r} \unknown{kept}", "link r kept"),
        (r"a\\b\newline c", "a\nb\nc"),
    ],
)
def test_plain(source, expected):
    assert plain(source) == expected


def test_without_math():
    assert plain(r"Let $x$ be \[ y \] so \begin{equation}z\end{equation} it.", math=False) == (
        "Let be\n\nso\n\nit."
    )


def test_the_papers_own_environments():
    source = r"\begin{thm}A.\end{thm}\begin{eq} x_1 \end{eq}"
    text = plain(source, theorems={"thm": "Satz"}, math_environments=frozenset({"eq"}))
    assert text == "Satz. A.\n\n\\begin{eq} x_1 \\end{eq}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            r"\'e \'{e} {\'e}t \v{s} \H o \c{c}a Erd{\H o}s \textbf{\'E}x",
            r"é é ét š ő ça Erdős \textbf{É}x",
        ),
        (r"\\'a \'\i \^\i{} \.Z \ss{} \o re {\ss}e", r"\\'a íî{} Ż ß øre ße"),
        (r"\c{x}\own \'1", r"\c{x}\own \'1"),
    ],
)
def test_letters_of_latex(source, expected):
    assert unaccent(source, frozenset()) == expected
    assert unaccent(r"\c{c} \o", frozenset({"c", "o"})) == r"\c{c} \o"


@given(st.text(alphabet="\\abegin{}$&[]*'\"`-~%é\n \ufdd0", max_size=200), st.booleans())
def test_any_text(source, math):
    text = plain(source, math=math)
    assert len(text) <= 4 * len(source) + 100 and "\ufdd0" not in text


@pytest.mark.parametrize(
    "piece",
    [
        "\\label{",
        "\\(",
        "$",
        "\\begin{align}",
        "{",
        "\\verb|",
        "\\url{",
        "\\item[",
        "\\'",
        "\\begin{verbatim}",
        "\\cite{",
        "\n",
    ],
)
def test_long_hostile_text_takes_linear_work(piece):
    assert plain(piece * 100_000) is not None


def test_math_within_math_and_options_of_unknown_commands():
    assert plain(r"$a\mbox{ if $x$}$ b \unknown[2pt] c", math=True) == r"$a\mbox{ if $x$}$ b c"
    assert plain(r"$a\mbox{ if $x$}$ b", math=False) == "b"
