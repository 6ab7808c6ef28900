"""Model: documents are independent, the loss is the definition's, counts and presets are right."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from train import model as model_module
from train.config import PRESETS, Model, Train, parameter_count, training_flops
from train.model import Transformer, cross_entropy_sum, rotary_angles, rotate
from train.optimizer import make_optimizer
from train.schedule import learning_rate

torch.set_num_threads(2)
SMALL = Model(dim=16, n_layers=2, n_heads=4, n_kv_heads=2, hidden=24, vocab_size=64)


def run(model, lengths, tokens):
    cu_seqlens = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    positions = torch.cat([torch.arange(n) for n in lengths])
    return model(torch.tensor(tokens), positions, cu_seqlens)


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "tied_embeddings": True}])
def test_a_document_is_computed_as_if_it_were_alone(options):
    model = Transformer(replace(SMALL, **options), seed=1).double()
    together = run(model, [3, 5], [1, 2, 3, 9, 8, 7, 6, 5])
    apart = torch.cat([run(model, [3], [1, 2, 3]), run(model, [5], [9, 8, 7, 6, 5])])
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=1e-6)
    joined = run(model, [8], [1, 2, 3, 9, 8, 7, 6, 5])
    assert (joined[:3] - together[:3]).abs().max() < 1e-6
    assert (joined[3:] - together[3:]).abs().min(dim=-1).values.max() > 1e-6


def test_order_matters_through_the_rotation_and_only_distances_do():
    q, k = torch.randn(2, 1, 1, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    products = []
    for here, there in [(5, 3), (105, 103), (5, 4)]:
        left = rotate(q, rotary_angles(torch.tensor([here]), 8, 10000.0))
        right = rotate(k, rotary_angles(torch.tensor([there]), 8, 10000.0))
        products.append((left * right).sum().item())
    assert products[0] == pytest.approx(products[1], abs=1e-4)
    assert abs(products[0] - products[2]) > 1e-3


@pytest.mark.parametrize("n", [1, 7, 8, 9])
def test_chunked_cross_entropy_is_cross_entropy(n, monkeypatch):
    monkeypatch.setattr(model_module, "CHUNK_TOKENS", 4)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(n, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (n,), generator=generator)
    expected = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    found = cross_entropy_sum(hidden, weight, targets)
    torch.testing.assert_close(found, expected)
    for a, b in zip(
        torch.autograd.grad(found * 3, (hidden, weight)),
        torch.autograd.grad(expected * 3, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy_sum(hidden, weight, targets), expected.detach())


def test_no_targets_give_no_loss():
    weight = torch.zeros(11, 6, requires_grad=True)
    loss = cross_entropy_sum(torch.zeros(0, 6), weight, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and not weight.grad.any()


def test_the_first_loss_is_that_of_guessing():
    model = Transformer(SMALL)
    tokens = torch.arange(40) % 64
    loss = model.loss_sum(
        tokens,
        tokens.roll(-1),
        torch.ones(40, dtype=torch.bool),
        torch.arange(40),
        torch.tensor([0, 40], dtype=torch.int32),
    )
    assert loss.item() / 40 == pytest.approx(torch.tensor(64.0).log().item(), abs=0.05)


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"tied_embeddings": True}])
def test_parameters_are_counted(options):
    config = replace(SMALL, **options)
    model = Transformer(config)
    assert parameter_count(config) == sum(p.numel() for p in model.parameters())
    tables = {model.embedding.weight, model.output.weight}
    assert parameter_count(config, embeddings=False) == parameter_count(config) - sum(
        t.numel() for t in tables
    )


def test_the_presets_have_the_sizes_they_say():
    billions = {name: parameter_count(config) / 1e9 for name, config in PRESETS.items()}
    # Touvron et al. 2023, table 2
    assert billions["llama_7b"] == pytest.approx(6.7, abs=0.05)
    assert billions["llama_13b"] == pytest.approx(13.0, abs=0.05)
    assert billions["llama_33b"] == pytest.approx(32.5, abs=0.05)
    assert billions["llama_65b"] == pytest.approx(65.2, abs=0.1)
    for name, expected in {"1.3b": 1.3, "350m": 0.35, "125m": 0.125, "60m": 0.075}.items():
        assert billions[name] == pytest.approx(expected, rel=0.15), name
    assert 0.5e6 < parameter_count(PRESETS["tiny"], embeddings=False) < 1e6


def test_flops_by_hand():
    config = Model(dim=4, n_layers=1, n_heads=2, n_kv_heads=1, hidden=8, vocab_size=10)
    weights = 4 * 4 * 2 + 4 * 2 * 2 + 3 * 4 * 8 + 8 + 4 + 40  # q, out; k, v; mlp; norms; output
    assert training_flops(config, n_tokens=3, pairs=6) == 6 * weights * 3 + 12 * 4 * 6


def test_weights_depend_on_the_seed_only():
    one, same, other = Transformer(SMALL, 1), Transformer(SMALL, 1), Transformer(SMALL, 2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    assert one.embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert one.blocks[0].mlp_out.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_decay_is_on_matrices_only():
    groups = make_optimizer(Transformer(SMALL), Train()).param_groups
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    assert {p.dim() for p in groups[0]["params"]} == {2}
    assert {p.dim() for p in groups[1]["params"]} == {1}


def test_the_schedule_warms_up_and_falls_to_a_tenth():
    config = Train(steps=20, warmup_steps=4, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[11] == pytest.approx(0.55) and rates[19] == pytest.approx(0.1)
    assert learning_rate(0, Train(steps=1, warmup_steps=0, learning_rate=1.0)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "huge"}, "no such preset 'huge'; there are tiny"),
        ({"steps": 0}, "steps: 0 is below 1"),
        ({"steps": 5}, r"warmup_steps: 10 is not within 0..steps \(5\)"),
        ({"micro_rows": 3}, r"micro_rows: 3 does not divide batch_rows \(4\)"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 is not above 0"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        Train(**wrong)


@pytest.mark.parametrize("wrong", [{"dim": 20}, {"n_kv_heads": 3}])
def test_wrong_shapes(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SMALL, **wrong)
