"""How imbalanced: the tiers that people speak of."""

from __future__ import annotations


def tier(fraud_rate: float | None) -> str | None:
    """Return the tier of a stream by its share of frauds; None where that is not known.

    To 1 fraud for 5 legitimate transactions: balanced; to 1:20 mild, to 1:100 moderate, beyond
    severe.

    >>> [tier(rate) for rate in (0.3, 0.1, 0.02, 0.001, None)]
    ['balanced', 'mild', 'moderate', 'severe', None]
    """
    if fraud_rate is None:
        return None
    ratio = (1.0 - fraud_rate) / fraud_rate if fraud_rate > 0 else float("inf")
    if ratio < 5:
        return "balanced"
    if ratio <= 20:
        return "mild"
    return "moderate" if ratio <= 100 else "severe"
