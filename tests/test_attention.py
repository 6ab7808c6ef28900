"""Attention: every implementation against the definition; no token sees another document."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.attention import attention

torch.set_num_threads(2)


def slow_attention(q, k, v, bounds):
    """The definition, token by token."""
    _, H, D = q.shape
    group = H // k.shape[1]
    out = torch.zeros_like(q)
    for start, end in itertools.pairwise(bounds):
        for t in range(start, end):
            for h in range(H):
                keys, values = k[start : t + 1, h // group], v[start : t + 1, h // group]
                out[t, h] = (keys @ q[t, h] / math.sqrt(D)).softmax(0) @ values
    return out


def inputs(lengths, heads=4, kv_heads=2, dim=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    T = sum(lengths)
    shapes = [(T, heads, dim), (T, kv_heads, dim), (T, kv_heads, dim)]
    q, k, v = (
        torch.randn(s, generator=generator, dtype=dtype).requires_grad_(True) for s in shapes
    )
    bounds = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    return q, k, v, torch.tensor(bounds, dtype=torch.int32)


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.sampled_from([(4, 4), (4, 2), (3, 1)]),
    st.sampled_from([2, 8]),
)
def test_it_is_what_it_is_defined_to_be(impl, lengths, heads, dim):
    q, k, v, cu_seqlens = inputs(lengths, *heads, dim)
    expected = slow_attention(q, k, v, cu_seqlens.tolist())
    found = attention(q, k, v, cu_seqlens, impl)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=q.dtype)
    for a, b in zip(
        torch.autograd.grad((found * weight).sum(), (q, k, v)),
        torch.autograd.grad((expected * weight).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_window_and_prefix_in_the_reference():
    """Which values reach token 4 of a document of 6, by the gradient."""
    q, k, v, cu_seqlens = inputs([2, 6])

    def seen(**options):
        out = attention(q, k, v, cu_seqlens, **options)
        return (torch.autograd.grad(out[4].sum(), v)[0].abs().sum((1, 2)) > 0).tolist()

    assert seen() == [False, False, True, True, True, False, False, False]
    assert seen(window=2) == [False, False, False, True, True, False, False, False]
    prefix = torch.tensor([1, 4], dtype=torch.int32)
    assert seen(prefix=prefix) == [False, False, True, True, True, True, False, False]


@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_other_documents_and_the_future_have_no_influence(impl):
    q, k, v, cu_seqlens = inputs([3, 4, 2])
    gradient = torch.autograd.grad(attention(q, k, v, cu_seqlens, impl)[4].sum(), v)[0]
    influences = gradient.abs().sum((1, 2)) > 0
    assert influences.tolist() == [False, False, False, True, True, False, False, False, False]


def test_float32_agrees_between_implementations():
    q, k, v, cu_seqlens = inputs([200, 1, 63, 64, 65], 4, 2, 64, torch.float32)
    one, two = (attention(q, k, v, cu_seqlens, impl) for impl in ("reference", "sdpa"))
    assert (one - two).norm() / one.norm() < 1e-5


@pytest.mark.parametrize(
    ("cu_seqlens", "message"),
    [
        ([0, 3, 5], "from 0 to 5; want from 0 to T = 6"),
        ([1, 6], "from 1 to 6"),
        ([0, 4, 4, 6], r"cu_seqlens\[2\]: 4 is not above 4"),
        ([0, 5, 3, 6], r"cu_seqlens\[2\]: 3 is not above 5"),
        ([0], "want int32"),
    ],
)
def test_wrong_cu_seqlens(cu_seqlens, message):
    q, k, v, _ = inputs([6])
    with pytest.raises(ValueError, match=message):
        attention(q, k, v, torch.tensor(cu_seqlens, dtype=torch.int32))


def test_wrong_shapes_types_and_implementations():
    q, k, v, cu_seqlens = inputs([6])
    with pytest.raises(ValueError, match=r"no implementation 'fast'; use one of \('reference'"):
        attention(q, k, v, cu_seqlens, "fast")
    for impl in ("flex", "varlen"):
        with pytest.raises(ValueError, match=f"{impl} needs a CUDA device"):
            attention(q, k, v, cu_seqlens, impl)
    with pytest.raises(ValueError, match="sdpa knows no window and no prefix"):
        attention(q, k, v, cu_seqlens, "sdpa", window=2)
    with pytest.raises(ValueError, match=r"prefix\[0\] is 7, not within 0..6"):
        attention(q, k, v, cu_seqlens, prefix=torch.tensor([7], dtype=torch.int32))
    with pytest.raises(ValueError, match="a window and a prefix"):
        prefix = torch.tensor([1], dtype=torch.int32)
        attention(q, k, v, cu_seqlens, window=2, prefix=prefix)
    with pytest.raises(ValueError, match="want int32"):
        attention(q, k, v, cu_seqlens.long())
    with pytest.raises(ValueError, match="H % G == 0"):
        attention(q[:, :3], k, v, cu_seqlens)
    with pytest.raises(ValueError, match="H % G == 0"):
        attention(q, k, v[:, :, :4], cu_seqlens)
