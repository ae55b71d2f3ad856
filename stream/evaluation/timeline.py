"""How the model changed on the way: a bounded number of looks at it, evenly over event time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Moment(NamedTuple):
    """The model at a point of event time."""

    time_seconds: float
    threshold: float
    state: Mapping[str, float]
    """The figures of `Model.state()`."""
    weights: Mapping[str, float]
    """Share of the vote by member: `Model.weights()`."""


class Timeline:
    """Keeps at most `most` moments: when it is full every second one goes, and the gap doubles.

    >>> timeline = Timeline(most=4)
    >>> for t in range(100):
    ...     if timeline.wants(t):
    ...         timeline.add(Moment(t, 0.5, {}, {}))
    >>> [moment.time_seconds for moment in timeline.moments]
    [0, 32, 64, 96]
    """

    def __init__(self, most: int = 800) -> None:
        self.moments: list[Moment] = []
        self._most = most
        self._gap_seconds = 1.0

    def wants(self, time_seconds: float) -> bool:
        """Whether it is time for another look."""
        return not self.moments or time_seconds >= self.moments[-1].time_seconds + self._gap_seconds

    def add(self, moment: Moment) -> None:
        """Keep a moment that is later than those before."""
        if len(self.moments) >= self._most:
            self.moments = self.moments[::2]
            span = self.moments[-1].time_seconds - self.moments[0].time_seconds
            self._gap_seconds = span / max(len(self.moments) - 1, 1)
            if not self.wants(moment.time_seconds):
                return
        self.moments.append(moment)
