"""Precision, recall and average precision of windows whose labels have not come, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from stream.core.shift import Shift, effective, fit, moved
from stream.core.tally import LOG_ODDS, Tally, stacked
from stream.core.windows import average_precision
from stream.events import logit

LEVEL = 0.9
"""Probability with which an interval holds the figure that matures, where it is trusted."""
HALF_LIFE = 240.0
"""Windows after which what has matured counts half."""
LEAST_ALERTS = 30
LEAST_FRAUDS = 30
"""Announced, or known by label: fewer are too few."""
LEAST_BLOCKS = 4
MOVED = 3.0
"""Scores are off otherwise than before where the newest matured windows depart by so many standard
errors."""
MATTERS = 0.05
"""And by so large a share of the alerts, or of the frauds."""
UNLIKE = 0.25
"""Population stability index from which scores are unlike those that have matured."""
PRIOR_FACTOR = 1.5
"""The share of frauds announced may change by this factor and the prior is not said to move."""

_DRAWS = 400
_CLASSES = 10
_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median deviation."""
_NEWEST = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Blocks, the newest windows, in which a change of calibration is looked for."""

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

    def figures(self) -> dict[str, Estimate]:
        """Return the estimates by name of the figure, as `Measures` has it."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "average_precision": self.average_precision,
        }


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
    the draws. Average precision also rests on how scores rank, which shifts leave alone: its draws
    are moved, and spread, as its estimates for the matured blocks were off.

    Parameters
    ----------
    waiting
        The windows to be estimated, oldest first.
    matured
        Windows whose labels have come, oldest first, older than those.
    """
    if not waiting:
        return NOTHING
    target, past = stacked(waiting).added(), _past(stacked(matured), len(waiting))
    drawn = _draws(target, past)
    few = [] if len(past.blocks) >= LEAST_BLOCKS else ["too few windows have matured"]
    drift = [
        *(_moved(past, alerts=True) or _moved(past, alerts=False)),
        *_unlike(target, past),
        *_prior_moved(target, past),
    ]
    against = [*few, *drawn.told, *drift]
    of_alerts = [*_few_alerts(target, past), *against]
    of_all = [*_few_frauds(target, past), *against]
    return Estimates(
        _estimate(drawn.precision, of_alerts),
        _estimate(drawn.recall, of_all),
        _estimate(drawn.average_precision, of_all),
        len(waiting),
        round(float(target.scored.sum())),
        round(float(target.flagged.sum())),
    )


class _Past(NamedTuple):
    """What has matured, by window and by block, and the shifts that fit it."""

    windows: Tally
    size: int
    blocks: Tally
    flagged: Shift
    passed: Shift

    def announced(self, of: Tally) -> float:
        """Frauds expected by recalibrated scores."""
        flagged, passed = LOG_ODDS + self.flagged.value, LOG_ODDS + self.passed.value
        return float(of.flagged @ expit(flagged) + of.passed @ expit(passed))


class _Drawn(NamedTuple):
    """Draws of the figures, NaN where one is not defined, and what labels say against them."""

    precision: Floats
    recall: Floats
    average_precision: Floats
    told: tuple[str, ...]


def _past(windows: Tally, size: int) -> _Past:
    """Cut what has matured into blocks; into shorter ones where there would be too few."""
    size = max(min(size, len(windows) // LEAST_BLOCKS), 1)
    blocks = windows.blocks(size)
    weights = _weights(len(blocks), size)
    flagged = fit(blocks.labelled_flagged, blocks.caught, weights)
    passed = fit(blocks.labelled_passed, blocks.missed, weights)
    return _Past(windows, size, blocks, flagged, passed)


def _weights(blocks: int, size: int) -> Floats:
    weights: Floats = 0.5 ** (np.arange(blocks)[::-1] * size / HALF_LIFE)
    return weights


def _estimate(draws: Floats, against: Sequence[str]) -> Estimate:
    known = draws[np.isfinite(draws)]
    why = "; ".join(dict.fromkeys(against))
    if len(known) < len(draws) / 2:
        return Estimate(None, None, None, False, why or "nothing was flagged, or no fraud expected")
    low, value, high = np.quantile(known, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]).tolist()
    return Estimate(value, low, high, not why, why)


def _draws(target: Tally, past: _Past) -> _Drawn:
    random = np.random.default_rng(0)  # the same estimate whenever and by whomever it is made
    bins = np.flatnonzero(target.scored)[::-1]
    alerts, rest, log_odds = target.flagged[bins], target.passed[bins], LOG_ODDS[bins]

    def normal(freedom: float) -> Floats:
        # Evenly spread over the distribution: fewer draws do.
        even = random.permutation((np.arange(_DRAWS) + 0.5) / _DRAWS)
        return np.asarray(stdtrit(freedom, even))

    def frauds(counts: Floats, shift: Shift) -> Floats:
        shifts = shift.value + shift.spread * normal(shift.freedom)
        chance = expit(log_odds + shifts[:, None])
        return random.binomial(np.rint(counts).astype(np.int64), chance).astype(np.float64)

    of_alerts, of_rest = frauds(alerts, past.flagged), frauds(rest, past.passed)
    drawn = of_alerts.sum(axis=1)
    caught = np.clip(drawn, target.caught, alerts.sum() - target.false)
    missed = np.maximum(of_rest.sum(axis=1), target.missed)
    told = (
        ()
        if float((drawn == caught).mean()) >= 1 - LEVEL
        else ("the labels that have come contradict it",)
    )
    ranked = _ranked(alerts + rest, of_alerts + of_rest)
    off = _ranking_off(past)
    spread = math.sqrt(max(off.variance - float(np.nanvar(_logits(ranked))), 0.0))
    ranked = expit(_logits(ranked) + off.mean + spread * normal(off.freedom))
    with np.errstate(invalid="ignore", divide="ignore"):
        return _Drawn(caught / alerts.sum(), caught / (caught + missed), ranked, told)


def _ranked(counts: Floats, frauds: Floats) -> Floats:
    """Average precision by draw, highest bin first: frauds of shape (draws, bins)."""
    found: Floats = np.cumsum(frauds, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = found / np.cumsum(counts)
        ranked: Floats = (frauds * precision).sum(axis=1) / frauds.sum(axis=1)
    return ranked


def _logits(shares: Floats) -> Floats:
    p = np.clip(shares, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)))


class _Off(NamedTuple):
    mean: float
    variance: float
    freedom: float


def _ranking_off(past: _Past) -> _Off:
    """By how much estimates of average precision were off in the matured blocks, in log-odds."""
    blocks = past.blocks
    expected = blocks.labelled_flagged * expit(LOG_ODDS + past.flagged.value)
    expected = expected + blocks.labelled_passed * expit(LOG_ODDS + past.passed.value)
    labelled = blocks.labelled_flagged + blocks.labelled_passed
    off, weights = [], []
    for weight, of, announced, found in zip(
        _weights(len(blocks), past.size), labelled, expected, blocks.frauds, strict=True
    ):
        one, other = (average_precision((of - f)[::-1], f[::-1]) for f in (found, announced))
        if one is not None and other is not None:
            off.append(logit(min(max(one, 1e-4), 1 - 1e-4)) - logit(other))
            weights.append(weight)
    if len(off) < 2:
        return _Off(0.0, 0.0, 1.0)
    share = np.array(weights) / sum(weights)
    mean, size = float(share @ off), effective(share)
    variance = float(share @ (np.array(off) - mean) ** 2) * size / (size - 1)
    return _Off(mean, variance * (1 + 1 / size), size)


def _few_alerts(target: Tally, past: _Past) -> Iterator[str]:
    alerts, frauds = float(target.flagged.sum()), float(past.blocks.caught.sum())
    if alerts < LEAST_ALERTS:
        yield f"{alerts:.0f} alerts are too few"
    if frauds < LEAST_FRAUDS:
        yield f"{frauds:.0f} labelled frauds among alerts are too few to check scores by"


def _few_frauds(target: Tally, past: _Past) -> Iterator[str]:
    announced, frauds = past.announced(target), float(past.blocks.frauds.sum())
    if announced < LEAST_FRAUDS:
        yield f"{announced:.0f} frauds expected are too few"
    if frauds < LEAST_FRAUDS:
        yield f"{frauds:.0f} labelled frauds are too few to check scores by"
    elif not past.blocks.labelled_passed.sum():
        yield "nothing but alerts is labelled"


def _moved(past: _Past, *, alerts: bool) -> list[str]:
    """Whether scores of the newest matured windows are off otherwise than those before."""
    for part in _NEWEST:
        newest = max(round(past.size * part), 1)
        old = past.windows.part(slice(-newest)).blocks(past.size)
        if len(old) < LEAST_BLOCKS - 1:
            break
        now = past.windows.part(slice(-newest, None)).added()
        weights = _weights(len(old), past.size)
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


def _unlike(target: Tally, past: _Past) -> Iterator[str]:
    """Whether scores are distributed otherwise: the population stability index over ten classes.

    See Siddiqi, "Credit risk scorecards" (2006), for the index and its limit. Where blocks of the
    past differ as much among themselves, it says nothing.
    """
    whole = past.blocks.scored.sum(axis=0)
    if not whole.sum() or not target.scored.sum():
        return
    share = (np.cumsum(whole) - whole / 2) / whole.sum()
    classes = np.minimum((share * _CLASSES).astype(np.int64), _CLASSES - 1)

    def index(of: Floats) -> float:
        p, q = (
            (np.bincount(classes, counts, minlength=_CLASSES) + 0.5) / (counts.sum() + _CLASSES / 2)
            for counts in (of, whole)
        )
        return float(((p - q) * np.log(p / q)).sum())

    found, usual = index(target.scored), max(index(block) for block in past.blocks.scored)
    if found > max(UNLIKE, 2 * usual):
        yield f"scores are unlike those that have matured (stability index {found:.2f})"


def _prior_moved(target: Tally, past: _Past) -> Iterator[str]:
    """Whether a larger or smaller share of frauds is announced than in the past.

    How much it varied is told by the median deviation from the median, newer blocks counting for
    more: a few blocks of a model that still knew little are to count for nothing.
    """
    blocks = past.blocks
    if len(blocks) < LEAST_BLOCKS:
        return
    every = [*(blocks.part(slice(i, i + 1)).added() for i in range(len(blocks))), target]
    announced = np.maximum([past.announced(of) for of in every], 0.5)
    shares = np.log(announced / np.maximum([of.scored.sum() for of in every], 1.0))
    before, now = shares[:-1], float(shares[-1])
    weights = _weights(len(blocks), past.size)
    usual = _median(before, weights)
    spread = _NORMAL * _median(np.abs(before - usual), weights)
    chance = 1 / math.sqrt(float(announced[-1]))
    if abs(now - usual) > max(math.log(PRIOR_FACTOR), MOVED * math.hypot(spread, chance)):
        yield f"{math.exp(now):.2%} frauds are announced, {math.exp(usual):.2%} before"


def _median(values: Floats, weights: Floats) -> float:
    """The lower weighted median."""
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, cumulated[-1] / 2)])
