"""Model state: a pure fold of the training log, the same in every worker that has read as far."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from stream.core.boosted import Fitter
from stream.core.committee import Told, as_rows
from stream.core.features import Floats, Rows
from stream.core.habit import Habit
from stream.core.learners import committee, log_rate, log_rates
from stream.core.rebalance import ClassPrior
from stream.core.threshold import MAX_SCORE, Threshold, parse_policy
from stream.core.wire import AnyExample
from stream.settings import Settings


class Model:
    """Committee, class prior, threshold and habit, as the examples up to `position` made them.

    Raises ValueError for a learner or a threshold policy that is not known.
    """

    def __init__(self, settings: Settings) -> None:
        self.committee = committee(settings)
        self.prior = ClassPrior(settings.prior_half_life)
        self.learned_prior = ClassPrior(settings.prior_half_life)
        self.threshold = Threshold(
            parse_policy(settings.threshold), review_rate=settings.review_rate
        )
        self.habit = Habit(settings.prior_half_life)
        self.settings = settings
        self.position = 0
        """Position in the training log: the next example to learn."""
        self.learned = 0
        self._block: list[AnyExample] = []
        """Learned with the next block of the committee."""

    @property
    def sampling_rate(self) -> float:
        """Mean rate at which legitimate examples go to the log."""
        return log_rate(self.settings, self.prior.value, self.learned_prior.legitimate)

    def sampling_rates(self, scores: Floats, state: Mapping[str, float]) -> Floats:
        """Return the rate at which a legitimate example of each score goes to the log.

        `state` holds the figures of then: the mean rate, and the fraud prior.
        """
        rate, prior = state["sampling_rate"], state["fraud_prior"]
        return log_rates(self.settings, rate, prior, scores)

    def learn(self, example: AnyExample) -> None:
        """Learn one example of the log."""
        self._count(example)
        self._block.append(example)
        if len(self._block) == self.committee.block:
            self._learn_block()
            self._block.clear()
        self.learned += 1

    def _learn_block(self) -> None:
        block = self._block
        told: list[Told] = [
            (dict(e.features.items()), e.is_fraud, e.weight, _replaces(e)) for e in block
        ]
        names, rows = as_rows([features for features, _, _, _ in told])
        scores = self.committee.learn_block(told, names, rows)
        for example, score in zip(block, scores, strict=True):
            self.judge(example, score)
        usual = [at for at, example in enumerate(block) if not example.is_fraud]
        weights = np.array([block[at].weight for at in usual])
        self.habit.learn(names, rows[usual], weights)

    def _count(self, example: AnyExample) -> None:
        """Count an example in the class priors: a correction in the place of what it corrects."""
        is_fraud, weight, wrong = example.is_fraud, example.weight, example.corrects_weight
        if wrong is None:
            self.prior.observe(is_fraud=is_fraud, weight=weight)
            self.learned_prior.observe(is_fraud=is_fraud)
            return
        learned = 1.0 if wrong else 0.0
        self.prior.correct(is_fraud=is_fraud, weight=weight, instead_of=wrong)
        self.learned_prior.correct(is_fraud=is_fraud, weight=1.0, instead_of=learned)

    def judge(self, example: AnyExample, score: float) -> None:
        """Put an example on the threshold's curve with the score that it would be given by now.

        Not the score that it was given: the threshold is for the scores to come, and those of a
        label delay ago may come from a model that saw the world in another way. A correction keeps
        the score of what it corrects, as the model has learned from that since.
        """
        self.threshold.learn(
            score,
            example.is_fraud,
            example.weight,
            amount=example.amount,
            time_seconds=example.timestamp.timestamp(),
            labelled_seconds=example.labelled_at.timestamp(),
            source=example.source,
            alerted=example.alerted,
            key=zlib.crc32(example.transaction_id.encode()),
            corrects=_replaces(example),
        )

    def scores(self, names: tuple[str, ...], rows: Rows) -> Floats:
        """Return the probability of fraud of each row, shape (n,), below 1."""
        votes = self.committee.heard_votes(names, rows)
        return np.minimum(self.committee.probabilities(votes), MAX_SCORE)

    def log_odds(self, names: tuple[str, ...], rows: Rows) -> Floats:
        """Return the log-odds of fraud of each row without the costly members, shape (n,)."""
        return self.committee.log_odds(self.committee.cheap_votes(names, rows))

    def opinions(self, names: tuple[str, ...], rows: Rows) -> list[dict[str, float]]:
        """Return, for each row, the probability of fraud by each member that has a say in it."""
        votes = self.committee.heard_votes(names, rows).astype(np.float64)
        shares = 1.0 / (1.0 + np.exp(-votes))
        return [
            {
                name: share
                for name, share in zip(self.committee.names, row, strict=True)
                if not np.isnan(share)
            }
            for row in shares.tolist()
        ]

    def weights(self) -> dict[str, float]:
        """Return each member's share of the vote."""
        return self.committee.weights()

    def fit_in(self, fitter: Fitter) -> None:
        """Have what is refitted fitted there, in the background; what is learned stays the same."""
        self.committee.executor = fitter

    def state(self) -> dict[str, float]:
        """Return the figures of the model that a window report shows."""
        return {
            "fraud_prior": self.prior.value,
            "sampling_rate": self.sampling_rate,
            "learned_share": self.learned_prior.value,
            "model_position": self.position,
        }


def _replaces(example: AnyExample) -> bool:
    """Whether an example takes the place of one that was learned before."""
    return bool(example.corrects_weight)
