"""Multiple-choice tasks from JSON lines, as token ids for `train.measures`.

    {"prompt": "The capital of France is", "choices": ["Paris", "Rome"], "answer": 0}
    {"question": "What is the capital of France?", "choices": ["Paris", "Rome"], "answer": 0}

A `prompt` is taken as it is; a `question` is asked as "Question: ...\\nAnswer:", the usual form of
the harness. Between prompt and choice stands one space, unless one of the two brings its own white
space there; spaces at the prompt's end go to the choice, as tokens begin with their space. The
first `shots` rows of the file are examples: they stand before every other row's prompt with their
right answers, a blank line between them, and are not asked themselves.

A bad row would quietly change what accuracy means, so every one is named and nothing is scored.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from pipeline.storage import open_input
from tokenizer.encode import encode
from train.measures import Question

SHOWN = 10  # bad lines that are named


class Row(NamedTuple):
    """An item as text: prompt + choice is what the model reads."""

    prompt: str
    choices: list[str]  # each with what stands between it and the prompt
    answer: int


def load_task(
    path: str,
    tokenizer: str,
    sequence_length: int,
    shots: int = 0,
    impl: Literal["corpusmill", "sentencepiece"] = "corpusmill",
) -> list[Question]:
    """The questions of a file, encoded by a tokenizer.model. A prompt that would not fit into
    sequence_length tokens with its choice loses its beginning. Raises ValueError for bad rows, and
    for a choice that does not fit."""
    rows = read_task(path, shots)
    texts = [text for row in rows for text in (row.prompt, *(row.prompt + c for c in row.choices))]
    ids = iter(encode(pa.array(texts, pa.string()), tokenizer, impl).to_pylist())
    questions, bad = [], []
    for i, row in enumerate(rows):
        prompt = next(ids)[:-1]  # without EOS
        wholes = [next(ids)[:-1] for _ in row.choices]
        starts = [_start(prompt, whole) for whole in wholes]
        cuts = [max(0, len(whole) - sequence_length) for whole in wholes]
        if any(cut >= start for cut, start in zip(cuts, starts, strict=True)):
            bad.append(
                f"{path}: question {i + 1}: a choice is longer than {sequence_length} tokens"
            )
        questions.append(
            Question(
                [whole[cut:] for whole, cut in zip(wholes, cuts, strict=True)],
                [start - cut for start, cut in zip(starts, cuts, strict=True)],
                [len(choice.strip().encode()) for choice in row.choices],
                row.answer,
            )
        )
    if bad:
        raise ValueError(_listed(bad))
    return questions


def _start(prompt: list[int], whole: list[int]) -> int:
    """Where the choice's tokens begin: at the first token that the choice changes, should one reach
    over the seam; never at the first of all, which nothing predicts."""
    common = 0
    while common < min(len(prompt), len(whole) - 1) and prompt[common] == whole[common]:
        common += 1
    return max(common, 1)


def read_task(path: str, shots: int = 0) -> list[Row]:
    """The rows that are asked, examples included in their prompts. Raises ValueError for a file
    with bad rows, a line for each, and for one without rows to ask."""
    rows, bad = [], []
    for number, line in _lines(path):
        row = _row(line)
        if isinstance(row, str):
            bad.append(f"{path}:{number}: {row}")
        else:
            rows.append(row)
    if bad:
        raise ValueError(_listed(bad))
    if shots < 0 or len(rows) <= shots:
        raise ValueError(
            f"{path}: {len(rows)} rows, and shots = {shots} of them are examples; give more rows"
        )
    examples = [row.prompt + row.choices[row.answer] for row in rows[:shots]]
    return [row._replace(prompt="\n\n".join([*examples, row.prompt])) for row in rows[shots:]]


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    with open_input(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _row(line: bytes) -> Row | str:
    """The row of a line, or what is wrong with it."""
    try:
        value: Any = json.loads(line)
    except ValueError as error:  # also bytes that are no UTF-8
        return f"not JSON ({error})"
    if not isinstance(value, dict):
        return "not an object; want prompt or question, choices, answer"
    asked = [key for key in ("prompt", "question") if key in value]
    if len(asked) != 1:
        return f"has {' and '.join(asked) or 'no prompt'}; give prompt or question"
    prompt, choices, answer = value[asked[0]], value.get("choices"), value.get("answer")
    if not _is_text(prompt):
        return (
            f"{asked[0]}: {prompt!r:.60} is no text, or empty; the first token needs one before it"
        )
    if not isinstance(choices, list) or len(choices) < 2 or not all(map(_is_text, choices)):
        return f"choices: {choices!r:.60} is not a list of two texts or more"
    if len(set(choices)) < len(choices):
        return "choices: two of them are the same"
    if type(answer) is not int or not 0 <= answer < len(choices):
        return f"answer: {answer!r:.60} is not an index from 0 to {len(choices) - 1}"
    if asked[0] == "question":
        prompt = f"Question: {prompt}\nAnswer:"
    kept = prompt.rstrip()
    gap = prompt[len(kept) :]
    joined = [gap + c if gap or c[0].isspace() else f" {c}" for c in choices]
    return Row(kept, joined, answer)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not _lone_surrogate(value)


def _lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _listed(bad: list[str]) -> str:
    more = [f"... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    return "\n".join([*bad[:SHOWN], *more])
