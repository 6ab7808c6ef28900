"""Lists of words against regular expressions."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.keywords import Keywords, automaton, count_phrases, keywords, read_phrases

patient = settings(deadline=None)  # the first example compiles
letters = st.text(st.sampled_from("abcé_ 日\n-"), max_size=30)
phrases = st.lists(st.text(st.sampled_from("abcé_ 日-"), min_size=1, max_size=4), min_size=1)


def counts(texts: list[str | None], listed: tuple[str, ...], whole_words: bool) -> list[int | None]:
    column = pa.chunked_array([pa.array(texts, pa.string())])
    return count_phrases(column, automaton(listed), whole_words).to_pylist()


@patient
@given(st.lists(letters, max_size=4), phrases, st.booleans())
def test_against_regular_expressions(texts: list[str], listed: list[str], whole: bool) -> None:
    def slow(text: str) -> int:
        edge = (r"(?<!\w)", r"(?!\w)") if whole else ("", "")
        ends = {
            at + len(phrase)
            for phrase in listed
            for at in range(len(text))
            if re.compile(edge[0] + re.escape(phrase) + edge[1]).match(text, at)
        }
        return len(ends)

    assert counts(texts, tuple(listed), whole) == [slow(text) for text in texts]


def test_whole_words_and_parts_of_words() -> None:
    texts = ["He she hers ushers", "he-he", "_he", "THE", None, ""]
    listed = ("he", "she", "hers")
    assert counts(texts, listed, True) == [3, 2, 0, 0, None, 0]
    assert counts(texts, listed, False) == [6, 2, 1, 1, None, 0]


def test_other_scripts_are_lower_cased_too() -> None:
    assert counts(["ПЛОХО, Ärger"], ("плохо", "ärger"), True) == [2]
    assert counts(["这是坏词吗"], ("坏词",), True) == [0]
    assert counts(["这是坏词吗"], ("坏词",), False) == [1]


def write(folder: Path, text: str) -> str:
    path = folder / "words.txt"
    path.write_text(text, "utf-8")
    return str(path)


def test_the_step(tmp_path: Path) -> None:
    config = Keywords(lists=(write(tmp_path, "\ufeffBad word\n\n  nasty \n"),))
    texts = ["A bad word here.", "Bad, word.", "nasty", None, ""]
    docs = pa.table({"id": list("abcde"), "text": pa.array(texts)})
    out = keywords(docs, config)
    assert out["keywords.n_found"].to_pylist() == [1, 0, 1, None, 0]
    rules = ["too_many_keywords", None, "too_many_keywords", "too_many_keywords", None]
    assert out["rule"].to_pylist() == rules
    assert keywords(docs, Keywords(lists=config.lists, max_keywords=1))["rule"].null_count == 4


def test_a_share_of_the_marked_is_kept_by_a_hash_of_the_id(tmp_path: Path) -> None:
    config = Keywords(lists=(write(tmp_path, "bad"),), keep_fraction=0.25)
    docs = pa.table({"id": [str(i) for i in range(2000)], "text": ["bad"] * 2000})
    kept = keywords(docs, config)["rule"].is_null()
    assert 420 < sum(kept.to_pylist()) < 580
    assert keywords(docs[1000:], config)["rule"].is_null().to_pylist() == kept.to_pylist()[1000:]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lists: empty"):
        Keywords(lists=())
    with pytest.raises(ValueError, match="no word or phrase in it"):
        read_phrases((write(tmp_path, "\n \n"),))
