"""The rolling precision-recall curve: matured scores, and what each cut through them would do."""

from __future__ import annotations

from bisect import bisect
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.bounds import lower_bound
from stream.core.maturing import Matured

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MAX_SCORE = 1.0 - 1e-9
"""Scores stay below this, so that a threshold of 1 flags nothing."""
_SCORE, _FRAUD, _WEIGHT, _AMOUNT, _SAMPLED, _ALERTED, _KEY = range(7)
"""What is kept of an example, as `Matured` has it."""


class Point(NamedTuple):
    """A cut through the rolling curve, and what it would have done; bounds are 90 % lower ones."""

    threshold: float
    precision: float
    precision_lower: float
    recall: float
    recall_lower: float
    f1: float
    flagged: float
    """Transactions that it flags of those the curve stands for."""
    amount_missed: float


class Curve(NamedTuple):
    """Cuts through matured scores, highest threshold first; the first flags nothing.

    Columns of one length. Counts are sums of weights: the transactions that the examples stand for.
    """

    threshold: Floats
    caught: Floats
    caught_squared: Floats
    """Sum of squared weights of the frauds at or above the cut."""
    false_alarms: Floats
    false_alarms_squared: Floats
    amount_missed: Floats
    legitimate_unit: float
    """Mean weight of a legitimate example."""

    @property
    def flagged(self) -> Floats:
        """Transactions that each cut flags."""
        return self.caught + self.false_alarms

    @property
    def precision(self) -> Floats:
        """Share of frauds among what each cut flags; 0 where it flags nothing."""
        return self.caught / np.maximum(self.flagged, 1e-300)

    @property
    def recall(self) -> Floats:
        """Share of the frauds that each cut flags."""
        return np.asarray(self.caught / np.maximum(self.caught[-1], 1e-300))

    @property
    def precision_lower(self) -> Floats:
        """Lower confidence bound of each cut's precision."""
        return lower_bound(
            self.caught,
            self.caught_squared,
            self.false_alarms,
            self.false_alarms_squared,
            self.legitimate_unit,
        )

    @property
    def recall_lower(self) -> Floats:
        """Lower confidence bound of each cut's recall."""
        missed = self.caught[-1] - self.caught
        missed_squared = self.caught_squared[-1] - self.caught_squared
        unit = float(self.caught_squared[-1] / self.caught[-1]) if self.caught[-1] else 1.0
        return lower_bound(self.caught, self.caught_squared, missed, missed_squared, unit)

    def f(self, beta: float) -> Floats:
        """Return the F-measure of each cut; recall counts `beta` times."""
        b2 = beta * beta
        bottom = self.flagged + b2 * self.caught[-1]
        return np.asarray((1.0 + b2) * self.caught / np.maximum(bottom, 1e-300))

    def at(self, threshold: float) -> int:
        """Return the cut that a threshold comes to: the last one at or above it."""
        return max(int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1, 0)

    def point(self, cut: int) -> Point:
        """Return a cut and what it would have done."""
        columns = (
            self.threshold,
            self.precision,
            self.precision_lower,
            self.recall,
            self.recall_lower,
            self.f(1.0),
            self.flagged,
            self.amount_missed,
        )
        return Point(*(float(column[cut]) for column in columns))


class RollingCurve:
    """Matured examples: the last frauds, and the legitimate ones of the same span.

    Parameters
    ----------
    max_frauds
        Frauds kept; with the oldest of them goes all that came before it.
    max_examples
        Bound on all examples kept.
    review_rate
        Share of the unflagged transactions that are reviewed, where only those get a label: an
        example with `sampled` stands for the inverse of it. Missed frauds that come in by
        themselves, unsampled, are taken to be all there are.
    """

    def __init__(
        self, max_frauds: int = 800, max_examples: int = 40_000, review_rate: float = 1.0
    ) -> None:
        if not 0 < review_rate <= 1:
            raise ValueError(f"review_rate is a share above 0 and up to 1, not {review_rate}")
        self.max_frauds = max_frauds
        self.max_examples = max_examples
        self.review_rate = review_rate
        self._columns = np.zeros((7, 256))
        self._begin = self._end = 0
        self._frauds_at: deque[int] = deque()
        """Rows of the frauds kept, counted from the first row ever."""
        self._dropped = 0
        self._ranked = np.empty(0, dtype=np.int64)
        """The rows there were when the curve was last looked at, counted like those of the frauds,
        highest score first: with few new ones behind them, they are nearly in order."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ranked": np.empty(0, dtype=np.int64)}  # comes to the same

    def __len__(self) -> int:
        """How many examples are kept."""
        return self._end - self._begin

    @property
    def frauds(self) -> int:
        """How many frauds are kept."""
        return len(self._frauds_at)

    def add(
        self,
        score: float,
        is_fraud: bool,
        weight: float,
        amount: float = 0.0,
        *,
        sampled: bool = False,
        alerted: bool = False,
        key: int = 0,
    ) -> None:
        """Add a matured example; `weight` is how many labelled transactions it stands for."""
        if self._end == self._columns.shape[1]:
            self._make_room()
        self._columns[:, self._end] = score, is_fraud, weight, amount, sampled, alerted, key
        if is_fraud:
            self._frauds_at.append(self._dropped + self._end)
        self._end += 1
        self._bound_frauds()
        if len(self) > self.max_examples:
            if self._frauds_at and self._frauds_at[0] == self._dropped + self._begin:
                self._frauds_at.popleft()
            self._begin += 1

    def correct(self, example: Matured) -> bool:
        """Let an example take the place, and the score, of one of the other class with its key.

        Returns whether one is kept.
        """
        columns = self._columns[:, self._begin : self._end]
        same = (columns[_KEY] == example.key) & ((columns[_FRAUD] > 0) != example.is_fraud)
        found = np.flatnonzero(same)
        if not len(found):
            return False
        corrected = example.is_fraud, example.weight, example.sampled
        columns[[_FRAUD, _WEIGHT, _SAMPLED], found[-1]] = corrected
        at = self._dropped + self._begin + int(found[-1])
        if example.is_fraud:
            self._frauds_at.insert(bisect(self._frauds_at, at), at)
            self._bound_frauds()
        else:
            self._frauds_at.remove(at)
        return True

    def _bound_frauds(self) -> None:
        if len(self._frauds_at) > self.max_frauds:
            self._begin = self._frauds_at.popleft() - self._dropped + 1

    def _make_room(self) -> None:
        kept = self._columns[:, self._begin : self._end]
        count = kept.shape[1]
        self._columns = np.zeros((len(kept), max(256, 2 * count)))
        self._columns[:, :count] = kept
        self._dropped += self._begin
        self._begin, self._end = 0, count

    def points(self) -> Curve:
        """Return the curve as it is now. Raises ValueError where it is empty.

        A cut lies halfway, in log-odds, between a score and the next lower one.
        """
        if not len(self):
            raise ValueError("the rolling curve has no example yet: add some before its points")
        at = self._by_score()
        score, amount = self._columns[_SCORE][at], self._columns[_AMOUNT][at]
        fraud = self._columns[_FRAUD][at] > 0
        weight = self._weights(at, fraud)
        last_of_tie = np.append(score[1:] != score[:-1], True)

        def summed(values: Floats) -> Floats:
            """Sums down to each cut, from the cut that flags nothing on."""
            return np.append(0.0, np.cumsum(values)[last_of_tie])

        of_fraud, of_legitimate = np.where(fraud, weight, 0.0), np.where(fraud, 0.0, weight)
        amounts = summed(of_fraud * amount)
        return Curve(
            np.append(1.0, _halfway(score[last_of_tie])),
            summed(of_fraud),
            summed(of_fraud**2),
            summed(of_legitimate),
            summed(of_legitimate**2),
            amounts[-1] - amounts,
            float(weight[~fraud].mean()) if not fraud.all() else 1.0,
        )

    def _by_score(self) -> Ints:
        """Columns of the examples kept, the highest score first; of equals, the first that came."""
        begin, end = self._dropped + self._begin, self._dropped + self._end
        before = self._ranked[self._ranked >= begin]
        known = int(self._ranked.max()) + 1 if len(self._ranked) else 0
        rows = np.concatenate([before, np.arange(max(known, begin), end)])
        scores = self._columns[_SCORE][rows - self._dropped]
        self._ranked = rows[np.argsort(-scores, kind="stable")]
        return self._ranked - self._dropped

    def _weights(self, at: Ints, fraud: Bools) -> Floats:
        weight: Floats = self._columns[_WEIGHT][at]
        sampled = self._columns[_SAMPLED][at] > 0
        if self.review_rate == 1.0 or not sampled.any():
            return weight
        flagged = self._columns[_ALERTED][at] > 0
        if (fraud & ~sampled & ~flagged).any():  # missed frauds come in by themselves
            sampled = sampled & ~fraud
        return np.where(sampled, weight / self.review_rate, weight)


def _halfway(scores: Floats) -> Floats:
    """Return for falling scores the cuts below each: no higher than it, above the next."""
    odds = _log_odds(scores)
    middle = np.append((odds[:-1] + odds[1:]) / 2, odds[-1:])
    # Scores closer than the rounding of log-odds are told apart by the score itself.
    cut = np.minimum(1.0 / (1.0 + np.exp(-middle)), scores)
    return np.where(cut > np.append(scores[1:], -1.0), cut, scores)


def _log_odds(scores: Floats) -> Floats:
    p = np.clip(scores, 1e-10, MAX_SCORE)
    odds: Floats = np.log(p) - np.log1p(-p)
    return odds
