"""Language identification, with the real lid.176."""

import gzip
import json
from pathlib import Path

import fasttext
import pyarrow as pa
import pytest

from filters.language import Language, language, lid_176, one_line
from pipeline.schema import DOCUMENT

ENGLISH = (
    "The committee met on Tuesday to discuss the new budget for the public schools of the city."
)
GERMAN = "Der Ausschuss traf sich am Dienstag, um über den neuen Haushalt der Schulen zu beraten."
CHINESE = "委员会星期二开会讨论了该市公立学校的新预算，并决定在下个月再次开会。"
TEXTS = [ENGLISH, GERMAN, CHINESE, "", None, " \n\t", "xq zzv 17 --- kkw"]


def table(texts: list[str | None]) -> pa.Table:
    rows = [{"id": f"t/{i}", "text": text} for i, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def column(docs: pa.Table, name: str) -> list:
    return docs[name].to_pylist()


def test_labels_and_rules():
    docs = language(table(TEXTS), Language(keep=("en", "zh"), min_score=0.65))
    assert column(docs, "language.label")[:6] == ["en", "de", "zh", None, None, None]
    assert column(docs, "rule")[:3] == [None, "other_language", None]
    assert column(docs, "rule")[3:6] == ["other_language"] * 3
    assert column(docs, "failed")[4] == ["other_language", "low_language_score"]
    scores = column(docs, "language.score")
    assert 0.9 < scores[0] <= 1.0
    assert scores[3:6] == [None] * 3
    assert column(docs, "value")[1] == scores[1]
    assert column(docs, "id") == [f"t/{i}" for i in range(len(TEXTS))]


def test_low_score_is_marked_with_its_threshold():
    short = language(table([ENGLISH]), Language(min_score=1.0)).to_pylist()[0]
    assert short["language.score"] < 1.0
    assert (short["rule"], short["threshold"]) == ("low_language_score", 1.0)
    assert short["value"] == short["language.score"]


def test_any_split_into_batches_gives_the_same_rows():
    whole = language(table(TEXTS), Language())
    for cut in range(len(TEXTS) + 1):
        parts = [table(TEXTS).slice(0, cut), table(TEXTS).slice(cut)]
        done = [language(part.combine_chunks(), Language()) for part in parts]
        assert done[0].schema == done[1].schema == whole.schema
        assert pa.concat_tables(done).to_pylist() == whole.to_pylist()


def test_agrees_with_fasttext_itself():
    model = fasttext.load_model(lid_176())
    texts = [ENGLISH, GERMAN, CHINESE]
    labels, scores = model.predict(texts)
    docs = language(table(texts), Language())
    assert column(docs, "language.label") == [
        names[0].removeprefix("__label__") for names in labels
    ]
    assert column(docs, "language.score") == [min(float(values[0]), 1.0) for values in scores]


def test_only_the_start_of_the_text_is_read():
    docs = language(table([ENGLISH * 3 + GERMAN * 300]), Language(prefix_chars=200))
    assert column(docs, "language.label") == ["en"]


def test_a_sentence_end_token_hides_nothing():
    docs = language(table(["</s> " + GERMAN, "a </s>\r\n " + GERMAN]), Language())
    assert column(docs, "language.label") == ["de", "de"]
    assert one_line(pa.array(["a\r\n\r\nb\rc </s> d ", None])).to_pylist() == ["a b c   d", None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": ()}, "keep is empty"),
        ({"min_score": 1.5}, "min_score 1.5 is not within 0..1"),
        ({"prefix_chars": 0}, "prefix_chars 0 is below 1"),
    ],
)
def test_config_mistakes(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Language(**change)


def test_a_missing_or_broken_model_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere\.bin: no such file"):
        language(table([ENGLISH]), Language(model=str(tmp_path / "nowhere.bin")))
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"not a model at all" * 10)
    with pytest.raises(ValueError, match=r"broken\.bin: not a fastText model"):
        language(table([ENGLISH]), Language(model=str(broken)))


def test_accuracy_on_the_udhr(shared_data: Path):
    with gzip.open(shared_data / "lid" / "udhr.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["label"]]
    docs = language(table([row["text"] for row in rows]), Language())
    right = sum(a == b["label"] for a, b in zip(column(docs, "language.label"), rows, strict=True))
    assert len(rows) == 131
    assert right >= 106  # as many as with whole texts
