"""Loader: targets stay in documents, every row once a pass, the same batches for any ranks."""

import itertools
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.loader import Loader, PackedRows, make_batch, packed_files, shuffled
from train.packing import write_packed


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("packed")
    draw = np.random.default_rng(0)
    for part in range(2):
        lengths = draw.integers(1, 40, 60)
        documents = [(f"{part}/{i}", draw.integers(3, 90, n)) for i, n in enumerate(lengths)]
        path = str(directory / f"part-{part}.arrow")
        write_packed(path, documents, 16, vocab_size=90, tokenizer_digest="d1")
    return packed_files(str(directory))


def test_a_batch_from_literal_rows():
    rows = np.array([[5, 6, 7, 8], [9, 4, 0, 0]], np.uint16)
    batch = make_batch(rows, [np.array([3, 1]), np.array([2])], np.array([7, 3]))
    assert batch.tokens_T.tolist() == [5, 6, 7, 8, 9, 4, 0, 0]
    assert batch.cu_seqlens.tolist() == [0, 3, 4, 6, 8]
    assert batch.positions_T.tolist() == [0, 1, 2, 0, 0, 1, 0, 1]
    assert batch.mask_T.tolist() == [True, True, False, False, True, False, False, False]
    assert batch.targets_T.tolist() == [6, 7, 0, 0, 4, 0, 0, 0]
    assert batch.rows.tolist() == [7, 3]
    assert (batch.cu_seqlens.dtype, batch.tokens_T.dtype) == (torch.int32, torch.int64)


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


def test_every_row_once_a_pass_with_its_tokens(paths):
    loader = Loader(paths, 4, seed=1)
    n = len(loader.rows)
    table = pa.concat_tables([pa.ipc.open_file(p).read_all() for p in paths]).to_pylist()
    seen = []
    for batch in itertools.islice(loader, -(-n // 4)):
        for i, row in enumerate(batch.rows.tolist()):
            assert batch.tokens_T[i * 16 : i * 16 + 16].tolist() == table[row]["tokens"]
            seen.append(row)
        ends = batch.cu_seqlens[1:].long() - 1
        assert not batch.mask_T[ends].any()
        inner = batch.mask_T.nonzero().squeeze(1)
        assert (batch.targets_T[inner] == batch.tokens_T[inner + 1]).all() and len(inner)
    assert len(seen) >= n and sorted(seen[:n]) == list(range(n))


def test_ranks_share_the_batch_and_any_step_is_reached(paths):
    one = list(itertools.islice(Loader(paths, 4, seed=1), 12))
    for world in (2, 4):
        ranks = [Loader(paths, 4, 1, rank=r, world=world, start_step=5) for r in range(world)]
        for step, parts in enumerate(itertools.islice(zip(*ranks, strict=True), 7), start=5):
            assert torch.equal(torch.cat([p.tokens_T for p in parts]), one[step].tokens_T)
            assert torch.equal(torch.cat([p.targets_T for p in parts]), one[step].targets_T)
            assert torch.equal(torch.cat([p.rows for p in parts]), one[step].rows)


def test_the_thread_ends_with_its_iterator(paths):
    stream = iter(Loader(paths, 4, seed=1))
    next(stream)
    assert any(t.name == "loader" for t in threading.enumerate())
    stream.close()
    assert not any(t.name == "loader" for t in threading.enumerate())


def test_an_error_in_the_thread_reaches_the_reader(paths):
    loader = Loader(paths, 4, seed=1)
    loader.batch_rows = -4  # positions below zero
    with pytest.raises((OverflowError, ValueError, IndexError)):
        next(itertools.islice(loader, 2, None))


def test_mistakes_are_named(paths, tmp_path):
    with pytest.raises(ValueError, match="packed with tokenizer d1, not d2; pack it again"):
        Loader(paths, 4, 0, tokenizer="d2")
    with pytest.raises(ValueError, match="batch_rows: 3 is not a positive multiple of 2 ranks"):
        Loader(paths, 3, 0, world=2)
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
    write_packed(other, [("a", np.arange(20))], 16, vocab_size=90, tokenizer_digest="d2")
    with pytest.raises(ValueError, match="tokenizer is d2, but d1 in"):
        PackedRows([*paths, other])
    none = str(tmp_path / "none.arrow")
    write_packed(none, [], 16, vocab_size=90, tokenizer_digest="d2")
    with pytest.raises(ValueError, match="no rows"):
        PackedRows([none])
