"""The loss in chunks against its definition, in float64."""

import pytest
import torch
import torch.nn.functional as F

from train import cross_entropy as module
from train.cross_entropy import chunk_tokens, cross_entropy

torch.set_num_threads(2)


def example(n, V, C=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n + V)
    hidden = torch.randn(n, C, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, C, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, V, (n,), generator=generator)
    return hidden, weight, targets, torch.arange(n) % 3 != 1


def definition(hidden, weight, targets, mask, z_loss):
    logits = hidden @ weight.T
    nll = F.cross_entropy(logits, targets, reduction="none") * mask
    return nll.sum() + z_loss * (logits.logsumexp(-1) ** 2 * mask).sum(), nll


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("n", [1, 127, 128, 129])
def test_chunked_cross_entropy_is_cross_entropy(n, z_loss, monkeypatch):
    monkeypatch.setitem(module.CHUNK_BYTES, "torch", 1)
    assert chunk_tokens(11, 8, "torch") == 128
    hidden, weight, targets, mask = example(n, 11)
    expected, nll = definition(hidden, weight, targets, mask, z_loss)
    found = cross_entropy(hidden, weight, targets, mask, z_loss)
    torch.testing.assert_close(found.total, expected)
    torch.testing.assert_close(found.nll_T, nll)
    for a, b in zip(
        torch.autograd.grad(found.total * 3, (hidden, weight)),
        torch.autograd.grad(expected * 3, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_no_targets_give_no_loss():
    weight = torch.zeros(11, 6, requires_grad=True)
    targets, mask = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.bool)
    for n in (0, 3):
        loss, _ = cross_entropy(torch.zeros(n, 6), weight, targets[:n], mask[:n])
        loss.backward()
        assert loss.item() == 0 and not weight.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_without_gradients_the_loss_is_the_same_and_inputs_stay(dtype):
    hidden, weight, targets, mask = example(5, 11, dtype=dtype)
    kept = hidden.detach().clone(), weight.detach().clone()
    with torch.no_grad():
        quiet = cross_entropy(hidden, weight, targets, mask, 0.1)
    found = cross_entropy(hidden, weight, targets, mask, 0.1)
    assert torch.equal(found.total, quiet.total) and torch.equal(found.nll_T, quiet.nll_T)
    assert found.total.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert not quiet.total.requires_grad and not found.nll_T.requires_grad
    assert torch.equal(hidden, kept[0]) and torch.equal(weight, kept[1])


def test_a_chunk_s_logits_fit_their_bytes():
    assert chunk_tokens(32000, 2, "triton") == 4096
    assert chunk_tokens(128256, 2, "triton") == 1024
    assert chunk_tokens(8192, 4, "torch") == 512
    assert chunk_tokens(10**7, 4, "torch") == 128  # and no fewer
