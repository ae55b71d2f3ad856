"""Windows of a range of time, put together to as many points as a chart shows."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import NamedTuple

from stream.core.merging import merge
from stream.events import utc
from stream.io.store import StoreReader
from stream.watch.snapshot import Span, spans

POINTS = 120
"""Points of a chart, at most two more."""

_NEWEST = 2
"""Points read anew each time; the others take turns."""
_READING_SECONDS = 0.05


class Range(NamedTuple):
    """How far back to look, in event time."""

    name: str
    words: str
    seconds: int | None
    """None: the newest windows, as the terminal view has them."""


RANGES = (
    Range("newest", "newest windows", None),
    Range("15m", "15 minutes", 900),
    Range("1h", "1 hour", 3600),
    Range("6h", "6 hours", 6 * 3600),
    Range("1d", "1 day", 86_400),
    Range("7d", "7 days", 7 * 86_400),
    Range("30d", "30 days", 30 * 86_400),
)


class Timeline:
    """The windows of the last so many seconds, kept in step with Redis at little cost to it.

    Windows are added up to points of a length that makes about `POINTS` of them, so that a month
    takes no more memory than a day. The newest points are read anew each time, older ones by turns
    within a bound of time: where a month changes, it shows within seconds to minutes.
    """

    def __init__(self, reader: StoreReader, seconds: int) -> None:
        self.seconds = seconds
        self._reader = reader
        self._length = 0
        self._points: dict[int, Span | None] = {}
        self._turn = 0

    def read(self, until_seconds: float, window_seconds: int) -> tuple[Span, ...]:
        """Return the points up to an event time, oldest first, without those that have no window.

        Raises `StoreUnavailable` when Redis is away.
        """
        length = window_seconds * math.ceil(self.seconds / window_seconds / POINTS)
        if length != self._length:
            self._length, self._points = length, {}
        end = math.ceil(until_seconds / length)
        first = min(math.floor((until_seconds - self.seconds) / length), end - 1)
        wanted = range(first, end)
        self._points = {at: point for at, point in self._points.items() if at in wanted}
        missing = [at for at in wanted if at not in self._points]
        for at in {*missing, *wanted[-_NEWEST:]}:
            self._points[at] = self._read(at)
        self._read_some(wanted)
        reports = [r for at in wanted if (point := self._points[at]) for r in point.reports]
        return spans(reports)

    def _read_some(self, wanted: range) -> None:
        """Read as many of the older points as time allows, where the last turn ended."""
        began = time.monotonic()
        older = wanted[:-_NEWEST]
        for _ in older:
            self._turn = self._turn + 1 if self._turn + 1 in older else older[0]
            self._points[self._turn] = self._read(self._turn)
            if time.monotonic() - began > _READING_SECONDS:
                break

    def _read(self, at: int) -> Span | None:
        start = utc(at * self._length)
        reports = self._reader.windows(start, start + timedelta(seconds=self._length))
        if not reports:
            return None
        return spans([merge(reports, start, self._length)])[0]
