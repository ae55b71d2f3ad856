"""The three handlers: the journey of a transaction, in one screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from stream.core.committee import Votes
from stream.core.explain import reasons
from stream.core.feature_watch import FeatureWatch
from stream.core.features import Features, Floats, Rows
from stream.core.model import Model
from stream.core.pending import Bools, Ints, Joined, Pending
from stream.core.rebalance import kept
from stream.core.scored import Scored
from stream.core.threshold import AlertBudget, BudgetThreshold, Policy
from stream.core.windows import Windows
from stream.core.wire import AnyExample, AnyLabel, AnyTransaction, Example
from stream.events import Activity, Reason, utc
from stream.settings import Settings

_UNLABELLED_SHARE = 0.01
"""Where the budget only stands in for labels, it flags no more than this share of the traffic."""
_SHOWN_OF_AN_ACCOUNT = 5
"""Transactions of each account of an alert that are shown with it."""


class Why(NamedTuple):
    """What is told of an alert besides its score."""

    reasons: tuple[Reason, ...]
    members: dict[str, float]
    """Probability of fraud by each member that had a say."""
    weights: dict[str, float]
    """Each member's share of the vote."""
    activity: tuple[Activity, ...]
    """What its accounts did before, newest first."""


class Decisions(NamedTuple):
    """What was decided about a batch, as columns of one length."""

    transactions: Sequence[AnyTransaction]
    times_seconds: Floats
    scores: Floats
    thresholds: Floats
    alerts: Bools
    why: Sequence[Why]
    """Of the alerts only, in their order."""


class Before(NamedTuple):
    """What was decided before of transactions that are handled once more."""

    scores: dict[str, tuple[float, float]]
    """Score and threshold by transaction id."""
    state: Mapping[str, float]
    """Figures of the model then."""


@dataclass(slots=True)
class Shard:
    """The account state of one partition."""

    features: Features
    pending: Pending
    windows: Windows
    budget: BudgetThreshold
    duplicates: int = 0


@dataclass(slots=True)
class Detector:
    """Scores transactions, joins labels, learns examples. Pure: no clock, no socket.

    `shards` holds the account state of each partition it works on, of `partitions` that there are;
    `model` what it has learned.
    """

    settings: Settings
    model: Model
    partitions: int = 1
    shards: dict[int, Shard] = field(default_factory=dict)
    thinning: float = 1.0
    """Share of the legitimate examples that go to the log, of those that the model asks for."""
    feature_watch: FeatureWatch = field(default_factory=FeatureWatch)

    def on_transactions(
        self, partition: int, batch: Sequence[AnyTransaction], before: Before | None = None
    ) -> Decisions:
        """Decide about each transaction: score it by the past, hold score and features.

        What was decided `before` stands: then the batch only brings the account state to where it
        was, and nobody asks why.
        """
        shard = self.shards[partition]
        batch = _first_seen(shard, batch)
        times = shard.features.times_seconds(batch)
        features = shard.features.transform(batch, times)
        self.feature_watch.observe(shard.features.names, features)
        if before and all(tx.transaction_id in before.scores for tx in batch):
            known = [before.scores[tx.transaction_id] for tx in batch]
            scores, thresholds = np.array(known, dtype=np.float64).reshape(-1, 2).T
            shard.budget.decide(times, scores)
            state = before.state
        else:
            scores, votes = self.model.scored(shard.features.names, features)
            thresholds = self._thresholds(shard, times, scores)
            state = self.state()
        alerts = scores >= thresholds
        amounts = np.array([tx.amount for tx in batch])
        codes = shard.windows.segments.codes(batch, amounts)
        scored = Scored(times, scores, alerts, amounts, codes)
        shard.pending.add(batch, scored, features, accounts=shard.features.accounts_of_batch())
        shard.windows.decided(
            scored,
            {
                "threshold": float(thresholds[-1]) if len(batch) else 1.0,
                **{name: state[name] for name in self.model.state()},
            },
        )
        if before or not alerts.any():
            return Decisions(batch, times, scores, thresholds, alerts, ())
        why = self._why(shard, batch, np.flatnonzero(alerts), features, votes)
        return Decisions(batch, times, scores, thresholds, alerts, why)

    def _why(
        self,
        shard: Shard,
        batch: Sequence[AnyTransaction],
        at: Ints,
        features: Rows,
        votes: Votes,
    ) -> list[Why]:
        """Say why these rows of a batch that was just decided are alerts."""
        names, rows = shard.features.names, features[at]
        usual = self.model.habit.usual(names, rows)
        found = reasons(names, rows, usual, partial(self.model.log_odds, names))
        members = self.model.opinions(votes[at])
        activity = [_activity(shard, batch[i].transaction_id) for i in at.tolist()]
        weights = self.model.weights()
        return [
            Why(why, said, weights, did)
            for why, said, did in zip(found, members, activity, strict=True)
        ]

    def on_labels(
        self, partition: int, batch: Sequence[AnyLabel], before: Before | None = None
    ) -> tuple[Joined, list[Example]]:
        """Join labels with their transactions: windows mature, a few examples go to the log.

        All frauds become examples, and legitimate ones at the rate that the model asks for; so do
        all corrections, as the model is to unlearn what was wrong.
        """
        shard = self.shards[partition]
        joined = shard.pending.join(batch)
        corrects = joined.corrects
        if corrects.any():
            _count(shard, joined.where(~corrects))
            _correct(shard, joined.where(corrects))
        else:
            _count(shard, joined)
        always = joined.frauds | corrects
        state = before.state if before else self.state()
        rates = np.where(always, 1.0, self.model.sampling_rates(joined.scores, state))
        weights, names = 1.0 / rates, shard.features.names
        ids = [label.transaction_id for label in joined.labels]
        sent = np.flatnonzero(kept(ids, rates, self.settings.seed))
        shard.pending.sent(joined.slots[sent], weights[sent])
        return joined, [_example(joined, row, names, float(weights[row])) for row in sent.tolist()]

    def on_examples(self, batch: Sequence[AnyExample], position: int) -> None:
        """Learn examples in the order of the training log, up to `position` in it."""
        for example in batch:
            self.model.learn(example)
        self.model.position = position

    def state(self) -> dict[str, float]:
        """Return the figures of now that decisions carry."""
        found = self.model.state()
        found["sampling_rate"] *= self.thinning
        return {**found, "expected_prior": self.model.expected_prior.value}

    def _thresholds(self, shard: Shard, times: Floats, scores: Floats) -> Floats:
        """That of the labels for all; the budget's while there are too few labels."""
        by_budget = shard.budget.decide(times, scores)
        by_labels = self.model.threshold.value
        return by_budget if by_labels is None else np.full(len(scores), by_labels)

    @property
    def threshold(self) -> float:
        """The threshold in force: the mean of the budgets' until there are labels enough."""
        by_labels = self.model.threshold.value
        if by_labels is not None or not self.shards:
            return 1.0 if by_labels is None else by_labels
        return sum(shard.budget.value for shard in self.shards.values()) / len(self.shards)

    def open(self, partition: int) -> Shard:
        """Begin an empty account state for a partition and return it."""
        s = self.settings
        features = Features(
            s.transaction_types, s.half_lives_hours, s.max_accounts, s.step_origin, s.features
        )
        windows = Windows(
            partition, s.window_seconds, s.max_windows, s.segments, s.transaction_types
        )
        self.shards[partition] = Shard(
            features,
            Pending(len(features.names), s.max_pending, windows.segments.fields),
            windows,
            self._budget(partition),
        )
        return self.shards[partition]

    def _budget(self, partition: int) -> BudgetThreshold:
        """The share of a partition in the budget of the policy, or else of the settings."""
        policy: Policy = self.model.threshold.policy
        count, seconds, share = self.settings.alert_budget, 0.0, _UNLABELLED_SHARE
        if isinstance(policy, AlertBudget):
            count, seconds, share = policy.count, policy.period_seconds or 0.0, 1.0
        return BudgetThreshold(
            count,
            seconds or self.settings.window_seconds,
            max_share=share,
            part=partition,
            parts=self.partitions,
        )


def _first_seen(shard: Shard, batch: Sequence[AnyTransaction]) -> list[AnyTransaction]:
    """Leave out transactions whose id was decided before, in this batch or as far as it is held."""
    ids = [tx.transaction_id for tx in batch]
    fresh: dict[str, AnyTransaction] = {}
    for id_, tx, held in zip(ids, batch, shard.pending.held(ids), strict=True):
        if not held:
            fresh.setdefault(id_, tx)
    shard.duplicates += len(batch) - len(fresh)
    return list(fresh.values())


def _count(shard: Shard, joined: Joined) -> None:
    shard.windows.labelled(joined.scored, joined.frauds)
    shard.features.label(joined.origins, joined.destinations, joined.times_seconds, joined.frauds)


def _correct(shard: Shard, joined: Joined) -> None:
    shard.windows.corrected(joined.scored, joined.frauds)
    shard.features.correct(joined.origins, joined.destinations, joined.times_seconds, joined.frauds)


def _activity(shard: Shard, transaction_id: str) -> tuple[Activity, ...]:
    """What the accounts of a transaction did before it."""
    segments = shard.windows.segments
    return tuple(
        Activity(
            transaction_id=entry.transaction_id,
            timestamp=utc(entry.time_seconds),
            type=segments.named(entry.codes)["type"],
            amount=entry.amount,
            nameOrig=entry.origin,
            nameDest=entry.destination,
            score=entry.score,
            alerted=entry.alerted,
            is_fraud=entry.is_fraud,
        )
        for entry in shard.pending.recent(transaction_id, _SHOWN_OF_AN_ACCOUNT)
    )


def _example(joined: Joined, row: int, names: Sequence[str], weight: float) -> Example:
    label = joined.labels[row]
    return Example(
        version=1,
        transaction_id=label.transaction_id,
        timestamp=utc(float(joined.times_seconds[row])),
        labelled_at=label.labelled_at,
        source=label.source,
        is_fraud=label.is_fraud,
        score=float(joined.scores[row]),
        alerted=bool(joined.alerts[row]),
        amount=float(joined.amounts[row]),
        weight=weight,
        corrects_weight=None if np.isnan(joined.sent[row]) else float(joined.sent[row]),
        features=dict(zip(names, joined.features[row].tolist(), strict=True)),
    )
