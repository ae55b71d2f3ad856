"""Labels that came early wait for those of their time: what alerts tell first is one-sided."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

_DELAYS = 200
_REFRESH = 20
_SLACK_SECONDS = 1.0


class Matured(NamedTuple):
    """A labelled transaction with the score and decision it was given."""

    score: float
    is_fraud: bool
    weight: float
    """How many labelled transactions it stands for."""
    amount: float
    sampled: bool
    """Whether it has a label only because it was drawn for review."""
    alerted: bool
    key: int = 0
    """Of the transaction, by which a correction finds it."""


class Maturing:
    """Gives examples on in the order of their transactions, once all labels of their time are in.

    Alerts are looked at soon; what was not flagged is labelled weeks later, by a chargeback or by
    its absence. A curve of all labels so far would hold the recent frauds that were caught without
    those that were missed. So an example waits for the watermark: the moment of its label less the
    delay by which 95 % of the unflagged transactions have their label, the slower of the two
    classes counting. Delays are those of the last 200 unflagged examples of each class.

    Parameters
    ----------
    max_waiting
        Examples that wait at most; beyond that the earliest go on untimely, and are counted.

    Examples
    --------
    >>> waiting = Maturing()
    >>> alert = Matured(0.9, True, 1.0, 50.0, sampled=False, alerted=True)
    >>> missed = Matured(0.1, True, 1.0, 50.0, sampled=False, alerted=False)
    >>> waiting.add(alert, time_seconds=100.0, labelled_seconds=110.0)
    []
    >>> found = waiting.add(missed, time_seconds=150.0, labelled_seconds=750.0)
    >>> found == [alert, missed]
    True
    """

    def __init__(self, max_waiting: int = 20_000) -> None:
        self.max_waiting = max_waiting
        self.untimely = 0
        """Examples that went on before their time because too many waited."""
        self._heap: list[tuple[float, int, Matured]] = []
        self._added = 0
        self._delays: tuple[deque[float], deque[float]] = (
            deque(maxlen=_DELAYS),
            deque(maxlen=_DELAYS),
        )
        self._delay_seconds: float | None = None
        self._since_refresh = 0

    def __len__(self) -> int:
        """How many examples wait."""
        return len(self._heap)

    @property
    def delay_seconds(self) -> float | None:
        """Time after which labels are taken to be complete; None before any unflagged one."""
        return self._delay_seconds

    def add(
        self, example: Matured, *, time_seconds: float, labelled_seconds: float
    ) -> list[Matured]:
        """Take an example in and return those, in the order of their transactions, that go on.

        Times are seconds since the epoch, of the transaction and of its label.
        """
        self.observe(example, labelled_seconds - time_seconds)
        heapq.heappush(self._heap, (time_seconds, self._added, example))
        self._added += 1
        ready: list[Matured] = []
        if self._delay_seconds is not None:
            watermark = labelled_seconds - self._delay_seconds + _SLACK_SECONDS
            while self._heap and self._heap[0][0] <= watermark:
                ready.append(heapq.heappop(self._heap)[2])
        while len(self._heap) > self.max_waiting:
            ready.append(heapq.heappop(self._heap)[2])
            self.untimely += 1
        return ready

    def correct(self, example: Matured) -> bool:
        """Let an example take the place, and the score, of one of the other class with its key.

        Returns whether one waits.
        """
        for at, (time_seconds, number, waiting) in enumerate(self._heap):
            if waiting.key == example.key and waiting.is_fraud != example.is_fraud:
                self._heap[at] = time_seconds, number, example._replace(score=waiting.score)
                return True
        return False

    def observe(self, example: Matured, delay_seconds: float) -> None:
        """Learn how long the label of an example took."""
        if example.alerted:
            return
        delays = self._delays[example.is_fraud]
        delays.append(max(delay_seconds, 0.0))
        self._since_refresh += 1
        if self._since_refresh >= _REFRESH or len(delays) < _REFRESH:
            self._since_refresh = 0
            self._delay_seconds = max(_late(each) for each in self._delays if each)


def _late(delays: Collection[float]) -> float:
    """The delay that 95 % do not exceed.

    As `numpy.quantile` has it with method "higher", which takes twelve times as long for so few.
    """
    in_order = np.sort(np.fromiter(delays, np.float64, len(delays)))
    return float(in_order[math.ceil(0.95 * (len(delays) - 1))])
