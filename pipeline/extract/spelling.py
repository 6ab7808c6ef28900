"""Which of two readings of a page's bytes is spelt as a language spells: what charsets are told
apart by where a detector of bytes has seen too few of them.

The letters beyond ASCII of a page in one language are in that language's alphabet: French in
ISO 8859-2 has é and ę, which no language has. Of 30 alphabets (CLDR's exemplar characters); a
language without one here, such as most of the 380 of the Declaration of Human Rights, fits none in
either reading, and decides nothing.
"""

import re
from collections import Counter

_ALPHABETS = [
    frozenset(letters)
    for letters in (
        *("àâæçèéêëîïôùûüÿœ", "äöüß", "áéíñóúü", "àáâãçéêíóôõúü", "àèéìíîòóùú", "àçèéíïòóúü"),
        *("ăâîșşțţ", "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ćčđšž"),
        *("çë", "âçîöûüğışə", "ąčęėįšųūž", "āčēģīķļņōŗšūž", "äõöüšž", "åäöé", "åæéøòô"),
        *("áæéðíóöúýþ", "áæðíóøúý", "àèìòùċġħż", "ĉĝĥĵŝŭ", "áèéêëïíóöúü", "äáéèêëíîïôóöúû", "çñü"),
        *("àáâäèéêëìíîïòóôöùúûüýÿŵŷ", "áéíóú"),
    )
]
_LATIN = "\xc0-\xd6\xd8-\xf6\xf8-\u024f\u1e00-\u1eff"
_OTHER = "\u0370-\u1dff\u2e80-\ud7ff\uf900-\ufdff\ufe70-\uffdc"
_MARKS = "[\xa1-\xbf\xd7\xf7\x80-\x9f\ufffd\u02c6-\u02dd]"
_LATIN_LETTER, _OTHER_LETTER = re.compile(f"[{_LATIN}]"), re.compile(f"[{_OTHER}]")
_FITS = re.compile(f"[A-Za-z][{_LATIN}]+|[{_LATIN}]+[a-z]|(?<![A-Za-z])[{_OTHER}]+(?![A-Za-z])")
_MISFITS = re.compile(
    f"[{_LATIN}]{{3,}}|[A-Za-z][{_OTHER}]|[{_OTHER}][A-Za-z]|[A-Za-z]{_MARKS}[A-Za-z]"
)


def word_share(text: str) -> float:
    """Share of the places with a letter beyond ASCII that are as in words: Latin letters beside
    others of them, letters of other scripts not."""
    fits, misfits = len(_FITS.findall(text)), len(_MISFITS.findall(text))
    return fits / (fits + misfits) if fits + misfits else 1.0


def alphabet_shares(one: str, other: str) -> tuple[float, float]:
    """Of two readings, the shares of the letters beyond ASCII that the alphabet which has most of
    them has; places that are as in no word count against it. (0, 0) where either has letters of
    another script: "USB接口" is written so, and "Caf茅" is not."""
    if _OTHER_LETTER.search(one) or _OTHER_LETTER.search(other):
        return 0.0, 0.0
    return _alphabet_share(one), _alphabet_share(other)


def _alphabet_share(text: str) -> float:
    letters = Counter(_LATIN_LETTER.findall(text.lower()))
    most = max(sum(n for c, n in letters.items() if c in alphabet) for alphabet in _ALPHABETS)
    n = letters.total() + len(_MISFITS.findall(text))
    return most / n if n else 1.0
