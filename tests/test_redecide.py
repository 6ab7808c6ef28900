"""A changed threshold is decided from the signals of the run before: the bytes of a fresh run, and
only the rows measured that had to be."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.canaries import PROSE
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.stages import run_pipeline
from pipeline.steps import STEPS
from pipeline.storage import list_files

N = 120


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    """Texts of 5 to 80 words, some of them German, some of symbols, with lines and addresses that
    are edited out; ingest refuses the two without text."""
    rng = random.Random(3)
    german = "Der Ausschuss traf sich am Dienstag, um über den neuen Haushalt zu beraten. "
    texts: list[str | None] = []
    for i in range(N - 2):
        words = PROSE.split()
        rng.shuffle(words)
        text = " ".join(words[: rng.randint(5, 80)]) + f" number{i}."
        text += "\nHome and about" * rng.randint(0, 5)
        text += f"\nWrite to the man a{i}@mit.edu[edit] now."
        texts.append(german * 8 if i % 9 == 0 else text + " # # # #" * 5 if i % 11 == 0 else text)
    path = tmp_path_factory.mktemp("shard") / "a.parquet"
    texts = [*texts, "", None]
    ids = [f"d{i:03}" for i in range(N)]
    pq.write_table(pa.table({"id": ids, "text": pa.array(texts, pa.string())}), path)
    return path


STEPS_BEFORE: list[dict[str, Any]] = [
    {"use": "language"},
    {"use": "gopher_quality", "min_words": 30},
    {"use": "c4", "min_sentences": 1},
    {"use": "fineweb", "min_terminal_line_fraction": 0.1},
    {"use": "scrub_pii"},
]


def changed(step: int, **keys: Any) -> list[dict[str, Any]]:
    return [{**entry, **keys} if i == step else entry for i, entry in enumerate(STEPS_BEFORE)]


def run(shard: Path, out: Path, steps: list[dict[str, Any]], audit: float = 0.2) -> dict[str, str]:
    """{file without the part's key: content} of everything that is data."""
    source = {"format": "table", "paths": [str(shard)], "id_column": "id", "steps": steps}
    table = {"name": "t", "sources": {"web": source}, "audit_fraction": audit, "dedup": {}}
    table["max_error_fraction"] = 1.0
    with connect("off") as cluster:
        manifest = run_pipeline(parse(table), str(out), cluster)
    folders = ("documents", "removed", "errors")
    files = [path for folder in folders for path in list_files(str(out / folder))]
    data = {path[len(str(out)) :]: Path(path).read_bytes() for path in files}
    return data | {"digest": manifest["corpus_digest"], "stages": manifest["stages"]}


@pytest.fixture
def measured(monkeypatch) -> Counter[str]:
    """How many rows each step's own function saw."""
    seen: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def call(docs: pa.Table, config: Any) -> pa.Table:
            seen[name] += docs.num_rows
            return function(docs, config)

        return call

    for name, step in list(STEPS.items()):
        monkeypatch.setitem(STEPS, name, step._replace(function=counted(name, step.function)))
    return seen


CHANGES = {
    "looser": changed(1, min_words=10),
    "tighter": changed(1, min_words=40),
    "language kept": changed(0, keep=["en", "de"], min_score=0.3),
    "behind an edit": changed(3, min_terminal_line_fraction=0.9),
    "one step more": [*STEPS_BEFORE[:2], {"use": "dolma_repetition"}, *STEPS_BEFORE[2:]],
    "one step less": [STEPS_BEFORE[0], *STEPS_BEFORE[2:]],
    "other order": [STEPS_BEFORE[1], STEPS_BEFORE[0], *STEPS_BEFORE[2:]],
    "other words": changed(1, stop_words=["the", "of"]),
    "an editing step": changed(2, min_words_per_line=6),
    "the same step twice": [
        *STEPS_BEFORE,
        {"use": "gopher_quality", "name": "shorter", "min_words": 15},
    ],
    "between two edits": changed(3, max_newline_to_word_ratio=0.03),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("audit", [0.0, 0.3])
def test_the_bytes_are_those_of_a_fresh_run(shard, tmp_path, name, audit) -> None:
    fresh = run(shard, tmp_path / "fresh", CHANGES[name], audit)
    before = run(shard, tmp_path / "again", STEPS_BEFORE, audit)
    assert run(shard, tmp_path / "again", CHANGES[name], audit) == fresh
    assert fresh != before
    assert run(shard, tmp_path / "again", STEPS_BEFORE, audit) == before  # and back


def test_a_tighter_threshold_measures_and_edits_nothing(shard, tmp_path, measured) -> None:
    first = run(shard, tmp_path, STEPS_BEFORE, 0.0)
    kept = first["stages"]["filter"]["web"]["kept"]
    assert measured["language"] == N - 2 and 20 < kept < 100
    measured.clear()
    tighter = run(shard, tmp_path, CHANGES["tighter"], 0.0)
    assert tighter["stages"]["filter"]["web"]["kept"] < kept
    assert not measured.total() and tighter == run(shard, tmp_path / "x", CHANGES["tighter"], 0.0)


def test_a_document_that_leaves_between_two_edits_is_edited_once_more(
    shard, tmp_path, measured
) -> None:
    first = run(shard, tmp_path, STEPS_BEFORE, 0.0)
    measured.clear()
    name = "between two edits"
    again = run(shard, tmp_path, CHANGES[name], 0.0)
    gone = [out["stages"]["filter"]["web"]["removed"] for out in (first, again)]
    fineweb = [sum(n for rule, n in out.items() if "fineweb" in rule) for out in gone]
    assert +measured == {"c4": fineweb[1] - fineweb[0]} and measured["c4"] >= 5


def test_a_looser_one_measures_what_had_gone_before_the_step(shard, tmp_path, measured) -> None:
    run(shard, tmp_path, STEPS_BEFORE, 0.0)
    old = measured.copy()
    measured.clear()
    looser = run(shard, tmp_path, CHANGES["looser"], 0.0)
    assert measured["language"] == measured["gopher_quality"] == 0
    new = measured["c4"]
    assert new >= 5 and old["c4"] > new >= measured["fineweb"] == measured["scrub_pii"] > 0
    assert looser["stages"]["filter"]["web"]["in"] == N - 2


def test_a_changed_edit_measures_what_is_behind_it(shard, tmp_path, measured) -> None:
    run(shard, tmp_path, STEPS_BEFORE, 0.0)
    old = measured.copy()
    measured.clear()
    run(shard, tmp_path, CHANGES["an editing step"], 0.0)
    assert measured["language"] == measured["gopher_quality"] == 0
    assert measured["c4"] == old["c4"] and measured["fineweb"] > 20


def test_a_step_that_keeps_its_reasons_measures_again_what_it_had_marked(
    shard, tmp_path, measured
) -> None:
    words = tmp_path / "test.jsonl"
    texts = pq.read_table(shard)["text"].to_pylist()
    text = next(t for t in texts if t.count(" ") > 60 and "#" not in t and "Haushalt" not in t)
    words.write_text(json.dumps({"question": text.partition("\n")[0]}))
    hidden = {"use": "decontaminate", "against": [str(words)], "question": ["question"]}
    steps = [{"use": "gopher_quality", "min_words": 10}, hidden]
    first = run(shard, tmp_path / "out", steps, 0.0)
    assert first["stages"]["filter"]["web"]["removed"]["decontaminate.test_item"] == 1
    measured.clear()
    tighter = [{"use": "gopher_quality", "min_words": 12}, hidden]
    again = run(shard, tmp_path / "out", tighter, 0.0)
    assert measured["decontaminate"] == 1 and measured["gopher_quality"] == 0
    assert again == run(shard, tmp_path / "fresh", tighter, 0.0)


KEYS: dict[str, dict[str, list[Any]]] = {
    "language": {"keep": [["en"], ["en", "de"]], "min_score": [0.3, 0.65, 0.9]},
    "gopher_quality": {"min_words": [5, 20, 40], "max_hash_to_word_ratio": [0.01, 0.1, 0.3]},
    "c4": {"min_sentences": [0, 1, 3], "min_words_per_line": [2, 6]},
    "fineweb": {"min_terminal_line_fraction": [0.0, 0.5], "max_newline_to_word_ratio": [0.02, 0.3]},
    "refinedweb": {"max_removed_word_fraction": [0.0, 0.05, 0.5]},
    "scrub_pii": {"max_entities": [0, 3], "replacement": ["<PII>", "x"]},
    "dolma_repetition": {},
}


def draw(rng: random.Random, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps with up to two keys changed, and at times one step more, less or elsewhere."""
    steps = [dict(step) for step in steps]
    for _ in range(rng.randint(0, 2)):
        step = rng.choice(steps)
        if keys := KEYS[step["use"]]:
            key = rng.choice(list(keys))
            step[key] = rng.choice(keys[key])
    if rng.random() < 0.3:
        steps.insert(rng.randrange(len(steps)), steps.pop(rng.randrange(len(steps))))
    if rng.random() < 0.2 and len(steps) > 2:
        steps.pop(rng.randrange(len(steps)))
    if rng.random() < 0.2:
        missing = [name for name in KEYS if all(step["use"] != name for step in steps)]
        steps += [{"use": name} for name in missing[:1]]
    return steps


@pytest.mark.parametrize("seed", range(4))
def test_any_changes_one_after_the_other(shard, tmp_path, seed) -> None:
    rng = random.Random(seed)
    steps = [{"use": name} for name in ("language", "gopher_quality", "c4", "fineweb")]
    steps += [{"use": "refinedweb"}, {"use": "scrub_pii"}]
    audit = rng.choice([0.0, 0.1])
    kept = set()
    for i in range(6):
        fresh = run(shard, tmp_path / f"{i}", steps, audit)
        assert run(shard, tmp_path / "again", steps, audit) == fresh
        kept.add(fresh["stages"]["filter"]["web"]["kept"])
        steps = draw(rng, steps)
    assert len(kept) > 1
