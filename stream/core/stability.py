"""How unlike two distributions of counts are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def stability_index(newer: Floats, older: Floats) -> float:
    """Return the population stability index of counts by class, both of shape (k,).

    ``sum((p - q) * log(p / q))`` over the classes' shares, half a count added to each (Siddiqi,
    "Credit risk scorecards", 2006).

    >>> stability_index(np.array([5.0, 5.0]), np.array([50.0, 50.0]))
    0.0
    """
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (newer, older))
    return float(np.sum((p - q) * np.log(p / q)))
