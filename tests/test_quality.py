"""The quality classifier, trained for real on small texts."""

from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from filters.cutoffs import cutoffs_of, write_cutoffs
from filters.fit_quality import BINS, Evaluation, _precision_recall, _train, fit_quality
from filters.quality import NEGATIVE, POSITIVE, Quality, quality
from pipeline.schema import DOCUMENT

TOPICS = [
    "river",
    "mountain",
    "castle",
    "letter",
    "garden",
    "winter",
    "journey",
    "brother",
    "window",
    "harbour",
]
GOODS = [
    "shoes",
    "laptops",
    "watches",
    "tickets",
    "vitamins",
    "hotels",
    "phones",
    "loans",
    "jackets",
    "toys",
]
GOOD = [
    f"The {a} lay silent while we considered, for the {i}th time, what the {b} had meant to her."
    for i in range(6)
    for a in TOPICS
    for b in TOPICS
]
BAD = [
    f"BUY cheap {a} online now!!! best {b} deals {i} click here free shipping login subscribe"
    for i in range(6)
    for a in GOODS
    for b in GOODS
]


def table(texts: list[str | None]) -> pa.Table:
    rows = [{"id": f"t/{i}", "text": text} for i, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Evaluation]:
    path = str(tmp_path_factory.mktemp("quality") / "models" / "quality.bin")
    return path, fit_quality([pa.array(GOOD)], [pa.array(BAD)], path)


TEXTS = [
    "The castle lay silent\nwhile we considered what the letter had meant to her brother.",
    "BUY cheap watches online now!!!\nbest hotels deals click here subscribe",
    "",
    None,
    " \n",
    "我们在河边静静地走着",
]


def test_good_and_ordinary_text_are_told_apart(fitted: tuple[str, Evaluation]):
    path, (figures, curve, positive, negative, scores) = fitted
    docs = quality(table(TEXTS), Quality(model=path)).to_pylist()
    assert docs[0]["rule"] is None
    assert docs[0]["quality.score"] > 0.9
    assert docs[1]["rule"] == "low_quality"
    assert (docs[1]["value"], docs[1]["threshold"]) == (docs[1]["quality.score"], 0.5)
    assert docs[1]["quality.score"] < 0.1
    for blank in docs[2:5]:
        assert (blank["rule"], blank["quality.score"], blank["value"]) == (
            "low_quality",
            None,
            None,
        )
    assert 0.0 <= docs[5]["quality.score"] <= 1.0
    assert figures["held_out_positive"] > 20
    assert figures["held_out_negative"] > 20
    assert figures["precision"] > 0.95
    assert figures["recall"] > 0.95
    assert figures["auc"] > 0.99
    assert [row[0] for row in curve] == [i / 100 for i in range(101)]
    assert curve[0][2] == 1.0
    assert curve[50][1:] == (figures["precision"], figures["recall"])
    assert (len(positive), len(negative)) == (BINS, BINS)
    assert sum(positive) == figures["held_out_positive"]
    assert sum(negative) == figures["held_out_negative"] == len(scores)
    assert sum(negative[: BINS // 2]) == sum(score < 0.5 for score in scores)


def test_the_score_is_fasttext_s_probability(fitted: tuple[str, Evaluation]):
    model = fasttext.load_model(fitted[0])
    assert sorted(model.get_labels()) == [POSITIVE, NEGATIVE]
    labels, scores = model.predict([TEXTS[0].replace("\n", " ")], k=2)
    expected = dict(zip(labels[0], scores[0].tolist(), strict=True))[POSITIVE]
    docs = quality(table([TEXTS[0]]), Quality(model=fitted[0]))
    assert docs["quality.score"].to_pylist() == [min(expected, 1.0)]


def test_any_split_into_batches_gives_the_same_rows(fitted: tuple[str, Evaluation]):
    config = Quality(model=fitted[0])
    whole = quality(table(TEXTS), config)
    for cut in range(len(TEXTS) + 1):
        parts = [table(TEXTS).slice(0, cut), table(TEXTS).slice(cut)]
        done = [quality(part.combine_chunks(), config) for part in parts]
        assert done[0].schema == done[1].schema == whole.schema
        assert pa.concat_tables(done).to_pylist() == whole.to_pylist()


def test_same_bytes_whatever_the_order_and_the_batches(
    fitted: tuple[str, Evaluation], tmp_path: Path
):
    path = tmp_path / "again.bin"
    positive = [pa.array(GOOD[300:][::-1]), pa.array([None, *GOOD[:300]])]
    figures = fit_quality(positive, [pa.array(BAD[::-1])], str(path))
    assert path.read_bytes() == Path(fitted[0]).read_bytes()
    assert figures == fitted[1]
    assert path.stat().st_size < 8 << 20
    assert [p.name for p in tmp_path.iterdir()] == ["again.bin"]


def test_one_long_text_is_many_examples_and_is_held_out_in_part(tmp_path: Path):
    book, site = " ".join(GOOD * 5), " ".join(BAD * 5)
    figures = fit_quality(
        [pa.array([book])], [pa.array([site])], str(tmp_path / "q.bin"), held_out_fraction=0.5
    ).figures
    assert figures["pieces"] > 20
    assert figures["held_out_positive"] > 0
    assert figures["held_out_negative"] > 0


def test_labels_in_the_text_are_words_of_no_meaning(tmp_path: Path):
    spoiled = [f"__label__spam {text} __label__hq" for text in BAD]
    path = str(tmp_path / "q.bin")
    fit_quality([pa.array(GOOD)], [pa.array(spoiled)], path)
    assert sorted(fasttext.load_model(path).get_labels()) == [POSITIVE, NEGATIVE]


def test_precision_and_recall_of_known_scores():
    good, bad = np.array([0.9, 0.6, 0.2]), np.array([0.7, 0.1])
    assert _precision_recall(good, bad, 0.5) == (2 / 3, 2 / 3)
    assert _precision_recall(good, bad, 0.0) == (3 / 5, 1.0)
    assert _precision_recall(good, bad, 1.0) == (None, 0.0)


def test_the_best_part_of_a_sample(fitted: tuple[str, Evaluation], tmp_path: Path):
    path = str(tmp_path / "cutoffs.json")
    write_cutoffs(cutoffs_of("quality.score", [i / 100 for i in range(101)]), path)
    config = Quality(model=fitted[0], keep_fraction=0.9, cutoffs=path)
    rows = quality(table(TEXTS), config).to_pylist()
    assert [row["rule"] for row in rows[:4]] == [None, *["low_quality"] * 3]
    assert rows[1]["threshold"] == pytest.approx(0.1)
    every = Quality(model=fitted[0], keep_fraction=1.0, cutoffs=path)
    assert quality(table(TEXTS), every)["rule"].to_pylist()[:2] == [None, None]


def test_pareto_sampling_keeps_some_of_the_low_scores(fitted: tuple[str, Evaluation]):
    docs = table([TEXTS[1]] * 20_000)
    config = Quality(model=fitted[0], pareto_alpha=9.0)
    rows = quality(docs, config)
    score = rows["quality.score"].to_pylist()[0]
    assert score < 0.1
    kept = rows["rule"].null_count
    # P(X > 1 - score) of a Lomax distribution
    assert kept / 20_000 == pytest.approx((2 - score) ** -9, abs=0.001)
    assert kept > 10
    lost = rows.filter(rows["rule"].is_valid()).to_pylist()
    assert all(row["rule"] == "not_drawn" and row["threshold"] >= score for row in lost)
    parts = [quality(docs.slice(at, 7000), config)["rule"] for at in (0, 7000, 14_000)]
    assert [rule for part in parts for rule in part.to_pylist()] == rows["rule"].to_pylist()
    other = quality(docs, Quality(model=fitted[0], pareto_alpha=9.0, pareto_seed=1))
    assert other["rule"].to_pylist() != rows["rule"].to_pylist()
    good = quality(table([TEXTS[0]] * 500 + [None]), config)
    assert good["rule"].null_count > 400
    assert good["rule"].to_pylist()[-1] == "not_drawn"


def test_dclm_s_labels(tmp_path: Path):
    lines, path = tmp_path / "lines.txt", tmp_path / "dclm.bin"
    rows = [f"__label__hq {text}" for text in GOOD] + [f"__label__cc {text}" for text in BAD]
    lines.write_text("\n".join(rows) + "\n")
    _train(lines, path, {"dim": 16, "bucket": 1 << 12, "epoch": 5})
    docs = quality(table(TEXTS), Quality(model=str(path), min_score=0.018112, prefix_chars=0))
    assert docs["rule"].to_pylist()[:2] == [None, "low_quality"]
    model = fasttext.load_model(str(path))
    text = "The castle\r\nlay\x0bsilent\u2028while \x85 we\x1cconsidered "
    labels, scores = model.predict([" ".join(text.strip().splitlines())], k=2)  # as in DCLM
    expected = dict(zip(labels[0], scores[0].tolist(), strict=True))["__label__hq"]
    docs = quality(table([text]), Quality(model=str(path)))
    assert docs["quality.score"].to_pylist() == [pytest.approx(expected)]


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\0" * 1000, "</s>" * 1000, "́" * 100_000])
def test_hostile_texts_have_signals(fitted: tuple[str, Evaluation], text: str):
    config = Quality(model=fitted[0], prefix_chars=0)
    score = quality(table([text]), config)["quality.score"].to_pylist()[0]
    assert score is None if text.startswith("<") else 0 <= score <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_score": 0.0, "pareto_alpha": 9.0}, "min_score and pareto_alpha exclude"),
        ({"keep_fraction": 0.1}, "keep_fraction and cutoffs need each other"),
        ({"cutoffs": "c"}, "keep_fraction and cutoffs need each other"),
        ({"keep_fraction": 2.0, "cutoffs": "c"}, "keep_fraction 2.0 is not within"),
        ({"pareto_alpha": 0.0}, "pareto_alpha 0.0 is not above 0"),
        ({"prefix_chars": -1}, "prefix_chars -1 is below 0"),
    ],
)
def test_config_mistakes(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Quality(model="m", **change)


def test_mistakes_are_named(fitted: tuple[str, Evaluation], tmp_path: Path):
    wrong = Quality(model=fitted[0], positive_label="__label__good")
    with pytest.raises(ValueError, match=r"'__label__good': not in .*Known: __label__"):
        quality(table(TEXTS), wrong)
    with pytest.raises(ValueError, match="no such file"):
        quality(table(TEXTS), Quality(model=str(tmp_path / "nowhere.bin")))
    with pytest.raises(ValueError, match="no negative text"):
        fit_quality([pa.array(GOOD)], [pa.array(["", None])], str(tmp_path / "q.bin"))
    with pytest.raises(ValueError, match="min_score -1 is not within"):
        Quality(model="m", min_score=-1)
    assert list(tmp_path.iterdir()) == []
