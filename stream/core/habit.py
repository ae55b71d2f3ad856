"""What is usual: the legitimate habit of each kind of transaction."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream.core.families import KIND, family

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

_FEW = 50.0
"""Transactions that the habit of all counts for in the habit of a kind."""


class Habit:
    """Decayed mean of each feature over legitimate examples of a kind, by what they stand for.

    The kind of a transaction is the feature `type_*` that is on. What is usual in a payment to a
    shop is not in a transfer: how busy the destination is, for one. A kind that is hardly known has
    the habit of all, and so has a stream without types.

    Parameters
    ----------
    half_life
        In labels of the kind.

    Examples
    --------
    >>> habit, names = Habit(half_life=1e9), ("type_A", "type_B", "busy")
    >>> rows = np.array([[1.0, 0.0, 8.0], [0.0, 1.0, 2.0]], dtype=np.float32)
    >>> habit.learn(names, rows, np.array([950.0, 950.0]))
    >>> one_of_b = np.array([[0.0, 1.0, 9.0]], dtype=np.float32)
    >>> habit.usual(names, one_of_b)[0].round(3).tolist()
    [0.025, 0.975, 2.15]
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self._all = _Mean()
        self._of_kind: dict[str, _Mean] = {}

    def learn(self, names: tuple[str, ...], rows: Rows, weights: Floats) -> None:
        """Take in legitimate examples, shape (n, d), that stand for `weights` transactions, (n,).

        The oldest first: one after the other comes to the same. NaN, a feature that an example
        does not have, changes nothing.
        """
        self._all.learn(names, rows, weights, self.half_life)
        for kind, at in _kinds(names):
            these = rows[:, at] >= 0.5
            if these.any():
                mean = self._of_kind.setdefault(kind, _Mean())
                mean.learn(names, rows[these], weights[these], self.half_life)

    def usual(self, names: tuple[str, ...], rows: Rows) -> Floats:
        """Return the habit of the kind of each row, shape (n, d); NaN: nothing is known."""
        usual = np.tile(self._all.of(names), (len(rows), 1))
        for kind, at in _kinds(names):
            these = rows[:, at] >= 0.5
            mean = self._of_kind.get(kind)
            if mean is not None and these.any():
                share = mean.weight / (mean.weight + _FEW)
                usual[these] += share * (mean.of(names) - usual[these])
        return usual


class _Mean:
    """Decayed mean of features by name, and the decayed weight that it is the mean of."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._names: tuple[str, ...] = ()
        self._means = np.empty(0)

    def learn(self, names: tuple[str, ...], rows: Rows, weights: Floats, half_life: float) -> None:
        if not len(rows):
            return
        if names != self._names:
            self._names, self._means = names, self.of(names)
        unknown = np.isnan(self._means)
        if unknown.any():  # what is new begins with its first value
            first = rows[np.argmax(~np.isnan(rows), axis=0), np.arange(len(names))]
            self._means[unknown] = first[unknown]
        since = np.cumsum(weights[::-1])[::-1] - weights  # what has come after each
        counted = weights * 0.5 ** (since / half_life)
        held = self.weight * 0.5 ** (float(weights.sum()) / half_life)
        self.weight = held + float(counted.sum())
        away = rows - self._means
        away[np.isnan(away)] = 0.0
        self._means += counted @ away / self.weight

    def of(self, names: tuple[str, ...]) -> Floats:
        """The means of these features, to be read: they may change later."""
        if names == self._names:
            return self._means
        means = dict(zip(self._names, self._means.tolist(), strict=True))
        return np.array([means.get(name, np.nan) for name in names])


@lru_cache(maxsize=16)
def _kinds(names: tuple[str, ...]) -> list[tuple[str, int]]:
    """The kinds, each with its column."""
    return [(name, at) for at, name in enumerate(names) if family(name) == KIND]
