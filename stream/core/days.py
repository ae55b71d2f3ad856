"""Whole days of event time out of windows: what has a daily cycle is compared by the day."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.windows import BIN_WIDTH, Windows
from stream.events import logit

Floats = NDArray[np.float64]

DAY_SECONDS = 86_400
HISTORY_DAYS = 7
"""A day is compared with so many before it, at most."""
MATURE = 0.9
"""A day has its labels where it has so large a share of what the day before it has."""

_LONGEST_DAYS = 60
_SUMS = (
    *("transactions", "alerts", "labelled", "true_positives", "false_positives"),
    *("true_negatives", "false_negatives", "labelled_score_sum"),
)
_counts = attrgetter(*_SUMS, "model_position", "learned_share")
_FEW_LABELS = 200
_EDGES = np.arange(-10, 4) / BIN_WIDTH
"""Coarse bins of scores: one for each unit of log-odds between e^-10 and e^3."""
_BINS = len(_EDGES) + 1


class Day(NamedTuple):
    """What the windows of 24 hours hold together."""

    transactions: float
    alerts: float
    labelled: float
    true_positives: float
    false_positives: float
    true_negatives: float
    false_negatives: float
    labelled_score_sum: float

    @property
    def frauds(self) -> float:
        """Labelled frauds."""
        return self.true_positives + self.false_negatives

    def __add__(self, other: object) -> Day:
        if not isinstance(other, Day):
            return NotImplemented
        return Day(*(mine + its for mine, its in zip(self, other, strict=True)))


class Days:
    """The windows of some partitions, as sums over any 24 hours that end with a window.

    A day is named by its end: how many windows it lies before the newest whole one. Those whose
    times lie far from `now_seconds`, as of clocks gone wrong, are left out.

    Parameters
    ----------
    windows
        Of each partition, all of one length.
    now_seconds
        Event time.
    slack_seconds
        Windows are whole that ended so long before.
    """

    def __init__(
        self, windows: Iterable[Windows], now_seconds: float, slack_seconds: float = 0.0
    ) -> None:
        self._windows = tuple(windows)
        self.seconds = self._windows[0].seconds
        self.per_day = max(round(DAY_SECONDS / self.seconds), 1)
        """Windows of a day."""
        self.newest = math.floor((now_seconds - slack_seconds) / self.seconds) - 1
        """Number of the newest whole window, counted from the epoch."""
        ages, counts = self._counted()
        self.length = int(ages.max(initial=-1)) + 1
        """Windows there are, from the newest back to the oldest."""
        table = np.zeros((self.length, len(_SUMS)))
        np.add.at(table, ages, counts[:, : len(_SUMS)])
        self._sums = np.vstack([np.zeros(len(_SUMS)), np.cumsum(table, axis=0)])
        learned = np.zeros(self.length)
        np.maximum.at(learned, ages, counts[:, -2] * counts[:, -1])
        self._learned = np.maximum.accumulate(learned[::-1])[::-1]

    def day(self, end: int) -> Day | None:
        """The 24 hours that end so many windows before the newest; None where some are missing."""
        if end < 0 or end + self.per_day > self.length:
            return None
        return Day(*(self._sums[end + self.per_day] - self._sums[end]).tolist())

    def before(self, end: int) -> list[Day]:
        """The days before that one, the newest first: up to a week of those with traffic."""
        days = (self.day(end + k * self.per_day) for k in range(1, HISTORY_DAYS + 1))
        return [day for day in days if day is not None and day.transactions > 0]

    def matured(self) -> int | None:
        """The newest day that has about as many of its labels as the day before it has."""
        ends = self.length - 2 * self.per_day + 1
        if ends <= 0:
            return None
        of_days = self._sums[self.per_day :] - self._sums[: -self.per_day]
        labelled = of_days[:, _SUMS.index("labelled")]
        share = labelled / np.maximum(of_days[:, _SUMS.index("transactions")], 1.0)
        ripe = (labelled >= _FEW_LABELS) & (share > 0)
        ripe = ripe[:ends] & (share[:ends] >= MATURE * share[self.per_day :][:ends])
        return int(np.argmax(ripe)) if ripe.any() else None

    def learned_frauds(self, end: int) -> float:
        """Frauds, about, that the model had learned from when that day began."""
        begun = end + self.per_day - 1
        return float(self._learned[begun]) if begun < self.length else 0.0

    def scores(self, prior: float, known: dict[int, Floats]) -> Floats:
        """Count the scores of each day of the last fortnight by coarse bins, shape (days, bins).

        The newest day first. Scores that are no higher than the fraud prior count as one bin: there
        lie the legitimate ones, and a model that learns moves them up and down together. `known`
        holds the counts of whole windows from one look to the next.
        """
        whole = min(self.length // self.per_day, 2 * HISTORY_DAYS)
        numbers = [self.newest - age for age in range(whole * self.per_day)]
        for number in set(known).difference(numbers):
            del known[number]
        for number in numbers:
            if number not in known:
                known[number] = self._coarse(number * self.seconds)
        table = np.array([known[number] for number in numbers]).reshape(-1, _BINS)
        by_day: Floats = table.reshape(whole, self.per_day, _BINS).sum(axis=1)
        low = int(np.searchsorted(_EDGES, logit(prior) / BIN_WIDTH))
        return np.hstack([by_day[:, : low + 1].sum(axis=1, keepdims=True), by_day[:, low + 1 :]])

    def _counted(self) -> tuple[NDArray[np.int64], Floats]:
        """The age of each window in windows, shape (n,), and its counts."""
        found = [
            (self.newest - start / self.seconds, *_counts(window))
            for each in self._windows
            for start, window in each.held.items()
        ]
        table = np.array(found, dtype=np.float64).reshape(len(found), 3 + len(_SUMS))
        near = (table[:, 0] >= 0) & (table[:, 0] < _LONGEST_DAYS * self.per_day)
        return table[near, 0].astype(np.int64), table[near, 1:]

    def _coarse(self, start: int) -> Floats:
        """The scores of a window by coarse bins, shape (bins,)."""
        counts = np.zeros(_BINS)
        for each in self._windows:
            window = each.held.get(start)
            if window is not None:
                bins = np.array(list(window.histogram))
                scored = np.array([count[0] for count in window.histogram.values()])
                np.add.at(counts, np.searchsorted(_EDGES, bins, side="right"), scored)
        return counts
