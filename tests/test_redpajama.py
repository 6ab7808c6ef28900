"""RedPajama-V2's signals against plain Python after the published definitions."""

import math
import re
import string
import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.redpajama import SIGNALS, RedPajama, measure, redpajama

patient = settings(deadline=None)  # the first example compiles

PIECES = [
    "the", "THE", "Lorem", "ipsum", "JavaScript", "it's", "é", "e\u0301", "1²", "...", "…", "#",
    "{}", "_", "•", "–", "a.b!", "日本", "ǅ", "\n", "\n\n", "\t", "\r\n", "”", "a", "b", *" " * 9,
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=50).map("".join)
STRIP = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    folded = text.translate(STRIP).lower().strip()
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", folded))


def slow_ngrams(words: list[str], n: int) -> float:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(grams)
    total = max(sum(map(len, words)), 1)
    if n > 4:
        places = {i + k for i, gram in enumerate(grams) if counts[gram] > 1 for k in range(n)}
        return sum(len(words[i]) for i in places) / total
    gram, count = (counts.most_common(1) or [((), 0)])[0]
    return sum(map(len, gram)) * count / total if count > 1 else 0.0


def slow(text: str) -> dict[str, float | None]:
    content = normalize(text)
    words, raw = content.split(), re.findall(r"\w+|[^\w\s]+", text)
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    folded = [normalize(line) for line in lines]

    def share(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    counts = [count / len(words) for count in Counter(words).values()]
    bullets = tuple("•‣▶◀◦■□▪▫–")
    upper = [sum(map(str.isupper, line)) / len(line) for line in lines]
    numeric = [sum(map(str.isnumeric, line)) / max(len(line), 1) for line in folded]
    return {
        "rps_doc_num_sentences": len(re.findall(r"\b[^.!?]+[.!?]*", text)),
        "rps_doc_word_count": len(words),
        "rps_doc_mean_word_length": share(sum(map(len, words)), len(words)),
        "rps_doc_symbol_to_word_ratio": share(
            sum(text.count(s) for s in ("#", "...", "…")), len(raw)
        ),
        "rps_doc_frac_no_alph_words": share(
            sum(not re.search("[a-zA-Z]", word) for word in raw), len(raw)
        ),
        "rps_doc_frac_unique_words": share(len(set(words)), len(words)),
        "rps_doc_unigram_entropy": -sum(c * math.log(c) for c in counts) if words else None,
        "rps_doc_frac_all_caps_words": share(sum(map(str.isupper, raw)), len(raw)),
        "rps_doc_curly_bracket": sum(map(text.count, "{}")) / max(len(text), 1),
        "rps_lines_javascript_counts": mean([line.split().count("javascript") for line in folded]),
        "rps_lines_ending_with_terminal_punctution_mark": mean(
            [line.rstrip().endswith((".", "!", "?", "”")) for line in lines]
        ),
        "rps_lines_num_words": mean([len(line.split()) for line in folded]),
        "rps_lines_uppercase_letter_fraction": mean(upper),
        "rps_lines_numerical_chars_fraction": mean(numeric),
        "rps_lines_start_with_bulletpoint": mean(
            [line.lstrip().startswith(bullets) for line in lines]
        ),
        **{f"rps_doc_frac_chars_top_{n}gram": slow_ngrams(words, n) for n in (2, 3, 4)},
        **{f"rps_doc_frac_chars_dupe_{n}grams": slow_ngrams(words, n) for n in range(5, 11)},
    }


@patient
@given(st.lists(texts, min_size=1, max_size=4))
def test_against_plain_python(values: list[str]) -> None:
    columns = measure(pa.chunked_array([pa.array(values, pa.string())]))
    assert set(columns) == set(SIGNALS)
    for row, text in enumerate(values):
        for name, expected in slow(text).items():
            found = columns[name][row].as_py()
            assert found == (expected if expected is None else pytest.approx(expected)), name


@patient
@given(st.lists(st.sampled_from(["a", "bb"]), min_size=40, max_size=200))
def test_repeated_ngrams_against_plain_python(words: list[str]) -> None:
    text = " ".join(words)
    columns = measure(pa.chunked_array([pa.array([text])]))
    for name in SIGNALS[-9:]:
        assert columns[name][0].as_py() == pytest.approx(slow(text)[name])


def test_bounds_and_lists(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("the\nof\n")
    (tmp_path / "bad").write_text("ill word\n")
    config = RedPajama(
        least={"rps_doc_word_count": 3.0},
        most={"rps_doc_ldnoobw_words": 0.0},
        stop_words=str(tmp_path / "stop"),
        bad_words=str(tmp_path / "bad"),
    )
    values = ["the end of it.", "two words", "an ILL word here", None, ""]
    docs = redpajama(pa.table({"text": pa.array(values)}), config)
    low, high = "low_rps_doc_word_count", "high_rps_doc_ldnoobw_words"
    assert docs["rule"].to_pylist() == [None, low, high, low, low]
    fractions = docs["redpajama.rps_doc_stop_word_fraction"].to_pylist()
    assert fractions == [2 / 5, 0, 0, None, None]
    plain = redpajama(pa.table({"text": pa.array(values)}), RedPajama())
    assert plain["rule"].null_count == len(values)  # signals only
    assert plain["redpajama.rps_doc_stop_word_fraction"].null_count == len(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"least": {"rps_doc_words": 1.0}}, "least: no such signal 'rps_doc_words'"),
        ({"most": {"rps_doc_ldnoobw_words": 1.0}}, "bad_words: a bound on rps_doc_ldnoobw_words"),
    ],
)
def test_a_mistake_in_the_config(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RedPajama(**values)
