"""What the commands and environments of LaTeX print, for plain text."""

from pipeline.extract.tex_letters import LETTERS

WORDS = LETTERS | {
    **{"ldots": "…", "dots": "…", "textellipsis": "…", "S": "§", "P": "¶", "dag": "†"},
    **{"ddag": "‡", "copyright": "©", "textcopyright": "©", "textregistered": "®", "pounds": "£"},
    **{"texttrademark": "™", "textdegree": "°", "degree": "°", "euro": "€", "texteuro": "€"},
    **{"textendash": "–", "textemdash": "—", "textbackslash": "\\", "backslash": "\\"},
    **{"textbar": "|", "textless": "<", "textgreater": ">", "textasciitilde": "~"},
    **{"textasciicircum": "^", "textunderscore": "_", "textbullet": "•", "textquoteleft": "‘"},
    **{"textquoteright": "’", "textquotedblleft": "“", "textquotedblright": "”", "lq": "‘"},
    **{"rq": "’", "TeX": "TeX", "LaTeX": "LaTeX", "LaTeXe": "LaTeX2e", "BibTeX": "BibTeX"},
    **{"quad": " ", "qquad": " ", "enspace": " ", "thinspace": " ", "space": " ", "hfill": " "},
    **{"newline": "\n", "linebreak": "\n", "cr": "\n", "par": "\n\n", "bigskip": "\n\n"},
    **{"medskip": "\n\n", "smallskip": "\n\n", "maketitle": "\n\n", "appendix": "\n\n"},
    **{"newpage": "\n\n", "clearpage": "\n\n", "guillemotleft": "«", "guillemotright": "»"},
}
MARKS = {"~": "\u00a0", "``": "“", "''": "”", "---": "—", "--": "–", "`": "‘", '"': '"', "-": "-"}
HEADINGS = frozenset(
    ["part", "chapter", "section", "subsection", "subsubsection", "newsec", "subsec", "title"]
)
# Arguments that are no text: how many in braces go; those in brackets go with them.
_N_DROPPED = {
    0: "makebox framebox hyperref",
    1: "label vspace hspace includegraphics epsfig epsfbox psfig epsffile bibliographystyle "
    "bibliography thispagestyle pagestyle index color textcolor colorbox markright cline cmidrule "
    "todo nocite input phantom hphantom vphantom href scalebox rotatebox raisebox selectlanguage "
    "hypertarget hyperlink pdfbookmark thanks usepackage fontfamily newcounter captionsetup parbox",
    2: "setlength addtolength setcounter addtocounter markboth multicolumn multirow resizebox rule "
    "fontsize",
    3: "addcontentsline",
}
DROPPED = {word: n for n, words in _N_DROPPED.items() for word in words.split()}
ENVIRONMENT_ARGUMENTS = {
    **dict.fromkeys(
        ["tabular", "array", "longtable", "minipage", "multicols", "subfigure", "spacing"], 1
    ),
    **dict.fromkeys(
        ["tabular*", "tabularx", "tabulary", "wrapfigure", "tabu", "adjustwidth", "list"], 2
    ),
}
LISTS = frozenset(
    ["itemize", "enumerate", "description", "compactitem", "compactenum", "inparaenum"]
)
TABLES = frozenset(["tabular", "tabular*", "tabularx", "tabulary", "longtable", "tabu", "array"])
THEOREMS = {
    **{"theorem": "Theorem", "lemma": "Lemma", "proposition": "Proposition", "proof": "Proof"},
    **{"corollary": "Corollary", "definition": "Definition", "remark": "Remark"},
    **{"example": "Example", "conjecture": "Conjecture", "claim": "Claim", "exercise": "Exercise"},
}
