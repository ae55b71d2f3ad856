"""The curves behind the pictures of an evaluation. Arithmetic only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.evaluate import Graded
from stream.core.windows import ranked_average_precision

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_DAY_SECONDS = 86_400.0
_WILSON_Z = 1.96


class PrecisionRecall(NamedTuple):
    """The precision-recall curve, highest threshold first, as columns of one length."""

    precision: Floats
    recall: Floats


def precision_recall(scores: Floats, frauds: Bools) -> PrecisionRecall:
    """Return precision and recall of each threshold at which recall grows. Empty without frauds.

    >>> precision_recall(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))[1].tolist()
    [0.5, 1.0]
    """
    order = np.argsort(-scores, kind="stable")
    ranked, fraud = scores[order], frauds[order]
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
    found = np.cumsum(fraud)[last_of_tie].astype(np.float64)
    flagged = (np.flatnonzero(last_of_tie) + 1).astype(np.float64)
    grows = np.diff(found, prepend=0.0) > 0
    found, flagged = found[grows], flagged[grows]
    return PrecisionRecall(found / flagged, found / found[-1] if len(found) else found)


class Reliability(NamedTuple):
    """Scores and what became of them, by bins of rising score, as columns of one length."""

    score: Floats
    """Mean score."""
    fraud_rate: Floats
    low: Floats
    """Of the 95 % interval of the fraud rate, after Wilson (1927)."""
    high: Floats
    transactions: Ints


def reliability(scores: Floats, frauds: Bools, bins: int = 10) -> Reliability:
    """Return mean score against fraud rate, in bins that announce equally many frauds.

    The cuts are quantiles of the scores, each weighted by itself: where frauds are rare, bins of
    equally many transactions would put nearly every fraud into the last one. Where all is
    calibrated each bin here holds about as many frauds as the next.

    >>> scores = np.array([0.1] * 90 + [0.9] * 10)
    >>> reliability(scores, scores > 0.5, bins=2).fraud_rate.tolist()
    [0.0, 1.0]
    """
    order = np.argsort(scores, kind="stable")
    ranked, fraud = scores[order], frauds[order]
    announced = np.cumsum(ranked)
    total = announced[-1] if len(announced) else 0.0
    if not total:
        return Reliability(*(np.empty(0),) * 4, np.empty(0, np.int64))
    place = np.minimum((announced - ranked / 2) / total * bins, bins - 1).astype(np.int64)
    # Equal scores stay together, in the bin of the first of them.
    _, first, tie = np.unique(ranked, return_index=True, return_inverse=True)
    place = place[first][tie]
    used = np.unique(place)
    count = np.bincount(place)[used]
    rate = np.bincount(place, weights=fraud)[used] / count
    low, high = _wilson(rate, count)
    return Reliability(np.bincount(place, weights=ranked)[used] / count, rate, low, high, count)


def _wilson(rate: Floats, count: Ints) -> tuple[Floats, Floats]:
    z2 = _WILSON_Z**2
    middle = rate + z2 / (2 * count)
    half = _WILSON_Z * np.sqrt(rate * (1 - rate) / count + z2 / (4 * count**2))
    return (middle - half) / (1 + z2 / count), (middle + half) / (1 + z2 / count)


class Period(NamedTuple):
    """A stretch of event time and what happened in it."""

    begin_seconds: float
    seconds: float
    transactions: int
    frauds: int
    alerts: int
    average_precision: float | None


def by_period(graded: Graded, origin_seconds: float, seconds: float) -> list[Period]:
    """Return what happened in each stretch of `seconds`, counted from an origin.

    From the first stretch that holds a transaction to the last, those between that hold none
    included.
    """
    number = np.floor((graded.times_seconds - origin_seconds) / seconds).astype(np.int64)
    periods = []
    for index in range(int(number.min()), int(number.max()) + 1) if len(number) else ():
        rows = number == index
        frauds = graded.frauds[rows]
        periods.append(
            Period(
                origin_seconds + index * seconds,
                seconds,
                int(rows.sum()),
                int(frauds.sum()),
                int(graded.alerts[rows].sum()),
                ranked_average_precision(graded.scores[rows], frauds),
            )
        )
    return periods


PERIODS = {
    3600.0: "hour",
    2 * 3600.0: "2 hours",
    6 * 3600.0: "6 hours",
    12 * 3600.0: "12 hours",
    _DAY_SECONDS: "day",
    3 * _DAY_SECONDS: "3 days",
    7 * _DAY_SECONDS: "week",
}
"""Stretches of event time that a picture is drawn by, in seconds, and their names."""


def readable_period(graded: Graded, least_frauds: int = 15) -> float:
    """Return the shortest of `PERIODS` that holds frauds enough, in seconds.

    Average precision over a handful of frauds is noise.
    """
    span = float(np.ptp(graded.times_seconds)) if len(graded.times_seconds) else 0.0
    frauds = int(graded.frauds.sum())
    longest = max(PERIODS)
    if not frauds or not span:
        return longest
    enough = span / frauds * least_frauds
    most = span / 200  # more points than this are not seen
    return next((s for s in PERIODS if s >= max(enough, most)), longest)
