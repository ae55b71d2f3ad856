"""Two deciders over the same transactions, side by side, as far as labels have come."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from stream.core.detector import Decisions
from stream.core.intervals import share_interval
from stream.core.pending import Joined
from stream.core.scored import Scored
from stream.core.windows import Windows, measure
from stream.events import MAX_SECONDS, WindowReport

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Held:
    """Scores and decisions of the one in force, by the slot where `Pending` holds a transaction.

    `Pending` fills its slots in order and then from the first one again; so does this.

    >>> held = Held(max_pending=3)
    >>> held.add(np.array([0.1, 0.2]), np.array([False, True]))
    >>> held.add(np.array([0.3, 0.4]), np.array([False, False]))
    >>> held.at(np.array([0, 1]))[0].tolist()
    [0.4, 0.2]
    """

    def __init__(self, max_pending: int) -> None:
        self._most = max_pending
        self._count = 0
        self._scores = np.zeros(min(4096, max_pending))
        self._alerts = np.zeros(len(self._scores), dtype=np.bool_)

    def add(self, scores: Floats, alerts: Bools) -> None:
        """Hold transactions, as `Pending.add` does."""
        slots = np.arange(self._count, self._count + len(scores)) % self._most
        while len(slots) and slots.max() >= len(self._scores):
            room = min(2 * len(self._scores), self._most)
            self._scores = np.append(self._scores, np.zeros(room - len(self._scores)))
            self._alerts = np.append(self._alerts, np.zeros(room - len(self._alerts), np.bool_))
        self._scores[slots], self._alerts[slots] = scores, alerts
        self._count += len(scores)

    def at(self, slots: Ints) -> tuple[Floats, Bools]:
        """Return score and decision of what is held there."""
        return self._scores[slots], self._alerts[slots]


class Decider:
    """What one of the two decided and how it turned out: one window without an end."""

    def __init__(self) -> None:
        self.windows = Windows(0, int(MAX_SECONDS), 1)

    @property
    def transactions(self) -> int:
        """Transactions decided."""
        return measure(self._reports()).transactions

    def measures(self, false_alarm_cost: float | None = None) -> dict[str, float | None]:
        """Return what the counts say, with intervals (`core.intervals`) of precision and recall.

        `cost` is there where a false alarm is said to cost something.
        """
        measures = measure(self._reports())
        found = measures.asdict()
        tp, fp = measures.true_positives, measures.false_positives
        found["labelled_alerts"] = tp + fp
        for name, hits, misses in (("precision", tp, fp), ("recall", tp, measures.frauds - tp)):
            low, high = share_interval(hits, misses) or (None, None)
            found[f"{name}_lower"], found[f"{name}_upper"] = low, high
        if false_alarm_cost is not None:
            found["cost"] = measures.amount_missed + false_alarm_cost * fp
        return found

    def _reports(self) -> list[WindowReport]:
        self.windows.touch()
        return self.windows.changed()


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Labelled transactions that one decider alone flagged, and what chance has to do with it.

    The probabilities are those of McNemar's test (1947), exact, frauds and legitimate transactions
    each for themselves: were the two alike, a coin would tell who flagged. It takes transactions
    for independent, and frauds come in runs: chance does somewhat more than they say.
    """

    frauds_only_in_force: int
    """Frauds that the one in force caught and the challenger missed."""
    frauds_only_challenger: int
    false_only_in_force: int
    """False alarms that the challenger would have spared."""
    false_only_challenger: int
    frauds_by_chance: float
    false_by_chance: float

    def asdict(self) -> dict[str, float]:
        return dataclasses.asdict(self)


class Comparison:
    """Grades the one in force and a challenger over the same transactions.

    Parameters
    ----------
    graded_seconds
        Event time from which transactions count.
    max_pending
        Transactions of a partition that wait for a label at most, as the settings have it.
    """

    def __init__(self, graded_seconds: float, max_pending: int) -> None:
        self.graded_seconds = graded_seconds
        self.in_force, self.challenger = Decider(), Decider()
        self.newest_seconds: float | None = None
        self._max_pending = max_pending
        self._held: dict[int, Held] = {}
        self._both = np.zeros((2, 2, 2), dtype=np.int64)
        """Labelled ones: fraud, flagged by the one in force, flagged by the challenger."""

    def decided(
        self, partition: int, decisions: Decisions, scores: Floats, thresholds: Floats
    ) -> None:
        """Take in what the challenger decided, with the scores and thresholds in force."""
        times, flagged = decisions.times_seconds, scores >= thresholds
        amounts = np.array([tx.amount for tx in decisions.transactions], dtype=np.float64)
        self._held_of(partition).add(scores, flagged)
        rows = times >= self.graded_seconds
        for of, given, alerts in (
            (self.in_force, scores, flagged),
            (self.challenger, decisions.scores, decisions.alerts),
        ):
            of.windows.decided(_scored(times, given, alerts, amounts).rows(rows), {})
        if len(times):
            newest = float(times.max())
            self.newest_seconds = max(self.newest_seconds or newest, newest)

    def labelled(self, partition: int, joined: Joined) -> None:
        """Take in labels that met a transaction of the challenger's."""
        graded = joined.times_seconds >= self.graded_seconds
        scores, flagged = self._held_of(partition).at(joined.slots)
        for of, given, alerts in (
            (self.in_force, scores, flagged),
            (self.challenger, joined.scores, joined.alerts),
        ):
            scored = _scored(joined.times_seconds, given, alerts, joined.amounts)
            for rows, count in (
                (graded & ~joined.corrects, of.windows.labelled),
                (graded & joined.corrects, of.windows.corrected),
            ):
                count(scored.rows(rows), joined.frauds[rows])
        for rows, frauds, times in (
            (graded, joined.frauds, 1),
            (graded & joined.corrects, ~joined.frauds, -1),
        ):
            at = tuple(c[rows].astype(np.int64) for c in (frauds, flagged, joined.alerts))
            np.add.at(self._both, at, times)

    def _held_of(self, partition: int) -> Held:
        return self._held.setdefault(partition, Held(self._max_pending))

    def apart(self) -> Disagreement:
        """Return what they disagree on."""
        legitimate, frauds = self._both.tolist()
        return Disagreement(
            frauds_only_in_force=frauds[1][0],
            frauds_only_challenger=frauds[0][1],
            false_only_in_force=legitimate[1][0],
            false_only_challenger=legitimate[0][1],
            frauds_by_chance=_by_chance(frauds[1][0], frauds[0][1]),
            false_by_chance=_by_chance(legitimate[1][0], legitimate[0][1]),
        )


def _scored(times: Floats, scores: Floats, alerts: Bools, amounts: Floats) -> Scored:
    """The columns as windows take them; parts of the stream are not told apart."""
    return Scored(times, scores, alerts, amounts, np.zeros((len(times), 2), dtype=np.int16))


def _by_chance(only_first: int, only_second: int) -> float:
    """How likely chance alone parts two deciders so far, or further: both sides of a coin.

    >>> round(_by_chance(2, 10), 3), _by_chance(0, 0)
    (0.039, 1.0)
    """
    count = only_first + only_second
    return float(binomtest(only_first, count).pvalue) if count else 1.0
