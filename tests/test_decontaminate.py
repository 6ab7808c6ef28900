"""Decontamination: literal test sets and documents, and a plain-Python reference."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.contamination import measure_contamination
from filters.decontaminate import (
    CANARIES,
    Decontaminate,
    canary_config,
    contamination_of,
    decontaminate,
    load_sets,
)
from filters.decontaminate import testset_summary as summary_of  # pytest would collect test*
from filters.testsets import ItemFields

LONG = (
    "A farmer has seventeen sheep and sells all but nine of them at the spring market in town. "
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
        lambda text: text.replace("market", "mar-\nket").replace("evening", "even\u00ad\ning"),
        lambda text: text.replace("fa", "f\u200ba").replace(" ", "\u2003"),
        lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    ],
)
def test_a_disguised_item_is_found(quiz: str, disguise: Any) -> None:
    docs = decontaminate(table([disguise(LONG), CLEAN]), Decontaminate(against=(quiz,)))
    marked, kept = docs.drop_columns(["text", "stage"]).to_pylist()
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
    assert docs["similarity"].to_pylist() == [27 / 28]
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
    assert summary_of(Decontaminate(against=(quiz,))) == {
        "quiz.jsonl": {"items": 4, "items_too_short": 1, "items_without_ngrams": 0}
    }


def test_min_matched_ngrams(quiz: str) -> None:
    part = " ".join(LONG.split()[:14])  # two 13-grams
    for least, rule in ((1, "test_item"), (2, "test_item"), (3, None)):
        config = Decontaminate(against=(quiz,), min_matched_ngrams=least)
        assert decontaminate(table([part]), config)["rule"].to_pylist() == [rule]


def test_a_template_of_many_items_does_not_count(tmp_path: Path) -> None:
    template = "Read the passage below and choose the best answer to the question that follows it: "
    items = [{"q": f"{template} {LONG.replace('seventeen', f'{n} fat')}"} for n in range(4)]
    path = write(tmp_path / "t.jsonl", items)
    text = f"{template} something else."
    for most, rule in ((3, None), (4, "test_item")):
        config = Decontaminate(against=(path,), max_items_per_ngram=most)
        assert decontaminate(table([text]), config)["rule"].to_pylist() == [rule]
    assert load_sets(Decontaminate(against=(path,), max_items_per_ngram=3)).n_templates > 0


def test_numbers_do_not_count(tmp_path: Path) -> None:
    row = " ".join(map(str, range(1, 30)))
    path = write(tmp_path / "n.jsonl", [{"q": f"Sort these: {row}"}, {"q": LONG}])
    docs = decontaminate(table([f"Pages {row}", LONG]), Decontaminate(against=(path,)))
    assert docs["rule"].to_pylist() == [None, "test_item"]
    assert summary_of(Decontaminate(against=(path,)))["n.jsonl"]["items_without_ngrams"] == 1


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
        config = Decontaminate(against=(path,), question=("q", "options.text"))
        docs = decontaminate(table([LONG, OTHER, CLEAN]), config)
        assert docs["rule"].to_pylist() == ["test_item", "test_item", None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"q": "x"}\n{"q": \n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", '["x"]\n', "a.jsonl, line 1: list; a test set has an object each line"),
        ("a.jsonl", "\n", "a.jsonl: no items in it"),
        ("a.txt", "x", "a.txt: not a test set"),
        ("a.jsonl", '{"p": "x", "z": "y"}\n', "a.jsonl, line 1: no field 'q'; it has p, z"),
    ],
)
def test_a_test_set_that_cannot_be_used(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        summary_of(Decontaminate(against=(str(path),), question=("q",)))


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
        ({"against": ("a",), "question": ()}, "question is empty"),
        ({"against": ("a",), "min_item_fraction": 1.5}, "min_item_fraction 1.5 is not within"),
        ({"against": ("a",), "context_chars": -1}, "context_chars -1 is below 0"),
        ({"against": ("a",), "min_matched_ngrams": 0}, "min_matched_ngrams 0 is below 1"),
    ],
)
def test_a_mistake_in_the_config(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decontaminate(**values)


def slow_windows(words: list[str], n: int, lengths: set[int], ignore_numbers: bool) -> list[Any]:
    """(n-gram, place, past its end) of n words that count, and of passages of some lengths."""
    counted = [i for i, w in enumerate(words) if not (ignore_numbers and w.isdigit())]
    spans = [counted[k : k + n] for k in range(len(counted) - n + 1)]
    found = [(tuple(words[i] for i in span), span[0], span[-1] + 1) for span in spans]
    for k in lengths:
        found += [(("whole", *words[i : i + k]), i, i + k) for i in range(len(words) - k + 1)]
    return found


def slow_measure(
    docs: list[list[str]], items: list[list[str]], n: int, most: int, ignore_numbers: bool
) -> list[tuple[int, float, list[int], list[float]]]:
    """(places of n-grams, fraction of words covered, items found, fraction of each) for items that
    are questions without an answer."""

    def usable(gram: tuple[str, ...]) -> bool:
        gram = gram[1:] if gram[0] == "whole" else gram
        others = sum(not w.isdigit() for w in gram)
        return 2 * len(set(gram)) > len(gram) and others >= min(8, (len(gram) + 1) // 2)

    ngrams: list[dict[tuple[str, ...], set[int]]] = []  # and the words of the item it first covers
    for item in items:
        windows = slow_windows(item, n, set(), ignore_numbers)
        whole = {len(item)} if not windows and 8 <= len(item) <= 64 else set()
        grams: dict[tuple[str, ...], set[int]] = {}
        for gram, at, end in windows or slow_windows(item, n, whole, ignore_numbers):
            if usable(gram):
                grams.setdefault(gram, set(range(at, end)))
        ngrams.append(grams)
    known = {g for grams in ngrams for g in grams}
    known = {g for g in known if sum(g in grams for grams in ngrams) <= most}
    ngrams = [{g: at for g, at in grams.items() if g in known} for grams in ngrams]
    lengths = {len(g) - 1 for g in known if g[0] == "whole"}
    rows = []
    for doc in docs:
        held = [w for w in slow_windows(doc, n, lengths, ignore_numbers) if w[0] in known]
        covered = {i for _, at, end in held for i in range(at, end)}
        here = {gram for gram, _, _ in held}
        found = [i for i, grams in enumerate(ngrams) if here & set(grams)]
        fractions = [
            len(set().union(*(at for g, at in ngrams[i].items() if g in here)))
            / len(set().union(*ngrams[i].values()))
            for i in found
        ]
        places = len({at for _, at, _ in held})
        rows.append((places, len(covered) / max(len(doc), 1), found, fractions))
    return rows


words = st.lists(st.sampled_from("abcdefgh"), max_size=30) | st.lists(
    st.sampled_from("abcdefgh123"), max_size=30
)


@settings(deadline=None, max_examples=200)  # the first example compiles
@given(data=st.data(), n=st.integers(8, 13), most=st.integers(1, 3), ignore=st.booleans())
def test_against_plain_python(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int, most: int, ignore: bool
) -> None:
    items = data.draw(st.lists(words, min_size=1, max_size=6))
    # Documents are made of pieces of items, or nothing would be found.
    piece = st.tuples(st.sampled_from(items), st.integers(0, 20), st.integers(8, 30))
    docs = [
        [w for item, at, k in pieces for w in [*item[at : at + k], *noise]]
        for pieces, noise in data.draw(
            st.lists(st.tuples(st.lists(piece, max_size=4), st.lists(st.just("x"), max_size=2)))
        )
    ]
    path = tmp_path_factory.mktemp("sets") / "x.jsonl"
    write(path, [{"q": " ".join(item)} for item in items])
    values: dict[str, Any] = {"n": n, "max_items_per_ngram": most, "ignore_numbers": ignore}
    sets = load_sets(Decontaminate(against=(str(path),), **values))
    found = measure_contamination(table([" ".join(doc) for doc in docs])["text"], sets)
    pairs = found.pairs
    rows = [
        (n_places, fraction, pairs.item[pairs.doc == i].tolist(), pairs.fraction[pairs.doc == i])
        for i, (n_places, fraction) in enumerate(
            zip(found.n_matched_ngrams.tolist(), found.matched_fraction.tolist(), strict=True)
        )
    ]
    expected = slow_measure(docs, items, n, most, ignore)
    assert [(r[0], r[1], r[2], r[3].tolist()) for r in rows] == expected


def test_a_question_of_few_words_counts_with_its_answer_after_it(tmp_path: Path) -> None:
    items = [
        {"question": "Who wrote the play Hamlet?", "answer": "William Shakespeare"},
        {"question": "What is two plus two?", "answer": 4},
        {"question": "Is it raining today?", "answer": "yes"},
    ]
    path = write(tmp_path / "s.jsonl", items)
    far = " ".join(["word"] * 40)
    values = [
        "Who wrote the play Hamlet? It was William Shakespeare.",
        "Who wrote the play Hamlet? Marlowe.",
        f"Who wrote the play Hamlet? {far} William Shakespeare",
        "William Shakespeare. Who wrote the play Hamlet?",
        "What is two plus two? (a) 3 (b) 4",
        "Is it raining today? yes",
    ]
    docs = decontaminate(table(values), Decontaminate(against=(path,)))
    found = ["s.jsonl/0", None, None, None, "s.jsonl/1", None]
    assert docs["matched_id"].to_pylist() == found
    assert docs["decontaminate.answers"].to_pylist() == [[True] if f else None for f in found]
    assert summary_of(Decontaminate(against=(path,)))["s.jsonl"] == {
        "items": 3, "items_too_short": 1, "items_without_ngrams": 0
    }  # fmt: skip


def test_questions_and_answers_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": LONG, "why": OTHER, "id": CLEAN}])
    fields = {"a.jsonl": ItemFields(question=("q",), answer=("why",))}
    values = [LONG, OTHER, f"{LONG} {OTHER}", CLEAN]
    docs = decontaminate(table(values), Decontaminate(against=(path,), sets=fields))
    assert docs["decontaminate.answers"].to_pylist() == [[False], [True], [True], None]
    a, b = n_words(LONG), n_words(OTHER)
    assert docs["decontaminate.item_fraction"].to_pylist() == [a / (a + b), b / (a + b), 1, 0]
    with pytest.raises(ValueError, match=r"sets: no test set 'b'\. Known: a\.jsonl"):
        load_sets(Decontaminate(against=(path,), sets={"b": ItemFields()}))


def test_min_item_fraction(quiz: str) -> None:
    part = " ".join(LONG.split()[:14])
    for least, rule in ((0.5, "test_item"), (0.51, None)):
        config = Decontaminate(against=(quiz,), min_item_fraction=least)
        docs = decontaminate(table([part]), config)
        assert docs["rule"].to_pylist() == [rule]
        assert docs["decontaminate.item_fraction"].to_pylist() == [0.5]


@pytest.mark.parametrize("number", ["9", "9 999", "12,000.75", "٣", "7th", ""])
def test_changed_numbers(tmp_path: Path, number: str) -> None:
    item = (
        "Ann buys 1,200 eggs at 3.50 each and 12 hens at 7 each, sells 80 and eats 6. What is left "
        "of her money in the end?"
    )
    path = write(tmp_path / "m.jsonl", [{"q": item}])
    changed = re.sub(r"[\d.,]*\d", number, item)
    for ignore, rule in ((False, None), (True, "test_item")):
        config = Decontaminate(against=(path,), ignore_numbers=ignore)
        docs = decontaminate(table([f"x {changed} y 1"]), config)
        assert docs["rule"].to_pylist() == [rule]
        assert docs["similarity"].to_pylist() == [1.0 if rule else None]
    config = Decontaminate(against=(path,), mode="cut", context_chars=0, min_piece_chars=0)
    assert decontaminate(table([f"x {changed} y"]), config)["text"].to_pylist() == ["x\n\ny"]


def test_a_short_item_counts_with_its_own_numbers(tmp_path: Path) -> None:
    short = "Find the greatest common divisor of 12 and 18 in base 10."
    asked = "How many legs have two dogs?"
    items = [{"q": short}, {"q": asked, "answer": 8}]
    path = write(tmp_path / "m.jsonl", items)
    values = [
        short, short.replace("12", "15"), f"{asked} They have 8.", f"{asked} They have 9.",
    ]  # fmt: skip
    docs = decontaminate(table(values), Decontaminate(against=(path,)))
    assert docs["matched_id"].to_pylist() == ["m.jsonl/0", None, "m.jsonl/1", None]


def test_lists_and_tables_of_numbers_are_no_test_item(tmp_path: Path) -> None:
    numbers = ", ".join(str(i * 37 % 101) for i in range(60))
    table_of = "\n".join(f"row {i}, {i * i}, {i / 7:.4f}" for i in range(40))
    mixed = f"{OTHER} It costs {numbers}. {LONG}"
    path = write(tmp_path / "m.jsonl", [{"q": numbers}, {"q": table_of}, {"q": mixed}])
    changed = re.sub(r"\d+", lambda m: str(int(m[0]) + 1), f"{numbers}\n{table_of}")
    docs = decontaminate(table([numbers, changed, table_of, mixed]), Decontaminate(against=(path,)))
    assert docs["matched_id"].to_pylist() == [None, None, None, "m.jsonl/2"]
    assert summary_of(Decontaminate(against=(path,)))["m.jsonl"] == {
        "items": 3, "items_too_short": 0, "items_without_ngrams": 2
    }  # fmt: skip


def test_what_is_common_in_the_background_does_not_count(tmp_path: Path, quiz: str) -> None:
    background = write(tmp_path / "web.jsonl", [{"text": f"{n} {OTHER}"} for n in range(3)])
    pq.write_table(table([OTHER, None]), tmp_path / "web.parquet")
    paths = (background, str(tmp_path / "web.parquet"))
    for most, rule in ((3, None), (4, "test_item")):
        config = Decontaminate(against=(quiz,), background=paths, max_background_documents=most)
        assert decontaminate(table([OTHER, LONG]), config)["rule"].to_pylist() == [
            rule,
            "test_item",
        ]
        assert load_sets(config).n_common == (n_words(OTHER) - 12 if most == 3 else 0)


def test_cut(quiz: str) -> None:
    before, after = "Öre 😀. " * 100, " och så vidare 🎉" * 100
    config = Decontaminate(against=(quiz,), mode="cut")
    values = [f"{before}\n{LONG}\n{after}", f"x {LONG} y", CLEAN, None, f"{LONG} {before}" * 12]
    docs = decontaminate(table(values), config).to_pylist()
    left, right = docs[0]["text"].split("\n\n")
    assert before.startswith(left) and after.strip().endswith(right)
    for kept, whole in ((left, before), (right, after)):
        assert 0 <= len(whole) - len(kept) - 200 <= 20
    assert docs[0]["decontaminate.n_cut_chars"] == len(values[0]) - len(left) - len(right)
    assert [row["rule"] for row in docs] == [
        None, "nothing_left", None, "test_item", "too_many_pieces",
    ]  # fmt: skip
    assert docs[1]["text"] == values[1] and docs[2]["text"] == CLEAN and docs[3]["text"] is None
    assert docs[4]["text"] == values[4] and (docs[4]["value"], docs[4]["threshold"]) == (12, 10)
    assert docs[1]["matched_id"] == "quiz.jsonl/0"


def test_a_short_piece_goes_with_the_cut_and_no_word_is_cut(quiz: str) -> None:
    text = f"{'left ' * 50}{LONG} {'gap ' * 60}{LONG}{' right' * 50} 中文"
    for context in (0, 1, 7, 50):
        config = Decontaminate(
            against=(quiz,), mode="cut", context_chars=context, min_piece_chars=100
        )
        [now] = decontaminate(table([text]), config)["text"].to_pylist()
        assert set(now.split()) <= {"left", "gap", "right", "中文"}
        assert len(now.split("\n\n")) == 3
    config = Decontaminate(against=(quiz,), mode="cut", context_chars=100, min_piece_chars=100)
    [now] = decontaminate(table([text]), config)["text"].to_pylist()
    assert "gap" not in now and len(now.split("\n\n")) == 2


def test_report_marks_nothing_and_lists_all(quiz: str) -> None:
    values = [f"{LONG} {OTHER}", CLEAN, None, OTHER]
    docs = decontaminate(table(values), Decontaminate(against=(quiz,), mode="report"))
    assert "rule" not in docs.column_names or docs["rule"].null_count == len(values)
    names = [str(i) for i in range(len(values))]
    docs = docs.append_column("id", pa.array(names)).append_column("source", pa.array(names))
    rows = contamination_of(docs).to_pylist()
    assert [(r["item"], r["id"], r["item_fraction"], r["rule"]) for r in rows] == [
        ("quiz.jsonl/0", "0", 1.0, None),
        ("quiz.jsonl/1", "0", 1.0, None),
        ("quiz.jsonl/1", "3", 1.0, None),
    ]


def test_canaries(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", [{"question": CANARIES["test_item"][0]}])
    for rule, (trips, passes) in CANARIES.items():
        docs = decontaminate(table([trips, passes]), canary_config(rule, path))
        assert docs["rule"].to_pylist() == [rule, None]


@pytest.mark.parametrize(
    "unit", ["7", "a", "a ", "中", "é", "e\u0301", "\u200b", "-\n", "\0 ", "ﷺ"]
)
def test_ten_megabytes_of_one_thing(quiz: str, unit: str) -> None:
    # A step that looked at a text's whole past for each word would take minutes.
    values = [unit * (10_000_000 // len(unit.encode()))]
    docs = decontaminate(table(values), Decontaminate(against=(quiz,)))
    assert docs["decontaminate.n_matched_ngrams"].to_pylist() == [0]


def test_a_test_set_many_times_over_is_measured_in_linear_time(quiz: str) -> None:
    values = [f"{LONG} {SHORT} Budapest. " * 20_000]
    docs = decontaminate(table(values), Decontaminate(against=(quiz,)))
    assert docs["value"].to_pylist() == [20_000 * (n_words(LONG) - 12 + 1)]


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
    numbers[1319 + 61] -= 56 - 61  # HumanEval/56 and 61 differ by kinds of brackets
    assert len(items) == 1483 and numbers == [*range(1319), *range(164)]
    assert min(docs["similarity"].to_pylist()[:1319]) > 0.95
