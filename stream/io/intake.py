"""What comes in: records decoded, kept in step, and given to the handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from math import inf, isnan, nan
from operator import itemgetter

import numpy as np

from stream.core import decode
from stream.core.alignment import Alignment, Taken
from stream.core.decode import Reject
from stream.core.detector import Before, Decisions, Detector
from stream.core.pending import Floats, Joined
from stream.core.wire import AnyLabel, AnyTransaction, Example
from stream.io.bus import Record, TopicPartition
from stream.settings import Settings

Input = AnyTransaction | AnyLabel | Reject
Batch = Sequence[Taken[TopicPartition, tuple[Record, Input]]]
"""Records of transactions or of labels, by partition, with what they carry."""

_BUFFERED = 50_000
"""Records of one input that wait for the other before it is no longer read."""
_BUFFERED_BYTES = 64 * 1024 * 1024
"""The same in bytes of their messages: also one that is too large to read waits for its turn."""

_LIVE_SECONDS = 60.0
"""What happens so near to now is handled as it comes, transactions and labels each for itself."""
_JUMP_SECONDS = 7 * 86_400.0
"""A record counts as at most so much later than the one before it, so that one clock gone wrong
cannot hold up what lies behind it in its partition."""


class Intake:
    """Decodes records of the two inputs and gives them out in event-time order (`Alignment`)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._alignment: Alignment[TopicPartition, tuple[Record, Input]] = Alignment(
            settings.align_seconds, _BUFFERED, _BUFFERED_BYTES
        )
        self._last_seconds: dict[TopicPartition, float] = {}
        self._transaction = decode.transactions(settings.segments)

    def __len__(self) -> int:
        return len(self._alignment)

    @property
    def is_live(self) -> bool:
        """Whether what was given out last is of now, in any partition."""
        return self._alignment.is_live

    def inputs(self, partition: int) -> tuple[TopicPartition, TopicPartition]:
        """Return the partition of transactions and that of labels."""
        return (
            TopicPartition(self.settings.transactions_topic, partition),
            TopicPartition(self.settings.labels_topic, partition),
        )

    def open(self, partition: int) -> None:
        """Begin to take records of a partition."""
        self._alignment.open(*self.inputs(partition))

    def close(self, partition: int) -> None:
        """Forget a partition and what waits of it."""
        self._alignment.close(*self.inputs(partition))
        for source in self.inputs(partition):
            self._last_seconds.pop(source, None)

    def full(self) -> list[TopicPartition]:
        """Return the inputs of which enough waits."""
        return self._alignment.full()

    def put(self, records: Sequence[Record]) -> None:
        """Take in records; those of partitions that are not open are dropped."""
        for place, group in groupby(records, key=itemgetter(0, 1)):
            source, of_one = TopicPartition(*place), list(group)
            inputs, times = self.read(of_one)
            self._alignment.put(
                source,
                list(zip(of_one, inputs, strict=True)),
                self._steady(source, times),
                np.array([len(record.value or b"") for record in of_one]),
            )

    def take(
        self,
        at_end: Callable[[TopicPartition], bool],
        now_seconds: float = inf,
        *,
        patient: bool = True,
    ) -> Batch:
        """Return what may be handled next, see `Alignment.take`.

        What happened within a minute of the wall time is live; without one, nothing is.
        """
        live = (now_seconds - _LIVE_SECONDS, now_seconds + _LIVE_SECONDS)
        return self._alignment.take(
            self.settings.max_batch, at_end, patient=patient, live_seconds=live
        )

    def read(self, records: Sequence[Record]) -> tuple[list[Input], Floats]:
        """Return what the records of an input carry, or why it is not taken, and event times.

        Those are seconds, shape (n,); NaN where there is nothing.
        """
        most, origin = self.settings.max_record_bytes, self.settings.step_origin
        inputs: list[Input]
        if records[0].topic == self.settings.transactions_topic:
            name = "timestamp"
            inputs = [self._transaction(record.value, most) for record in records]
        else:  # one of a time to come would hold against every correction until then
            name = "labelled_at"
            inputs = [decode.label(record.value, most) for record in records]
        times = np.array([_seconds(each, origin) for each in inputs])
        published = np.array([record.timestamp_ms for record in records]) / 1000.0
        ahead_days = (times - published) / 86_400.0
        for at in np.flatnonzero(ahead_days > self.settings.max_ahead_days).tolist():
            inputs[at] = Reject(f"{name}: {ahead_days[at]:.0f} days ahead of its publication")
            times[at] = nan
        return inputs, times

    def _steady(self, source: TopicPartition, times: Floats) -> Floats:
        """Times that are there for all records of a source, and jump ahead by no more than so."""
        last = self._last_seconds.get(source)
        jumps = np.diff(times, prepend=times[0] if last is None else last)
        if not (jumps <= _JUMP_SECONDS).all():  # nor is one without a time
            steady = []
            for seconds in times.tolist():
                at = (last or 0.0) if isnan(seconds) else seconds  # with the one before it
                last = at if last is None else min(at, last + _JUMP_SECONDS)
                steady.append(last)
            times = np.array(steady)
        self._last_seconds[source] = float(times[-1])
        return times


def _seconds(value: Input, step_origin: datetime) -> float:
    if isinstance(value, AnyTransaction):
        return value.time_seconds(step_origin)
    return nan if isinstance(value, Reject) else value.labelled_at.timestamp()


@dataclass(slots=True)
class Outcome:
    """What came of a batch."""

    decisions: dict[int, Decisions] = field(default_factory=dict)
    """By partition."""
    decided: list[Record] = field(default_factory=list)
    """The records of the transactions, in any order."""
    labels: int = 0
    joined: list[Joined] = field(default_factory=list)
    joined_of: list[int] = field(default_factory=list)
    """The partition of each of those."""
    examples: list[Example] = field(default_factory=list)
    rejects: list[tuple[Record, Reject]] = field(default_factory=list)
    positions: dict[TopicPartition, int] = field(default_factory=dict)


def handle(
    detector: Detector,
    batch: Batch,
    before: Mapping[int, Before] | None = None,
    *,
    decided: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Give a batch, transactions before labels, to the handlers of each partition.

    What was decided `before`, by partition, stands (see `Detector.on_transactions`). `decided` is
    told between the two.
    """
    outcome, before = Outcome(), before or {}
    transactions: dict[int, list[AnyTransaction]] = {}
    labels: dict[int, list[AnyLabel]] = {}
    for source, pairs in batch:
        outcome.positions[source] = pairs[-1][0].offset + 1
        for record, each in pairs:
            if isinstance(each, Reject):
                outcome.rejects.append((record, each))
            elif isinstance(each, AnyTransaction):
                outcome.decided.append(record)
                transactions.setdefault(source.partition, []).append(each)
            else:
                outcome.labels += 1
                labels.setdefault(source.partition, []).append(each)
    for partition, arrived in transactions.items():
        known = before.get(partition)
        outcome.decisions[partition] = detector.on_transactions(partition, arrived, known)
        if detector.shards[partition].pending.has_met:
            labels.setdefault(partition, [])
    decided(outcome)
    for partition, come in labels.items():
        joined, examples = detector.on_labels(partition, come, before.get(partition))
        outcome.joined.append(joined)
        outcome.joined_of.append(partition)
        outcome.examples += examples
    return outcome
