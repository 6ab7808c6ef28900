"""Mixture: nested, deterministic, even; budgets and weights that cannot be met are errors."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.mixture import (
    BUCKETS,
    Mixture,
    Split,
    bucket_histogram,
    choose_documents,
    plan_mixture,
)
from pipeline.mixture_groups import groups_of, validation_buckets, validation_limits
from pipeline.mixture_tasks import held_out, in_cluster

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
        assert abs(plan.tokens - plan.wanted) < 200  # half a bucket's documents at most
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
    with pytest.raises(
        ValueError, match=r"weights\.wbe: no such source or group; there are books, web"
    ):
        plan_mixture(histograms(), mixture(10, weights={"wbe": 1.0}))
    with pytest.raises(
        ValueError, match=r"max_epochs is 4; use \d+ or less, a smaller weight for books"
    ) as error:
        plan_mixture(histograms(), mixture(10_000_000))
    most = int(str(error.value).split("; use ")[1].split(" ")[0])
    plans = plan_mixture(histograms(), mixture(most))
    assert plans["books"].epochs == pytest.approx(4, abs=1e-3)
    with pytest.raises(ValueError, match="max_epochs"):
        plan_mixture(histograms(), mixture(most + 10))
    none = {**histograms(), "books": np.zeros(BUCKETS, np.int64)}
    with pytest.raises(ValueError, match=r"weights\.books: the source has no tokens"):
        plan_mixture(none, mixture(10))


def test_what_is_short_goes_to_the_others_when_asked():
    total = {name: int(lengths.sum()) for name, (_, lengths) in SOURCES.items()}
    config = mixture(300_000, max_epochs=1.0, when_short="redistribute")
    plans = plan_mixture(histograms(), config)
    assert plans["books"].wanted == total["books"] < 75_000  # all there is, once
    assert plans["web"].wanted == 300_000 - total["books"]
    assert plans["books"].weight == 0.25  # as it was asked for
    with pytest.raises(ValueError, match="all groups together give"):
        plan_mixture(histograms(), mixture(10**7, max_epochs=1.0, when_short="redistribute"))
    one = plan_mixture(histograms(), mixture(300_000, epochs={"books": 9.0}, max_epochs=1.0))
    assert one["books"].epochs > 2


def test_unimax_and_temperature():
    total = {name: int(lengths.sum()) for name, (_, lengths) in SOURCES.items()}
    config = Mixture(scheme="unimax", tokens=200_000, max_epochs=1.0, seed=SEED)
    plans = plan_mixture(histograms(), config)
    assert plans["books"].wanted == total["books"] < 100_000
    assert plans["web"].wanted == 200_000 - total["books"]
    even = plan_mixture(histograms(), Mixture(scheme="unimax", tokens=40_000, seed=SEED))
    assert {plan.wanted for plan in even.values()} == {20_000}
    with pytest.raises(ValueError, match="all groups together give"):
        plan_mixture(histograms(), Mixture(scheme="unimax", tokens=10**8))
    hot = Mixture(scheme="temperature", temperature=2.0, tokens=40_000, seed=SEED)
    plans = plan_mixture(histograms(), hot)
    ratio = plans["web"].wanted / plans["books"].wanted
    assert ratio == pytest.approx((total["web"] / total["books"]) ** 0.5, rel=1e-3)
    with pytest.raises(ValueError, match="weights: not with scheme = 'unimax'"):
        Mixture(scheme="unimax", weights={"web": 1.0})


def test_groups_of_a_split_source():
    table = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "url": ["https://x.org/1", "http://u@y.net:80/", None, "ftp://z/"],
            "language.label": ["en", None, "de", "en"],
            "quality.score": pa.array([0.1, 0.5, 0.9, None], pa.float32()),
            "meta": pa.array(
                [[("k", "v")], [], None, [("k", "w")]], pa.map_(pa.string(), pa.string())
            ),
        }
    )

    def groups(**split) -> list[str]:
        return groups_of("web", table, Split(**split)).to_pylist()

    assert groups_of("web", table, None).to_pylist() == ["web"] * 4
    assert groups(column="language.label") == ["web/en", "web/none", "web/de", "web/en"]
    assert groups(column="quality.score", edges=(0.5, 0.8)) == [
        "web/0",
        "web/1",
        "web/2",
        "web/none",
    ]
    assert groups(column="host") == ["web/x.org", "web/y.net", "web/none", "web/z"]
    assert groups(column="meta.k") == ["web/v", "web/none", "web/none", "web/w"]
    with pytest.raises(ValueError, match=r"mixture\.split\.web\.column: the documents have no 'x'"):
        groups(column="x")
    with pytest.raises(ValueError, match="edges"):
        Split(column="x", edges=(2.0, 1.0))
    with pytest.raises(ValueError, match="repeat: 2 numbers for 3 groups"):
        Split(column="x", edges=(1.0, 2.0), repeat=(1.0, 2.0))


def test_a_split_sources_weight_is_divided_by_size_or_by_repeat():
    ids, lengths = SOURCES["web"]
    halves = {"web/0": slice(0, 2000), "web/1": slice(2000, 4000)}
    found = {
        name: bucket_histogram(ids[half], lengths[half], SEED) for name, half in halves.items()
    }
    found["books"] = histograms()["books"]
    split = {"web": Split(column="quality.score", edges=(0.5,))}
    plans = plan_mixture(found, mixture(40_000, split=split))
    sizes = {name: found[name].sum() for name in halves}
    assert plans["web/0"].wanted == round(30_000 * sizes["web/0"] / sum(sizes.values()))
    split = {"web": Split(column="quality.score", edges=(0.5,), repeat=(1.0, 3.0))}
    plans = plan_mixture(found, mixture(40_000, split=split))
    ratio = plans["web/1"].epochs / plans["web/0"].epochs
    assert ratio == pytest.approx(3, rel=1e-3)
    assert plans["web/0"].wanted + plans["web/1"].wanted == 30_000


def test_held_out_documents_come_by_clusters_and_of_the_stated_size():
    ids, lengths = SOURCES["web"]
    clusters = pa.array([f"c{i // 5}" for i in range(len(ids))])
    bucket = validation_buckets(clusters, SEED)
    histogram = np.zeros(BUCKETS, np.int64)
    np.add.at(histogram, bucket, lengths)
    both = np.stack([np.zeros(BUCKETS, np.int64), histogram])
    limit = validation_limits({"web": both}, 20_000)["web"]
    held = bucket < limit
    assert abs(lengths[held].sum() - 20_000) < 1000
    by_cluster = held.reshape(-1, 5)
    assert (by_cluster.all(1) == by_cluster.any(1)).all() and 0 < held.sum() < len(ids)
    with pytest.raises(ValueError, match="more than half of web"):
        validation_limits({"web": both}, int(lengths.sum()))
    assert validation_limits({"web": both}, 1)["web"] > 0


def test_a_cluster_in_two_sources_is_held_out_as_a_whole():
    """Most of books and little of web. In each, every third document is of a cluster, and every
    other cluster is in both."""
    tables, lengths, histograms = {}, {}, {}
    for source, (ids, n) in SOURCES.items():
        names = [None if i % 3 else f"{'' if i % 6 else source}{i}" for i in range(len(ids))]
        tables[source] = pa.table({"id": ids, "dedup.cluster": pa.array(names, pa.string())})
        lengths[source] = n
        bucket = validation_buckets(pc.coalesce(tables[source]["dedup.cluster"], ids), SEED)
        histograms[source] = np.zeros((2, BUCKETS), np.int64)
        np.add.at(histograms[source], (in_cluster(tables[source]).astype(int), bucket), n)
    wanted = int(lengths["books"].sum()) // 3
    limits = validation_limits(histograms, wanted)
    assert limits["books"] > 5 * limits["web"] > 0
    fate: dict[str, set[bool]] = {}
    for source, table in tables.items():
        held = held_out(table, source, SEED, limits)
        assert abs(lengths[source][held].sum() - wanted) < 200
        for name, is_held in zip(table["dedup.cluster"].to_pylist(), held.tolist(), strict=True):
            if name:
                fate.setdefault(name, set()).add(is_held)
    assert {len(found) for found in fate.values()} == {1}
    assert 20 < sum(found == {True} for found in fate.values()) < len(fate) / 2
    without = tables["web"].drop_columns("dedup.cluster")
    assert held_out(without, "web", SEED, limits).sum() > 0
    assert not held_out(without, "web", SEED, {}).any()
    none = np.zeros(BUCKETS, np.int64)
    clusters = {"web": histograms["web"], "books": np.stack([none, histograms["books"].sum(0)])}
    with pytest.raises(ValueError, match="more than books has outside of duplicate clusters"):
        validation_limits(clusters, wanted)
