"""Lines, paragraphs and spans of sentences against plain Python; repeats of them, cut."""

import itertools
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cut import cut_spans
from dedup.ngrams import fingerprints, repeated_windows
from dedup.segments import Segments, segments_of
from filters.kernels import text_buffers
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.stages import run_pipeline
from tests.test_ngrams import documents, named
from tests.test_pipeline import rows_of

LINES = Segments(unit="line", min_words=2, min_chars=0, min_remaining_words=0)
PARAGRAPHS = Segments(unit="paragraph", min_words=2, min_chars=0, min_remaining_words=0)
SPANS = Segments(unit="sentences", n=2, min_words=2, min_chars=0, min_remaining_words=0)
patient = settings(deadline=None)  # kernels are compiled at the first call


def cut(texts: list[str | None], config: Segments, orders: list[int] | None = None):
    docs = documents(texts, orders)
    windows = named(repeated_windows(fingerprints(docs, config), config))
    return cut_spans(docs["text"].chunk(0), docs["doc"].chunk(0), windows, config)


def pieces(text: str, config: Segments) -> list[str]:
    start = segments_of(*text_buffers(pa.array([text])), config.unit).start
    data, ends = text.encode(), [*start.tolist(), len(text.encode())]
    return [data[a:b].decode() for a, b in itertools.pairwise(ends)]


def test_segments():
    assert pieces("a b\n\nc\r\n d", LINES) == ["a b\n\n", "c\r\n ", "d"]
    assert pieces("\n a b\nc\n \nd\n", PARAGRAPHS) == ["\n a b\nc\n \n", "d\n"]
    text = 'He said: "No." Then 3.5 l. of it!\nYes 好。很好'
    assert pieces(text, SPANS) == [
        'He said: "No." ',
        "Then 3.5 l. ",
        "of it!\n",
        "Yes 好。",
        "很好",
    ]


@patient
@given(
    st.text(st.sampled_from("ab.!?\"' \n\r\t。！é"), max_size=30),
    st.sampled_from([LINES, PARAGRAPHS, SPANS]),
)
def test_segments_against_plain_python(text, config):
    found = pieces(text, config)
    assert "".join(found) == text
    assert found == by_rule(text, config.unit)


def by_rule(text: str, unit: str) -> list[str]:
    """Where the white space after something that ends a segment is over."""
    starts = [0]
    for i in range(1, len(text)):
        before = re.search(r"[ \t\r\n]*\Z", text[:i]).group()
        stem = text[: i - len(before)]
        if text[i] in " \t\r\n":
            continue
        breaks = before.count("\n")
        ends = breaks > (unit == "paragraph")
        if unit == "sentences":
            closed = re.search(r"[.!?][\"')\]*_]*\Z", stem[starts[-1] :])
            ends |= bool(before and closed) or stem.endswith(("。", "！"))
        if ends and (stem or before):
            starts.append(i)
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True) if a < b]


def test_a_line_that_occurred_before_is_cut_whatever_its_case_and_punctuation():
    made = cut(["Subscribe now!\nOne two.", "three four\nSUBSCRIBE, NOW\nfive", None, "x"], LINES)
    assert made.texts.to_pylist() == ["Subscribe now!\nOne two.", "three four\nfive", None, "x"]
    assert made.words_cut.tolist() == [0, 2, 0, 0]
    assert made.repeated.tolist() == [0, 0.4, 0, 0]


def test_lines_under_min_words_may_occur_again():
    texts = ["}\n}\nend\nend\na b\na b"]
    assert cut(texts, LINES).texts.to_pylist() == ["}\n}\nend\nend\na b\n"]


def test_lines_under_min_chars_may_occur_again():
    config = Segments(min_words=2, min_chars=8, min_remaining_words=0)
    texts = [
        "你好世界你好\na b c d  \na b c d e f g\nabcd efgh",
        "你好世界你好!!\nABCD efgh\na b c d e f g",
    ]
    made = cut(texts, config)
    assert made.texts.to_pylist() == [texts[0], "你好世界你好!!\na b c d e f g"]
    assert cut(["é" * 4 + " " + "é" * 4] * 2, config).texts.to_pylist()[1] == ""


def test_paragraphs_and_spans():
    first = "One two.\nthree\n\nfour five"
    assert cut([first, "x\n\none two three\n\ny"], PARAGRAPHS).texts.to_pylist()[1] == "x\n\ny"
    assert cut([first, "One two.\n\nthree"], PARAGRAPHS).texts.to_pylist()[1] == "One two.\n\nthree"
    made = cut(["A b. C d. E f.", "X y. A b. C d. Z.", "A b. E f."], SPANS)
    assert made.texts.to_pylist() == ["A b. C d. E f.", "X y. Z.", "A b. E f."]


def test_the_order_decides_and_what_remains():
    config = Segments(unit="line", min_words=2, min_chars=0, min_remaining_words=2)
    made = cut(["a b\nc", "a b\nd e"], config, orders=[1, 0])
    assert made.fates.to_pylist() == [
        {"doc": 0, "matched": None, "rule": "repeated_segments", "value": 1.0, "threshold": 2.0,
         "matched_id": "id1", "similarity": 2 / 3}
    ]  # fmt: skip
    for action, n in (("mark", 0), ("remove", 1)):
        config = Segments(
            unit="line", min_words=2, min_chars=0, min_remaining_words=2, action=action
        )
        made = cut(["a b\nc", "a b\nd e", "a b\nf g"], config, orders=[1, 0, 2])
        assert made.texts.to_pylist() == ["a b\nc", "a b\nd e", "a b\nf g"]
        assert made.fates.num_rows == n and made.words_cut.tolist() == [0, 0, 0]
        assert made.repeated.tolist() == [2 / 3, 0, 0.5]


def test_a_million_equal_lines_stay_one():
    made = cut(["buy it now\n" * 1_000_000], LINES)
    assert made.texts.to_pylist() == ["buy it now\n"]


def test_empty_null_and_hostile_texts():
    texts = [None, "", "\n\n\n", "\0", "...\n...", None, "", "\n\n\n"]
    for config in (LINES, PARAGRAPHS, SPANS):
        assert cut(texts, config).texts.to_pylist() == texts
        assert cut([], config).texts.to_pylist() == []


@patient
@given(
    st.lists(st.lists(st.sampled_from(["a b", "A, b!", "c d e", "f", ""]), max_size=8), max_size=5),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_brute_force_in_any_batches_row_order_and_partitions(lines, partitions, random):
    orders = [random.randint(0, 2) for _ in lines]
    docs = documents(["\n".join(each) for each in lines], orders)
    seen: set[str] = set()
    expected = [""] * len(lines)
    for d in sorted(range(len(lines)), key=lambda d: (orders[d], d)):
        for piece in pieces(docs["text"][d].as_py(), LINES):
            words = " ".join(re.findall("[a-z]+", piece.lower()))
            if len(words.split()) < 2 or words not in seen:
                expected[d] += piece
            seen.add(words)
    batches = [fingerprints(docs.slice(i, 1), LINES) for i in range(len(lines))]
    rows = pa.concat_tables([fingerprints(docs.slice(0, 0), LINES), *batches])
    rows = rows.take(pa.array(random.sample(range(rows.num_rows), rows.num_rows), pa.int64()))
    part = rows["key"].to_numpy() % partitions
    found = [repeated_windows(rows.filter(pa.array(part == p)), LINES) for p in range(partitions)]
    windows = named(pa.concat_tables(found))
    made = cut_spans(docs["text"].combine_chunks(), docs["doc"].chunk(0), windows, LINES)
    assert made.texts.to_pylist() == expected


@pytest.mark.parametrize(
    ("key", "value"), [("n", 0), ("min_words", 0), ("min_chars", -1), ("min_remaining_words", -1)]
)
def test_a_config_that_cannot_work_is_refused(key, value):
    with pytest.raises(ValueError, match=f"^{key} {value} is below"):
        Segments(**{key: value})


def test_the_two_halves_of_a_key_are_independent():
    texts = [f"line number {i}" for i in range(1000)]
    rows = fingerprints(documents(texts), LINES)
    high, low = rows["key"].to_numpy(), rows["key_low"].to_numpy()
    assert len(set(high)) == len(set(low)) == 1000 and not np.any(high == low)


@pytest.mark.parametrize("action", ["cut", "mark", "remove"])
def test_a_run_with_each_action(tmp_path, action):
    footer = "All rights reserved by the publisher"
    texts = {"a": f"one two three four\n{footer}", "b": f"five six seven eight\n{footer}",
             "c": footer, "d": "nine ten eleven twelve"}  # fmt: skip
    rows = [{"id": name, "text": text} for name, text in texts.items()]
    shard = tmp_path / "in.jsonl"
    shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {
        "name": "t",
        "sources": {"s": {"format": "table", "paths": [str(shard)]}},
        "dedup": {"segments": {"action": action, "min_remaining_words": 2}, "partitions": 2},
    }
    out = tmp_path / "out"
    with connect("off") as cluster:
        run_pipeline(parse(table), str(out), cluster)
    kept = {row["id"]: row for row in rows_of(out, "documents")}
    removed = {row["id"]: row for row in rows_of(out, "removed")}
    assert sorted(kept) == (["a", "b", "c", "d"] if action == "mark" else ["a", "b", "d"])
    assert kept["a"]["text"] == ("one two three four\n" if action == "cut" else texts["a"])
    if action == "mark":
        fractions = {name: row["dedup.repeated_fraction"] for name, row in kept.items()}
        assert fractions == {"a": 0.6, "b": 0, "c": 1, "d": 0}
    else:
        gone = removed["c"]
        assert (gone["rule"], gone["matched_id"]) == (
            "dedup.repeated_segments",
            "b",
        )  # the longest comes first
        assert (gone["value"], gone["threshold"], gone["similarity"]) == (0, 2, 1)
