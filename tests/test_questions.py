"""Questions: prompts and choices as the model reads them, every bad row named."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ablation.questions import load_task, read_task
from tokenizer.encode import decode, encode, token_bytes
from tokenizer.train import Tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    text = "the cat sat on the mat and the dog sat on the log. Question: who? Answer: café 日本"
    draw = np.random.default_rng(0)
    texts = pa.array([" ".join(draw.permutation(text.split())) for _ in range(300)])
    out = str(tmp_path_factory.mktemp("tokenizer"))
    return train_tokenizer([texts], Tokenizer(vocab_size=320), out)["model"]


def lines(path, *rows) -> str:
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )
    return str(path)


def row(prompt="the cat sat on the", choices=("mat", "dog"), answer=0, key="prompt") -> dict:
    return {key: prompt, "choices": list(choices), "answer": answer}


def test_prompt_and_choice_as_the_model_reads_them(tmp_path):
    path = lines(
        tmp_path / "t.jsonl",
        row("the cat sat on the"),
        row("the cat sat on the "),
        row("the cat:\n"),
        row("the c", ["\tat", "ut"]),
        row("Who sat?", key="question"),
    )
    asked = [[r.prompt + choice for choice in r.choices] for r in read_task(path)]
    assert asked == [
        ["the cat sat on the mat", "the cat sat on the dog"],
        ["the cat sat on the mat", "the cat sat on the dog"],
        ["the cat:\nmat", "the cat:\ndog"],
        ["the c\tat", "the c ut"],
        ["Question: Who sat?\nAnswer: mat", "Question: Who sat?\nAnswer: dog"],
    ]


def test_ids_of_the_choice_begin_where_the_prompt_ends(tmp_path, tokenizer):
    path = lines(tmp_path / "t.jsonl", row(), row("café 日本", ["日本", "the log"], 1))
    for read, question in zip(read_task(path), load_task(path, tokenizer, 64), strict=True):
        for ids, start, n, choice in zip(
            question.sequences, question.starts, question.n_bytes, read.choices, strict=True
        ):
            assert decode(ids[:start], tokenizer) == read.prompt
            assert decode(ids[start:], tokenizer) == choice
            assert n == len(choice.strip().encode())
        assert question.answer == read.answer


def test_examples_stand_before_the_prompt(tmp_path, tokenizer):
    path = lines(tmp_path / "t.jsonl", row("a", ["b", "c"], 1), row("d", ["e", "f"]), row("g"))
    assert [r.prompt for r in read_task(path, shots=1)] == ["a c\n\nd", "a c\n\ng"]
    assert [r.prompt for r in read_task(path, shots=2)] == ["a c\n\nd e\n\ng"]
    assert len(load_task(path, tokenizer, 64, shots=2)) == 1
    with pytest.raises(ValueError, match="3 rows, and shots = 3"):
        read_task(path, shots=3)


def test_a_long_prompt_loses_its_beginning(tmp_path, tokenizer):
    path = lines(tmp_path / "t.jsonl", row("the dog sat. " * 50 + "the cat sat on the"))
    [question] = load_task(path, tokenizer, 12)
    for ids, start, choice in zip(
        question.sequences, question.starts, [" mat", " dog"], strict=True
    ):
        assert len(ids) == 12
        assert decode(ids[start:], tokenizer) == choice
    with pytest.raises(ValueError, match="question 1: a choice is longer than 3 tokens"):
        load_task(lines(tmp_path / "u.jsonl", row(choices=["zyxwvut", "mat"])), tokenizer, 3)


def test_every_bad_row_is_named(tmp_path):
    path = lines(
        tmp_path / "t.jsonl",
        row(),
        "{",
        "[]",
        "",
        {"choices": ["a", "b"], "answer": 0},
        row() | {"question": "?"},
        row(" \n"),
        row(choices=["a"]),
        row(choices=["a", ""]),
        row(choices=["a", "a"]),
        row(answer=2),
        row(answer=True),
        r'{"prompt": "\ud800", "choices": ["a", "b"], "answer": 0}',
    )
    with pytest.raises(ValueError) as caught:
        read_task(path)
    found = str(caught.value).splitlines()
    assert [line.removeprefix(path).split(" ")[0] for line in found[:10]] == [
        *(":2:", ":3:", ":5:", ":6:", ":7:", ":8:", ":9:", ":10:", ":11:", ":12:")
    ]
    for line, text in zip(
        found,
        [
            *("not JSON", "not an object", "has no prompt", "has prompt and question"),
            *("prompt: ' \\n'", "choices: ['a']", "choices: ['a', '']", "two of them are the same"),
            *("answer: 2 is not an index from 0 to 1", "answer: True", "... and 1 more"),
        ],
        strict=True,
    ):
        assert text in line
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9"}\n')
    with pytest.raises(ValueError, match=r"latin.jsonl:1: not JSON"):
        read_task(str(tmp_path / "latin.jsonl"))
    with pytest.raises(ValueError, match="0 rows"):
        read_task(lines(tmp_path / "empty.jsonl"))


def test_bytes_of_tokens_sum_to_the_text(tokenizer):
    texts = ["the cat sat  on the mat.\n\n\t x", "café 日本 \u2581\U0001f600\x00", "", "\u3000 the"]
    sizes = token_bytes(tokenizer)
    for text, ids in zip(texts, encode(pa.array(texts), tokenizer), strict=True):
        assert sizes[np.array(ids.as_py(), int)].sum() == len(text.encode())
    assert (sizes == -1).sum() == 1
