"""Precision, recall and average precision of windows whose labels have not come, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from stream.core.doubts import about_alerts, about_frauds, about_stream
from stream.core.past import Past, past_of, weights_of
from stream.core.shift import Shift, effective
from stream.core.tally import LOG_ODDS, Tally, stacked
from stream.core.windows import average_precision
from stream.events import logit

LEVEL = 0.9
"""Probability with which an interval holds the figure that matures, where it is trusted."""

_DRAWS = 400
_CONTRADICTED = 0.01
"""Share of the draws which labels that have come allow, below which they contradict the rest."""
_TOLD = ("the labels that have come contradict it",)

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
    the draws of precision and recall. Average precision also rests on how scores rank, which
    shifts leave alone: its draws are moved, and spread, as its estimates for the matured blocks
    were off.

    Parameters
    ----------
    waiting
        The windows to be estimated, oldest first.
    matured
        Windows whose labels have come, oldest first, older than those.
    """
    if not waiting:
        return NOTHING
    target, past = stacked(waiting).added(), past_of(stacked(matured), len(waiting))
    drawn = _draws(target, past)
    against = [*drawn.told, *about_stream(target, past)]
    of_alerts = [*about_alerts(target, past), *against]
    of_all = [*about_frauds(target, past), *against]
    return Estimates(
        _estimate(drawn.precision, of_alerts),
        _estimate(drawn.recall, of_all),
        _estimate(drawn.average_precision, of_all),
        len(waiting),
        round(float(target.scored.sum())),
        round(float(target.flagged.sum())),
    )


class _Drawn(NamedTuple):
    """Draws of the figures, NaN where one is not defined, and what labels say against them."""

    precision: Floats
    recall: Floats
    average_precision: Floats
    told: tuple[str, ...]


def _estimate(draws: Floats, against: Sequence[str]) -> Estimate:
    known = draws[np.isfinite(draws)]
    why = "; ".join(dict.fromkeys(against))
    if len(known) < len(draws) / 2:
        return Estimate(None, None, None, False, why or "nothing was flagged, or no fraud expected")
    low, value, high = np.quantile(known, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]).tolist()
    return Estimate(value, low, high, not why, why)


def _draws(target: Tally, past: Past) -> _Drawn:
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
    told = [drawn >= target.caught, drawn <= alerts.sum() - target.false]
    told.append(of_rest.sum(axis=1) >= target.missed)
    against = min(float(possible.mean()) for possible in told) < _CONTRADICTED
    of_all = of_alerts + of_rest
    ranked = _ranked(alerts + rest, of_all)
    off = _ranking_off(past)
    by_draws = float(np.var(_logits(ranked[np.isfinite(ranked)]))) if of_all.any() else 0.0
    spread = math.sqrt(max(off.variance - by_draws, 0.0))
    ranked = expit(_logits(ranked) + off.mean + spread * normal(off.freedom))
    with np.errstate(invalid="ignore", divide="ignore"):
        return _Drawn(caught / alerts.sum(), caught / (caught + missed), ranked, _TOLD * against)


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
    """Mean and variance of differences in log-odds, the latter for a new one."""

    mean: float
    variance: float
    freedom: float


def _ranking_off(past: Past) -> _Off:
    """By how much estimates of average precision were off in the matured blocks, in log-odds."""
    blocks = past.blocks
    expected = blocks.labelled_flagged * expit(LOG_ODDS + past.flagged.value)
    expected = expected + blocks.labelled_passed * expit(LOG_ODDS + past.passed.value)
    labelled = blocks.labelled_flagged + blocks.labelled_passed
    off, weights = [], []
    for weight, of, announced, found in zip(
        weights_of(len(blocks), past.size), labelled, expected, blocks.frauds, strict=True
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
