"""What a worker's alarms are made of, and when it looks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

from stream.core import alarm_rules as rules
from stream.core.alarms import BUDGET_EXHAUSTED, DEAD_LETTERS, Finding
from stream.core.days import Days, Floats
from stream.core.detector import Detector
from stream.core.label_gaps import LabelGaps
from stream.core.threshold import AlertBudget, Cost, Policy, PrecisionAtLeast
from stream.settings import Settings

_LOOK_SECONDS = 3_600
"""Of event time between two looks, at most: in a replay days pass in seconds."""
_LOOK_MESSAGES = 5_000
"""Messages between two looks, at most: of what cannot be read nobody knows the time."""
_DAYS_SECONDS = 3 * 3_600
"""Of event time between two looks at whole days: they cost more."""
_BACK_BATCHES = 5
"""In a row that lie more than a look before now, until it is believed: one clock that is hours
behind the others does not have every other batch looked at."""
_EXPECTED_LOOKS = 24
"""Alerts of three days are held to the least that was expected meanwhile."""
_REJECTS_HALF_LIFE = 1_000.0
"""In messages."""
_REJECTS_FEW = 500
"""Messages before their share of rejects says anything."""
_EARLY, _FEW_ALERTS = 0.25, 10
"""A budget used up with so much of the period to come, and of so many alerts, is no chance."""


class Lookout:
    """Looks at what a worker has: windows, features, labels and messages of its own partitions.

    Pure: told what comes, it counts; asked, it returns what its rules find.

    Parameters
    ----------
    settings
        Of the application.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._labels = LabelGaps()
        self._now: float | None = None
        self._looked_hour = self._looked_days = -(1 << 62)
        self._gone_back = 0
        """Batches in a row that lie before what is taken for now."""
        self._messages = 0
        """Since the last look."""
        self._judged = self._rejects = 0.0
        """Decayed counts of messages, and of those that cannot be read."""
        self._scores: dict[int, Floats] = {}
        self._partitions: frozenset[int] = frozenset()
        self._expected: deque[float] = deque(maxlen=_EXPECTED_LOOKS)
        """Of the looks at days: the share of transactions that was to be flagged."""

    def observe(
        self, event_seconds: float | None, transactions: int, labels: int, rejects: int
    ) -> None:
        """Count what came at about an event time; without transactions there is none."""
        if event_seconds is not None:
            back = self._now is not None and event_seconds < self._now - _LOOK_SECONDS
            self._gone_back = self._gone_back + 1 if back else 0
            if self._gone_back in (0, _BACK_BATCHES):
                self._now, self._gone_back = event_seconds, 0
        if self._now is not None:
            self._labels.observe(self._now, transactions, labels)
        messages = transactions + labels + rejects
        self._messages += messages
        decay = 0.5 ** (messages / _REJECTS_HALF_LIFE)
        # As if they were spread evenly over what came with them.
        fresh = (1.0 - decay) / math.log(2.0) * _REJECTS_HALF_LIFE
        self._judged = self._judged * decay + fresh
        self._rejects = self._rejects * decay + fresh * rejects / max(messages, 1)

    def due(self) -> bool:
        """Whether so much has come since the last look that the next is due."""
        return self._messages >= _LOOK_MESSAGES or self._moved(_LOOK_SECONDS, self._looked_hour)

    def look(self, detector: Detector) -> list[Finding]:
        """Return what the rules find now; what has not changed since the last look is left out."""
        self._messages = 0
        found = [self._dead_letters(), self._labels.finding()]
        if self._now is not None and detector.shards:
            found += [self._budget(detector), *detector.feature_watch.findings()]
            self._looked_hour = math.floor(self._now / _LOOK_SECONDS)
            if self._moved(_DAYS_SECONDS, self._looked_days):
                self._looked_days = math.floor(self._now / _DAYS_SECONDS)
                found += self._of_days(detector, self._now)
        return [each for each in found if each is not None]

    def _moved(self, seconds: int, looked: int) -> bool:
        """Whether event time is further; or has gone back, as after a clock that was ahead."""
        if self._now is None:
            return False
        step = math.floor(self._now / seconds) - looked
        return step > 0 or step < -1

    def _of_days(self, detector: Detector, now: float) -> Iterator[Finding | None]:
        if detector.shards.keys() != self._partitions:
            self._scores.clear()
            self._partitions = frozenset(detector.shards)
        windows = [shard.windows for shard in detector.shards.values()]
        days = Days(windows, now, self.settings.align_seconds)
        policy = detector.model.threshold.policy
        self._expected.append(_expected_rate(detector, days, policy))
        yield rules.below_prior(days, min(self._expected))
        yield rules.prior_shift(days)
        yield rules.score_drift(days, days.scores(detector.model.prior.value, self._scores))
        yield rules.calibration_drift(days)
        if isinstance(policy, PrecisionAtLeast):
            yield rules.precision_floor(days, policy.floor)

    def _dead_letters(self) -> Finding | None:
        if self._judged < _REJECTS_FEW:
            return None
        limit, share = self.settings.reject_share / 10, self._rejects / self._judged
        surely = share - 4 * math.sqrt(limit * (1 - limit) / self._judged) > limit
        holds = True if surely else False if share < limit / 2 else None
        cause = f"{share:.1%} of about the last {self._judged:,.0f} messages cannot be read"
        return Finding(DEAD_LETTERS, holds, share, limit, cause, sure=True)

    def _budget(self, detector: Detector) -> Finding | None:
        """Whether the budget in force, that of the partitions here together, ended early."""
        if detector.model.threshold.value is not None:
            return Finding(BUDGET_EXHAUSTED, False, 0.0, _EARLY, "labels decide")
        if 1.0 <= detector.model.learned_prior.frauds < rules.GROWN:
            return None  # its scores move too much to be rationed; those of no label do not
        found = [shard.budget.early() for shard in detector.shards.values()]
        early, alerts = sum(share for share, _ in found) / len(found), sum(n for _, n in found)
        too_early = early >= _EARLY and alerts >= _FEW_ALERTS
        holds = True if too_early else False if early < _EARLY / 2 else None
        cause = (
            f"the budget of {alerts:,} alerts was used up with {early:.0%} of the period's traffic "
            "still to come"
        )
        return Finding(BUDGET_EXHAUSTED, holds, early, _EARLY, cause, sure=True)


def _expected_rate(detector: Detector, days: Days, policy: Policy) -> float:
    """The share of transactions that is to be flagged: the prior, or what the policy means to."""
    threshold, expected = detector.model.threshold, detector.model.prior.value
    chosen, day = threshold.chosen, days.day(0)
    if isinstance(policy, PrecisionAtLeast | Cost) and chosen is not None:
        return expected * min(chosen.recall / max(chosen.precision, 1e-9), 1.0)
    if threshold.value is None and day is not None:
        budget = policy if isinstance(policy, AlertBudget) else None
        period = (budget.period_seconds if budget else None) or detector.settings.window_seconds
        count = budget.count if budget else detector.settings.alert_budget
        share = len(detector.shards) / detector.partitions
        return min(expected, count * share * 86_400 / period / max(day.transactions, 1.0))
    return expected
