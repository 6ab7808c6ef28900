"""Runs of words that occurred before: windows, repeats and cuts against a plain dictionary."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cut import cut_spans
from dedup.ngrams import NGrams, fingerprints, repeated_windows
from pipeline.schema import FATE

THREE = NGrams(words=3, min_remaining_words=1)


def documents(texts: list[str | None], orders: list[int] | None = None) -> pa.Table:
    n = len(texts)
    return pa.table(
        {
            "id": pa.array([f"id{i}" for i in range(n)], pa.string()),
            "text": pa.array(texts, pa.string()),
            "doc": pa.array(range(n), pa.uint64()),
            "order": pa.array(orders or [0] * n, pa.uint64()),
        }
    )


def named(windows: pa.Table) -> pa.Table:
    ids = [f"id{doc}" for doc in windows["first_doc"].to_pylist()]
    return windows.append_column("first_id", pa.array(ids, pa.string()))


def cut(texts: list[str | None], config: NGrams, orders: list[int] | None = None):
    docs = documents(texts, orders)
    windows = named(repeated_windows(fingerprints(docs, config), config))
    return cut_spans(docs["text"].chunk(0), docs["doc"].chunk(0), windows, config)


def cut_texts(*texts: str | None, config: NGrams = THREE, orders: list[int] | None = None):
    return cut(list(texts), config, orders).texts.to_pylist()


def test_windows_and_repeats():
    docs = documents(["a b c d e", "x a B, c D", None, "a b"])
    rows = fingerprints(docs, THREE)
    assert rows["doc"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert rows["position"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert rows.schema == pa.schema(
        [("key", pa.uint64()), ("key_low", pa.uint64()), ("doc", pa.uint64()),
         ("order", pa.uint64()), ("position", pa.int32())]
    )  # fmt: skip
    assert repeated_windows(rows, THREE).to_pylist() == [
        {"doc": 1, "position": 1, "first_doc": 0},
        {"doc": 1, "position": 2, "first_doc": 0},
    ]


def test_a_cut_goes_from_its_first_word_to_the_next_word_that_stays():
    first = "One two three four."
    assert cut_texts(first, "He said: “One, two\nthree!” And left.") == [
        first,
        "He said: “And left.",
    ]
    assert cut_texts(first, "Four one two three") == [first, "Four "]
    assert cut_texts(first, "one two three? Yes.\n") == [first, "Yes.\n"]
    assert cut_texts(first, "one two, or two three four") == [first, "one two, or "]


def test_windows_that_overlap_or_touch_are_one_cut():
    first = "a b c d e f g h"
    assert cut_texts(first, "x a b c d e f y") == [first, "x y"]
    assert cut_texts(first, "x a b c f g h y") == [first, "x y"]
    assert cut_texts(first, "x a b c y f g h z") == [first, "x y z"]


def test_scripts_without_spaces_keep_their_words_apart():
    assert cut_texts("人工智能很好", "abc人工智def。人工智能")[1] == "abc def。"
    assert cut_texts("人工智能很好", "我说:人工智能。你好") == ["人工智能很好", "我说:你好"]


def test_a_text_that_repeats_itself_keeps_its_first_run():
    assert cut_texts("a b c. a b c. a b c.") == ["a b c. "]
    assert cut_texts("a " * 1000) == ["a a a "]
    # a window at 2 and 3 overlaps its original at 0 and 1; those from 4 on do not
    assert cut_texts("a b a b a b a b") == ["a b a b "]
    assert cut_texts("a b a b a b a b", "b a b a b") == ["a b a b ", ""]


def test_the_order_decides_which_place_is_the_original():
    assert cut_texts("x a b c", "y a b c", orders=[1, 0]) == ["x ", "y a b c"]
    assert cut_texts("x a b c", "y a b c", orders=[0, 0]) == ["x a b c", "y "]


def test_null_and_empty_and_short_texts_stay_as_they_are():
    texts = [None, "", "a b", "a b", "!!", None]
    made = cut(texts, THREE)
    assert made.texts.to_pylist() == texts
    assert made.words_cut.tolist() == [0] * 6
    assert made.fates.schema == FATE
    assert cut([], THREE).texts.to_pylist() == []


def test_a_document_with_too_little_left_is_removed_for_its_main_original():
    config = NGrams(words=3, min_remaining_words=3)
    texts = ["a b c d", "e f g h i", "p q e f g h i", "1 2 3 a b c", "x a b c d e f g h i y", "z"]
    made = cut(texts, config)
    assert made.texts.to_pylist() == [*texts[:2], "p q ", "1 2 3 ", "x y", "z"]
    assert made.words_cut.tolist() == [0, 0, 5, 3, 9, 0]
    assert made.fates.to_pylist() == [
        {"doc": 2, "matched": None, "rule": "repeated_ngrams", "value": 2.0, "threshold": 3.0,
         "matched_id": "id1", "similarity": 5 / 7},
        {"doc": 4, "matched": None, "rule": "repeated_ngrams", "value": 2.0, "threshold": 3.0,
         "matched_id": "id1", "similarity": 9 / 11},  # three windows of id1, two of id0
    ]  # fmt: skip


def test_only_windows_of_these_documents_are_cut():
    windows = pa.table(
        {
            "doc": pa.array([5, 9, 7], pa.uint64()),
            "position": pa.array([1, 0, 0], pa.int32()),
            "first_id": ["q", "q", "q"],
        }
    )
    made = cut_spans(pa.array(["a b c d", "e f g"]), pa.array([5, 7], pa.uint64()), windows, THREE)
    assert made.texts.to_pylist() == ["a ", ""]
    assert made.fates["doc"].to_pylist() == [7]


def test_a_window_past_the_end_is_a_defect():
    windows = pa.table({"doc": pa.array([5], pa.uint64()), "position": pa.array([2], pa.int32()),
                        "first_id": ["q"]})  # fmt: skip
    with pytest.raises(AssertionError, match="past the end of document 5"):
        cut_spans(pa.array(["a b c d"]), pa.array([5], pa.uint64()), windows, THREE)


def test_keys_that_share_only_one_half_are_different():
    rows = fingerprints(documents(["a b c", "d e f"]), THREE)
    rows = rows.set_column(0, "key", pa.array([1, 1], pa.uint64()))
    assert repeated_windows(rows, THREE).num_rows == 0
    rows = rows.set_column(1, "key_low", pa.array([1, 1], pa.uint64()))
    assert repeated_windows(rows, THREE).num_rows == 1


@pytest.mark.parametrize("words", [2, 3, 4, 5, 7, 8, 13, 50, 64, 65, 100])
def test_a_fingerprint_is_that_of_its_words_and_no_others(words):
    run = [str(i) for i in range(words)]
    swapped = [*run[:-2], run[-1], run[-2]]
    others = [["x", *run], [*run, "x"], ["x", *run[1:]], [*run[:-1], "x"], swapped, run[::-1]]
    texts = [run, *others]
    windows = [tuple(t[i : i + words]) for t in texts for i in range(len(t) - words + 1)]
    rows = fingerprints(documents([" ".join(t) for t in texts]), NGrams(words=words))
    assert len(set(windows)) == len(windows) - (3 if words == 2 else 2)
    for key in ("key", "key_low"):
        values = rows[key].to_pylist()
        assert len(set(values)) == len(set(windows)) == len(set(zip(windows, values, strict=True)))


def test_the_config_is_checked():
    with pytest.raises(ValueError, match="words 1 is below 2"):
        NGrams(words=1)
    with pytest.raises(ValueError, match="min_remaining_words -1 is below 0"):
        NGrams(min_remaining_words=-1)


def by_brute_force(texts: list[list[str]], orders: list[int], words: int) -> list[list[str]]:
    """Which words stay."""
    originals: dict[tuple, tuple[int, int]] = {}
    stays = [[True] * len(text) for text in texts]
    for doc in sorted(range(len(texts)), key=lambda d: (orders[d], d)):
        for position in range(len(texts[doc]) - words + 1):
            window = tuple(texts[doc][position : position + words])
            first_doc, first = originals.setdefault(window, (doc, position))
            if first_doc != doc or position - first >= words:
                stays[doc][position : position + words] = [False] * words
    return [
        [word for word, stay in zip(text, keep, strict=True) if stay]
        for text, keep in zip(texts, stays, strict=True)
    ]


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.lists(st.lists(st.sampled_from(["a", "B", "é", "中", "文"]), max_size=25), max_size=6),
    st.integers(2, 7),
    st.sampled_from([" ", ", ", "", "\r\n", "\0"]),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_brute_force_in_any_batches_row_order_and_partitions(
    texts, words, separator, partitions, random
):
    if separator == "":  # only a space would keep these apart
        texts = [["中" if word in "aBé" else word for word in text] for text in texts]
    config = NGrams(words=words, min_remaining_words=0)
    orders = [random.randint(0, 2) for _ in texts]
    docs = documents([separator.join(text) for text in texts], orders)
    batches = [fingerprints(docs.slice(i, 1), config) for i in range(len(texts))]
    rows = pa.concat_tables([fingerprints(docs.slice(0, 0), config), *batches])
    shuffled = list(range(rows.num_rows))
    random.shuffle(shuffled)
    rows = rows.take(pa.array(shuffled, pa.int64()))
    part = rows["key"].to_numpy() % partitions
    found = [repeated_windows(rows.filter(pa.array(part == p)), config) for p in range(partitions)]
    windows = named(pa.concat_tables(found))
    made = cut_spans(docs["text"].chunk(0), docs["doc"].chunk(0), windows, config)
    expected = by_brute_force(texts, orders, words)
    assert words_of(made.texts) == [[word.lower() for word in text] for text in expected]
    assert made.words_cut.tolist() == [
        len(text) - len(rest) for text, rest in zip(texts, expected, strict=True)
    ]


def words_of(texts: pa.Array) -> list[list[str]]:
    split = []
    for text in texts.to_pylist():
        spaced = text.replace("中", " 中 ").replace("文", " 文 ")
        split.append(spaced.lower().replace(",", " ").replace("\0", " ").split())
    return split


def test_a_run_on_the_seam_of_two_originals_loses_no_word():
    texts = ["a b c d e", "c d e f g h", "d e f g"]
    # f g h follow what is cut from the second; its windows are originals all the same
    assert cut_texts(*texts) == ["a b c d e", "f g h", ""]
