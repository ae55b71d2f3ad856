"""Is it more than chance? Intervals of shares, and whether two decisions about the same differ."""

from __future__ import annotations

import math

Z95 = 1.959964
"""Normal quantile of two-sided 95 % intervals."""
_EXACT = 1_000
"""Disagreements up to which the chance is counted out."""


def wilson(hits: float, count: float, z: float = Z95) -> tuple[float, float] | None:
    """Return the confidence interval of a share, 95 % unless told; None where nothing was counted.

    Wilson's score interval (1927): it stays within 0 and 1, and is right also for few.

    >>> low, high = wilson(8, 10)
    >>> round(low, 2), round(high, 2)
    (0.49, 0.94)
    >>> wilson(0, 0) is None
    True
    """
    if count <= 0:
        return None
    share, c = hits / count, z * z / count
    middle = share + c / 2
    half = math.sqrt(c * share * (1.0 - share) + c * c / 4)
    return max((middle - half) / (1 + c), 0.0), min((middle + half) / (1 + c), 1.0)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return how likely chance alone parts two deciders so far, or further.

    Both have decided the same cases; of those that only one of them flagged, each flagged so many.
    Were they alike, a coin would tell who: the two-sided probability of McNemar's test (1947),
    exact up to 1,000 disagreements, beyond by the normal approximation with a correction for
    continuity.

    >>> round(mcnemar(2, 10), 3)
    0.039
    >>> mcnemar(0, 0)
    1.0
    """
    n, few = only_first + only_second, min(only_first, only_second)
    if 2 * few == n:
        return 1.0
    if n <= _EXACT:
        tail = sum(math.comb(n, k) for k in range(few + 1))
        return float(min(2 * tail / 2**n, 1.0))
    z = (abs(only_first - only_second) - 1) / math.sqrt(n)
    return math.erfc(z / math.sqrt(2))
