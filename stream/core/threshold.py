"""The rolling precision-recall curve, and the policies that choose a threshold on it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.events import logit

Floats = NDArray[np.float64]

MAX_SCORE = 1.0 - 1e-9
"""Scores stay below this, so that a threshold of 1 flags nothing."""


@dataclass(frozen=True, slots=True)
class FBeta:
    """Flag where the F-measure of the rolling curve is highest; recall counts `beta` times."""

    beta: float


@dataclass(frozen=True, slots=True)
class AlertBudget:
    """Flag the highest scores, about `count` in each window. Needs no labels."""

    count: float


Policy = FBeta | AlertBudget


def parse_policy(text: str) -> Policy:
    """Return the policy that a setting names: `f_beta:BETA` or `alert_budget:COUNT`.

    >>> parse_policy("f_beta:2")
    FBeta(beta=2.0)
    """
    name, _, argument = text.partition(":")
    policies: dict[str, type[FBeta] | type[AlertBudget]]
    policies = {"f_beta": FBeta, "alert_budget": AlertBudget}
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if name not in policies or not 0 < value < math.inf:
        raise ValueError(
            f"threshold policy {text!r} is not understood: give f_beta:BETA or alert_budget:COUNT, "
            "with a number above 0"
        )
    return policies[name](value)


class Point(NamedTuple):
    """A threshold on the rolling curve, and what it would have done."""

    threshold: float
    f_beta: float
    precision: float
    recall: float


class Curve(NamedTuple):
    """Cuts through matured scores, highest threshold first, as columns of one length."""

    threshold: Floats
    f_beta: Floats
    precision: Floats
    recall: Floats

    def best(self) -> Point:
        """Return the cut with the highest F-measure."""
        i = int(np.argmax(self.f_beta))
        return Point(*(float(column[i]) for column in self))

    def f_at(self, threshold: float) -> float:
        """Return the F-measure that a threshold would have had."""
        flagged = np.flatnonzero(self.threshold >= threshold)
        return float(self.f_beta[flagged[-1]]) if len(flagged) else 0.0


class RollingCurve:
    """Matured (score, label, weight) of the last frauds and the legitimate ones of the same span.

    Parameters
    ----------
    max_frauds
        Frauds kept; with the oldest of them goes all that came before it.
    max_examples
        Bound on all examples kept.
    """

    def __init__(self, max_frauds: int = 200, max_examples: int = 30_000) -> None:
        self.max_frauds = max_frauds
        self.max_examples = max_examples
        self.frauds = 0
        self._examples: deque[tuple[float, bool, float]] = deque()

    def add(self, score: float, is_fraud: bool, weight: float) -> None:
        """Add a matured example; `weight` is how many transactions it stands for."""
        self._examples.append((score, is_fraud, weight))
        self.frauds += is_fraud
        while self.frauds > self.max_frauds or len(self._examples) > self.max_examples:
            self.frauds -= self._examples.popleft()[1]

    def points(self, beta: float) -> Curve:
        """Return the curve as it is now, with F-measures for `beta`.

        A cut lies halfway, in log-odds, between a score and the next lower one.
        """
        rows = np.array(self._examples, dtype=np.float64).reshape(-1, 3)
        rows = rows[np.argsort(-rows[:, 0], kind="stable")]
        score, weight = rows[:, 0], rows[:, 2]
        fraud = rows[:, 1] > 0
        last_of_tie = np.append(score[1:] != score[:-1], True)
        tp = np.cumsum(np.where(fraud, weight, 0.0))[last_of_tie]
        fp = np.cumsum(np.where(fraud, 0.0, weight))[last_of_tie]
        cut = score[last_of_tie]
        odds = np.log(np.clip(cut, 1e-10, MAX_SCORE)) - np.log1p(-np.clip(cut, 1e-10, MAX_SCORE))
        middle = np.append((odds[:-1] + odds[1:]) / 2, odds[-1:])
        threshold = np.minimum(1.0 / (1.0 + np.exp(-middle)), cut)
        b2 = beta * beta
        f = (1 + b2) * tp / np.maximum(tp + fp + b2 * tp[-1:], 1e-300)
        precision = tp / np.maximum(tp + fp, 1e-300)
        return Curve(threshold, f, precision, tp / np.maximum(tp[-1:], 1e-300))


class Threshold:
    """The threshold in force, moved by matured examples: part of the model state.

    Holds until `min_frauds` frauds are on the curve. After that it looks at the curve every
    `every` examples, moves only where the F-measure gains more than the share `hysteresis` of
    itself, and by no more than `max_step` in log-odds at once. Where even the best cut has an
    F-measure below `min_f` the alert budget decides: on a model that ranks badly the best F-measure
    is had by flagging nearly everything.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        min_frauds: int = 20,
        min_f: float = 0.2,
        hysteresis: float = 0.02,
        max_step: float = 0.5,
        every: int = 25,
    ) -> None:
        self.policy = policy
        self.min_frauds = min_frauds
        self.min_f = min_f
        self.hysteresis = hysteresis
        self.max_step = max_step
        self.every = every
        self.curve = RollingCurve()
        self.value: float | None = None
        """None until there are labels enough: the alert budget decides."""
        self.reason = "too few labelled frauds: the alert budget decides"
        self._since_look = every

    def learn(self, score: float, is_fraud: bool, weight: float) -> None:
        """Take in a matured example with the score it was given."""
        self.curve.add(score, is_fraud, weight)
        self._since_look += 1
        if isinstance(self.policy, AlertBudget):
            self.reason = "the alert budget decides"
            return
        if self.curve.frauds < self.min_frauds:
            if self.value is not None:
                self.reason = "too few labelled frauds lately: held"
            return
        if self._since_look >= self.every:
            self._since_look = 0
            self._move(self.policy.beta)

    def _move(self, beta: float) -> None:
        curve = self.curve.points(beta)
        best = curve.best()
        if best.f_beta < self.min_f:
            self.value = None
            self.reason = f"the best cut has F {best.f_beta:.2f}: the alert budget decides"
            return
        traded = f"precision {best.precision:.2f}, recall {best.recall:.2f} on the rolling curve"
        if self.value is None:
            self.value, self.reason = best.threshold, f"labels decide now: {traded}"
        elif best.f_beta > (1.0 + self.hysteresis) * curve.f_at(self.value):
            here, there = logit(self.value), logit(best.threshold)
            step = min(max(there - here, -self.max_step), self.max_step)
            self.value = 1.0 / (1.0 + math.exp(-(here + step)))
            self.reason = f"moving to {best.threshold:.3g}: {traded}"


_BUDGET_WINDOWS = 8
_FEW = 500


class BudgetThreshold:
    """A threshold that lets about so many transactions through per window, from scores alone.

    Keeps the last scores with their event times; every `every` scores, the threshold becomes the
    quantile that leaves `count` alerts per window at the traffic seen. Scores tied at the quantile
    stay out, so that a model that knows nothing yet flags nothing. Where the memory holds too few
    scores to allow a single alert, only one above all of them is flagged.

    Parameters
    ----------
    count
        Alerts per window.
    window_seconds
        Length of the window in event time.
    max_share
        Share of the transactions flagged at most, however few make a window.
    memory
        How many scores are remembered.
    every
        How many scores between two looks.
    """

    def __init__(
        self,
        count: float,
        window_seconds: float,
        *,
        max_share: float = 1.0,
        memory: int = 10_000,
        every: int = 250,
    ) -> None:
        self.count = count
        self.window_seconds = window_seconds
        self.max_share = max_share
        self.memory = memory
        self.every = every
        self.value = 1.0
        self.part = 1.0
        """The part of the stream that is decided here: of the budget, so much is ours."""
        self._scores: deque[float] = deque(maxlen=memory)
        self._times: deque[float] = deque(maxlen=memory)
        self._since_look = 0

    def decide(self, times_seconds: Floats, scores: Floats) -> Floats:
        """Return the threshold in force for each score, and take the scores in."""
        thresholds = np.empty(len(scores))
        at = 0
        while at < len(scores):
            until = min(at + self.every - self._since_look, len(scores))
            thresholds[at:until] = self.value
            self._scores.extend(scores[at:until].tolist())
            self._times.extend(times_seconds[at:until].tolist())
            self._since_look += until - at
            if self._since_look >= self.every:
                self._since_look = 0
                self._look()
            at = until
        return thresholds

    def _look(self) -> None:
        times = np.array(self._times)
        while times[0] < times[-1] - _BUDGET_WINDOWS * self.window_seconds and len(times) > _FEW:
            drop = max(len(times) // 10, 1)  # scores of a model that has changed since
            times = times[drop:]
            for _ in range(drop):
                self._times.popleft()
                self._scores.popleft()
        # Without the tails, so that one clock gone wrong does not stretch the span.
        early, late = np.quantile(times, [0.05, 0.95])
        windows = (late - early) / 0.9 / self.window_seconds
        if len(times) < self.memory:
            windows = max(windows, 1.0)  # the stream has only begun
        allowed = int(min(self.count * self.part * windows, self.max_share * len(times)))
        ranked = np.sort(np.array(self._scores))[::-1]
        if allowed >= len(ranked):
            self.value = float(ranked[-1])
            return
        above = ranked[ranked > ranked[allowed]]
        self.value = float(above[-1]) if len(above) else min(float(ranked[0]) + 1e-9, 1.0)
