"""Brings the account state of partitions to the committed positions, without any output."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from stream.core.alignment import Taken
from stream.core.decode import Reject, decode
from stream.core.detector import Before, Detector
from stream.events import Decided
from stream.io.bus import Broker, Consumer, Reader, Record, TopicPartition
from stream.io.dead_letters import refused
from stream.io.intake import Intake, handle
from stream.io.state import Damaged, newest, read

log = logging.getLogger(__name__)

Positions = dict[TopicPartition, int]

MAX_DECIDED_BYTES = 16_777_216
_STILL_THERE_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0
"""What a transaction published shows at all its partitions, but not at the same moment."""
_BUFFERED = 10_000
"""Records of one source that may wait."""


@dataclass(slots=True)
class Restored:
    """Where the work on a partition goes on."""

    positions: Positions
    """Of its inputs, and of the decisions topic behind the last record that counts."""
    next_snapshot: int
    """The number that its next snapshot has."""
    handled_again: int
    """Records since the snapshot that it was restored from, or since the beginning."""


def restore(
    partitions: Iterable[int],
    detector: Detector,
    broker: Broker,
    consumer: Consumer,
    go_on: Callable[[], bool],
) -> dict[int, Restored] | None:
    """Open the account state of partitions, as it was at the committed positions.

    It is taken from the snapshot on the bus where one fits. From there, or from the beginning of
    the topics, records up to the committed positions are handled again, batch for batch as the
    decisions topic tells, with the scores that were given: so it comes out as it was, whatever the
    model has learned since. Where the decisions topic holds nothing of a span, its records are
    aligned by event time and scored by the model as it is. What comes of it is dropped: it was
    published when they were committed. What became a dead letter then is left out, also where it
    could be read by now: it was not decided, and a replay of it will be.

    `go_on` is asked every few seconds; where it says no, None is returned and nothing is open.
    """
    partitions = list(partitions)
    reader, done = broker.reader(), False
    try:
        found = {p: _open(p, detector, reader, consumer) for p in partitions}
        start = {s: at for each in found.values() for s, at in each.positions.items()}
        goal = {s: at for each in found.values() for s, at in each.goal.items()}
        dead = refused(broker, detector.settings.dead_letters_topic, start, goal)
        reader.assign(start)
        done = _Again(detector, reader, found, dead, go_on).run()
    finally:
        reader.close()
        if not done:  # half a state is none
            for partition in partitions:
                detector.shards.pop(partition, None)
    if not done:
        return None
    return {
        p: Restored(each.positions, each.next_snapshot, each.again) for p, each in found.items()
    }


@dataclass(slots=True)
class _Partition:
    """One partition on its way to the committed positions."""

    number: int
    inputs: tuple[TopicPartition, TopicPartition]
    decisions: TopicPartition
    positions: Positions
    goal: Positions
    next_snapshot: int
    buffers: dict[TopicPartition, deque[Record]] = field(default_factory=dict)
    decided: Decided | None = None
    """The next record of the decisions topic that is not behind."""
    told: Record | None = None
    ended_at: float | None = None
    """Since when the decisions topic has had no more."""
    again: int = field(init=False)
    """Records to handle again, as it was opened."""

    def __post_init__(self) -> None:
        self.again = self.left

    @property
    def reached(self) -> bool:
        return all(self.positions[source] >= self.goal[source] for source in self.inputs)

    def told_at(self) -> tuple[int, int]:
        """When the next batch was committed, to compare with other partitions."""
        return self.told.timestamp_ms if self.told else 0, self.number

    @property
    def left(self) -> int:
        return sum(max(self.goal[s] - self.positions[s], 0) for s in self.inputs)


def _open(partition: int, detector: Detector, reader: Reader, consumer: Consumer) -> _Partition:
    """Open a partition at its snapshot, or else empty at the beginning of the topics."""
    settings = detector.settings
    inputs = Intake(settings).inputs(partition)
    decisions = TopicPartition(settings.decisions_topic, partition)
    committed = {source: consumer.committed(source) or 0 for source in inputs}
    saved, next_snapshot = newest(read(reader, settings, partition), settings, partition)
    sources = (*inputs, decisions)
    first = {source: reader.beginning(source) for source in sources}
    goal = {}
    for source in inputs:
        end = reader.end(source)
        if committed[source] > end:
            log.warning("%s ends at %d, and %d was committed", source, end, committed[source])
        goal[source] = max(min(committed[source], end), first[source])
    shard = detector.open(partition)
    positions = dict(first)
    if saved is not None:
        other = saved.manifest.differing(settings, shard)
        at = saved.manifest.positions
        if other:
            log.warning(
                "partition %d: the state saved was made with another %s: not used",
                partition,
                " and ".join(other),
            )
        elif any(at[source] > goal[source] for source in inputs):
            log.warning(
                "partition %d: the state saved is of other topics, which went further: not used",
                partition,
            )
        else:
            try:
                saved.restore(shard)
                positions = {source: max(at[source], first[source]) for source in sources}
            except Damaged as damage:
                log.warning("partition %d: the state saved is left alone: %s", partition, damage)
                detector.open(partition)
    return _Partition(partition, inputs, decisions, positions, goal, next_snapshot)


class _Again:
    """Handles records once more, partitions in the order in which they were committed."""

    def __init__(
        self,
        detector: Detector,
        reader: Reader,
        found: dict[int, _Partition],
        dead: Collection[tuple[str, int, int]],
        go_on: Callable[[], bool],
    ) -> None:
        self._detector = detector
        self._reader = reader
        self._found = found
        self._dead = dead
        self._go_on = go_on
        self._total = sum(each.again for each in found.values())
        self._wanted = True
        self._looked = time.monotonic()

    def run(self) -> bool:
        """Bring all to their goals; False where it is no longer wanted."""
        for each in self._found.values():
            each.buffers = {source: deque() for source in each.positions}
        while under_way := [each for each in self._found.values() if not each.reached]:
            if not self._still_wanted():
                return False
            for each in under_way:
                self._look_ahead(each)
            gap = next((each for each in under_way if self._untold(each)), None)
            if gap is not None:
                if not self._align(gap):
                    return False
            elif all(each.decided for each in under_way):
                self._handle(min(under_way, key=_Partition.told_at))
            else:
                self._read(0.05)
        numbers = sorted(self._found)
        log.info("partitions %s: state restored, %d records handled again", numbers, self._total)
        return True

    def _look_ahead(self, each: _Partition) -> None:
        """Have the next record of the decisions topic at hand that tells of what is to come."""
        told = each.buffers[each.decisions]
        while each.decided is None and told:
            record = told.popleft()
            each.ended_at = None
            decided = decode(record.value, Decided, MAX_DECIDED_BYTES)
            if isinstance(decided, Reject):
                log.error("%s, offset %d: %s", each.decisions, record.offset, decided.reason)
                continue
            spans = zip(each.inputs, (decided.transactions, decided.labels), strict=True)
            if any(each.positions[source] < end for source, (_, end) in spans):
                each.decided, each.told = decided, record
            else:  # behind what is restored already
                each.positions[each.decisions] = record.offset + 1

    def _untold(self, each: _Partition) -> bool:
        """Whether what comes next is not in the decisions topic, nor about to be."""
        if each.decided is not None:
            spans = zip(each.inputs, (each.decided.transactions, each.decided.labels), strict=True)
            return any(each.positions[source] < begin for source, (begin, _) in spans)
        if each.buffers[each.decisions] or not self._reader.at_end(each.decisions):
            return False
        each.ended_at = each.ended_at or time.monotonic()
        return time.monotonic() - each.ended_at > _PATIENCE_SECONDS

    def _handle(self, each: _Partition) -> None:
        """Handle the batch that the decisions topic tells of, as soon as its records are here."""
        decided, told = each.decided, each.told
        assert decided is not None and told is not None  # noqa: S101, PT018 - the caller has looked
        ends = dict(zip(each.inputs, (decided.transactions[1], decided.labels[1]), strict=True))
        while any(not self._has(each, source, end) for source, end in ends.items()):
            if not self._read(0.05, wanted=ends) and not self._still_wanted():
                return
        intake = Intake(self._detector.settings)
        taken = {source: self._take(each, source, end) for source, end in ends.items()}
        batch = [
            Taken(source, list(zip(records, intake.read(records)[0], strict=True)))
            for source, records in taken.items()
            if records
        ]
        pairs = zip(decided.scores, decided.thresholds, strict=True)
        scores = dict(zip(decided.transaction_ids, pairs, strict=True))
        handle(self._detector, batch, {each.number: Before(scores, decided.state)})
        for source, end in ends.items():
            each.positions[source] = max(each.positions[source], end)
        each.positions[each.decisions] = told.offset + 1
        each.decided = None

    def _has(self, each: _Partition, source: TopicPartition, end: int) -> bool:
        """Whether all records of an input up to a position have been read."""
        waiting = each.buffers[source]
        if waiting and waiting[-1].offset >= end - 1:
            return True
        return each.positions[source] >= end or self._reader.position(source) >= end

    @staticmethod
    def _take(each: _Partition, source: TopicPartition, end: int) -> list[Record]:
        waiting = each.buffers[source]
        taken = []
        while waiting and waiting[0].offset < end:
            taken.append(waiting.popleft())
        return taken

    def _read(self, timeout_seconds: float, wanted: Collection[TopicPartition] = ()) -> bool:
        """Take in what comes, but no more of what waits already; whether anything came.

        What is `wanted` is read however much of it waits.
        """
        full = [
            source
            for each in self._found.values()
            for source, waiting in each.buffers.items()
            if len(waiting) >= (_BUFFERED if source in each.inputs else 64) and source not in wanted
        ]
        records = self._reader.poll(self._detector.settings.max_batch, timeout_seconds, full)
        for record in records:
            if (record.topic, record.partition, record.offset) in self._dead:
                continue
            buffers = self._found[record.partition].buffers
            buffers[TopicPartition(record.topic, record.partition)].append(record)
        return bool(records)

    def _align(self, each: _Partition) -> bool:
        """Handle what the decisions topic does not tell of: up to where it does, or to the goal."""
        until = dict(each.goal)
        if each.decided is not None:
            begins = (each.decided.transactions[0], each.decided.labels[0])
            until = {
                s: min(begin, each.goal[s]) for s, begin in zip(each.inputs, begins, strict=True)
            }
        count = sum(max(until[s] - each.positions[s], 0) for s in each.inputs)
        log.warning(
            "partition %d: nothing tells how %d records were decided; they are scored again, for "
            "the account state only",
            each.number,
            count,
        )
        intake = Intake(self._detector.settings)
        intake.open(each.number)

        def over(source: TopicPartition) -> bool:
            return self._has(each, source, until[source])

        while len(intake) or not all(map(over, each.inputs)) or self._waits(each, until):
            for source in each.inputs:
                if source not in intake.full():
                    intake.put(self._take(each, source, until[source]))
            batch = intake.take(over)
            if batch:
                handle(self._detector, batch)
            elif not self._read(0.05, wanted=until) and not self._still_wanted():
                return False
        each.positions |= {s: max(each.positions[s], until[s]) for s in each.inputs}
        return True

    @staticmethod
    def _waits(each: _Partition, until: Positions) -> bool:
        return any(each.buffers[s] and each.buffers[s][0].offset < until[s] for s in each.inputs)

    def _still_wanted(self) -> bool:
        if not self._wanted or time.monotonic() - self._looked < _STILL_THERE_SECONDS:
            return self._wanted
        self._looked = time.monotonic()
        done = self._total - sum(each.left for each in self._found.values())
        log.info(
            "partitions %s: %d of %d records handled again", sorted(self._found), done, self._total
        )
        self._wanted = self._go_on()
        return self._wanted
