import numpy as np
import pytest

from train.mixture_law import (
    compare,
    cross_validate,
    fit_mixture_law,
    held_out,
    propose,
)
from train.simplex import minimise_on_simplex, project, simplex_design

KINDS = ["ridge", "exponential"]


def two_sets(w):
    """Losses on two held-out sets, which want different sources; the third source helps neither.
    Their mean is lowest at .5625, .4375, 0: on the edge w3 = 0 the derivative is
    -2 exp(.2 - 2 w1) + 1.6 exp(-1.6 (1 - w1)) = 0, so w1 = (1.8 + log 1.25) / 3.6."""
    first = 3 + np.exp(0.2 - 2 * w[:, 0])
    second = 3 + np.exp(-1.6 * w[:, 1] + 0.3 * w[:, 2])
    return np.stack([first, second], axis=1)


BEST = (1.8 + np.log(1.25)) / 3.6


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_mixture_is_found_inside(kind):
    w = simplex_design([0.5, 0.3, 0.2], 24, seed=1)
    losses = two_sets(w) + np.random.default_rng(1).normal(0, 0.01, (24, 2))
    found = propose(w, losses, kind, resamples=20)
    assert found.weights == pytest.approx([BEST, 1 - BEST, 0], abs=0.1)
    assert found.loss == pytest.approx(two_sets(np.array([[BEST, 1 - BEST, 0]])).mean(), abs=0.03)
    assert all(a <= b for a, b in zip(found.low, found.high, strict=True))
    assert found.high[0] - found.low[0] < 0.2
    assert cross_validate(w, losses, kind).r2 > 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_source_that_is_noise_gets_next_to_nothing(kind, seed):
    """Two sources, the second noise with respect to the validation text."""
    w = simplex_design([0.5, 0.5], 12, seed)
    losses = 4 + 0.8 * np.exp(-1.5 * w[:, 0])
    losses += np.random.default_rng(seed).normal(0, 0.005, 12)
    assert propose(w, losses, kind, resamples=0).weights[0] >= 0.9


def test_both_laws_side_by_side():
    w = simplex_design([0.5, 0.5], 12, 0)
    found = compare(w, 4 + 0.8 * np.exp(-1.5 * w[:, 0]), caps=[0.8, 1.0], resamples=10)
    assert list(found) == KINDS
    for quality, proposal in found.values():
        assert quality.r2 > 0.9
        assert proposal.weights[0] == pytest.approx(0.8, abs=0.1)
    assert found["exponential"][0].rmse < found["ridge"][0].rmse  # it is its own kind


def test_caps_bind():
    w = simplex_design([0.5, 0.3, 0.2], 24, seed=1)
    found = propose(w, two_sets(w), "ridge", caps=[0.3, 1.0, 1.0], resamples=0)
    assert found.weights[0] == pytest.approx(0.3)
    assert sum(found.weights) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"leave at most 0.6 of the budget"):
        propose(w, two_sets(w), "ridge", caps=[0.3, 0.2, 0.1])


def test_the_laws_recover_their_own_kind():
    w = simplex_design([0.4, 0.3, 0.3], 30, seed=0)
    t = np.array([-2.0, 0.5, -0.7])
    law = fit_mixture_law(w, 2.5 + np.exp(w @ t), "exponential")
    assert law.parameters[0]["c"] == pytest.approx(2.5, abs=1e-2)
    assert law.parameters[0]["t"] == pytest.approx(t, abs=2e-2)
    linear = w @ [1.0, 2.0, 3.0]
    straight = fit_mixture_law(w, linear, "ridge")
    assert straight.predict(w) == pytest.approx(linear, abs=1e-4)
    assert cross_validate(w, linear, "ridge").rank_correlation == pytest.approx(1)


def test_pure_noise_is_not_predicted():
    w = simplex_design([0.4, 0.3, 0.3], 30, seed=0)
    losses = np.random.default_rng(5).normal(3, 0.1, 30)
    for kind in KINDS:
        assert cross_validate(w, losses, kind).r2 < 0.3


def test_trials_of_one_mixture_share_a_fold():
    """Three seeds of each: a law that has seen the mixture would be credited for remembering it."""
    w = simplex_design([0.5, 0.5], 6, seed=3)
    losses = np.random.default_rng(0).normal(3, 1, 6)  # by mixture, which no law explains
    again = cross_validate(np.repeat(w, 3, axis=0), np.repeat(losses, 3), "ridge")
    assert again.r2 < 0.5


def test_corners_are_never_left_out():
    """What lies between is judged: a law that guesses the corners badly may know it well."""
    w = simplex_design([0.5, 0.5], 8, seed=3)
    losses = 1 + np.exp(-6 * w[:, 0])
    kept, predicted = held_out(np.repeat(w, 2, axis=0), np.repeat(losses, 2), "exponential")
    assert kept.tolist() == [0, 1, *range(6, 16)]
    assert predicted == pytest.approx(np.repeat(losses, 2)[kept], abs=1e-3)
    losses[3] = np.nan  # diverged
    assert held_out(w, losses, "ridge")[0].tolist() == [0, 4, 5, 6, 7]
    assert held_out(w[:5], losses[:5] * 0 + w[:5, 0], "ridge")[0].tolist() == [0, 1, 2, 4]


def test_design():
    design = simplex_design([0.7, 0.2, 0.1], 50, seed=4)
    assert design.shape == (50, 3)
    assert design[0].tolist() == [0.7, 0.2, 0.1]
    assert design[1:4].tolist() == np.eye(3).tolist()
    assert design.min() >= 0 and design.sum(axis=1) == pytest.approx(1)
    assert design[4:].mean(axis=0) == pytest.approx([0.7, 0.2, 0.1], abs=0.12)
    assert len(np.unique(design, axis=0)) == 50
    assert np.array_equal(design, simplex_design([0.7, 0.2, 0.1], 50, seed=4))
    assert not np.array_equal(design, simplex_design([0.7, 0.2, 0.1], 50, seed=5))


def test_projection_is_the_nearest_point():
    generator = np.random.default_rng(0)
    caps = np.array([0.5, 0.6, 0.3, 1.0])
    points = generator.normal(0.3, 0.5, (20, 4))
    found = project(points, caps)
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found >= 0).all() and (found <= caps + 1e-12).all()
    others = project(generator.dirichlet(np.ones(4), 3000), caps)
    distance = np.linalg.norm(points[:, None] - others, axis=2).min(axis=1)
    assert (np.linalg.norm(points - found, axis=1) <= distance + 1e-9).all()


def test_search_finds_the_lowest_point_of_a_grid():
    def bumpy(w):
        return np.cos(9 * w[:, 0]) + np.sin(7 * w[:, 1] + 1) + w[:, 2] ** 2

    caps = np.array([1.0, 0.8, 0.9])
    _, value = minimise_on_simplex(bumpy, caps)
    grid = np.array([[i, j, 200 - i - j] for i in range(201) for j in range(201 - i)]) / 200
    grid = grid[(grid <= caps).all(axis=1)]
    assert value <= bumpy(grid).min() + 1e-9


@pytest.mark.parametrize(
    ("weights", "losses", "message"),
    [
        ([[0.5, 0.5], [1, 0]], [3.0, 3.1], "2 different mixtures"),
        ([[0.5, 0.5], [1, 0], [0, 1]], [3.0, np.nan, 3.1], "2 different mixtures"),
        ([[0.5, 0.6], [1, 0], [0, 1]], [3.0, 3.2, 3.1], "no mixture"),
        ([[0.5, 0.5], [1, 0]], [3.0], "a row of each"),
    ],
)
def test_trials_that_carry_no_law(weights, losses, message):
    with pytest.raises(ValueError, match=message):
        fit_mixture_law(weights, losses, "ridge")


def test_resamples_that_hardly_ever_carry_a_law_end():
    weights = np.concatenate([np.eye(20), np.full((1, 20), 1 / 20)])
    with pytest.raises(ValueError, match="21 trials: resampled, they hardly ever hold the 21 diff"):
        propose(weights, np.arange(21.0), "ridge", resamples=1)


def test_designs_that_are_none():
    for base, n in (([1.0], 5), ([0.5, 0.5], 2), ([0.5, 0.6], 9), ([1.5, -0.5], 9)):
        with pytest.raises(ValueError):
            simplex_design(base, n, 0)
