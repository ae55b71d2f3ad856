"""Precision, recall and average precision of windows whose labels have not come, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from stream.core.shift import Shift, fit, moved
from stream.core.tally import LOG_ODDS, Tally, added, blocks

LEVEL = 0.9
"""Probability with which an interval holds the figure that matures, where it is trusted."""
LEAST_ALERTS = 30
LEAST_FRAUDS = 30
"""Announced, or known by label: fewer are too few."""
LEAST_BLOCKS = 4
MOVED = 3.0
"""Scores are off otherwise than before where the newest matured windows depart by so many standard
errors."""
UNLIKE = 0.25
"""Population stability index from which scores are unlike those that have matured."""
PRIOR_FACTOR = 1.5
"""The share of frauds announced may change by this factor and the prior is not said to move."""

_DRAWS = 400
_CLASSES = 10
_NEWEST = (0.125, 0.25, 0.5, 1.0)
"""Parts of a block, its newest windows, in which a change of calibration is looked for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a figure will be when the labels have come: `value`, in an interval of `LEVEL`.

    The numbers are None where nothing can be said. `why` says in words why it is not to be
    trusted; it is empty where it is.
    """

    value: float | None
    low: float | None
    high: float | None
    trusted: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Estimates:
    """What is estimated of some windows, taken together."""

    precision: Estimate
    recall: Estimate
    average_precision: Estimate
    windows: int = 0
    """How many windows they are of, with so many transactions and alerts."""
    transactions: int = 0
    alerts: int = 0


_NO_WINDOW = Estimate(None, None, None, False, "no window waits for labels")
NOTHING = Estimates(_NO_WINDOW, _NO_WINDOW, _NO_WINDOW)
"""Where there is no window to be estimated."""


def estimate(waiting: Sequence[Tally], matured: Sequence[Tally]) -> Estimates:
    """Estimate the figures of windows from their scores, and from how scores fared in older ones.

    Each transaction counts as a fraud with the probability that its score states: confidence-based
    performance estimation (NannyML's CBPE; Guillory et al., "Predicting with confidence on unseen
    distributions", ICCV 2021). Scores are recalibrated by a shift in log-odds, one for what was
    flagged and one for the rest, so that it does not matter which of them are labelled more
    readily; see `shift.fit`. It is fitted on blocks of matured windows as long as what is
    estimated, and so the variance between blocks is that of a week from week to week where a week
    is estimated. The interval is of draws of the two shifts (Student's t) and of frauds given
    them, so it is one for a new block and not for the mean of blocks. Labels that have come bound
    the draws.

    Parameters
    ----------
    waiting
        The windows to be estimated, oldest first.
    matured
        Windows whose labels have come, oldest first, older than those.
    """
    if not waiting:
        return NOTHING
    target = added(waiting)
    size = max(min(len(waiting), len(matured) // LEAST_BLOCKS), 1)
    past = blocks(matured, size)
    flagged = fit(past.labelled_flagged, past.caught)
    passed = fit(past.labelled_passed, past.missed)
    precisions, recalls, ranked, bounded = _draws(target, flagged, passed)
    of_stream = [*_unlike(target, past), *_prior_moved(target, past, flagged, passed)]
    of_alerts = [*_few_alerts(target, past), *_moved(matured, size, alerts=True), *of_stream]
    of_all = [
        *_few_frauds(target, past, flagged, passed),
        *_moved(matured, size, alerts=True),
        *_moved(matured, size, alerts=False),
        *of_stream,
    ]
    if bounded:
        of_alerts.append(bounded)
        of_all.append(bounded)
    return Estimates(
        _estimate(precisions, of_alerts),
        _estimate(recalls, of_all),
        _estimate(ranked, of_all),
        len(waiting),
        round(float(target.flagged.sum() + target.passed.sum())),
        round(float(target.flagged.sum())),
    )


def _estimate(draws: Floats, against: Sequence[str]) -> Estimate:
    known = draws[np.isfinite(draws)]
    why = "; ".join(dict.fromkeys(against))
    if len(known) < len(draws) / 2:
        return Estimate(None, None, None, False, why or "nothing was flagged, or no fraud expected")
    low, value, high = np.quantile(known, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]).tolist()
    return Estimate(value, low, high, not why, why)


def _draws(target: Tally, flagged: Shift, passed: Shift) -> tuple[Floats, Floats, Floats, str]:
    """Draw precision, recall and average precision; NaN where one is not defined."""
    random = np.random.default_rng(0)  # the same estimate whenever and by whomever it is made
    bins = np.flatnonzero(target.flagged + target.passed)[::-1]
    alerts, rest, log_odds = target.flagged[bins], target.passed[bins], LOG_ODDS[bins]

    def frauds(counts: Floats, shift: Shift) -> Floats:
        # Evenly spread over the distribution: fewer draws do.
        even = random.permutation((np.arange(_DRAWS) + 0.5) / _DRAWS)
        shifts = shift.value + shift.spread * stdtrit(shift.freedom, even)
        chance = expit(log_odds + shifts[:, None])
        return random.binomial(np.rint(counts).astype(np.int64), chance).astype(np.float64)

    of_alerts, of_rest = frauds(alerts, flagged), frauds(rest, passed)
    drawn = of_alerts.sum(axis=1)
    caught = np.clip(drawn, target.caught, alerts.sum() - target.false)
    missed = np.maximum(of_rest.sum(axis=1), target.missed)
    told = "the labels that have come contradict it"
    bounded = told if float((drawn == caught).mean()) < 1 - LEVEL else ""
    both: Floats = of_alerts + of_rest
    found: Floats = np.cumsum(both, axis=1)
    counted = np.cumsum(alerts + rest)
    with np.errstate(invalid="ignore", divide="ignore"):
        ranked = (both * found / counted).sum(axis=1) / found[:, -1]
        return caught / alerts.sum(), caught / (caught + missed), ranked, bounded


def _few_alerts(target: Tally, past: Tally) -> Iterator[str]:
    alerts, frauds = float(target.flagged.sum()), float(past.caught.sum())
    if alerts < LEAST_ALERTS:
        yield f"{alerts:.0f} alerts are too few"
    if frauds < LEAST_FRAUDS:
        yield f"{frauds:.0f} labelled frauds among alerts are too few to check scores by"
    if len(past.caught) < LEAST_BLOCKS:
        yield "too few windows have matured"


def _few_frauds(target: Tally, past: Tally, flagged: Shift, passed: Shift) -> Iterator[str]:
    announced = _announced(target, flagged, passed)
    frauds = float(past.caught.sum() + past.missed.sum())
    if announced < LEAST_FRAUDS:
        yield f"{announced:.0f} frauds expected are too few"
    if frauds < LEAST_FRAUDS:
        yield f"{frauds:.0f} labelled frauds are too few to check scores by"
    elif not past.labelled_passed.sum():
        yield "nothing but alerts is labelled"
    if len(past.caught) < LEAST_BLOCKS:
        yield "too few windows have matured"


def _moved(matured: Sequence[Tally], size: int, *, alerts: bool) -> Iterator[str]:
    """Whether scores of the newest matured windows are off otherwise than those before."""
    for part in _NEWEST:
        newest = max(round(size * part), 1)
        old = blocks(matured[:-newest], size)
        if len(old.caught) < LEAST_BLOCKS - 1:
            return
        now = added(matured[-newest:])
        if alerts:
            usual = fit(old.labelled_flagged, old.caught)
            off = moved(now.labelled_flagged, now.caught, usual)
            whose, announced, found = "alerts", now.labelled_flagged, now.caught
        else:
            usual = fit(old.labelled_passed, old.missed)
            off = moved(now.labelled_passed, now.missed, usual)
            whose, announced, found = "what was not flagged", now.labelled_passed, now.missed
        if abs(off) > MOVED:
            expected = float(announced @ expit(LOG_ODDS + usual.value))
            yield (
                f"scores are off since lately: {float(found):,.0f} frauds among {whose} of the "
                f"newest matured windows, {expected:,.0f} expected"
            )
            return


def _unlike(target: Tally, past: Tally) -> Iterator[str]:
    """Whether scores are distributed otherwise: the population stability index over ten classes.

    See Siddiqi, "Credit risk scorecards" (2006), for the index and its limit. Where blocks of the
    past differ as much among themselves, it says nothing.
    """
    scored, now = past.flagged + past.passed, target.flagged + target.passed
    whole = scored.sum(axis=0)
    if not whole.sum() or not now.sum():
        return
    share = (np.cumsum(whole) - whole / 2) / whole.sum()
    classes = np.minimum((share * _CLASSES).astype(np.int64), _CLASSES - 1)

    def index(of: Floats) -> float:
        p, q = (
            (np.bincount(classes, counts, minlength=_CLASSES) + 0.5) / (counts.sum() + _CLASSES / 2)
            for counts in (of, whole)
        )
        return float(((p - q) * np.log(p / q)).sum())

    usual = max(index(block) for block in scored)
    found = index(now)
    if found > max(UNLIKE, 2 * usual):
        yield f"scores are unlike those that have matured (stability index {found:.2f})"


def _prior_moved(target: Tally, past: Tally, flagged: Shift, passed: Shift) -> Iterator[str]:
    """Whether a larger or smaller share of frauds is announced than in the past."""
    if len(past.caught) < LEAST_BLOCKS:
        return
    shares = [
        _announced(Tally(*block), flagged, passed) / max(float((block[0] + block[1]).sum()), 1.0)
        for block in (*zip(*past, strict=True), target)
    ]
    *before, now = np.log(np.maximum(shares, 1e-12)).tolist()
    usual, spread = float(np.mean(before)), float(np.std(before, ddof=1))
    if abs(now - usual) > max(math.log(PRIOR_FACTOR), 3 * spread):
        yield f"{math.exp(now):.2%} frauds are announced, {math.exp(usual):.2%} before"


def _announced(of: Tally, flagged: Shift, passed: Shift) -> float:
    """Frauds expected by recalibrated scores."""
    return float(
        of.flagged @ expit(LOG_ODDS + flagged.value) + of.passed @ expit(LOG_ODDS + passed.value)
    )
