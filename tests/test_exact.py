"""Equal texts: keys of one document at a time, then groups of equal keys."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.exact import Exact, exact_duplicates, exact_keys, normalized_urls
from pipeline.schema import FATE

STRIP, WORDS = Exact(), Exact(normalize="words")


def documents(*texts: str | None, orders: list[int] | None = None) -> pa.Table:
    n = len(texts)
    return pa.table(
        {
            "id": pa.array([f"id{i}" for i in range(n)], pa.string()),
            "text": pa.array(texts, pa.string()),
            "doc": pa.array(range(n), pa.uint64()),
            "order": pa.array(orders or [0] * n, pa.uint64()),
        }
    )


def matches(rows: pa.Table) -> dict[int, str]:
    fates = exact_duplicates(rows, STRIP)
    assert fates.schema == FATE
    return dict(zip(fates["doc"].to_pylist(), fates["matched_id"].to_pylist(), strict=True))


def test_the_rows_of_a_duplicate():
    fates = exact_duplicates(exact_keys(documents("a b", "c", "a b"), STRIP), STRIP)
    assert fates.to_pylist() == [
        {"doc": 2, "matched": 0, "rule": "exact_duplicate", "value": None, "threshold": None,
         "matched_id": "id0", "similarity": 1.0}
    ]  # fmt: skip


def test_white_space_at_the_ends_is_not_compared_but_all_else_is():
    docs = documents("a b", " a b\n", "a  b", "A b", "a b.", "\ta b")
    assert matches(exact_keys(docs, STRIP)) == {1: "id0", 5: "id0"}


def test_words_may_differ_in_case_punctuation_and_spacing_only():
    docs = documents("A b, 2019", "a\nb 2019!", "a b 2020", "2019 a b", "中文。", "中 文")
    assert matches(exact_keys(docs, WORDS)) == {1: "id0", 5: "id4"}


def test_texts_with_nothing_in_them_are_no_duplicates():
    empty = documents("", None, " \n", "", None)
    assert exact_keys(empty, STRIP).num_rows == 0
    silent = documents("!!", "", None, "...", "!!")
    assert exact_keys(silent, WORDS).num_rows == 0
    assert matches(exact_keys(silent, STRIP)) == {4: "id0"}
    assert exact_keys(empty, STRIP).schema == exact_keys(documents("x"), STRIP).schema
    assert exact_duplicates(exact_keys(empty, STRIP), STRIP).schema == FATE


def test_the_smallest_order_is_kept_then_the_first_place():
    docs = documents("x", "x", "x", "x", orders=[2, 1, 1, 3])
    assert matches(exact_keys(docs, STRIP)) == {0: "id1", 2: "id1", 3: "id1"}


def test_keys_that_share_only_one_half_are_different():
    rows = exact_keys(documents("x", "y", "z"), STRIP)
    one_half = rows.set_column(0, "key", pa.array([7, 7, 7], pa.uint64()))
    assert matches(one_half) == {}
    both = one_half.set_column(1, "key_low", pa.array([8, 9, 8], pa.uint64()))
    assert matches(both) == {2: "id0"}


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.lists(st.sampled_from(["", "a", "a ", "A.", "b", "中", None]), max_size=20),
    st.sampled_from([STRIP, WORDS]),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_any_batches_row_order_and_partitions_give_brute_force(texts, config, partitions, random):
    orders = [i * 5 % 3 for i in range(len(texts))]
    docs = documents(*texts, orders=orders)
    expected, kept = {}, {}
    for i in sorted(range(len(texts)), key=lambda i: (orders[i], i)):
        text = (texts[i] or "").strip()
        text = text.lower().strip(".") if config is WORDS else text
        if text and text in kept:
            expected[i] = f"id{kept[text]}"
        elif text:
            kept[text] = i
    split = random.randint(0, len(texts))
    batches = [exact_keys(docs.slice(0, split), config), exact_keys(docs.slice(split), config)]
    rows = pa.concat_tables(batches)
    shuffled = list(range(rows.num_rows))
    random.shuffle(shuffled)
    rows = rows.take(pa.array(shuffled, pa.int64()))
    part = rows["key"].to_numpy() % partitions
    found = [matches(rows.filter(pa.array(part == p))) for p in range(partitions)]
    assert {doc: keeper for each in found for doc, keeper in each.items()} == expected


@pytest.mark.parametrize(
    ("url", "normalized"),
    [
        ("http://WWW.Example.org/", "example.org"),
        ("https://example.org:443//#top", "example.org"),
        ("https://user:pw@example.org/A?b=C#d", "example.org/A?b=C"),
        ("https://example.org./a/", "example.org/a"),
        ("http://example.org:8080/", "example.org:8080"),
        ("example.org/a#b", "example.org/a#b"),
        ("mailto:a@b.c", "mailto:a@b.c"),
        ("", ""),
    ],
)
def test_urls_as_they_are_compared(url, normalized):
    assert normalized_urls(pa.array([url])).to_pylist() == [normalized]


def test_by_url_and_by_a_column():
    urls = ["http://a.b/c", "https://www.A.b/c/#d", None, "", " ", None, "http://a.b/C"]
    docs = documents(*"abcdefg").append_column("url", pa.array(urls))
    by_url = Exact(by="url")
    fates = exact_duplicates(exact_keys(docs, by_url), by_url).to_pylist()
    assert [(f["doc"], f["matched_id"], f["rule"]) for f in fates] == [(1, "id0", "same_url")]
    assert fates[0]["similarity"] is None
    docs = docs.append_column("part", pa.array([1, 2, 1, None, None, 2, 3]))
    by_part = Exact(by="part")
    fates = exact_duplicates(exact_keys(docs, by_part), by_part).to_pylist()
    assert [(f["doc"], f["matched_id"]) for f in fates] == [(2, "id0"), (5, "id1")]
    assert {f["rule"] for f in fates} == {"same_value"}
    assert exact_keys(docs, Exact(by="nowhere")).num_rows == 0


def test_a_config_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="by is empty"):
        Exact(by="")
    with pytest.raises(ValueError, match="normalize 'words' is for by = 'text', not 'url'"):
        Exact(by="url", normalize="words")
