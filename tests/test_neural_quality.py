"""The neural scorer, with a tiny random BERT that the test makes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from filters.cutoffs import cutoffs_of, write_cutoffs
from filters.neural_quality import NeuralQuality, load_classifier, neural_quality
from pipeline.schema import DOCUMENT

transformers = pytest.importorskip("transformers", reason="the extra `neural` is not installed")

WORDS = ["the", "old", "man", "walked", "to", "sea", "boat", "buy", "cheap", "now", "!", "."]


def make_model(folder: Path, n_labels: int) -> str:
    """A BERT of two layers, width 32, with a head of n_labels, and a word-piece tokenizer."""
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    ids = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = transformers.BertTokenizer(vocab=ids)
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        num_labels=n_labels,
        initializer_range=0.5,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("neural") / "edu", 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two spin on a shared machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TEXTS = [
    "The old man walked to the sea.",
    "Buy cheap now! " * 20,
    "the old boat " * 100,
    "",
    None,
    " \n",
    "人人都去海边",
    "sea",
]


def table(texts: list[str | None]) -> pa.Table:
    rows = [{"id": f"t/{i}", "text": text} for i, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def plain(path: str, text: str) -> torch.Tensor:
    """One text at a time, without padding, as on the model card of FineWeb-Edu."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
    with torch.no_grad():
        return model(**inputs).logits[0]


def test_scores_are_those_of_a_plain_loop(regression: str):
    least = plain(regression, TEXTS[0] or "")[0].item() - 0.001
    config = NeuralQuality(model=regression, min_score=least)
    rows = neural_quality(table(TEXTS), config).to_pylist()
    scores = [row["neural_quality.score"] for row in rows]
    for text, score in zip(TEXTS, scores, strict=True):
        if text and text.strip():
            assert score == pytest.approx(plain(regression, text)[0].item(), abs=2e-4)
        else:
            assert score is None
    assert len({score for score in scores if score is not None}) == 5
    expected = [None if s is not None and s >= least else "low_neural_quality" for s in scores]
    assert [row["rule"] for row in rows] == expected
    assert {*expected} == {None, "low_neural_quality"}


def test_any_split_into_batches_gives_the_same_rows(regression: str):
    texts = TEXTS * 3
    config = NeuralQuality(model=regression, min_score=0.0, batch_tokens=512)
    whole = neural_quality(table(texts), config)
    for cut in (0, 5, 16, len(texts)):
        parts = [table(texts).slice(0, cut), table(texts).slice(cut)]
        done = [neural_quality(part.combine_chunks(), config) for part in parts]
        assert done[0].schema == done[1].schema == whole.schema
        rows = pa.concat_tables(done).to_pylist()
        scores = [(row["rule"], row["neural_quality.score"]) for row in rows]
        assert scores == [(row["rule"], row["neural_quality.score"]) for row in whole.to_pylist()]


def test_the_probability_of_a_label(tmp_path: Path):
    path = make_model(tmp_path / "two", 2)
    config = NeuralQuality(model=path, label="LABEL_1", min_score=0.5)
    score = neural_quality(table(TEXTS[:1]), config)["neural_quality.score"].to_pylist()[0]
    expected = plain(path, TEXTS[0] or "").softmax(0)[1].item()
    assert score == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ValueError, match="several labels; set `label` to one of LABEL_0, LABEL_1"):
        neural_quality(table([]), NeuralQuality(model=path))
    with pytest.raises(ValueError, match="label 'good': not in"):
        neural_quality(table([]), NeuralQuality(model=path, label="good"))


def test_the_best_part_of_a_sample(regression: str, tmp_path: Path):
    loose = NeuralQuality(model=regression, min_score=-1e9)
    scores = neural_quality(table(TEXTS), loose)["neural_quality.score"].to_pylist()
    path = str(tmp_path / "cutoffs.json")
    write_cutoffs(cutoffs_of("neural_quality.score", scores), path)
    config = NeuralQuality(model=regression, keep_fraction=0.4, cutoffs=path)
    kept = neural_quality(table(TEXTS), config)["rule"].null_count
    assert kept == 2  # of five that have a score


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\0" * 1000, "́" * 100_000, "sea " * 9999])
def test_hostile_texts_have_signals(regression: str, text: str):
    docs = neural_quality(table([text]), NeuralQuality(model=regression))
    assert docs["neural_quality.score"].null_count == 0


def test_mistakes_are_named(regression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for given, message in [
        ({"model": str(tmp_path / "nowhere")}, r"nowhere/config\.json: no such file"),
        ({"model": regression, "label": "LABEL_0"}, "Known: none, for it has one output"),
    ]:
        with pytest.raises(ValueError, match=message):
            neural_quality(table([]), NeuralQuality(**given))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='device = "cuda", and this machine has none'):
            load_classifier(regression, None, "cuda", "float32")
    for given, message in [
        ({"min_score": 1.0, "keep_fraction": 0.1, "cutoffs": "c"}, "exclude each other"),
        ({"keep_fraction": 0.1}, "need each other"),
        ({"keep_fraction": 1.5, "cutoffs": "c"}, "is not within"),
        ({"max_tokens": 1}, "max_tokens has to be 2"),
        ({"batch_tokens": 100}, "below max_tokens"),
    ]:
        with pytest.raises(ValueError, match=message):
            NeuralQuality(model="m", **given)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "transformers", None)
        load_classifier.cache_clear()
        with pytest.raises(ValueError, match=r"pip install corpusmill\[neural\]"):
            neural_quality(table([]), NeuralQuality(model=regression))
    (tmp_path / "broken").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "broken" / name).write_text("{}")
    with pytest.raises(ValueError, match="not a sequence classifier"):
        neural_quality(table([]), NeuralQuality(model=str(tmp_path / "broken")))
