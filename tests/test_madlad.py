"""Questionable sentences: literal rows."""

from pathlib import Path

import pyarrow as pa
import pytest

from filters.canaries import PROSE
from filters.madlad import Madlad, madlad, measure

CASE = "The Harbour Of Our Old Town Lies To The East Of Many"
COLUMNS = ("list_case", "odd_length", "technical", "cursed")


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("A pilot meets them near the second buoy", []),
        (CASE, ["list_case"]),
        ("the Harbour of Our old Town lies To the East of Many", []),  # six of twelve
        (" ".join(CASE.split()[:11]), []),
        ("Too short, this is", ["odd_length"]),
        ("so long " * 63, ["odd_length"]),
        ("{1234} (5678) and text", ["technical"]),
        ("Here is a № of a thing", ["cursed"]),
        ("Here is a THE of a thing", ["cursed"]),
        ("Here is a the of a thing", []),
    ],
)
def test_sentences(sentence: str, found: list[str]) -> None:
    texts = pa.chunked_array([pa.array([f"{sentence.strip()}. "])])
    columns = measure(texts, (2, 3, 4, 5), ("№", "THE"))
    assert columns["n_sentences"].to_pylist() == [1]
    assert [n for n in COLUMNS if columns[f"{n}_fraction"][0].as_py()] == found
    assert columns["questionable_fraction"].to_pylist() == [float(bool(found))]


def test_patterns_question_a_sentence_too(tmp_path: Path) -> None:
    cursed, patterns = tmp_path / "cursed.txt", tmp_path / "patterns.txt"
    cursed.write_text("grandmother\n")
    patterns.write_text("^No[.] [0-9]+ of\n[A-Z]{5,}x?\n")
    docs = pa.table({"text": pa.array([f"{PROSE} Then SHOUTED he at all of them.", None, PROSE])})
    config = Madlad(cursed=(str(cursed),), cursed_patterns=(str(patterns),), min_sentences=0)
    fractions = madlad(docs, config)["madlad.cursed_fraction"].to_pylist()
    assert fractions == [2 / 6, None, 1 / 5]
    only = madlad(docs, Madlad(cursed_patterns=(str(patterns),)))
    assert only["madlad.cursed_fraction"].to_pylist() == [1 / 6, None, 0]
    other = tmp_path / "other.txt"
    other.write_text("fine\n(a\n")
    with pytest.raises(ValueError, match=r"cursed_patterns: '\(a': .*missing"):
        madlad(docs, Madlad(cursed_patterns=(str(other),)))


def test_a_document_goes_when_its_fraction_reaches_the_bound(tmp_path: Path) -> None:
    cursed = tmp_path / "cursed.txt"
    cursed.write_text("grandmother\n")
    texts = [PROSE, PROSE + f"\n{CASE}.", PROSE.split("\n")[0], None, "", "日本。" * 9]
    docs = pa.table({"text": pa.array(texts)})
    few = "too_few_sentences"
    assert madlad(docs, Madlad())["rule"].to_pylist() == [None, None, few, few, few, few]
    out = madlad(docs, Madlad(cursed=(str(cursed),)))
    assert out["rule"].to_pylist()[:2] == ["too_many_questionable_sentences"] * 2
    assert out["value"].to_pylist()[:2] == [1 / 5, 2 / 6]
    loose = Madlad(cursed=(str(cursed),), max_questionable_fraction=0.21)
    assert madlad(docs, loose)["rule"].to_pylist()[:2] == [None, "too_many_questionable_sentences"]
    with pytest.raises(ValueError, match=r"rules \(6,\): choose from"):
        Madlad(rules=(6,))
    with pytest.raises(ValueError, match="model: nothing needs it; add 1 to rules"):
        Madlad(model="lid.bin")


def test_sentences_in_another_language_than_most() -> None:
    german = "Der Ausschuss traf sich am Dienstag, um über den neuen Haushalt zu beraten."
    english = "The committee met on Tuesday to discuss the new budget of the city."
    texts = [f"{english} {german} {english}", f"{german} {english} {german}\n{german}", "", None]
    docs = pa.table({"text": pa.array([*texts, f"{english} " * 6])})
    out = madlad(docs, Madlad(rules=(1,), min_sentences=0))
    assert out["madlad.other_language_fraction"].to_pylist() == [1 / 3, 1 / 4, 0, None, 0]
    assert out["madlad.questionable_fraction"].to_pylist() == [1 / 3, 1 / 4, 0, None, 0]
    many = "too_many_questionable_sentences"
    assert out["rule"].to_pylist() == [many, many, None, "too_few_sentences", None]
    for cut in range(docs.num_rows + 1):
        parts = [docs.slice(0, cut).combine_chunks(), docs.slice(cut).combine_chunks()]
        done = [madlad(part, Madlad(rules=(1,), min_sentences=0)) for part in parts]
        assert pa.concat_tables(done).to_pylist() == out.to_pylist()
    without = madlad(docs, Madlad(min_sentences=0))
    assert "madlad.other_language_fraction" not in without.column_names
