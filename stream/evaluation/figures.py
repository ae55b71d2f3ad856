"""The figures of an evaluation. Arithmetic only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.evaluate import Graded
from stream.core.windows import f_beta, log_loss, ranked_average_precision

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one evaluation found. None: undefined, such as precision without alerts."""

    average_precision: float | None
    roc_auc: float | None
    log_loss: float | None
    """Mean over transactions, in nats."""
    calibration: float | None
    """Mean score over fraud rate: 1 is calibrated, above is alarmist."""
    precision: float | None
    recall: float | None
    f1: float | None
    cost: float
    """False alarms times what one costs, and the amount missed, in the stream's currency."""
    alerts_per_day: float | None
    microseconds_per_transaction: float | None
    """CPU time of the detector's work, over all transactions and not only those graded."""
    transactions: int
    """Graded: those from `--score-from` on whose truth is known."""
    frauds: int
    fraud_rate: float | None
    days: float
    """Event time from the first graded transaction to the last."""
    alerts: int
    true_positives: int
    false_positives: int
    false_negatives: int
    amount_caught: float
    amount_missed: float

    def asdict(self) -> dict[str, float | None]:
        return dataclasses.asdict(self)


def figures(
    graded: Graded,
    *,
    false_alarm_cost: float,
    microseconds_per_transaction: float | None = None,
) -> Figures:
    """Return the figures of graded transactions.

    >>> graded = Graded(
    ...     times_seconds=np.array([0.0, 43_200.0, 86_400.0]),
    ...     scores=np.array([0.9, 0.6, 0.5]),
    ...     alerts=np.array([True, True, False]),
    ...     amounts=np.array([10.0, 20.0, 40.0]),
    ...     frauds=np.array([True, False, True]),
    ... )
    >>> found = figures(graded, false_alarm_cost=5)
    >>> found.precision, found.recall, found.roc_auc, found.cost, found.alerts_per_day
    (0.5, 0.5, 0.5, 45.0, 2.0)
    """
    times, scores, alerts, amounts, frauds = graded
    caught, missed = alerts & frauds, ~alerts & frauds
    true, false, lost = int(caught.sum()), int((alerts & ~frauds).sum()), int(missed.sum())
    days = float(times.max() - times.min()) / _DAY_SECONDS if len(times) else 0.0
    amount_missed = float(amounts[missed].sum())
    return Figures(
        average_precision=ranked_average_precision(scores, frauds),
        roc_auc=roc_auc(scores, frauds),
        log_loss=float(log_loss(scores, frauds).mean()) if len(scores) else None,
        calibration=float(scores.sum() / frauds.sum()) if frauds.any() else None,
        precision=true / (true + false) if true + false else None,
        recall=true / (true + lost) if true + lost else None,
        f1=f_beta(true, false, lost, 1.0),
        cost=false * false_alarm_cost + amount_missed,
        alerts_per_day=(true + false) / days if days else None,
        microseconds_per_transaction=microseconds_per_transaction,
        transactions=len(scores),
        frauds=true + lost,
        fraud_rate=float(frauds.mean()) if len(frauds) else None,
        days=days,
        alerts=true + false,
        true_positives=true,
        false_positives=false,
        false_negatives=lost,
        amount_caught=float(amounts[caught].sum()),
        amount_missed=amount_missed,
    )


def roc_auc(scores: Floats, frauds: Bools) -> float | None:
    """Return the probability that a fraud scores above a legitimate transaction, ties half.

    The area under the ROC curve, as the Mann-Whitney statistic. None where a class is missing.

    >>> roc_auc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    values, tie = np.unique(scores, return_inverse=True)
    positive = np.bincount(tie[frauds], minlength=len(values)).astype(np.float64)
    negative = np.bincount(tie[~frauds], minlength=len(values)).astype(np.float64)
    pairs = positive.sum() * negative.sum()
    if not pairs:
        return None
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)
