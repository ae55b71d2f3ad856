"""The loop: records in, one commit out, and what people see of it."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event
from typing import Protocol

import numpy as np

from stream.core.decode import Reject
from stream.core.detector import Decisions, Detector
from stream.core.evaluate import Scorecard
from stream.core.model import Model
from stream.events import Alert, Example, LiveReport, WindowReport, alert_id, utc
from stream.io.bus import (
    Broker,
    BusUnavailable,
    CommitLost,
    Message,
    Record,
    TooManyRejects,
    TopicPartition,
)
from stream.io.checkpoint import Checkpoint
from stream.io.intake import Batch, Intake, Outcome, handle
from stream.io.reporting import Reporting
from stream.io.restore import restore
from stream.io.training import TrainingLog
from stream.settings import Settings

log = logging.getLogger(__name__)

_IMPATIENT_POLLS = 20
"""An input that is not at its end and gives nothing in so many polls, of a tenth of a second each,
no longer holds up the other."""
_REPORT_SECONDS = 1.0
_AWAY_SECONDS = 2.0
"""Between two tries while the bus is away."""


class Store(Protocol):
    """Where reports go. Never blocks, never raises."""

    @property
    def losses(self) -> int:
        """How often it was seen to have lost what it held."""

    def put_windows(self, reports: Iterable[WindowReport]) -> None: ...

    def put_live(self, report: LiveReport) -> None: ...

    def put_alerts(self, alerts: Sequence[Alert]) -> None: ...


class Worker:
    """One member of the group of detectors.

    A batch goes through in this order, and others see of it only the second step:

    1. the handlers of `Detector` change the state in memory;
    2. alerts, examples, dead letters and positions are committed as one;
    3. examples are read back from the training log and learned.

    Where a commit is lost, the account state that the batch changed is forgotten and restored from
    the positions that stand.

    Parameters
    ----------
    settings
        Of the application.
    broker
        Where the topics are.
    store
        Where reports go.
    member
        Name of this worker, unique in its group and stable over restarts.
    scorecard
        Grades matured scores exactly, for runs that have an end.
    clock
        Wall time in seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        store: Store,
        *,
        member: str,
        scorecard: Scorecard | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.reporting = Reporting(member, clock)
        self._broker = broker
        self._store = store
        self._scorecard = scorecard
        self._clock = clock
        self._checkpoint = Checkpoint(settings.state_dir, settings) if settings.state_dir else None
        saved = self._checkpoint.load_model() if self._checkpoint else None
        self.detector = saved or Detector.create(settings, Model(settings))
        self._fitting = ThreadPoolExecutor(1, thread_name_prefix="weir-fit")
        self.detector.model.fit_in(self._fitting)
        self._intake = Intake(settings)
        self._positions: dict[TopicPartition, int] = {}
        self._rejects: deque[int] = deque([0] * settings.reject_window, settings.reject_window)
        self._rejected = self._losses = self._last_lag = 0
        self._started_at = clock()
        self._stop = Event()
        self._silent_polls = 0
        self._reported_at = self._saved_at = self._started_at
        self._partitions = broker.topics().get(settings.transactions_topic, 1)
        self._training = TrainingLog(settings, broker.reader(), self.detector)
        self._consumer = broker.consumer(
            group=settings.group,
            member=member,
            inputs=[settings.transactions_topic, settings.labels_topic],
        )

    def run(self, stop: Event, until_end: Event | None = None) -> None:
        """Work until `stop` is set; once `until_end` is set, until all there is was handled.

        Raises `TooManyRejects`, and `BusError` where the bus is away for longer than it waits.
        """
        self._stop = self._training.stop = stop
        self._training.open()
        away_since: float | None = None
        try:
            while not stop.is_set():
                ending = until_end is not None and until_end.is_set()
                try:
                    if not self.step() and ending and self._at_end():
                        break
                    if away_since is not None:
                        log.warning("the bus is back")
                        away_since = None
                except BusUnavailable as error:
                    if away_since is None:
                        away_since = self._clock()
                        log.warning("waiting for the bus: %s", error)
                    if self._clock() - away_since > self.settings.bus_patience_seconds:
                        raise
                    stop.wait(_AWAY_SECONDS)
        except BaseException:
            self._checkpoint = None  # nobody knows how far the state in memory got
            raise
        log.info("stopping: %d transactions decided", self.reporting.counts["decisions"])

    def step(self) -> bool:
        """Read once, handle what is ready, and return whether anything was."""
        patient = self._silent_polls < _IMPATIENT_POLLS
        batch = self._intake.take(self._consumer.at_end, patient=patient)
        if batch:
            self._handle(batch)
        wait_seconds = 0.0 if batch else 0.1
        records = self._consumer.poll(self.settings.max_batch, wait_seconds, self._intake.full())
        self._silent_polls = 0 if batch or records else self._silent_polls + 1
        given = self._follow_assignment()  # these are read anew, from where their state stands
        self._intake.put(record for record in records if record.partition not in given)
        if self.detector.shards:  # who owns nothing keeps the log for when state is restored
            self._training.learn()
        self._report_and_save()
        return bool(batch or records)

    def close(self) -> None:
        """Save a snapshot, report for the last time, and leave the group."""
        try:
            self._report_and_save(now=True)
        finally:
            self._fitting.shutdown(wait=False, cancel_futures=True)
            self._training.close()
            self._consumer.close()

    def summary(self) -> dict[str, float | None]:
        """Return counts since the start, the quality that the scorecard found, and the pace."""
        counts, model = self.reporting.counts, self.detector.model
        names = ("transactions", "decisions", "dead_letters", "labels", "joined", "examples")
        seconds = self._clock() - self._started_at
        quality = self._scorecard.quality().asdict() if self._scorecard else {}
        return {
            **{name: counts[name] for name in names},
            "learned": model.learned,
            "alerts": counts["alerts"],
            **quality,
            "threshold": self.detector.threshold,
            "fraud_prior": model.prior.value,
            "seconds": seconds,
            "transactions_per_second": counts["decisions"] / seconds,
        }

    def _handle(self, batch: Batch) -> None:
        outcome = handle(self.detector, batch)
        alerts = [alert for decisions in outcome.decisions for alert in self._alerts(decisions)]
        outputs = [
            *(self._dead_letter(record, reject) for record, reject in outcome.rejects),
            *map(self._alert_message, alerts),
            *map(self._example_message, outcome.examples),
        ]
        try:
            ends = self._consumer.commit(outputs, outcome.positions)
        except (CommitLost, BusUnavailable) as lost:
            log.warning("commit lost, restoring from the committed positions: %s", lost)
            self._forget(list(self.detector.shards))
            return
        self._positions |= outcome.positions
        self.reporting.count(outcome)
        self._store.put_alerts(alerts)
        self._score(outcome)
        self._training.learn(ends.get(TopicPartition(self.settings.training_topic, 0), 0))
        self._limit_rejects(batch)

    def _alerts(self, decisions: Decisions) -> list[Alert]:
        now = datetime.fromtimestamp(self._clock(), UTC)
        rows = np.flatnonzero(decisions.alerts).tolist()
        alerts = []
        for row, reasons in zip(rows, decisions.reasons, strict=True):
            tx = decisions.transactions[row]
            alerts.append(
                Alert(
                    alert_id=alert_id(tx.transaction_id),
                    transaction_id=tx.transaction_id,
                    timestamp=utc(float(decisions.times_seconds[row])),
                    decided_at=now,
                    type=tx.type,
                    amount=tx.amount,
                    nameOrig=tx.nameOrig,
                    nameDest=tx.nameDest,
                    score=float(decisions.scores[row]),
                    threshold=float(decisions.thresholds[row]),
                    model_position=self.detector.model.position,
                    reasons=reasons,
                )
            )
        return alerts

    def _alert_message(self, alert: Alert) -> Message:
        key = getattr(alert, self.settings.key_field).encode()
        return Message(self.settings.alerts_topic, key, alert.model_dump_json().encode())

    def _example_message(self, example: Example) -> Message:
        key = example.transaction_id.encode()
        value = example.model_dump_json(exclude_none=True).encode()
        return Message(self.settings.training_topic, key, value)

    def _dead_letter(self, record: Record, reject: Reject) -> Message:
        headers = {
            "reason": reject.reason,
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
        }
        return Message(
            self.settings.dead_letters_topic,
            record.key,
            record.value or b"",
            tuple((name, text.encode()) for name, text in headers.items()),
        )

    def _score(self, outcome: Outcome) -> None:
        if self._scorecard is None:
            return
        for decisions in outcome.decisions:
            if len(decisions.times_seconds):
                self._scorecard.begin(float(decisions.times_seconds.min()))
        for joined in outcome.joined:
            self._scorecard.add(joined)

    def _limit_rejects(self, batch: Batch) -> None:
        for _, value in batch:
            rejected = int(isinstance(value, Reject))
            self._rejected += rejected - self._rejects[0]
            self._rejects.append(rejected)
        share = self._rejected / self.settings.reject_window
        if share > self.settings.reject_share:
            raise TooManyRejects(
                f"{share:.0%} of the last {self.settings.reject_window} messages cannot be read, "
                f"and reject_share allows {self.settings.reject_share:.0%}. They are in topic "
                f"{self.settings.dead_letters_topic!r}, each with its reason in the headers: mend "
                "what produces them, or raise WEIR_REJECT_SHARE, and start again."
            )

    def _at_end(self) -> bool:
        sources = [s for p in self.detector.shards for s in self._intake.inputs(p)]
        return bool(sources) and not len(self._intake) and all(map(self._consumer.at_end, sources))

    def _follow_assignment(self) -> frozenset[int]:
        """Let go of partitions that went, restore those that came, and return the latter."""
        owned = self._consumer.assignment()
        self._forget([p for p in self.detector.shards if p not in owned])
        given = owned - set(self.detector.shards)
        if given:
            self._restore(given)
        self.detector.budget.part = max(len(self.detector.shards), 1) / self._partitions
        return given

    def _restore(self, given: frozenset[int]) -> None:
        """Restore partitions just given; leave it for later where some go meanwhile."""
        held = [s for p in (*self.detector.shards, *given) for s in self._intake.inputs(p)]
        budget = copy.deepcopy(self.detector.budget) if self.detector.shards else None
        gone: set[int] = set()

        def go_on() -> bool:
            """The group thinks a worker gone that stays away from its polls."""
            self._consumer.poll(1, 0.0, held)
            gone.update(set(self.detector.shards) - self._consumer.assignment())
            return not (self._stop.is_set() or gone & given)

        positions = restore(
            sorted(given),
            self.detector,
            self._broker,
            self._consumer,
            training=self._training,
            checkpoint=self._checkpoint,
            go_on=go_on,
        )
        self._forget(gone - given)
        if budget is not None:
            self.detector.budget = budget  # of the present, not of what was handled again
        if positions is None:
            return
        for partition in given:
            self._intake.open(partition)
        for source, position in positions.items():
            self._consumer.seek(source, position)
        self._positions |= positions

    def _forget(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            del self.detector.shards[partition]
            self._intake.close(partition)
            for source in self._intake.inputs(partition):
                self._positions.pop(source, None)

    def _lag(self) -> int:
        """Records not yet handled; as it last was while the bus is away."""
        with contextlib.suppress(BusUnavailable):
            ends = {source: self._consumer.end(source) for source in self._positions}
            self._last_lag = sum(end - self._positions[s] for s, end in ends.items())
        return self._last_lag

    def _report_and_save(self, *, now: bool = False) -> None:
        clock = self._clock()
        if now or clock - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = clock
            lost, self._losses = self._losses != self._store.losses, self._store.losses
            for shard in self.detector.shards.values():
                if lost:
                    shard.windows.touch()
                self._store.put_windows(shard.windows.changed())
            self._store.put_live(self.reporting.live(self.detector, self._lag()))
        if self._checkpoint and (now or clock - self._saved_at >= self.settings.checkpoint_seconds):
            self._saved_at = clock
            self._save(self._checkpoint)

    def _save(self, checkpoint: Checkpoint) -> None:
        """Write a snapshot; where that fails the one before stays, and work goes on."""
        try:
            for partition, shard in self.detector.shards.items():
                positions = {s: self._positions[s] for s in self._intake.inputs(partition)}
                checkpoint.save_shard(partition, shard, positions)
            checkpoint.save_model(self.detector)
        except OSError as error:
            log.warning(
                "no snapshot can be written to %s (%s), so a restart takes longer: make room there",
                checkpoint.directory,
                error.strerror,
            )
