"""The bus as a port: what Weir asks of Kafka, and of one SQLite file that stands in for it.

A *broker* is an address. From it come a `Publisher` (producers), a `Reader` (tails a topic without
a group: the training log, the alerts view, a replay) and a `Consumer` (one member of the group of
workers, which commits outputs and positions as one). Nothing here decodes a value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from stream.io.security import Security


class BusError(Exception):
    """The bus cannot do what was asked: what was wrong, where, what to do. Not worth retrying."""


class BusAddressError(BusError):
    """The address of the bus is not understood. The message does not repeat it."""


class BusUnavailable(BusError):  # noqa: N818 - reads as the state it reports
    """The bus cannot be reached now; the same call may succeed later."""


class BusRefused(BusError):  # noqa: N818 - reads as the state it reports
    """The bus does not let us in, or not do that, and will not until someone changes that.

    User and password, a certificate, or rights (ACLs); or TLS on one side only.
    """


class CommitLost(BusError):  # noqa: N818 - reads as the state it reports
    """A commit did not happen, or nobody could tell: the committed positions say which.

    Another worker owns the partitions, or the bus did not answer in time. The worker drops the
    account state of its partitions and restores it from the positions that stand.
    """


class TooManyRejects(BusError):  # noqa: N818 - reads as the reason it is
    """More messages than allowed cannot be read: a producer has changed, or a setting is wrong."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Record(NamedTuple):
    """One message as it lies on the bus. `timestamp_ms` is when it was published (UTC epoch)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Message(NamedTuple):
    """One message to publish. The key picks the partition unless `partition` is given.

    Without a value it is a tombstone: in a compacted topic, it forgets what the key held.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to create. `max_message_bytes` bounds one message, larger ones are refused.

    `config` is Kafka's. The embedded bus heeds `cleanup.policy=compact`, and keeps the rest for
    ever.
    """

    name: str
    partitions: int
    max_message_bytes: int = 1_048_576
    config: Mapping[str, str] = field(default_factory=dict)


class Publisher(Protocol):
    """Publishes messages of a producer: at least once, in order per partition."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Hand over messages, blocking while the bus is slower than the producer.

        On the embedded bus one call is one SQL transaction: a reader sees all of it or none.
        Raises `BusError` for a message the bus refuses, naming topic and size.
        """

    def flush(self) -> None:
        """Return when everything published has been acknowledged; raise `BusError` if not."""

    def close(self) -> None:
        """Flush, and let go of the bus."""


class Reader(Protocol):
    """Reads committed records of given partitions from given positions, without a group."""

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions from these positions from now on.

        Partitions already read go on from the given position, whatever was fetched before.
        """

    def poll(
        self,
        max_records: int,
        timeout_seconds: float,
        skip: Collection[TopicPartition] = (),
    ) -> list[Record]:
        """Return up to `max_records`, or [] when none came within the timeout.

        Nothing is read from the partitions in `skip` this time.
        """

    def position(self, source: TopicPartition) -> int:
        """The next offset that `poll` will return from this partition, or one past it.

        Offsets can have gaps (transaction markers); the position moves past them.
        """

    def at_end(self, source: TopicPartition) -> bool:
        """Whether all that was committed when the bus last answered has been returned by `poll`."""

    def end(self, source: TopicPartition) -> int:
        """The position behind the last committed record, as the bus says now."""

    def beginning(self, source: TopicPartition) -> int:
        """The first position that the bus still holds."""

    def close(self) -> None: ...


class Consumer(Protocol):
    """One worker of a group: co-partitioned inputs in, outputs and positions committed as one."""

    mark: int
    """Positions that a commit takes behind its outputs in each partition: 1 for the mark at the end
    of a Kafka transaction, else 0. It comes before the outputs of the next commit."""

    def poll(
        self,
        max_records: int,
        timeout_seconds: float,
        skip: Collection[TopicPartition] = (),
    ) -> list[Record]:
        """Return up to `max_records` of the owned partitions of all inputs, in offset order each.

        Nothing is read from the partitions in `skip` this time (back-pressure). Also keeps the
        membership alive and may change `assignment()`. Records of a partition that is given come
        from its committed position on (0, or the first held, where none is). A poll that changes
        the assignment returns no records. Raises `BusUnavailable` while the bus is away.
        """

    def assignment(self) -> frozenset[int]:
        """Partition numbers owned now: for each, this worker reads that partition of every input.

        Changes only inside `poll` and `commit`.
        """

    def committed(self, source: TopicPartition) -> int | None:
        """The group's committed position of an input partition; None where there is none."""

    def seek(self, source: TopicPartition, position: int) -> None:
        """Go on from this position; what was fetched of the partition before is dropped."""

    def at_end(self, source: TopicPartition) -> bool:
        """As `Reader.at_end`, of an owned input partition."""

    def end(self, source: TopicPartition) -> int:
        """As `Reader.end`, or as the bus said with the records it gave last. For the lag."""

    def send(self, outputs: Sequence[Message]) -> None:
        """Hand over outputs ahead of the next commit, which they are part of.

        At least once, others may see them from now on, and will see them again where that commit
        is lost. Raises as `commit` does.
        """

    def has_sent(self) -> bool:
        """Whether what `send` takes is out before its commit, which may follow the next `poll`.

        Then who sends, polls and commits does not wait for an acknowledgement. False exactly once,
        and where that poll may let partitions go: others would do the work once more.
        """

    def settle(self) -> None:
        """Return once the positions of all commits are there, but for the last ones while the group
        shares out its partitions. Raises as `commit` does.
        """

    def commit(
        self, outputs: Sequence[Message], positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Publish outputs, with those of `send` before them, and positions: all of it or nothing.

        At least once: first the outputs, then the positions, which may still be on their way when
        this returns; the next commits see to them. Where it ends in between, the outputs are
        there and will come once more, and a `CommitLost` may be about the commit before.

        Returns, for each output partition written, the position behind the last output.
        Raises `CommitLost` (see there); the assignment may be empty then until the next poll. Or
        `BusUnavailable`, and nothing was committed.
        """

    def close(self) -> None:
        """Leave the group at once, so that others take over without waiting for a time-out."""


class Broker(Protocol):
    """An address where a bus is."""

    url: str
    """Where it is, without any secret: safe to print."""

    def topics(self, expected: Collection[str] = ()) -> dict[str, int]:
        """Names and partition counts of the topics there that we may see.

        Raises `BusUnavailable`, and `BusRefused` where we may not see one that is `expected`.
        """

    def create_topics(self, topics: Sequence[TopicSpec]) -> list[str]:
        """Create those that are missing and return their names.

        Raises `BusError` where one is there with another number of partitions.
        """

    def publisher(self) -> Publisher: ...

    def reader(self, *, patient: bool = False) -> Reader:
        """Return a reader. One that is `patient` is seldom asked for anything but to wait for
        records: it costs less meanwhile, and what else it is asked for may take half a second."""

    def consumer(
        self, *, group: str, member: str, inputs: Sequence[str], exactly_once: bool = True
    ) -> Consumer:
        """Join a group. All inputs must have the same number of partitions, else `BusError`.

        `member` is unique to the worker and stable over its restarts: a new consumer of the same
        group and member fences the one before, whose next commit raises `CommitLost`. Not
        `exactly_once` is at least once (see `Consumer.commit`), where that is any faster.
        """


def partitions_of(broker: Broker, topic: str) -> int:
    """Return the number of partitions of a topic. Raises `BusError` where it is not there."""
    found = broker.topics([topic]).get(topic)
    if found is None:
        raise BusError(f"Topic {topic!r} is not there. Make it with `weir topics create`.")
    return found


def read_whole(
    reader: Reader, sources: Collection[TopicPartition], at_once: int = 500
) -> Iterator[Record]:
    """Read partitions from the first record they hold up to where they end now."""
    ends = {source: reader.end(source) for source in sources}
    reader.assign({source: reader.beginning(source) for source in sources})
    while any(reader.position(source) < end for source, end in ends.items()):
        yield from reader.poll(at_once, 0.5)


def connect(url: str, security: Security | None = None) -> Broker:
    """Return the broker that a URL names.

    `kafka://host:9092[,host:9092]`, the same with `kafkas://` for TLS, or `sqlite:///file`.
    `security` is who we are to Kafka and whom we trust; without it nobody, and the system's
    authorities.

    Raises `BusError` for any other scheme, `SecurityError` where security and scheme do not go
    together. Opens no connection until it is used.
    """
    scheme, separator, rest = url.partition("://")
    if scheme in ("kafka", "kafkas") and separator and rest:
        from stream.io.kafka import KafkaBroker  # noqa: PLC0415 - only the adapter in use is loaded

        return KafkaBroker(rest, security, tls=scheme == "kafkas")
    if scheme == "sqlite" and separator and rest.startswith("/") and len(rest) > 1:
        from stream.io.embedded import EmbeddedBroker  # noqa: PLC0415

        return EmbeddedBroker(rest[1:])
    raise BusAddressError(
        "The bus address is not understood. Give kafka://HOST:PORT, kafkas://HOST:PORT for TLS, or "
        "sqlite:///FILE (sqlite:////absolute/file) for the embedded one."
    )
