"""How much traffic is still to come: an hour-of-day profile learned from the stream."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HOUR = 3600.0
_DAYS = 7
"""Days over which the profile averages."""
_LONGEST_GAP = 24 * _DAYS
_OPEN_HOURS = 64


def counted(whole: Floats) -> list[tuple[int, int]]:
    """Return each whole number of a column with how often it occurs.

    >>> counted(np.array([3.0, 3.0, 4.0]))
    [(3, 2), (4, 1)]
    """
    if len(whole) and whole.min() == whole.max():  # as nearly always: many times faster
        return [(int(whole[0]), len(whole))]
    values, counts = np.unique(whole, return_counts=True)
    return [(int(value), int(count)) for value, count in zip(values, counts, strict=True)]


class Traffic:
    """Transactions to be expected between two moments, by the hour of the day (UTC).

    Each hour of the day has a mean count: the plain mean over the first week, then an exponential
    one. Hours of the day not seen yet take the mean of the others.

    Parameters
    ----------
    begin_seconds
        Where the stream begins: its first whole hour is the first that counts.

    Examples
    --------
    >>> traffic = Traffic(begin_seconds=0.0)
    >>> traffic.observe(np.arange(0, 86_400.0, 60.0))  # one each minute
    >>> traffic.close(86_400.0)
    >>> traffic.expected(90_000.0, 91_800.0)
    30.0
    """

    def __init__(self, begin_seconds: float) -> None:
        self._mean = [0.0] * 24
        self._days = [0] * 24
        self._until: list[float] = []
        """Transactions expected from midnight to each hour of the day; empty: nothing is known."""
        self._open: dict[int, int] = {}
        self._next = math.ceil(begin_seconds / _HOUR)
        """The first hour, counted from the epoch, that has not been closed."""

    @property
    def whole(self) -> bool:
        """Whether each hour of the day has been seen."""
        return all(self._days)

    def observe(self, times_seconds: Floats) -> None:
        """Count transactions at these event times, shape (n,)."""
        for hour, count in counted(np.floor_divide(times_seconds, _HOUR)):
            self._open[hour] = self._open.get(hour, 0) + count

    def close(self, now_seconds: float) -> None:
        """Learn the hours that ended before `now_seconds`."""
        current = math.floor(now_seconds / _HOUR)
        if len(self._open) > _OPEN_HOURS:  # clocks gone wrong
            self._open = {h: n for h, n in self._open.items() if h <= current + 1}
        if self._next >= current:
            return
        for hour in range(max(self._next, current - _LONGEST_GAP), current):
            of_day = hour % 24
            self._days[of_day] = min(self._days[of_day] + 1, _DAYS)
            missing = self._open.get(hour, 0) - self._mean[of_day]
            self._mean[of_day] += missing / self._days[of_day]
        self._next = current
        self._open = {h: n for h, n in self._open.items() if h >= current}
        seen = [mean for mean, days in zip(self._mean, self._days, strict=True) if days]
        usual = sum(seen) / len(seen)
        pairs = zip(self._mean, self._days, strict=True)
        by_hour = (mean if days else usual for mean, days in pairs)
        self._until = list(accumulate(by_hour, initial=0.0))

    def expected(self, begin_seconds: float, end_seconds: float) -> float | None:
        """Return how many transactions to expect between two moments; None before a whole hour."""
        if not self._until:
            return None
        return self._since_epoch(end_seconds) - self._since_epoch(begin_seconds)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as numbers and lists of them."""
        return {
            "mean": self._mean,
            "days": self._days,
            "until": self._until,
            "open": list(self._open.items()),
            "next": self._next,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Traffic:
        """Return what `snapshot` was taken of."""
        made = cls(0.0)
        made._mean, made._days, made._until = state["mean"], state["days"], state["until"]
        made._open = {int(hour): int(count) for hour, count in state["open"]}
        made._next = state["next"]
        return made

    def _since_epoch(self, seconds: float) -> float:
        days, rest = divmod(seconds, 24 * _HOUR)
        hour = int(rest // _HOUR)
        part = rest / _HOUR - hour
        before, after = self._until[hour], self._until[hour + 1]
        return days * self._until[24] + before + part * (after - before)
