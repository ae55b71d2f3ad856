"""The loop: records in, one commit out, and what people see of it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from threading import Event
from typing import Protocol

from stream.core.decode import Reject
from stream.core.detector import Detector
from stream.core.evaluate import Scorecard
from stream.core.learning_budget import LearningBudget
from stream.core.model import Model
from stream.events import Alert, LiveReport, WindowReport
from stream.io.alarm_log import AlarmLog
from stream.io.background import Background
from stream.io.bus import (
    Broker,
    BusError,
    BusUnavailable,
    CommitLost,
    Message,
    TooManyRejects,
    TopicPartition,
)
from stream.io.checkpoint import Checkpoint
from stream.io.fits import SharedFits
from stream.io.intake import Batch, Intake, Outcome, handle
from stream.io.outputs import Outputs
from stream.io.reporting import Reporting
from stream.io.restore import restore
from stream.io.state import StateWriter
from stream.io.training import TrainingLog
from stream.settings import Settings

log = logging.getLogger(__name__)

_IMPATIENT_POLLS = 20
"""An input that is not at its end and gives nothing in so many polls, of a tenth of a second each,
no longer holds up the other."""
_LEARNING_SECONDS = 0.002
"""Of live traffic, learning takes no longer than so between two batches."""
_LIVE_SECONDS = 5.0
"""For how long traffic counts as live after the last of it."""
_REPORT_SECONDS = 1.0
_AWAY_SECONDS = 2.0
"""Between two tries while the bus is away."""
_FIRST_JUDGED = 1_000
"""Messages after a start before their share of rejects can stop the worker."""
_CLOSING_SECONDS = 20.0
"""How long the last snapshots of account state may take when it ends."""


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
    2. alerts, examples, dead letters, what was decided, chunks of saved state and positions are
       committed as one (at least once, alerts are out before the labels of the batch are joined,
       and positions are committed behind the next poll, now and then);
    3. examples are learned in the order of the training log: of live traffic in steps, so that the
       next batch need not wait for them.

    Where a commit is lost, the account state that the batch changed is forgotten and restored from
    the positions that stand. Account state is saved on the bus (`stream.io.state`), the model in
    `state_dir`, if there is one.

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
        self._alarms = AlarmLog(settings, clock)
        self._broker = broker
        self._store = store
        self._scorecard = scorecard
        self._clock = clock
        self._checkpoint = Checkpoint(settings.state_dir, settings) if settings.state_dir else None
        saved = self._checkpoint.load() if self._checkpoint else None
        self._partitions = broker.topics().get(settings.transactions_topic, 1)
        self.detector = Detector(settings, saved or Model(settings), self._partitions)
        self._fitting = Background("weir-fit")
        self._intake = Intake(settings)
        self._outputs = Outputs(settings, clock)
        self._states = StateWriter(settings, time.monotonic)
        self._learning = LearningBudget(settings.learning_budget_us)
        self._learning_seconds = 0.0
        self._unlearned = False
        """Whether something is left to learn that need not be waited for."""
        self._live_until = 0.0
        self._told = (0, 0.0)
        """Examples, and processor time of learning them, that the budget knows of."""
        self._uncommitted: (
            tuple[Batch, Outcome, list[Alert], Mapping[TopicPartition, int]] | None
        ) = None
        """What was handled and sent last, with positions, where its commit waits for the next
        poll."""
        self._sound = True
        """Whether the state in memory is that of the committed positions."""
        self._positions: dict[TopicPartition, int] = {}
        """Of the inputs, and of the decisions behind what this worker wrote."""
        self._rejects: deque[int] = deque()
        """Which of the messages counted since the start could not be read, of the last so many."""
        self._judged = self._losses = self._last_lag = 0
        self._started_at = clock()
        self._stop = Event()
        self._silent_polls = 0
        self._reported_at = self._saved_at = self._started_at
        self._consumer = broker.consumer(
            group=settings.group,
            member=member,
            inputs=[settings.transactions_topic, settings.labels_topic],
            exactly_once=settings.delivery == "exactly-once",
        )
        try:
            self._training = TrainingLog(
                settings, broker.reader(), self.detector, self._consumer.mark
            )
            self._fits = SharedFits(
                settings, self._fitting, broker, self.detector.shards, self._partitions
            )
        except BaseException:
            self._consumer.close()
            raise
        self.detector.model.fit_in(self._fits)

    def run(self, stop: Event, until_end: Event | None = None) -> None:
        """Work until `stop` is set; once `until_end` is set, until all there is was handled.

        Raises `TooManyRejects`, and `BusError` where the bus is away for longer than it waits.
        """
        self._stop = self._training.stop = stop
        self._fits.open()
        self._training.open()
        self._fits.waits = True
        self._told = self._learned()
        away_since: float | None = None
        try:
            while not stop.is_set():
                ending = until_end is not None and until_end.is_set()
                try:
                    if not self.step() and ending and self._at_end():
                        self._training.learn_all()
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
            self._sound = False  # nobody knows how far the state in memory got
            raise
        log.info("stopping: %d transactions decided", self.reporting.counts["decisions"])

    def step(self) -> bool:
        """Read once, handle what is ready, and return whether anything was."""
        self._commit_handled()  # where a poll has failed
        patient = self._silent_polls < _IMPATIENT_POLLS
        batch = self._intake.take(self._consumer.at_end, self._clock(), patient=patient)
        if batch:
            self._handle(batch)
        elif self._states.ready():
            self._commit_state()
        wait_seconds = 0.0 if batch or self._unlearned else 0.1
        busy = bool(self._read(wait_seconds) or batch)
        self._silent_polls = 0 if busy else self._silent_polls + (wait_seconds > 0.0)
        with self._timed():
            self._learn()
        self._report_and_save()
        return busy

    def _learn(self) -> None:
        """Learn what has come. While traffic is live, a little of it: alerts wait for this."""
        self._fitting.gives_way = self._is_live()
        if self._fitting.gives_way:
            self._unlearned = self._training.follow_for(_LEARNING_SECONDS)
        else:
            self._unlearned = False
            self._training.follow()

    def _read(self, wait_seconds: float) -> int:
        """Take in what there is; return how many records."""
        records = self._consumer.poll(self.settings.max_batch, wait_seconds, self._intake.full())
        self._commit_handled()
        given = self._follow_assignment()  # these are read anew, from where their state stands
        self._intake.put([record for record in records if record.partition not in given])
        return len(records)

    def close(self) -> None:
        """Save a snapshot, report for the last time, and leave the group."""
        self._sound = self._sound and self._uncommitted is None
        try:
            self._report_and_save(now=True)
            self._save_state()
        finally:
            self._fitting.shutdown(wait=False, cancel_futures=True)
            self._states.close()
            self._training.close()
            self._fits.close()
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
        alerts: list[Alert] = []

        def decided(outcome: Outcome) -> None:
            """Nobody who waits for an alert waits for labels."""
            alerts.extend(self._outputs.alerts(outcome, self.detector.model.position))
            if alerts:
                self._consumer.send([self._outputs.alert(each) for each in alerts])

        try:
            outcome = handle(self.detector, batch, decided=decided)
            outputs = self._outputs.messages(outcome, self._positions, self.detector.state())
            owners = self._send(outputs)
        except (CommitLost, BusUnavailable) as lost:
            self._lost(lost)
            return
        self._uncommitted = batch, outcome, alerts, {**owners, **outcome.positions}
        if not self._consumer.has_sent():
            self._commit_handled()

    def _commit_handled(self) -> None:
        """Commit what was handled and sent, if that is still to be done."""
        if self._uncommitted is None:
            return
        (batch, outcome, alerts, positions), self._uncommitted = self._uncommitted, None
        owned = self._consumer.assignment()  # what went meanwhile is decided anew by others
        ends = self._commit({s: at for s, at in positions.items() if s.partition in owned})
        if ends is None:
            return
        self.reporting.count(outcome)
        self._alarms.observe(outcome)
        self._store.put_alerts(alerts)
        self._score(outcome)
        if outcome.examples:
            with self._timed():
                end = ends[TopicPartition(self.settings.training_topic, 0)]
                self._training.written(outcome.examples, end)
                if not self._is_live():
                    self._training.learn(end)
        self._keep_budget(len(outcome.decided))
        self._limit_rejects(batch)

    def _is_live(self) -> bool:
        """Whether something was live a moment ago: what comes late in between does not count."""
        now = time.monotonic()
        if self._intake.is_live:
            self._live_until = now + _LIVE_SECONDS
        return now < self._live_until

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the processor time of what is done in it as that of learning."""
        begun = time.thread_time()
        yield
        self._learning_seconds += time.thread_time() - begun

    def _learned(self) -> tuple[int, float]:
        """Examples learned, and the processor time they took, that of fits included."""
        return self.detector.model.learned, self._learning_seconds + self._fitting.seconds

    def _keep_budget(self, transactions: int) -> None:
        """Tell the budget what was learned since it was last told, and do as it says."""
        learned, before = self._learned(), self._told
        behind = self._last_lag > self.settings.max_batch
        self._learning.spent(
            transactions, learned[0] - before[0], learned[1] - before[1], behind=behind
        )
        self._told = learned
        self.detector.thinning = self._learning.thinning

    def _commit_state(self) -> None:
        """Commit a few chunks of state alone."""
        try:
            owners = self._send([])
        except (CommitLost, BusUnavailable) as lost:
            self._lost(lost)
            return
        self._commit(owners)

    def _send(self, outputs: Sequence[Message]) -> Mapping[TopicPartition, int]:
        """Send outputs and a few chunks of state, and return the positions to commit with these:
        who commits a position must own its partition. So, exactly once, must who writes its state.
        """
        chunks = self._states.messages()
        if chunks and not self._states.waiting:
            self._consumer.settle()  # what a snapshot stands at is there before its manifest
        self._consumer.send([*outputs, *chunks])
        return {s: self._positions[s] for c in chunks for s in self._inputs(c.partition)}

    def _commit(
        self, positions: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, int] | None:
        """Commit what was sent, and positions; None where it was lost, and state with it."""
        try:
            ends = self._consumer.commit([], positions)
        except (CommitLost, BusUnavailable) as lost:
            self._lost(lost)
            return None
        decisions = {s: end for s, end in ends.items() if s.topic == self.settings.decisions_topic}
        self._positions |= {**positions, **decisions}
        return ends

    def _lost(self, why: BusError) -> None:
        log.warning("commit lost, restoring from the committed positions: %s", why)
        self._forget(list(self.detector.shards))

    def _score(self, outcome: Outcome) -> None:
        if self._scorecard is None:
            return
        for decisions in outcome.decisions.values():
            if len(decisions.times_seconds):
                self._scorecard.begin(float(decisions.times_seconds.min()))
        for joined in outcome.joined:
            self._scorecard.add(joined)

    def _limit_rejects(self, batch: Batch) -> None:
        """Stop where too many cannot be read: of all since the start, then of the last so many.

        A worker that is started again judges early, so each start drains little of a topic that
        only holds more of the same.
        """
        window = self.settings.reject_window
        for _, pairs in batch:
            self._rejects += [
                at for at, (_, value) in enumerate(pairs, self._judged) if isinstance(value, Reject)
            ]
            self._judged += len(pairs)
        while self._rejects and self._rejects[0] < self._judged - window:
            self._rejects.popleft()
        count = min(self._judged, window)
        if count < min(_FIRST_JUDGED, window):
            return
        share = len(self._rejects) / count
        if share > self.settings.reject_share:
            raise TooManyRejects(
                f"{share:.0%} of the last {count} messages cannot be read, "
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
        return given

    def _restore(self, given: frozenset[int]) -> None:
        """Restore partitions just given; leave it for later where some go meanwhile."""
        held = [s for p in (*self.detector.shards, *given) for s in self._intake.inputs(p)]
        gone: set[int] = set()

        def go_on() -> bool:
            """The group thinks a worker gone that stays away from its polls."""
            self._consumer.poll(1, 0.0, held)
            gone.update(set(self.detector.shards) - self._consumer.assignment())
            return not (self._stop.is_set() or gone & given)

        restored = restore(sorted(given), self.detector, self._broker, self._consumer, go_on)
        self._forget(gone - given)
        for partition, found in (restored or {}).items():
            self._intake.open(partition)
            self._states.opened(partition, found.next_snapshot, found.handled_again)
            for source in self._intake.inputs(partition):
                self._consumer.seek(source, found.positions[source])
            self._positions |= found.positions

    def _forget(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            del self.detector.shards[partition]
            self._intake.close(partition)
            self._states.closed(partition)
            for source in self._sources(partition):
                self._positions.pop(source, None)

    def _inputs(self, partition: int | None) -> tuple[TopicPartition, ...]:
        return () if partition is None else self._intake.inputs(partition)

    def _sources(self, partition: int) -> tuple[TopicPartition, ...]:
        """What a position is kept of."""
        decisions = TopicPartition(self.settings.decisions_topic, partition)
        return (*self._intake.inputs(partition), decisions)

    def _lag(self) -> int:
        """Records not yet handled; as it last was while the bus is away."""
        with contextlib.suppress(BusUnavailable):
            sources = [s for p in self.detector.shards for s in self._intake.inputs(p)]
            ends = {source: self._consumer.end(source) for source in sources}
            self._last_lag = sum(end - self._positions[s] for s, end in ends.items())
        return self._last_lag

    def _report_and_save(self, *, now: bool = False) -> None:
        clock = self._clock()
        news = self._alarms.look(self.detector, now=now)
        if now or news or clock - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = clock
            lost, self._losses = self._losses != self._store.losses, self._store.losses
            for shard in self.detector.shards.values():
                if lost:
                    shard.windows.touch()
                self._store.put_windows(shard.windows.changed())
            learning_us = self._learning.cost_us
            live = self.reporting.live(self.detector, self._lag(), learning_us, self._alarms.raised)
            self._store.put_live(live)
        for partition in self._states.due() if self._sound else ():
            self._begin_snapshot(partition)
        self._states.go_on(slowly=self._is_live())
        seconds = self.settings.checkpoint_seconds
        due = now or clock - self._saved_at >= seconds
        if not (self._checkpoint and self._sound and due):
            return
        # What is half learned, or still to be fitted, would be waited for.
        if now or (self._fits.settled() and not self.detector.model.busy):
            self._saved_at = clock
            self._save_model(self._checkpoint)

    def _begin_snapshot(self, partition: int) -> None:
        positions = {s: self._positions[s] for s in self._sources(partition)}
        self._states.begin(partition, self.detector.shards[partition], positions)

    def _save_state(self) -> None:
        """Put the last snapshots on the bus; where that takes too long, the ones before stay."""
        until = time.monotonic() + _CLOSING_SECONDS
        self._states.drop()
        for partition in list(self.detector.shards) if self._sound else ():
            self._send_snapshot(until)
            if partition in self.detector.shards and not self._states.waiting:
                self._begin_snapshot(partition)
        self._send_snapshot(until)

    def _send_snapshot(self, until: float) -> None:
        """Put the rest of the snapshot that is under way on the bus."""
        while self._sound and self._states.waiting and time.monotonic() < until:
            self._states.go_on()
            if self._states.ready(max(0.0, until - time.monotonic())):
                self._commit_state()

    def _save_model(self, checkpoint: Checkpoint) -> None:
        """Write a snapshot; where that fails the one before stays, and work goes on."""
        try:
            checkpoint.save(self.detector.model)
        except OSError as error:
            log.warning(
                "no snapshot can be written to %s (%s), so a restart takes longer: make room there",
                checkpoint.path.parent,
                error.strerror,
            )
