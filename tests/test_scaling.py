import math

import numpy as np
import pytest
import torch

from train import scaling
from train.scaling import (
    BESIROGLU,
    CHINCHILLA,
    CHINCHILLA_UNROUNDED,
    Law,
    compute_optimal,
    effective_tokens,
    fit_law,
    kaplan_loss,
    kaplan_optimal,
    optimum_interval,
)


def trials(law, n, noise, seed):
    """(weights, tokens, losses) over the ranges of Chinchilla's own trials."""
    generator = np.random.default_rng(seed)
    weights = 10 ** generator.uniform(7.6, 10.2, n)
    tokens = 10 ** generator.uniform(8.5, 11.5, n)
    losses = [law.loss(N, D) for N, D in zip(weights, tokens, strict=True)]
    return weights, tokens, losses * np.exp(generator.normal(0, noise, n))


def test_published_numbers():
    # Chinchilla itself, 70e9 weights on 1.4e12 tokens; Hoffmann et al. 2022 report 1.94 or so
    assert CHINCHILLA.loss(70e9, 1.4e12) == pytest.approx(1.9366, abs=1e-3)
    gopher = 5.76e23
    assert compute_optimal(CHINCHILLA_UNROUNDED, gopher).n_weights == pytest.approx(40e9, rel=0.01)
    assert compute_optimal(CHINCHILLA, gopher).n_weights == pytest.approx(32e9, rel=0.01)
    found = compute_optimal(BESIROGLU, gopher)
    assert found.n_weights == pytest.approx(72.2e9, rel=0.01)  # they trained 70e9
    assert found.n_tokens / found.n_weights == pytest.approx(18.4, rel=0.01)


def test_optimum_is_the_lowest_point_of_the_curve():
    for law in (CHINCHILLA, BESIROGLU, Law(E=0.5, A=20.0, alpha=0.5, B=3000.0, beta=0.3)):
        best = compute_optimal(law, 1e21)
        assert 6 * best.n_weights * best.n_tokens == pytest.approx(1e21)
        sizes = best.n_weights * np.logspace(-1, 1, 201)
        losses = [law.loss(N, 1e21 / (6 * N)) for N in sizes]
        assert np.argmin(losses) == 100
        assert best.loss == pytest.approx(min(losses))


def test_kaplan():
    one_day = kaplan_optimal(8.64e19)
    assert one_day.n_weights == pytest.approx(1.3e9)
    assert one_day.loss == pytest.approx(3.1e8**0.05)
    # ten times the operations, 5.4 times the weights: the paper's own summary is "5x"
    assert kaplan_optimal(8.64e20).n_weights / one_day.n_weights == pytest.approx(10**0.73)
    # both limits of equation 1.5
    assert kaplan_loss(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076)
    assert kaplan_loss(1e30, 1e10) == pytest.approx((1.8e13 / 1e10) ** 0.103, rel=1e-3)


def test_repeated_tokens():
    assert effective_tokens(100, 60) == 60
    assert effective_tokens(100, 100) == 100
    assert effective_tokens(100, 400) == pytest.approx(372.6, abs=0.1)
    assert effective_tokens(100, 1e9) == pytest.approx(1638.8, abs=0.1)
    assert effective_tokens(0, 60) == 0


def test_fit_recovers_chinchilla_within_its_intervals():
    fit = fit_law(*trials(CHINCHILLA, 245, 0.005, 7), level=0.95, seed=7)
    for name, low, truth, high in zip(Law._fields, fit.low, CHINCHILLA, fit.high, strict=True):
        assert low <= truth <= high, f"{name}: {truth} outside {low}..{high}"
        assert low <= getattr(fit.law, name) <= high
    # intervals that say something: exponents within .05, E within .1
    assert fit.high.alpha - fit.low.alpha < 0.05
    assert fit.high.beta - fit.low.beta < 0.05
    assert fit.high.E - fit.low.E < 0.1
    low, high = optimum_interval(fit, 5.76e23)
    assert low.n_weights < compute_optimal(CHINCHILLA, 5.76e23).n_weights < high.n_weights
    assert high.n_weights < 2 * low.n_weights


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Eight sets of trials, 90 % intervals of 5 constants: below 70 % would be a mistake."""
    inside = 0
    for seed in range(8):
        fit = fit_law(*trials(CHINCHILLA, 100, 0.01, seed), resamples=100, seed=seed)
        inside += sum(a <= t <= b for a, t, b in zip(fit.low, CHINCHILLA, fit.high, strict=True))
    assert 0.7 * 40 <= inside < 40


def test_without_noise_the_constants_are_exact():
    for law in (CHINCHILLA, BESIROGLU):
        fit = fit_law(*trials(law, 40, 0.0, 1), resamples=0)
        assert fit.law == pytest.approx(law, rel=1e-4)
        assert fit.low == fit.law == fit.high


def test_minimum_is_that_of_lbfgs():
    """The paper's optimiser, from nine of its own starts, finds nothing lower."""
    data = trials(CHINCHILLA, 60, 0.01, 3)
    fit = fit_law(*data, resamples=0)
    log_N, log_D, log_L = (torch.tensor(np.log(values)) for values in data)
    lowest = math.inf
    for alpha in (0.0, 0.5, 1.0):
        for e in (-1.0, 0.0, 1.0):
            theta = torch.tensor([e, 5.0, alpha, 5.0, alpha], dtype=torch.float64)
            lowest = min(lowest, _lbfgs(theta.requires_grad_(), log_N, log_D, log_L))
    assert fit.objective == pytest.approx(lowest, rel=1e-4)
    assert fit.objective <= lowest * (1 + 1e-6)


def _lbfgs(theta, log_N, log_D, log_L):
    optimizer = torch.optim.LBFGS(
        [theta],
        max_iter=400,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss():
        optimizer.zero_grad()
        e, a, alpha, b, beta = theta
        terms = torch.stack([e.expand(len(log_N)), a - alpha * log_N, b - beta * log_D])
        value = torch.nn.functional.huber_loss(
            torch.logsumexp(terms, 0), log_L, delta=scaling.HUBER_DELTA, reduction="sum"
        )
        value.backward()
        return value

    optimizer.step(loss)
    return loss().item()


def test_outliers_and_diverged_trials_do_not_move_it():
    weights, tokens, losses = trials(CHINCHILLA, 100, 0.002, 5)
    clean = fit_law(weights, tokens, losses, resamples=0).law
    spoiled = losses.copy()
    spoiled[:5] *= 1.5
    assert fit_law(weights, tokens, spoiled, resamples=0).law.alpha == pytest.approx(
        clean.alpha, abs=0.02
    )
    with_nan = [np.append(values, value) for values, value in
                zip((weights, tokens, losses), (1e9, 1e10, math.nan), strict=True)]  # fmt: skip
    assert fit_law(*with_nan, resamples=0).law == clean


def test_same_seed_same_intervals():
    data = trials(CHINCHILLA, 30, 0.01, 2)
    first = fit_law(*data, resamples=20, seed=4)
    assert fit_law(*data, resamples=20, seed=4) == first
    assert fit_law(*data, resamples=20, seed=5).low != first.low


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:, :5], "5 trials with a finite loss; five constants need 6 or more"),
        (lambda d: d * [[1], [1], [-1]], "above 0"),
        (lambda d: d * 0 + [[1e8], [1e9], [3.0]], "1 different model sizes"),
        (lambda d: np.vstack([d[0], d[1] * 0 + 1e9, d[2]]), "1 different numbers of tokens"),
        (lambda d: d * math.nan, "0 trials"),
    ],
)
def test_trials_that_cannot_carry_a_law(change, message):
    data = change(np.array(trials(CHINCHILLA, 20, 0.01, 0)))
    with pytest.raises(ValueError, match=message):
        fit_law(*data)
