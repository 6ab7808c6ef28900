import dataclasses

import pytest
import torch

from train import model
from train.attention import make_plan
from train.config import LOSS_CHUNK_BYTES, PRESETS, parameter_count
from train.footprint import (
    _block_bytes,
    activation_bytes,
    shape_of,
    state_bytes,
)


def test_zero_paper_figure_1():
    """7.5e9 weights on 64 devices: 120, 31.4, 16.6 and 1.9 GB."""
    totals = [state_bytes(7.5e9, 64, stage).total / 1e9 for stage in (0, 1, 2, 3)]
    assert totals == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.05)


def test_states_one_by_one():
    assert state_bytes(100, 4, 0) == (200, 200, 1200)
    assert state_bytes(100, 4, 2) == (200, 50, 300)
    assert state_bytes(100, 4, 3, "fp32") == (100, 100, 200)
    assert state_bytes(100, 1, 1, "autocast").total == 1800


@pytest.mark.parametrize("precision", ["fp32", "autocast"])
@pytest.mark.parametrize("preset", ["tiny", "125m"])
def test_a_block_keeps_what_the_formula_says(preset, precision):
    """tiny: grouped queries and norms of q and k; 125m: neither."""
    config, n_tokens = PRESETS[preset], 256
    block = model.Block(config, "sdpa")
    own = {weight.untyped_storage().data_ptr() for weight in block.parameters()}
    kept = {}

    def keep(tensor):
        place = tensor.untyped_storage().data_ptr()
        if place not in own and n_tokens in tensor.shape:  # copies of weights are states
            kept[place] = tensor
        return tensor

    cu_seqlens = torch.tensor([0, n_tokens], dtype=torch.int32)
    rotation = model.rotary_angles(torch.arange(n_tokens), config.head_dim, config.rope_theta)
    x_TC = torch.randn(n_tokens, config.dim, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "autocast"),
    ):
        block(x_TC, rotation, cu_seqlens, make_plan(cu_seqlens, n_tokens, "sdpa"))
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert measured == pytest.approx(n_tokens * _block_bytes(config, precision), rel=0.03)


def test_checkpointing_keeps_inputs_and_one_block():
    config = dataclasses.replace(PRESETS["llama_7b"], vocab_size=1000)
    whole = activation_bytes(config, 2048)
    less = activation_bytes(config, 2048, checkpointing=True)
    assert whole - less == pytest.approx(
        2048 * (31 * _block_bytes(config, "mixed") - 32 * 4 * 4096)
    )
    assert less < whole / 8
    assert activation_bytes(config, 4096) > 1.9 * whole


def test_logits_count_up_to_a_chunk_of_them():
    def logits(n_tokens, precision):
        wide, narrow = (dataclasses.replace(PRESETS["tiny"], vocab_size=n) for n in (32001, 1))
        kept = (activation_bytes(config, n_tokens, precision) for config in (wide, narrow))
        return next(kept) - next(kept)

    assert logits(1000, "autocast") == 2 * 1000 * 32000
    assert logits(1000, "fp32") == 4 * 1000 * 32000
    assert logits(10**6, "mixed") == LOSS_CHUNK_BYTES - 2 * 10**6


@pytest.mark.parametrize("n_weights", [1e6, 1e7, 1.25e8, 1e9, 7e9, 7e10, 1e12])
def test_shapes(n_weights):
    assert parameter_count(shape_of(n_weights, 1024)) == pytest.approx(n_weights, rel=0.25)


def test_seven_billion_is_llama():
    assert shape_of(6.74e9, 32000) == dataclasses.replace(PRESETS["llama_7b"], vocab_size=32000)


def test_mistakes():
    with pytest.raises(ValueError, match="stage: 4"):
        state_bytes(1, 1, 4)
    with pytest.raises(ValueError, match="n_devices: 0"):
        state_bytes(1, 0, 1)
