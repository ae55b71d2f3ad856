"""The linear member: a standardised logistic regression that takes its examples as rows."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

from stream.core.online_bagging import OOB, UOB
from stream.core.placed import Columns
from stream.core.rebalance import FeatureDict, Label, Sampler
from stream.core.samplers import SAMPLERS
from stream.core.smote import Smote

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.float32]

_FURTHEST = 5.0
"""Standard deviations from the mean that a value counts for at most."""
_DEAR = (Smote, OOB, UOB)
"""Samplers that take ten times as long for an example as the others."""
_DEAR_AT_ONCE = 5
_RATE, _L2 = 0.01, 1e-5
"""Of the steps of the regression: as large as River's by default, and how far weights shrink."""


class Linear(base.Classifier):
    """Standardised logistic regression behind a sampler, which learns and scores rows.

    What River's ``StandardScaler | LogisticRegression`` would be, the sampler around the latter:
    there each of 62 features is looked up in a dozen dicts for every example, which takes seven
    times as long. A standardised value counts as at most 5: a feature that has been constant so
    far, as the history of labels is until the first comes, is beyond measure with its first other
    value. What an example does not have counts as the mean.

    >>> model = Linear("under", target_share=0.1, half_life=1000, seed=1)
    >>> for i in range(2_000):
    ...     model.learn_one({"a": float(i % 10)}, i % 10 == 9)
    >>> row = model.predict_proba_one({"a": 9.0})[True]
    >>> abs(model.probabilities(("a",), np.array([[9.0]], np.float32))[0] - row) < 1e-6
    np.True_
    """

    def __init__(
        self,
        strategy: str = "weights",
        target_share: float = 0.1,
        half_life: float = 50_000,
        seed: int = 1,
    ) -> None:
        self.strategy = strategy
        self.target_share = target_share
        self.half_life = half_life
        self.seed = seed
        self.columns = Columns()
        self.scale = Standard()
        self.regression = Regression()
        self.sampler = SAMPLERS[strategy](self.regression, target_share, half_life, seed)

    @property
    def _multiclass(self) -> bool:
        return False

    def learn_one(self, x: FeatureDict, y: Label, w: float = 1.0) -> None:
        self.learn_rows(tuple(x), _as_row(x), np.array([bool(y)]), np.array([w]))

    def learn_rows(
        self, names: tuple[Hashable, ...], rows: Rows, frauds: Bools, weights: Floats
    ) -> int:
        """Learn the first of the examples whose features stand in rows of shape (n, d).

        As many as take a millisecond or so; returns how many, which follows from the sampler alone.
        NaN: missing. One after the other comes to the same but for rounding.
        """
        self.columns.add(names)
        if isinstance(self.sampler, _DEAR):
            rows = rows[:_DEAR_AT_ONCE]
        placed = self.columns.placed(names, rows).astype(np.float64)
        examples = zip(self.scale.learn(placed), frauds.tolist(), weights.tolist(), strict=False)
        for row, is_fraud, weight in examples:
            self.sampler.learn_one(self._given(row), is_fraud, w=weight)  # type: ignore[call-arg]
        return len(rows)

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:  # noqa: ARG002
        fraud = float(self.probabilities(tuple(x), _as_row(x))[0])
        return {False: 1.0 - fraud, True: fraud}

    def probabilities(self, names: tuple[Hashable, ...], rows: Rows) -> Floats:
        """Return the probability of fraud of rows with these columns, shape (n,)."""
        standardised = self.scale.standardised(self.columns.placed(names, rows))
        if isinstance(self.sampler, Sampler):
            return self.sampler.corrected(self.regression.probabilities(standardised))
        # An ensemble of its own.
        found = [self.sampler.predict_proba_one(self._given(row)) for row in standardised]
        return np.array([each.get(True, 0.5) for each in found])

    def _given(self, row: Floats) -> Any:
        """A row as a sampler takes it: it hands on what it is given, unless it makes more of it."""
        if isinstance(self.sampler, Smote):
            return dict(zip(self.columns.names, row.tolist(), strict=True))
        return row


class Standard:
    """Running mean and variance of each column, and values in terms of them.

    >>> scale = Standard()
    >>> scale.learn(np.array([[1.0, 7.0], [3.0, 7.0], [5.0, np.nan]])).round(2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [1.22, 0.0]]
    >>> scale.standardised(np.array([[3.0, 8.0]])).tolist()
    [[0.0, 0.0]]
    """

    def __init__(self) -> None:
        self._counts = np.zeros(0)
        self._means = np.zeros(0)
        self._squares = np.zeros(0)
        """Sums of squared deviations from the mean."""

    def learn(self, rows: Floats) -> Floats:
        """Take in rows, shape (n, d), and return each as it is by then, shape (n, d).

        After Welford, "Note on a method for calculating corrected sums of squares and products"
        (Technometrics 4, 1962). NaN is no value, and becomes the mean: 0. Columns may be added.
        """
        if more := rows.shape[1] - len(self._counts):
            self._counts, self._means, self._squares = (
                np.pad(each, (0, more)) for each in (self._counts, self._means, self._squares)
            )
        there = ~np.isnan(rows)
        counts = self._counts + np.cumsum(there, axis=0)
        # From the mean before, so that what never varies has no rounding errors to vary by.
        first = rows[np.argmax(there, axis=0), np.arange(rows.shape[1])]
        begin = np.where(self._counts > 0, self._means, np.where(there.any(axis=0), first, 0.0))
        away = np.where(there, rows - begin, 0.0)
        means = begin + np.cumsum(away, axis=0) / np.maximum(counts, 1.0)
        before = np.vstack([begin, means[:-1]])
        added = np.where(there, (rows - before) * (rows - means), 0.0)
        squares = self._squares + np.cumsum(added, axis=0)
        self._counts, self._means, self._squares = counts[-1], means[-1], squares[-1]
        return _standardised(rows, means, squares, counts)

    def standardised(self, rows: Rows | Floats) -> Floats:
        """Return rows, shape (n, d), in standard deviations from the mean, no further than 5."""
        return _standardised(rows, self._means, self._squares, self._counts)


def _standardised(rows: Rows | Floats, means: Floats, squares: Floats, counts: Floats) -> Floats:
    varies = squares > 0.0
    scale = np.sqrt(counts / np.where(varies, squares, 1.0)) * varies
    away = (rows - means) * scale
    away[np.isnan(away)] = 0.0
    bounded: Floats = np.clip(away, -_FURTHEST, _FURTHEST, out=away)
    return bounded


class Regression(base.Classifier):
    """Logistic regression by stochastic gradient descent, on rows or on features by name.

    As River's `LogisticRegression` with ``SGD(0.01)`` and an `l2` of 1e-5.

    >>> model = Regression()
    >>> for i in range(2_000):
    ...     model.learn_one(np.array([float(i % 2)]), i % 2 == 1)
    >>> model.probabilities(np.array([[0.0], [1.0]])).round(1).tolist()
    [0.3, 0.8]
    """

    def __init__(self) -> None:
        self.intercept = 0.0
        self._weights = np.zeros(0)
        self._columns = Columns()

    def learn_one(self, x: FeatureDict | Floats, y: Label, w: float = 1.0) -> None:
        if not isinstance(x, np.ndarray):
            self._columns.add(tuple(x))
        row = self._row(x)
        if len(row) > len(self._weights):
            self._weights = np.pad(self._weights, (0, len(row) - len(self._weights)))
        weights = self._weights
        away = w * (_probability(float(row @ weights) + self.intercept) - bool(y))
        self.intercept -= _RATE * away
        weights *= 1.0 - _RATE * _L2
        weights -= (_RATE * away) * row

    def predict_proba_one(
        self,
        x: FeatureDict | Floats,
        **kwargs: Any,  # noqa: ARG002
    ) -> dict[Label, float]:
        fraud = float(self.probabilities(self._row(x)[None])[0])
        return {False: 1.0 - fraud, True: fraud}

    def probabilities(self, rows: Floats) -> Floats:
        """Return the probability of fraud of rows, shape (n,)."""
        known = len(self._weights)
        log_odds = rows[:, :known] @ self._weights[: rows.shape[1]] + self.intercept
        found: Floats = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0)))
        return found

    def _row(self, x: FeatureDict | Floats) -> Floats:
        """An example as a row. Of features by name, each has its column as it is first seen."""
        if isinstance(x, np.ndarray):
            return x
        placed = self._columns.placed(tuple(x), np.array([[*x.values()]], dtype=np.float64))
        row: Floats = np.nan_to_num(placed[0], nan=0.0)
        return row


def _as_row(x: FeatureDict) -> Rows:
    """One example as a block of rows, shape (1, d)."""
    return np.array([*x.values()], dtype=np.float32).reshape(1, len(x))


def _probability(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-min(max(log_odds, -30.0), 30.0)))
