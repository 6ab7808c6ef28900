"""Each rule's own text trips it alone, and prose passes."""

from pathlib import Path

import pyarrow as pa
import pytest

from filters.canaries import CANARIES, PROSE, TRIPPING
from pipeline.canaries import Canaries, Silent, canaries_of, run_canaries
from pipeline.config import parse_steps
from pipeline.steps import STEPS, Use


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


FILES = {
    "url_filter": {
        "blocklists": ["b"],
        "hard_words": ["h"],
        "subwords": ["s"],
        "soft_words": ["w"],
    },
    "link_list": {"links": ["l"], "min_score": 2.0},
    "keywords": {"lists": ["k"]},
    "decontaminate": {"against": ["t"]},
    "scrub_pii": {"max_entities": 2},
    "perplexity": {"model": "models.m"},
    "quality": {"model": "models.m"},
    "neural_quality": {"model": "m"},
}


def use_of(name: str, **keys: object) -> Use:
    entry = {"use": name, **FILES.get(name, {}), **keys}
    return parse_steps([entry], "steps")[0]


@pytest.mark.parametrize("name", STEPS)
def test_every_step_has_canaries_or_says_why_not(name: str, tmp_path: Path) -> None:
    found = canaries_of(use_of(name), tmp_path)
    if name in ("redpajama", "perplexity", "quality", "neural_quality"):
        assert isinstance(found, Silent) and found.reason
    else:
        assert isinstance(found, Canaries) and found.trips
    warnings, _ = run_canaries(use_of(name), "steps[0]", tmp_path)
    assert warnings == []
    bounds = STEPS[name].bounds
    if isinstance(found, Canaries) and bounds and name != "language":
        on = {b.rule for b in bounds(use_of(name).config) if (b.least, b.most) != (None, None)}
        assert on <= set(found.trips)


@pytest.mark.parametrize("mode", ["mark", "cut"])
def test_decontamination_canaries_by_mode(mode: str, tmp_path: Path) -> None:
    use = use_of("decontaminate", mode=mode)
    assert run_canaries(use, "steps[0]", tmp_path) == ([], None)


def test_thresholds_of_the_user_that_blind_a_rule_or_make_it_fire_always(tmp_path: Path) -> None:
    blind, _ = run_canaries(use_of("gopher_quality", min_words=1), "sources.web.steps[1]", tmp_path)
    assert blind == [
        "sources.web.steps[1]: canary of gopher_quality.too_few_words passes with min_words = 1: "
        "this rule no longer catches it"
    ]
    always, _ = run_canaries(use_of("starcoder", max_line_length=10), "s", tmp_path)
    assert always == [
        "s: starcoder.line_too_long marks a text that it should pass with max_line_length = 10"
    ]
    french, _ = run_canaries(use_of("language", keep=["fr"]), "s", tmp_path)
    assert french == []
