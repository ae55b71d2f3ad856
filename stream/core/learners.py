"""Named River models, and the committee that averages their log-odds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from river import base, compose, forest, linear_model, optim, preprocessing

from stream.core.rebalance import FeatureDict, Label, Rebalanced
from stream.events import logit

_LOGIT_BOUND = 9.0
"""A member's vote: no surer than about 1 in 10,000, so that one empty tree cannot veto."""


class Learner(Protocol):
    """What Weir asks of a River model or pipeline: a binary classifier that takes weights."""

    def learn_one(self, x: FeatureDict, y: Label, *, w: float) -> None: ...

    def predict_proba_one(self, x: FeatureDict) -> dict[Label, float]: ...


class Committee(base.Ensemble[base.Estimator], base.Classifier):
    """Averages the log-odds of its members, each bounded.

    Members give calibrated probabilities (`Rebalanced`), so their log-odds are of one kind.

    Examples
    --------
    >>> from river import dummy
    >>> model = Committee([dummy.PriorClassifier(), dummy.PriorClassifier()])
    >>> for i in range(100):
    ...     model.learn_one({}, i % 10 == 0)
    >>> round(model.predict_proba_one({})[True], 3)
    0.1
    """

    def __init__(self, models: Sequence[Learner]) -> None:
        super().__init__(models)  # type: ignore[arg-type] # River annotates an iterator

    @property
    def members(self) -> list[Learner]:
        return cast("list[Learner]", self.data)

    @property
    def _multiclass(self) -> bool:
        return False

    @property
    def _supervised(self) -> bool:
        return True

    @classmethod
    def _unit_test_params(cls) -> Any:
        yield {"models": [linear_model.LogisticRegression(), linear_model.LogisticRegression()]}

    def learn_one(self, x: FeatureDict, y: Label, **kwargs: Any) -> None:
        for model in self.members:
            model.learn_one(x, y, **kwargs)

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:
        votes = 0.0
        for model in self.members:
            fraud = model.predict_proba_one(x, **kwargs).get(True, 0.5)
            votes += min(max(logit(fraud), -_LOGIT_BOUND), _LOGIT_BOUND)
        fraud = 1.0 / (1.0 + math.exp(-votes / len(self)))
        return {False: 1.0 - fraud, True: fraud}


def _linear(target_share: float, half_life: float, seed: int) -> Learner:
    return compose.Pipeline(
        preprocessing.StandardScaler(),
        Rebalanced(
            linear_model.LogisticRegression(optimizer=optim.SGD(0.01), l2=1e-5),
            target_share=target_share,
            half_life=half_life,
            seed=seed,
        ),
    )


def _forest(target_share: float, half_life: float, seed: int) -> Learner:
    return Rebalanced(
        forest.ARFClassifier(
            n_models=10,
            max_features=0.6,  # type: ignore[arg-type] # River takes a share, and says it does not
            seed=seed,
        ),
        target_share=target_share,
        half_life=half_life,
        seed=seed,
    )


def _default(target_share: float, half_life: float, seed: int) -> Learner:
    return Committee(
        [_linear(target_share, half_life, seed), _forest(target_share, half_life, seed + 1)]
    )


LEARNERS: dict[str, Callable[[float, float, int], Learner]] = {
    "default": _default,
    "linear": _linear,
    "forest": _forest,
}
"""By name: functions of target share, half-life of the class prior (labels) and seed."""
