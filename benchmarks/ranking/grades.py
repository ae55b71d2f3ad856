"""How good scores are: the columns of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.ranking.streams import Bools, Floats
from stream.core.windows import log_loss, ranked_average_precision

BINS = 100
"""Bins of the expected calibration error, each with as many transactions."""


@dataclass(frozen=True, slots=True)
class Grades:
    """Figures over the transactions that count. None: undefined without frauds.

    `calibration` is the mean score over the fraud rate: 1 is right, 2 announces twice the frauds.
    `calibration_error` is the expected calibration error: over `BINS` bins of equally many
    transactions in the order of their scores, the mean distance of mean score and fraud rate.
    """

    transactions: int
    frauds: int
    average_precision: float | None
    log_loss: float
    calibration: float | None
    calibration_error: float
    microseconds_per_transaction: float

    def asdict(self) -> dict[str, float | None]:
        return asdict(self)


def grade(scores: Floats, frauds: Bools, microseconds: float) -> Grades:
    """Grade scores against the truth, both of shape (n,), n at least 1.

    >>> graded = grade(np.array([0.9, 0.2, 0.1]), np.array([True, False, False]), 1.0)
    >>> graded.average_precision, round(graded.calibration, 2)
    (1.0, 1.2)
    """
    return Grades(
        transactions=len(scores),
        frauds=int(frauds.sum()),
        average_precision=ranked_average_precision(scores, frauds),
        log_loss=float(log_loss(scores, frauds).mean()),
        calibration=float(scores.sum() / frauds.sum()) if frauds.any() else None,
        calibration_error=calibration_error(scores, frauds),
        microseconds_per_transaction=microseconds,
    )


def mean(grades: Sequence[Grades]) -> Grades:
    """Return the means of runs; None where a run has no such figure.

    >>> one, two = (grade(np.array([p, 0.1]), np.array([True, False]), 1.0) for p in (0.5, 0.7))
    >>> round(mean([one, two]).calibration, 2), mean([one, two]).transactions
    (0.7, 2)
    """
    found = {
        name: None if None in values else sum(values) / len(values)
        for name, values in ((n, [getattr(g, n) for g in grades]) for n in Grades.__slots__)
    }
    counts = {name: int(found[name]) for name in ("transactions", "frauds")}
    return Grades(**(found | counts))


def calibration_error(scores: Floats, frauds: Bools, bins: int = BINS) -> float:
    """Expected calibration error over bins of equally many transactions (Naeini et al. 2015).

    >>> calibration_error(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True]), 2)
    0.0
    >>> calibration_error(np.array([0.5, 0.5, 0.5, 0.5]), np.array([False, True, True, True]), 1)
    0.25
    """
    order = np.argsort(scores, kind="stable")
    starts = np.unique(np.arange(bins) * len(scores) // bins)
    counts = np.diff(np.r_[starts, len(scores)])
    announced = np.add.reduceat(scores[order], starts)
    found = np.add.reduceat(frauds[order].astype(np.float64), starts)
    return float(np.abs(announced - found).sum() / counts.sum())
