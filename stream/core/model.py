"""Model state: a pure fold of the training log, the same in every worker that has read as far."""

from __future__ import annotations

import numpy as np

from stream.core.explain import Habit
from stream.core.features import Floats, Rows
from stream.core.learners import LEARNERS
from stream.core.rebalance import ClassPrior, sampling_rate
from stream.core.threshold import MAX_SCORE, Threshold, parse_policy
from stream.events import Example
from stream.settings import Settings


class Model:
    """Learner, class prior, threshold and habit, as the examples up to `position` made them."""

    def __init__(self, settings: Settings) -> None:
        if settings.learner not in LEARNERS:
            raise ValueError(
                f"learner {settings.learner!r} is not known: give one of {', '.join(LEARNERS)}"
            )
        build = LEARNERS[settings.learner]
        self.learner = build(settings.target_share, settings.prior_half_life, settings.seed)
        self.prior = ClassPrior(settings.prior_half_life)
        self.learned_prior = ClassPrior(settings.prior_half_life)
        self.threshold = Threshold(parse_policy(settings.threshold))
        self.habit = Habit(settings.prior_half_life)
        self.target_share = settings.target_share
        self.position = 0
        """Position in the training log: the next example to learn."""
        self.learned = 0

    @property
    def sampling_rate(self) -> float:
        """Rate at which legitimate examples go to the log: the mildest that a member asks for."""
        return sampling_rate(self.prior.value, self.target_share)

    def learn(self, example: Example) -> None:
        """Learn one example of the log."""
        self.learner.learn_one(dict(example.features.items()), example.is_fraud, w=example.weight)
        self.prior.observe(is_fraud=example.is_fraud, weight=example.weight)
        self.learned_prior.observe(is_fraud=example.is_fraud)
        self.threshold.learn(example.score, example.is_fraud, example.weight)
        if not example.is_fraud:
            self.habit.learn(example.features, example.weight)
        self.learned += 1

    def score(self, features: dict[str, float]) -> float:
        """Return the probability of fraud, below 1."""
        return min(float(self.learner.predict_proba_one(dict(features.items()))[True]), MAX_SCORE)

    def scores(self, names: tuple[str, ...], rows: Rows) -> Floats:
        """Return the probability of fraud of each row, shape (n,)."""
        return np.array(
            [self.score(dict(zip(names, row, strict=True))) for row in rows.tolist()],
            dtype=np.float64,
        )

    def state(self) -> dict[str, float]:
        """Return the figures of the model that a window report shows."""
        return {
            "fraud_prior": self.prior.value,
            "sampling_rate": self.sampling_rate,
            "learned_share": self.learned_prior.value,
            "model_position": self.position,
        }
