"""Two deciders over the same transactions, side by side, as far as labels have come."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from stream.core.detector import Decisions
from stream.core.intervals import share_interval
from stream.core.pending import Joined
from stream.core.windows import log_loss, measure, score_bin
from stream.events import FIRST, WindowReport

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


@dataclass(slots=True)
class Tally:
    """Counts of what one decider did: a window without an end."""

    transactions: int = 0
    alerts: int = 0
    amount: float = 0.0
    score_sum: float = 0.0
    alert_score_sum: float = 0.0
    labelled_score_sum: float = 0.0
    labelled_log_loss_sum: float = 0.0
    outcomes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    """Labelled transactions by whether they are frauds and whether they were flagged."""
    amounts: Floats = field(default_factory=lambda: np.zeros((2, 2)))
    """The same in amounts."""
    histogram: dict[int, list[int]] = field(default_factory=dict)

    def decided(self, scores: Floats, alerts: Bools, amounts: Floats) -> None:
        """Count what was decided."""
        self.transactions += len(scores)
        self.alerts += int(alerts.sum())
        self.amount += float(amounts.sum())
        self.score_sum += float(scores.sum())
        self.alert_score_sum += float(scores[alerts].sum())
        self._count(scores, 0, 1)

    def labelled(
        self, scores: Floats, alerts: Bools, amounts: Floats, frauds: Bools, *, times: int = 1
    ) -> None:
        """Count labels of what was decided; -1 times: take it back."""
        self.labelled_score_sum += times * float(scores.sum())
        self.labelled_log_loss_sum += times * float(log_loss(scores, frauds).sum())
        at = frauds.astype(np.int64), alerts.astype(np.int64)
        np.add.at(self.outcomes, at, times)
        np.add.at(self.amounts, at, times * amounts)
        self._count(scores[~frauds], 1, times)
        self._count(scores[frauds], 2, times)

    def _count(self, scores: Floats, column: int, times: int) -> None:
        for bin_, count in Counter(score_bin(scores).tolist()).items():
            self.histogram.setdefault(bin_, [0, 0, 0])[column] += times * count

    def measures(self, false_alarm_cost: float | None = None) -> dict[str, float | None]:
        """Return what the counts say, with intervals (`core.intervals`) of precision and recall.

        `cost` is there where a false alarm is said to cost something.
        """
        (tn, fp), (fn, tp) = self.outcomes.tolist()
        (_, false), (missed, caught) = self.amounts.tolist()
        report = WindowReport(
            partition=0,
            start=FIRST,
            seconds=1,
            transactions=self.transactions,
            alerts=self.alerts,
            labelled=tn + fp + fn + tp,
            true_positives=tp,
            false_positives=fp,
            true_negatives=tn,
            false_negatives=fn,
            amount=self.amount,
            amount_caught=caught,
            amount_missed=missed,
            amount_false=false,
            score_sum=self.score_sum,
            alert_score_sum=self.alert_score_sum,
            labelled_score_sum=self.labelled_score_sum,
            labelled_log_loss_sum=self.labelled_log_loss_sum,
            histogram={b: (c[0], c[1], c[2]) for b, c in sorted(self.histogram.items())},
            threshold=0.0,
            fraud_prior=0.0,
            sampling_rate=1.0,
            learned_share=0.0,
            model_position=0,
        )
        found = measure([report]).asdict()
        found["labelled_alerts"] = tp + fp
        for name, hits, misses in (("precision", tp, fp), ("recall", tp, fn)):
            low, high = share_interval(hits, misses) or (None, None)
            found[f"{name}_lower"], found[f"{name}_upper"] = low, high
        if false_alarm_cost is not None:
            found["cost"] = missed + false_alarm_cost * fp
        return found


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
        self.in_force, self.challenger = Tally(), Tally()
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
        self.in_force.decided(scores[rows], flagged[rows], amounts[rows])
        self.challenger.decided(decisions.scores[rows], decisions.alerts[rows], amounts[rows])
        if len(times):
            newest = float(times.max())
            self.newest_seconds = max(self.newest_seconds or newest, newest)

    def labelled(self, partition: int, joined: Joined) -> None:
        """Take in labels that met a transaction of the challenger's."""
        rows = joined.times_seconds >= self.graded_seconds
        theirs = self._held_of(partition).at(joined.slots)
        self._count(joined, theirs, ~joined.frauds, rows & joined.corrects, times=-1)
        self._count(joined, theirs, joined.frauds, rows, times=1)

    def _held_of(self, partition: int) -> Held:
        return self._held.setdefault(partition, Held(self._max_pending))

    def _count(
        self,
        joined: Joined,
        theirs: tuple[Floats, Bools],
        frauds: Bools,
        rows: Bools,
        *,
        times: int,
    ) -> None:
        amounts, is_fraud = joined.amounts[rows], frauds[rows]
        scores, alerts = joined.scores[rows], joined.alerts[rows]
        in_force, flagged = theirs[0][rows], theirs[1][rows]
        self.in_force.labelled(in_force, flagged, amounts, is_fraud, times=times)
        self.challenger.labelled(scores, alerts, amounts, is_fraud, times=times)
        at = tuple(each.astype(np.int64) for each in (is_fraud, flagged, alerts))
        np.add.at(self._both, at, times)

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


def _by_chance(only_first: int, only_second: int) -> float:
    """How likely chance alone parts two deciders so far, or further: both sides of a coin.

    >>> round(_by_chance(2, 10), 3), _by_chance(0, 0)
    (0.039, 1.0)
    """
    count = only_first + only_second
    return float(binomtest(only_first, count).pvalue) if count else 1.0
