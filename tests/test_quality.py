"""The quality classifier, trained for real on small texts."""

from pathlib import Path

import fasttext
import pyarrow as pa
import pytest

from filters.quality import NEGATIVE, POSITIVE, Quality, fit_quality, quality
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
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
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


def test_good_and_ordinary_text_are_told_apart(fitted: tuple[str, dict]):
    path, figures = fitted
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


def test_the_score_is_fasttext_s_probability(fitted: tuple[str, dict]):
    model = fasttext.load_model(fitted[0])
    assert sorted(model.get_labels()) == [POSITIVE, NEGATIVE]
    labels, scores = model.predict([TEXTS[0].replace("\n", " ")], k=2)
    expected = dict(zip(labels[0], scores[0].tolist(), strict=True))[POSITIVE]
    docs = quality(table([TEXTS[0]]), Quality(model=fitted[0]))
    assert docs["quality.score"].to_pylist() == [min(expected, 1.0)]


def test_any_split_into_batches_gives_the_same_rows(fitted: tuple[str, dict]):
    config = Quality(model=fitted[0])
    whole = quality(table(TEXTS), config)
    for cut in range(len(TEXTS) + 1):
        parts = [table(TEXTS).slice(0, cut), table(TEXTS).slice(cut)]
        done = [quality(part.combine_chunks(), config) for part in parts]
        assert done[0].schema == done[1].schema == whole.schema
        assert pa.concat_tables(done).to_pylist() == whole.to_pylist()


def test_same_bytes_whatever_the_order_and_the_batches(fitted: tuple[str, dict], tmp_path: Path):
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
    )
    assert figures["pieces"] > 20
    assert figures["held_out_positive"] > 0
    assert figures["held_out_negative"] > 0


def test_labels_in_the_text_are_words_of_no_meaning(tmp_path: Path):
    spoiled = [f"__label__spam {text} __label__hq" for text in BAD]
    path = str(tmp_path / "q.bin")
    fit_quality([pa.array(GOOD)], [pa.array(spoiled)], path)
    assert sorted(fasttext.load_model(path).get_labels()) == [POSITIVE, NEGATIVE]


def test_mistakes_are_named(fitted: tuple[str, dict], tmp_path: Path):
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
