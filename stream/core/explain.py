"""Reason codes of an alert: which features moved its score most against the legitimate habit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.events import Reason

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


class Habit:
    """Decayed mean of each feature over legitimate examples, by what they stand for.

    Parameters
    ----------
    half_life
        In labels.
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self._weight = 0.0
        self._names: tuple[str, ...] = ()
        self._means = np.empty(0)

    @property
    def means(self) -> dict[str, float]:
        """The mean of each feature seen so far."""
        return dict(zip(self._names, self._means.tolist(), strict=True))

    def learn(self, features: Mapping[str, float], weight: float) -> None:
        """Take in a legitimate example that stands for `weight` transactions."""
        self._weight = self._weight * 0.5 ** (weight / self.half_life) + weight
        share = weight / self._weight
        names = tuple(features)
        values = np.fromiter(features.values(), dtype=np.float64, count=len(names))
        if names == self._names:
            self._means += share * (values - self._means)
            return
        means = self.means
        for name, value in zip(names, values.tolist(), strict=True):
            mean = means.get(name, value)
            means[name] = mean + share * (value - mean)
        self._names, self._means = tuple(means), np.array(list(means.values()))


def reasons(
    names: Sequence[str],
    rows: Rows,
    habit: Mapping[str, float],
    log_odds: Callable[[Rows], Floats],
    top: int = 3,
) -> list[tuple[Reason, ...]]:
    """Return, for each alert, the features without which its score falls most, strongest first.

    Each feature in turn is set to its habit, the others staying, and the log-odds that the score
    loses are its effect: occlusion, after Zeiler and Fergus (2014). It asks nothing of the model
    but scores, one for each feature, those of all alerts at once. Features that do not lower the
    score are left out.

    Parameters
    ----------
    names, rows
        Features of the alerts, shape (n, d).
    habit
        The usual value of each; features without one are passed over.
    log_odds
        Rows, shape (m, d), to log-odds of fraud, shape (m,).
    top
        How many reasons at most.

    Examples
    --------
    >>> alerts, habit = np.array([[1.0, 1.0]], dtype=np.float32), {"a": 0.0, "b": 1.0}
    >>> (found,) = reasons(("a", "b"), alerts, habit, lambda rows: 2.0 * rows[:, 0])
    >>> [(reason.feature, reason.effect) for reason in found]
    [('a', 2.0)]
    """
    n, d = rows.shape
    if not n:
        return []
    usual = np.array([habit.get(name, np.nan) for name in names], dtype=np.float32)
    features = np.arange(d)
    changed = np.repeat(rows[:, None], 1 + d, axis=1)
    changed[:, 1 + features, features] = np.where(np.isnan(usual), rows, usual)
    found = log_odds(changed.reshape(-1, d)).reshape(n, 1 + d)
    effects = found[:, :1] - found[:, 1:]
    strongest = np.argsort(-effects, axis=1, kind="stable")[:, :top]
    return [
        tuple(
            Reason(
                feature=names[at],
                value=float(row[at]),
                habit=float(usual[at]),
                effect=float(effect[at]),
            )
            for at in order.tolist()
            if effect[at] > 0
        )
        for row, effect, order in zip(rows, effects, strongest, strict=True)
    ]
