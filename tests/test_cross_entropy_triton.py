"""The cross-entropy kernel, in Triton's interpreter where there is no GPU, against float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

triton = pytest.importorskip("triton")

from train import cross_entropy_triton as module  # noqa: E402
from train.cross_entropy import cross_entropy, torch_rows  # noqa: E402
from train.cross_entropy_triton import triton_rows  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LIMIT = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def compare(n, V, dtype, z_loss=0.0, size=3.0, targets=None, mask=None):
    generator = torch.Generator().manual_seed(n * V)
    logits = (torch.randn(n, V, generator=generator) * size).to(DEVICE, dtype)
    drawn = torch.randint(0, V, (n,), generator=generator)
    targets = (drawn if targets is None else torch.tensor(targets)).to(DEVICE)
    mask = (drawn % 3 != 1 if mask is None else torch.tensor(mask)).to(DEVICE)
    expected = torch_rows(logits.double(), targets, mask, z_loss, True)
    quiet = triton_rows(logits, targets, mask, z_loss, False)
    assert torch.equal(quiet.grad_nV, logits)  # as they were
    found = triton_rows(logits, targets, mask, z_loss, True)
    assert found.grad_nV is logits
    assert torch.equal(found.nll_n, quiet.nll_n) and torch.equal(found.loss_n, quiet.loss_n)
    for name, a, b in zip(found._fields, found, expected, strict=True):
        assert a.dtype == (dtype if name == "grad_nV" else torch.float32)
        # a row of one piece has no loss; what is left of rounding has no relative error
        error = (a.double() - b).norm() / b.norm().clamp(min=0.1)
        assert error < (LIMIT[dtype] if name == "grad_nV" else 1e-5), (name, float(error))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.sampled_from([1, 2, 31, 64, 100, 1000, 4095, 4096, 4097]),
    st.sampled_from(list(LIMIT)),
    st.sampled_from([0.0, 1e-4, 0.1]),
    st.sampled_from([0.02, 3.0, 100.0]),
)
def test_rows_of_any_width(n, V, dtype, z_loss, size):
    compare(n, V, dtype, z_loss, size)


def test_several_blocks_and_more_pieces_than_16_bits():
    for dtype in LIMIT:
        compare(2, 70001, dtype, 1e-4, targets=[70000, 65536])


def test_the_first_and_the_last_piece(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    for V in (15, 16, 17, 32, 50):
        compare(4, V, torch.float32, 0.1, targets=[0, V - 1, V // 2, 0])


def test_large_logits():
    for dtype in LIMIT:
        compare(3, 333, dtype, size=1e4)


def test_nothing_to_learn_from():
    compare(3, 100, torch.bfloat16, 0.1, mask=[False] * 3)


@pytest.mark.filterwarnings("ignore:invalid value")  # NumPy's, in the interpreter
def test_what_is_no_number_and_what_is_no_piece_show():
    logits = torch.zeros(4, 40, device=DEVICE)
    logits[1, 30], logits[2, 30] = float("nan"), float("inf")
    targets = torch.tensor([5, 5, 5, 40], device=DEVICE)
    mask = torch.ones(4, dtype=torch.bool, device=DEVICE)
    nll = triton_rows(logits, targets, mask, 0.0, True).nll_n
    assert nll.isfinite().tolist() == [True, False, False, False]


@pytest.mark.parametrize("dtype", list(LIMIT))
def test_the_whole_loss_and_its_scaled_gradients(dtype):
    """As PyTorch's on the same inputs; a loss scale comes in with the gradient of the total."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 16, generator=generator).to(DEVICE, dtype).requires_grad_(True)
    weight = torch.randn(40, 16, generator=generator).to(DEVICE).requires_grad_(True)
    targets = torch.randint(0, 40, (300,), generator=generator).to(DEVICE)
    mask = torch.arange(300, device=DEVICE) % 7 != 0
    results = []
    for impl in ("triton", "torch"):
        total, nll_T = cross_entropy(hidden, weight, targets, mask, 1e-3, impl)
        scaled = torch.autograd.grad(total * 128, (hidden, weight))
        assert scaled[0].dtype == dtype and scaled[1].dtype == torch.float32
        results.append((total, nll_T, *scaled))
    for a, b in zip(*results, strict=True):
        assert (a.double() - b.double()).norm() / b.double().norm() < LIMIT[dtype]


def test_what_it_cannot_do():
    rows = torch.zeros(2, 8, dtype=torch.float64, device=DEVICE)
    wanted = torch.zeros(2, dtype=torch.int64, device=DEVICE)
    with pytest.raises(ValueError, match=r"float64; the kernel takes bf16, fp16 and fp32"):
        triton_rows(rows, wanted, wanted > 0, 0.0, True)
