"""Paragraphs and documents of n-grams seen before, against a stream in the total order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cut import cut_spans
from dedup.paragraphs import (
    Decided,
    Paragraphs,
    decide,
    paragraph_ngrams,
    seen_before,
    shared_ngrams,
)
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.stages import run_pipeline
from tests.test_dedup_stages import words
from tests.test_ngrams import documents
from tests.test_pipeline import rows_of, write_jsonl

TWO = Paragraphs(words=2)


def rounds(
    docs: pa.Table, config: Paragraphs, partitions: int = 1, keepers: tuple[int, ...] = ()
) -> tuple[Decided, int]:
    """The outcome and how many rounds it took, each document signed by itself."""
    batches = [docs.slice(0, 0), *(docs.slice(i, 1) for i in range(docs.num_rows))]
    signed = [paragraph_ngrams(batch, config) for batch in batches]
    rows, sizes = (pa.concat_tables(tables) for tables in zip(*signed, strict=True))
    part = rows["key"].to_numpy() % partitions
    shared = [shared_ngrams(rows.filter(pa.array(part == p))) for p in range(partitions)]
    unsettled = None
    for n in range(1, 100):
        counts = pa.concat_tables([seen_before(rows, unsettled) for rows in shared])
        found = decide(sizes, counts, np.array(keepers, np.uint64), config)
        unsettled = found.unsettled
        if not any(unsettled["open"].to_pylist()):
            return found, n
    raise AssertionError("never settled")


def outcome(texts: list[str], config: Paragraphs = TWO, **given) -> tuple[list, list]:
    """([(document, paragraph) cut], [document removed])."""
    found, _ = rounds(documents(texts), config, **given)
    pairs = zip(found.cuts["doc"].to_pylist(), found.cuts["position"].to_pylist(), strict=True)
    return list(pairs), found.documents["doc"].to_pylist()


def stream(
    texts: list[list[list[str]]], orders: list[int], config: Paragraphs, keepers: tuple[int, ...]
) -> tuple[list, list]:
    """One document after the other, past what those before them have left."""
    seen: set[tuple[str, ...]] = set()
    cut, removed = [], []

    def share(grams: list[tuple[str, ...]]) -> float:
        return sum(gram in seen for gram in grams) / len(grams) if grams else 0

    for d in sorted(range(len(texts)), key=lambda d: (orders[d], d)):
        paragraphs = [grams_of(words, config) for words in texts[d]]
        whole = share([gram for grams in paragraphs for gram in grams])
        may_go = config.remove != "paragraphs" and d not in keepers
        if may_go and whole >= config.min_repeated_fraction:
            removed.append(d)
            continue
        for p, grams in enumerate(paragraphs):
            repeated = config.remove != "documents" and share(grams) >= config.min_repeated_fraction
            if repeated:
                cut.append((d, p))
            else:
                seen.update(grams)
    return sorted(cut), sorted(removed)


def grams_of(words: list[str], config: Paragraphs) -> list[tuple[str, ...]]:
    n = len(words)
    if (config.min_words or config.words) <= n < config.words:
        return [tuple(words)]
    return [tuple(words[i : i + config.words]) for i in range(n - config.words + 1)]


def test_a_paragraph_goes_when_enough_of_its_ngrams_were_seen():
    first = "a b c d e f"  # five pairs
    assert outcome([first, "a b c d e x\nnew words here"]) == ([(1, 0)], [])  # 4 of 5
    assert outcome([first, "a b c d y x\nnew words here"]) == ([], [])  # 3 of 5
    assert outcome([first, "A b, c d E f!\nnew words here"]) == ([(1, 0)], [])


def test_a_document_goes_when_enough_of_all_its_ngrams_were_seen():
    first = "a b c d e f g h i j k"
    assert outcome([first, "a b c d e f g h\ni x"]) == ([], [1])  # 7 of 8
    only = Paragraphs(words=2, remove="paragraphs")
    assert outcome([first, "a b c d e f g h\ni x"], only) == ([(1, 0)], [])
    only = Paragraphs(words=2, remove="documents")
    assert outcome([first, "a b c d\nx y z u v w"], only) == ([], [])
    assert outcome([first, "a b c d\ne f g\nx y"], only) == ([], [1])  # 5 of 6
    assert outcome([first, first], keepers=(1,)) == ([(1, 0)], [])


def test_a_document_that_repeats_itself_keeps_its_first_paragraph():
    assert outcome(["a b c\na b c\na b c\nd e f"]) == ([(0, 1), (0, 2)], [])
    assert outcome(["a b a b a b a b"]) == ([], [])  # a paragraph is looked at before it is added


def test_paragraphs_that_drift_do_not_go_one_for_the_other():
    drift = [" ".join(f"w{i}" for i in range(2 * k, 2 * k + 12)) for k in range(12)]
    kept = Paragraphs(words=2, remove="paragraphs")
    cut, _ = outcome(drift, kept)
    assert cut == [(k, 0) for k in range(12) if k % 2]  # 9 of 11 of the one before, 7 two before
    assert rounds(documents(drift), kept)[1] > 3


def test_short_paragraphs_stay_or_are_compared_as_a_whole():
    texts = ["a b\nc d e f", "a b\nx y z u", "A b."]
    assert outcome(texts, Paragraphs(words=4, remove="paragraphs")) == ([], [])
    short = Paragraphs(words=4, min_words=2, remove="paragraphs")
    assert outcome(texts, short) == ([(1, 0), (2, 0)], [])
    texts = ["a b c\n\nd e f", "a b c\nd e f", "d e f\n\nx"]
    by_empty_line = Paragraphs(
        unit="paragraph", words=2, remove="paragraphs", min_repeated_fraction=1.0
    )
    assert outcome(texts, by_empty_line) == ([(2, 0)], [])  # c d was not seen


def test_what_is_named_is_the_document_with_most_of_it():
    texts = ["a b c", "d e f g h i", "a b c d e f g h i\nown"]
    found, _ = rounds(documents(texts), TWO)
    assert found.documents.to_pylist() == [{"doc": 2, "matched": 1, "share": 7 / 8}]
    found, _ = rounds(documents(texts), Paragraphs(words=2, remove="paragraphs"))
    assert found.cuts.to_pylist() == [{"doc": 2, "position": 0, "first_doc": 1}]
    found, _ = rounds(documents(texts), Paragraphs(words=2, action="mark"))
    assert found.cuts.to_pylist() == [{"doc": 2, "position": 0, "first_doc": 1}]
    assert found.documents.num_rows == 0


def test_empty_null_and_hostile_texts():
    texts = [None, "", "\n\n", "x", "\0", "a " * 10_000, "a " * 10_000, None]
    assert outcome(texts) == ([], [6])
    assert outcome([]) == ([], [])


@pytest.mark.parametrize(
    ("key", "value", "mistake"),
    [
        ("words", 1, "words 1 is below 2"),
        ("min_words", 14, "min_words 14 is not within 0..words = 13"),
        ("min_repeated_fraction", 0.0, "min_repeated_fraction 0.0 is not above 0"),
        ("min_remaining_words", -1, "min_remaining_words -1 is below 0"),
    ],
)
def test_a_config_that_cannot_work_is_refused(key, value, mistake):
    with pytest.raises(ValueError, match=mistake):
        Paragraphs(**{key: value})


word = st.sampled_from(["a", "b", "c", "d"])
paragraph = st.lists(word, max_size=9)
document = st.lists(paragraph, max_size=4)


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.lists(document, max_size=8),
    st.integers(2, 4),
    st.data(),
)
def test_rounds_end_as_the_stream_does(texts, words, data):
    config = Paragraphs(
        words=words,
        min_words=data.draw(st.integers(0, words)),
        min_repeated_fraction=data.draw(st.sampled_from([0.3, 0.5, 0.8, 1.0])),
        remove=data.draw(st.sampled_from(["both", "paragraphs", "documents"])),
    )
    orders = data.draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)))
    keepers = tuple(data.draw(st.sets(st.integers(0, 7))))
    filled = [[words or ["q"] for words in paragraphs] for paragraphs in texts]
    docs = documents(["\n".join(map(" ".join, paragraphs)) for paragraphs in filled], orders)
    expected = stream(filled, orders, config, keepers)
    for partitions in (1, 3):
        found, _ = rounds(docs, config, partitions, keepers)
        pairs = zip(found.cuts["doc"].to_pylist(), found.cuts["position"].to_pylist(), strict=True)
        assert (list(pairs), found.documents["doc"].to_pylist()) == expected


@pytest.mark.parametrize("action", ["cut", "mark"])
def test_a_run_with_each_action(tmp_path, action):
    footer, body = " ".join(words(1, 20)), [" ".join(words(i, 30)) for i in range(2, 6)]
    texts = {
        "a": f"{body[0]}\n{body[1]}\n{footer}",
        "b": f"{body[2]}\n{footer}\n{body[3][:40]}",
        "c": f"{body[1]}\nshort\n{footer}",
        "d": f"{footer}\n{footer}",
        "e": "a few words\nin two lines",
    }
    shard = tmp_path / "in.jsonl"
    write_jsonl(shard, [{"id": name, "text": text} for name, text in texts.items()])
    source = {"format": "table", "paths": [str(shard)]}
    dedup = {"paragraphs": {"action": action}, "partitions": 2}
    with connect("off") as cluster:
        config = parse({"name": "t", "sources": {"s": source}, "dedup": dedup})
        manifest = run_pipeline(config, str(tmp_path / "out"), cluster)
    kept = {row["id"]: row for row in rows_of(tmp_path / "out", "documents")}
    removed = {row["id"]: row for row in rows_of(tmp_path / "out", "removed")}
    assert manifest["dedup"]["paragraphs"] == {"rounds": 2, "open": 0}
    if action == "mark":
        fractions = {name: row["dedup.repeated_fraction"] for name, row in kept.items()}
        assert fractions["a"] == fractions["e"] == 0 and fractions["d"] == 1
        assert 0 < fractions["b"] < 0.5 and {row["text"] for row in kept.values()} == set(
            texts.values()
        )
        return
    assert {name: row["text"] for name, row in kept.items()} == {
        "a": texts["a"],
        "b": f"{body[2]}\n{body[3][:40]}",
        "e": texts["e"],
    }
    for name in "cd":
        row = removed[name]
        assert (row["rule"], row["matched_id"]) == ("dedup.repeated_document", "a")
        assert (row["value"], row["threshold"], row["similarity"]) == (1.0, 0.8, 1.0)


def test_a_document_of_nothing_but_cut_paragraphs_goes():
    line = [" ".join(words(i, 20)) for i in range(4)]
    config = Paragraphs(remove="paragraphs")
    docs = documents([f"{line[0]}\n{line[1]}", f"{line[1]}\n{line[0]}"])
    found, _ = rounds(docs, config)
    windows = found.cuts.append_column("first_id", pa.array(["id0"] * 2))
    made = cut_spans(docs["text"].chunk(0), docs["doc"].chunk(0), windows, config)
    assert made.texts.to_pylist() == [f"{line[0]}\n{line[1]}", ""]
    [fate] = made.fates.to_pylist()
    assert (fate["rule"], fate["value"], fate["threshold"]) == ("repeated_paragraphs", 0, 1)
