"""Transactions with what was decided about them, as columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.segments import Codes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Scored(NamedTuple):
    """Columns of one length, n."""

    times_seconds: Floats
    """Event times."""
    scores: Floats
    alerts: Bools
    amounts: Floats
    codes: Codes
    """Of the segments, shape (n, f)."""

    def rows(self, rows: Bools | Ints | slice) -> Scored:
        """Return some of the rows."""
        return Scored._make(column[rows] for column in self)
