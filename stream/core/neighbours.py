"""Bounded samples of points, their nearest neighbours, and points between two of them."""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray

from stream.core.rebalance import FeatureDict

Floats = NDArray[np.float64]

_TIGHT = 0.1
"""A column whose values leave 9/10 of their range empty in one piece has two values."""


class Columns:
    """Gives every numeric feature a column, as it is first seen.

    >>> columns = Columns()
    >>> columns.vector({"b": 2, "a": True, "name": "x"})
    array([1., 2.])
    >>> columns.vector({"c": 3.0, "b": 1.0})
    array([nan,  1.,  3.])
    """

    def __init__(self) -> None:
        self.index: dict[object, int] = {}

    def __len__(self) -> int:
        return len(self.index)

    def vector(self, x: FeatureDict) -> Floats:
        """Return the finite numbers of x in their columns, shape (len(self),); NaN elsewhere."""
        known = self.index
        numbers = {name: value for name, value in x.items() if _is_finite(value)}
        if new := numbers.keys() - known.keys():
            for name in sorted(new, key=str):  # not in the order of the features
                known[name] = len(known)
        row = np.full(len(known), np.nan)
        for name, value in numbers.items():
            row[known[name]] = value
        return row


class Reservoir:
    """At most `size` points; a new one takes the place of one by chance when it is full.

    So the chance of a point to be there halves every 0.7 `size` arrivals: Aggarwal, "On biased
    reservoir sampling in the presence of stream evolution" (VLDB 2006).

    >>> points = Reservoir(size=2)
    >>> [points.add(np.array([float(i)]), random.Random(1)) for i in range(3)]
    [0, 1, 0]
    >>> points.points.ravel()
    array([2., 1.])
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._rows = np.empty((0, 0))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def points(self) -> Floats:
        """The points, shape (len(self), columns)."""
        return self._rows[: self._count]

    def widen(self, columns: int) -> None:
        """Make room for more columns; the points there have none of them (NaN)."""
        missing = columns - self._rows.shape[1]
        if missing > 0:
            rows = np.full((max(len(self._rows), 8), columns), np.nan)
            rows[: len(self._rows), : columns - missing] = self._rows
            self._rows = rows

    def add(self, point: Floats, rng: random.Random) -> int:
        """Take in a point, shape (columns,), and return its slot."""
        self.widen(len(point))
        slot = self._count
        if self._count == self.size:
            slot = int(rng.random() * self.size)
        else:
            if slot == len(self._rows):
                more = np.full((min(max(slot, 8), self.size - slot), self._rows.shape[1]), np.nan)
                self._rows = np.concatenate([self._rows, more])
            self._count += 1
        self._rows[slot] = point
        return slot


def scales(points: Floats) -> Floats:
    """Return one over the standard deviation of each column, 0 where it is constant.

    >>> scales(np.array([[0.0, 5.0], [4.0, 5.0]]))
    array([0.5, 0. ])
    """
    if len(points) < 2:
        return np.zeros(points.shape[1])
    with np.errstate(all="ignore"):
        known = ~np.isnan(points)
        counts = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, points, 0.0)
        centred = np.where(known, centred - centred.sum(axis=0) / counts, 0.0)
        deviations = np.sqrt((centred**2).sum(axis=0) / counts)
        inverse = 1.0 / deviations
    return np.where(np.isfinite(inverse) & (inverse > 0.0), inverse, 0.0)


def two_valued(points: Floats) -> NDArray[np.bool_]:
    """Say which columns have two values only, exactly or as two tight bunches, shape (columns,).

    A flag is such a column, and remains one behind a scaler whose mean and deviation still move.
    Nothing between its values means anything.

    >>> two_valued(np.array([[0.0, -0.101, 1.0], [1.0, 9.7, 2.0], [1.0, -0.103, 3.0]]))
    array([ True,  True, False])
    """
    if len(points) < 2:
        return np.ones(points.shape[1], dtype=np.bool_)
    with np.errstate(all="ignore"):
        ordered = np.sort(points, axis=0)  # NaN last
        gaps = np.diff(ordered, axis=0)
        gap = np.max(np.where(np.isnan(gaps), 0.0, gaps), axis=0)
        last = np.maximum((~np.isnan(points)).sum(axis=0) - 1, 0)
        span = ordered[last, np.arange(points.shape[1])] - ordered[0]
        apart: NDArray[np.bool_] = gap < (1.0 - _TIGHT) * span
        return ~apart


def distances(points: Floats, point: Floats, scale: Floats) -> Floats:
    """Return the squared scaled distance of each point to one, shape (n,).

    A column that one of the two lacks does not count.
    """
    with np.errstate(all="ignore"):
        apart = (points - point) * scale
        apart[~np.isfinite(apart)] = 0.0
        squared: Floats = np.einsum("ij,ij->i", apart, apart)
        return squared


def nearest(squared: Floats, k: int) -> NDArray[np.intp]:
    """Return the positions of the k smallest, or of all where there are fewer, in no order."""
    if len(squared) <= k:
        return np.arange(len(squared))
    return np.argpartition(squared, k - 1)[:k]


def between(point: Floats, other: Floats, at: float | Floats, whole: NDArray[np.bool_]) -> Floats:
    """Return the point that lies `at` (0 to 1) of the way to another; of many at once, row by row.

    Columns in `whole` take the value of the nearer of the two, all of them of the same one, so that
    of the flags of a category exactly one stays set. Where the other has no value, the first one's
    stays.

    >>> flags = np.array([False, True, True])
    >>> between(np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0]), 0.25, flags)
    array([0.25, 1.  , 0.  ])
    """
    with np.errstate(all="ignore"):
        mixed = (1.0 - at) * point + at * other
    mixed = np.where(whole, np.where(np.less(at, 0.5), point, other), mixed)
    return np.where(np.isfinite(mixed), mixed, point)


def _is_finite(value: object) -> bool:
    if isinstance(value, (float, int)):
        return math.isfinite(value)
    return isinstance(value, (np.number, np.bool_)) and bool(np.isfinite(value))
