"""Each rule's own text trips it alone, and prose passes."""

import pyarrow as pa
import pytest

from filters.canaries import CANARIES, PROSE, TRIPPING
from pipeline.steps import STEPS


def failed(step: str, text: str | None) -> list[str]:
    docs = pa.table({"id": ["x"], "text": pa.array([text], pa.string())})
    return STEPS[step].function(docs, STEPS[step].config())["failed"].to_pylist()[0] or []


@pytest.mark.parametrize("name", CANARIES)
def test_a_canary_trips_its_rule_alone(name: str) -> None:
    step, rule = name.split(".")
    trips, passes = CANARIES[name]
    assert failed(step, trips) == [rule]
    assert failed(step, passes) == [] and passes == PROSE


@pytest.mark.parametrize("step", TRIPPING)
def test_every_rule_has_a_canary(step: str) -> None:
    assert set(failed(step, None)) == set(TRIPPING[step])  # a null measurement fails every rule


@pytest.mark.parametrize("step", [*TRIPPING, "redpajama"])
def test_any_split_into_batches_gives_the_same_rows(step: str) -> None:
    texts = [None, "", PROSE, *(text for text in TRIPPING.get(step, TRIPPING["c4"]).values())]
    texts = [text for text in texts if text is None or len(text) < 100_000]
    docs = pa.table({"id": [str(i) for i in range(len(texts))], "text": pa.array(texts)})
    function, config = STEPS[step].function, STEPS[step].config()
    whole = function(docs, config)
    for cut in range(0, len(texts) + 1, 3):
        parts = [function(part.combine_chunks(), config) for part in (docs[:cut], docs[cut:])]
        assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())
    assert function(docs[:0], config).schema == whole.schema


HOSTILE = {
    "one word": "a" * 60_000,
    "punctuation": ".!?,;:'\"-" * 6_000,
    "brackets": "[" * 60_000,
    "line ends": "\n" * 60_000,
    "NUL": "\0" * 60_000,
    "binary as Latin-1": bytes(range(256)).decode("latin1") * 200,
    "astral": "\U0001f600\U00020000" * 7_000,
    "right to left": "שלום עליכם " * 3_000,
    "combining marks": "e" + "\u0301" * 30_000,
    "private use": "\ue000\U000f0000" * 5_000,
}


@pytest.mark.parametrize("step", [*TRIPPING, "redpajama"])
def test_hostile_texts_have_signals_and_a_decision(step: str) -> None:
    docs = pa.table({"id": list(HOSTILE), "text": pa.array(HOSTILE.values())})
    out = STEPS[step].function(docs, STEPS[step].config())
    signals = [name for name in out.column_names if "." in name]
    assert signals and out.num_rows == len(HOSTILE)
    assert all(text is not None for text in out["text"].to_pylist())
    counts = [name for name in signals if ".n_" in name]
    assert all(out[name].null_count == 0 for name in counts)
    if step in ("gopher_quality", "madlad", "c4"):
        assert out["rule"].null_count == 0  # none of them is prose
