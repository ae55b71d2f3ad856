"""How far scores were off in windows whose labels have come, and how much that varied."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from stream.core.tally import LOG_ODDS

Floats = NDArray[np.float64]

_PRIOR_SD = 1.0
"""Before anything has matured, scores are off by about so much, in log-odds."""
_BETWEEN_SD = 0.3
_IMAGINED_BLOCKS = 2.0
"""So many blocks that differ by so much are imagined, lest few look alike by luck."""


class Shift(NamedTuple):
    """What has to be added to the log-odds of scores, and its uncertainty for a new block.

    `value` is the shift that fits the blocks together, `error` its standard error, `between` the
    standard deviation of the blocks' own shifts around it, and `freedom` the degrees of freedom of
    the two.
    """

    value: float
    error: float
    between: float
    freedom: float

    @property
    def spread(self) -> float:
        """Standard deviation of the shift of a new block."""
        return math.hypot(self.error, self.between)


def fit(counts: Floats, frauds: Floats, weights: Floats) -> Shift:
    """Fit the shift to blocks of labelled scores.

    Platt's scaling with the slope held at 1 (Platt, "Probabilistic outputs for support vector
    machines", 1999), and a random effect for each block. Its variance is found by moments, as
    DerSimonian and Laird do ("Meta-analysis in clinical trials", 1986), but of the score
    statistics, frauds less those announced: these need neither fraud nor false alarm in a block.
    What is found is drawn towards no shift by as much as chance explains (Efron and Morris,
    "Stein's estimation rule and its competitors", 1973): scores are calibrated already, and blocks
    that were off one way tell little of the next.

    Parameters
    ----------
    counts
        Labelled transactions by score bin, shape (blocks, bins).
    frauds
        Frauds among them, shape (blocks,).
    weights
        What each block counts for, shape (blocks,).

    Examples
    --------
    >>> counts = np.zeros((6, len(LOG_ODDS)))
    >>> counts[:, len(LOG_ODDS) // 2] = 400  # announced: half of them
    >>> found = fit(counts, np.array([292.0] * 6), np.ones(6))
    >>> round(found.value, 2), round(found.between, 2)
    (0.96, 0.15)
    """
    total, observed, shift = weights @ counts, float(weights @ frauds), 0.0
    for _ in range(25):
        p = expit(LOG_ODDS + shift)
        slope = float(total @ (p * (1 - p))) + 1 / _PRIOR_SD**2
        step = (observed - float(total @ p) - shift / _PRIOR_SD**2) / slope
        shift += min(max(step, -1.0), 1.0)
        if abs(step) < 1e-9:
            break
    off, information = departures(counts, frauds, shift)
    size = effective(weights)
    squares = float(weights @ information**2)
    # One of the blocks' own departures is used up by the shift they were fitted with.
    spare = size / (size - 1) if size > 1 else 1.0
    excess = float(weights @ (off**2 * spare - information))
    found = max(excess / squares, 0.0) if squares else 0.0
    variance = (_IMAGINED_BLOCKS * _BETWEEN_SD**2 + size * found) / (_IMAGINED_BLOCKS + size)
    noise = float(weights**2 @ (information + variance * information**2))
    error = math.sqrt(noise + 1 / _PRIOR_SD**2) / (float(weights @ information) + 1 / _PRIOR_SD**2)
    chance = error**2 + (variance / size if size else 0.0)
    drawn = shift * max(1.0 - chance / shift**2, 0.0) if shift else 0.0
    return Shift(drawn, error, math.sqrt(variance), _IMAGINED_BLOCKS + max(size - 1, 0))


def effective(weights: Floats) -> float:
    """Return how many blocks of one weight tell as much as these; 0 where there are none."""
    return float(weights.sum() ** 2 / (weights @ weights)) if len(weights) else 0.0


def departures(counts: Floats, frauds: Floats, shift: float) -> tuple[Floats, Floats]:
    """Return frauds less those announced by shifted scores, and the variance by chance alone.

    >>> counts = np.full(len(LOG_ODDS), 10.0)
    >>> off, variance = departures(counts, np.array(4605.0), 0.0)
    >>> abs(float(off)) < 10, round(float(variance))
    (True, 200)
    """
    p = expit(LOG_ODDS + shift)
    return frauds - counts @ p, counts @ (p * (1 - p))


def moved(counts: Floats, frauds: Floats, usual: Shift) -> float:
    """Return by how many standard errors newer labelled scores depart from the usual shift.

    >>> counts = np.zeros(len(LOG_ODDS))
    >>> counts[len(LOG_ODDS) // 2] = 400
    >>> round(moved(counts, np.array(200.0), Shift(2.0, 0.1, 0.3, 5.0)), 1)
    -10.6
    """
    off, information = departures(counts, frauds, usual.value)
    variance = float(information) + (usual.spread * float(information)) ** 2
    return float(off) / math.sqrt(variance) if variance > 0 else 0.0
