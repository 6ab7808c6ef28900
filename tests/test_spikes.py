"""Loss spikes: seen, undone, recorded, and the same after a kill."""

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from train import spikes
from train.config import Train
from train.loader import Loader
from train.loop import train
from train.packing import write_packed
from train.sources import Sources, documents_of, sidecar_of

torch.set_num_threads(2)
VOCAB, WIDTH, BAD = 64, 32, 100


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> str:
    """A document a row; they count upwards, but for one that is noise."""
    draw = np.random.default_rng(0)
    documents = [
        (f"shard/{i}", "web" if i % 2 else "books", (draw.integers(8) + np.arange(WIDTH)) % 8)
        for i in range(200)
    ]
    documents[BAD] = ("shard/bad", "books", draw.integers(8, VOCAB, WIDTH))
    path = str(tmp_path_factory.mktemp("packed") / "part-0.arrow")
    write_packed(path, documents, WIDTH, vocab_size=VOCAB, tokenizer_digest="d1")
    return path


CONFIG = Train(
    steps=80, batch_rows=2, warmup_steps=2, learning_rate=3e-3, threads=2, checkpoint_every=5,
    max_spike_z=30.0, spike_window=16, spike_steps=2, seed=1,
)  # fmt: skip


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def bad_steps(packed):
    loader = Loader([packed], CONFIG)
    return [s for s in range(80) if any(BAD in b.rows for b in loader.step(s))]


def test_a_spike_is_rolled_back_and_its_documents_are_recorded(packed, tmp_path):
    [bad] = bad_steps(packed)
    assert bad > 10, "choose another seed"
    result = train(CONFIG, [packed], str(tmp_path), say=str)
    found = lines(tmp_path / spikes.SPIKES_NAME)
    assert result["spikes"] == len(found) >= 1
    spike = next(s for s in found if s["step"] == bad + 1)
    assert BAD in spike["rows"] and "shard/bad" in spike["documents"]
    assert spike["back_to"] <= bad - 1 and spike["back_to"] % 5 == 0
    log = lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in log] == list(range(1, 81))
    assert log[bad]["loss"] < spike["loss"] - 1
    again = train(CONFIG, [packed], str(tmp_path), say=str)
    assert again["resumed_from"] == 80 and again["final_loss"] == result["final_loss"]


def test_rows_left_out_never_come_and_no_others_move(packed):
    plain, without = Loader([packed], CONFIG), Loader([packed], CONFIG, excluded=[BAD, 7])
    moved = 0
    for step in range(210):
        one, two = (loader.step(step)[0].rows.tolist() for loader in (plain, without))
        assert BAD not in two and 7 not in two
        for a, b in zip(one, two, strict=True):
            assert (a == b) == (a not in (BAD, 7))
            moved += a != b
    assert moved >= 4


def test_robust_z_by_hand():
    assert spikes.robust_z(9.0, [1, 2, 3, 4, 100]) == pytest.approx(6 / 1.4826)
    assert spikes.robust_z(2.0, [1.0] * 9) == pytest.approx(100)
    log = [{"loss": 2.0 + i % 2, "grad_norm": None} for i in range(16)]
    calm = {"loss": 3.0, "grad_norm": 1.0}
    assert spikes.spike_scores(log[:4], {"loss": 99.0, "grad_norm": 1.0}, CONFIG) == {}
    with_norms = [{**line, "grad_norm": 1.0} for line in log]
    assert spikes.spike_scores(with_norms, calm, CONFIG) == {}
    assert "loss" in spikes.spike_scores(with_norms, {**calm, "loss": 99.0}, CONFIG)
    assert spikes.spike_scores(log, calm, CONFIG) == {}  # fp16 has overflowed in all of them
    wild = spikes.spike_scores([], {"loss": math.nan, "grad_norm": 1.0}, CONFIG)
    assert wild == {"loss": math.inf}


def test_sources_and_documents_of_rows(packed, tmp_path):
    sources = Sources([packed])
    assert sources.names == ["books", "web"]
    [batch] = Loader([packed], CONFIG).step(0)
    expected = []
    for row in batch.rows.tolist():
        [name] = documents_of([packed], [row])
        expected.append("web" if name != "shard/bad" and int(name[6:]) % 2 else "books")
    assert [sources.names[i] for i in sources.of(batch)] == expected
    old = tmp_path / "old.documents.parquet"
    pq.write_table(pq.read_table(sidecar_of(packed)).drop_columns(["source"]), old)
    with pytest.raises(ValueError, match="no column source; it is of old, pack it again"):
        Sources([str(tmp_path / "old.arrow")])
    assert Sources([str(tmp_path / "absent.arrow")]).names == []
    assert documents_of([str(tmp_path / "absent.arrow")], [0]) is None
