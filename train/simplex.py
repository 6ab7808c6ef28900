"""The simplex of mixtures, weights of 0 or more that sum to 1: designs over it, the nearest point
below caps, the lowest point of a function.

Shapes: d sources, n mixtures.
"""

from collections.abc import Callable, Sequence

import numpy as np


def simplex_design(base: Sequence[float], n: int, seed: int, spread: float = 1.0) -> np.ndarray:
    """n mixtures [n, d]: the base, the corners of the simplex, then Dirichlet draws around the base
    (concentration spread x d x base: 1 covers the simplex where the base is even). Raises
    ValueError."""
    center = as_mixture(base)
    d = len(center)
    if d < 2:
        raise ValueError(f"base: {d} sources; a mixture has 2 or more")
    if n < d + 1:
        raise ValueError(f"n: {n} mixtures do not hold the base and the {d} corners; use {d + 1}")
    generator = np.random.default_rng(seed)
    concentration = spread * d * np.maximum(center, 0.02)  # a source at 0 is tried, too
    drawn = generator.dirichlet(concentration, size=n - d - 1)
    return np.concatenate([center[None], np.eye(d), drawn])


def minimise_on_simplex(
    predict: Callable[[np.ndarray], np.ndarray], caps: np.ndarray, starts: int = 64
) -> tuple[np.ndarray, float]:
    """The lowest point with 0 <= w <= caps, sum w = 1: a pattern search that moves weight from one
    source to another, from the corners and `starts` points at once. Deterministic; needs no
    derivative."""
    d = len(caps)
    inside = np.random.default_rng(0).dirichlet(np.ones(d), size=starts)
    w = project(np.concatenate([np.eye(d), inside]), caps)
    value = predict(w)
    moves = np.array([np.eye(d)[i] - np.eye(d)[j] for i in range(d) for j in range(d) if i != j])
    step = 0.25
    while step > 1e-5:
        tried = project((w[:, None] + step * moves).reshape(-1, d), caps)
        found = predict(tried).reshape(len(w), len(moves))
        best = found.argmin(axis=1)
        lower = found[np.arange(len(w)), best] < value - 1e-12 * np.abs(value)
        moved = tried.reshape(len(w), len(moves), d)[np.arange(len(w)), best]
        w[lower], value[lower] = moved[lower], found[np.arange(len(w)), best][lower]
        if not lower.any():
            step /= 2
    at = int(value.argmin())
    return w[at], float(value[at])


def project(points: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """The nearest points [m, d] with 0 <= w <= caps, sum w = 1, by bisection of the shift
    (Wang & Carreira-Perpinan 2013, arXiv 1309.1541, with upper bounds)."""
    low, high = points.min(axis=1) - 1, points.max(axis=1)
    for _ in range(60):
        middle = (low + high) / 2
        total = np.clip(points - middle[:, None], 0, caps).sum(axis=1)
        low, high = np.where(total > 1, middle, low), np.where(total > 1, high, middle)
    return np.clip(points - low[:, None], 0, caps)


def as_mixture(values: Sequence[float]) -> np.ndarray:
    w = np.array(values, np.float64)
    if w.ndim != 1 or not np.isfinite(w).all() or w.min() < 0 or abs(w.sum() - 1) > 1e-6:
        raise ValueError(f"{list(values)}: no mixture; weights are 0 or more and sum to 1")
    return w
