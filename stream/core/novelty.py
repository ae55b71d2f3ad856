"""How unlike the stream a transaction is, before anybody knows what fraud looks like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.core.plain import Restored, Snapshot

Floats = NDArray[np.float64]

_BLOCK = 250
"""Rows between two looks at what is usual: counted, so that batches may be cut anywhere."""


class Novelty:
    """Sum of the squares of what lies above the usual, in standard deviations of each column.

    A one-class scorer that needs no label: Mahalanobis's distance with a diagonal covariance,
    counted upwards only, since an amount too small is nobody's loss and a flag that is off is no
    news. Mean and deviation decay by half every `half_life` rows. A row is measured by the blocks
    of 250 before its own; the first block scores 0.

    Parameters
    ----------
    width
        Number of columns.
    half_life
        In rows.

    Examples
    --------
    >>> novelty = Novelty(width=1)
    >>> usual = np.tile([[1.0], [3.0]], (125, 1))
    >>> novelty.score(usual).max()
    np.float64(0.0)
    >>> novelty.score(np.array([[2.0], [5.0]])).round(1).tolist()
    [0.0, 9.0]
    """

    def __init__(self, width: int, half_life: float = 50_000) -> None:
        self.half_life = half_life
        self._rows = 0.0
        self._sum = np.zeros(width)
        self._squared = np.zeros(width)
        self._block = np.empty((_BLOCK, width))
        self._filled = 0

    def score(self, rows: Floats) -> Floats:
        """Return the novelty of each row, shape (n,), at least 0, and take the rows in."""
        rows = np.ascontiguousarray(rows)  # how values lie decides in which order they are added
        scores = np.empty(len(rows))
        at = 0
        while at < len(rows):
            until = min(at + _BLOCK - self._filled, len(rows))
            part = rows[at:until]
            scores[at:until] = self._above(part)
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == _BLOCK:
                self._look()
            at = until
        return scores

    def snapshot(self) -> Snapshot:
        """Return a copy of the state, plain."""
        return {
            "rows": np.array(self._rows),
            "sum": self._sum.copy(),
            "squared": self._squared.copy(),
            "block": self._block[: self._filled].copy(),
        }

    def restore(self, state: Restored) -> None:
        """Take over a snapshot."""
        self._rows = float(state["rows"].item())
        self._sum = np.array(state["sum"], dtype=np.float64)
        self._squared = np.array(state["squared"], dtype=np.float64)
        self._filled = len(state["block"])
        self._block[: self._filled] = state["block"]

    def _above(self, rows: Floats) -> Floats:
        if not self._rows:
            return np.zeros(len(rows))
        mean = self._sum / self._rows
        variance = np.maximum(self._squared / self._rows - mean**2, 0.0)
        # A column that never varied says nothing: its first other value would be beyond measure.
        varies = variance > 1e-9 * (1.0 + mean**2)
        scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
        above: Floats = (np.maximum((rows - mean) * scale, 0.0) ** 2).sum(axis=1)
        return above

    def _look(self) -> None:
        decay = 0.5 ** (_BLOCK / self.half_life)
        self._rows = self._rows * decay + _BLOCK
        self._sum = self._sum * decay + self._block.sum(axis=0)
        self._squared = self._squared * decay + (self._block**2).sum(axis=0)
        self._filled = 0
