"""The scorecard on small literal tables: right outcomes, wrong ones, and lost documents."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sample.scorecard import Score, render, scorecard
from pipeline.schema import DOCUMENT, ERROR, REMOVAL


class Run:
    """The tables of a finished run, written row by row."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept: list[dict[str, Any]] = []
        self.removed: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.truth: list[dict[str, Any]] = []

    def keep(self, id: str, text: str = "") -> None:
        self.kept.append({"id": id, "text": text})

    def remove(self, id: str, rule: str, matched_id: str | None = None) -> None:
        self.removed.append({"id": id, "text": "", "rule": rule, "matched_id": matched_id})

    def error(self, source: str, shard: str, locator: str, error: str) -> None:
        row = {"source": source, "shard": shard, "locator": locator, "error": error}
        self.errors.append(row)

    def plant(
        self, component: str, id: str, expect: str, group: str | None = None, **detail: Any
    ) -> None:
        plant = {"component": component, "id": id, "expect": expect, "group": group}
        self.truth.append(plant | {"detail": detail})

    def scores(self) -> dict[str, Score]:
        removed = pa.schema([*DOCUMENT, pa.field("gopher.n_words", pa.int64()), *REMOVAL])
        for name, rows, schema in (
            ("documents/web/part-0.parquet", self.kept[:1], DOCUMENT),
            ("documents/books/part-1.parquet", self.kept[1:], DOCUMENT),
            ("removed/web/filter-0.parquet", self.removed[:1], removed),  # columns differ
            ("removed/web/dedup-0.parquet", self.removed[1:], pa.schema([*DOCUMENT, *REMOVAL])),
            ("errors/web/ingest-0.parquet", self.errors, ERROR),
        ):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), self.root / name)
        dedup = {"minhash": {"similarity": 0.7}, "ngrams": {"words": 3}}
        (self.root / "manifest.json").write_text(json.dumps({"config": {"dedup": dedup}}))
        truth = self.root / "truth.jsonl"
        truth.write_text("".join(json.dumps(plant) + "\n" for plant in self.truth))
        return {score.component: score for score in scorecard(self.root, truth)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_exact_duplicates(run: Run) -> None:
    for group in "abc":
        for copy in "12":
            run.plant("exact_duplicate", f"{group}{copy}", "removed", group)
    run.keep("a1")
    run.remove("a2", "dedup.exact_duplicate", "a1")  # right
    run.keep("b1")
    run.keep("b2")  # missed
    run.remove("c1", "dedup.exact_duplicate", "a1")  # for a document it has nothing to do with
    run.keep("c2")
    assert run.scores()["exact duplicates"] == ("exact duplicates", 3, 1, 1, 0.5, 1 / 3, "")


def test_a_duplicate_whose_keeper_is_gone_is_not_caught(run: Run) -> None:
    for copy in "12":
        run.plant("exact_duplicate", f"a{copy}", "removed", "a")
        run.remove(f"a{copy}", "dedup.exact_duplicate", "a1")
    score = run.scores()["exact duplicates"]
    assert (score.planted, score.caught) == (1, 0)


def test_a_pair_that_a_filter_broke_is_not_judged(run: Run) -> None:
    run.plant("exact_duplicate", "a1", "removed", "a")
    run.plant("exact_duplicate", "a2", "removed", "a")
    run.remove("a1", "quality.low_quality")
    run.keep("a2")
    score = run.scores()["exact duplicates"]
    assert (score.planted, score.caught, score.recall) == (0, 0, None)


def test_near_duplicates_by_rate_and_similarity(run: Run) -> None:
    for group, rate, jaccard in (
        ("a", 0.01, 0.9),
        ("b", 0.01, 0.9),
        ("c", 0.05, 0.71),
        ("d", 0.05, 0.6),
        ("e", 0.05, 0.6),
        ("f", 0.05, 0.9),
    ):
        for copy in "12":
            id = f"{group}{copy}"
            run.plant("near_duplicate", id, "removed", group, rate=rate, jaccard=jaccard)
    run.keep("a2")
    run.remove("a1", "dedup.near_duplicate", "a2")
    run.keep("b1")
    run.keep("b2")  # missed
    run.keep("c1")
    run.keep("c2")  # too near the line to say
    run.keep("d1")
    run.keep("d2")  # right: not similar enough
    run.keep("e1")
    run.remove("e2", "dedup.near_duplicate", "e1")  # wrong
    run.keep("f1")
    run.remove("f2", "language.other_language")
    scores = run.scores()
    assert scores["near-duplicates, 1% edited"][1:6] == (2, 1, 0, 1.0, 0.5)
    note = "2 below 0.7, 1 within 0.02 of it, 1 removed before"
    assert scores["near-duplicates, 5% edited"][1:] == (0, 0, 1, 0.0, None, note)


def test_repeated_passages(run: Run) -> None:
    texts = {
        "a1": "See: one two three four.",
        "a2": "Cut here, four.",
        "a3": "Not cut: TWO three four",
        "b1": "gone",
        "b2": "gone as well",
    }
    for id, text in texts.items():
        run.plant("ngram_repeat", id, "cut", id[0], passage="one two three four")
        run.keep(id, text)
    # of a: two copies, one cut; of b: one copy, cut, but so is the original
    assert run.scores()["repeated passages"][1:4] == (3, 2, 1)


def test_filters(run: Run) -> None:
    run.plant("language", "de", "removed")
    run.plant("language", "fr", "removed")
    run.plant("language", "quote", "kept")
    run.plant("gibberish", "xkcd", "removed")
    run.plant("gibberish", "salad", "removed")
    run.remove("de", "language.other_language")
    run.keep("fr")  # missed
    run.remove("quote", "language.low_language_score")  # wrong
    run.remove("xkcd", "language.other_language")  # right, by another rule than meant
    run.remove("salad", "perplexity.high_perplexity")
    run.remove("natural", "perplexity.high_perplexity")  # wrong: no plant
    scores = run.scores()
    assert scores["language"][1:6] == (2, 1, 1, 0.5, 0.5)
    assert scores["gibberish"][1:6] == (2, 2, 1, 2 / 3, 1.0)
    assert scores["gibberish"].note == "language 1, perplexity 1"


def test_decontamination_counts_its_own_rule_only(run: Run) -> None:
    run.plant("decontamination", "page", "removed", item="t/0")
    run.plant("decontamination", "other", "removed", item="t/1")
    run.plant("decontamination", "retold", "kept", item="t/1")
    run.remove("page", "decontaminate.test_item", "t/0")
    run.remove("other", "gopher_quality.too_few_words")
    run.remove("retold", "decontaminate.test_item", "t/1")
    assert run.scores()["decontamination"][1:6] == (2, 1, 1, 0.5, 0.5)


def test_personal_data(run: Run) -> None:
    run.plant("pii", "a", "scrubbed", kind="email", string="a@b.org")
    run.plant("pii", "b", "scrubbed", kind="phone", string="555-1234")
    run.plant("pii", "c", "scrubbed", kind="ssn", string="1-2-3")
    run.plant("pii_lookalike", "d", "kept", kind="date", string="2020-01-02")
    run.plant("pii_lookalike", "e", "kept", kind="isbn", string="978-0")
    run.keep("a", "write to <EMAIL>")
    run.keep("b", "call 555-1234")
    run.remove("c", "quality.low_quality")
    run.keep("d", "on 2020-01-02")
    run.keep("e", "<PHONE>")
    score = run.scores()["personal data"]
    assert score[1:6] == (2, 1, 1, 0.5, 0.5)
    assert score.note == ("2 look-alikes, missed phone 1, wrongly isbn 1, 1 in removed documents")


def test_broken_records(run: Run) -> None:
    run.plant("fault", "web/s/0", "error", kind="cut", names=["truncated_gzip"])
    run.plant("fault", "web/s/1", "error", kind="other", names=["truncated_gzip"])
    run.plant("fault", "web/s/2", "removed", kind="image", names=["ingest.not_text"])
    run.plant("fault", "web/s/3", "kept", kind="charset", names=[], contains="café")
    run.plant("fault", "web/s/4", "kept", kind="label", names=[], contains="café")
    run.error("web", "s", "0", "truncated_gzip")
    run.error("web", "s", "1", "bad_header")
    run.remove("web/s/2", "ingest.not_text")
    run.keep("web/s/3", "a café")
    run.keep("web/s/4", "a cafÃ©")
    score = run.scores()["broken records"]
    assert score[1:] == (5, 3, 0, None, 0.6, "not as expected: other, label")


def test_lost_documents_are_named(run: Run) -> None:
    run.plant("too_short", "web/s/0", "removed")
    run.plant("too_short", "web/s/1", "removed")
    run.plant("fault", "web/s/2", "error", kind="x", names=["y"])
    run.plant("pii", "web/s/3", "scrubbed", kind="ip", string="z")
    run.remove("web/s/0", "gopher_quality.too_few_words")
    run.error("web", "s", "2", "y")
    run.error("web", "s", "web/s/3", "step_failed")  # a step's fault has the whole id
    scores = run.scores()
    assert scores["accounted for"][1:] == (4, 3, 0, None, 0.75, "LOST: web/s/1")
    assert "LOST: web/s/1" in render(list(scores.values()))


def test_a_run_without_deduplication(run: Run) -> None:
    run.plant("near_duplicate", "a1", "removed", "a", rate=0.01, jaccard=0.9)
    run.plant("near_duplicate", "a2", "removed", "a", rate=0.01, jaccard=0.9)
    run.keep("a1")
    run.keep("a2")
    run.scores()
    (run.root / "manifest.json").write_text(
        json.dumps({"config": {"dedup": {"minhash": None, "ngrams": None}}})
    )
    scores = {s.component: s for s in scorecard(run.root, run.root / "truth.jsonl")}
    assert scores["near-duplicates, 1% edited"].planted == 0


def test_render_fits_100_columns() -> None:
    scores = [
        Score("language", 30, 29, 1, 29 / 30, 29 / 30),
        Score("near-duplicates, 10% edited", 0, 0, 0, None, None, "20 below 0.7, " * 8),
    ]
    lines = render(scores).splitlines()
    assert lines[1].split() == ["language", "30", "29", "1", "0.967", "0.967"]
    assert lines[2].split()[:8] == ["near-duplicates,", "10%", "edited", "0", "0", "0", "-", "-"]
    assert len(lines) > 3
    assert max(map(len, lines)) <= 100
