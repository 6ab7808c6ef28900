"""A list of steps over a batch: a step that stands there twice, under two names."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from filters.decontaminate import Decontaminate, contamination_of
from filters.gopher import GopherQuality, GopherRepetition
from filters.keywords import Keywords
from pipeline.apply import apply
from pipeline.schema import DOCUMENT
from pipeline.steps import Use, bounds_of


def documents(*texts: str) -> pa.Table:
    rows = [{"id": f"d{i}", "text": text, "source": "s"} for i, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def test_two_lists_of_keywords_have_signals_and_rules_of_their_own(tmp_path: Path) -> None:
    for name, word in (("a", "anchor"), ("b", "buoy")):
        (tmp_path / name).write_text(f"{word}\n")
    steps = [
        Use("keywords", Keywords(lists=(str(tmp_path / "a"),))),
        Use("keywords", Keywords(lists=(str(tmp_path / "b"),), max_keywords=1), "buoys"),
    ]
    docs = documents("a buoy", "a buoy, a buoy", "an anchor and a buoy", "neither")
    out, faults = apply(docs, steps, audit_fraction=1.0)
    assert faults == []
    assert out["keywords.n_found"].to_pylist() == [0, 0, 1, 0]
    assert out["buoys.n_found"].to_pylist() == [1, 2, 1, 0]
    assert out["rule"].to_pylist() == [
        None, "buoys.too_many_keywords", "keywords.too_many_keywords", None,
    ]  # fmt: skip
    assert [bound.signal for use in steps for bound in bounds_of(use)] == [
        "keywords.n_found",
        "buoys.n_found",
    ]


@pytest.mark.parametrize("named_first", [False, True])
def test_a_named_use_leaves_the_signals_that_two_steps_share(named_first: bool) -> None:
    usual = [Use("gopher_repetition", GopherRepetition()), Use("gopher_quality", GopherQuality())]
    named = Use("gopher_quality", GopherQuality(min_words=1, stop_words=("pier",)), "lax")
    docs = documents("The man and the pier. " * 30, "")
    out, _ = apply(docs, [named, *usual] if named_first else [*usual, named], 1.0)
    alone, _ = apply(docs, usual, 1.0)
    own, _ = apply(docs, [named._replace(called="")], 1.0)
    for column in alone.column_names:
        if column.startswith("gopher."):
            assert out[column].equals(alone[column])
    for column in own.column_names:
        if column.startswith("gopher."):
            assert out[column.replace("gopher.", "lax.")].equals(own[column])


def test_two_decontaminations_report_what_each_found(tmp_path: Path) -> None:
    items = {
        "a": "A ferry leaves the island every forty minutes and carries at most thirty cars across",
        "b": "Maria reads twelve pages of her book each day before school and more on Sundays too",
    }
    steps = []
    for name, text in items.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"question": text}))
        config = Decontaminate(against=(str(tmp_path / f"{name}.jsonl"),), mode="report")
        steps.append(Use("decontaminate", config, "" if name == "a" else "second"))
    out, _ = apply(documents(*items.values()), steps, 0.0)
    found = [contamination_of(out, use.prefix).to_pylist() for use in steps]
    assert [[(row["item"], row["id"]) for row in rows] for rows in found] == [
        [("a.jsonl/0", "d0")],
        [("b.jsonl/0", "d1")],
    ]
