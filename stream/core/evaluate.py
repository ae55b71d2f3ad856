"""The same detector over a table, with label delay and without a broker."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import groupby

import numpy as np

from stream.core.detector import Detector
from stream.core.pending import Joined
from stream.core.windows import average_precision, f_beta, log_loss
from stream.events import Label, Transaction, utc

Row = tuple[Transaction, bool]


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


class Scorecard:
    """Collects matured scores from a point of event time on, and grades them exactly.

    Holds every labelled score, so it is for tables and demonstrations, not for endless streams.

    Parameters
    ----------
    score_from
        Time after the first transaction from which transactions count.
    """

    def __init__(self, score_from: timedelta = timedelta()) -> None:
        self._skip_seconds = score_from.total_seconds()
        self._begin_seconds = math.inf
        self._scores: list[np.ndarray] = []
        self._frauds: list[np.ndarray] = []
        self._alerts: list[np.ndarray] = []

    def begin(self, first_seconds: float) -> None:
        """Tell the event time of the first transaction; only the earliest counts."""
        self._begin_seconds = min(self._begin_seconds, first_seconds)

    def add(self, joined: Joined) -> None:
        """Take in labels that met their transaction."""
        counts = joined.times_seconds >= self._begin_seconds + self._skip_seconds
        self._scores.append(joined.scores[counts])
        self._frauds.append(joined.frauds[counts])
        self._alerts.append(joined.alerts[counts])

    def quality(self) -> Quality:
        """Return the figures so far."""
        scores = np.concatenate([np.empty(0), *self._scores])
        frauds = np.concatenate([np.empty(0, np.bool_), *self._frauds])
        alerts = np.concatenate([np.empty(0, np.bool_), *self._alerts])
        found, missed = int((alerts & frauds).sum()), int((~alerts & frauds).sum())
        false = int((alerts & ~frauds).sum())
        values, tie = np.unique(-scores, return_inverse=True)
        return Quality(
            labelled=len(scores),
            frauds=found + missed,
            true_positives=found,
            false_positives=false,
            precision=found / (found + false) if found + false else None,
            recall=found / (found + missed) if found + missed else None,
            f1=f_beta(found, false, missed, 1.0),
            average_precision=average_precision(
                np.bincount(tie[~frauds], minlength=len(values)).tolist(),
                np.bincount(tie[frauds], minlength=len(values)).tolist(),
            ),
            log_loss=float(log_loss(scores, frauds).mean()) if len(scores) else None,
            calibration=float(scores.sum() / frauds.sum()) if frauds.any() else None,
        )


def evaluate(
    detector: Detector,
    rows: Iterable[Row],
    label_delay: timedelta,
    scorecard: Scorecard,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Run the detector over rows in event-time order, each label known `label_delay` later.

    Transactions and labels meet in the order that `Alignment` gives them, so that the result is
    that of a worker reading the same table from one partition.
    """
    detector.open(0)
    slice_seconds = detector.settings.align_seconds
    step_origin = detector.settings.step_origin
    due: deque[tuple[int, Label]] = deque()

    def by_slice(row: Row) -> int:
        return math.floor(row[0].time_seconds(step_origin) / slice_seconds)

    def learn_until(slice_: float) -> None:
        for batch in _due_labels(due, slice_):
            joined, examples = detector.on_labels(0, batch)
            scorecard.add(joined)
            detector.on_examples(examples, detector.model.position + len(examples))

    for slice_, group in groupby(rows, key=by_slice):
        learn_until(slice_)
        batch = list(group)
        transactions = [tx for tx, _ in batch]
        scorecard.begin(transactions[0].time_seconds(step_origin))
        for i in range(0, len(batch), detector.settings.max_batch):
            detector.on_transactions(0, transactions[i : i + detector.settings.max_batch])
        for tx, is_fraud in batch:
            at = utc(tx.time_seconds(step_origin)) + label_delay
            label = Label(
                transaction_id=tx.transaction_id,
                is_fraud=is_fraud,
                labelled_at=at,
                source="chargeback",
            )
            due.append((math.ceil(at.timestamp() / slice_seconds), label))
        progress(len(batch))
    learn_until(math.inf)


def _due_labels(due: deque[tuple[int, Label]], slice_: float) -> Iterator[list[Label]]:
    """Take the labels due by a slice, one batch for each slice of labels."""
    while due and due[0][0] <= slice_:
        first = due[0][0]
        batch = []
        while due and due[0][0] == first:
            batch.append(due.popleft()[1])
        yield batch
