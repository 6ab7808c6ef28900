"""Checkpoints: whole or absent, checked on loading, refused by another run."""

import json

import numpy as np
import pytest
import torch

from train import checkpoint
from train.config import Model, Train
from train.model import Transformer
from train.optimizer import make_optimizers

torch.set_num_threads(2)
SHAPE = Model(
    dim=16, n_layers=1, n_heads=2, n_kv_heads=1, hidden=24, vocab_size=64, tied_embeddings=True
)
IDENTITY = checkpoint.identity_of(Train(), rows=10)


def save(directory, step, model, optimizer, identity, keep):
    writer = checkpoint.Writer(directory, keep)
    path = writer.save(step, model, optimizer, identity)
    writer.wait()
    return path


def fresh(seed: int = 0):
    model = Transformer(SHAPE, seed)
    return model, make_optimizers(model, Train())


def stepped(n: int):
    model, optimizer = fresh()
    for i in range(n):
        update(model, optimizer, i)
    return model, optimizer


def update(model, optimizer, i: int) -> float:
    tokens = (torch.arange(12) * (i + 3)) % 64
    bounds = torch.tensor([0, 12], dtype=torch.int32)
    every = torch.ones(12, dtype=torch.bool)
    loss, _ = model(tokens, tokens.roll(-1), every, torch.arange(12), bounds)
    loss.backward()
    for one in optimizer:
        one.step()
        one.zero_grad()
    return loss.item()


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    model, optimizer = stepped(3)
    path = save(str(tmp_path), 3, model, optimizer, IDENTITY, keep=2)
    again, again_optimizer = fresh(seed=5)
    assert checkpoint.load(path, again, again_optimizer, IDENTITY) == (3, {})
    expected = [update(model, optimizer, i) for i in range(3, 8)]
    assert [update(again, again_optimizer, i) for i in range(3, 8)] == expected
    only_weights, _ = fresh(seed=5)
    checkpoint.load(path, only_weights, [], IDENTITY)
    assert update(only_weights, make_optimizers(only_weights, Train()), 3) == expected[0]


def test_old_ones_go_and_the_latest_is_found(tmp_path):
    model, optimizer = stepped(1)
    assert checkpoint.latest(str(tmp_path / "absent")) is None
    for step in (1, 2, 3):
        save(str(tmp_path), step, model, optimizer, IDENTITY, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    (tmp_path / ".tmp-1-step-00000004").mkdir()
    (tmp_path / "step-00000009.old").mkdir()
    assert checkpoint.latest(str(tmp_path)) == str(tmp_path / "step-00000003")


def test_a_kill_while_an_old_one_is_deleted_leaves_no_ruin(tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def half(place, ignore_errors=False):
        if place.exists():
            (place / checkpoint.STATE_NAME).unlink()
            raise Killed

    model, optimizer = stepped(1)
    for step in (1, 2):
        save(str(tmp_path), step, model, optimizer, IDENTITY, keep=2)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", half)
        with pytest.raises(Killed):
            checkpoint.delete(tmp_path, lambda step, extra: step == 1)
    assert [p.name for p in checkpoint.complete(tmp_path)] == ["step-00000002"]
    checkpoint.delete(tmp_path, lambda step, extra: False)  # reads them all
    save(str(tmp_path), 3, model, optimizer, IDENTITY, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_there_is_no_pickle_and_a_tied_weight_is_kept_once(tmp_path):
    model, optimizer = stepped(1)
    path = tmp_path / "c"
    place = save(str(path), 1, model, optimizer, IDENTITY, keep=1)
    files = sorted(p.name for p in (path / "step-00000001").iterdir())
    assert {name.rsplit(".", 1)[1] for name in files} == {"npy", "json"}
    arrays = [np.load(f"{place}/{n}", allow_pickle=False) for n in files if n.endswith(".npy")]
    assert (
        len(arrays) == 3 * len(list(model.parameters())) and "model.output.weight.npy" not in files
    )
    assert json.loads((path / "step-00000001" / "state.json").read_text())["step"] == 1


def test_what_does_not_fit_is_refused(tmp_path):
    model, optimizer = stepped(1)
    path = save(str(tmp_path), 1, model, optimizer, IDENTITY, keep=1)
    other = checkpoint.identity_of(Train(seed=1), rows=10)
    with pytest.raises(ValueError, match="seed was 0 there and is 1 now; resume with the same"):
        checkpoint.load(path, model, optimizer, other)
    with pytest.raises(ValueError, match="rows was 10 there and is 11 now"):
        checkpoint.load(path, model, optimizer, checkpoint.identity_of(Train(), rows=11))
    assert checkpoint.identity_of(Train(threads=1, checkpoint_every=7), rows=10) == IDENTITY
    wider = Transformer(
        Model(dim=32, n_layers=1, n_heads=2, n_kv_heads=1, hidden=24, vocab_size=64)
    )
    with pytest.raises(ValueError, match=r"no tensor model\.embedding\.weight of shape \[64, 32\]"):
        checkpoint.load(path, wider, [], IDENTITY)
    file = tmp_path / "step-00000001" / "model.norm.weight.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"norm\.weight\.npy: changed since it was written"):
        checkpoint.load(path, model, optimizer, IDENTITY)


def test_a_write_that_fails_leaves_the_last_one_alone(tmp_path):
    model, optimizer = stepped(1)
    save(str(tmp_path), 1, model, optimizer, IDENTITY, keep=1)
    unwritable = {"not JSON": object()}
    with pytest.raises(TypeError):
        save(str(tmp_path), 2, model, optimizer, unwritable, keep=1)
    newest = checkpoint.latest(str(tmp_path))
    assert newest == str(tmp_path / "step-00000001")
    assert checkpoint.load(newest, model, optimizer, IDENTITY) == (1, {})
