"""The bus on Kafka, with kafka-python.

The consumer is next door in `kafka_consumer`; how clients are set up is in `cluster`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError, KafkaTimeoutError, RetriableError, TopicAlreadyExistsError

from stream.io.bus import BusError, BusUnavailable, Message, Record, TopicPartition, TopicSpec
from stream.io.cluster import (
    PATIENT_MS,
    PROMPT_MS,
    REQUEST_SECONDS,
    Client,
    Cluster,
    Ends,
    Topic,
    abandon,
    pause,
    records,
    send,
)
from stream.io.kafka_consumer import KafkaGroupConsumer
from stream.io.security import Security

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 60.0
"""How long a message may wait for its acknowledgement before it is given up."""
UNACKNOWLEDGED_BYTES = 64 * 1024 * 1024
"""Publishing blocks while more than this waits for acknowledgement."""
# What a message costs in memory besides its bytes: the futures that kafka-python keeps of it.
_MESSAGE_OVERHEAD_BYTES = 512


class KafkaBroker:
    """The bus on the Kafka cluster at `servers` (`host:port,host:port`)."""

    def __init__(
        self, servers: str, security: Security | None = None, *, tls: bool = False
    ) -> None:
        self._cluster = Cluster(servers, security, tls=tls)
        self.url = self._cluster.url

    def topics(self, expected: Collection[str] = ()) -> dict[str, int]:
        return self._cluster.topics(expected)

    def create_topics(self, topics: Sequence[TopicSpec]) -> list[str]:
        there = self.topics()
        missing = {
            spec.name: {
                "num_partitions": spec.partitions,
                "configs": {"max.message.bytes": str(spec.max_message_bytes), **spec.config},
            }
            for spec in topics
            if spec.name not in there
        }
        if missing:
            using = ", ".join(missing)
            with self._cluster.explained(using), self._cluster.admin() as admin:
                try:
                    admin.create_topics(missing, wait_for_metadata=True)
                except TopicAlreadyExistsError:
                    # Another process was quicker with one of them; the others may be to do still.
                    admin.wait_for_topics(list(missing))
                there = {**there, **self.topics()}
        for spec in topics:
            if there.get(spec.name, spec.partitions) != spec.partitions:
                raise BusError(
                    f"Topic {spec.name} has {there[spec.name]} partitions at {self.url}, not "
                    f"{spec.partitions}. Set the number to what is there, or delete the topic."
                )
        return list(missing)

    def publisher(self) -> KafkaPublisher:
        return KafkaPublisher(self._cluster)

    def reader(self, *, patient: bool = False) -> KafkaReader:
        return KafkaReader(self._cluster, patient=patient)

    def consumer(
        self, *, group: str, member: str, inputs: Sequence[str], exactly_once: bool = True
    ) -> KafkaGroupConsumer:
        return KafkaGroupConsumer(self._cluster, group, member, inputs, exactly_once=exactly_once)


class KafkaPublisher:
    """Publishes with acknowledgement of all replicas, without duplicates from its own retries."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._topics: dict[str, Topic] = {}
        self._producer: Client | None = self._start()
        self._waiting: deque[tuple[Any, int]] = deque()
        self._waiting_bytes = 0

    def _start(self) -> Client:
        return self._cluster.producer(linger_ms=5, delivery_timeout_ms=int(DELIVERY_SECONDS * 1000))

    def publish(self, messages: Sequence[Message]) -> None:
        self._cluster.check(messages, self._topics)
        with self._cluster.explained():
            if self._producer is None:
                self._producer = self._start()
            for message in messages:
                size = len(message.value or b"") + _MESSAGE_OVERHEAD_BYTES
                while self._waiting_bytes + size > UNACKNOWLEDGED_BYTES and self._waiting:
                    self._acknowledge(wait=True)
                future = send(self._producer, message, self._topics[message.topic])
                self._waiting.append((future, size))
                self._waiting_bytes += size
            while self._waiting and self._waiting[0][0].is_done:
                self._acknowledge(wait=False)

    def _acknowledge(self, *, wait: bool) -> None:
        """Take the oldest message off the waiting ones; raises where it was not delivered."""
        future, size = self._waiting[0]
        try:
            future.get(timeout=DELIVERY_SECONDS if wait else 0)
        except KafkaError as error:
            lost = len(self._waiting)
            # A producer that failed once can be stuck for good: kafka-python does not ask for a
            # new producer id after a batch has expired.
            self._drop()
            if (refused := self._cluster.refused(error)) is not None:
                raise refused from error
            kind = BusUnavailable if isinstance(error, RetriableError) else BusError
            raise kind(
                f"{lost} messages may not have arrived at {self._cluster.url} ({error}). "
                "Publish them again when the brokers are back."
            ) from error
        self._waiting.popleft()
        self._waiting_bytes -= size

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        self._waiting.clear()
        self._waiting_bytes = 0
        if producer is not None:
            abandon(producer)

    def flush(self) -> None:
        if self._producer is None:
            return
        try:
            self._producer.flush(timeout=DELIVERY_SECONDS)
        except KafkaTimeoutError:
            log.debug("Not all was acknowledged in time; what failed is raised below")
        while self._waiting:
            self._acknowledge(wait=True)

    def close(self) -> None:
        try:
            self.flush()
        finally:
            producer, self._producer = self._producer, None
            if producer is not None:
                producer.close(timeout=REQUEST_SECONDS)


class KafkaReader:
    """Tails partitions without a group."""

    def __init__(self, cluster: Cluster, *, patient: bool = False) -> None:
        self._cluster = cluster
        self._topics: dict[str, Topic] = {}
        self._consumer = cluster.consumer(
            group_id=None, fetch_max_wait_ms=PATIENT_MS if patient else PROMPT_MS
        )
        self._ends = Ends(cluster, self._consumer)

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        self._check(positions)
        for source, position in positions.items():
            if position < 0:
                raise BusError(f"{source.topic}[{source.partition}] has no position {position}.")
        with self._cluster.explained():
            self._consumer.assign([KafkaPartition(*source) for source in positions])
            for source, position in positions.items():
                self._consumer.seek(KafkaPartition(*source), position)

    def _check(self, sources: Iterable[TopicPartition]) -> None:
        unknown = {source.topic for source in sources} - self._topics.keys()
        if unknown:
            self._topics.update(self._cluster.describe(unknown))
        for topic, partition in sources:
            if not 0 <= partition < self._topics[topic].partitions:
                raise BusError(
                    f"Topic {topic} at {self._cluster.url} has {self._topics[topic].partitions} "
                    f"partitions, so no partition {partition}."
                )

    def poll(
        self, max_records: int, timeout_seconds: float, skip: Collection[TopicPartition] = ()
    ) -> list[Record]:
        with self._cluster.explained():
            if not self._consumer.assignment():
                time.sleep(timeout_seconds)
                return []
            pause(self._consumer, skip)
            return records(self._consumer.poll(timeout_seconds * 1000, max_records))

    def position(self, source: TopicPartition) -> int:
        return self._ends.position(source)

    def at_end(self, source: TopicPartition) -> bool:
        return self._ends.at_end(source)

    def end(self, source: TopicPartition) -> int:
        self._check([source])
        return self._ends.end(source)

    def beginning(self, source: TopicPartition) -> int:
        self._check([source])
        return self._ends.beginning(source)

    def close(self) -> None:
        self._consumer.close(autocommit=False)
