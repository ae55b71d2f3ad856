"""What has matured, cut into blocks as long as what is estimated, and how far scores were off."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from stream.core.shift import Shift, fit
from stream.core.tally import LOG_ODDS, Tally

HALF_LIFE = 120.0
"""Windows after which what has matured counts half."""
LEAST_BLOCKS = 4
"""Fewer blocks tell too little of how they vary: then they are cut shorter, if they can be."""

Floats = NDArray[np.float64]


class Past(NamedTuple):
    """Matured windows one below the other, in blocks of `size` too, and the shifts that fit them.

    `asked` is how many windows are estimated: as many as a block has, where enough have matured.
    `flagged` is the shift of what was flagged, `passed` that of the rest.
    """

    windows: Tally
    asked: int
    size: int
    blocks: Tally
    flagged: Shift
    passed: Shift

    def announced(self, of: Tally) -> float:
        """Return the frauds expected by recalibrated scores."""
        flagged, passed = LOG_ODDS + self.flagged.value, LOG_ODDS + self.passed.value
        return float(of.flagged @ expit(flagged) + of.passed @ expit(passed))


def past_of(windows: Tally, asked: int) -> Past:
    """Cut what has matured, oldest first, into blocks of so many windows, and fit the shifts."""
    size = max(min(asked, len(windows) // LEAST_BLOCKS), 1)
    blocks = windows.blocks(size)
    weights = weights_of(len(blocks), size)
    flagged = fit(blocks.labelled_flagged, blocks.caught, weights)
    passed = fit(blocks.labelled_passed, blocks.missed, weights)
    return Past(windows, asked, size, blocks, flagged, passed)


def weights_of(blocks: int, size: int) -> Floats:
    """Return what each block of so many windows counts for: the newest, which is last, 1.

    >>> weights_of(3, 120).tolist()
    [0.25, 0.5, 1.0]
    """
    weights: Floats = 0.5 ** (np.arange(blocks)[::-1] * size / HALF_LIFE)
    return weights
