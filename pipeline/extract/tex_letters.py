r"""TeX's letters -> Unicode: accents and the letters that have a name."""

import re
import unicodedata

ACCENTS = {
    **dict(zip("`'^~\"=.", "\u0300\u0301\u0302\u0303\u0308\u0304\u0307", strict=True)),
    **dict(zip("uvHcdbkr", "\u0306\u030c\u030b\u0327\u0323\u0331\u0328\u030a", strict=True)),
}
LETTERS = {
    **{"ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ"},
    **{"OE": "Œ", "aa": "å", "AA": "Å", "i": "ı", "th": "þ", "TH": "Þ", "dh": "ð"},
    **{"DH": "Ð", "dj": "đ", "DJ": "Đ", "ng": "ŋ", "NG": "Ŋ"},
}

_ACCENTED = re.compile(
    r"\\(?<!\\\\)(?:(['`^\"~=.])[ \t]*(?:\{\\?([A-Za-z])\}|\\([ij])(?![A-Za-z])[ ]?|([A-Za-z]))"
    r"|([uvHckr])(?:\{\\?([A-Za-z])\}|[ ]+([A-Za-z])))"
)
_BRACED = re.compile(r"\{([^\x00-\x7f])\}")
_ARGUMENT_OF = re.compile(r"\\[A-Za-z]+\*?(?:\[[^][]{0,100}\])?\Z")
_LETTER = re.compile(rf"\\(?<!\\\\)({'|'.join(LETTERS)})(?![A-Za-z@])(?:\{{\}}|[ ]+)?")


def unaccent(source: str, macros: frozenset[str]) -> str:
    r"""LaTeX with its letters as letters: \'e is é, {\H o} is ő. Not where the name is a macro of
    the paper's own."""

    def letter(match: re.Match[str]) -> str:
        accent = match[1] or match[5]
        base = match[2] or match[3] or match[4] or match[6] or match[7]
        composed = unicodedata.normalize("NFC", base + ACCENTS[accent])
        return composed if len(composed) == 1 and accent not in macros else match[0]

    def bare(match: re.Match[str]) -> str:
        before = match.string[max(0, match.start() - 150) : match.start()]
        return match[0] if _ARGUMENT_OF.search(before) else match[1]

    source = _ACCENTED.sub(letter, source)
    source = _LETTER.sub(lambda m: m[0] if m[1] in macros else LETTERS[m[1]], source)
    return _BRACED.sub(bare, source)
