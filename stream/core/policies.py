"""What a threshold is to achieve: the policies, and how a setting names them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream.core.curve import Curve, Floats


@dataclass(frozen=True, slots=True)
class FBeta:
    """Flag where the F-measure of the rolling curve is highest; recall counts `beta` times."""

    beta: float

    def loss(self, curve: Curve) -> Floats:
        """Return the inverse of each cut's F-measure; infinite where nothing is caught."""
        return 1.0 / np.maximum(curve.f(self.beta), 1e-300)

    def margin(self, curve: Curve) -> Floats:
        """Return how far each cut is on the right side of the floor: there is none here."""
        return np.zeros(len(curve.threshold))


@dataclass(frozen=True, slots=True)
class PrecisionAtLeast:
    """Catch as much as can be while of the flagged at least the share `floor` is fraud.

    The floor holds for the lower confidence bound of a cut's precision. Where no cut reaches it,
    the one whose bound is highest decides.
    """

    floor: float

    def loss(self, curve: Curve) -> Floats:
        """Return the inverse of each cut's recall."""
        return 1.0 / np.maximum(curve.recall, 1e-300)

    def margin(self, curve: Curve) -> Floats:
        """Return the lower bound of each cut's precision less the floor."""
        return curve.precision_lower - self.floor


@dataclass(frozen=True, slots=True)
class RecallAtLeast:
    """Flag as few as can be while at least the share `floor` of the frauds is caught.

    The floor holds for the lower confidence bound of a cut's recall.
    """

    floor: float

    def loss(self, curve: Curve) -> Floats:
        """Return how many transactions each cut flags."""
        return curve.flagged

    def margin(self, curve: Curve) -> Floats:
        """Return the lower bound of each cut's recall less the floor."""
        return curve.recall_lower - self.floor


@dataclass(frozen=True, slots=True)
class Cost:
    """Flag where the least is lost: `false_alarm` for each, and the amount of each missed fraud.

    Where only a share of a caught fraud's amount is saved, divide `false_alarm` by that share.
    """

    false_alarm: float

    def loss(self, curve: Curve) -> Floats:
        """Return what each cut loses, in the currency of the amounts."""
        return curve.amount_missed + self.false_alarm * curve.false_alarms

    def margin(self, curve: Curve) -> Floats:
        """Return how far each cut is on the right side of the floor: there is none here."""
        return np.zeros(len(curve.threshold))


@dataclass(frozen=True, slots=True)
class AlertBudget:
    """Flag the highest scores, `count` in each period. Needs no labels.

    `period_seconds` of None is the window of the settings.
    """

    count: float
    period_seconds: float | None = None


CurvePolicy = FBeta | PrecisionAtLeast | RecallAtLeast | Cost
Policy = CurvePolicy | AlertBudget

POLICIES = (
    "f_beta:BETA, precision_at_least:SHARE, recall_at_least:SHARE, cost:FALSE_ALARM, "
    "alert_budget:COUNT or alert_budget:COUNT/PERIOD (such as 100/1d)"
)
"""The policies as a setting writes them."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_BUDGET = re.compile(rf"({_NUMBER})(?:/({_NUMBER})?([smhdw]))?")


def parse_policy(text: str) -> Policy:
    """Return the policy that a setting names. Raises ValueError that names all there are.

    >>> parse_policy("f_beta:2")
    FBeta(beta=2.0)
    >>> parse_policy("alert_budget:100/1d")
    AlertBudget(count=100.0, period_seconds=86400.0)
    """
    name, _, argument = text.strip().partition(":")
    if name == "alert_budget":
        return _budget(text, argument)
    if name not in _BY_LABELS:
        raise _misread(text, f"there is no policy {name!r}")
    build, limit = _BY_LABELS[name]
    if not re.fullmatch(_NUMBER, argument):
        raise _misread(text, f"{name} takes a number above 0, not {argument!r}")
    value = float(argument)
    if not 0 < value < limit:
        what = "a share between 0 and 1" if limit == 1 else "a finite number above 0"
        raise _misread(text, f"{name} takes {what}, not {argument!r}")
    return build(value)


_BY_LABELS: dict[str, tuple[Callable[[float], CurvePolicy], float]] = {
    "f_beta": (FBeta, float("inf")),
    "precision_at_least": (PrecisionAtLeast, 1.0),
    "recall_at_least": (RecallAtLeast, 1.0),
    "cost": (Cost, float("inf")),
}


def _budget(text: str, argument: str) -> AlertBudget:
    found = _BUDGET.fullmatch(argument)
    if found is None:
        raise _misread(text, "alert_budget takes a count, or a count and a period such as 100/1d")
    count, times, unit = found.groups()
    seconds = None if unit is None else float(times or 1) * _UNITS[unit]
    if not 0 < float(count) < float("inf"):
        raise _misread(text, f"alert_budget takes a finite count above 0, not {count}")
    if seconds is not None and not 1 <= seconds < float("inf"):
        raise _misread(text, "the period of alert_budget is at least a second")
    return AlertBudget(float(count), seconds)


def _misread(text: str, why: str) -> ValueError:
    return ValueError(f"threshold policy {text!r} is not understood: {why}. Give {POLICIES}")
