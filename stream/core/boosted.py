"""Boosted trees behind River's interface: refitted on the latest examples as the log grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from river import base

from stream.core.placed import Columns
from stream.core.rebalance import FeatureDict, Label
from stream.core.steps import Awaited
from stream.core.trees import Bools, Fit, Floats, Rows, Trees


class Fitting(Awaited, Protocol):
    """Trees on their way: a `Future` of them, or what is like one."""

    def result(self) -> Trees:
        """Return them; wait for them where they are not there yet."""


class Fitter(Protocol):
    """Where fits are done: any `Executor`, or what is like one."""

    def submit(self, fit: Fit, /) -> Fitting: ...


class BoostedTrees(base.Classifier):
    """Gradient-boosted trees (XGBoost), fitted anew when enough has been learned since.

    Examples are kept, the last `max_examples` of them. At fixed counts of examples, and so at fixed
    positions of the training log, the trees are fitted to what is kept, rebalanced to the target
    share; a little later in the log they take over from those before. Both moments follow from
    the number of examples alone: every worker comes to the same trees, whether it fits
    them at once or in the background (`executor`). Between two fits nothing changes.

    The next fit comes when what was learned has grown by the share `growth` since the last: often
    in the beginning, seldom later, at a bounded cost per example. `refresh` makes them up to
    twice as frequent again.
    Chen and Guestrin, "XGBoost: a scalable tree boosting system" (KDD 2016).

    Parameters
    ----------
    target_share
        Share of frauds aimed at in what the trees are fitted to.
    strategy
        How they come to it: a name that `resample` knows.
    growth
        Share of growth between two fits.
    min_frauds
        Frauds, and legitimate examples, before the first fit.
    min_examples
        Examples between two fits at least.
    max_examples
        Examples kept.
    seed
        Of the sampling and the trees.

    Examples
    --------
    >>> model = BoostedTrees(target_share=0.3, seed=1)
    >>> for i in range(2_000):
    ...     model.learn_one({"a": i % 10, "b": i % 7}, i % 10 == 3)
    >>> model.predict_proba_one({"a": 3, "b": 0})[True] > 0.8
    True
    >>> model.predict_proba_one({"a": 4, "b": 0})[True] < 0.1
    True
    """

    executor: Fitter | None = None
    """Where to fit; none: at once. Makes no difference to what is learned, and is not kept."""

    def __init__(
        self,
        target_share: float = 0.1,
        strategy: str = "weights",
        *,
        growth: float = 0.2,
        min_frauds: int = 20,
        min_examples: int = 200,
        max_examples: int = 100_000,
        seed: int = 1,
    ) -> None:
        self.target_share = target_share
        self.strategy = strategy
        self.growth = growth
        self.min_frauds = min_frauds
        self.min_examples = min_examples
        self.max_examples = max_examples
        self.seed = seed
        self.learned = 0
        self.fits = 0
        self._columns = Columns()
        self._held = 0
        self._features: Rows = np.zeros((256, 0), dtype=np.float32)
        self._frauds = np.zeros(256, dtype=np.bool_)
        self._weights = np.zeros(256)
        self._trees: Trees | None = None
        self._coming: tuple[int, Fitting | Trees] | None = None
        self._next_fit = min_examples
        self._since = self._begun = 0

    @property
    def _multiclass(self) -> bool:
        return False

    @property
    def fitted(self) -> bool:
        """Whether there are trees in force."""
        return self._trees is not None

    @property
    def awaited(self) -> Fitting | None:
        """The trees that come into force with the next example, where they are still on their way.

        To learn it is to wait for them.
        """
        if self._coming is None or self.learned + 1 < self._coming[0]:
            return None
        return None if isinstance(self._coming[1], Trees) else self._coming[1]

    def learn_one(self, x: FeatureDict, y: Label, w: float = 1.0) -> None:
        self._keep_one(x, bool(y), w)
        self._go_on()

    def learn_rows(self, names: tuple[Any, ...], rows: Rows, frauds: Bools, weights: Floats) -> int:
        """Learn the first of the examples whose features stand in rows of shape (n, d) already.

        As many of them as it can before it begins or awaits a fit, one at least; returns how many.
        NaN: missing. One after the other comes to the same.
        """
        self._add_columns(names)
        rows = self._columns.placed(names, rows)
        until = self._next_fit if self._coming is None else self._coming[0] - 1
        count = self._keep(rows[: max(until - self.learned, 1)], frauds, weights)
        self.learned += count - 1
        self._go_on()
        return count

    def correct(self, x: FeatureDict, y: Label, w: float = 1.0) -> None:
        """Learn that an example learned before has the other label, and now stands for `w`.

        The newest with exactly these features and the other label is corrected where it is kept,
        for the fits to come; where none is kept any more, it is one more example.
        """
        at = self._find(x, not y)
        if at is None:
            self._keep_one(x, bool(y), w)
        else:
            self._frauds[at], self._weights[at] = bool(y), w
        self._go_on()

    def _go_on(self) -> None:
        """Count an example; fit, or let what was fitted take over, where it is time."""
        self.learned += 1
        if self._coming is not None and self.learned >= self._coming[0]:
            self._trees, self._coming = _result(self._coming[1]), None
        if self.learned >= self._next_fit and self._coming is None and self._enough():
            self._begin()

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:  # noqa: ARG002
        row = np.array([self._row(x)], dtype=np.float32)
        fraud = float(self.probabilities(self._columns.names, row)[0])
        return {False: 1.0 - fraud, True: fraud}

    def probabilities(self, names: Sequence[Any], rows: Rows) -> Floats:
        """Return the probability of fraud of rows with these columns, shape (n,)."""
        if self._trees is None:
            return np.full(len(rows), self._prior())
        return self._trees.probabilities(tuple(names), rows)

    def refresh(self) -> None:
        """Fit again soon, and often, as in the beginning: the stream has changed."""
        self._since = self.learned
        soonest = max(self.learned + self.min_examples, self._begun + self._least())
        self._next_fit = min(self._next_fit, soonest)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("executor", None)
        if self._coming is not None:
            state["_coming"] = (self._coming[0], _result(self._coming[1]))
        return state

    def _begin(self) -> None:
        grown = int(self.growth * (self.learned - self._since))
        interval = max(self.min_examples, grown, self._least())
        self._begun = self.learned
        self._next_fit = self.learned + interval
        self.fits += 1
        n = self._held
        names, scores = self._columns.names, None
        # While the trees are fitted elsewhere, labels are corrected. Features stay as they are, and
        # are too many to be copied while others wait.
        features, frauds = self._features[:n], self._frauds[:n].copy()
        if self.strategy == "hard":  # by the trees in force, or all alike
            scores = self.probabilities(names, features)
        fit = Fit(
            names,
            features,
            frauds,
            self._weights[:n].copy(),
            self.strategy,
            self.target_share,
            self.seed + self.fits,
            scores,
        )
        fitted = fit() if self.executor is None else self.executor.submit(fit)
        self._coming = (self.learned + interval // 10, fitted)

    def _least(self) -> int:
        """Examples between two fits at least: after `refresh` fits are dear, not boundless."""
        return int(self._held * self.growth / 2)

    def _enough(self) -> bool:
        frauds = int(self._frauds[: self._held].sum())
        return min(frauds, self._held - frauds) >= self.min_frauds

    def _prior(self) -> float:
        """Share of frauds in what is kept, by what it stands for."""
        weights = self._weights[: self._held]
        frauds = float(weights[self._frauds[: self._held]].sum())
        return (frauds + 0.5) / (float(weights.sum()) + 1.0)

    def _keep_one(self, x: FeatureDict, is_fraud: bool, weight: float) -> None:
        self._add_columns(tuple(x))
        row = np.array([self._row(x)], dtype=np.float32)
        self._keep(row, np.array([is_fraud]), np.array([weight]))

    def _keep(self, rows: Rows, frauds: Bools, weights: Floats) -> int:
        """Keep the first of these examples, as many as there is room for; return how many."""
        if self._held == self.max_examples:  # the oldest eighth goes at once
            left = self.max_examples - max(self.max_examples // 8, 1)
            for array in (self._frauds, self._weights):
                array[:left] = array[self._held - left : self._held]
            kept = np.empty_like(self._features)
            kept[:left] = self._features[self._held - left : self._held]
            self._features = kept  # a fit that is under way has the array before
            self._held = left
        if self._held == len(self._frauds):
            size = (min(2 * self._held, self.max_examples),)
            self._features = np.resize(self._features, size + self._features.shape[1:])
            self._frauds = np.resize(self._frauds, size)
            self._weights = np.resize(self._weights, size)
        room = min(len(self._frauds), self.max_examples) - self._held
        count = min(len(rows), room)
        at = slice(self._held, self._held + count)
        self._features[at] = rows[:count]
        self._frauds[at] = frauds[:count]
        self._weights[at] = weights[:count]
        self._held += count
        return count

    def _find(self, x: FeatureDict, is_fraud: bool) -> int | None:
        """Where the newest example with these features and this label is kept, if it is."""
        if not x.keys() <= set(self._columns.names):
            return None
        # As bits: so what is missing, NaN, equals itself.
        row = np.array(self._row(x), dtype=np.float32).view(np.uint32)
        kept = self._features[: self._held].view(np.uint32)
        at = np.flatnonzero(self._frauds[: self._held] == is_fraud)
        for column, value in enumerate(row):
            if not len(at):
                return None
            at = at[kept[at, column] == value]
        return int(at[-1]) if len(at) else None

    def _row(self, x: FeatureDict) -> list[float]:
        return [number(x.get(name, math.nan)) for name in self._columns.names]

    def _add_columns(self, names: tuple[Any, ...]) -> None:
        if new := self._columns.add(names):
            missing = np.full((len(self._features), new), np.nan, dtype=np.float32)
            self._features = np.column_stack([self._features, missing])


def _result(fitted: Fitting | Trees) -> Trees:
    return fitted if isinstance(fitted, Trees) else fitted.result()


def number(value: Any) -> float:
    """Return a value as the trees take it; what is no number is missing: NaN."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
