"""Measures: bits per byte and multiple choice, against sums over single tokens by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from train.config import Train
from train.loader import PackedRows
from train.measures import Question, bits_of, higher_is_better, measure
from train.model import Losses, Transformer
from train.packing import write_packed

VOCAB = 6
BYTES = np.array([0, 1, 2, 5, 3, 1])  # 0 is EOS
CONFIG = Train(batch_rows=2, warmup_steps=0)


class Bigram(torch.nn.Module):
    """log P(next | token) from a table: what can be summed by hand."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        draw = torch.rand(VOCAB, VOCAB, generator=torch.Generator().manual_seed(seed))
        self.table = torch.nn.Parameter(draw.log_softmax(-1))

    def forward(self, tokens_T, targets_T, mask_T, positions_T, cu_seqlens, plan=None) -> Losses:
        nll_T = -self.table[tokens_T, targets_T] * mask_T
        return Losses(nll_T.sum(), nll_T)


def packed(path, documents, length=8, vocab_size=VOCAB) -> str:
    rows = [(i, "a", ids) for i, ids in documents]
    write_packed(str(path), rows, length, vocab_size=vocab_size, tokenizer_digest="d1")
    return str(path)


def test_bits_per_byte_against_sums_by_hand(tmp_path):
    draw = np.random.default_rng(0)
    documents = [(f"a/{i}", [*draw.integers(1, VOCAB, n), 0]) for i, n in enumerate([3, 7, 21, 1])]
    path = packed(tmp_path / "a.arrow", [(i, np.array(ids)) for i, ids in documents])
    model = Bigram()
    nll = n_bytes = n_cut = 0
    rows = PackedRows([path])
    for row in range(len(rows)):
        tokens, lengths, _ = rows.read(np.array([row]))
        at = 0
        for length in lengths:
            piece = tokens[0, at : at + length].tolist()
            at += length
            n_cut += piece[-1] != 0
            for before, after in pairwise(piece):
                nll -= model.table[before, after].item()
                n_bytes += int(BYTES[after])
    assert n_cut >= 2  # the document of 22 tokens is cut
    expected = nll / math.log(2) / n_bytes
    assert bits_of(model, [path], BYTES, CONFIG) == pytest.approx(expected, rel=1e-6)
    assert bits_of(model, [path, path], BYTES, CONFIG) == pytest.approx(expected, rel=1e-6)


def test_a_uniform_model_has_the_bits_of_its_vocabulary(tmp_path):
    """One document of four tokens: three are predicted, of 2, 5 and 0 bytes, log2(6) bits each."""
    path = packed(tmp_path / "a.arrow", [("a/0", np.array([1, 2, 3, 0]))])
    model = Bigram()
    torch.nn.init.constant_(model.table, -math.log(VOCAB))
    found = measure(model, {"web": [path]}, BYTES, {}, CONFIG)
    assert found == {"bits_per_byte/web": pytest.approx(3 * math.log2(VOCAB) / 7)}


def test_batches_and_order_of_rows_change_nothing(tmp_path):
    draw = np.random.default_rng(1)
    documents = [
        (f"a/{i}", draw.integers(0, VOCAB, n)) for i, n in enumerate(draw.integers(1, 20, 40))
    ]
    path = packed(tmp_path / "a.arrow", documents)
    model = Transformer(Train().model(VOCAB), seed=0)
    one, many = (
        bits_of(model, [path], BYTES, Train(batch_rows=n, warmup_steps=0)) for n in (1, 64)
    )
    assert one == pytest.approx(many, rel=1e-6)
    assert one > 0


def test_what_cannot_be_measured_is_refused(tmp_path):
    path = packed(tmp_path / "a.arrow", [("a/0", np.array([1, 2, 3, 0]))])
    with pytest.raises(ValueError, match="vocabulary of 6, and bytes of 5"):
        bits_of(Bigram(), [path], BYTES[:5], CONFIG)
    with pytest.raises(ValueError, match="unknown tokens"):
        bits_of(Bigram(), [path], np.where(BYTES == 5, -1, BYTES), CONFIG)
    alone = packed(tmp_path / "b.arrow", [("a/0", np.array([1]))])
    with pytest.raises(ValueError, match="no token to predict"):
        bits_of(Bigram(), [alone], BYTES, CONFIG)
    with pytest.raises(ValueError, match="quiz: a task without questions"):
        measure(Bigram(), {}, BYTES, {"quiz": []}, CONFIG)


def chain(probabilities: dict[tuple[int, int], float]) -> Bigram:
    model = Bigram()
    with torch.no_grad():
        model.table.fill_(math.log(1e-6))
        for pair, p in probabilities.items():
            model.table[pair] = math.log(p)
    return model


def test_the_sum_and_the_log_probability_a_byte_may_differ():
    """Choice 0 is short (one byte, p = .3); choice 1 is long (4 bytes, p = .25 x .8 = .2)."""
    model = chain({(1, 5): 0.3, (1, 2): 0.25, (2, 2): 0.8})
    question = Question([[3, 1, 5], [3, 1, 2, 2]], [2, 2], [1, 4], 1)
    found = measure(model, {}, BYTES, {"quiz": [question]}, CONFIG)
    assert found["accuracy/quiz"] == 1.0  # log(.3) / 1 < log(.2) / 4
    assert found["accuracy_sum/quiz"] == 0.0
    assert found["answer_bits_per_byte/quiz"] == pytest.approx(-math.log2(0.2) / 4, rel=1e-5)


def test_many_questions_against_sums_by_hand():
    draw = np.random.default_rng(2)
    model, questions, right = Bigram(3), [], 0
    for _ in range(300):
        prompt = draw.integers(1, VOCAB, draw.integers(1, 30)).tolist()
        choices = [draw.integers(1, VOCAB, draw.integers(1, 90)).tolist() for _ in range(3)]
        n_bytes = [int(BYTES[c].sum()) for c in choices]
        questions.append(
            Question(
                [prompt + c for c in choices], [len(prompt)] * 3, n_bytes, int(draw.integers(3))
            )
        )
        scores = []
        for c, n in zip(choices, n_bytes, strict=True):
            ids = [prompt[-1], *c]
            score = sum(model.table[a, b].item() for a, b in pairwise(ids))
            scores.append(score / n)
        right += int(np.argmax(scores)) == questions[-1].answer
    assert 0 < right < 300
    found = measure(model, {}, BYTES, {"quiz": questions}, CONFIG)
    assert found["accuracy/quiz"] == right / 300


def test_a_model_that_diverged_has_no_accuracy():
    model = Bigram()
    torch.nn.init.constant_(model.table, math.nan)
    found = measure(
        model, {}, BYTES, {"q": [Question([[1, 2], [1, 3]], [1, 1], [2, 5], 0)]}, CONFIG
    )
    assert all(math.isnan(value) for value in found.values()) and len(found) == 3


def test_higher_is_better_by_name():
    names = [
        "bits_per_byte/accuracy",
        "accuracy/quiz",
        "accuracy_sum/quiz",
        "answer_bits_per_byte/q",
    ]
    assert higher_is_better(names) == {"accuracy/quiz", "accuracy_sum/quiz"}
