"""Bounds and signals to marks: literal rows in, literal rows out."""

import numpy as np
import pyarrow as pa
import pytest

from filters.rules import Bound, mark, record, with_removal, with_signals
from pipeline.schema import REMOVAL

BOUNDS = [
    Bound("too_few", "s.n", least=2),
    Bound("too_many", "s.n", most=5),
    Bound("low_score", "s.score", least=0.5),
]


def table(n: list[int | None], score: list[float | None]) -> pa.Table:
    docs = pa.table({"id": pa.array([f"d{i}" for i in range(len(n))], pa.string())})
    columns = {"n": pa.array(n, pa.int64()), "score": pa.array(score, pa.float64())}
    return with_signals(docs, "s", columns)


def marks(docs: pa.Table) -> list[tuple]:
    columns = ["rule", "value", "threshold", "failed"]
    return [tuple(row.values()) for row in docs.select(columns).to_pylist()]


def test_the_first_rule_that_fails_is_the_mark() -> None:
    docs = mark(table([3, 1, 9, 1, 3], [0.9, 0.9, 0.9, 0.1, 0.1]), BOUNDS)
    assert marks(docs) == [
        (None, None, None, None),
        ("too_few", 1.0, 2.0, ["too_few"]),
        ("too_many", 9.0, 5.0, ["too_many"]),
        ("too_few", 1.0, 2.0, ["too_few", "low_score"]),
        ("low_score", 0.1, 0.5, ["low_score"]),
    ]


def test_bounds_belong_to_the_good_side() -> None:
    assert marks(mark(table([2, 5], [0.5, 0.5]), BOUNDS)) == [(None,) * 4] * 2


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_what_could_not_be_measured_fails(nothing: float | None) -> None:
    docs = mark(table([3], [nothing]), BOUNDS)
    assert marks(docs) == [("low_score", None, 0.5, ["low_score"])]
    docs = mark(table([None], [0.9]), BOUNDS)
    assert marks(docs) == [("too_few", None, 2.0, ["too_few", "too_many"])]
    both = mark(table([None], [0.9]), [Bound("odd", "s.n", least=2, most=5)])
    assert marks(both) == [("odd", None, 2.0, ["odd"])]


def test_an_earlier_mark_stays_and_later_failures_are_added() -> None:
    docs = mark(table([1, 3, 3], [0.9, 0.1, 0.9]), BOUNDS)
    docs = mark(docs, [Bound("odd", "s.n", most=0)])
    assert marks(docs) == [
        ("too_few", 1.0, 2.0, ["too_few", "odd"]),
        ("low_score", 0.1, 0.5, ["low_score", "odd"]),
        ("odd", 3.0, 0.0, ["odd"]),
    ]


def test_a_boolean_signal_counts_as_0_and_1() -> None:
    docs = pa.table({"flag": pa.array([True, False, None])})
    docs = mark(docs, [Bound("unset", "flag", least=1)])
    assert docs["rule"].to_pylist() == [None, "unset", "unset"]
    assert docs["value"].to_pylist() == [None, 0.0, None]


def test_match_and_similarity_are_those_of_the_rows_marked_now() -> None:
    docs = with_removal(pa.table({"id": ["a", "b", "c"]}))
    first = np.array([True, False, False])
    value = np.array([4.0, 5.0, 6.0])
    verdicts = [("copy", first, value, np.full(3, 1.0))]
    docs = record(docs, verdicts, pa.array(["x", "y", None]), np.array([0.5, 0.6, np.nan]))
    verdicts = [("other", np.array([True, True, False]), value, np.full(3, np.nan))]
    docs = record(docs, verdicts, pa.array(["p", "q", "r"]), np.array([0.1, 0.2, 0.3]))
    assert docs.drop(["id", "stage"]).to_pylist() == [
        {
            "rule": "copy",
            "value": 4.0,
            "threshold": 1.0,
            "matched_id": "x",
            "similarity": 0.5,
            "failed": ["copy", "other"],
        },
        {
            "rule": "other",
            "value": 5.0,
            "threshold": None,
            "matched_id": "q",
            "similarity": 0.2,
            "failed": ["other"],
        },
        dict.fromkeys(["rule", "value", "threshold", "matched_id", "similarity", "failed"]),
    ]


def test_any_split_into_batches_gives_the_same_rows() -> None:
    n = [3, 1, 9, None, 3, 0, 5]
    docs = mark(table(n, [0.9, 0.9, 0.1, 0.9, None, 0.2, 0.5]), BOUNDS[:2])
    whole = mark(docs, BOUNDS)
    for cut in range(len(n) + 1):
        parts = [mark(docs[:cut].combine_chunks(), BOUNDS), mark(docs[cut:], BOUNDS)]
        assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()
    assert whole["rule"].null_count == 2


def test_no_rows_give_the_same_columns() -> None:
    some, none = mark(table([1], [0.1]), BOUNDS), mark(table([], []), BOUNDS)
    assert none.num_rows == 0 and none.schema == some.schema
    assert [some.schema.field(name) for name in REMOVAL.names] == list(REMOVAL)


def test_a_signal_that_is_there_is_replaced() -> None:
    docs = with_signals(table([1], [0.1]), "s", {"n": np.array([7])})
    assert docs.to_pylist() == [{"id": "d0", "s.n": 7, "s.score": 0.1}]
