"""What was handled, batch for batch as the workers committed it: the decisions topic tells."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import NamedTuple

import numpy as np

from stream.core.alignment import Taken
from stream.core.decode import Reject, decode
from stream.events import Decided
from stream.io.bus import BusError, Reader, Record, TopicPartition
from stream.io.intake import Batch, Input, Intake
from stream.io.restore import MAX_DECIDED_BYTES
from stream.settings import Settings
from stream.shadow.beginning import Beginning

log = logging.getLogger(__name__)

_BUFFERED, _TOLD = 10_000, 64
"""Records of an input, and of the decisions topic, that wait at most, those just wanted aside."""
_POLL_SECONDS = 0.2


class Step(NamedTuple):
    """What one commit handled."""

    batch: Batch
    in_force: dict[int, dict[str, tuple[float, float]]]
    """By partition, the score and threshold in force that each transaction was given, by id."""
    model_position: int
    """Position in the training log up to which the model in force had learned."""
    records: int
    """Records of transactions, those that are left out included."""


@dataclass(slots=True)
class _Partition:
    number: int
    inputs: tuple[TopicPartition, TopicPartition]
    decisions: TopicPartition
    positions: dict[TopicPartition, int]
    told: deque[Decided] = field(default_factory=deque)
    buffers: dict[TopicPartition, deque[Record]] = field(default_factory=dict)


class Course:
    """Gives what was handled from a beginning on, in the order in which it was committed.

    A batch holds the records of one commit; transactions that were not decided in it, such as
    second copies and dead letters, and those from before the beginning are left out. So each is
    decided once more with the labels that were there when it was decided, neither more nor fewer,
    and never before it was decided indeed. Holds a few batches at a time.
    """

    def __init__(
        self, settings: Settings, reader: Reader, begin: Beginning, partitions: int, stop: Event
    ) -> None:
        self._reader = reader
        self._intake = Intake(settings)
        self._max_batch = settings.max_batch
        self._from_seconds = begin.from_seconds
        self._stop = stop
        self._ends = dict(begin.ends)
        self._found: dict[int, _Partition] = {}
        for number in range(partitions):
            decisions = TopicPartition(settings.decisions_topic, number)
            sources = (*self._intake.inputs(number), decisions)
            # One that nothing had been decided of is there from its beginning on.
            at = {s: begin.positions.get(s, reader.beginning(s)) for s in sources}
            self._ends.setdefault(decisions, at[decisions])
            each = _Partition(number, self._intake.inputs(number), decisions, at)
            each.buffers = {source: deque() for source in each.inputs}
            self._found[number] = each
        reader.assign({s: at for each in self._found.values() for s, at in each.positions.items()})

    def steps(self) -> Iterator[Step]:
        """Yield what was handled up to the end that is known; less where it is told to stop."""
        while not self._stop.is_set():
            waiting = [each for each in self._found.values() if not each.told]
            silent = [each for each in waiting if not self._at_end(each)]
            if silent:
                self._read(wanted=())
                continue
            ready = [each for each in self._found.values() if each.told]
            if not ready:
                return
            newest = min(each.told[0].decided_at for each in ready)
            together = [each for each in ready if each.told[0].decided_at == newest]
            if all(self._there(each) for each in together):
                yield self._step(together)

    def look_further(self) -> bool:
        """Ask where the decisions topic ends now; return whether there is more."""
        self._ends = {source: self._reader.end(source) for source in self._ends}
        return any(not self._at_end(each) for each in self._found.values())

    def _at_end(self, each: _Partition) -> bool:
        return self._reader.position(each.decisions) >= self._ends[each.decisions]

    def _there(self, each: _Partition) -> bool:
        """Read until all records of the next batch of a partition are at hand."""
        decided = each.told[0]
        ends = dict(zip(each.inputs, (decided.transactions[1], decided.labels[1]), strict=True))
        while not self._stop.is_set():
            lacking = [
                source
                for source, end in ends.items()
                if self._reader.position(source) < end
                and not (each.buffers[source] and each.buffers[source][-1].offset >= end - 1)
            ]
            if not lacking:
                return True
            self._read(wanted=lacking)
        return False

    def _step(self, together: list[_Partition]) -> Step:
        transactions: list[Taken[TopicPartition, tuple[Record, Input]]] = []
        labels: list[Taken[TopicPartition, tuple[Record, Input]]] = []
        in_force: dict[int, dict[str, tuple[float, float]]] = {}
        position = records = 0
        for each in together:
            decided = each.told.popleft()
            pairs = zip(decided.scores, decided.thresholds, strict=True)
            known = dict(zip(decided.transaction_ids, pairs, strict=True))
            spans = (decided.transactions, decided.labels)
            for source, (_, end), into in zip(
                each.inputs, spans, (transactions, labels), strict=True
            ):
                taken = self._take(each, source, end)
                if into is transactions:
                    records += len(taken)
                wanted = self._wanted(taken, known if into is transactions else None)
                if wanted:
                    into.append(Taken(source, wanted))
            in_force[each.number] = known
            position = max(position, int(decided.state.get("model_position", 0)))
        return Step([*transactions, *labels], in_force, position, records)

    def _wanted(
        self, records: list[Record], known: Mapping[str, object] | None
    ) -> list[tuple[Record, Input]]:
        """What the records carry; of transactions, those that were decided then."""
        if not records:
            return []
        found, times = self._intake.read(records)
        pairs = zip(records, found, strict=True)
        if known is None:
            return [pair for pair in pairs if not isinstance(pair[1], Reject)]
        since = (times >= self._from_seconds) | np.isnan(times)
        return [
            (record, each)
            for (record, each), there in zip(pairs, since.tolist(), strict=True)
            if there and not isinstance(each, Reject) and each.transaction_id in known
        ]

    @staticmethod
    def _take(each: _Partition, source: TopicPartition, end: int) -> list[Record]:
        waiting, taken = each.buffers[source], []
        while waiting and waiting[0].offset < end:
            taken.append(waiting.popleft())
        each.positions[source] = max(each.positions[source], end)
        return taken

    def _read(self, wanted: Collection[TopicPartition]) -> None:
        """Take in what comes, but no more of what waits already, unless it is wanted now."""
        full = [
            source
            for each in self._found.values()
            for source, waiting in each.buffers.items()
            if len(waiting) >= _BUFFERED and source not in wanted
        ]
        full += [each.decisions for each in self._found.values() if len(each.told) >= _TOLD]
        for record in self._reader.poll(self._max_batch, _POLL_SECONDS, full):
            each = self._found[record.partition]
            if record.topic == each.decisions.topic:
                self._hear(each, record)
            else:
                each.buffers[TopicPartition(record.topic, record.partition)].append(record)

    def _hear(self, each: _Partition, record: Record) -> None:
        found = decode(record.value, Decided, MAX_DECIDED_BYTES)
        if isinstance(found, Reject):
            log.error("%s, offset %d: %s", each.decisions, record.offset, found.reason)
            return
        spans = zip(each.inputs, (found.transactions, found.labels), strict=True)
        ahead = [end > self._heard_until(each, s) for s, (_, end) in spans]
        if any(ahead):  # else said a second time
            each.told.append(found)

    def _heard_until(self, each: _Partition, source: TopicPartition) -> int:
        """Where the batches end that are known of an input."""
        if not each.told:
            return each.positions[source]
        spans = (each.told[-1].transactions, each.told[-1].labels)
        return spans[each.inputs.index(source)][1]


def check_topics(partitions: Mapping[str, int], settings: Settings) -> int:
    """Return the number of partitions. Raises `BusError` where a topic is not there."""
    for name in (settings.transactions_topic, settings.labels_topic, settings.decisions_topic):
        if name not in partitions:
            raise BusError(f"Topic {name!r} is not there. Make it with `weir topics create`.")
    return partitions[settings.transactions_topic]
