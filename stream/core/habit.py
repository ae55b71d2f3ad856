"""What is usual: the legitimate habit of each kind of transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    >>> habit = Habit(half_life=1e9)
    >>> habit.learn({"type_A": 1.0, "type_B": 0.0, "busy": 8.0}, weight=950)
    >>> habit.learn({"type_A": 0.0, "type_B": 1.0, "busy": 2.0}, weight=950)
    >>> one_of_b = np.array([[0.0, 1.0, 9.0]], dtype=np.float32)
    >>> habit.usual(("type_A", "type_B", "busy"), one_of_b)[0].round(3).tolist()
    [0.025, 0.975, 2.15]
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self._all = _Mean()
        self._of_kind: dict[str, _Mean] = {}

    def learn(self, features: Mapping[str, float], weight: float) -> None:
        """Take in a legitimate example that stands for `weight` transactions."""
        names = tuple(features)
        values = np.fromiter(features.values(), dtype=np.float64, count=len(names))
        self._all.learn(names, values, weight, self.half_life)
        kind = next((name for name in _kinds(names) if features[name] >= 0.5), None)
        if kind is not None:
            mean = self._of_kind.setdefault(kind, _Mean())
            mean.learn(names, values, weight, self.half_life)

    def usual(self, names: Sequence[str], rows: Rows) -> Floats:
        """Return the habit of the kind of each row, shape (n, d); NaN: nothing is known."""
        usual = np.tile(self._all.of(names), (len(rows), 1))
        for kind in _kinds(names):
            mean = self._of_kind.get(kind)
            if mean is not None:
                these = rows[:, names.index(kind)] >= 0.5
                share = mean.weight / (mean.weight + _FEW)
                usual[these] += share * (mean.of(names) - usual[these])
        return usual


class _Mean:
    """Decayed mean of features by name, and the decayed weight that it is the mean of."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._names: tuple[str, ...] = ()
        self._means = np.empty(0)

    def learn(
        self, names: tuple[str, ...], values: Floats, weight: float, half_life: float
    ) -> None:
        self.weight = self.weight * 0.5 ** (weight / half_life) + weight
        if names != self._names:  # one that is new begins with its first value
            means = dict(zip(names, values.tolist(), strict=True))
            means = means | dict(zip(self._names, self._means.tolist(), strict=True))
            self._names, self._means = names, np.array([means[name] for name in names])
        self._means += weight / self.weight * (values - self._means)

    def of(self, names: Sequence[str]) -> Floats:
        means = dict(zip(self._names, self._means.tolist(), strict=True))
        return np.array([means.get(name, np.nan) for name in names])


def _kinds(names: Sequence[str]) -> list[str]:
    return [name for name in names if family(name) == KIND]
