"""Model state: a pure fold of the training log, the same in every worker that has read as far."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream.core.boosted import Fitter
from stream.core.committee import Told, Votes, as_rows
from stream.core.features import Floats, Rows
from stream.core.habit import Habit
from stream.core.learners import committee, log_rate, log_rates
from stream.core.rebalance import ClassPrior
from stream.core.steps import Awaited, Steps, finished
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
        self.expected_prior = ClassPrior(settings.prior_half_life)
        """Of the scores that were given: their mean, over the transactions that are labelled."""
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
        self._steps: Steps[None] | None = None
        """What is left to do of the block before."""
        self._awaited: Awaited | None = None
        """What the next of these steps waits for."""

    @property
    def sampling_rate(self) -> float:
        """Mean rate at which legitimate examples go to the log."""
        return log_rate(self.settings, self.prior.value, self.learned_prior.legitimate)

    def sampling_rates(self, scores: Floats, state: Mapping[str, float]) -> Floats:
        """Return the rate at which a legitimate example of each score goes to the log.

        `state` holds the figures of then: the mean rate, the fraud prior and the one expected.
        """
        expected = state.get("expected_prior", 0.0)  # older decisions have none
        prior = max(state["fraud_prior"], expected)
        return log_rates(self.settings, state["sampling_rate"], prior, scores)

    def learn(self, example: AnyExample) -> None:
        """Learn one example of the log."""
        self.take(example)
        self.finish()

    def take(self, example: AnyExample) -> None:
        """Take in one example of the log. A block that it fills is learned as `go_on` is called."""
        self.finish()
        self._count(example)
        self._block.append(example)
        if len(self._block) == self.committee.block:
            self._steps, self._block = self._learn_block(self._block), []
        self.learned += 1

    @property
    def busy(self) -> bool:
        """Whether a block was taken in and is not yet learned."""
        return self._steps is not None

    def go_on(self) -> bool:
        """Learn the next millisecond or so of a block; False: none, or not before trees come."""
        if self._steps is None or (self._awaited is not None and not self._awaited.done()):
            return False
        try:
            self._awaited = next(self._steps)
        except StopIteration:
            self._steps = self._awaited = None
        return True

    def finish(self) -> None:
        """Learn what is left of a block; wait for what that takes."""
        if self._steps is not None:
            finished(self._steps)
            self._steps = self._awaited = None

    def __getstate__(self) -> dict[str, Any]:
        self.finish()  # half a block cannot be kept
        return self.__dict__

    def _learn_block(self, block: list[AnyExample]) -> Steps[None]:
        told: list[Told] = [
            (dict[Any, Any](e.features), e.is_fraud, e.weight, _replaces(e)) for e in block
        ]
        names, rows = as_rows([features for features, _, _, _ in told])
        scores = yield from self.committee.learn_block(told, names, rows)
        yield None
        for example, score in zip(block, scores, strict=True):
            self.judge(example, score)
        yield None
        usual = [at for at, example in enumerate(block) if not example.is_fraud]
        weights = np.array([block[at].weight for at in usual])
        self.habit.learn(names, rows[usual], weights)

    def _count(self, example: AnyExample) -> None:
        """Count an example in the class priors: a correction in the place of what it corrects."""
        is_fraud, weight, wrong = example.is_fraud, example.weight, example.corrects_weight
        if wrong is None:
            self.prior.observe(is_fraud=is_fraud, weight=weight)
            expected = weight * example.score
            self.expected_prior.count(weight - expected, expected, labels=weight)
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
        return self.scored(names, rows)[0]

    def scored(self, names: tuple[str, ...], rows: Rows) -> tuple[Floats, Votes]:
        """Return the scores of rows, shape (n,), and the votes behind them, shape (n, m)."""
        votes = self.committee.heard_votes(names, rows)
        return np.minimum(self.committee.probabilities(votes), MAX_SCORE), votes

    def log_odds(self, names: tuple[str, ...], rows: Rows) -> Floats:
        """Return the log-odds of fraud of each row without the costly members, shape (n,)."""
        return self.committee.log_odds(self.committee.cheap_votes(names, rows))

    def opinions(self, votes: Votes) -> list[dict[str, float]]:
        """Return, for each row of votes, the probability of fraud by each member that voted."""
        shares = 1.0 / (1.0 + np.exp(-votes.astype(np.float64)))
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
