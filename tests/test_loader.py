"""Loader: targets stay in documents, every row once a pass, the same batches for any ranks."""

import dataclasses
import itertools
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.config import Train
from train.loader import Loader, PackedRows, make_batch, packed_files, shuffled, unpack
from train.packing import write_packed
from train.schedule import batch_rows, first_row, sequence_length


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("packed")
    draw = np.random.default_rng(0)
    for part in range(2):
        lengths = draw.integers(1, 40, 60)
        documents = [(f"{part}/{i}", "s", draw.integers(3, 90, n)) for i, n in enumerate(lengths)]
        path = str(directory / f"part-{part}.arrow")
        write_packed(path, documents, 16, vocab_size=90, tokenizer_digest="d1")
    return packed_files(str(directory))


ROWS = np.array([[5, 6, 7, 8], [9, 65535, 0, 0]], np.uint16)
CPU = torch.device("cpu")


def test_a_batch_from_literal_rows():
    batch = make_batch(ROWS, np.array([3, 1, 2]), np.array([2, 1]), np.array([7, 3]))
    assert batch.cu_seqlens.tolist() == [0, 3, 4, 6, 8]
    assert batch.empty_D.tolist() == [False, False, False, True]
    assert batch.rows.tolist() == [7, 3]
    assert (batch.n_targets(), batch.cu_seqlens.dtype) == (3, torch.int32)
    inputs = unpack(batch, CPU)
    assert inputs.tokens_T.tolist() == [5, 6, 7, 8, 9, 65535, 0, 0]
    assert inputs.positions_T.tolist() == [0, 1, 2, 0, 0, 1, 0, 1]
    assert inputs.mask_T.tolist() == [True, True, False, False, True, False, False, False]
    assert inputs.targets_T.tolist() == [6, 7, 0, 0, 65535, 0, 0, 0]


def test_shorter_sequences_are_cut_within_rows():
    batch = make_batch(ROWS, np.array([3, 1, 2]), np.array([2, 1]), np.array([7, 3]), cut_at=2)
    assert batch.cu_seqlens.tolist() == [0, 2, 3, 4, 6, 8]
    assert batch.empty_D.tolist() == [False, False, False, False, True]
    assert unpack(batch, CPU).positions_T.tolist() == [0, 1, 0, 0, 0, 1, 0, 1]
    assert batch.n_targets() == 2
    wide = ROWS.astype(np.uint32) + np.uint32(70_000)
    one = make_batch(wide, np.array([4]), np.array([1, 0]), np.array([0, 1]), cut_at=4)
    assert one.cu_seqlens.tolist() == [0, 4, 8] and one.empty_D.tolist() == [False, True]
    assert unpack(one, CPU).tokens_T[:2].tolist() == [70_005, 70_006]


def test_ramps_are_functions_of_the_step():
    config = Train(
        steps=20, batch_rows=8, first_batch_rows=2, batch_ramp_steps=6,
        first_sequence_length=4, length_ramp_steps=4,
    )  # fmt: skip
    rows = [batch_rows(step, config) for step in range(8)]
    assert rows == [2, 2, 4, 4, 6, 6, 8, 8]
    assert [first_row(step, config) for step in range(9)] == np.cumsum([0, *rows]).tolist()
    assert [sequence_length(step, config, 16) for step in range(6)] == [4, 4, 8, 12, 16, 16]
    assert [sequence_length(step, config, 10) for step in (3, 4)] == [8, 10]
    plain = Train(batch_rows=8)
    assert (first_row(7, plain), sequence_length(0, plain, 16)) == (56, 16)
    with pytest.raises(ValueError, match="first_batch_rows: 3 does not divide"):
        Train(batch_rows=8, first_batch_rows=3, batch_ramp_steps=2)
    with pytest.raises(ValueError, match="a ramp needs both of them"):
        Train(batch_rows=8, first_batch_rows=2)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 70), st.integers(-5, 2**40), st.integers(0, 200), st.integers(0, 100))
def test_the_order_is_a_permutation_in_every_pass(n, seed, first, count):
    order = shuffled(np.arange(first, first + count), n, seed)
    everything = shuffled(np.arange(0, n * ((first + count) // n + 1)), n, seed)
    assert order.tolist() == everything[first : first + count].tolist()
    for at in range(0, len(everything), n):
        assert sorted(everything[at : at + n].tolist()) == list(range(n))


def test_the_order_is_shuffled_and_differs_by_seed_and_pass():
    n = 1000
    one, two = shuffled(np.arange(n), n, 0), shuffled(np.arange(n, 2 * n), n, 0)
    other = shuffled(np.arange(n), n, 1)
    for a, b in itertools.combinations([np.arange(n), one, two, other], 2):
        assert (a == b).sum() < 10
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.15


FOUR = Train(batch_rows=4, seed=1)


def test_every_row_once_a_pass_with_its_tokens(paths):
    loader = Loader(paths, FOUR)
    n = len(loader.rows)
    table = pa.concat_tables([pa.ipc.open_file(p).read_all() for p in paths]).to_pylist()
    seen = []
    for [batch] in itertools.islice(loader, -(-n // 4)):
        inputs = unpack(batch, CPU)
        for i, row in enumerate(batch.rows.tolist()):
            assert inputs.tokens_T[i * 16 : i * 16 + 16].tolist() == table[row]["tokens"]
            seen.append(row)
        ends = batch.cu_seqlens[1:].long() - 1
        assert not inputs.mask_T[ends].any()
        inner = inputs.mask_T.nonzero().squeeze(1)
        assert (inputs.targets_T[inner] == inputs.tokens_T[inner + 1]).all()
        assert len(inner) == batch.n_targets() > 0
    assert len(seen) >= n and sorted(seen[:n]) == list(range(n))


@pytest.mark.parametrize("ramp", [{}, {"first_batch_rows": 4, "batch_ramp_steps": 9}])
def test_ranks_share_the_batch_and_any_step_is_reached(paths, ramp):
    config = Train(
        batch_rows=8, seed=1, steps=20, first_sequence_length=8, length_ramp_steps=7, **ramp
    )
    one = [batch for [batch] in itertools.islice(Loader(paths, config), 12)]
    assert (len(one[0].rows) == 8) == (not ramp)
    small = dataclasses.replace(config, micro_rows=2)
    for world, settings_ in ((2, config), (4, config), (2, small)):
        ranks = [Loader(paths, settings_, r, world, start_step=5) for r in range(world)]
        for step, parts in enumerate(itertools.islice(zip(*ranks, strict=True), 7), start=5):
            parts = [batch for rank in parts for batch in rank]
            for field in ("tokens_T", "rows", "empty_D"):
                together = torch.cat([getattr(p, field) for p in parts])
                assert torch.equal(together, getattr(one[step], field))
            lengths = torch.cat([p.cu_seqlens.diff() for p in parts])
            assert torch.equal(lengths, one[step].cu_seqlens.diff())


def test_the_thread_ends_with_its_iterator(paths):
    stream = iter(Loader(paths, FOUR))
    next(stream)
    assert any(t.name == "loader" for t in threading.enumerate())
    stream.close()
    assert not any(t.name == "loader" for t in threading.enumerate())


def test_an_error_in_the_thread_reaches_the_reader(paths):
    loader = Loader(paths, FOUR)
    loader.start_step = -9  # positions below zero
    with pytest.raises((OverflowError, ValueError, IndexError)):
        next(iter(loader))


def test_mistakes_are_named(paths, tmp_path):
    with pytest.raises(ValueError, match="packed with tokenizer d1, not d2; pack it again"):
        Loader(paths, FOUR, tokenizer="d2")
    with pytest.raises(ValueError, match="batch_rows: 3 is not a multiple of 2 ranks"):
        Loader(paths, Train(batch_rows=3), world=2)
    with pytest.raises(ValueError, match="no such file"):
        PackedRows([str(tmp_path / "absent.arrow")])
    with pytest.raises(ValueError, match=r"no \.arrow files; pack first"):
        packed_files(str(tmp_path))
    whole = Path(paths[0]).read_bytes()
    for name, data in {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello" * 9}.items():
        path = tmp_path / f"{name}.arrow"
        path.write_bytes(data)
        with pytest.raises(ValueError, match="truncated or not a packed file"):
            PackedRows([str(path)])
    foreign = tmp_path / "foreign.arrow"
    with pa.ipc.new_file(foreign, pa.schema([("x", pa.int32())])):
        pass
    with pytest.raises(ValueError, match="not packed rows"):
        PackedRows([str(foreign)])
    other = str(tmp_path / "other.arrow")
    write_packed(other, [("a", "s", np.arange(20))], 16, vocab_size=90, tokenizer_digest="d2")
    with pytest.raises(ValueError, match="tokenizer is d2, but d1 in"):
        PackedRows([*paths, other])
    none = str(tmp_path / "none.arrow")
    write_packed(none, [], 16, vocab_size=90, tokenizer_digest="d2")
    with pytest.raises(ValueError, match="no rows"):
        PackedRows([none])
    rows = PackedRows(paths)
    rows.vocab_size = 3  # as a file would say that was changed
    with pytest.raises(ValueError, match="is outside their vocabulary of 3; pack them again"):
        rows.read(np.arange(4))
