"""Controls: the documents of a part made worse, by the hash of their ids."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ablation.controls import Control, degrade


def part(lengths, seed=0) -> pa.Table:
    draw = np.random.default_rng(seed)
    n = len(lengths)
    return pa.table(
        {
            "key": pa.array(np.zeros(n, np.uint64)),
            "order": pa.array(np.sort(draw.integers(0, 1 << 60, n).astype(np.uint64))),
            "epoch": pa.array(np.zeros(n, np.int32)),
            "id": [f"web/{i:04d}" for i in range(n)],
            "ids": pa.array([[*range(1, k), 0] for k in lengths], pa.list_(pa.uint16())),
        }
    )


def test_shuffled_documents_keep_their_tokens_and_their_end():
    rows = part(np.random.default_rng(1).integers(20, 60, 400))
    out = degrade(rows, Control(kind="shuffled", share=0.5), 0)
    assert out.schema == rows.schema
    assert out.drop(["ids"]) == rows.drop(["ids"])
    before, after = rows["ids"].to_pylist(), out["ids"].to_pylist()
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert 160 < sum(changed) < 240
    assert all(sorted(a) == sorted(b) and b[-1] == 0 for a, b in zip(before, after, strict=True))
    everything = degrade(rows, Control(share=1.0), 0)["ids"].to_pylist()
    assert all(a != b for a, b in zip(before, everything, strict=True))


def test_a_document_is_shuffled_alike_wherever_it_stands(monkeypatch):
    rows = part([30] * 50)
    whole = degrade(rows, Control(share=1.0), 3)
    split = [degrade(rows.slice(at, 7), Control(share=1.0), 3) for at in range(0, 50, 7)]
    assert pa.concat_tables(split)["ids"].to_pylist() == whole["ids"].to_pylist()
    monkeypatch.setattr("pipeline.ablation.controls.BLOCK_TOKENS", 64)
    assert degrade(rows, Control(share=1.0), 3) == whole
    assert degrade(rows, Control(share=1.0), 4) != whole


def test_short_and_empty_documents_stay():
    rows = part([1, 2, 1])
    assert degrade(rows, Control(share=1.0), 0) == rows
    nothing = rows.slice(0, 0)
    assert degrade(nothing, Control(kind="repeated"), 0) == nothing


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_repeats_take_the_places_of_those_that_go(share):
    rows = part(np.random.default_rng(2).integers(5, 50, 1000))
    out = degrade(rows, Control(kind="repeated", share=share), 0)
    assert out.schema == rows.schema
    kept = set(out["id"].to_pylist())
    assert len(kept) == pytest.approx(1000 * (1 - share), abs=50)
    tokens = [len(t["ids"].combine_chunks().flatten()) for t in (rows, out)]
    assert tokens[1] == pytest.approx(tokens[0], abs=50)
    pairs = list(zip(out["id"].to_pylist(), out["epoch"].to_pylist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(out["order"].to_pylist()) <= set(rows["order"].to_pylist())
    again = degrade(
        rows.take(np.random.default_rng(0).permutation(1000)),
        Control(kind="repeated", share=share),
        0,
    )
    order = [("order", "ascending"), ("id", "ascending"), ("epoch", "ascending")]
    assert again.sort_by(order) == out.sort_by(order)


def test_one_document_is_left_to_be_repeated():
    out = degrade(part([9]), Control(kind="repeated", share=0.99), 0)
    assert out["id"].to_pylist() == ["web/0000"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "noisy"}, "kind"),
        ({"share": 0.0}, "share"),
        ({"share": 1.1}, "share"),
        ({"kind": "repeated", "share": 1.0}, "share"),
    ],
)
def test_mistakes(settings, message):
    with pytest.raises(ValueError, match=message):
        Control(**settings)
