"""Language identification, with the real lid.176."""

import gzip
import json
from pathlib import Path

import fasttext
import pyarrow as pa
import pytest

from filters.fit_quality import _train
from filters.language import CANARIES, Language, language, lid_176, one_line, without_capitals
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
    labels, scores = model.predict(texts, k=2)
    docs = language(table(texts), Language())
    for rank, prefix in enumerate(("", "second_")):
        assert column(docs, f"language.{prefix}label") == [
            names[rank].removeprefix("__label__") for names in labels
        ]
        assert column(docs, f"language.{prefix}score") == [
            min(float(values[rank]), 1.0) for values in scores
        ]


def test_capitals():
    texts = [GERMAN.upper(), GERMAN, None, "", "A", "123"]
    read = without_capitals(one_line(pa.array(texts))).to_pylist()
    assert read == [GERMAN.lower(), GERMAN, None, "", "a", "123"]
    plain, lowered = (
        language(table(texts), Language(keep=("de",), lower_capitals=lower)).to_pylist()
        for lower in (False, True)
    )
    assert lowered[0]["language.label"] == "de"
    assert lowered[0]["language.score"] > plain[0]["language.score"] or plain[0]["rule"]
    assert lowered[1] == plain[1]


def test_a_threshold_for_each_language():
    config = Language(keep=("en", "de", "zh"), min_score=0.5, min_scores={"de": 0.999})
    docs = language(table([ENGLISH, GERMAN, CHINESE]), config)
    assert column(docs, "rule") == [None, "low_language_score", None]
    assert column(docs, "threshold") == [None, 0.999, None]


def test_lines_of_another_language():
    half = f"{ENGLISH}\n{GERMAN}\nok\n{ENGLISH}"
    texts = [ENGLISH, half, "ok\nja", "", None]
    config = Language(by_line=True, max_mixed_fraction=0.3, min_score=0.2)
    docs = language(table(texts), config)
    share = len(GERMAN) / (2 * len(ENGLISH) + len(GERMAN))
    mixed = column(docs, "language.mixed_fraction")
    assert mixed == [0.0, pytest.approx(share), 0.0, None, None]
    assert column(docs, "rule")[:2] == [None, "mixed_language"]
    assert (column(docs, "value")[1], column(docs, "threshold")[1]) == (mixed[1], 0.3)
    short = Language(by_line=True, max_lines_chars=len(ENGLISH))
    assert column(language(table(texts), short), "language.mixed_fraction")[1] == 0.0
    for cut in range(len(texts) + 1):
        parts = [table(texts).slice(0, cut), table(texts).slice(cut)]
        done = [language(part.combine_chunks(), config) for part in parts]
        assert pa.concat_tables(done).to_pylist() == docs.to_pylist()


def test_labels_of_other_models_and_unknown_ones(tmp_path: Path):
    lines, path = tmp_path / "lines.txt", tmp_path / "glot.bin"
    rows = [f"__label__{k} {t}" for k, t in (("eng_Latn", ENGLISH), ("deu_Latn", GERMAN))]
    lines.write_text("\n".join(rows * 30) + "\n")
    _train(lines, path, {"dim": 16, "bucket": 1024, "epoch": 20, "minCount": 1})
    for keep in ("eng_Latn", "__label__eng_Latn"):
        docs = language(table([ENGLISH, GERMAN]), Language(model=str(path), keep=(keep,)))
        assert column(docs, "language.label") == ["eng_Latn", "deu_Latn"]
        assert column(docs, "rule") == [None, "other_language"]
    with pytest.raises(ValueError, match=r"keep\[0\] 'en': not a label of glot.bin"):
        language(table([]), Language(model=str(path)))
    with pytest.raises(ValueError, match=r"keep\[1\] 'eng': not .* lid.176.ftz. Did you mean en\?"):
        language(table([]), Language(keep=("de", "eng")))


@pytest.mark.parametrize("rule", sorted(CANARIES))
def test_canaries(rule: str):
    trips, passes = language(table(list(CANARIES[rule])), Language()).to_pylist()
    assert rule in trips["failed"]
    assert not passes["failed"]


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\0" * 1000, "́" * 100_000, "?!\n" * 1000])
def test_hostile_texts_have_signals(text: str):
    row = language(table([text]), Language(prefix_chars=0, by_line=True)).to_pylist()[0]
    assert 0 <= row["language.score"] <= 1
    assert 0 <= row["language.mixed_fraction"] <= 1


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
        ({"prefix_chars": -1}, "prefix_chars -1 is below 0"),
        ({"min_scores": {"en": 2.0}}, "min_scores.en 2.0 is not within 0..1"),
        ({"min_scores": {"de": 0.5}}, "min_scores.de: 'de' is not among keep"),
        ({"max_mixed_fraction": 0.1}, "needs by_line = true"),
        ({"by_line": True, "max_mixed_fraction": 2.0}, "max_mixed_fraction 2.0 is not within"),
        ({"by_line": True, "min_line_chars": 0}, "have to be 1 or more"),
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
