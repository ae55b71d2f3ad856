"""Event time to wall time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from producers.order import Item
from producers.rows import Row

CALL_SECONDS = 0.05
"""What is due within so much wall time leaves in one call: prompt, and yet few calls."""
CALL_ITEMS = 1_000
BEHIND_SECONDS = 2.0
"""A producer later than this starts its timetable anew instead of hurrying after it."""
SAY_EVERY_SECONDS = 30.0


class Pace:
    """Spaces items in wall time, by event time (`speed`) or by count (`rate`).

    `speed` is seconds of event time per wall second: traffic keeps its swings. `rate` is
    transactions per wall second, evenly spaced whatever their event time; labels leave with the
    transaction they precede. One of the two is given. When the bus or the source is slower than
    the timetable, the timetable moves, so at most `BEHIND_SECONDS` of it are ever made up for, and
    `warn` is told once in a while. `clock` is monotonic wall time in seconds; `stopped` ends the
    items, and is asked at least once per call.

    >>> clock = iter([0.0, 0.0, 0.0, 1.0, 1.0]).__next__
    >>> pace = Pace(speed=60, clock=lambda: 0.0, sleep=print, warn=print, stopped=lambda: False)
    >>> pace.due_seconds(600.0, 0), pace.due_seconds(1200.0, 1)
    (0.0, 10.0)
    """

    def __init__(
        self,
        *,
        speed: float | None = None,
        rate: float | None = None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        warn: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> None:
        given = [value for value in (speed, rate) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise ValueError("A pace is either a speed or a rate, and above 0.")
        self._speed, self._rate = speed, rate
        self._clock, self._sleep, self._warn, self._stopped = clock, sleep, warn, stopped
        self._wall_zero: float | None = None
        self._event_zero = 0.0
        self._moved_seconds = 0.0
        self._said_at = -math.inf

    def due_seconds(self, time_seconds: float, count: int) -> float:
        """Wall time at which an item leaves; `count` is of the transactions before it."""
        if self._wall_zero is None:
            self._wall_zero, self._event_zero = self._clock(), time_seconds
        if self._speed is not None:
            return self._wall_zero + (time_seconds - self._event_zero) / self._speed
        assert self._rate is not None  # noqa: S101 - one of the two is given
        return self._wall_zero + count / self._rate

    def calls(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Yield the items when they are due, those of one moment together."""
        call: list[Item] = []
        count = 0
        leaves = -math.inf
        for item in items:
            due = self.due_seconds(item.time_seconds, count)
            count += isinstance(item, Row)
            if due > leaves or len(call) >= CALL_ITEMS:
                if call and self._wait_until(leaves):
                    yield call
                if self._stopped():
                    return
                call = []
                at_once = leaves == -math.inf
                leaves = self._catch_up(due)
                if not at_once:
                    leaves = math.ceil(leaves / CALL_SECONDS) * CALL_SECONDS
            call.append(item)
        if call and self._wait_until(leaves):
            yield call

    def _wait_until(self, due: float) -> bool:
        """Sleep in short steps until then; False when stopped before."""
        while (left := due - self._clock()) > 0:
            if self._stopped():
                return False
            self._sleep(min(left, CALL_SECONDS))
        return not self._stopped()

    def _catch_up(self, due: float) -> float:
        """Move the timetable when it is too far behind, and say so."""
        now = self._clock()
        behind = now - due
        if behind <= BEHIND_SECONDS or self._wall_zero is None:
            return due
        self._wall_zero += behind
        self._moved_seconds += behind
        if now - self._said_at >= SAY_EVERY_SECONDS:
            self._warn(
                f"slower than asked for: {self._moved_seconds:.0f} s behind so far; going on from "
                "here without making it up"
            )
            self._said_at = now
        return now
