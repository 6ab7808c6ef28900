"""Gopher, C4 and FineWeb against datatrove 0.10.1: what its filters said of small texts, one rule
at a time, frozen here; `benchmarks/filters.py --peers` compares the two on real pages."""

import pytest

from benchmarks.filters import our_fails
from filters.canaries import PROSE, TRIPPING


def short(rule: str) -> str:
    for long, brief in (
        ("gopher_quality.", "q."),
        ("gopher_repetition.high_", "r."),
        ("fineweb.", "f."),
        ("_gram_char_fraction", ""),
        ("_fraction", ""),
    ):
        rule = rule.replace(long, brief)
    return rule


LINES = PROSE.split("\n")
TEXTS = {
    "prose": PROSE,
    "empty": "",
    "blank": "  \n ",
    "CRLF": PROSE.replace("\n", "\r\n"),
    "CRLF, blank lines": PROSE.replace("\n", "\r\n\r\n"),
    "line separators": "\u2028".join(LINES[:1] * 3 + LINES),
    "vertical tabs": "\x0b".join(["Yes."] * 4) + "\n" + PROSE,
    "currency": "$ " * 30 + "the harbour of a town and boats that go ",
    "digits in links": PROSE + " http://a.b/c-d/e?f=1&g=2,3" * 6,
    "dont": "I don't know that it's what you've got, and we'll see. " + PROSE,
    "Han": "漢字很多。" * 30,
    "Thai": "ภาษาไทยเขียนติดกัน" * 20,
    "hyphens": 'well-known, far-off, twenty-one; (so) "they" say! ' + PROSE,
    "chat": "im sure u cannot do it... lol :) " + PROSE,
    "NUL": "\0" * 60,
    "quotes": "\n".join(f'"{line}"' for line in LINES),
    "citations": PROSE.replace(".\n", ".[1]\n").replace("worse.", "worse [citation needed]."),
    "ellipsis character": PROSE.replace(".\n", "…\n"),
    "javascript": PROSE
    + "\nEnable JavaScript in your browser to see this."
    + "\nWe use cookies on this page for you.",
}
for step in ("gopher_quality", "gopher_repetition", "c4", "fineweb"):
    TEXTS |= {short(f"{step}.{rule}"): text for rule, text in TRIPPING[step].items()}

# What datatrove removes by which rule (q: gopher_quality, r: gopher_repetition, f: fineweb), and so
# do we.
EQUAL = {
    "q.too_few_words": "c4.too_few_sentences q.too_few_words r.top_4",
    "q.too_many_words": (
        "f.too_many_repeated_lines q.too_many_words r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 "
        "r.dup_9 r.dup_line_char r.dup_line"
    ),
    "q.words_too_short": (
        "c4.too_few_sentences f.too_few_terminal_lines q.words_too_short r.dup_10 r.dup_5 "
        "r.dup_6 r.dup_7 r.dup_8 r.dup_9 r.top_4"
    ),
    "q.words_too_long": (
        "c4.too_few_sentences q.words_too_long r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 "
        "r.dup_9 r.top_2 r.top_3 r.top_4"
    ),
    "q.too_many_hashes": "c4.too_few_sentences q.too_many_hashes",
    "q.too_many_ellipses": "c4.too_few_sentences q.too_many_ellipses",
    "q.too_many_bullet_lines": "q.too_many_bullet_lines",
    "q.too_many_ellipsis_lines": "c4.too_few_sentences q.too_many_ellipsis_lines",
    "q.too_few_alpha_words": (
        "c4.too_few_sentences q.too_few_alpha_words r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 "
        "r.dup_9 r.top_2 r.top_3 r.top_4"
    ),
    "q.too_few_stop_words": "q.too_few_stop_words",
    "r.dup_line": "f.too_many_repeated_lines r.dup_line",
    "r.dup_paragraph": "r.dup_paragraph",
    "r.dup_line_char": "f.too_many_repeated_lines r.dup_line_char",
    "r.dup_paragraph_char": (
        "c4.too_few_sentences f.too_few_terminal_lines f.too_many_newlines "
        "f.too_many_repeated_lines f.too_many_short_lines q.too_few_stop_words "
        "r.dup_paragraph_char"
    ),
    "r.top_2": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.top_2",
    "r.top_3": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.top_3",
    "r.top_4": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.top_4",
    "r.dup_5": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.dup_5",
    "r.dup_6": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.dup_6",
    "r.dup_7": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.dup_7",
    "r.dup_8": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.dup_8",
    "r.dup_9": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.dup_9",
    "r.dup_10": "c4.too_few_sentences f.too_few_terminal_lines q.too_few_stop_words r.dup_10",
    "c4.lorem_ipsum": "c4.lorem_ipsum",
    "c4.curly_bracket": "c4.curly_bracket",
    "c4.too_few_sentences": "c4.too_few_sentences q.too_few_words r.top_4",
    "f.too_few_terminal_lines": "c4.too_few_sentences f.too_few_terminal_lines",
    "f.too_many_short_lines": "f.too_many_short_lines q.too_few_stop_words q.too_few_words",
    "f.too_many_repeated_lines": "f.too_many_repeated_lines r.dup_10 r.dup_9",
    "f.too_many_newlines": (
        "c4.too_few_sentences f.too_many_newlines q.too_few_alpha_words q.too_few_stop_words "
        "q.too_few_words q.words_too_long"
    ),
    "prose": "",
    "CRLF": "",
    "currency": (
        "c4.too_few_sentences f.too_few_terminal_lines q.too_few_alpha_words q.too_few_words "
        "r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 r.dup_9 r.top_2 r.top_3 r.top_4"
    ),
    "dont": "",
    "hyphens": "",
    "chat": "",
    "quotes": "f.too_few_terminal_lines",
    "ellipsis character": "c4.too_few_sentences q.too_many_ellipsis_lines",
    "javascript": "",
}

# Why we differ; the rules by which only we remove; those by which only datatrove does.
DIFFERENT = {
    "CRLF, blank lines": (
        "CRLF is one line end here; there each empty line is a line of a CR",
        "",
        "r.dup_line",
    ),
    "line separators": (
        "U+2028 ends a line here, as in str.splitlines",
        "f.too_many_repeated_lines r.dup_line_char r.dup_line",
        "",
    ),
    "vertical tabs": (
        "so does a vertical tab",
        "f.too_many_repeated_lines r.dup_line",
        "",
    ),
    "digits in links": (
        "spaCy cuts some links, and keeps others, by a pattern of its own",
        "r.top_2 r.top_3",
        "q.too_few_alpha_words r.dup_10 r.dup_6 r.dup_7 r.dup_8 r.dup_9",
    ),
    "Han": (
        "a character is a word; spaCy's English takes a clause for one",
        ("q.words_too_short r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 r.dup_9 r.top_3 r.top_4"),
        "q.too_few_alpha_words q.too_few_words q.words_too_long",
    ),
    "Thai": (
        "four letters are a word; spaCy's English takes the whole run",
        "r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 r.dup_9 r.top_3 r.top_4",
        "q.too_few_words q.words_too_long",
    ),
    "NUL": (
        "each NUL is a token; in spaCy they are one",
        (
            "q.words_too_long q.words_too_short r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 "
            "r.dup_9 r.top_2 r.top_3 r.top_4"
        ),
        "",
    ),
    "citations": (
        "spaCy keeps ice.[1] together",
        "q.too_few_alpha_words",
        "",
    ),
    "blank": (
        "nothing to divide by is a null signal, which fails; there it raises",
        (
            "f.no_line q.too_few_alpha_words q.too_many_ellipses q.too_many_hashes "
            "q.words_too_long q.words_too_short"
        ),
        (
            "f.too_few_terminal_lines f.too_many_newlines f.too_many_repeated_lines "
            "f.too_many_short_lines"
        ),
    ),
    "empty": (
        "likewise; and an empty text repeats nothing here",
        (
            "f.no_line q.too_few_alpha_words q.too_many_bullet_lines q.too_many_ellipses "
            "q.too_many_ellipsis_lines q.too_many_hashes q.words_too_long q.words_too_short"
        ),
        (
            "f.too_few_terminal_lines f.too_many_newlines f.too_many_repeated_lines "
            "f.too_many_short_lines r.dup_10 r.dup_5 r.dup_6 r.dup_7 r.dup_8 r.dup_9 "
            "r.dup_line_char r.dup_line r.dup_paragraph_char r.dup_paragraph r.top_2 r.top_3 "
            "r.top_4"
        ),
    ),
}


def removing(text: str) -> set[str]:
    return {short(rule) for rule, (fails,) in our_fails([text], None).items() if fails}


@pytest.mark.parametrize("name", EQUAL)
def test_the_same_rules_remove_it(name: str) -> None:
    assert removing(TEXTS[name]) == set(EQUAL[name].split())


@pytest.mark.parametrize("name", DIFFERENT)
def test_differences_are_known(name: str) -> None:
    why, ours, theirs = DIFFERENT[name]
    found = removing(TEXTS[name])
    assert why and set(ours.split()) <= found and not set(theirs.split()) & found


def test_every_rule_was_compared() -> None:
    everything = {short(rule) for rule in our_fails([""], None)} - {"f.no_line"}
    assert everything - {rule for rules in EQUAL.values() for rule in rules.split()} == set()
    assert set(TEXTS) - set(EQUAL) - set(DIFFERENT) == {"f.no_line"}
