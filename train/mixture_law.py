"""Loss as a function of the mixture, fitted over trials; and the mixture that it thinks best.

Two laws, side by side, each judged by what it says of trials that it has not seen:

    ridge        loss = a + b.w (+ w'Cw), by ridge regression, as in RegMix (Liu et al. 2024, arXiv
                 2407.01492), whose boosted trees need hundreds of trials; for a dozen the penalty
                 and the degree are chosen by leave-one-out
    exponential  loss = c + k exp(t.w), the data-mixing law (Ye et al. 2024, arXiv 2403.16952,
                 equation 6): 2 constants and one a source, monotone along every line

The exponential law needs fewer trials and extrapolates, but one alone has its best mixture at a
corner; the mean of several, one for each held-out set, has it inside, as in the paper. So give the
loss on each set, [n, k], and what is predicted is their mean. Two laws on 24 trials of 3 sources
with 100 resamples take about 4 s of one core.

Shapes: n trials, d sources, k held-out sets.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from train.simplex import as_mixture, minimise_on_simplex

Kind = Literal["ridge", "exponential"]
PENALTIES = np.logspace(-6, 2, 17)
MOST_DRAWS = 10_000  # for a resample that has mixtures enough


class MixtureLaw(NamedTuple):
    """predict(weights [m, d]) -> losses [m]."""

    kind: Kind
    predict: Callable[[np.ndarray], np.ndarray]
    parameters: list[dict[str, list[float] | float]]  # of each held-out set


class Quality(NamedTuple):
    """Of predictions for trials left out of the fit."""

    rmse: float
    r2: float  # 1 - rmse^2 / variance; below 0 the mean does better
    rank_correlation: float  # Spearman's


class Proposal(NamedTuple):
    """The best mixture by a law; bounds hold a share `level` of bootstrap resamples' best ones."""

    weights: list[float]
    loss: float
    low: list[float]
    high: list[float]
    loss_low: float
    loss_high: float
    level: float


def fit_mixture_law(weights: np.ndarray, losses: np.ndarray, kind: Kind) -> MixtureLaw:
    """Of the mean over held-out sets, a law for each. Trials whose loss is no finite number are
    left out. Raises ValueError where too few are left."""
    w, y = _trials(weights, losses)
    fit = _fit_exponential if kind == "exponential" else _fit_ridge
    laws = [fit(w, column) for column in y.T]

    def predict(points: np.ndarray) -> np.ndarray:
        return np.mean([law.predict(points) for law in laws], axis=0)

    return MixtureLaw(kind, predict, [parameters for law in laws for parameters in law.parameters])


def cross_validate(
    weights: np.ndarray, losses: np.ndarray, kind: Kind, folds: int | None = None
) -> Quality:
    """Each trial predicted by a law fitted without its fold, see `held_out`."""
    kept, predicted = held_out(weights, losses, kind, folds)
    measured = np.array(losses, np.float64).reshape(len(losses), -1)[kept].mean(axis=1)
    rmse = float(np.sqrt(np.mean((predicted - measured) ** 2)))
    variance = float(measured.var())
    r2 = 1 - rmse**2 / variance if variance else 0.0
    return Quality(rmse, r2, _spearman(predicted, measured))


def held_out(
    weights: np.ndarray, losses: np.ndarray, kind: Kind, folds: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(indices of the trials, their predicted mean losses), each by a law fitted without its fold.
    Left out are neither trials that diverged nor, where 3 others are left, the mixtures with the
    most of each source: a law is never without the corners of its design, and how badly it would
    guess them says nothing of the mixtures between. Every mixture is a fold by itself up to 30 of
    them, else there are 10; trials of equal weights (seeds) share a fold."""
    w, y = _trials(weights, losses)
    finite = np.isfinite(np.array(losses, np.float64).reshape(len(losses), -1)).all(axis=1)
    mixtures, group = np.unique(w.round(9), axis=0, return_inverse=True)
    within = np.delete(np.arange(len(mixtures)), np.unique(mixtures.argmax(axis=0)))
    if len(within) < 3:
        within = np.arange(len(mixtures))
    folds = folds or (len(within) if len(within) <= 30 else 10)
    fold_of = np.full(len(mixtures), -1)
    fold_of[within] = np.arange(len(within)) % folds
    fold, predicted = fold_of[group.reshape(-1)], np.full(len(y), np.nan)
    for i in range(folds):
        out = fold == i
        if out.any():
            predicted[out] = fit_mixture_law(w[~out], y[~out], kind).predict(w[out])
    return np.flatnonzero(finite)[fold >= 0], predicted[fold >= 0]


def propose(
    weights: np.ndarray,
    losses: np.ndarray,
    kind: Kind,
    caps: Sequence[float] | None = None,
    resamples: int = 100,
    level: float = 0.9,
    seed: int = 0,
) -> Proposal:
    """The best mixture of a law fitted to the trials, no weight above its cap (max_epochs x tokens
    available / budget). Raises ValueError for caps that sum to less than 1."""
    w, y = _trials(weights, losses)
    top = np.minimum(np.ones(w.shape[1]) if caps is None else np.array(caps, np.float64), 1.0)
    if len(top) != w.shape[1]:
        raise ValueError(f"caps: {len(top)} of them for {w.shape[1]} sources")
    if top.min() < 0 or top.sum() < 1 - 1e-9:
        raise ValueError(
            f"caps: {top.round(4).tolist()} leave at most {top.sum():.3g} of the budget; use fewer "
            "tokens, or allow more epochs"
        )
    best, loss = minimise_on_simplex(fit_mixture_law(w, y, kind).predict, top)
    generator = np.random.default_rng(seed)
    drawn: list[list[float]] = []
    for _ in range(MOST_DRAWS * resamples):
        if len(drawn) == resamples:
            break
        rows = generator.integers(0, len(y), len(y))
        if len(np.unique(w[rows].round(9), axis=0)) > w.shape[1]:  # as many as the law needs
            law = fit_mixture_law(w[rows], y[rows], kind)
            mixture, at = minimise_on_simplex(law.predict, top, starts=16)
            drawn.append([*mixture, at])
    if len(drawn) < resamples:
        raise ValueError(
            f"{len(y)} trials: resampled, they hardly ever hold the {w.shape[1] + 1} different "
            "mixtures that a law needs, so nothing tells how sure it is; run more trials"
        )
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(drawn or [[*best, loss]], tails, axis=0).tolist()
    return Proposal(best.tolist(), loss, low[:-1], high[:-1], low[-1], high[-1], level)


def compare(
    weights: np.ndarray,
    losses: np.ndarray,
    caps: Sequence[float] | None = None,
    resamples: int = 100,
    seed: int = 0,
) -> dict[Kind, tuple[Quality, Proposal]]:
    """Both laws. The one to believe is that of the smaller rmse; where they disagree on the best
    mixture by more than their intervals, the trials do not say."""
    kinds: tuple[Kind, ...] = ("ridge", "exponential")
    return {
        kind: (
            cross_validate(weights, losses, kind),
            propose(weights, losses, kind, caps, resamples, seed=seed),
        )
        for kind in kinds
    }


# --- the laws ----------------------------------------------------------------------------------


def _fit_ridge(w: np.ndarray, y: np.ndarray) -> MixtureLaw:
    """Degree and penalty by leave-one-out, whose errors are r / (1 - h) in closed form."""
    chosen: tuple[float, int, np.ndarray] | None = None
    for degree in (1, 2):
        X = _features(w, degree)
        if degree == 2 and len(y) < X.shape[1]:
            continue
        scale = X.std(axis=0).max() or 1.0
        centered = X - X.mean(axis=0)
        U, s, Vt = np.linalg.svd(centered / scale, full_matrices=False)
        for penalty in PENALTIES:
            shrink = s**2 / (s**2 + penalty)
            leverage = (U**2) @ shrink + 1 / len(y)
            residual = y - y.mean() - U @ (shrink * (U.T @ (y - y.mean())))
            error = float(np.mean((residual / np.maximum(1 - leverage, 1e-9)) ** 2))
            if chosen is None or error < chosen[0]:
                slope = Vt.T @ (s / (s**2 + penalty) * (U.T @ (y - y.mean()))) / scale
                intercept = y.mean() - X.mean(axis=0) @ slope
                chosen = error, degree, np.array([intercept, *slope])
    assert chosen
    _, degree, coefficients = chosen

    def predict(points: np.ndarray) -> np.ndarray:
        return coefficients[0] + _features(points, degree) @ coefficients[1:]

    found: dict[str, list[float] | float] = {
        "degree": float(degree),
        "coefficients": coefficients.tolist(),
    }
    return MixtureLaw("ridge", predict, [found])


def _features(w: np.ndarray, degree: int) -> np.ndarray:
    """Weights, and for degree 2 the products of two different ones: squares follow from the sum
    being 1 (Scheffe's polynomial for mixtures, 1958)."""
    i, j = np.triu_indices(w.shape[1], 1)
    return w if degree == 1 else np.concatenate([w, w[:, i] * w[:, j]], axis=1)


def _fit_exponential(w: np.ndarray, y: np.ndarray) -> MixtureLaw:
    """c + exp(t.w) (k is in t, as the weights sum to 1). For each c below all losses, log(y - c) is
    linear in w; from those starts and c far below, Gauss-Newton on all constants."""
    spread = float(np.ptp(y)) or 1e-6
    best: tuple[float, np.ndarray] | None = None
    for gap in (0.01, 0.05, 0.2, 0.5, 1.0, 3.0, 10.0):
        c = y.min() - gap * spread
        # residuals of y, not of its logarithm: rows weighted by y - c
        size = y - c
        t, *_ = np.linalg.lstsq(w * size[:, None], np.log(size) * size, rcond=None)
        theta, error = _descend(np.array([c, *t]), w, y)
        if best is None or error < best[0] * (1 - 1e-9):
            best = error, theta
    assert best
    c, t = best[1][0], best[1][1:]

    def predict(points: np.ndarray) -> np.ndarray:
        return c + np.exp(np.minimum(points @ t, 50.0))

    return MixtureLaw("exponential", predict, [{"c": float(c), "t": t.tolist()}])


def _descend(theta: np.ndarray, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Levenberg-Marquardt on the sum of squares, with a faint pull of t to its mean, without which
    a source that no trial tells apart would drift off."""
    pull = 1e-6 * float(y.var())

    def residuals(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rise = np.exp(np.minimum(w @ theta[1:], 50.0))
        return theta[0] + rise - y, rise

    def objective(theta: np.ndarray) -> float:
        r, _ = residuals(theta)
        return float(r @ r + pull * np.square(theta[1:] - theta[1:].mean()).sum())

    d, damping = w.shape[1], 1e-3
    center = np.eye(d) - 1 / d
    value = objective(theta)
    for _ in range(200):
        r, rise = residuals(theta)
        J = np.concatenate([np.ones((len(y), 1)), rise[:, None] * w], axis=1)
        gram, slope = J.T @ J, J.T @ r
        gram[1:, 1:] += pull * center
        slope[1:] += pull * center @ theta[1:]
        moved = theta - np.linalg.solve(gram + damping * np.diag(np.diag(gram) + 1e-12), slope)
        new = objective(moved)
        if new < value:
            small = value - new <= 1e-10 * value
            theta, value, damping = moved, new, max(damping / 5, 1e-12)
            if small:
                break
        elif damping > 1e10:
            break
        else:
            damping *= 5
    return theta, value


# --- what both need ----------------------------------------------------------------------------


def _trials(weights: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weights [n, d], losses [n, k]) of the trials that did not diverge."""
    w, y = np.array(weights, np.float64), np.array(losses, np.float64)
    if w.ndim != 2 or y.ndim not in (1, 2) or len(w) != len(y):
        raise ValueError(f"{w.shape} weights for {y.shape} losses; a row of each for a trial")
    y = y.reshape(len(y), -1)
    finite = np.isfinite(y).all(axis=1)
    w, y = w[finite], y[finite]
    for row in w:
        as_mixture(row)
    least = w.shape[1] + 1
    different = len(np.unique(w.round(9), axis=0))
    if different < least:
        raise ValueError(
            f"{different} different mixtures with a finite loss; {w.shape[1]} sources need {least}"
        )
    return w, y


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of ranks, ties at their mean."""
    ranks = []
    for values in (a, b):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        ranks.append((ends - (counts - 1) / 2)[inverse])
    if min(r.std() for r in ranks) == 0:
        return 0.0
    a, b = (r - r.mean() for r in ranks)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
