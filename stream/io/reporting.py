"""What a worker says of itself: counts, rate and latency of the last seconds."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from stream.core.detector import Detector
from stream.events import Alarm, LiveReport, utc
from stream.io.intake import Outcome

_RATE_REPORTS = 10
"""The rate is taken over so many reports."""
_LATENCIES = 20_000


class Reporting:
    """Counts outcomes and makes a `LiveReport` of them. `clock` gives wall time in seconds."""

    def __init__(self, worker: str, clock: Callable[[], float]) -> None:
        self.worker = worker
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._started = clock()
        self._event_seconds: float | None = None
        self._label_time: datetime | None = None
        self._quantiles_ms = np.zeros(2)
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES)
        self._rate: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=_RATE_REPORTS)

    def count(self, outcome: Outcome) -> None:
        """Count what came of a batch that was committed just now."""
        now_ms = self._clock() * 1000.0
        self._latencies_ms.extend(now_ms - record.timestamp_ms for record in outcome.decided)
        for decisions in outcome.decisions.values():
            self.counts["decisions"] += len(decisions.transactions)
            self.counts["alerts"] += int(decisions.alerts.sum())
            if len(decisions.transactions):
                newest = float(decisions.times_seconds.max())
                self._event_seconds = max(self._event_seconds or newest, newest)
        for joined in outcome.joined:
            if joined.labels:  # they come in the order of their times
                last = joined.labels[-1].labelled_at
                self._label_time = max(self._label_time or last, last)
        self.counts["transactions"] += len(outcome.decided)
        self.counts["labels"] += outcome.labels
        self.counts["joined"] += sum(len(joined.labels) for joined in outcome.joined)
        self.counts["examples"] += len(outcome.examples)
        self.counts["dead_letters"] += len(outcome.rejects)

    def live(
        self, detector: Detector, lag: int, learning_us: float, alarms: tuple[Alarm, ...] = ()
    ) -> LiveReport:
        """Return the report as of now.

        `lag` is the number of input records not yet handled, `learning_us` what learning takes.
        """
        now = self._clock()
        self._rate.append((now, self.counts["decisions"]))
        (then, before) = self._rate[0]
        if self._latencies_ms:  # else as they last were
            self._quantiles_ms = np.quantile(np.array(self._latencies_ms), [0.5, 0.99])
            self._latencies_ms.clear()
        model, shards = detector.model, detector.shards.values()
        return LiveReport(
            worker=self.worker,
            reported_at=datetime.fromtimestamp(now, UTC),
            started_at=datetime.fromtimestamp(self._started, UTC),
            event_time=None if self._event_seconds is None else utc(self._event_seconds),
            label_time=self._label_time,
            partitions=tuple(sorted(detector.shards)),
            transactions=self.counts["transactions"],
            decisions=self.counts["decisions"],
            duplicates=sum(shard.duplicates for shard in shards),
            alerts=self.counts["alerts"],
            labels=self.counts["labels"],
            labels_early=sum(shard.pending.early for shard in shards),
            labels_unknown=sum(shard.pending.unknown for shard in shards),
            labels_repeated=sum(shard.pending.repeated for shard in shards),
            labels_corrected=sum(shard.pending.corrected for shard in shards),
            examples=self.counts["examples"],
            learned=model.learned,
            dead_letters=self.counts["dead_letters"],
            pending=sum(len(shard.pending) for shard in shards),
            pending_expired=sum(shard.pending.expired for shard in shards),
            accounts=sum(len(shard.features.accounts) for shard in shards),
            accounts_evicted=sum(shard.features.accounts.evicted for shard in shards),
            windows_closed=sum(shard.windows.closed for shard in shards),
            model_position=model.position,
            threshold=detector.threshold,
            threshold_reason=model.threshold.reason,
            fraud_prior=model.prior.value,
            sampling_rate=detector.state()["sampling_rate"],
            learned_share=model.learned_prior.value,
            transactions_per_second=(self.counts["decisions"] - before) / max(now - then, 1e-3),
            latency_p50_ms=float(self._quantiles_ms[0]),
            latency_p99_ms=float(self._quantiles_ms[1]),
            lag=lag,
            learning_us=learning_us,
            weights=model.weights(),
            alarms=alarms,
        )
