"""Every sampler by name."""

from __future__ import annotations

from collections.abc import Callable

from river import base

from stream.core.online_bagging import OOB, UOB
from stream.core.oversampling import Hybrid, Oversampled
from stream.core.rebalance import Rebalanced
from stream.core.smote import BorderlineSmote, Smote
from stream.core.weighting import HardExamples, Unsampled, Weighted


def _none(
    classifier: base.Classifier,
    target_share: float,  # noqa: ARG001 - all are called alike
    half_life: float,
    seed: int,
) -> base.Classifier:
    return Unsampled(classifier, half_life, seed)


def _oob(
    classifier: base.Classifier, target_share: float, half_life: float, seed: int
) -> base.Classifier:
    return OOB(classifier, target_share=target_share, half_life=half_life, seed=seed)


def _uob(
    classifier: base.Classifier, target_share: float, half_life: float, seed: int
) -> base.Classifier:
    return UOB(classifier, target_share=target_share, half_life=half_life, seed=seed)


SAMPLERS: dict[str, Callable[[base.Classifier, float, float, int], base.Classifier]] = {
    "none": _none,
    "under": Rebalanced,
    "over": Oversampled,
    "hybrid": Hybrid,
    "weights": Weighted,
    "smote": Smote,
    "borderline": BorderlineSmote,
    "hard": HardExamples,
    "oob": _oob,
    "uob": _uob,
}
"""By name: functions of a binary classifier, target share, half-life (labels) and seed."""
