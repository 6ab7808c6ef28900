"""The Gopher rules against plain Python, and literal rows for every rule."""

import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.gopher import (
    STOP_WORDS,
    GopherQuality,
    GopherRepetition,
    gopher_quality,
    gopher_repetition,
    measure_quality,
    measure_repetition,
)
from filters.tokens import ALPHA, SYMBOL
from tests.test_spans import slow_tokens, texts

patient = settings(deadline=None)  # the first example compiles


def slow_quality(text: str) -> list[float | None]:
    found = slow_tokens(text)
    words = [token for token, what in found if what != SYMBOL]
    lines = text.splitlines()

    def share(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    return [
        len(words),
        share(sum(map(len, words)), len(words)),
        share(text.count("#"), len(found)),
        share(text.count("...") + text.count("…"), len(found)),
        share(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        share(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        share(sum(what == ALPHA for _, what in found), len(found)),
        len({token for token, _ in found} & set(STOP_WORDS)),
    ]


def slow_repeats(elements: list[str]) -> tuple[float, int]:
    repeats = [e for i, e in enumerate(elements) if e in elements[:i]]
    return len(repeats) / len(elements), sum(map(len, repeats))


def slow_top(words: list[str], n: int) -> int:
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return len(gram) * count


def slow_duplicate(words: list[str], n: int) -> int:
    met: set[tuple[str, ...]] = set()
    at = n_chars = 0
    while at + n <= len(words):
        gram = tuple(words[at : at + n])
        if gram in met:
            n_chars += len("".join(gram))
            at += n
        else:
            met.add(gram)
            at += 1
    return n_chars


def slow_repetition(text: str) -> list[float]:
    line_end = r"(?:(?>\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]))"
    lines, line_chars = slow_repeats(re.split(line_end + "+", text))
    paragraphs, paragraph_chars = slow_repeats(re.split(line_end + "{2,}", text.strip()))
    words = [token for token, _ in slow_tokens(text)]
    counts = [line_chars, paragraph_chars]
    counts += [slow_top(words, n) for n in (2, 3, 4)]
    counts += [slow_duplicate(words, n) for n in (5, 6, 7, 8, 9, 10)]
    return [lines, paragraphs, *(count / max(len(text), 1) for count in counts)]


def measured(columns: dict[str, pa.Array]) -> list[list[float | None]]:
    return [list(row) for row in zip(*(c.to_pylist() for c in columns.values()), strict=True)]


def table(values: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(values, pa.string())})


def failed(docs: pa.Table) -> list[str]:
    assert docs.num_rows == 1
    return docs["failed"].to_pylist()[0] or []


@patient
@given(st.lists(texts, max_size=4))
def test_quality_against_plain_python(values: list[str]) -> None:
    found = measured(measure_quality(table(values)["text"]))
    assert found == [slow_quality(text) for text in values]


@patient
@given(st.lists(texts, max_size=4))
def test_repetition_against_plain_python(values: list[str]) -> None:
    found = measured(measure_repetition(table(values)["text"]))
    assert found == [slow_repetition(text) for text in values]


def test_runs_of_nul_of_different_lengths_are_different_tokens() -> None:
    text = "the\0the\0\0"
    found = measured(measure_repetition(table([text])["text"]))
    assert found == [slow_repetition(text)]


@patient
@given(st.lists(st.sampled_from(["a", "bb"]), min_size=40, max_size=400))
def test_repeated_ngrams_against_plain_python(words: list[str]) -> None:
    text = " ".join(words)
    found = measured(measure_repetition(table([text])["text"]))[0]
    assert found == slow_repetition(text)
    assert found[7] > 0  # of two letters there are 32 5-grams, so 36 repeat one


def test_of_equally_frequent_ngrams_the_earliest_counts() -> None:
    text = "one two, one two; seventeen eighteen: seventeen eighteen"
    found = measure_repetition(table([text])["text"])["top_2_gram_char_fraction"]
    assert found.to_pylist() == [2 * len("one two") / len(text)]


PROSE = """The old harbour lies to the east of the town, and most boats that come here carry grain.
A pilot meets them near the second buoy with a lamp; he knows every rock by name.
Few visitors see the place before noon, when fog lifts off the water and gulls return.
Last winter two barges froze beside the pier, so their crews walked home over the ice.
Nobody here remembers a colder month, though my grandmother claims hers was worse."""

KEPT_QUALITY = {
    "prose": PROSE,
    "some bullets": "\n".join(f"- {line}" for line in PROSE.split("\n")[:-1]) + "\n" + PROSE,
    "some dots": PROSE.replace("ice.", "ice..."),
}
MARKED_QUALITY = {
    "too_few_words": "The old harbour lies to the east of the town.",
    "too_many_words": PROSE * 1600,
    "words_too_short": "the a of I to be by me an it is on as we no go " * 6,
    "words_too_long": PROSE + " incomprehensibilities" * 60,
    "too_many_hashes": PROSE + " http://a.b/" + "#" * 14 + "x",
    "too_many_ellipses": PROSE + " " + "." * 39,
    "too_many_bullet_lines": "\n".join(f"\t• {line}" for line in PROSE.split("\n")),
    "too_many_ellipsis_lines": PROSE.replace(".\n", "… \n"),
    "too_few_alpha_words": PROSE + " 1871" * 30,
    "too_few_stop_words": re.sub(r"\b(the|to|of|and|that|with)\b", "le", PROSE),
}


@pytest.mark.parametrize("text", KEPT_QUALITY.values(), ids=KEPT_QUALITY)
def test_quality_keeps(text: str) -> None:
    assert failed(gopher_quality(table([text]), GopherQuality())) == []


@pytest.mark.parametrize(("rule", "text"), MARKED_QUALITY.items(), ids=MARKED_QUALITY)
def test_quality_marks(rule: str, text: str) -> None:
    assert failed(gopher_quality(table([text]), GopherQuality())) == [rule]


# Each text fails its own bound and, with that bound loosened, would be kept: see the test.
OTHER = PROSE.replace("e", "u")
SENTENCE = "Few visitors see the place before noon, when fog lifts off the water"
MARKED_REPETITION = {
    "dup_line_fraction": PROSE + "\nYes.\nYes.\nYes.\nYes.",
    "dup_paragraph_fraction": PROSE.replace("\n", "\n\n") + "\n\nYes." * 4,
    "dup_line_char_fraction": PROSE + "\n" + "\n".join(PROSE.split("\n")[:2]),
    "dup_paragraph_char_fraction": PROSE + "\n\n" + OTHER + "\n\n" + OTHER,
    "top_2_gram_char_fraction": PROSE.replace(" the ", " wanderlust bewilderment ").replace(
        " a ", " wanderlust bewilderment "
    ),
    "top_3_gram_char_fraction": re.sub(r" (a|the|of) ", " go by bewilderments ", PROSE),
    "top_4_gram_char_fraction": re.sub(r" (a|the) ", " go by my bewilderments ", PROSE),
    **{
        f"dup_{n}_gram_char_fraction": f"{PROSE} {' '.join(SENTENCE.split()[:n])}, " * 2
        for n in range(5, 11)
    },
}


@pytest.mark.parametrize(("signal", "text"), MARKED_REPETITION.items(), ids=MARKED_REPETITION)
def test_repetition_marks(signal: str, text: str) -> None:
    docs = gopher_repetition(table([text]), GopherRepetition())
    assert f"high_{signal}" in failed(docs)
    every_other = {
        field: 1.0 for field in GopherRepetition.__dataclass_fields__ if field != f"max_{signal}"
    }
    alone = gopher_repetition(table([text]), GopherRepetition(**every_other))
    assert failed(alone) == [f"high_{signal}"]
    assert alone["value"].to_pylist() == docs[f"gopher.{signal}"].to_pylist()
    assert alone["threshold"].to_pylist() == [getattr(GopherRepetition(), f"max_{signal}")]


@pytest.mark.parametrize(
    "text", [PROSE, PROSE + "\n\n" + OTHER, PROSE.replace("\n", "\r\n\r\n"), ""]
)
def test_repetition_keeps(text: str) -> None:
    assert failed(gopher_repetition(table([text]), GopherRepetition())) == []


def test_empty_text_null_text_and_a_script_without_spaces() -> None:
    thai = "ภาษาไทยเขียนติดกันโดยไม่มีช่องว่างระหว่างคำ" * 20
    docs = gopher_quality(table(["", None, thai]), GopherQuality())
    assert docs["rule"].to_pylist() == ["too_few_words", "too_few_words", "too_few_stop_words"]
    assert docs["value"].to_pylist() == [0.0, None, 0.0]
    assert docs["gopher.n_words"].to_pylist() == [0, None, 175]
    iroha = "いろはにほへとちりぬるをわかよたれそつねならむうゐのおくやま"
    iroha += "けふこえてあさきゆめみしゑひもせす"
    docs = gopher_repetition(table(["", None, iroha]), GopherRepetition())
    assert docs["rule"].to_pylist() == [None, "high_dup_line_fraction", None]


def test_any_split_into_batches_gives_the_same_rows() -> None:
    values = [PROSE, None, "", *MARKED_QUALITY.values(), *MARKED_REPETITION.values()]
    docs = table(values)
    whole = gopher_repetition(gopher_quality(docs, GopherQuality()), GopherRepetition())
    for cut in range(0, len(values) + 1, 5):
        parts = [
            gopher_repetition(gopher_quality(part, GopherQuality()), GopherRepetition())
            for part in (docs[:cut].combine_chunks(), docs[cut:].combine_chunks())
        ]
        assert pa.concat_tables(parts).combine_chunks().equals(whole)
    assert 0 < whole["rule"].null_count < len(values)


def test_no_rows_give_the_same_columns() -> None:
    for step, config in (
        (gopher_quality, GopherQuality()),
        (gopher_repetition, GopherRepetition()),
    ):
        assert step(table([]), config).schema == step(table([PROSE]), config).schema


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (GopherQuality, {"min_words": 9, "max_words": 5}, "max_words 5 is below min_words 9"),
        (GopherQuality, {"min_alpha_word_fraction": 1.5}, "min_alpha_word_fraction 1.5 is not"),
        (GopherQuality, {"stop_words": ("of", "in the")}, "stop_words: 'in the' is 2 tokens"),
        (GopherRepetition, {"max_dup_line_fraction": -1}, "max_dup_line_fraction -1 is not"),
    ],
)
def test_a_mistake_in_the_config(config: type, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**values)
