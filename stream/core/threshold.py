"""The threshold in force, moved by matured labels on the rolling curve."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from stream.core.budget import BudgetThreshold
from stream.core.curve import MAX_SCORE, Curve, Point, RollingCurve
from stream.core.maturing import Matured, Maturing
from stream.core.policies import (
    POLICIES,
    AlertBudget,
    Cost,
    CurvePolicy,
    FBeta,
    Policy,
    PrecisionAtLeast,
    RecallAtLeast,
    parse_policy,
)
from stream.events import logit

__all__ = [
    "MAX_SCORE",
    "POLICIES",
    "AlertBudget",
    "BudgetThreshold",
    "Cost",
    "Curve",
    "FBeta",
    "Point",
    "Policy",
    "PrecisionAtLeast",
    "RecallAtLeast",
    "RollingCurve",
    "Threshold",
    "choose",
    "parse_policy",
]


def choose(policy: CurvePolicy, curve: Curve) -> int:
    """Return the cut that a policy wants: the least loss among those that hold its floor.

    Where no cut holds the floor, the one that comes closest. Of equals, the highest threshold.
    """
    loss, margin = policy.loss(curve), policy.margin(curve)
    holds = margin >= 0
    return int(np.argmin(np.where(holds, loss, np.inf)) if holds.any() else np.argmax(margin))


class Threshold:
    """The threshold in force, moved by matured examples: part of the model state.

    Until `min_frauds` frauds are on the curve it has no value and the alert budget decides; has it
    one and they become fewer, it holds. It looks at the curve whenever a fiftieth of it is new. It
    moves where its cut no longer holds the policy's floor, or where the best cut loses less by more
    than the share `hysteresis`; by no more than `max_step` in log-odds at once. On a model that
    ranks badly the best F-measure, and any recall, is had by flagging nearly everything: where
    the best F1 on the curve is below `min_f` the alert budget decides for those two policies.

    Parameters
    ----------
    policy
        What to achieve. With an `AlertBudget` there never is a value.
    review_rate
        Share of the unflagged transactions that are ever reviewed, where only those get a label.
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
        review_rate: float = 1.0,
    ) -> None:
        self.policy = policy
        self.min_frauds = min_frauds
        self.min_f = min_f
        self.hysteresis = hysteresis
        self.max_step = max_step
        self.every = every
        self.curve = RollingCurve(review_rate=review_rate)
        self.maturing = Maturing()
        self.value: float | None = None
        """None until there are labels enough: the alert budget decides."""
        self.chosen: Point | None = None
        """What the threshold in force would have done on the curve at the last look."""
        self.reason = "too few labelled frauds: the alert budget decides"
        if isinstance(policy, AlertBudget):
            self.reason = "the alert budget decides"
        self._since_look = every

    def learn(
        self,
        score: float,
        is_fraud: bool,
        weight: float,
        *,
        amount: float = 0.0,
        time_seconds: float | None = None,
        labelled_seconds: float | None = None,
        source: Literal["chargeback", "analyst", "sample"] = "chargeback",
        alerted: bool = False,
        key: int = 0,
        corrects: bool = False,
    ) -> None:
        """Take in a labelled transaction with the score and the decision it was given.

        `weight` is how many labelled transactions it stands for. Without both times (seconds since
        the epoch, of the transaction and of its label) it goes on the curve at once. One that
        `corrects` takes the place of the example of the other class that has the same `key`, with
        the score of that; where none is held any more, it is taken in as one that came late.
        """
        if isinstance(self.policy, AlertBudget):
            return
        sampled = source == "sample" and not alerted
        example = Matured(score, is_fraud, weight, amount, sampled, alerted, key)
        if corrects and (self.maturing.correct(example) or self.curve.correct(example)):
            if time_seconds is not None and labelled_seconds is not None:
                self.maturing.observe(example, labelled_seconds - time_seconds)
            self._since_look += 1
            return
        if time_seconds is None or labelled_seconds is None:
            ready = [example]
        else:
            ready = self.maturing.add(
                example, time_seconds=time_seconds, labelled_seconds=labelled_seconds
            )
        for each in ready:
            self._add(each, self.policy)

    def _add(self, example: Matured, policy: CurvePolicy) -> None:
        score, is_fraud, weight, amount, sampled, alerted, key = example
        self.curve.add(score, is_fraud, weight, amount, sampled=sampled, alerted=alerted, key=key)
        self._since_look += 1
        if self.curve.frauds < self.min_frauds:
            if self.value is not None:
                self.reason = "too few labelled frauds lately: held"
            return
        if self._since_look >= max(self.every, len(self.curve) // 50):
            self._since_look = 0
            self._move(policy)

    def _move(self, policy: CurvePolicy) -> None:
        curve = self.curve.points()
        if isinstance(policy, FBeta | RecallAtLeast):
            beta = policy.beta if isinstance(policy, FBeta) else 1.0
            reached = float(curve.f(beta).max())
            if reached < self.min_f:
                self.value = self.chosen = None
                self.reason = f"the best cut has F {reached:.2f}: the alert budget decides"
                return
        best = choose(policy, curve)
        wanted = float(curve.threshold[best])
        if self.value is None:
            self.value = wanted
            told = "labels decide now"
        elif wanted != self.value and self._worth_it(policy, curve, best):
            here, there = logit(self.value), logit(wanted)
            step = min(max(there - here, -self.max_step), self.max_step)
            self.value = wanted if step == there - here else 1.0 / (1.0 + math.exp(-(here + step)))
            told = f"moving to {wanted:.3g}"
        else:
            told = "held"
        if policy.margin(curve)[best] < 0:
            told += ", no cut holds the floor"
        self.chosen = curve.point(curve.at(self.value))
        self.reason = f"{told}: {describe(self.chosen)}"

    def _worth_it(self, policy: CurvePolicy, curve: Curve, best: int) -> bool:
        here = curve.at(self.value or 0.0)
        loss, margin = policy.loss(curve), policy.margin(curve)
        if margin[here] < 0:
            return True
        return bool(loss[best] < (1.0 - self.hysteresis) * loss[here])


def describe(point: Point) -> str:
    """Return in words what a cut does on the rolling curve."""
    return (
        f"precision {point.precision:.2f} (at least {point.precision_lower:.2f}), "
        f"recall {point.recall:.2f} (at least {point.recall_lower:.2f}) on the rolling curve"
    )
