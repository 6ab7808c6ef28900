"""Decontamination: literal test sets and documents, and a plain-Python reference."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.decontaminate import (
    Decontaminate,
    decontaminate,
    measure_contamination,
)
from filters.decontaminate import testset_summary as summary_of  # pytest would collect test*
from filters.testsets import load_testsets

LONG = (
    "A farmer has 17 sheep and sells all but nine of them at the spring market in town. "
    "How many sheep does he drive home in the evening?"
)
OTHER = (
    "Maria reads twelve pages of her book each day before school, and twice as many on Sundays. "
    "In how many days will she have read all two hundred pages of it?"
)
SHORT = "Which river flows through the capital of Hungary today?"  # 9 words
TINY = "What is two plus two?"
CLEAN = (
    "The old harbour lies to the east of the town, and most boats that come here carry grain. "
    "A pilot meets them near the second buoy with a lamp; he knows every rock by name."
)


def write(path: Path, items: list[Any]) -> str:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(path)


def table(values: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.array(values, pa.string())})


def n_words(text: str) -> int:
    return len(re.findall(r"\w+", text))


@pytest.fixture
def quiz(tmp_path: Path) -> str:
    texts = [LONG, OTHER, SHORT, TINY]
    return write(tmp_path / "quiz.jsonl", [{"question": text, "points": 3} for text in texts])


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text,
        str.upper,
        lambda text: re.sub(r" (\w+)", r"\n\1", text),
        lambda text: re.sub(r"[,.?]", " --", text),
        lambda text: f"{CLEAN}\n\n> {text}\n\n{CLEAN}",
    ],
)
def test_a_disguised_item_is_found(quiz: str, disguise: Any) -> None:
    docs = decontaminate(table([disguise(LONG), CLEAN]), Decontaminate(against=(quiz,)))
    marked, kept = docs.drop(["text", "stage"]).to_pylist()
    n_ngrams = n_words(LONG) - 12
    assert marked["rule"] == "test_item" and marked["failed"] == ["test_item"]
    assert (marked["value"], marked["threshold"]) == (n_ngrams, 1.0)
    assert (marked["matched_id"], marked["similarity"]) == ("quiz.jsonl/0", 1.0)
    assert marked["decontaminate.n_matched_ngrams"] == n_ngrams
    assert kept["decontaminate.n_matched_ngrams"] == 0
    assert kept["decontaminate.matched_fraction"] == 0.0
    assert kept["rule"] is kept["matched_id"] is kept["similarity"] is None


def test_a_changed_word_leaves_the_ngrams_that_miss_it(quiz: str) -> None:
    words = re.findall(r"\w+", LONG)
    words[13] = "lambs"
    assert len(words) == 28  # so one 13-gram before the change and two after it
    docs = decontaminate(table([" ".join(words)]), Decontaminate(against=(quiz,)))
    assert docs["value"].to_pylist() == [3]
    assert docs["similarity"].to_pylist() == [3 / 16]
    assert docs["decontaminate.matched_fraction"].to_pylist() == [27 / 28]


def test_the_item_with_most_matches_is_named(quiz: str) -> None:
    part = " ".join(LONG.split()[:14])
    docs = decontaminate(table([f"{part} {CLEAN} {OTHER}"]), Decontaminate(against=(quiz,)))
    assert docs["matched_id"].to_pylist() == ["quiz.jsonl/1"]
    assert docs["similarity"].to_pylist() == [1.0]
    assert docs["value"].to_pylist() == [2 + n_words(OTHER) - 12]


def test_of_equal_items_the_lowest_is_named_whatever_the_order_of_files(tmp_path: Path) -> None:
    b = write(tmp_path / "b.jsonl", [{"q": LONG}])
    a = write(tmp_path / "a.jsonl", [{"q": OTHER}, {"q": LONG}, {"q": LONG}])
    for against in ((a, b), (b, a)):
        docs = decontaminate(table([LONG]), Decontaminate(against=against))
        assert docs["matched_id"].to_pylist() == ["a.jsonl/1"]


def test_a_short_item_is_found_whole_and_a_tiny_one_reported(quiz: str) -> None:
    values = [f"Quiz: {SHORT} Budapest!", SHORT.replace("today", "now"), f"{CLEAN} {TINY}"]
    docs = decontaminate(table(values), Decontaminate(against=(quiz,)))
    assert docs["matched_id"].to_pylist() == ["quiz.jsonl/2", None, None]
    assert docs["similarity"].to_pylist() == [1.0, None, None]
    assert summary_of((quiz,)) == {
        "items": 4,
        "ngrams": n_words(LONG) - 12 + n_words(OTHER) - 12 + 1,
        "items_too_short": 1,
        "items_without_ngrams": 0,
        "template_ngrams": 0,
    }


def test_min_matched_ngrams(quiz: str) -> None:
    part = " ".join(LONG.split()[:14])  # two 13-grams
    for least, rule in ((1, "test_item"), (2, "test_item"), (3, None)):
        config = Decontaminate(against=(quiz,), min_matched_ngrams=least)
        assert decontaminate(table([part]), config)["rule"].to_pylist() == [rule]


def test_a_template_of_many_items_does_not_count(tmp_path: Path) -> None:
    template = "Read the passage below and choose the best answer to the question that follows it: "
    items = [{"q": f"{template} {LONG.replace('17', f'{n} fat')}"} for n in range(4)]
    path = write(tmp_path / "t.jsonl", items)
    text = f"{template} something else."
    for most, rule in ((3, None), (4, "test_item")):
        config = Decontaminate(against=(path,), max_items_per_ngram=most)
        assert decontaminate(table([text]), config)["rule"].to_pylist() == [rule]
    assert summary_of((path,), max_items_per_ngram=3)["template_ngrams"] > 0


def test_numbers_do_not_count(tmp_path: Path) -> None:
    row = " ".join(map(str, range(1, 30)))
    path = write(tmp_path / "n.jsonl", [{"q": f"Sort these: {row}"}, {"q": LONG}])
    docs = decontaminate(table([f"Pages {row}", LONG]), Decontaminate(against=(path,)))
    assert docs["rule"].to_pylist() == [None, "test_item"]
    assert summary_of((path,))["items_without_ngrams"] == 1


def test_empty_text_null_text_and_scripts_without_spaces(tmp_path: Path) -> None:
    chinese = "小明有十七只羊，卖掉了九只以外的全部，请问他还剩下几只羊？"
    thai = "ชาวนามีแกะสิบเจ็ดตัวขายไปทั้งหมดยกเว้นเก้าตัว"
    path = write(tmp_path / "z.jsonl", [{"q": chinese}, {"q": thai}])
    values = ["", None, f"题目。{chinese[:20]}", thai[::-1], f"{CLEAN} {thai}"]
    docs = decontaminate(table(values), Decontaminate(against=(path,)))
    assert docs["rule"].to_pylist() == [None, "test_item", "test_item", None, "test_item"]
    assert docs["matched_id"].to_pylist() == [None, None, "z.jsonl/0", None, "z.jsonl/1"]
    assert docs["decontaminate.n_matched_ngrams"].to_pylist()[:2] == [0, None]
    assert docs["decontaminate.matched_fraction"].to_pylist()[:2] == [0.0, None]


def test_any_split_into_batches_gives_the_same_rows(quiz: str) -> None:
    values = [LONG, None, CLEAN, f"{SHORT} {OTHER}", "", SHORT, TINY, OTHER[:99]]
    config = Decontaminate(against=(quiz,))
    whole = decontaminate(table(values), config)
    for cut in range(len(values) + 1):
        parts = [table(values)[:cut].combine_chunks(), table(values)[cut:].combine_chunks()]
        joined = pa.concat_tables([decontaminate(part, config) for part in parts])
        assert joined.combine_chunks().equals(whole)
    assert whole["rule"].null_count == 3
    assert decontaminate(table([]), config).schema == whole.schema


def test_formats_and_fields(tmp_path: Path) -> None:
    item = {"id": 7, "q": LONG, "options": [{"text": OTHER}, None], "note": CLEAN}
    plain = write(tmp_path / "a.jsonl", [item])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(Path(plain).read_bytes()))
    pq.write_table(pa.Table.from_pylist([item]), tmp_path / "c.parquet")
    paths = [plain, str(tmp_path / "b.jsonl.gz"), str(tmp_path / "c.parquet")]
    for path in paths:
        docs = decontaminate(table([LONG, OTHER, CLEAN]), Decontaminate(against=(path,)))
        assert docs["matched_id"].to_pylist() == [f"{Path(path).name}/0"] * 3
        config = Decontaminate(against=(path,), fields=("q", "options"))
        docs = decontaminate(table([LONG, OTHER, CLEAN]), config)
        assert docs["rule"].to_pylist() == ["test_item", "test_item", None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"q": "x"}\n{"q": \n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", '["x"]\n', "a.jsonl, line 1: list; a test set has an object each line"),
        ("a.jsonl", "\n", "a.jsonl: no items in it"),
        ("a.txt", "x", "a.txt: not a test set"),
        ("a.jsonl", '{"p": "x", "z": "y"}\n', "a.jsonl, item 0: no field 'q'; it has p, z"),
    ],
)
def test_a_test_set_that_cannot_be_used(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        summary_of((str(path),), fields=("q",))


def test_a_lone_surrogate_in_an_item_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", [{"q": f"\ud800 {LONG}"}])
    docs = decontaminate(table([LONG]), Decontaminate(against=(path,)))
    assert docs["matched_id"].to_pylist() == ["s.jsonl/0"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"against": ()}, "against is empty"),
        ({"against": ("a",), "n": 7}, "n 7 is not within 8..20"),
        ({"against": ("a",), "n": 21}, "n 21 is not within 8..20"),
        ({"against": ("a",), "fields": ()}, "fields is empty"),
        ({"against": ("a",), "min_matched_ngrams": 0}, "min_matched_ngrams 0 is below 1"),
    ],
)
def test_a_mistake_in_the_config(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decontaminate(**values)


def slow_measure(
    docs: list[list[str]], items: list[list[str]], n: int, most: int
) -> list[tuple[int, float, int, float]]:
    """(n-grams found, fraction of words covered, best item or -1, similarity or 0)."""
    ngrams = [
        {tuple(i[at : at + k]) for at in range(len(i) - k + 1)}
        if (k := min(n, len(i))) >= 8
        else set()
        for i in items
    ]
    for gram in set().union(*ngrams):
        if sum(gram in grams for grams in ngrams) > most:
            for grams in ngrams:
                grams.discard(gram)
    lengths = {len(gram) for grams in ngrams for gram in grams}
    rows = []
    for doc in docs:
        found = [
            (at, tuple(doc[at : at + k]))
            for k in lengths
            for at in range(len(doc) - k + 1)
            if any(tuple(doc[at : at + k]) in grams for grams in ngrams)
        ]
        covered = {at + i for at, gram in found for i in range(len(gram))}
        counts = [len({gram for _, gram in found} & grams) for grams in ngrams]
        best = int(np.argmax(counts)) if found else -1
        similarity = counts[best] / len(ngrams[best]) if found else 0.0
        rows.append((len(found), len(covered) / max(len(doc), 1), best, similarity))
    return rows


words = st.lists(st.sampled_from(["a", "b"]), max_size=30)


@settings(deadline=None)  # the first example compiles
@given(
    docs=st.lists(words, max_size=4),
    items=st.lists(words, min_size=1, max_size=6),
    n=st.integers(8, 13),
    most=st.integers(1, 3),
)
def test_against_plain_python(
    tmp_path_factory: pytest.TempPathFactory,
    docs: list[list[str]],
    items: list[list[str]],
    n: int,
    most: int,
) -> None:
    path = tmp_path_factory.mktemp("sets") / "x.jsonl"
    write(path, [{"q": " ".join(item)} for item in items])
    sets = load_testsets((str(path),), n, None, most)
    found = measure_contamination(table([" ".join(doc) for doc in docs])["text"], sets)
    columns = [column.tolist() for column in found[:3]]
    rows = list(zip(*columns, np.nan_to_num(found.similarity).tolist(), strict=True))
    assert rows == slow_measure(docs, items, n, most)


def test_real_test_sets(shared_data: Path) -> None:
    """Every item of HumanEval and GSM8K, re-wrapped and without punctuation, is found as itself; no
    book holds one."""
    paths = sorted(map(str, (shared_data / "testsets").glob("*.jsonl")))
    items = [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]
    bare = [re.sub(r"\W+", "\n", "\n".join(map(str, item.values()))) for item in items]
    books = [
        gzip.decompress(path.read_bytes()).decode("latin-1")
        for path in sorted((shared_data / "books").glob("*.txt.gz"))[:4]
    ]
    docs = decontaminate(table(bare + books), Decontaminate(against=tuple(paths)))
    assert docs["rule"].to_pylist() == ["test_item"] * len(items) + [None] * len(books)
    numbers = [int(name.split("/")[1]) for name in docs["matched_id"].to_pylist()[: len(items)]]
    assert len(items) == 1483 and numbers == [*range(1319), *range(164)]
