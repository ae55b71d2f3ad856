"""How much each member of a committee is listened to: logistic stacking with non-negative votes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def filled(votes: Floats, shares: Floats) -> Floats:
    """Return votes with what a member did not say replaced by the mean of those who did.

    Parameters
    ----------
    votes
        Log-odds, shape (n, m); NaN where a member was silent.
    shares
        Weight of each member in that mean, shape (m,).

    >>> filled(np.array([[1.0, np.nan, 3.0]]), np.array([1.0, 5.0, 1.0])).tolist()
    [[1.0, 2.0, 3.0]]
    """
    silent = np.isnan(votes)
    if not silent.any():
        return votes
    said = np.where(silent, 0.0, votes)
    # A member that weighs nothing still speaks where nobody else does.
    weight = np.where(silent, 0.0, shares + 1e-9)
    total = weight.sum(axis=1, keepdims=True)
    mean = (said * weight).sum(axis=1, keepdims=True) / np.maximum(total, 1e-12)
    return np.where(silent, mean, votes)


def stack(  # noqa: PLR0917 - three columns, then how
    votes: Floats,
    frauds: Bools,
    weights: Floats,
    start: Floats,
    prior: Floats,
    strength: float,
) -> Floats:
    """Return bias and coefficients of the members, shape (1 + m,), the latter at least 0.

    Minimises the weighted log loss of ``bias + votes @ coefficients`` plus ``strength / 2`` times
    the squared distance of the coefficients from `prior`, so that few examples change little.
    Wolpert, "Stacked generalization" (1992), with the non-negative coefficients of Breiman,
    "Stacked regressions" (1996). As the loss is a proper one, the outcome is calibrated.

    Parameters
    ----------
    votes
        Log-odds, shape (n, m), without NaN.
    frauds, weights
        Labels and what each example stands for, shape (n,).
    start
        Where to begin, shape (1 + m,).
    prior
        Coefficients that are expected, shape (m,).
    strength
        How firmly.

    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(-2.0, 2.0, 5000)
    >>> frauds = rng.random(5000) < 1.0 / (1.0 + np.exp(-truth))
    >>> votes = np.column_stack([truth - 1.0, rng.normal(size=5000)])
    >>> found = stack(votes, frauds, np.ones(5000), np.zeros(3), np.full(2, 0.5), 1.0)
    >>> abs(found).round().tolist()
    [1.0, 1.0, 0.0]
    """
    x = np.column_stack([np.ones(len(votes)), votes])
    sign = np.where(frauds, 1.0, -1.0)

    def loss(theta: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ theta)
        away = theta[1:] - prior
        near = np.exp(-np.abs(margin))  # of one exponential come the loss and its slope
        wrong = np.where(margin < 0.0, 1.0, near) / (1.0 + near)
        slope = x.T @ (-sign * weights * wrong)
        slope[0] += _BIAS * theta[0]
        slope[1:] += strength * away
        losses = np.log1p(near) - np.minimum(margin, 0.0)
        value = weights @ losses + strength / 2.0 * float(away @ away)
        return float(value + _BIAS / 2.0 * theta[0] ** 2), slope

    bounds = [(-_FURTHEST, _FURTHEST), *[(0.0, None)] * votes.shape[1]]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": _CLOSE}
    )
    best: Floats = np.asarray(found.x, dtype=np.float64)
    return best


def level(
    log_odds: Floats, frauds: Bools, weights: Floats, expected: float, strength: float
) -> float:
    """Return the bias with which log-odds, shape (n,), announce as many frauds as there were.

    Held to the bias that is `expected` by ``strength / 2`` times the squared distance.

    >>> log_odds, frauds = np.full(100, -1.0), np.arange(100) < 50
    >>> round(level(log_odds, frauds, np.ones(100), expected=0.0, strength=0.0), 3)
    1.0
    """
    bias = expected
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(log_odds + bias, -50.0, 50.0)))
        slope = float(weights @ (p - frauds)) + strength * (bias - expected)
        step = slope / (float(weights @ (p * (1.0 - p))) + strength + 1e-12)
        bias -= min(max(step, -1.0), 1.0)
        if abs(step) < _NEAR:
            break
    return bias


_BIAS = 0.1
_STEPS, _NEAR = 30, 1e-6
"""Newton's method: steps at most, no further than 1 each, and how small the last one is."""
_FURTHEST = 12.0
_CLOSE = 1e-7
"""Relative gain of a step at which the coefficients are good enough."""
