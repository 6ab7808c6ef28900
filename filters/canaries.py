"""For each rule of the published sets a text that trips it, and it alone of its step, and one that
passes all rules of its step, both under the default configuration. `corpusmill check` runs them
against the user's, so that a rule that can never fire, or always does, shows before the run."""

import re

PROSE = """The old harbour lies to the east of the town, and most boats that come here carry grain.
A pilot meets them near the second buoy with a lamp; he knows every rock by name.
Few visitors see the place before noon, when fog lifts off the water and gulls return.
Last winter two barges froze beside the pier, so their crews walked home over the ice.
Nobody here remembers a colder month, though my grandmother claims hers was worse."""

_LINES = PROSE.split("\n")


def _words(start: int, n: int, length: int = 5) -> list[str]:
    """n made words, each of them another one."""
    out: list[str] = []
    for i in range(start, start + n):
        word = ""
        for _ in range((length + 1) // 2):
            i, syllable = divmod(i * 7 + 3, 85)
            word += "bcdfghjklmnprstvz"[syllable % 17] + "aeiou"[syllable // 17]
            i += start + len(out)
        out.append(f"{word}{chr(97 + len(out) % 26)}{chr(97 + len(out) // 26 % 26)}")
    return out


def _runs(n: int, share: float) -> str:
    """Four runs of n words, each there twice, apart: `share` of the text's words are in second
    copies."""
    filler = round(4 * n / share) - 8 * n
    words = _words(0, filler + 4 * n)
    text: list[str] = []
    for i in range(8):
        text += words[i * filler // 8 : (i + 1) * filler // 8]
        text += words[filler + i % 4 * n : filler + (i % 4 + 1) * n]
    return " ".join(text)


def _often(gram: str, times: int, filler: int) -> str:
    """The phrase so many times, other words between."""
    words = _words(0, filler)
    step = filler // times
    return " ".join(f"{gram} {' '.join(words[i * step : (i + 1) * step])}" for i in range(times))


_LONG = [" ".join(word * 3 for word in _words(40 * i, 3)) for i in range(5)]
_FOUR = ["\n".join(word[:4] for word in _words(9 * i, 4)) for i in range(14)]
_SHORT_LINES = [" ".join(_words(300 + 14 * i, 12)) for i in range(20)]
_MORE = ["\n".join(word[-7:] for word in _words(200 + 5 * i, 4)) for i in range(24)]
_BOUND = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

QUALITY = {
    "too_few_words": _LINES[0],
    "too_many_words": (PROSE + "\n") * 1500,
    "words_too_short": "the a of I to be by me an it is on as we no go " * 6,
    "words_too_long": PROSE + " incomprehensibilities" * 60,
    "too_many_hashes": PROSE + " http://a.b/" + "#" * 14 + "x",
    "too_many_ellipses": PROSE + " http://a.b/" + "." * 42 + "x",
    "too_many_bullet_lines": "\n".join(f"- {line}" for line in _LINES),
    "too_many_ellipsis_lines": PROSE.replace(".\n", "...\n"),
    "too_few_alpha_words": PROSE + " 1871" * 30,
    "too_few_stop_words": re.sub(r"\b(the|to|of|and|that|with)\b", "le", PROSE),
}
_TOP_GRAMS = {
    "high_top_2_gram_char_fraction": _often("wanderlust bewilderment", 8, 72),
    "high_top_3_gram_char_fraction": _often("by the wanderlust", 8, 64),
    "high_top_4_gram_char_fraction": _often("by the old wanderlust", 8, 88),
}
REPETITION = {
    "high_dup_line_fraction": PROSE + "\nYes." * 4,
    "high_dup_paragraph_fraction": "\n\n".join([PROSE, PROSE.swapcase(), *["Yes."] * 3]),
    "high_dup_line_char_fraction": "\n".join([*_LINES, *_LONG, *_LONG[3::-1]]),
    "high_dup_paragraph_char_fraction": "\n\n".join([*_FOUR, *_FOUR[3::-1]]),
    **_TOP_GRAMS,
    **{f"high_dup_{n}_gram_char_fraction": _runs(n, f * 1.2) for n, f in _BOUND.items()},
}
MASSIVEWEB = {
    "high_dup_line_fraction": PROSE + "\nYes." * 4,
    "high_dup_paragraph_fraction": "\n\n".join([PROSE, PROSE.swapcase(), *["Yes."] * 3]),
    "high_dup_line_char_fraction": "\n".join([*_LONG[:4], *_SHORT_LINES, *_LONG[3::-1]]),
    "high_dup_paragraph_char_fraction": "\n\n".join([*_FOUR[:5], *_MORE, *_FOUR[4::-1]]),
    **_TOP_GRAMS,
    **{f"high_dup_{n}_gram_char_fraction": _runs(n, f / 2 + 0.0025) for n, f in _BOUND.items()},
}
_TERSE = "\n".join(" ".join(_words(4 * i, 4, 3)) + "." for i in range(12))
_LONG_WORDS = "\n".join(" ".join(_words(40 * i, 2, 18)) + "." for i in range(12))
TRIPPING = {
    "gopher_quality": QUALITY,
    "gopher_repetition": REPETITION,
    "massiveweb_repetition": MASSIVEWEB,
    "c4": {
        "lorem_ipsum": PROSE + "\nThis is lorem Ipsum until somebody writes a text.",
        "curly_bracket": PROSE + "\nA function starts with a { in many languages.",
        "too_few_sentences": _LINES[0],
    },
    "fineweb": {
        "no_line": " \n ",
        "too_few_terminal_lines": PROSE.replace(".", ""),
        "too_many_short_lines": _TERSE,
        "too_many_repeated_lines": PROSE + "\n" + _LINES[0],
        "too_many_newlines": _LONG_WORDS,
    },
    "formatting": {"too_few_chars": "https://example.org/"},
    "refinedweb": {
        "no_word": "... --- ...",
        "too_many_words_removed": PROSE + "\nSUBSCRIBE TO OUR NEWSLETTER" * 3,
    },
    "dolma_repetition": {
        "too_many_repeats": "ha " * 40,
        "long_run_of_characters": PROSE + " " + "a" * 120,
    },
    "madlad": {
        "too_few_sentences": _LINES[0],
        "too_many_questionable_sentences": PROSE.title(),
    },
}
CANARIES: dict[str, tuple[str, str]] = {
    f"{step}.{rule}": (text, PROSE)
    for step, rules in TRIPPING.items()
    for rule, text in rules.items()
}

CODE = (
    """def area(width, height):
    # the corners belong to both sides
    return width * height
"""
    * 4
)
_TAGS = "<p class='narrow column'></p>" * 60
_PAGE = f"<p>{PROSE}</p>"
_LONG_LINE = f"{CODE}# {'harbour ' * 150}\n"
_LONG_LINES = f"# {'harbour ' * 30}\n" * 5
_SIGNS = "+ - * / ( ) [ ] ;\n" * 20
_NUMBERS = "1 2 3 40 506 7 8\n" * 20
_BASE64 = f"{'Z0hUc2Q4' * 200}\n"
_VISIBLE = {
    "little_visible_text": ("html", f"{_PAGE[:150]}{_TAGS}"),
    "visible_text_too_short": ("html", "<p>Noon</p>"),
}
CODE_CANARIES = {
    "llama_code": {
        "line_too_long": ("python", _LONG_LINE),
        "lines_too_long": ("python", _LONG_LINES),
        "too_few_alphanumerics": ("python", _SIGNS),
        "too_few_letters": ("python", _NUMBERS),
    },
    "starcoder": {
        "line_too_long": ("python", _LONG_LINE),
        "lines_too_long": ("python", _LONG_LINES),
        "too_few_alphanumerics": ("python", _SIGNS),
        "too_few_letters": ("matlab", _NUMBERS),
        "xml_header": ("python", f'<?xml version="1.0"?>\n{CODE}'),
        **_VISIBLE,
        "data_too_short": ("json", '{"a": "b"}'),
        "data_too_long": ("json", '{"harbour": "buoy"}\n' * 400),
        "too_few_letters_in_data": ("json", _NUMBERS),
    },
    "starcoder2": {
        "too_many_lines": ("python", "a = b\n" * 100_001),
        "line_too_long": ("python", _LONG_LINE),
        "lines_too_long": ("python", _LONG_LINES),
        "line_far_too_long": ("json", '"harbour", ' * 10_000),
        "generated": ("python", f"# This file is generated.\n{CODE}"),
        "too_few_letters": ("python", _NUMBERS),
        "too_few_alphanumerics": ("wasm-text", _SIGNS),
        "encoded_run": ("python", _BASE64),
        "mostly_encoded": ("python", _BASE64),
        "data_too_long": ("json", '{"harbour": "buoy"}\n' * 600),
        **_VISIBLE,
    },
}
"""By step and rule (language, file) that trips the rule; CODE, as Python, passes them all."""
