"""Tokenizer: exact round trips, one model from any order, SentencePiece's ids, clear errors."""

import gzip
import random

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer import encode as encoding
from tokenizer.encode import decode, digest, encode, fertility, load
from tokenizer.train import (
    EOS,
    MAX_SENTENCE_CHARS,
    Tokenizer,
    draw_sample,
    split_sentences,
    train_tokenizer,
)

WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven"),
    *("wizards", "quietly", "read", "books"),
)
CONFIG = Tokenizer(vocab_size=448)


def corpus() -> list[str]:
    draw = random.Random(0)
    lines = [" ".join(draw.choices(WORDS, k=12)) + "." for _ in range(300)]
    code = "def area(width):\n    if width:\n        return width * 2\n\n\n"
    numbers = "0 12 2024 345 6789 "
    return [*lines, code * 5, numbers * 9, "naïve café über größe " * 9, "日本語のテキスト。" * 9]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return train_tokenizer([pa.array(corpus())], CONFIG, str(tmp_path_factory.mktemp("tokenizer")))


any_text = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \n\t\r\u2581\u2585\u3000\x00\u0301\ufeffaé日\U0001f600"),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(text=any_text)
def test_any_text_comes_back(trained, text):
    ids = encode(pa.array([text]), trained["model"])[0].as_py()
    assert decode(ids, trained["model"]) == text
    assert (ids[-1] == EOS and EOS not in ids[:-1]) if text else ids == []


@pytest.mark.parametrize(
    "text",
    [
        "<s></s><pad><unk><0x41>",
        "a\u2581b \u2581",
        "  if x:\n\t\treturn 1  ",
        "1234567",
        "ﬁ e\u0301",
    ],
)
def test_awkward_texts_come_back(trained, text):
    assert decode(encode(pa.array([text]), trained["model"])[0].as_py(), trained["model"]) == text


def test_ids_are_those_of_sentencepiece(trained):
    model = sentencepiece.SentencePieceProcessor(model_file=trained["model"])
    texts = corpus()[:20] + corpus()[-4:]
    expected = [[*model.encode(text), EOS] for text in texts]
    assert encode(pa.array(texts), trained["model"]).to_pylist() == expected
    assert encode(pa.array(texts), trained["model"], "sentencepiece").to_pylist() == expected
    with pytest.raises(ValueError, match="no implementation 'fast'"):
        encode(pa.array(texts), trained["model"], "fast")


@settings(max_examples=100, deadline=None)
@given(
    st.text("ab .\n\u2581日", max_size=80),
    st.integers(1, 12),
)
def test_long_texts_are_cut_where_no_piece_crosses(trained, text, chunk):
    model = load(trained["model"])
    assert encoding._ids(model, text, chunk) == encoding._ids(model, text)
    assert "".join(encoding._chunks(text, chunk)) == text


def test_a_long_text_is_cut_at_all():
    assert list(encoding._chunks("aa bb  cc", 3)) == ["aa bb", "  cc"]
    assert list(encoding._chunks("日本語日本語", 3)) == ["日本語日本語"]


def test_null_and_empty_have_no_tokens_and_batches_do_not_matter(trained):
    texts = ["a dog", None, "", "the fox", "日本語"]
    whole = encode(pa.array(texts), trained["model"])
    assert whole.type == pa.list_(pa.uint16())
    assert [len(x) for x in whole[1:3]] == [0, 0]
    split = [encode(pa.array(texts[i : i + 2]), trained["model"]) for i in (0, 2, 4)]
    assert whole.to_pylist() == [row for part in split for row in part.to_pylist()]
    sliced = encode(pa.array(texts).slice(3), trained["model"])
    assert sliced.to_pylist() == whole.to_pylist()[3:]
    assert encode(pa.array([], pa.string()), trained["model"]).type == whole.type


def test_digits_are_single_and_runs_of_spaces_and_newlines_are_pieces(trained):
    model = load(trained["model"])
    assert model.encode("2024", out_type=str) == ["2", "0", "2", "4"]
    assert any(set(model.id_to_piece(i)) == {"\u2581"} for i in range(448) if i > 259)
    assert not any(len(p) > 1 and p.endswith("\n") and p.strip("\n") for p in pieces(model))


def pieces(model) -> list[str]:
    return [model.id_to_piece(i) for i in range(model.get_piece_size())]


def test_the_same_model_from_any_order_and_batches(trained, tmp_path):
    texts = corpus()
    random.Random(1).shuffle(texts)
    batches = [pa.array([None, *texts[:100]]), pa.chunked_array([texts[100:], []])]
    again = train_tokenizer(batches, CONFIG, str(tmp_path))
    assert again["digest"] == trained["digest"] == digest(again["model"])
    names = ["tokenizer.json", "tokenizer.model", "vocabulary.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    lines = (tmp_path / "vocabulary.txt").read_text().splitlines()
    assert (len(lines), lines[0], lines[260 - 1]) == (448, '0\t"<pad>"', '259\t"<0xFF>"')


def test_the_sample_is_bounded_and_independent_of_order():
    texts = [f"text {i} " * 10 for i in range(200)] + ["é" * 50]
    sample = draw_sample([pa.array(texts)], 3000, seed=0)
    assert 2997 <= sum(len(t.encode()) for t in sample) <= 3000
    assert sample == draw_sample([pa.array(texts[::-1])], 3000, seed=0)
    assert sample != draw_sample([pa.array(texts)], 3000, seed=1)
    larger = draw_sample([pa.array(texts)], 6000, seed=0)
    assert larger[: len(sample) - 1] == sample[:-1]
    assert draw_sample([pa.array([None, ""])], 10, seed=0) == []


@settings(max_examples=100, deadline=None)
@given(any_text, st.integers(1, 3))
def test_sentences_lose_nothing_but_the_two_reserved_characters(text, repeats):
    text = text * repeats
    expected = text.replace("\u2581", "").replace("\u2585", "")
    assert "".join(split_sentences(text)) == expected


def test_long_lines_are_cut():
    line = "word " * 2000
    parts = list(split_sentences(line))
    assert "".join(parts) == line
    assert [len(p) <= MAX_SENTENCE_CHARS for p in parts] == [True] * 3
    assert list(split_sentences("a\n\nb\n")) == ["a", "\n\nb", "\n"]


def test_fertility_counts():
    ids = pa.array([[5, 6, 2], [7, 2], []], pa.list_(pa.uint16()))
    found = fertility(pa.array(["two words", "日本", None]), ids)
    assert found == {
        "documents": 3,
        "words": 3,
        "bytes": 15,
        "tokens": 5,
        "tokens_per_word": 5 / 3,
        "bytes_per_token": 3.0,
    }


@pytest.mark.parametrize(
    ("size", "message"),
    [(1000, "not a multiple of 64 from 320 up; use 1024"), (64, "use 320")],
)
def test_odd_vocabulary_sizes_are_refused(size, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(vocab_size=size)


def test_errors_name_the_mend(tmp_path, trained):
    out = str(tmp_path)
    with pytest.raises(
        ValueError, match=r"16000 is more than the sample supports; use \d+ or less"
    ):
        train_tokenizer([pa.array(corpus())], Tokenizer(vocab_size=16000), out)
    with pytest.raises(ValueError, match="more than the sample supports; give it more text"):
        train_tokenizer([pa.array(["a"])], Tokenizer(vocab_size=320), out)
    every = "".join(chr(c) for c in range(0x4E00, 0x4E00 + 400))
    with pytest.raises(ValueError, match="cannot hold the sample's characters; use 704 or more"):
        train_tokenizer([pa.array([every])], Tokenizer(vocab_size=320), out)
    with pytest.raises(ValueError, match="no text to train on"):
        train_tokenizer([pa.array([None, ""])], CONFIG, out)
    with pytest.raises(ValueError, match="train a tokenizer first"):
        load(str(tmp_path / "absent.model"))
    (tmp_path / "bad.model").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        load(str(tmp_path / "bad.model"))
    assert not list(tmp_path.glob("tokenizer.model"))


def test_a_model_that_loses_text_is_for_sentencepiece_alone(tmp_path):
    path = tmp_path / "nfkc.model"
    with path.open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus()),
            model_writer=out,
            model_type="bpe",
            vocab_size=448,
            byte_fallback=True,
            minloglevel=2,
        )
    texts = pa.array(["ﬁne  spaces", "日本語 " * 10])
    with pytest.raises(ValueError, match="does not give every text back"):
        encode(texts, str(path))
    model = load(str(path))
    expected = [[*model.encode(text), EOS] for text in texts.to_pylist()]
    assert encode(texts, str(path), "sentencepiece").to_pylist() == expected


def test_real_books_come_back(shared_data, tmp_path):
    with gzip.open(shared_data / "books" / "frankenstein_84-0.txt.gz", "rt", newline="") as file:
        text = file.read()
    out = train_tokenizer([pa.array([text])], Tokenizer(vocab_size=4096), str(tmp_path))
    ids = encode(pa.array([text]), out["model"])
    assert decode(ids[0].as_py(), out["model"]) == text
    assert np.asarray(ids.flatten()).max() < 4096


def test_user_defined_and_control_symbols(tmp_path):
    config = Tokenizer(
        vocab_size=448, user_defined_symbols=("<|code|>",), control_symbols=("<|user|>",)
    )
    model = train_tokenizer([pa.array(corpus())], config, str(tmp_path))["model"]
    text = "the<|code|>fox <|user|>"
    for impl in ("corpusmill", "sentencepiece"):
        ids = encode(pa.array([text]), model, impl)[0].as_py()
        assert ids.count(load(model).piece_to_id("<|code|>")) == 1
        assert load(model).piece_to_id("<|user|>") not in ids  # its characters are text
        assert decode(ids, model) == text
    with pytest.raises(ValueError, match="is empty or there twice"):
        Tokenizer(user_defined_symbols=("a", "a"))


def test_nfkc_only_when_asked(tmp_path):
    with pytest.raises(ValueError, match='"nfkc" needs impl = "sentencepiece"'):
        Tokenizer(normalization="nfkc")
    config = Tokenizer(vocab_size=448, normalization="nfkc", impl="sentencepiece")
    model = train_tokenizer([pa.array(corpus())], config, str(tmp_path))["model"]
    ids = encode(pa.array(["ﬁ ｆｏｘ"]), model, "sentencepiece")[0].as_py()
    assert decode(ids, model) == "fi fox"
    assert not (tmp_path / "tokenizer.json").exists()
