"""Scaling laws: the loss of a model of N weights after D tokens, the best N and D for a number of
floating-point operations, and a fit of the law to trials of one's own.

Hoffmann et al. 2022 (arXiv 2203.15556, "Chinchilla"), L = E + A / N^alpha + B / D^beta, has a
closed-form optimum and needs five constants. Besiroglu et al. 2024 (arXiv 2404.10102) fitted it
again to the same trials: the published constants lie far outside the intervals that those trials
give, since the optimiser had stopped early. At 1e24 operations the two ask for 21 and 80 tokens a
weight; the corrected one agrees with Chinchilla's other approaches, about 20, and is the default.
Kaplan et al. 2020 (arXiv 2001.08361) is here to compare with older plans.

The fit is approach 3 of Chinchilla (section 3.3): Huber loss of the residual of log L, by the
log-sum-exp of the three terms. Their optimiser was L-BFGS from 4,500 starts; five parameters are
few, so this is Levenberg-Marquardt with Huber's weights, all starts and all bootstrap resamples as
one batch: 240 trials with 200 resamples take .5 s of one core.

Shapes: S starts (or resamples), n trials, 5 parameters (log E, log A, alpha, log B, beta).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FLOPS_PER_WEIGHT_TOKEN = 6  # 2 forward, 4 backward (Kaplan et al. 2020, section 2.1)
HUBER_DELTA = 1e-3  # Hoffmann et al. 2022, section 3.3
PETAFLOP_DAY = 8.64e19
MIN_TRIALS = 6  # one more than there are constants


class Law(NamedTuple):
    """L(N, D) = E + A / N^alpha + B / D^beta, in nats a token."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, n_weights: float, n_tokens: float) -> float:
        return self.E + self.A / n_weights**self.alpha + self.B / n_tokens**self.beta


class Optimum(NamedTuple):
    n_weights: float
    n_tokens: float
    loss: float


# Hoffmann et al. 2022, equation 10. These roundings ask for 32e9 weights at Gopher's budget where
# the paper's table 3 says 40e9; the digits in the source of the paper (Besiroglu et al. 2024,
# section 2) give the 40e9.
CHINCHILLA = Law(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)
CHINCHILLA_UNROUNDED = Law(E=1.6934, A=406.4, alpha=0.3392, B=410.7, beta=0.2849)
BESIROGLU = Law(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)  # their table 1
LAWS = {"besiroglu": BESIROGLU, "chinchilla": CHINCHILLA_UNROUNDED}


def compute_optimal(law: Law, flops: float) -> Optimum:
    """The lowest loss for `flops` = 6 N D (Hoffmann et al. 2022, equation 4)."""
    total = law.alpha + law.beta
    product = flops / FLOPS_PER_WEIGHT_TOKEN
    scale = (law.alpha * law.A / (law.beta * law.B)) ** (1 / total)
    n_weights = scale * product ** (law.beta / total)
    return Optimum(n_weights, product / n_weights, law.loss(n_weights, product / n_weights))


# --- Kaplan ------------------------------------------------------------------------------------


def kaplan_loss(n_weights: float, n_tokens: float) -> float:
    """Kaplan et al. 2020, equation 1.5 with table 2; weights without embeddings."""
    alpha_n, alpha_d, n_c, d_c = 0.076, 0.103, 6.4e13, 1.8e13
    return ((n_c / n_weights) ** (alpha_n / alpha_d) + d_c / n_tokens) ** alpha_d


def kaplan_optimal(flops: float) -> Optimum:
    """Kaplan et al. 2020, table 6: N = 1.3e9 C^.73, weights without embeddings, C in petaflop-days
    at a batch far below the critical one. Tokens are what is left of 6 N D, the loss that of
    equation 1.4 (C_c = 3.1e8)."""
    days = flops / PETAFLOP_DAY
    n_weights = 1.3e9 * days**0.73
    n_tokens = flops / (FLOPS_PER_WEIGHT_TOKEN * n_weights)
    return Optimum(n_weights, n_tokens, (3.1e8 / days) ** 0.050)


# --- repeated tokens ---------------------------------------------------------------------------


def effective_tokens(unique: float, tokens: float) -> float:
    """How many fresh tokens `tokens` are worth that are seen over and over (Muennighoff et al.
    2023, arXiv 2305.16264, equation 5, R_D* = 15.39): four epochs count for 3.73, forty for 15.2,
    and no number of them for more than 16.4."""
    if tokens <= unique or unique <= 0:
        return max(min(tokens, unique), 0.0)
    half_life = 15.387756
    repeats = tokens / unique - 1
    return unique * (1 + half_life * (1 - math.exp(-repeats / half_life)))


# --- a law of one's own ------------------------------------------------------------------------


class Fit(NamedTuple):
    """A law, and where its constants lie in `level` of the bootstrap resamples."""

    law: Law
    low: Law
    high: Law
    level: float
    resamples: list[Law]
    objective: float  # sum of Huber losses


def fit_law(
    n_weights: Sequence[float],
    n_tokens: Sequence[float],
    losses: Sequence[float],
    resamples: int = 200,
    level: float = 0.9,
    seed: int = 0,
) -> Fit:
    """Raises ValueError for trials that cannot carry five constants. Trials that diverged (a loss
    that is no finite number) are left out."""
    data = np.array([n_weights, n_tokens, losses], np.float64)
    data = data[:, np.isfinite(data).all(axis=0)]
    _check(data)
    log_N, log_D, log_L = np.log(data)
    n = data.shape[1]
    starts = _starts(*data)
    theta, objective = _minimise(starts, log_N, log_D, log_L, np.ones((len(starts), n)))
    order = np.argsort(objective, kind="stable")
    best = theta[order[0]]

    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    again = np.concatenate([np.tile(theta[s], (resamples, 1)) for s in order[:3]])
    found, value = _minimise(again, log_N, log_D, log_L, np.tile(counts, (3, 1)))
    winner = value.reshape(3, resamples).argmin(axis=0) if resamples else np.zeros(0, int)
    drawn = [_law(found[w * resamples + i]) for i, w in enumerate(winner)]
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(drawn or [_law(best)], tails, axis=0).tolist()
    return Fit(_law(best), Law(*low), Law(*high), level, drawn, float(objective[order[0]]))


def optimum_interval(fit: Fit, flops: float) -> tuple[Optimum, Optimum]:
    """Bounds of the compute-optimal N, D and loss, each by itself, over the resamples."""
    found = [compute_optimal(law, flops) for law in fit.resamples or [fit.law]]
    low, high = np.quantile(found, [(1 - fit.level) / 2, (1 + fit.level) / 2], axis=0).tolist()
    return Optimum(*low), Optimum(*high)


def _check(data: np.ndarray) -> None:
    if data.shape[1] < MIN_TRIALS:
        raise ValueError(
            f"{data.shape[1]} trials with a finite loss; five constants need {MIN_TRIALS} or more"
        )
    if data.min() <= 0:
        raise ValueError(f"{data.min()} among weights, tokens and losses; all are above 0")
    for name, values in (("model sizes", data[0]), ("numbers of tokens", data[1])):
        if len(np.unique(values)) < 3:
            raise ValueError(
                f"{len(np.unique(values))} different {name}; an exponent and a constant need 3"
            )


def _starts(N: np.ndarray, D: np.ndarray, L: np.ndarray) -> np.ndarray:
    """[S, 5]: a grid of exponents, each with the E, A and B that fit best in least squares of
    L / L - 1, in which the law is linear; so the 4,500 starts of the paper become 64."""
    exponents = np.array([0.1, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4])
    out = []
    for alpha in exponents:
        for beta in exponents:
            # divided by the middle of the range, or columns differ by a factor of 1e12
            middle = np.median(N) ** alpha, np.median(D) ** beta
            columns = np.stack([np.ones_like(L), middle[0] / N**alpha, middle[1] / D**beta])
            found, *_ = np.linalg.lstsq((columns / L).T, np.ones_like(L), rcond=None)
            E, A, B = np.maximum(found, 0.02 * L.min())  # none may be below 0
            A, B = np.log(A * middle[0]), np.log(B * middle[1])
            out.append([np.log(E), A, alpha, B, beta])
    return np.array(out)


def _law(theta: np.ndarray) -> Law:
    E, A, alpha, B, beta = theta
    return Law(np.exp(E).item(), np.exp(A).item(), alpha.item(), np.exp(B).item(), beta.item())


def _minimise(
    theta_S5: np.ndarray,
    log_N: np.ndarray,
    log_D: np.ndarray,
    log_L: np.ndarray,
    weights_Sn: np.ndarray,
    steps: int = 400,
) -> tuple[np.ndarray, np.ndarray]:
    """Levenberg-Marquardt on the weighted Huber loss from every start: (parameters, loss [S]).

    A residual r beyond delta counts with weight delta / |r|, whose quadratic majorises Huber's
    loss, so a step that is taken never makes it worse.
    """
    theta, damping = theta_S5.copy(), np.full(len(theta_S5), 1e-2)
    residual, jacobian = _residuals(theta, log_N, log_D, log_L)
    loss = (weights_Sn * _huber(residual)).sum(axis=1)
    active = np.arange(len(theta))
    for _ in range(steps):
        r, J = residual[active], jacobian[active]
        w = weights_Sn[active] / np.maximum(1, np.abs(r) / HUBER_DELTA)
        gram = np.einsum("sni,sn,snj->sij", J, w, J, optimize=True)
        slope = np.einsum("sni,sn->si", J, w * r, optimize=True)
        scale = np.einsum("sii->si", gram) + 1e-12
        gram[:, range(5), range(5)] += damping[active, None] * scale
        moved = theta[active] - np.linalg.solve(gram, slope[..., None])[..., 0]
        r_new, J_new = _residuals(moved, log_N, log_D, log_L)
        new = (weights_Sn[active] * _huber(r_new)).sum(axis=1)
        better = new < loss[active]
        done = better & (loss[active] - new <= 1e-10 * loss[active])
        taken = active[better]
        theta[taken], loss[taken] = moved[better], new[better]
        residual[taken], jacobian[taken] = r_new[better], J_new[better]
        damping[active] *= np.where(better, 0.2, 5.0)
        damping = np.maximum(damping, 1e-12)
        active = active[~done & (damping[active] < 1e12)]
        if not len(active):
            break
    return theta, loss


def _residuals(
    theta_S5: np.ndarray, log_N: np.ndarray, log_D: np.ndarray, log_L: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """log of the law - log L, [S, n], and its derivatives, [S, n, 5]."""
    e, a, alpha, b, beta = theta_S5.T[:, :, None]
    terms = np.stack(
        [np.broadcast_to(e, (len(e), len(log_N))), a - alpha * log_N, b - beta * log_D]
    )
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    p_E, p_A, p_B = shares / total
    jacobian = np.stack([p_E, p_A, -p_A * log_N, p_B, -p_B * log_D], axis=-1)
    return top + np.log(total) - log_L, jacobian


def _huber(residual: np.ndarray) -> np.ndarray:
    size = np.abs(residual)
    inside = 0.5 * residual**2
    return np.where(size <= HUBER_DELTA, inside, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))
