"""Mixture: nested, deterministic, even; budgets and weights that cannot be met are errors."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.mixture import (
    BUCKETS,
    Mixture,
    bucket_histogram,
    choose_documents,
    plan_mixture,
)

SEED = 3


def source(name: str, n: int) -> tuple[pa.Array, np.ndarray]:
    lengths = np.random.default_rng(n).integers(1, 200, n)
    return pa.array([f"{name}/shard/{i:06d}" for i in range(n)]), lengths


SOURCES = {"web": source("web", 4000), "books": source("books", 300)}


def mixture(tokens: int, **changes) -> Mixture:
    given = {"weights": {"web": 0.75, "books": 0.25}, "seed": SEED, **changes}
    return Mixture(tokens=tokens, **given)


def histograms() -> dict[str, np.ndarray]:
    return {name: bucket_histogram(ids, n, SEED) for name, (ids, n) in SOURCES.items()}


def chosen(config: Mixture) -> list[tuple[int, str, int]]:
    """(key, id, epoch) of the whole mixture in its order."""
    out = []
    for name, plan in plan_mixture(histograms(), config).items():
        ids, _ = SOURCES[name]
        for row in choose_documents(ids, plan, config.seed).to_pylist():
            out.append((row["key"], ids[row["row"]].as_py(), row["epoch"]))
    return sorted(out)


def test_the_plan_is_what_is_chosen():
    config = mixture(90_000)
    plans = plan_mixture(histograms(), config)
    checked = 0
    for name, (ids, lengths) in SOURCES.items():
        plan, table = plans[name], choose_documents(ids, plans[name], config.seed)
        tokens = int(lengths[table["row"].to_numpy()].sum())
        assert tokens == plan.tokens
        assert plan.available == lengths.sum()
        assert 0 <= plan.tokens - plan.wanted < 400  # a bucket's documents at most
        checked += len(table)
    assert checked > 300
    assert plans["web"].full_epochs == 0 and plans["web"].wanted == 67_500
    assert plans["books"].wanted == 22_500


def test_full_epochs_take_everything_and_the_last_one_a_part():
    plan = plan_mixture(histograms(), mixture(300_000))["books"]
    ids, lengths = SOURCES["books"]
    assert plan.full_epochs == 75_000 // lengths.sum() == 2
    table = choose_documents(ids, plan, SEED)
    epoch = table["epoch"].to_numpy()
    assert [(epoch == e).sum() for e in (0, 1)] == [300, 300]
    assert 0 < (epoch == 2).sum() < 300
    first = table.filter(pa.array(epoch == 0))["row"].to_pylist()
    assert first != sorted(first) and sorted(first) == list(range(300))


@pytest.mark.parametrize(("small", "large"), [(20_000, 21_000), (50_000, 300_000), (8, 400)])
def test_a_smaller_budget_is_a_prefix(small, large):
    few, many = chosen(mixture(small)), chosen(mixture(large))
    for name in SOURCES:
        mine = [(i, e) for _, i, e in few if i.startswith(name)]
        theirs = [(i, e) for _, i, e in many if i.startswith(name)]
        assert mine and mine == theirs[: len(mine)]
    taken = {(i, e) for _, i, e in few}
    both = [(i, e) for _, i, e in many if (i, e) in taken]
    assert both == [(i, e) for _, i, e in few]


def test_the_order_is_an_even_mixture():
    order = chosen(mixture(300_000))
    length = {
        i: n for ids, ns in SOURCES.values() for i, n in zip(ids.to_pylist(), ns, strict=True)
    }
    half = order[: len(order) // 2]
    books = sum(length[i] for _, i, _ in half if i.startswith("books"))
    total = sum(length[i] for _, i, _ in half)
    assert abs(books / total - 0.25) < 0.03


def test_another_source_leaves_the_order_within_the_others():
    before = [i for _, i, _ in chosen(mixture(20_000))]
    config = mixture(10_000, weights={"web": 1.0})
    after = [i for _, i, _ in chosen(config)]
    web = [i for i in before if i.startswith("web")]
    shared = min(len(web), len(after))
    assert shared > 50 and web[:shared] == after[:shared]


def test_any_split_into_parts_and_another_seed():
    ids, lengths = SOURCES["web"]
    parts = [
        bucket_histogram(ids.slice(a, 1000), lengths[a : a + 1000], SEED)
        for a in range(0, 4000, 1000)
    ]
    whole = bucket_histogram(ids, lengths, SEED)
    assert whole.shape == (BUCKETS,) and (sum(parts) == whole).all()
    plan = plan_mixture(histograms(), mixture(90_000))["web"]
    table = choose_documents(ids, plan, SEED)
    rows = set(table["row"].to_pylist())
    part = choose_documents(ids.slice(1000, 1000), plan, SEED)
    assert {r + 1000 for r in part["row"].to_pylist()} == {r for r in rows if 1000 <= r < 2000}
    assert rows != set(choose_documents(ids, plan, SEED + 1)["row"].to_pylist())
    empty = choose_documents(pa.array([], pa.string()), plan, SEED)
    assert empty.num_rows == 0 and empty.schema == table.schema


def test_weight_zero_leaves_a_source_out():
    plans = plan_mixture(histograms(), mixture(1000, weights={"web": 1.0, "books": 0.0}))
    assert list(plans) == ["web"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"web": 0.7, "books": 0.2}, "weights: they sum to 0.9, not 1"),
        ({}, "weights: none given"),
        ({"web": 1.5, "books": -0.5}, "weights.books: -0.5"),
        ({"web": float("nan"), "books": 1.0}, "weights.web: nan"),
    ],
)
def test_weights_that_do_not_sum(weights, message):
    with pytest.raises(ValueError, match=message):
        Mixture(weights=weights)


def test_unknown_sources_and_budgets_that_cannot_be_filled():
    with pytest.raises(ValueError, match=r"weights\.wbe: no such source; there are books, web"):
        plan_mixture(histograms(), mixture(10, weights={"wbe": 1.0}))
    with pytest.raises(ValueError, match=r"max_epochs is 4; use \d+ or less") as error:
        plan_mixture(histograms(), mixture(10_000_000))
    most = int(str(error.value).split("; use ")[1].split(" ")[0])
    plans = plan_mixture(histograms(), mixture(most))
    assert plans["books"].epochs == pytest.approx(4, abs=1e-3)
    with pytest.raises(ValueError, match="max_epochs"):
        plan_mixture(histograms(), mixture(most + 10))
    none = {**histograms(), "books": np.zeros(BUCKETS, np.int64)}
    with pytest.raises(ValueError, match=r"weights\.books: the source has no tokens"):
        plan_mixture(none, mixture(10))
