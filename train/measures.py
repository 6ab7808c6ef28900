"""What a trained model is judged by: bits per byte of held-out text, and multiple choice.

Bits per byte, so that models of different tokenizers compare: the cross-entropy of every token that
was predicted, in bits, over the bytes of text that these tokens stand for. The first token of a
document, and of each piece of a document cut at a row's end, is predicted from nothing by no model:
neither its loss nor its bytes count (with rows of 2,048 tokens that is .05% of long documents' text
or more). EOS, which ends a document, is predicted and stands for no byte, so a document's end costs
each tokenizer alike.

Multiple choice by log-likelihood, as the Language Model Evaluation Harness does it (Gao et al.
2021, github.com/EleutherAI/lm-evaluation-harness): no text is generated; the choice that the model
finds likeliest after the prompt is its answer. The sum of log-probabilities favours short choices,
so the log-probability a byte decides (its acc_norm, which divides by characters); the plain sum is
reported beside it, and the bits a byte of the right answers: of small models such continuous
likelihoods tell better which corpus makes the better large one (Magnusson et al. 2025, arXiv
2504.11393).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from train import update
from train.config import Train
from train.loader import Batch, PackedRows, make_batch, unpack

TASK_TOKENS = 1 << 14  # of choices in one batch


class Question(NamedTuple):
    """A multiple-choice item as token ids: for each choice the prompt with it behind."""

    sequences: list[list[int]]
    starts: list[int]  # where the choice's tokens begin, 1 or more
    n_bytes: list[int]  # of the choice's text
    answer: int


def measure(
    model: torch.nn.Module,
    rows: Mapping[str, Sequence[str]],
    token_bytes: np.ndarray,
    tasks: Mapping[str, Sequence[Question]],
    config: Train,
) -> dict[str, float]:
    """bits_per_byte/<name> of each set of packed files, all of their rows; accuracy/<task> (by
    log-probability a byte), accuracy_sum/<task> and answer_bits_per_byte/<task> of each task.

    token_bytes: bytes of text for each id, below 0 where that is not known. NaN where the model
    gives one. Raises ValueError for rows of another vocabulary, with unknown tokens, or without a
    token to predict, and for tasks without questions.
    """
    measures = {
        f"bits_per_byte/{n}": bits_of(model, p, token_bytes, config) for n, p in rows.items()
    }
    for name, questions in tasks.items():
        if not questions:
            raise ValueError(f"{name}: a task without questions")
        for key, value in _answers(model, questions, token_bytes, config).items():
            measures[f"{key}/{name}"] = value
    return measures


def higher_is_better(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith("accuracy"))


@torch.no_grad()
def bits_of(
    model: torch.nn.Module, paths: Sequence[str], token_bytes: np.ndarray, config: Train
) -> float:
    """Bits per byte of all rows of the packed files."""
    data, device = PackedRows(paths), next(model.parameters()).device
    if len(token_bytes) != data.vocab_size:
        raise ValueError(
            f"{paths[0]}: a vocabulary of {data.vocab_size}, and bytes of {len(token_bytes)} "
            "tokens; pack it with this tokenizer"
        )
    nll, n_bytes = torch.zeros((), dtype=torch.float64, device=device), 0
    micro_rows = config.micro_rows or config.batch_rows
    for first in range(0, len(data), micro_rows):
        part = np.arange(first, min(first + micro_rows, len(data)))
        batch = make_batch(*data.read(part), part)
        inputs = unpack(batch, torch.device("cpu"))
        n_bytes += _bytes_of(inputs.targets_T[inputs.mask_T].numpy(), token_bytes, paths[0])
        nll += update.losses_of(model, batch, config, device).nll_T.double().sum()
    if not n_bytes:
        raise ValueError(f"{paths[0]}: no token to predict in its rows; hold out longer documents")
    return float(nll) / math.log(2) / n_bytes


def _bytes_of(ids: np.ndarray, token_bytes: np.ndarray, where: str) -> int:
    found = token_bytes[ids]
    if found.min(initial=0) < 0:
        raise ValueError(
            f"{where}: holds unknown tokens, whose bytes are lost; use a tokenizer with byte "
            "fallback"
        )
    return int(found.sum())


def _answers(
    model: torch.nn.Module, questions: Sequence[Question], token_bytes: np.ndarray, config: Train
) -> dict[str, float]:
    choices = [
        (ids, start) for q in questions for ids, start in zip(q.sequences, q.starts, strict=True)
    ]
    scores = iter(_log_likelihoods(model, choices, config))
    right = right_sum = 0
    nll, n_bytes, finite = 0.0, 0, True
    for q in questions:
        found = np.array([next(scores) for _ in q.sequences])
        finite &= bool(np.isfinite(found).all())
        right += int((found / np.maximum(q.n_bytes, 1)).argmax()) == q.answer
        right_sum += int(found.argmax()) == q.answer
        nll -= found[q.answer]
        scored = np.array(q.sequences[q.answer][q.starts[q.answer] :])
        n_bytes += _bytes_of(scored, token_bytes, "task")
    n = len(questions) if finite else math.nan
    return {
        "accuracy": right / n,
        "accuracy_sum": right_sum / n,
        "answer_bits_per_byte": nll / math.log(2) / n_bytes if n_bytes else math.nan,
    }


@torch.no_grad()
def _log_likelihoods(
    model: torch.nn.Module, choices: Sequence[tuple[list[int], int]], config: Train
) -> list[float]:
    """log P(ids[start:] | ids[:start]) in nats of each; sequences are packed side by side, as
    documents of one batch."""
    device, out = next(model.parameters()).device, []
    for group in _groups([len(ids) for ids, _ in choices]):
        mine = [choices[i] for i in group]
        ends = np.cumsum([0, *(len(ids) for ids, _ in mine)])
        batch = Batch(
            torch.tensor([token for ids, _ in mine for token in ids], dtype=torch.int32),
            torch.from_numpy(ends.astype(np.int32)),
            torch.zeros(len(mine), dtype=torch.bool),
            torch.zeros(1, dtype=torch.int64),
        )
        nll_T = update.losses_of(model, batch, config, device).nll_T.double().cpu().numpy()
        for (_, start), first, end in zip(mine, ends, ends[1:], strict=False):
            out.append(-float(nll_T[first + start - 1 : end - 1].sum()))
    return out


def _groups(lengths: Sequence[int]) -> Iterator[range]:
    """Runs of sequences of TASK_TOKENS tokens together, or one longer one."""
    first = held = 0
    for i, n in enumerate(lengths):
        if held and held + n > TASK_TOKENS:
            yield range(first, i)
            first, held = i, 0
        held += n
    if lengths:
        yield range(first, len(lengths))
