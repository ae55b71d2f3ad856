"""A lower confidence bound of a share among weighted examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE_Z = 1.2816
"""Normal quantile of the lower bounds: each holds with 90 % confidence."""


def lower_bound(
    hits: Floats, hits_squared: Floats, misses: Floats, misses_squared: Floats, unit: float
) -> Floats:
    """Return a 90 % lower confidence bound of hits / (hits + misses) from weighted examples.

    Wilson's score bound (1927) with an effective sample size in place of the count. Hits and misses
    are sums of weights that vary apart, so their share has by linearisation the variance
    ``(misses^2 * sum w^2 of hits + hits^2 * sum w^2 of misses) / (hits + misses)^4``, and the
    effective size is the n of a binomial share with that variance. Equal weights of 1 give Wilson's
    bound itself. Half a miss is added (Jeffreys): to have seen none among few proves little.

    Parameters
    ----------
    hits, misses
        Sums of weights, shape (n,).
    hits_squared, misses_squared
        Sums of squared weights, shape (n,).
    unit
        Weight of one miss, above 0.

    Examples
    --------
    >>> caught, false = np.array([80.0]), np.array([20.0])
    >>> round(float(lower_bound(caught, caught, false, false, unit=1.0)[0]), 2)
    0.74
    >>> false_squared = np.array([2 * 10.0**2])  # two examples that stand for ten each
    >>> round(float(lower_bound(caught, caught, false, false_squared, unit=10.0)[0]), 2)
    0.59
    """
    misses = misses + unit / 2
    misses_squared = misses_squared + unit * unit / 2
    total = hits + misses
    share = hits / total
    variance = (misses**2 * hits_squared + hits**2 * misses_squared) / total**4
    size = share * (1.0 - share) / np.maximum(variance, 1e-300)
    c = CONFIDENCE_Z**2 / np.maximum(size, 1e-6)
    low = (share + c / 2 - np.sqrt(c * share * (1.0 - share) + c * c / 4)) / (1.0 + c)
    return np.asarray(np.where(hits > 0, np.clip(low, 0.0, 1.0), 0.0))
