"""Model: documents are independent, counts and presets are right."""

from dataclasses import replace

import pytest
import torch

from train.config import Model, Train, parameter_count, training_flops
from train.model import Transformer, rotary_angles, rotate
from train.optimizer import make_optimizers
from train.schedule import learning_rate

torch.set_num_threads(2)
SMALL = Model(dim=16, n_layers=2, n_heads=4, n_kv_heads=2, hidden=24, vocab_size=64)


def run(model, lengths, tokens):
    cu_seqlens = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    positions = torch.cat([torch.arange(n) for n in lengths])
    return model.hidden(torch.tensor(tokens), positions, cu_seqlens)


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


def gradients(**options):
    model = Transformer(SMALL, 1, **options)
    tokens = torch.arange(12) * 5 % 64
    bounds, every = torch.tensor([0, 12], dtype=torch.int32), torch.ones(12, dtype=torch.bool)
    model(tokens, tokens.roll(-1), every, torch.arange(12), bounds).total.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_recomputed_blocks_give_the_same_gradients_and_shrinking_scales_the_embedding_s():
    plain, recomputed = gradients(), gradients(recompute=True)
    shrunk = gradients(embedding_gradient=0.1)
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)
    torch.testing.assert_close(shrunk.pop("embedding.weight"), plain["embedding.weight"] * 0.1)
    assert plain["embedding.weight"].abs().max() > 0
    for name, found in shrunk.items():
        torch.testing.assert_close(found, plain[name], rtol=1e-4, atol=1e-6)


def test_the_first_loss_is_that_of_guessing():
    model = Transformer(SMALL)
    tokens = torch.arange(40) % 64
    loss, _ = model(
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
    [optimizer] = make_optimizers(Transformer(SMALL), Train())
    groups = optimizer.param_groups
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


def test_warm_up_stable_decay():
    config = Train(steps=20, warmup_steps=4, learning_rate=1.0, schedule="wsd", decay_fraction=0.25)
    rates = [learning_rate(step, config) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and set(rates[3:15]) == {1.0}
    assert rates[15:] == pytest.approx([0.82, 0.64, 0.46, 0.28, 0.1])


@pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
def test_optimizers_take_each_weight_once_and_lower_the_loss(name):
    model = Transformer(SMALL, 1)
    rate = 0.1 if name == "adafactor" else 0.01  # it is relative to the size of the weights
    optimizers = make_optimizers(model, Train(optimizer=name, learning_rate=rate))
    held = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert len(held) == len(list(model.parameters()))
    tokens = torch.arange(12) * 5 % 64
    bounds, every = torch.tensor([0, 12], dtype=torch.int32), torch.ones(12, dtype=torch.bool)
    losses = []
    for _ in range(8):
        loss = model(tokens, tokens.roll(-1), every, torch.arange(12), bounds).total
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"preset": "huge"}, "no such preset 'huge'; there are tiny"),
        ({"steps": 0}, "steps: 0 is below 1"),
        ({"steps": 5}, r"warmup_steps: 10 is not within 0..steps \(5\)"),
        ({"micro_rows": 3}, r"micro_rows: 3 does not divide batch_rows \(4\)"),
        ({"z_loss": -1.0}, r"z_loss: -1.0 is not within"),
        ({"zero_stage": 4}, r"zero_stage: 4 is not within 1\.\.3"),
        ({"spike_window": 1}, "spike_window: 1 is below 4"),
        ({"parallel": "fsdp", "optimizer": "adafactor"}, "optimizer: adafactor's row and column"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 is not above 0"),
        ({"clip_norm": 0}, "clip_norm: 0 is not above 0"),
        ({"beta2": 1.5}, r"beta2: 1.5 is not within 0\.0\.\.1\.0"),
        ({"weight_decay": -0.1}, "weight_decay: -0.1 is below 0"),
        ({"steps": "10"}, "steps: '10' is no int"),
        ({"steps": True}, "steps: True is no int"),
        ({"micro_rows": 1.5}, "micro_rows: 1.5 is no int"),
        ({"learning_rate": "1e-3"}, "learning_rate: '1e-3' is no float"),
        ({"device": "gpu"}, "device: 'gpu' is none of cpu, cuda"),
        ({"optimizer": "sgd"}, "optimizer: 'sgd' is none of adamw, adafactor, muon"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        Train(**wrong)


def test_a_whole_number_is_a_number_and_none_is_where_it_may_be():
    config = Train(learning_rate=1, threads=None, micro_rows=2)
    assert (config.learning_rate, config.threads, config.micro_rows) == (1, None, 2)


@pytest.mark.parametrize("wrong", [{"dim": 20}, {"n_kv_heads": 3}])
def test_wrong_shapes(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SMALL, **wrong)
