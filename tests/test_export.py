"""tokenizer/export.py: the Hugging Face tokenizer has our ids for every text."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer.encode import encode
from tokenizer.train import Tokenizer, train_tokenizer

hf = pytest.importorskip("tokenizers")
WORDS = (
    *("the", "quick", "brown", "fox", "aaa", "aaaa", "abab", "banana", "naïve", "größe", "日本語"),
    *("\n\n", "    return x", "Привет", "мир", "11", "<s>"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=12)) for _ in range(400)]
    folder = tmp_path_factory.mktemp("export")
    config = Tokenizer(vocab_size=384, user_defined_symbols=("<|code|>",))
    model = train_tokenizer([pa.array(texts)], config, str(folder))["model"]
    return model, hf.Tokenizer.from_file(str(folder / "tokenizer.json"))


any_text = st.one_of(
    st.text(
        st.one_of(
            st.characters(exclude_categories=["Cs"]),
            st.sampled_from(" \n\tab\u2581\u3000\x00\u0301é日本語Привет"),
        ),
        max_size=60,
    ),
    st.lists(st.sampled_from([*WORDS, " ", "  ", "<|code|>", "</s>", "<0x41>"])).map("".join),
    st.text("ab ", max_size=60),
)


@settings(max_examples=400, deadline=None)
@given(any_text)
def test_the_same_ids_and_the_text_back(trained, text):
    model, tokenizer = trained
    ours = encode(pa.array([text]), model)[0].as_py()[:-1]
    assert tokenizer.encode(text).ids == ours
    assert tokenizer.decode(ours, skip_special_tokens=False) == text


def test_real_languages(trained, shared_data):
    model, tokenizer = trained
    lines = gzip.decompress((shared_data / "lid/udhr.jsonl.gz").read_bytes()).splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    ours = encode(pa.array(texts), model).to_pylist()
    assert [e.ids for e in tokenizer.encode_batch(texts)] == [ids[:-1] for ids in ours]


def test_the_vocabulary_as_text(trained):
    model, tokenizer = trained
    lines = Path(model).with_name("vocabulary.txt").read_text().splitlines()
    pieces = [json.loads(line.split("\t")[1]) for line in lines]
    spaced = [piece.replace("\u2581", " ") for piece in pieces]
    assert [tokenizer.id_to_token(i) for i in range(len(pieces))] == spaced
    assert len(pieces) == 384
