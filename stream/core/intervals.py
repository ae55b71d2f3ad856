"""Intervals of figures that rest on few labels: how far the true one may be from what was seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Floats = NDArray[np.float64]

CONFIDENCE = 0.9
"""An interval holds the true figure with this probability: 5 % lie below it, and 5 % above."""

_DRAWS = 200
_SEED = 7


class Interval(NamedTuple):
    """Where the true figure is, with probability `CONFIDENCE`."""

    low: float
    high: float


def share_bounds(hits: Floats, misses: Floats) -> tuple[Floats, Floats]:
    """Return lower and upper bounds of the shares hits / (hits + misses), shapes (n,).

    Jeffreys' interval: quantiles of Beta(hits + 1/2, misses + 1/2). It reaches to 0 where there was
    no hit, and to 1 where there was no miss (Brown, Cai and DasGupta, Interval estimation for a
    binomial proportion, Statistical Science 16, 2001). NaN where there was neither.

    >>> low, high = share_bounds(np.array([8.0, 0.0]), np.array([2.0, 3.0]))
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.55, 0.0], [0.94, 0.44])
    """
    tail = (1.0 - CONFIDENCE) / 2
    seen = (hits + misses) > 0
    low = np.where(hits > 0, betaincinv(hits + 0.5, misses + 0.5, tail), 0.0)
    high = np.where(misses > 0, betaincinv(hits + 0.5, misses + 0.5, 1.0 - tail), 1.0)
    return np.where(seen, low, np.nan), np.where(seen, high, np.nan)


def share_interval(hits: float, misses: float) -> Interval | None:
    """Return the interval of one share, see `share_bounds`; None where nothing was seen.

    >>> share_interval(0, 0) is None
    True
    """
    if hits + misses <= 0:
        return None
    low, high = share_bounds(np.array([float(hits)]), np.array([float(misses)]))
    return Interval(float(low[0]), float(high[0]))


def average_precision_interval(legitimate: Floats, frauds: Floats) -> Interval | None:
    """Return the interval of the average precision of counts per score bin, highest score first.

    Percentiles of a Poisson bootstrap: each count is drawn anew with itself as its mean, by a fixed
    seed, so equal counts have equal intervals. None where there is no fraud.

    >>> few = average_precision_interval(np.array([0.0, 1.0, 90.0]), np.array([3.0, 1.0, 2.0]))
    >>> many = average_precision_interval(np.array([0.0, 100.0, 9e3]), np.array([3e2, 1e2, 2e2]))
    >>> few.high - few.low > many.high - many.low
    True
    """
    hit = frauds > 0
    if not hit.any():
        return None
    # Between two bins with frauds it matters only how many legitimate ones there are in all.
    groups = np.concatenate([[0], np.cumsum(hit)[:-1]])
    below = np.bincount(groups, legitimate)[: int(hit.sum())]
    found = frauds[hit]
    random = np.random.default_rng(_SEED)
    drawn = random.poisson(found, size=(_DRAWS, len(found))).astype(np.float64)
    alarms = np.cumsum(random.poisson(below, size=(_DRAWS, len(below))), axis=1)
    caught = np.cumsum(drawn, axis=1)
    gained = drawn * caught / np.maximum(caught + alarms, 1.0)
    total = caught[:, -1]
    values = gained.sum(axis=1)[total > 0] / total[total > 0]
    if not len(values):
        return None
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return Interval(float(low), float(high))
