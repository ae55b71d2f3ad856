"""What comes in: records decoded, kept in step, and given to the handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.core.alignment import Alignment, Item
from stream.core.decode import Reject, decode
from stream.core.detector import Before, Decisions, Detector
from stream.core.pending import Joined
from stream.events import Example, Label, Transaction
from stream.io.bus import Record, TopicPartition
from stream.settings import Settings

Input = Transaction | Label | Reject
Batch = Sequence[tuple[Record, Input]]

_BUFFERED = 50_000
"""Records of one input that wait for the other before it is no longer read."""
_BUFFERED_BYTES = 64 * 1024 * 1024
"""The same in bytes of their messages: also one that is too large to read waits for its turn."""

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

    def __len__(self) -> int:
        return len(self._alignment)

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

    def put(self, records: Iterable[Record]) -> None:
        """Take in records; those of partitions that are not open are dropped."""
        self._alignment.put(map(self._item, records))

    def take(self, at_end: Callable[[TopicPartition], bool], *, patient: bool = True) -> Batch:
        """Return what may be handled next, see `Alignment.take`."""
        items = self._alignment.take(self.settings.max_batch, at_end, patient=patient)
        return [item.value for item in items]

    def read(self, record: Record) -> tuple[Input, float | None]:
        """Return what a record carries and its event time in seconds.

        Or the reason why it is not taken, and None.
        """
        kind: type[Transaction] | type[Label]
        kind = Transaction if record.topic == self.settings.transactions_topic else Label
        value: Input = decode(record.value, kind, self.settings.max_record_bytes)
        if isinstance(value, Reject):
            return value, None
        if isinstance(value, Transaction):
            name, seconds = "timestamp", value.time_seconds(self.settings.step_origin)
        else:  # one of a time to come would hold against every correction until then
            name, seconds = "labelled_at", value.labelled_at.timestamp()
        ahead_days = (seconds - record.timestamp_ms / 1000.0) / 86_400.0
        if ahead_days > self.settings.max_ahead_days:
            return Reject(f"{name}: {ahead_days:.0f} days ahead of its publication"), None
        return value, seconds

    def _item(self, record: Record) -> Item[TopicPartition, tuple[Record, Input]]:
        source = TopicPartition(record.topic, record.partition)
        value, seconds = self.read(record)
        last = self._last_seconds.get(source)
        if seconds is None:  # goes with the message before it
            seconds = last or 0.0
        if last is not None:
            seconds = min(seconds, last + _JUMP_SECONDS)
        self._last_seconds[source] = seconds
        return Item(source, record.offset, seconds, (record, value), len(record.value or b""))


@dataclass(slots=True)
class Outcome:
    """What came of a batch."""

    decisions: dict[int, Decisions] = field(default_factory=dict)
    """By partition."""
    decided: list[Record] = field(default_factory=list)
    """The records of the transactions, in any order."""
    labels: int = 0
    joined: list[Joined] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    rejects: list[tuple[Record, Reject]] = field(default_factory=list)
    positions: dict[TopicPartition, int] = field(default_factory=dict)


def handle(detector: Detector, batch: Batch, before: Mapping[int, Before] | None = None) -> Outcome:
    """Give a batch, transactions or labels, to the handlers of each partition.

    What was decided `before`, by partition, stands (see `Detector.on_transactions`).
    """
    outcome, before = Outcome(), before or {}
    transactions: dict[int, list[Transaction]] = {}
    labels: dict[int, list[Label]] = {}
    ends: dict[tuple[str, int], int] = {}
    for record, value in batch:
        ends[record.topic, record.partition] = record.offset + 1
        if isinstance(value, Transaction):
            transactions.setdefault(record.partition, []).append(value)
            outcome.decided.append(record)
        elif isinstance(value, Label):
            labels.setdefault(record.partition, []).append(value)
            outcome.labels += 1
        else:
            outcome.rejects.append((record, value))
    outcome.positions = {TopicPartition(*source): end for source, end in ends.items()}
    for partition, arrived in transactions.items():
        known = before.get(partition)
        outcome.decisions[partition] = detector.on_transactions(partition, arrived, known)
        if detector.shards[partition].pending.has_met:
            labels.setdefault(partition, [])
    for partition, come in labels.items():
        joined, examples = detector.on_labels(partition, come, before.get(partition))
        outcome.joined.append(joined)
        outcome.examples += examples
    return outcome
