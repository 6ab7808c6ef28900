"""tokenizer/bpe.py: SentencePiece's ids, whatever the text; models that it must refuse."""

import gzip
import json
import random
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels import text_buffers
from tokenizer import bpe
from tokenizer.encode import encode, load
from tokenizer.merges import new_scratch
from tokenizer.train import Tokenizer, train_tokenizer
from tokenizer.vocabulary import read_vocabulary

WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs;", "naïve", "café", "größe"),
    *("日本語", "テキスト", "Привет", "мир"),
)


def train(tmp_path, **options) -> str:
    draw = random.Random(0)
    lines = [" ".join(draw.choices(WORDS, k=10)) + "\n    return x" for _ in range(200)]
    model = tmp_path / "other.model"
    with model.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            **{
                "model_type": "bpe",
                "vocab_size": 400,
                "byte_fallback": True,
                "normalization_rule_name": "identity",
                "add_dummy_prefix": False,
                "remove_extra_whitespaces": False,
                "minloglevel": 2,
            }
            | options,
        )
    return str(model)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> str:
    draw = random.Random(1)
    texts = [" ".join(draw.choices(WORDS, k=12)) + "\n\n  12" for _ in range(300)]
    folder = tmp_path_factory.mktemp("bpe")
    return train_tokenizer([pa.array(texts)], Tokenizer(vocab_size=384), str(folder))["model"]


def ids(model: str, text: str, memory: bpe.Memory) -> list[int]:
    vocabulary = read_vocabulary(Path(model).read_bytes())
    return bpe.encode_batch(*text_buffers(pa.array([text])), vocabulary, memory)[0].tolist()


any_text = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \n\tabcdefghijklmnopqrstuvwxyz\u2581\u3000\x00\u0301é日本語Привет"),
    ),
    max_size=90,
)
from_words = st.lists(st.sampled_from([*WORDS, " ", "  ", "\n", "12", "\u2581"])).map("".join)


@settings(max_examples=500, deadline=None)
@given(st.one_of(any_text, from_words))
def test_any_text_has_sentencepieces_ids(trained, text):
    ours, theirs = (
        encode(pa.array([text]), trained, impl) for impl in ("corpusmill", "sentencepiece")
    )
    assert ours == theirs


def test_scan_and_heap_merge_alike(trained):
    """Chunks around the length at which the loop changes, and one of a megabyte."""
    draw = random.Random(2)
    letters = "thequickbrown"
    for n in (*range(60, 70), 1000, 1_000_000):
        text = "".join(draw.choices(letters, k=n))
        expected = load(trained).encode(text)
        assert encode(pa.array([text]), trained)[0].as_py()[:-1] == expected
        assert len(expected) < n  # something was merged


def test_long_chunks_take_room_and_change_no_other_document(trained, monkeypatch):
    rooms = []
    monkeypatch.setattr(bpe, "new_scratch", lambda n: rooms.append(n) or new_scratch(n))
    texts = ["the fox", f"a{' ' * 90}fox", "", " " * 4000, f"the{' ' * 500}"]
    rows = encode(pa.array(texts), trained).to_pylist()
    assert rooms[0] == bpe.MAX_CHUNK < rooms[1] < rooms[-1]
    assert rows == encode(pa.array(texts), trained, "sentencepiece").to_pylist()


def test_what_is_remembered_changes_no_id(trained, monkeypatch):
    """The table fills up and is emptied in the middle of a text."""
    draw = random.Random(3)
    text = " ".join("".join(draw.choices("thequick", k=draw.randint(1, 12))) for _ in range(2000))
    memory = bpe.new_memory()._replace(chunks=np.empty(500, np.uint8), ids=np.empty(500, np.int32))
    assert ids(trained, text, memory)[:-1] == load(trained).encode(text)
    assert 0 < memory.used[1] <= 500
    assert ids(trained, text, memory)[:-1] == load(trained).encode(text)


def test_user_defined_symbols_are_never_merged_and_longest_first(tmp_path):
    model = train(tmp_path, user_defined_symbols=["<|code|>", "<|code|>x", "fox", "日本"])
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    for text in (
        "a<|code|>xfox the<|code|> foxfo fox日本語日",
        "fox",
        "the quick fox<|co",
        "日日本",
    ):
        expected = processor.encode(text)
        assert ids(model, text, bpe.new_memory())[:-1] == expected
    assert processor.piece_to_id("<|code|>x") in processor.encode("<|code|>x")


def test_a_model_trained_without_splitting_at_spaces(tmp_path):
    """Pieces that cross words: the cuts follow from the vocabulary."""
    model = train(tmp_path, split_by_whitespace=False, split_digits=False)
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    assert any("\u2581" in processor.id_to_piece(i)[1:] for i in range(400))
    text = " ".join(random.Random(4).choices(WORDS, k=400))
    assert ids(model, text, bpe.new_memory())[:-1] == processor.encode(text)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model_type": "unigram", "vocab_size": 330}, "is no BPE model"),
        ({"byte_fallback": False, "vocab_size": 150}, "has no byte fallback"),
        ({"normalization_rule_name": "nfkc"}, "normalises characters"),
        ({"add_dummy_prefix": True}, "adds a space before each text"),
        ({"remove_extra_whitespaces": True}, "removes white space"),
        ({"treat_whitespace_as_suffix": True}, "writes a space after its word"),
    ],
)
def test_models_of_other_options_are_refused(tmp_path, options, problem):
    model = Path(train(tmp_path, **options)).read_bytes()
    with pytest.raises(ValueError, match=f"{problem}; use impl = 'sentencepiece'"):
        read_vocabulary(model)


def read(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_real_pages_books_code_and_latex(shared_data, trained):
    """Every kind of text that the project reads has SentencePiece's ids."""
    lines = gzip.decompress((shared_data / "lid/udhr.jsonl.gz").read_bytes()).splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    books = sorted((shared_data / "books").glob("*.txt*"))[:3]
    for data in map(read, [*books, Path(json.__file__)]):
        texts.append(data[:300_000].decode("utf-8", errors="replace"))
    with tarfile.open(shared_data / "arxiv/arXiv_src_2401_001.tar") as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".gz"):
                data = gzip.decompress(tar.extractfile(member).read())
                texts.append(data[:100_000].decode("utf-8", errors="replace"))
    assert len(texts) > 380
    ours, theirs = (
        encode(pa.array(texts), trained, impl) for impl in ("corpusmill", "sentencepiece")
    )
    assert ours == theirs
