"""A Kafka cluster as an address: how its clients are set up, and its errors in words."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import kafka.admin
import kafka.record.default_records
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError, RetriableError

from stream.io.bus import BusAddressError, BusError, BusUnavailable, Message, Record, TopicPartition
from stream.io.placing import partition_of

CONNECT_SECONDS = 10.0
"""How long a client may take to find the cluster before it counts as unavailable."""
REQUEST_SECONDS = 15.0
"""How long one request may take."""
# kafka-python has no annotations. Its objects are Any here, so that mypy is strict about ours.
Client = Any
library: Any = kafka.admin
_batches: Any = kafka.record.default_records.DefaultRecordBatchBuilder
# One request holds batches of several partitions, so it may be larger than any topic's message.
_REQUEST_BYTES = 64 * 1024 * 1024


class Topic(NamedTuple):
    partitions: int
    max_message_bytes: int


class Cluster:
    """The brokers at `servers` (`host:port,host:port`). Connects when something is asked."""

    def __init__(self, servers: str) -> None:
        if "@" in servers:
            raise BusAddressError(
                "A Kafka address takes no user and password: give kafka://HOST:PORT[,HOST:PORT]."
            )
        self.servers = [server.strip() for server in servers.split(",") if server.strip()]
        self.url = "kafka://" + ",".join(self.servers)

    def admin(self) -> Client:
        return self._client(KafkaAdminClient)

    def consumer(self, **options: Any) -> Client:
        """A consumer of committed records as bytes."""
        # Never a value_deserializer: one that raises makes kafka-python fetch the record for ever.
        return self._client(
            KafkaConsumer,
            metrics_enabled=False,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            # One fetch is in flight per broker: a long wait for idle partitions stalls busy ones.
            fetch_max_wait_ms=20,
            max_poll_records=2000,
            **options,
        )

    def producer(self, kind: type[KafkaProducer] = KafkaProducer, **options: Any) -> Client:
        """An idempotent producer that waits for all replicas."""
        return self._client(
            kind,
            metrics_enabled=False,
            allow_auto_create_topics=False,
            enable_idempotence=True,
            compression_type="lz4",
            batch_size=65_536,
            max_request_size=_REQUEST_BYTES,
            max_block_ms=int(REQUEST_SECONDS * 1000),
            **options,
        )

    def _client(self, kind: Any, **options: Any) -> Any:
        self._reach()
        with self.explained():
            return kind(
                bootstrap_servers=self.servers,
                bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000),
                request_timeout_ms=int(REQUEST_SECONDS * 1000),
                reconnect_backoff_max_ms=1000,
                **options,
            )

    def _reach(self) -> None:
        """Connect and hang up: quicker to fail than a client, which also leaves a thread behind."""
        problem: OSError | None = None
        for server in self.servers:
            host, _, port = server.rpartition(":")
            try:
                address = (host.strip("[]"), int(port))
            except ValueError:
                raise BusError(f"{server} is no address of a broker. Give HOST:PORT.") from None
            try:
                socket.create_connection(address, CONNECT_SECONDS / len(self.servers)).close()
            except OSError as error:
                problem = error
            else:
                return
        raise BusUnavailable(
            f"No Kafka broker answers at {self.url} ({problem}). Start it, or correct the address."
        ) from problem

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what kafka-python raises into errors of the bus."""
        try:
            yield
        except RetriableError as error:
            raise BusUnavailable(
                f"Kafka at {self.url} does not answer ({error}). Do the brokers run?"
            ) from error
        except KafkaError as error:
            raise BusError(f"Kafka at {self.url} refuses: {error}.") from error

    def topics(self) -> dict[str, int]:
        """Partition counts by topic."""
        with self.explained(), self.admin() as admin:
            found = admin.describe_topics()
        return {
            topic["name"]: len(topic["partitions"]) for topic in found if not topic["is_internal"]
        }

    def describe(self, names: Iterable[str]) -> dict[str, Topic]:
        """Describe topics; raises `BusError` where one is missing."""
        names = list(dict.fromkeys(names))
        with self.explained(), self.admin() as admin:
            counts = {
                topic["name"]: len(topic["partitions"])
                for topic in admin.describe_topics(names)
                if not topic["error_code"]
            }
            missing = [name for name in names if name not in counts]
            if missing:
                raise BusError(
                    f"There is no topic {', '.join(missing)} at {self.url}. "
                    "Make it with `weir topics create`."
                )
            resources = [
                library.ConfigResource(library.ConfigResourceType.TOPIC, name) for name in names
            ]
            configs = admin.describe_configs(resources, config_filter="all")["topic"]
        return {
            name: Topic(counts[name], int(configs[name]["max.message.bytes"]["value"]))
            for name in names
        }

    def check(self, messages: Sequence[Message], known: dict[str, Topic]) -> None:
        """Raise `BusError` for a message the brokers would refuse; fills in `known` topics.

        Asked beforehand, because a refused message is the end of an idempotent producer.
        """
        unknown = {message.topic for message in messages} - known.keys()
        if unknown:
            known.update(self.describe(unknown))
        for topic, key, value, headers, partition in messages:
            size = _batches.estimate_size_in_bytes(key, value, headers)
            # What does not compress grows a little by the frames of the compressed format.
            if size + size // 128 > known[topic].max_message_bytes:
                raise BusError(
                    f"A message of {len(value or b'')} bytes is too large for topic {topic}, which "
                    f"takes {known[topic].max_message_bytes}. Send smaller ones, or raise its "
                    "max.message.bytes."
                )
            if partition is not None and not 0 <= partition < known[topic].partitions:
                raise BusError(
                    f"Topic {topic} at {self.url} has {known[topic].partitions} partitions, "
                    f"so no partition {partition}."
                )


class Ends:
    """Where a consumer stands in its partitions, and where their committed records end."""

    def __init__(self, cluster: Cluster, consumer: Client) -> None:
        self._cluster = cluster
        self._consumer = consumer
        self._known: dict[TopicPartition, int] = {}

    def position(self, source: TopicPartition) -> int:
        at = KafkaPartition(*source)
        if at not in self._consumer.assignment():
            raise BusError(f"{source.topic}[{source.partition}] is not read here. Assign it first.")
        with self._cluster.explained():
            position = self._consumer.position(at, timeout_ms=REQUEST_SECONDS * 1000)
        if position is None:
            raise BusUnavailable(
                f"Kafka at {self._cluster.url} does not say where {source} begins."
            )
        return int(position)

    def at_end(self, source: TopicPartition) -> bool:
        position = self.position(source)
        highwater = self._consumer.highwater(KafkaPartition(*source))
        if highwater is not None and position >= highwater:
            return True
        # Below the high water mark there may be records, or only a transaction that is still open:
        # the broker alone knows. What it said once stays a lower bound.
        return position >= self._known.get(source, 0) and position >= self.end(source)

    def beginning(self, source: TopicPartition) -> int:
        at = KafkaPartition(*source)
        # One by one: of several, kafka-python leaves out those of a topic it has not met so far.
        with self._cluster.explained():
            return int(self._consumer.beginning_offsets([at], REQUEST_SECONDS * 1000)[at])

    def end(self, source: TopicPartition) -> int:
        """The last stable offset: a reader of committed records is not given more."""
        at = KafkaPartition(*source)
        with self._cluster.explained():
            end = int(self._consumer.end_offsets([at], REQUEST_SECONDS * 1000)[at])
        self._known[source] = end
        return end


def send(producer: Client, message: Message, topic: Topic) -> Any:
    """Hand a message to a producer; the future of its place."""
    topic_name, key, value, headers, partition = message
    if partition is None and key is not None:
        # kafka-python would choose the same one, at a quarter of the price of the whole.
        partition = partition_of(key, topic.partitions)
    return producer.send(
        topic_name, key=key, value=value, headers=list(headers), partition=partition
    )


def pause(consumer: Client, skip: Collection[TopicPartition]) -> None:
    """Have a consumer read nothing of these partitions, and of all others again."""
    wanted = {KafkaPartition(*source) for source in skip} & consumer.assignment()
    paused = consumer.paused()
    if wanted != paused:
        consumer.resume(*(paused - wanted))
        consumer.pause(*(wanted - paused))


def records(batches: dict[Any, list[Any]]) -> list[Record]:
    """What a kafka-python consumer polled, as records of the bus."""
    return [
        Record(
            message.topic,
            message.partition,
            message.offset,
            message.timestamp,
            message.key,
            message.value,
            tuple((name, value or b"") for name, value in message.headers),
        )
        for messages in batches.values()
        for message in messages
    ]


def abandon(producer: Client) -> None:
    """Let go of a producer that cannot finish what it holds, without waiting for it."""
    # Closing it in the ordinary way flushes first, which raises and leaves its thread running.
    producer._sender.force_close()
    producer._sender.join(REQUEST_SECONDS)
    with suppress(KafkaError):
        producer.close(timeout=0)
