"""Whether labels have stopped: gaps between labels, against the longest that have been usual."""

from __future__ import annotations

import math

from stream.core.alarms import LABELS_SILENT, Finding

_DAY = 86_400.0
_MEMORY_DAYS = 15
"""Gaps are remembered so long: a fortnight has two week-ends."""
_KNOWN_DAYS = 8
"""After so long a week-end has been seen, and the longest gap can be relied on."""
_TIMES, _LEAST_SECONDS = 1.5, 6 * 3600.0
"""From then on labels are silent after so many times the longest gap, and no sooner than this."""
_TIMES_YOUNG = 3.0
"""Before that, after so many times the longest gap, and a day more."""
_FEW = 200
"""Transactions without a label that are needed, too: where nothing happens nothing is labelled."""


class LabelGaps:
    """Gaps between labels in event time, the longest of each day.

    Labels that come as a file each night, or in office hours only, are quiet for most of the time:
    so what is silence depends on the stream.

    >>> gaps = LabelGaps()
    >>> for hour in range(24 * 10):  # every six hours
    ...     gaps.observe(3600.0 * hour, transactions=100, labels=50 if hour % 6 == 0 else 0)
    >>> round(gaps.limit_seconds() / 3600)
    9
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = self._now = 0.0
        self._longest: dict[int, float] = {}
        self._transactions = 0

    def observe(self, now_seconds: float, transactions: int, labels: int) -> None:
        """Take in what came at about this event time."""
        self._now = now_seconds
        self._transactions += transactions
        if not labels:
            return
        if self._first is None:
            self._first = self._last = now_seconds
        day = math.floor(now_seconds / _DAY)
        gap = now_seconds - self._last
        if gap > self._longest.get(day, -1.0):
            self._longest[day] = gap
            near = {d: g for d, g in self._longest.items() if abs(d - day) < _MEMORY_DAYS}
            self._longest = near
        self._last, self._transactions = now_seconds, 0

    def limit_seconds(self) -> float:
        """Return how long a gap may last."""
        longest = max(self._longest.values(), default=0.0)
        if self._first is not None and self._now - self._first >= _KNOWN_DAYS * _DAY:
            return max(_TIMES * longest, _LEAST_SECONDS)
        return _TIMES_YOUNG * longest + _DAY

    def finding(self) -> Finding | None:
        """Return whether labels have stopped; None where none has come yet."""
        if self._first is None:
            return None
        silent, limit = self._now - self._last, self.limit_seconds()
        cause = (
            f"no label for {silent / 3600:,.1f} hours of event time and {self._transactions:,} "
            f"transactions, and gaps of up to {max(self._longest.values()) / 3600:,.1f} hours have "
            "been usual"
        )
        holds = silent > limit and self._transactions >= _FEW
        return Finding(LABELS_SILENT, holds, silent / 3600, limit / 3600, cause)
