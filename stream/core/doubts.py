"""Why an estimate made without labels is not to be trusted, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from stream.core.past import LEAST_BLOCKS, Past, weights_of
from stream.core.shift import fit, moved
from stream.core.stability import stability_index
from stream.core.tally import LOG_ODDS, Tally

LEAST_ALERTS = 30
LEAST_FRAUDS = 30
"""Announced, or known by label: fewer are too few."""
MOVED = 3.0
"""Scores are off otherwise than before where the newest matured windows depart by so many standard
errors."""
MATTERS = 0.05
"""And by so large a share of the alerts, or of the frauds."""
UNLIKE = 0.25
"""Population stability index from which scores are unlike those that have matured."""
PRIOR_FACTOR = 1.5
"""The share of frauds announced may change by this factor and the prior is not said to move."""

_CLASSES = 10
_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median deviation."""
_VARIED = 8
_NEWEST = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Blocks, the newest windows, in which a change of calibration is looked for."""

Floats = NDArray[np.float64]


def about_stream(target: Tally, past: Past) -> list[str]:
    """Return what speaks against all estimates: too little to check them by, or a drift."""
    return [
        *(["too few windows have matured"] if len(past.blocks) < LEAST_BLOCKS else []),
        *(_moved(past, alerts=True) or _moved(past, alerts=False)),
        *_unlike(target, past),
        *_prior_moved(target, past),
    ]


def about_alerts(target: Tally, past: Past) -> Iterator[str]:
    """Yield what else speaks against an estimate of the alerts alone: too few of them."""
    alerts, frauds = float(target.flagged.sum()), float(past.blocks.caught.sum())
    if alerts < LEAST_ALERTS:
        yield f"{alerts:.0f} alerts are too few"
    if frauds < LEAST_FRAUDS:
        yield f"{frauds:.0f} labelled frauds among alerts are too few to check scores by"


def about_frauds(target: Tally, past: Past) -> Iterator[str]:
    """Yield what else speaks against an estimate of all frauds: too little of them."""
    announced, frauds = past.announced(target), float(past.blocks.frauds.sum())
    if announced < LEAST_FRAUDS:
        yield f"{announced:.0f} frauds expected are too few"
    if frauds < LEAST_FRAUDS:
        yield f"{frauds:.0f} labelled frauds are too few to check scores by"
    elif not past.blocks.labelled_passed.sum():
        yield "nothing but alerts is labelled"


def _moved(past: Past, *, alerts: bool) -> list[str]:
    """Whether scores of the newest matured windows are off otherwise than those before."""
    for part in _NEWEST:
        newest = max(round(past.size * part), 1)
        old = past.windows.part(slice(-newest)).blocks(past.size)
        if len(old) < LEAST_BLOCKS - 1:
            break
        now = past.windows.part(slice(-newest, None)).added()
        weights = weights_of(len(old), past.size)
        if alerts:
            usual = fit(old.labelled_flagged, old.caught, weights)
            counts, found, whose = now.labelled_flagged, now.caught, "alerts"
            whole = float(counts.sum())
        else:
            usual = fit(old.labelled_passed, old.missed, weights)
            counts, found, whose = now.labelled_passed, now.missed, "what was not flagged"
            whole = float(now.frauds.sum())
        expected = float(counts @ expit(LOG_ODDS + usual.value))
        if max(expected, float(found)) < LEAST_FRAUDS or abs(found - expected) < MATTERS * whole:
            continue
        if abs(moved(counts, found, usual)) > MOVED:
            return [
                f"scores are off since lately: {float(found):,.0f} frauds among {whose} of the "
                f"newest matured windows, {expected:,.0f} expected"
            ]
    return []


def _unlike(target: Tally, past: Past) -> Iterator[str]:
    """Whether scores are distributed otherwise: the population stability index over ten classes.

    Its limit is that of Siddiqi, "Credit risk scorecards" (2006). Where blocks of the
    past differ as much among themselves, it says nothing.
    """
    whole = past.blocks.scored.sum(axis=0)
    if not whole.sum() or not target.scored.sum():
        return
    share = (np.cumsum(whole) - whole / 2) / whole.sum()
    classes = np.minimum((share * _CLASSES).astype(np.int64), _CLASSES - 1)

    def index(of: Floats) -> float:
        newer, older = (
            np.bincount(classes, counts, minlength=_CLASSES).astype(np.float64)
            for counts in (of, whole)
        )
        return stability_index(newer, older)

    found, usual = index(target.scored), max(index(block) for block in past.blocks.scored)
    if found > max(UNLIKE, 2 * usual):
        yield f"scores are unlike those that have matured (stability index {found:.2f})"


def _prior_moved(target: Tally, past: Past) -> Iterator[str]:
    """Whether a larger or smaller share of frauds is announced than in the past.

    How much it usually varies is told by the median difference between one block and the next (von
    Neumann's successive differences), newer ones counting for more: a slow change, as while a model
    still learns, is not to hide a sudden one. As a median of few says little, blocks are cut
    shorter where there are less than `_VARIED`, and vary the more for it.
    """
    size = max(min(past.size, len(past.windows) // _VARIED), 1)
    blocks = past.windows.blocks(size)
    if len(blocks) < LEAST_BLOCKS:
        return
    every = [*(blocks.part(slice(i, i + 1)).added() for i in range(len(blocks))), target]
    announced = np.maximum([past.announced(of) for of in every], 0.5)
    shares = np.log(announced / np.maximum([of.scored.sum() for of in every], 1.0))
    before, now = shares[:-1], float(shares[-1])
    weights = weights_of(len(blocks), size)
    usual = _median(before, weights)
    steps = _median(np.abs(np.diff(before)), weights[1:])
    spread = _NORMAL * steps / math.sqrt(2) * math.sqrt(size / past.asked)
    chance = 1 / math.sqrt(float(announced[-1]))
    if abs(now - usual) > max(math.log(PRIOR_FACTOR), MOVED * math.hypot(spread, chance)):
        yield f"{math.exp(now):.2%} frauds are announced, {math.exp(usual):.2%} before"


def _median(values: Floats, weights: Floats) -> float:
    """The lower weighted median."""
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, cumulated[-1] / 2)])
