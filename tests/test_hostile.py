"""Every step on hostile texts: defined signals, bounded work; and (slow) time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.hostile import (
    MAX_RATIO,
    dense_lists,
    every_step,
    hostile_texts,
    one_document,
    ordinary_text,
    ratios,
)
from filters import pii
from filters.canaries import PROSE
from filters.pii import ScrubPii, find_pii
from pipeline.steps import STEPS

URLS_AND_MODELS = {"url_filter", "link_list", "neural_quality"}
NAMES = sorted(set(STEPS) - URLS_AND_MODELS)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    items = folder / "items.jsonl"
    items.write_text('{"question": "How many boats lie in the old harbour on a day in May?"}\n')
    return every_step(folder, f"{PROSE} " * 100, (str(items),))


def test_every_step_is_tried(steps: dict[str, Any]) -> None:
    assert sorted(steps) == NAMES and len(NAMES) > 15


@pytest.mark.parametrize("name", NAMES)
def test_signals_are_defined_and_the_rows_those_of_the_batch(
    name: str, steps: dict[str, Any]
) -> None:
    texts = hostile_texts(30_000)
    step, config = STEPS[name].function, steps[name]
    whole = step(pa.concat_tables([one_document(text) for text in texts.values()]), config)
    assert whole.num_rows == len(texts)
    for row, (kind, text) in enumerate(texts.items()):
        alone = step(one_document(text), config)
        assert alone.num_rows == 1
        assert repr(alone.to_pylist()[0]) == repr(whole.slice(row, 1).to_pylist()[0]), kind
        for column in alone.column_names:
            if "." in column and pa.types.is_floating(alone[column].type):
                value = alone[column][0].as_py()
                assert value is None or abs(value) < float("inf"), (kind, column)


def test_of_a_list_of_personal_data_a_bounded_part_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = 0

    def counting(*args: Any) -> Iterator[Any]:
        nonlocal judged
        judged += 1
        return judge(*args)

    judge = pii.judge
    monkeypatch.setattr(pii, "judge", counting)
    lists = dense_lists(300_000)
    for kind, text in (lists | hostile_texts(300_000)).items():
        judged = 0
        found = list(find_pii(pa.array([text]), ScrubPii()))
        assert judged <= 1000, kind
        if judged == 0 and found:
            assert found[0].spans is None and found[0].n_candidates > 1000, kind
    [short] = find_pii(pa.array([lists["phone numbers"][:1300]]), ScrubPii())
    assert short.spans and 0 < judged <= 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_byte_of_a_hostile_text_takes_no_longer(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    ordinary = ordinary_text(shared_data)
    sets = tuple(str(path) for path in sorted((shared_data / "testsets").glob("*.jsonl")))
    config = every_step(tmp_path, ordinary, sets)[name]
    texts = hostile_texts() | (dense_lists() if name == "scrub_pii" else {})
    found = ratios(name, config, ordinary, texts, 1)
    slow = {kind: texts[kind] for kind, ratio in found.items() if ratio > MAX_RATIO}
    again = ratios(name, config, ordinary, slow, 3) if slow else {}
    assert {kind: ratio for kind, ratio in again.items() if ratio > MAX_RATIO} == {}
