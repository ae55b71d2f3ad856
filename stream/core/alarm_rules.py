"""When an alarm holds, from whole days of event time: pure rules, each of figures alone.

Each asks for a least effect and for more than chance. Frauds come in sequences, so that their
number scatters more than a Poisson number does: a count is taken for so many independent ones fewer
as its variance is above its mean, as seen from day to day and no less than `_CLUSTERS`. With that,
chance is Poisson's, or a coin's where the days before are few themselves.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammainc, gammaincc

from stream.core.alarms import (
    BELOW_PRIOR,
    CALIBRATION_DRIFT,
    PRECISION_FLOOR,
    PRIOR_SHIFT,
    SCORE_DRIFT,
    Finding,
)
from stream.core.days import HISTORY_DAYS, Day, Days
from stream.core.stability import stability_index

Floats = NDArray[np.float64]

_STRONG = 3e-5
"""Chance below which nothing is chance, on either side: that of four standard deviations."""
_WEAK = 0.02
"""Chance above which it may well be."""
_CLUSTERS = 4.0
"""Variance over mean of the frauds of a day, at least."""
_MEDIAN_CHI_SQUARED = 0.455
_FEW_DAYS = 3
"""Days before that are needed to compare with."""
GROWN = 200
"""Frauds that a model has learned from before its scores and decisions are held to anything."""
_ENOUGH = 60
"""Alerts to expect before the last day is enough."""

BELOW_SHARE = 0.2
SHIFT_FACTOR = 1.5
CALIBRATION_FACTOR = 2.0
PSI_LIMIT, PSI_TIMES = 0.1, 3.0


def below_prior(days: Days, expected_rate: float) -> Finding | None:
    """Whether far fewer were flagged lately than are expected to be.

    `expected_rate` is the share that should be: the fraud prior, or less where the policy means to.
    Of the last one to three days, as many as make enough of an expectation.
    """
    if not _grown(days, 0):
        return None
    alerts = transactions = 0.0
    for k in range(_FEW_DAYS):
        day = days.day(k * days.per_day)
        if day is None or expected_rate * transactions > _ENOUGH:
            break
        alerts, transactions = alerts + day.alerts, transactions + day.transactions
    if transactions == 0:
        return None
    limit, rate = BELOW_SHARE * expected_rate, alerts / transactions
    chance = _chance(alerts, expected_rate * transactions, _CLUSTERS)
    cause = (
        f"{alerts:,.0f} of the last {transactions:,.0f} transactions were flagged ({rate:.3%}), "
        f"and {expected_rate:.3%} were expected"
    )
    strong = rate < limit and chance < _STRONG
    return Finding(BELOW_PRIOR, _holds(strong, rate > 2 * limit), rate, limit, cause)


def prior_shift(days: Days) -> Finding | None:
    """Whether the fraud rate of the newest labelled day differs from that of the days before."""
    end = days.matured()
    if end is None:
        return None
    newest, before = days.day(end), [day for day in days.before(end) if day.labelled]
    if newest is None or len(before) < _FEW_DAYS:
        return None
    frauds, weight = _frauds(newest)
    each = np.array([_frauds(day) for day in before])
    transactions = np.array([day.transactions for day in before])
    usual = each[:, 0].sum() / transactions.sum()
    rate, expected = frauds / newest.transactions, usual * newest.transactions
    factor = (frauds + 0.5) / (expected + 0.5)
    # Given how many there are in all, each is of the newest day by the toss of a coin.
    independent = _scatter(each[:, 0]) * max(weight, float(each[:, 1].max()))
    now, then = frauds / independent, each[:, 0].sum() / independent
    share = newest.transactions / (newest.transactions + transactions.sum())
    chance = betainc(then, now + 1, 1 - share) if factor < 1 else betainc(now, then + 1, share)
    strong = abs(math.log(factor)) > math.log(SHIFT_FACTOR) and chance < _STRONG
    limit = usual * (SHIFT_FACTOR if factor > 1 else 1 / SHIFT_FACTOR)
    cause = (
        f"{rate:.3%} of the newest day with labels are frauds, and {usual:.3%} of the "
        f"{len(before)} days before it"
    )
    return Finding(PRIOR_SHIFT, _holds(strong, chance > _WEAK), rate, limit, cause)


def score_drift(days: Days, scores: Floats) -> Finding | None:
    """Whether the scores of the last day lie elsewhere than those of the days before.

    `scores` counts them by bins, shape (days, bins), the newest first. What has been usual from day
    to day is allowed for: a model that is young changes its scores a lot.
    """
    grown = [i for i in range(len(scores)) if _grown(days, i * days.per_day)]
    found = [psi(scores[i], scores[i + 1 : i + 1 + HISTORY_DAYS].sum(axis=0)) for i in grown[:-1]]
    known = [each for each in found if each is not None]
    if len(known) < len(found) or len(known) < 1 + _FEW_DAYS:
        return None
    figure, usual = known[0], max(known[1 : 1 + _FEW_DAYS])
    limit = max(PSI_LIMIT, PSI_TIMES * usual)
    cause = (
        "the scores of the last day lie elsewhere than those of the days before: "
        f"PSI {figure:.2f}, and up to {usual:.2f} was usual"
    )
    return Finding(SCORE_DRIFT, _holds(figure > limit, figure < limit / 2), figure, limit, cause)


def calibration_drift(days: Days) -> Finding | None:
    """Whether far more or fewer frauds came on the newest labelled day than scores announced."""
    end = days.matured()
    newest = None if end is None else days.day(end)
    if end is None or newest is None or not _grown(days, end):
        return None
    announced, frauds = newest.labelled_score_sum, newest.frauds
    ratio = (announced + 0.5) / (frauds + 0.5)
    chance = _chance(frauds, announced, _CLUSTERS)
    strong = abs(math.log(ratio)) > math.log(CALIBRATION_FACTOR) and chance < _STRONG
    limit = CALIBRATION_FACTOR if ratio > 1 else 1 / CALIBRATION_FACTOR
    cause = (
        f"the scores of the newest day with labels announced {announced:,.0f} frauds, and "
        f"{frauds:,.0f} came"
    )
    return Finding(CALIBRATION_DRIFT, _holds(strong, chance > _WEAK), ratio, limit, cause)


def precision_floor(days: Days, floor: float) -> Finding | None:
    """Whether the precision of the newest labelled days is below a floor, beyond doubt."""
    end = days.matured()
    if end is None:
        return None
    caught = false = 0.0
    while (day := days.day(end)) is not None and _grown(days, end):
        caught, false = caught + day.true_positives, false + day.false_positives
        end += days.per_day
        if caught + false >= 100:
            break
    flagged = caught + false
    if flagged < 20:
        return None
    precision = caught / flagged
    # The chance of so few frauds at the floor itself: below, its upper bound is below the floor.
    chance = betainc(false / _CLUSTERS, caught / _CLUSTERS + 1, 1 - floor) if false else 1.0
    cause = (
        f"{caught:,.0f} of the newest {flagged:,.0f} alerts with labels are frauds "
        f"({precision:.0%}), and the floor is {floor:.0%}"
    )
    strong, gone = chance < _STRONG, chance > _WEAK
    return Finding(PRECISION_FLOOR, _holds(strong, gone), precision, floor, cause)


def psi(newest: Floats, before: Floats) -> float | None:
    """Return the population stability index between counts by bin; None where there are few.

    >>> psi(np.array([500, 500]), np.array([5000, 5000]))
    0.0
    >>> psi(np.array([5, 5]), np.array([5000, 5000])) is None
    True
    """
    if newest.sum() < 500 or before.sum() < 500:
        return None
    return stability_index(newest, before)


def _grown(days: Days, end: int) -> bool:
    """Whether the model had grown up a day before that day began."""
    return days.learned_frauds(end + days.per_day) >= GROWN


def _frauds(day: Day) -> tuple[float, float]:
    """Frauds of a day, and for how many each labelled one stands on average.

    Those of the alerts are counted apart: often these are all labelled, and few of the others are.
    The average is by variance over mean.
    """
    flagged = day.true_positives + day.false_positives
    others = day.true_negatives + day.false_negatives
    of_alerts = day.alerts / max(flagged, 1.0)
    of_others = (day.transactions - day.alerts) / max(others, 1.0)
    caught, missed = day.true_positives, day.false_negatives
    frauds = of_alerts * caught + of_others * missed
    squared = of_alerts**2 * caught + of_others**2 * missed
    return frauds, squared / frauds if frauds else 1.0


def _scatter(counts: Floats) -> float:
    """The variance over the mean of counts of days in a row, at least that of clusters.

    By the median of the squared steps between neighbours, the lower one of two: one shift among
    them, which may lie within a day, does not count as scatter.
    """
    steps = np.sort(np.diff(counts) ** 2 / np.maximum(counts[1:] + counts[:-1], 1.0))
    return max(float(steps[(len(steps) - 1) // 2]) / _MEDIAN_CHI_SQUARED, _CLUSTERS)


def _chance(count: float, expected: float, scatter: float) -> float:
    """The chance of a count as far from what is expected, on its side of it."""
    seen, mean = count / scatter, max(expected, 1e-9) / scatter
    if count < expected:
        return float(gammaincc(seen + 1, mean))
    return float(gammainc(max(seen, 1e-9), mean))


def _holds(strong: bool, gone: bool) -> bool | None:
    """None between the two: what was stays."""
    return True if strong else False if gone else None
