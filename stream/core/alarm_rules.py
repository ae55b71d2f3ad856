"""When an alarm holds, from whole days of event time: pure rules, each of figures alone.

Each asks for a least effect and for more than chance. Frauds come in sequences, so that their
number scatters more than a Poisson number does: by the variance over the mean seen from day to day,
and no less than `_CLUSTERS`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream.core.alarms import (
    BELOW_PRIOR,
    CALIBRATION_DRIFT,
    PRECISION_FLOOR,
    PRIOR_SHIFT,
    SCORE_DRIFT,
    Finding,
)
from stream.core.days import HISTORY_DAYS, Day, Days

Floats = NDArray[np.float64]

_STRONG = 4.0
"""Standard deviations beyond which nothing is chance: 3 in 100,000 looks on either side."""
_WEAK = 2.0
"""Standard deviations below which it may well be."""
_CLUSTERS = 4.0
"""Variance over mean of the frauds of a day, at least."""
_MEDIAN_CHI_SQUARED = 0.455
_FEW_DAYS = 3
"""Days before that are needed to compare with."""
_GROWN = 100
"""Frauds that a model has learned from before its scores are held to anything."""
_ADULT = 200
"""The same before they are expected to lie where they did."""

BELOW_SHARE = 0.2
SHIFT_FACTOR = 1.5
CALIBRATION_FACTOR = 2.0
PSI_LIMIT, PSI_TIMES = 0.25, 3.0


def below_prior(days: Days, expected_rate: float) -> Finding | None:
    """Whether far fewer are flagged over the last day than are expected to be.

    `expected_rate` is the share that should be: the fraud prior, or less where the policy means to.
    """
    day = days.day(0)
    if day is None or day.transactions == 0 or days.learned_frauds(0) < _GROWN:
        return None
    limit, rate = BELOW_SHARE * expected_rate, day.alerts / day.transactions
    expected = expected_rate * day.transactions
    # Half of what is expected could be chance more easily than all of it.
    deviations = (expected / 2 - day.alerts) / math.sqrt(_CLUSTERS * max(expected / 2, 1.0))
    strong = rate < limit and deviations > _STRONG
    cause = (
        f"{day.alerts:,.0f} of {day.transactions:,.0f} transactions of the last day were flagged "
        f"({rate:.3%}), and {expected_rate:.3%} were expected"
    )
    gone = rate > 2 * limit
    return Finding(BELOW_PRIOR, _holds(strong, gone), rate, limit, cause)


def prior_shift(days: Days) -> Finding | None:
    """Whether the fraud rate of the newest labelled day differs from that of the days before."""
    end = days.matured()
    if end is None:
        return None
    newest, before = days.day(end), [day for day in days.before(end) if day.labelled]
    if newest is None or len(before) < _FEW_DAYS:
        return None
    frauds, variance = _frauds(newest)
    each = np.array([_frauds(day) for day in before])
    transactions = np.array([day.transactions for day in before])
    usual = each[:, 0].sum() / transactions.sum()
    scatter = _scatter(each[:, 0])
    rate, expected = frauds / newest.transactions, usual * newest.transactions
    change = math.log((frauds + 0.5) / (expected + 0.5))
    spread = scatter * (
        max(variance, 0.5) / (frauds + 0.5) ** 2 + each[:, 1].sum() / (each[:, 0].sum() + 0.5) ** 2
    )
    deviations = abs(change) / math.sqrt(spread)
    strong = abs(change) > math.log(SHIFT_FACTOR) and deviations > _STRONG
    limit = usual * (SHIFT_FACTOR if change > 0 else 1 / SHIFT_FACTOR)
    cause = (
        f"{rate:.3%} of the newest day with labels are frauds, and {usual:.3%} of the "
        f"{len(before)} days before it"
    )
    return Finding(PRIOR_SHIFT, _holds(strong, deviations < _WEAK), rate, limit, cause)


def score_drift(days: Days, scores: Floats) -> Finding | None:
    """Whether the scores of the last day lie elsewhere than those of the days before.

    `scores` counts them by bins, shape (days, bins), the newest first. What has been usual from day
    to day is allowed for: a model that is young changes its scores a lot.
    """
    grown = [i for i in range(len(scores)) if days.learned_frauds(i * days.per_day) >= _ADULT]
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
    if end is None or newest is None or days.learned_frauds(end) < _GROWN:
        return None
    announced, frauds = newest.labelled_score_sum, newest.frauds
    ratio = (announced + 0.5) / (frauds + 0.5)
    deviations = abs(announced - frauds) / math.sqrt(_CLUSTERS * max(announced, frauds, 1.0))
    strong = abs(math.log(ratio)) > math.log(CALIBRATION_FACTOR) and deviations > _STRONG
    limit = CALIBRATION_FACTOR if ratio > 1 else 1 / CALIBRATION_FACTOR
    cause = (
        f"the scores of the newest day with labels announced {announced:,.0f} frauds, and "
        f"{frauds:,.0f} came"
    )
    return Finding(CALIBRATION_DRIFT, _holds(strong, deviations < _WEAK), ratio, limit, cause)


def precision_floor(days: Days, floor: float) -> Finding | None:
    """Whether the precision of the newest labelled days is below a floor, beyond doubt."""
    end = days.matured()
    if end is None:
        return None
    caught = false = 0.0
    while (day := days.day(end)) is not None and days.learned_frauds(end) >= _GROWN:
        caught, false = caught + day.true_positives, false + day.false_positives
        end += days.per_day
        if caught + false >= 100:
            break
    flagged = caught + false
    if flagged < 20:
        return None
    precision = caught / flagged
    spread = math.sqrt(_CLUSTERS * floor * (1 - floor) / flagged)
    cause = (
        f"{caught:,.0f} of the newest {flagged:,.0f} alerts with labels are frauds: "
        f"{precision:.0%}, at most {precision + _STRONG * spread:.0%}, and the floor is {floor:.0%}"
    )
    strong, gone = precision + _STRONG * spread < floor, precision + _WEAK / 2 * spread > floor
    return Finding(PRECISION_FLOOR, _holds(strong, gone), precision, floor, cause)


def psi(newest: Floats, before: Floats) -> float | None:
    """Return the population stability index between counts by bin; None where there are few.

    ``sum((p - q) * log(p / q))`` over the bins' shares, half a count added to each.

    >>> psi(np.array([500, 500]), np.array([5000, 5000]))
    0.0
    >>> psi(np.array([5, 5]), np.array([5000, 5000])) is None
    True
    """
    if newest.sum() < 500 or before.sum() < 500:
        return None
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (newest, before))
    return float(np.sum((p - q) * np.log(p / q)))


def _frauds(day: Day) -> tuple[float, float]:
    """Frauds of a day, and the variance of that number were they independent.

    Labelled ones stand for all, those of the alerts apart: often these are all labelled, and few of
    the others are.
    """
    flagged = day.true_positives + day.false_positives
    others = day.true_negatives + day.false_negatives
    of_alerts = day.alerts / max(flagged, 1.0)
    of_others = (day.transactions - day.alerts) / max(others, 1.0)
    caught, missed = day.true_positives, day.false_negatives
    return of_alerts * caught + of_others * missed, of_alerts**2 * caught + of_others**2 * missed


def _scatter(counts: Floats) -> float:
    """The variance over the mean of counts of days in a row, at least that of clusters.

    By the median of the squared steps between neighbours, which one shift among them leaves alone.
    """
    steps = np.diff(counts) ** 2 / np.maximum(counts[1:] + counts[:-1], 1.0)
    return max(float(np.median(steps)) / _MEDIAN_CHI_SQUARED, _CLUSTERS)


def _holds(strong: bool, gone: bool) -> bool | None:
    """None between the two: what was stays."""
    return True if strong else False if gone else None
