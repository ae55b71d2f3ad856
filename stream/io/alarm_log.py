"""Alarms of a worker: raised and over, each told once in its log."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from stream.core.alarms import Alarms
from stream.core.detector import Detector
from stream.core.lookout import Lookout
from stream.events import Alarm, utc
from stream.io.intake import Outcome
from stream.settings import Settings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
"""Of wall time between two looks, where neither event time nor messages ask for one."""


class AlarmLog:
    """Looks when it is due, and writes one line when an alarm is raised and one when it is over.

    `clock` gives wall time in seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._lookout = Lookout(settings)
        self._alarms = Alarms()
        self._clock = clock
        self._looked_at = clock()

    @property
    def raised(self) -> tuple[Alarm, ...]:
        """Those that are raised now, the oldest first."""
        return self._alarms.raised

    def observe(self, outcome: Outcome) -> None:
        """Count what came of a batch that was committed just now."""
        times = [d.times_seconds for d in outcome.decisions.values() if len(d.times_seconds)]
        # The middle one: a clock that is wrong is not the time.
        now = float(np.median(np.concatenate(times))) if times else None
        self._lookout.observe(now, len(outcome.decided), outcome.labels, len(outcome.rejects))

    def look(self, detector: Detector, *, now: bool = False) -> bool:
        """Look where it is due, or `now`; return whether an alarm was raised or is over."""
        clock = self._clock()
        if not (now or self._lookout.due() or clock - self._looked_at >= _LOOK_SECONDS):
            return False
        self._looked_at = clock
        found = self._lookout.look(detector)
        # Without a partition there is nothing to look at: who has them now sees to them.
        alarms = self._alarms
        changes = alarms.update(found, utc(clock)) if detector.shards else alarms.clear()
        for alarm in changes.raised:
            log.warning(
                "alarm %s: %s (figure %.3g, limit %.3g). Look at %s.",
                *(alarm.name, alarm.cause, alarm.figure, alarm.limit, alarm.look),
            )
        for alarm in changes.over:
            log.info(
                "alarm %s is over, raised at %s", alarm.name, alarm.since.isoformat("T", "seconds")
            )
        return bool(changes.raised or changes.over)
