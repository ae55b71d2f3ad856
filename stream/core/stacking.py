"""How much each member of a committee is listened to: logistic stacking with non-negative votes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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
    # Towards each example's own class.
    x = np.column_stack([np.ones(len(votes)), votes]) * np.where(frauds, 1.0, -1.0)[:, None]
    firmly = np.array([_BIAS, *[strength] * votes.shape[1]])
    expected = np.array([0.0, *prior])
    lowest = np.array([-_FURTHEST, *[0.0] * votes.shape[1]])
    highest = np.array([_FURTHEST, *[np.inf] * votes.shape[1]])

    def loss(theta: Floats) -> tuple[float, Floats, Floats]:
        """The loss, its slope, and how it bends: the second derivative of each example's own."""
        margin = x @ theta
        near = np.exp(-np.abs(margin))  # of one exponential come all three
        losses = np.log1p(near) - np.minimum(margin, 0.0)
        away = theta - expected
        value = float(weights @ losses + (firmly * away) @ away / 2.0)
        wrong = np.where(margin < 0.0, 1.0, near) / (1.0 + near)
        slope = firmly * away - x.T @ (weights * wrong)
        return value, slope, weights * wrong * (1.0 - wrong)

    found = np.clip(start, lowest, highest)
    value, slope, bends = loss(found)
    for _ in range(_MOST):
        step = _newton(x, bends, firmly, slope, found <= lowest, found >= highest)
        far = float(np.abs(x @ step).max())
        if not far > 0.0:
            break
        # So short that the loss bends no other way than where it begins; up to the first bound.
        room = np.where(step > 0.0, lowest - found, highest - found)
        with np.errstate(over="ignore"):  # what hardly moves is infinitely far from its bound
            reach = float(np.min(-room[step != 0.0] / step[step != 0.0]))
        found = np.clip(found - min(math.log1p(far) / far, reach) * step, lowest, highest)
        before, (value, slope, bends) = value, loss(found)
        if before - value <= _CLOSE * max(abs(value), 1.0) and reach >= 1.0:
            break
    return found


def _newton(  # noqa: PLR0917 - a problem, and where it stands
    x: Floats, bends: Floats, firmly: Floats, slope: Floats, at_lowest: Bools, at_highest: Bools
) -> Floats:
    """Return Newton's step, to be subtracted, of the coefficients that it does not push out."""
    held = at_lowest & (slope >= 0.0) | at_highest & (slope <= 0.0)
    step = np.zeros(len(slope))
    while not held.all():
        free = x[:, ~held]
        curved = (free * bends[:, None]).T @ free + np.diag(firmly[~held])
        step[~held] = np.linalg.solve(curved, slope[~held])
        out = at_lowest & (step > 0.0) | at_highest & (step < 0.0)
        if not out.any():
            break
        step[out], held = 0.0, held | out
    return step


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
_MOST = 100
"""Steps at most: from the coefficients of the look before, it takes three or four."""
_STEPS, _NEAR = 30, 1e-6
"""Newton's method: steps at most, no further than 1 each, and how small the last one is."""
_FURTHEST = 12.0
_CLOSE = 1e-7
"""Relative gain of a step at which the coefficients are good enough."""
