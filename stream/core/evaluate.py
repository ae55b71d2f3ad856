"""The same detector over a table, with label delay and without a broker."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from stream.core.detector import Decisions, Detector
from stream.core.pending import Bools, Floats, Joined
from stream.core.windows import f_beta, log_loss, ranked_average_precision
from stream.core.wire import AnyLabel, Label
from stream.events import Transaction, utc

Row = tuple[Transaction, bool | None]
"""A transaction and whether it is a fraud; None where nobody knows: no label, no grade."""


def truth(_: Transaction, is_fraud: bool) -> bool | None:
    """Return the label of a transaction: what it is, and always."""
    return is_fraud


@dataclass(frozen=True, slots=True)
class Quality:
    """How well the scores and decisions given were, over labelled transactions. None: undefined."""

    labelled: int
    frauds: int
    true_positives: int
    false_positives: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    log_loss: float | None
    calibration: float | None

    def asdict(self) -> dict[str, float | None]:
        return asdict(self)


class Graded(NamedTuple):
    """Scores and decisions that were given, beside what turned out: columns of one length."""

    times_seconds: Floats
    scores: Floats
    alerts: Bools
    amounts: Floats
    frauds: Bools

    def since(self, seconds: float) -> Graded:
        """Return the rows from an event time on.

        >>> times, no = np.array([1.0, 2.0]), np.array([False, False])
        >>> Graded(times, times, no, times, no).since(2.0).times_seconds.tolist()
        [2.0]
        """
        rows = self.times_seconds >= seconds
        return Graded._make(column[rows] for column in self)


class Scorecard:
    """Collects scores whose outcome is known, and grades exactly those from a point of event time.

    Holds every one of them, so it is for tables and demonstrations, not for endless streams.

    Parameters
    ----------
    score_from
        Time after the first transaction from which transactions count.
    """

    def __init__(self, score_from: timedelta = timedelta()) -> None:
        self._skip_seconds = score_from.total_seconds()
        self._begin_seconds = math.inf
        self._parts: list[Graded] = []
        self._corrections: list[Graded] = []

    @property
    def begin_seconds(self) -> float:
        """Event time of the first transaction; infinite before it."""
        return self._begin_seconds

    @property
    def newest_seconds(self) -> float:
        """Event time of the newest transaction taken in; before one is, that of the first."""
        taken = (part.times_seconds for part in reversed(self._parts) if len(part.scores))
        return next((float(times[-1]) for times in taken), self._begin_seconds)

    @property
    def from_seconds(self) -> float:
        """Event time from which transactions count."""
        return self._begin_seconds + self._skip_seconds

    def begin(self, first_seconds: float) -> None:
        """Tell the event time of the first transaction; only the earliest counts."""
        self._begin_seconds = min(self._begin_seconds, first_seconds)

    def add(self, joined: Joined) -> None:
        """Take in labels that met their transaction: they are taken for the truth, the last one."""
        told = Graded(
            joined.times_seconds, joined.scores, joined.alerts, joined.amounts, joined.frauds
        )
        corrects = joined.corrects
        if corrects.any():
            self._corrections.append(Graded._make(column[corrects] for column in told))
            told = Graded._make(column[~corrects] for column in told)
        self._parts.append(told)

    def grade(self, decisions: Decisions, frauds: Sequence[bool | None]) -> None:
        """Take in decisions with the truth about each, whatever label comes, if any."""
        amounts = np.array([tx.amount for tx in decisions.transactions])
        graded = Graded(
            decisions.times_seconds,
            decisions.scores,
            decisions.alerts,
            amounts,
            np.array([fraud is True for fraud in frauds], dtype=np.bool_),
        )
        if None in frauds:
            known = np.array([fraud is not None for fraud in frauds], dtype=np.bool_)
            graded = Graded._make(column[known] for column in graded)
        self._parts.append(graded)

    def graded(self) -> Graded:
        """Return all that was collected, what does not count included."""
        none, no = np.empty(0), np.empty(0, np.bool_)
        parts = [Graded(none, none, no, none, no), *self._parts]
        whole = Graded._make(np.concatenate(column) for column in zip(*parts, strict=True))
        for told in self._corrections:
            for *given, fraud in zip(*told, strict=True):
                # Whichever of those that are alike in all of this: no figure tells them apart.
                wrong = whole.frauds != fraud
                for column, value in zip(whole, given, strict=False):
                    wrong &= column == value
                whole.frauds[np.flatnonzero(wrong)[-1:]] = fraud
        self._corrections = []
        self._parts = [whole]
        return whole

    def quality(self) -> Quality:
        """Return the figures so far."""
        _, scores, alerts, _, frauds = self.graded().since(self.from_seconds)
        found, missed = int((alerts & frauds).sum()), int((~alerts & frauds).sum())
        false = int((alerts & ~frauds).sum())
        return Quality(
            labelled=len(scores),
            frauds=found + missed,
            true_positives=found,
            false_positives=false,
            precision=found / (found + false) if found + false else None,
            recall=found / (found + missed) if found + missed else None,
            f1=f_beta(found, false, missed, 1.0),
            average_precision=ranked_average_precision(scores, frauds),
            log_loss=float(log_loss(scores, frauds).mean()) if len(scores) else None,
            calibration=float(scores.sum() / frauds.sum()) if frauds.any() else None,
        )


def evaluate(
    detector: Detector,
    rows: Iterable[Row],
    label_delay: timedelta,
    scorecard: Scorecard,
    progress: Callable[[int], None] = lambda _: None,
    *,
    label_of: Callable[[Transaction, bool], bool | None] = truth,
    clock: Callable[[], float] = lambda: 0.0,
) -> float:
    """Run the detector over rows in event-time order, each label known `label_delay` later.

    Transactions and labels meet in the order that `Alignment` gives them, so that the result is
    that of a worker reading the same table from one partition. Every transaction whose truth is
    known is graded by it, whatever its label says and whether one comes.

    Parameters
    ----------
    progress
        Called after each slice of event time with how many transactions it held.
    label_of
        The label that a transaction gets, which may be wrong; None: it never gets one.
    clock
        Seconds; what passes on it while the detector works is returned.

    Returns
    -------
    float
        Seconds of `clock` that the detector's three handlers took.
    """
    detector.open(0)
    settings = detector.settings
    due: deque[tuple[int, list[AnyLabel]]] = deque()
    busy_seconds = 0.0

    def learn_until(slice_: float) -> float:
        begun = clock()
        while due and due[0][0] <= slice_:
            _, examples = detector.on_labels(0, due.popleft()[1])
            detector.on_examples(examples, detector.model.position + len(examples))
        return clock() - begun

    for slice_, batch, times in slices(rows, settings.step_origin, settings.align_seconds):
        busy_seconds += learn_until(slice_)
        scorecard.begin(times[0])
        for i in range(0, len(batch), settings.max_batch):
            part = batch[i : i + settings.max_batch]
            transactions = [tx for tx, _ in part]
            begun = clock()
            decisions = detector.on_transactions(0, transactions)
            busy_seconds += clock() - begun
            scorecard.grade(decisions, outcomes(decisions, part))
        for (tx, is_fraud), seconds in zip(batch, times, strict=True):
            label = None if is_fraud is None else label_of(tx, is_fraud)
            if label is None:
                continue
            at = utc(seconds) + label_delay
            due_slice = math.ceil(at.timestamp() / settings.align_seconds)
            if not due or due[-1][0] != due_slice:
                due.append((due_slice, []))
            due[-1][1].append(
                Label(
                    transaction_id=tx.transaction_id,
                    is_fraud=label,
                    labelled_at=at,
                    source="chargeback",
                )
            )
        progress(len(batch))
    return busy_seconds + learn_until(math.inf)


def slices(
    rows: Iterable[Row], step_origin: datetime, slice_seconds: int
) -> Iterator[tuple[int, list[Row], list[float]]]:
    """Slices of event time that hold rows: number, rows, and their times in seconds."""
    number, batch, times = 0, list[Row](), list[float]()
    for row in rows:
        seconds = row[0].time_seconds(step_origin)
        slice_ = math.floor(seconds / slice_seconds)
        if slice_ != number and batch:
            yield number, batch, times
            batch, times = [], []
        number = slice_
        batch.append(row)
        times.append(seconds)
    if batch:
        yield number, batch, times


def outcomes(decisions: Decisions, batch: Sequence[Row]) -> list[bool | None]:
    """The truth about what was decided: a second copy of a transaction is not decided again."""
    if len(decisions.transactions) == len(batch):
        return [is_fraud for _, is_fraud in batch]
    first: dict[str, bool | None] = {}
    for tx, is_fraud in batch:
        first.setdefault(tx.transaction_id, is_fraud)
    return [first[tx.transaction_id] for tx in decisions.transactions]
