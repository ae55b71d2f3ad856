"""Online SMOTE: frauds that never were, between those that were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from river import base

from stream.core.neighbours import (
    Columns,
    Floats,
    Reservoir,
    between,
    distances,
    nearest,
    scales,
    two_valued,
)
from stream.core.offset import Offset
from stream.core.oversampling import MAX_REPLICAS, Hybrid
from stream.core.rates import F
from stream.core.rebalance import FeatureDict, Label

_LOOKED_AT_EVERY = 25
"""Frauds after which scales and flags are looked at again: they cost more than a neighbour."""


class Smote(Hybrid):
    """Thins the majority and adds synthetic frauds, each on the line between two real ones.

    As `Hybrid`, with interpolated frauds in place of repeated ones: of the ``1 + Poisson(lambda -
    1)`` copies of a fraud x the first is x itself, and the others are ``x + u (z - x)``, u uniform
    in [0, 1), z one of the k nearest frauds of a bounded, slowly forgetting sample (`Reservoir`).
    Distances are taken in units of the standard deviation among those frauds.

    Columns with two values, such as the flags of a one-hot encoding, raw or scaled, take the value
    of the nearer of x and z, all of one synthetic fraud the same (`between`). Features that are no
    finite numbers, or that z lacks, keep the value of x. Counts may become fractions.

    Frauds that never were are no sample of those that come, so that the prior correction alone
    leaves scores too high where they were put. What is left is met by one number in the log-odds
    (`Offset`), learned from the scores of the examples that are learned, at one score for each.

    Chawla, Bowyer, Hall and Kegelmeyer, "SMOTE: synthetic minority over-sampling technique" (JAIR
    16, 2002), on a stream. Its kin C-SMOTE (Bernardo, Gomes, Montiel, Pfahringer, Bifet and Della
    Valle, IEEE Big Data 2020) keeps an ADWIN window of the minority in place of the reservoir.

    Parameters
    ----------
    classifier
        A binary classifier; labels are False and True, or 0 and 1.
    target_share
        Share of frauds aimed at in what is learned.
    half_life
        Of the class prior and the rates, in labels.
    seed
        Of the sampling.
    max_replicas
        Of one fraud, at most, itself among them.
    neighbours
        k, the nearest frauds to choose from.
    reservoir
        Frauds kept, at most.

    Examples
    --------
    >>> from river import linear_model
    >>> model = Smote(linear_model.LogisticRegression(), target_share=0.2, half_life=2000, seed=1)
    >>> for i in range(20_000):
    ...     model.learn_one({"x": (i % 50 == 0) * 3.0 + i % 7}, i % 50 == 0)
    >>> round(model.learned_share, 1)
    0.2
    >>> x = {"x": 5.0, "card": 1, "cash": 0}
    >>> model.synthesised(x, count=1)[0].keys() == x.keys()
    True
    """

    def __init__(
        self,
        classifier: base.Classifier,
        target_share: float = 0.03,
        half_life: float = 50_000,
        seed: int | None = None,
        *,
        max_replicas: int = MAX_REPLICAS,
        neighbours: int = 5,
        reservoir: int = 500,
    ) -> None:
        super().__init__(classifier, target_share, half_life, seed, max_replicas=max_replicas)
        if neighbours < 1 or reservoir < 2:
            raise ValueError(
                f"neighbours is {neighbours!r} and reservoir {reservoir!r}: "
                "give at least 1 and at least 2"
            )
        self.neighbours = neighbours
        self.reservoir = reservoir
        self._columns = Columns()
        self._frauds = Reservoir(reservoir)
        self._scales = np.zeros(0)
        self._whole = np.ones(0, dtype=np.bool_)
        self._until_looked_at = 0
        self._offset = Offset(half_life)

    def corrected(self, fraud: F) -> F:
        """Return the classifier's own probability, or an array of them, as of the whole stream."""
        return self._offset.applied(super().corrected(fraud))

    def _learn(self, x: FeatureDict, y: Label, amount: float, kwargs: Mapping[str, Any]) -> float:
        stands_for = self._rates.stands_for(is_fraud=bool(y))
        score = self.predict_proba_one(x)[True]
        self._offset.learn(score, is_fraud=bool(y), weight=stands_for)
        if not y:
            return super()._learn(x, y, amount, kwargs)
        self._remember(x)
        self.classifier.learn_one(x, y, **kwargs)
        for made in self.synthesised(x, int(amount) - 1):
            self.classifier.learn_one(made, y, **kwargs)
        return float(int(amount))

    def synthesised(self, x: FeatureDict, count: int) -> list[FeatureDict]:
        """Return so many frauds between x and frauds near it; x itself where there are none."""
        if count < 1:
            return []
        if len(self._frauds) < 2:
            return [x] * count
        point = self._point(x)
        # One more than asked for: the nearest of x is x itself, where it is in the reservoir.
        squared = distances(self._frauds.points, point, self._scales)
        near = [i for i in nearest(squared, self.neighbours + 1) if squared[i] > 0.0]
        if not near:
            return [x] * count
        return [self._between(x, point, near) for _ in range(count)]

    def _between(self, x: FeatureDict, point: Floats, near: list[np.intp]) -> FeatureDict:
        other = self._frauds.points[near[int(self._rng.random() * len(near))]]
        mixed = between(point, other, self._rng.random(), self._whole)
        index = self._columns.index
        values = dict(zip(index, mixed.tolist(), strict=True))
        # What is no finite number in x is NaN in `point`, and stays as it is.
        return {
            name: values[name] if name in index and values[name] == values[name] else value
            for name, value in x.items()
        }

    def _point(self, x: FeatureDict) -> Floats:
        """Return x in its columns, and see that all that is kept has these columns."""
        point = self._columns.vector(x)
        self._widen(len(point))
        if self._until_looked_at <= 0 or len(self._scales) < len(point):
            self._look()
        return point

    def _widen(self, columns: int) -> None:
        self._frauds.widen(columns)

    def _look(self) -> None:
        points = self._all_points()
        self._scales, self._whole = scales(points), two_valued(points)
        self._until_looked_at = min(_LOOKED_AT_EVERY, len(self._frauds) // 4)

    def _all_points(self) -> Floats:
        return self._frauds.points

    def _remember(self, x: FeatureDict) -> int:
        self._until_looked_at -= 1
        return self._frauds.add(self._columns.vector(x), self._rng)


class BorderlineSmote(Smote):
    """Online SMOTE that adds frauds only where the classes meet.

    Beside the frauds, a reservoir of the legitimate examples that were learned. A fraud is in
    *danger* if at least half of its m nearest neighbours in both reservoirs together are
    legitimate, but not all; one with none but legitimate neighbours is noise, the others are safe.
    Synthetic frauds start from those in danger: from the one at hand, or else from one of the
    reservoir, by chance. While none is in danger, the fraud at hand is repeated.

    Both reservoirs are bounded alike, so that danger is judged as if the classes were about equal
    in number: among all transactions nearly every fraud would be noise.

    Han, Wang and Mao, "Borderline-SMOTE" (ICIC 2005; their borderline-SMOTE1), on a stream.

    Parameters
    ----------
    classifier
        A binary classifier; labels are False and True, or 0 and 1.
    target_share
        Share of frauds aimed at in what is learned.
    half_life
        Of the class prior and the rates, in labels.
    seed
        Of the sampling.
    max_replicas
        Of one fraud, at most, itself among them.
    neighbours
        k, the nearest frauds to choose from.
    reservoir
        Frauds kept, at most, and legitimate examples.
    around
        m, the nearest neighbours that tell whether a fraud is in danger.

    Examples
    --------
    >>> from river import linear_model
    >>> model = BorderlineSmote(linear_model.LogisticRegression(), 0.2, half_life=2000, seed=1)
    >>> for i in range(20_000):
    ...     model.learn_one({"x": (i % 50 == 0) * 3.0 + i % 7}, i % 50 == 0)
    >>> round(model.learned_share, 1)
    0.2
    """

    def __init__(
        self,
        classifier: base.Classifier,
        target_share: float = 0.03,
        half_life: float = 50_000,
        seed: int | None = None,
        *,
        max_replicas: int = MAX_REPLICAS,
        neighbours: int = 5,
        reservoir: int = 500,
        around: int = 10,
    ) -> None:
        super().__init__(
            classifier,
            target_share,
            half_life,
            seed,
            max_replicas=max_replicas,
            neighbours=neighbours,
            reservoir=reservoir,
        )
        if around < 1:
            raise ValueError(f"around is {around!r}: give at least 1")
        self.around = around
        self._legitimate = Reservoir(reservoir)
        self._examples: list[FeatureDict] = []
        """The frauds in the reservoir as they came, by slot."""
        self._danger: dict[int, None] = {}
        """Slots of frauds in danger, in the order of their finding."""

    def _learn(self, x: FeatureDict, y: Label, amount: float, kwargs: Mapping[str, Any]) -> float:
        if not y:
            self._legitimate.add(self._columns.vector(x), self._rng)
        return super()._learn(x, y, amount, kwargs)

    def _remember(self, x: FeatureDict) -> int:
        slot = super()._remember(x)
        if slot == len(self._examples):
            self._examples.append({})
        self._examples[slot] = dict(x)
        self._danger.pop(slot, None)
        if self._in_danger(self._point(x)):
            self._danger[slot] = None
        return slot

    def synthesised(self, x: FeatureDict, count: int) -> list[FeatureDict]:
        """Return so many frauds between those in danger and frauds near them."""
        if count < 1:
            return []
        start = x if self._in_danger(self._point(x)) else self._one_in_danger()
        return [x] * count if start is None else super().synthesised(start, count)

    def _one_in_danger(self) -> FeatureDict | None:
        """A fraud of the reservoir in danger, by chance; those that are so no more are dropped."""
        while self._danger:
            slots = list(self._danger)
            slot = slots[int(self._rng.random() * len(slots))]
            if self._in_danger(self._point(self._examples[slot])):
                return self._examples[slot]
            del self._danger[slot]
        return None

    def _in_danger(self, point: Floats) -> bool:
        frauds = distances(self._frauds.points, point, self._scales)
        legitimate = distances(self._legitimate.points, point, self._scales)
        # The fraud itself is among its neighbours, and does not count.
        found = nearest(np.concatenate([frauds, legitimate]), self.around + 1)
        hostile = int((found >= len(frauds)).sum())
        return self.around / 2 <= hostile < self.around

    def _widen(self, columns: int) -> None:
        super()._widen(columns)
        self._legitimate.widen(columns)

    def _all_points(self) -> Floats:
        return np.concatenate([self._frauds.points, self._legitimate.points])
