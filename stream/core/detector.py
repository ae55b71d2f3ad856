"""The three handlers: the journey of a transaction, in one screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from stream.core.explain import reasons
from stream.core.features import Features, Floats
from stream.core.model import Model
from stream.core.pending import Bools, Joined, Pending
from stream.core.rebalance import kept
from stream.core.threshold import AlertBudget, BudgetThreshold, Policy
from stream.core.windows import Windows
from stream.events import Example, Label, Reason, Transaction, utc
from stream.settings import Settings

_UNLABELLED_SHARE = 0.01
"""Where the budget only stands in for labels, it flags no more than this share of the traffic."""


class Decisions(NamedTuple):
    """What was decided about a batch, as columns of one length; reasons of the alerts only."""

    transactions: Sequence[Transaction]
    times_seconds: Floats
    scores: Floats
    thresholds: Floats
    alerts: Bools
    reasons: Sequence[tuple[Reason, ...]]


@dataclass(slots=True)
class Shard:
    """The account state of one partition."""

    features: Features
    pending: Pending
    windows: Windows
    duplicates: int = 0


@dataclass(slots=True)
class Detector:
    """Scores transactions, joins labels, learns examples. Pure: no clock, no socket.

    `shards` holds the account state of each partition it works on; `model` what it has learned.
    """

    settings: Settings
    model: Model
    budget: BudgetThreshold
    shards: dict[int, Shard] = field(default_factory=dict)

    def on_transactions(self, partition: int, batch: Sequence[Transaction]) -> Decisions:
        """Decide about each transaction: score it by the past, hold score and features."""
        shard = self.shards[partition]
        batch = _first_seen(shard, batch)
        times = shard.features.times_seconds(batch)
        features = shard.features.transform(batch, times)
        scores = self.model.scores(shard.features.names, features)
        by_budget = self.budget.decide(times, scores)
        by_labels = self.model.threshold.value
        thresholds = by_budget if by_labels is None else np.full(len(batch), by_labels)
        alerts = scores >= thresholds
        name = shard.features.accounts.name
        shard.pending.add(batch, times, scores, alerts, features, name=name)
        shard.windows.decided(
            times,
            scores,
            alerts,
            np.array([tx.amount for tx in batch]),
            {"threshold": float(thresholds[-1]) if len(batch) else 1.0, **self.model.state()},
        )
        names, habit = shard.features.names, self.model.habit.means
        why = reasons(names, features[alerts], habit, partial(self.model.log_odds, names))
        return Decisions(batch, times, scores, thresholds, alerts, why)

    def on_labels(self, partition: int, batch: Sequence[Label]) -> tuple[Joined, list[Example]]:
        """Join labels with their transactions: windows mature, a few examples go to the log.

        All frauds become examples, and legitimate ones at the rate that the model asks for.
        """
        shard = self.shards[partition]
        joined = shard.pending.join(batch)
        times, frauds = joined.times_seconds, joined.frauds
        shard.windows.labelled(times, joined.scores, joined.alerts, joined.amounts, frauds)
        shard.features.label(joined.origins, joined.destinations, times, frauds)
        rates = self.model.sampling_rates(joined.scores).tolist()
        names = shard.features.names
        examples = [
            _example(joined, row, names, 1.0 if label.is_fraud else 1.0 / rate)
            for row, (label, rate) in enumerate(zip(joined.labels, rates, strict=True))
            if label.is_fraud or kept(label.transaction_id, rate, self.settings.seed)
        ]
        return joined, examples

    def on_examples(self, batch: Sequence[Example], position: int) -> None:
        """Learn examples in the order of the training log, up to `position` in it."""
        for example in batch:
            self.model.learn(example)
        self.model.position = position

    @classmethod
    def create(cls, settings: Settings, model: Model) -> Detector:
        """Return a detector that works on no partition yet."""
        policy: Policy = model.threshold.policy
        seconds: float = settings.window_seconds
        if isinstance(policy, AlertBudget):
            seconds = policy.period_seconds or seconds
            return cls(settings, model, BudgetThreshold(policy.count, seconds))
        budget = BudgetThreshold(settings.alert_budget, seconds, max_share=_UNLABELLED_SHARE)
        return cls(settings, model, budget)

    @property
    def threshold(self) -> float:
        """The threshold in force: the budget's until there are labels enough."""
        by_labels = self.model.threshold.value
        return self.budget.value if by_labels is None else by_labels

    def open(self, partition: int) -> Shard:
        """Begin an empty account state for a partition and return it."""
        s = self.settings
        features = Features(
            s.transaction_types, s.half_lives_hours, s.max_accounts, s.step_origin, s.features
        )
        self.shards[partition] = Shard(
            features,
            Pending(len(features.names), s.max_pending),
            Windows(partition, s.window_seconds, s.max_windows),
        )
        return self.shards[partition]


def _first_seen(shard: Shard, batch: Sequence[Transaction]) -> list[Transaction]:
    """Leave out transactions whose id was decided before, in this batch or as far as it is held."""
    fresh: dict[str, Transaction] = {}
    for tx in batch:
        if tx.transaction_id in shard.pending or tx.transaction_id in fresh:
            shard.duplicates += 1
        else:
            fresh[tx.transaction_id] = tx
    return list(fresh.values())


def _example(joined: Joined, row: int, names: Sequence[str], weight: float) -> Example:
    label = joined.labels[row]
    # Every value is one that was checked when it came, or computed here.
    return Example.model_construct(
        transaction_id=label.transaction_id,
        timestamp=utc(float(joined.times_seconds[row])),
        labelled_at=label.labelled_at,
        source=label.source,
        is_fraud=label.is_fraud,
        score=float(joined.scores[row]),
        alerted=bool(joined.alerts[row]),
        amount=float(joined.amounts[row]),
        weight=weight,
        features=dict(zip(names, joined.features[row].tolist(), strict=True)),
    )
