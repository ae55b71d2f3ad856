"""What every bus promises, asked of the embedded one and of a real Apache Kafka alike."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaTimeoutError
from kafka.future import Future as KafkaFuture

import stream.io.offsets as offsets_module
from stream.io.bus import (
    Broker,
    BusError,
    BusUnavailable,
    CommitLost,
    Consumer,
    Message,
    Publisher,
    Reader,
    Record,
    TopicPartition,
    TopicSpec,
    connect,
)
from stream.io.kafka import UNACKNOWLEDGED_BYTES
from stream.io.kafka_consumer import KafkaGroupConsumer
from tests.servers.kafka import LocalKafka, free_port
from tests.streams import eventually

Opened = TypeVar("Opened", Publisher, Reader, Consumer)


class Bus:
    """A broker under test: makes topics of this test and closes what it opened."""

    def __init__(self, broker: Broker, prefix: str) -> None:
        self.broker = broker
        self.prefix = prefix
        self._opened: list[Publisher | Reader | Consumer] = []

    def topic(self, name: str, partitions: int = 1, max_message_bytes: int = 1_048_576) -> str:
        name = f"{self.prefix}-{name}"
        self.broker.create_topics([TopicSpec(name, partitions, max_message_bytes)])
        return name

    def publisher(self) -> Publisher:
        return self._keep(self.broker.publisher())

    def publish(self, *messages: Message) -> None:
        publisher = self.publisher()
        publisher.publish(messages)
        publisher.flush()

    def reader(self, *sources: TopicPartition) -> Reader:
        reader = self._keep(self.broker.reader())
        reader.assign(dict.fromkeys(sources, 0))
        return reader

    def consumer(
        self, *inputs: str, member: str = "one", group: str = "group", exactly_once: bool = True
    ) -> Consumer:
        return self._keep(
            self.broker.consumer(
                group=f"{self.prefix}-{group}",
                member=member,
                inputs=inputs,
                exactly_once=exactly_once,
            )
        )

    def close(self) -> None:
        for opened in reversed(self._opened):
            opened.close()

    def _keep(self, opened: Opened) -> Opened:
        self._opened.append(opened)
        return opened


@pytest.fixture
def bus(url: str, unique: str) -> Iterator[Bus]:
    bus = Bus(connect(url), unique)
    try:
        yield bus
    finally:
        bus.close()


def read(source: Reader | Consumer, count: int, at_once: int = 1000) -> list[Record]:
    """Poll until `count` records have come; fails where more come or they never do."""
    records: list[Record] = []

    def enough() -> bool:
        polled = source.poll(at_once, 0.2)
        assert len(polled) <= at_once
        records.extend(polled)
        return len(records) >= count

    eventually(enough)
    assert len(records) == count
    return records


def group_of(consumer: Consumer) -> Any:
    """kafka-python's consumer of the group behind one of Kafka's, once that has its partition."""
    own(consumer)
    return consumer._group  # type: ignore[attr-defined] # of Kafka


def own(*consumers: Consumer) -> None:
    """Poll members in turn, without taking a record, until each has its share of the partitions."""

    def settled() -> bool:
        for consumer in consumers:
            assert consumer.poll(1, 0.1) == []
        return all(consumer.assignment() for consumer in consumers)

    eventually(settled)


def of_two_inputs(bus: Bus) -> tuple[Consumer, str, str]:
    """A consumer that has read one record of transactions and one of labels, and the two topics."""
    transactions, labels = bus.topic("tx"), bus.topic("labels")
    consumer = bus.consumer(transactions, labels)
    bus.publish(*numbered(transactions, 1), *numbered(labels, 1))
    read(consumer, 2)
    return consumer, transactions, labels


def numbered(topic: str, count: int, partition: int | None = None) -> list[Message]:
    return [Message(topic, b"%d" % i, b"value %d" % i, (), partition) for i in range(count)]


def values(records: Sequence[Record]) -> list[bytes | None]:
    return [record.value for record in records]


# Topics


def test_creating_topics_returns_the_new_ones_and_leaves_the_others_alone(bus: Bus) -> None:
    first = TopicSpec(f"{bus.prefix}-a", 2)
    second = TopicSpec(f"{bus.prefix}-b", 3, 2_000_000, {"retention.ms": "86400000"})
    assert bus.broker.create_topics([first]) == [first.name]
    assert bus.broker.create_topics([first, second]) == [second.name]
    assert bus.broker.create_topics([first, second]) == []
    topics = bus.broker.topics()
    assert (topics[first.name], topics[second.name]) == (2, 3)


def test_creating_a_topic_with_another_partition_count_is_refused(bus: Bus) -> None:
    topic = bus.topic("a", 2)
    with pytest.raises(BusError, match=r"2 partitions.*not 3"):
        bus.broker.create_topics([TopicSpec(topic, 3)])
    assert bus.broker.topics()[topic] == 2


def test_topics_that_do_not_exist_are_named_with_what_to_do(bus: Bus) -> None:
    there, missing = bus.topic("a"), f"{bus.prefix}-missing"
    with pytest.raises(BusError, match=rf"{missing}.*topics create"):
        bus.publish(Message(missing, None, b"x"))
    with pytest.raises(BusError, match=rf"{missing}.*topics create"):
        bus.reader(TopicPartition(missing, 0))
    with pytest.raises(BusError, match=rf"{missing}.*topics create"):
        bus.consumer(there, missing)
    assert missing not in bus.broker.topics()


def test_partitions_that_do_not_exist_are_refused(bus: Bus) -> None:
    topic = bus.topic("a", 2)
    with pytest.raises(BusError, match="no partition 2"):
        bus.reader(TopicPartition(topic, 2))
    with pytest.raises(BusError, match="no partition 2"):
        bus.publish(Message(topic, None, b"x", (), 2))


def test_inputs_with_unequal_partition_counts_are_refused(bus: Bus) -> None:
    with pytest.raises(BusError, match="same number of partitions"):
        bus.consumer(bus.topic("a", 2), bus.topic("b", 3))


def test_the_bus_url_names_the_bus(bus: Bus, url: str) -> None:
    assert bus.broker.url == url


# Publishing and reading


def test_records_come_in_the_order_they_were_published_in_each_partition(bus: Bus) -> None:
    topic = bus.topic("a", 3)
    publisher = bus.publisher()
    for start in range(0, 300, 100):
        publisher.publish(
            [Message(topic, b"%d" % (i % 7), b"%d" % i) for i in range(start, start + 100)]
        )
    publisher.flush()
    sources = [TopicPartition(topic, at) for at in range(3)]
    records = read(bus.reader(*sources), 300, at_once=37)
    for source in sources:
        mine = [record for record in records if record.partition == source.partition]
        assert [record.offset for record in mine] == list(range(len(mine)))
        assert [int(record.value or b"") for record in mine] == sorted(
            int(record.value or b"") for record in mine
        )


def test_a_key_always_lies_in_the_partition_that_kafka_clients_choose(bus: Bus) -> None:
    topic = bus.topic("a", 4)
    keys = [b"C1", b"C1305486145", b"M1979787155", b"C840083671", b"", "ключ".encode(), b"x" * 33]
    bus.publish(*(Message(topic, key, b"v") for key in keys))
    records = read(bus.reader(*(TopicPartition(topic, at) for at in range(4))), len(keys))
    # From the Java client: Utils.toPositive(Utils.murmur2(key)) % 4.
    assert {record.key: record.partition for record in records} == dict(
        zip(keys, [1, 0, 3, 0, 1, 0, 1], strict=True)
    )


def test_a_partition_that_is_given_wins_over_the_key(bus: Bus) -> None:
    topic = bus.topic("a", 4)
    bus.publish(*numbered(topic, 5, partition=2))
    records = read(bus.reader(*(TopicPartition(topic, at) for at in range(4))), 5)
    assert {record.partition for record in records} == {2}


def test_messages_without_a_key_all_arrive(bus: Bus) -> None:
    topic = bus.topic("a", 4)
    bus.publish(*(Message(topic, None, b"%d" % i) for i in range(50)))
    records = read(bus.reader(*(TopicPartition(topic, at) for at in range(4))), 50)
    assert sorted(values(records), key=str) == sorted((b"%d" % i for i in range(50)), key=str)
    assert {record.key for record in records} == {None}


def test_bytes_and_headers_arrive_unchanged(bus: Bus) -> None:
    topic = bus.topic("a", 1, max_message_bytes=8_388_608)
    headers = (("reason", b"\x00\xff"), ("reason", b""), ("größe", b"5"))
    messages = [
        Message(topic, b"k", b""),
        Message(topic, None, bytes(range(256)), headers),
        Message(topic, b"", b"x"),
        Message(topic, b"large", os.urandom(5 * 1024 * 1024)),
        Message(topic, b"after", b"{}"),
    ]
    before_ms = time.time() * 1000 - 1000
    bus.publish(*messages)
    records = read(bus.reader(TopicPartition(topic, 0)), len(messages))
    for message, record in zip(messages, records, strict=True):
        assert (record.key, record.value) == (message.key, message.value)
        assert record.headers == message.headers
        assert {type(record.value), type(record.headers)} == {bytes, tuple}
        assert before_ms < record.timestamp_ms < time.time() * 1000 + 1000


def test_a_message_that_is_too_large_is_refused_by_topic_and_size(bus: Bus) -> None:
    topic = bus.topic("a", 1, max_message_bytes=100_000)
    publisher = bus.publisher()
    with pytest.raises(BusError, match=rf"\d{{6}} bytes is too large for topic {topic}.*100000"):
        publisher.publish([Message(topic, None, os.urandom(200_000))])
    publisher.publish([Message(topic, None, b"small")])
    publisher.flush()
    assert values(read(bus.reader(TopicPartition(topic, 0)), 1)) == [b"small"]


def test_publishing_more_than_fits_in_any_buffer_blocks_and_loses_nothing(bus: Bus) -> None:
    topic = bus.topic("a", 2, max_message_bytes=2_000_000)
    blob = os.urandom(1_000_000)
    publisher = bus.publisher()
    for i in range(100):
        publisher.publish([Message(topic, b"%d" % i, blob + b"%d" % i)])
    publisher.flush()
    reader = bus.reader(TopicPartition(topic, 0), TopicPartition(topic, 1))
    seen: set[bytes] = set()
    eventually(
        lambda: seen.update(r.key or b"" for r in reader.poll(1000, 0.2)) or len(seen) == 100
    )


def test_a_reader_waits_for_what_comes_later(bus: Bus) -> None:
    topic = bus.topic("a")
    reader = bus.reader(TopicPartition(topic, 0))
    started = time.monotonic()
    assert reader.poll(10, 0.3) == []
    assert 0.25 < time.monotonic() - started < 5
    bus.publish(Message(topic, None, b"late"))
    assert values(read(reader, 1)) == [b"late"]


def test_a_poll_that_finds_nothing_keeps_nothing_of_its_caller(bus: Bus) -> None:
    # A time-out that refers to itself would hold every caller's records until they are collected.
    topic = bus.topic("a")
    clients = bus.reader(TopicPartition(topic, 0)), bus.consumer(topic)
    for client in clients:
        read_nothing(client, 0.5)
    gc.collect()
    gc.disable()
    try:
        held = [read_nothing(client, at) for client in clients for at in (0.0, 0.01, 0.0)]
        assert [each() for each in held] == [None] * len(held)
    finally:
        gc.enable()


def read_nothing(client: Reader | Consumer, timeout_seconds: float) -> weakref.ref[set[bytes]]:
    at_hand: set[bytes] = set()
    assert client.poll(10, timeout_seconds) == []
    return weakref.ref(at_hand)


def test_assigning_again_moves_a_reader_whatever_it_had_fetched(bus: Bus) -> None:
    topic = bus.topic("a", 2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    bus.publish(*numbered(topic, 20, partition=0), *numbered(topic, 5, partition=1))
    reader = bus.reader(first)
    assert values(read(reader, 3, at_once=3)) == [b"value 0", b"value 1", b"value 2"]
    reader.assign({first: 15, second: 4})
    records = read(reader, 6)
    assert sorted((record.partition, record.offset) for record in records) == [
        *((0, offset) for offset in range(15, 20)),
        (1, 4),
    ]
    reader.assign({second: 0})
    assert {record.partition for record in read(reader, 5)} == {1}
    reader.assign({})
    assert reader.poll(10, 0.05) == []


def test_a_reader_knows_where_it_stands_and_where_the_end_is(bus: Bus) -> None:
    topic = bus.topic("a")
    source = TopicPartition(topic, 0)
    reader = bus.reader(source)
    assert reader.at_end(source)
    assert (reader.beginning(source), reader.position(source), reader.end(source)) == (0, 0, 0)
    bus.publish(*numbered(topic, 10))
    assert reader.end(source) == 10
    assert not reader.at_end(source)
    read(reader, 4, at_once=4)
    assert reader.position(source) == 4
    assert not reader.at_end(source)
    read(reader, 6)
    assert reader.position(source) == 10
    assert reader.at_end(source)
    with pytest.raises(BusError, match="not read here"):
        reader.position(TopicPartition(topic, 7))


def test_a_reader_takes_nothing_from_partitions_that_are_skipped(bus: Bus) -> None:
    topic = bus.topic("a", 2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    bus.publish(*numbered(topic, 20, partition=0), *numbered(topic, 5, partition=1))
    reader = bus.reader(first, second)
    taken: list[Record] = []
    eventually(lambda: bool(taken.extend(reader.poll(3, 0.2, [first])) or len(taken) == 5))
    assert {record.partition for record in taken} == {1}
    assert reader.position(first) == 0
    assert values(read(reader, 20)) == [b"value %d" % i for i in range(20)]


def test_what_was_skipped_in_the_middle_comes_when_all_else_is_at_its_end(bus: Bus) -> None:
    topic = bus.topic("a", 2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    bus.publish(*numbered(topic, 20, partition=0))
    reader = bus.reader(first, second)
    taken = read(reader, 5, at_once=5)
    bus.publish(*numbered(topic, 5, partition=1))
    eventually(lambda: bool(taken.extend(reader.poll(3, 0.2, [first])) or len(taken) == 10))
    assert [record.partition for record in taken] == [0] * 5 + [1] * 5
    assert [record.offset for record in read(reader, 15)] == list(range(5, 20))


def test_of_a_compacted_topic_the_newest_of_each_key_and_no_forgotten_one_counts(bus: Bus) -> None:
    topic = f"{bus.prefix}-compacted"
    bus.broker.create_topics([TopicSpec(topic, 2, config={"cleanup.policy": "compact"})])
    other = bus.topic("other")
    bus.publish(Message(other, b"a", b"kept", partition=0), Message(topic, b"a", b"1", partition=0))
    bus.publish(*(Message(topic, key, b"2", partition=0) for key in (b"a", b"b", b"a")))
    bus.publish(Message(topic, b"a", b"3", partition=1), Message(topic, b"b", None, partition=0))
    bus.publish(Message(topic, b"a", b"4", partition=0), Message(other, b"a", b"too", partition=0))
    # Kafka compacts when it sees fit: what a reader makes of it is the same before and after.
    held: dict[tuple[int, bytes | None], bytes | None] = {}
    reader = bus.reader(TopicPartition(topic, 0), TopicPartition(topic, 1))
    eventually(
        lambda: bool(
            held.update(((r.partition, r.key), r.value) for r in reader.poll(100, 0.2))
            or (held.get((0, b"a")) == b"4" and (1, b"a") in held)
        )
    )
    assert held == {(0, b"a"): b"4", (0, b"b"): None, (1, b"a"): b"3"}
    assert values(read(bus.reader(TopicPartition(other, 0)), 2)) == [b"kept", b"too"]


# The group


def test_a_consumer_reads_the_same_partitions_of_all_inputs(bus: Bus) -> None:
    transactions, labels = bus.topic("tx", 2), bus.topic("labels", 2)
    bus.publish(*numbered(transactions, 40), *numbered(labels, 40))
    consumer = bus.consumer(transactions, labels)
    assert consumer.assignment() == frozenset()
    records = read(consumer, 80, at_once=9)
    assert consumer.assignment() == {0, 1}
    places = {(r.topic, r.partition): [] for r in records}
    for record in records:
        places[record.topic, record.partition].append(record.offset)
    assert len(places) == 4
    assert all(offsets == list(range(len(offsets))) for offsets in places.values())
    for at in (0, 1):
        assert consumer.at_end(TopicPartition(labels, at))
        assert consumer.end(TopicPartition(labels, at)) == len(places[labels, at])


def test_the_end_of_what_is_left_out_of_polls_is_known(bus: Bus) -> None:
    transactions, labels = bus.topic("tx"), bus.topic("labels")
    bus.publish(*numbered(transactions, 10), *numbered(labels, 10))
    consumer, left_out = bus.consumer(transactions, labels), TopicPartition(labels, 0)
    read(consumer, 20)
    bus.publish(*numbered(labels, 30))
    consumer.poll(100, 0.1, skip=[left_out])
    assert consumer.end(left_out) == 40


def test_a_poll_that_changes_the_assignment_returns_nothing(bus: Bus) -> None:
    topic = bus.topic("tx")
    bus.publish(*numbered(topic, 10))
    consumer = bus.consumer(topic)
    while not consumer.assignment():
        assert consumer.poll(10, 0.5) == []
    assert len(read(consumer, 10)) == 10


def test_partitions_that_are_skipped_wait_for_their_turn(bus: Bus) -> None:
    transactions, labels = bus.topic("tx"), bus.topic("labels")
    bus.publish(*numbered(transactions, 10), *numbered(labels, 10))
    consumer = bus.consumer(transactions, labels)
    own(consumer)
    skip = [TopicPartition(transactions, 0)]
    records: list[Record] = []
    eventually(lambda: bool(records.extend(consumer.poll(4, 0.2, skip))) or len(records) == 10)
    assert {record.topic for record in records} == {labels}
    assert consumer.poll(10, 0.2, skip) == []
    skip = [TopicPartition(labels, 0)]
    assert len(consumer.poll(3, 5, skip)) == 3
    assert consumer.poll(3, 0.2, [*skip, TopicPartition(transactions, 0)]) == []
    assert [record.offset for record in read(consumer, 7)] == list(range(3, 10))


def test_a_busy_input_does_not_starve_another(bus: Bus) -> None:
    consumer, transactions, labels = of_two_inputs(bus)
    bus.publish(*numbered(transactions, 5000), *numbered(labels, 10))
    seen: list[Record] = []
    while not any(record.topic == labels for record in seen) and len(seen) < 5000:
        seen += consumer.poll(100, 1)
        time.sleep(0.02)  # who reads also works on what it has read
    assert len(seen) < 5000


def test_plenty_of_another_input_does_not_hold_up_what_comes_meanwhile(bus: Bus) -> None:
    consumer, transactions, labels = of_two_inputs(bus)
    bus.publish(*numbered(labels, 5000))
    seen: list[Record] = []
    while not seen:
        seen += consumer.poll(1000, 1)
    bus.publish(*numbered(transactions, 1))
    while not any(record.topic == transactions for record in seen) and len(seen) < 5000:
        seen += consumer.poll(1000, 1)
        time.sleep(0.02)
    assert len(seen) < 5000


def test_after_a_pause_another_input_gives_a_quarter_more_at_most(bus: Bus) -> None:
    """Alerts wait for all that a poll returns, and labels are most of what has piled up."""
    consumer, transactions, labels = of_two_inputs(bus)
    bus.publish(*numbered(labels, 5000), *numbered(transactions, 300))
    polls: list[Counter[str]] = []
    while sum(each[labels] for each in polls) < 5000:
        polls.append(Counter(record.topic for record in consumer.poll(4000, 1)))
    assert sum(each[transactions] for each in polls) == 300
    for before, after in itertools.pairwise(polls):
        if given := before[transactions]:
            assert after[labels] <= max(200, given * 5 // 4)


@pytest.mark.parametrize("exactly_once", [True, False])
def test_outputs_and_positions_are_committed_together(bus: Bus, exactly_once: bool) -> None:
    source, alerts = bus.topic("tx"), bus.topic("alerts", 2)
    bus.publish(*numbered(source, 10))
    consumer = bus.consumer(source, exactly_once=exactly_once)
    read(consumer, 10)
    at, out = TopicPartition(source, 0), [TopicPartition(alerts, 0), TopicPartition(alerts, 1)]
    assert consumer.committed(at) is None
    ends = consumer.commit(
        [*numbered(alerts, 3, partition=0), *numbered(alerts, 2, partition=1)], {at: 7}
    )
    assert ends == {out[0]: 3, out[1]: 2}
    assert consumer.committed(at) == 7
    assert len(read(bus.reader(*out), 5)) == 5
    assert consumer.commit([], {at: 8}) == {}
    alone = consumer.commit([Message(alerts, None, b"alone", (), 0)], {})
    assert alone == {out[0]: 4 + consumer.mark}
    assert consumer.committed(at) == 8


def test_at_least_once_commits_the_positions_of_all_inputs(bus: Bus) -> None:
    inputs = [bus.topic("tx"), bus.topic("labels")]
    for name in inputs:
        bus.publish(*numbered(name, 5))
    first = bus.consumer(*inputs, exactly_once=False)
    read(first, 10)
    first.commit([], {TopicPartition(name, 0): 3 for name in inputs})
    first.close()
    second = bus.consumer(*inputs, exactly_once=False)
    assert sorted(record.offset for record in read(second, 4)) == [3, 3, 4, 4]


@pytest.mark.parametrize("exactly_once", [True, False])
def test_what_is_handed_over_ahead_is_part_of_the_next_commit(bus: Bus, exactly_once: bool) -> None:
    source, alerts = bus.topic("tx"), bus.topic("alerts")
    at, out = TopicPartition(source, 0), TopicPartition(alerts, 0)
    consumer = bus.consumer(source, exactly_once=exactly_once)
    own(consumer)
    for number in range(1, 4):
        consumer.send(numbered(alerts, 2))
        consumer.send([])
        ends = consumer.commit([Message(alerts, None, b"last")], {at: number})
        assert ends == {out: number * (3 + consumer.mark) - consumer.mark}
    assert consumer.committed(at) == 3
    assert values(read(bus.reader(out), 9)) == [b"value 0", b"value 1", b"last"] * 3


def test_what_is_handed_over_goes_with_a_commit_that_is_refused(bus: Bus) -> None:
    source, alerts = bus.topic("tx"), bus.topic("alerts")
    at, out = TopicPartition(source, 0), TopicPartition(alerts, 0)
    consumer = bus.consumer(source)
    own(consumer)
    consumer.send(numbered(alerts, 5))
    assert bus.reader().end(out) == 0
    with pytest.raises(BusError, match="missing"):
        consumer.commit([Message(f"{bus.prefix}-missing", None, b"x")], {at: 2})
    consumer.commit([Message(alerts, None, b"good")], {at: 3})
    assert values(read(bus.reader(out), 1)) == [b"good"]


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_what_was_sent_is_committed_before_a_poll_that_may_let_it_go(bus: Bus) -> None:
    source = bus.topic("tx", 2)
    once, one = bus.consumer(source, group="once"), bus.consumer(source, exactly_once=False)
    own(once)
    assert not once.has_sent()
    assert not one.has_sent()
    own(one)
    assert one.has_sent()
    two = bus.consumer(source, member="two", exactly_once=False)
    two.poll(1, 0.5)  # another asks for its share
    eventually(lambda: not one.has_sent())

    def settled() -> bool:
        own(one, two)
        return one.has_sent() and two.has_sent()

    eventually(settled)


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_at_least_once_positions_are_sent_now_and_then_and_in_time(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = TopicPartition(bus.topic("tx", 2), 0)
    consumer = bus.consumer(source.topic, exactly_once=False)
    group, sent = group_of(consumer), list[int]()
    own(consumer)
    arrives = group.commit_async

    def noted(offsets: Any) -> Any:
        sent.append(offsets[KafkaPartition(*source)].offset)
        return arrives(offsets)

    monkeypatch.setattr(group, "commit_async", noted)
    monkeypatch.setattr(offsets_module, "OFFSETS_SECONDS", 3600.0)
    for position in range(1, 6):
        consumer.commit([], {source: position})
        consumer.poll(1, 0.0)
    assert sent == [1]
    assert consumer.committed(source) == 5  # who asks does not get what is old
    consumer.commit([], {source: 6})
    consumer.settle()
    assert sent == [1, 5, 6]
    consumer.commit([], {source: 7})
    monkeypatch.setattr(offsets_module, "OFFSETS_SECONDS", 0.0)
    consumer.poll(1, 0.0)
    assert sent == [1, 5, 6, 7]
    monkeypatch.setattr(offsets_module, "OFFSETS_SECONDS", 3600.0)
    consumer.commit([], {source: 8})
    two = bus.consumer(source.topic, member="two", exactly_once=False)
    two.poll(1, 0.5)  # another asks for its share
    eventually(lambda: not consumer.has_sent())
    consumer.poll(1, 0.0)
    assert sent == [1, 5, 6, 7, 8]


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_positions_not_yet_sent_go_with_their_partition_and_with_who_leaves(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsets_module, "OFFSETS_SECONDS", 3600.0)
    inputs = [TopicPartition(bus.topic("tx", 2), at) for at in (0, 1)]
    one, two = (
        bus.consumer(inputs[0].topic, member=member, exactly_once=False) for member in ("1", "2")
    )
    own(one)
    one.commit([], dict.fromkeys(inputs, 1))  # the first is sent
    one.commit([], dict.fromkeys(inputs, 2))

    def shared() -> bool:
        own(one, two)
        apart = len(one.assignment()) == len(two.assignment()) == 1
        return apart and one.has_sent() and two.has_sent()

    eventually(shared)
    (gone,) = (at for at in inputs if at.partition in two.assignment())
    assert two.committed(gone) == 2
    two.commit([], {gone: 9})
    two.settle()
    (kept,) = set(inputs) - {gone}
    one.commit([], {kept: 3})
    one.close()
    assert (two.committed(kept), two.committed(gone)) == (3, 9)


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_the_thread_of_the_producer_is_woken_once_for_outputs_to_several_topics(bus: Bus) -> None:
    source, outputs = bus.topic("tx"), [bus.topic(name) for name in ("alerts", "training", "dead")]
    consumer = bus.consumer(source, exactly_once=False)
    assert isinstance(consumer, KafkaGroupConsumer)
    own(consumer)
    batch = [numbered(each, 1)[0] for each in outputs]
    consumer.commit(batch, {TopicPartition(source, 0): 1})  # the topics are known now
    producer, woken = consumer._producer, list[str]()
    assert producer is not None
    wake = producer._sender._client.wakeup

    def noted() -> None:
        woken.append(threading.current_thread().name)
        wake()

    producer._sender._client.wakeup = noted
    consumer.send(batch)
    assert woken == [threading.current_thread().name]
    for each in outputs:
        assert len(read(bus.reader(TopicPartition(each, 0)), 2)) == 2


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_a_poll_with_a_fetch_under_way_hands_no_work_to_the_thread_of_the_client(bus: Bus) -> None:
    source = bus.topic("tx")
    consumer = bus.consumer(source)
    own(consumer)
    group, handed = group_of(consumer), list[Any]()
    read(consumer, 0)
    consumer.poll(1, 0.3)
    group.config["fetch_max_wait_ms"] = group._fetcher.config["fetch_max_wait_ms"] = 5_000
    group.poll(100)  # the fetch after this waits for longer than the test
    net = group._fetcher._manager._net
    run = net.run

    def noted(coroutine: Any, *args: Any) -> Any:
        handed.append(coroutine)
        return run(coroutine, *args)

    net.run = noted
    try:
        for _ in range(5):
            group.poll(0)
    finally:
        del net.run
    # Whether something has come is asked for. That the coordinator is known and a fetch under way,
    # is not.
    assert [each.__name__ for each in handed] == ["wait_for"] * 5


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_at_least_once_others_see_at_once_what_is_handed_over(bus: Bus) -> None:
    source, alerts = bus.topic("tx"), bus.topic("alerts")
    consumer = bus.consumer(source, exactly_once=False)
    own(consumer)
    consumer.commit([], {TopicPartition(source, 0): 1})
    consumer.send(numbered(alerts, 2))
    assert len(read(bus.reader(TopicPartition(alerts, 0)), 2)) == 2


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_positions_that_did_not_come_through_are_committed_once_more_and_never_go_back(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [bus.topic("tx"), bus.topic("labels")]
    first, second = (TopicPartition(name, 0) for name in inputs)
    consumer = bus.consumer(*inputs, exactly_once=False)
    group = group_of(consumer)
    monkeypatch.setattr(offsets_module, "OFFSETS_SECONDS", 0.0)
    arrives, failing = group.commit_async, [2, 3]

    def sometimes(offsets: Any) -> Any:
        if offsets[KafkaPartition(*first)].offset in failing:
            return KafkaFuture().failure(KafkaTimeoutError("lost"))
        return arrives(offsets)

    monkeypatch.setattr(group, "commit_async", sometimes)
    consumer.commit([], {first: 1, second: 1})
    consumer.commit([], {first: 2, second: 7})
    consumer.commit([], {first: 3})
    assert consumer.committed(first) in {1, 2}  # it waits for what is on its way
    consumer.commit([], {first: 4})
    assert (consumer.committed(first), consumer.committed(second)) == (4, 7)
    consumer.commit([], {first: 5})
    assert (consumer.committed(first), consumer.committed(second)) == (5, 7)


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_positions_that_are_waited_for_are_not_followed_by_older_ones(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the coordinator is looked for, a commit waits; those before it may still be open."""
    inputs = [bus.topic("tx"), bus.topic("labels")]
    first, second = (TopicPartition(name, 0) for name in inputs)
    consumer = bus.consumer(*inputs, exactly_once=False)
    group, lost = group_of(consumer), KafkaFuture()
    with monkeypatch.context() as patched:
        patched.setattr(group, "commit_async", lambda _: lost)
        consumer.commit([], {first: 10, second: 5})
    monkeypatch.setattr(offsets_module, "OFFSETS_SECONDS", 3600.0)
    consumer.commit([], {first: 20})
    lost.failure(KafkaTimeoutError("lost"))
    unknown, once = group._coordinator.coordinator_unknown, iter([True])
    monkeypatch.setattr(
        group._coordinator, "coordinator_unknown", lambda: next(once, False) or unknown()
    )
    consumer.settle()
    assert next(once, None) is None
    assert (consumer.committed(first), consumer.committed(second)) == (20, 5)


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_who_leaves_commits_the_positions_that_did_not_come_through(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = TopicPartition(bus.topic("tx"), 0)
    consumer = bus.consumer(source.topic, exactly_once=False)
    group = group_of(consumer)
    lost = KafkaFuture().failure(KafkaTimeoutError("lost"))
    monkeypatch.setattr(group, "commit_async", lambda _: lost)
    consumer.commit([], {source: 3})
    consumer.close()
    successor = bus.consumer(source.topic, member="two", exactly_once=False)
    assert successor.committed(source) == 3


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
@pytest.mark.parametrize("exactly_once", [True, False])
def test_what_is_handed_over_goes_with_a_commit_that_is_lost(bus: Bus, exactly_once: bool) -> None:
    source, alerts = bus.topic("tx"), bus.topic("alerts")
    at, out = TopicPartition(source, 0), TopicPartition(alerts, 0)
    consumer = bus.consumer(source, exactly_once=exactly_once)
    own(consumer)
    consumer.send(numbered(alerts, 1))
    with pytest.raises(CommitLost):
        consumer.commit([], {TopicPartition(source, 1): 1})
    own(consumer)
    before = bus.reader().end(out)
    consumer.commit([Message(alerts, None, b"good")], {at: 3})
    assert values(read(bus.reader(out), before + 1))[before:] == [b"good"]


def test_a_commit_that_is_refused_leaves_no_trace(bus: Bus) -> None:
    source, alerts = bus.topic("tx"), bus.topic("alerts")
    at, out = TopicPartition(source, 0), TopicPartition(alerts, 0)
    consumer = bus.consumer(source)
    own(consumer)
    consumer.commit(numbered(alerts, 1), {at: 1})
    bad = Message(f"{bus.prefix}-missing", None, b"x")
    with pytest.raises(BusError, match="missing"):
        consumer.commit([*numbered(alerts, 5), bad], {at: 2})
    assert consumer.committed(at) == 1
    assert consumer.assignment() == {0}
    consumer.commit([Message(alerts, None, b"good")], {at: 3})
    assert values(read(bus.reader(out), 2)) == [b"value 0", b"good"]


def test_a_new_consumer_goes_on_from_the_committed_positions(bus: Bus) -> None:
    transactions, labels = bus.topic("tx"), bus.topic("labels")
    bus.publish(*numbered(transactions, 10), *numbered(labels, 10))
    former = bus.consumer(transactions, labels)
    read(former, 20)
    former.commit([], {TopicPartition(transactions, 0): 6, TopicPartition(labels, 0): 9})
    former.close()
    records = read(bus.consumer(transactions, labels, member="two"), 5)
    assert [r.offset for r in records if r.topic == transactions] == [6, 7, 8, 9]
    assert [r.offset for r in records if r.topic == labels] == [9]


def test_groups_do_not_know_of_each_other(bus: Bus) -> None:
    topic = bus.topic("tx")
    bus.publish(*numbered(topic, 10))
    first = bus.consumer(topic, group="a")
    read(first, 10)
    first.commit([], {TopicPartition(topic, 0): 10})
    assert len(read(bus.consumer(topic, group="b"), 10)) == 10


def test_seeking_drops_what_was_fetched(bus: Bus) -> None:
    transactions, labels = bus.topic("tx"), bus.topic("labels")
    bus.publish(*numbered(transactions, 20), *numbered(labels, 20))
    consumer = bus.consumer(transactions, labels)
    own(consumer)
    read(consumer, 4, at_once=2)
    for topic, position in ((transactions, 15), (labels, 12)):
        consumer.seek(TopicPartition(topic, 0), position)
    records = read(consumer, 13)
    assert [r.offset for r in records if r.topic == transactions] == list(range(15, 20))
    assert [r.offset for r in records if r.topic == labels] == list(range(12, 20))
    consumer.seek(TopicPartition(transactions, 0), 3)
    assert [record.offset for record in read(consumer, 17)] == list(range(3, 20))
    with pytest.raises(BusError, match="not owned"):
        consumer.seek(TopicPartition(transactions, 9), 0)


def test_readers_move_past_the_gaps_that_transactions_leave(bus: Bus) -> None:
    source, log = bus.topic("tx"), bus.topic("training")
    at, out = TopicPartition(source, 0), TopicPartition(log, 0)
    consumer = bus.consumer(source)
    own(consumer)
    ends = [consumer.commit(numbered(log, 2), {at: i})[out] for i in range(1, 6)]
    assert [b - a for a, b in itertools.pairwise(ends)] == [2 + consumer.mark] * 4
    reader = bus.reader(out)
    assert not reader.at_end(out)
    records = read(reader, 10)
    eventually(lambda: not reader.poll(10, 0) and reader.at_end(out))
    assert reader.position(out) == reader.end(out) >= ends[-1] == records[-1].offset + 1
    assert [record.offset + 1 for record in records[1::2]] == ends
    reader.assign({out: ends[2]})
    assert len(read(reader, 4)) == 4


def test_a_second_consumer_of_the_same_member_fences_the_first(bus: Bus) -> None:
    source, alerts = bus.topic("tx", 2), bus.topic("alerts")
    at = TopicPartition(source, 0)
    first = bus.consumer(source)
    own(first)
    first.commit([Message(alerts, None, b"first")], {at: 1})
    second = bus.consumer(source)
    for _ in range(2):
        with pytest.raises(CommitLost):
            first.commit([Message(alerts, None, b"lost")], {at: 5})
        assert first.assignment() == frozenset()
    own(second)
    assert second.assignment() == {0, 1}
    assert second.committed(at) == 1
    with pytest.raises(CommitLost):
        first.commit([Message(alerts, None, b"lost")], {at: 5})
    with pytest.raises(BusError, match="name of its own"):
        first.poll(1, 0.1)
    first.close()
    second.commit([Message(alerts, None, b"second")], {at: 2})
    assert second.assignment() == {0, 1}
    assert values(read(bus.reader(TopicPartition(alerts, 0)), 2)) == [b"first", b"second"]


def test_the_partitions_go_to_another_member_when_one_leaves(bus: Bus) -> None:
    source = bus.topic("tx", 2)
    bus.publish(*numbered(source, 10, partition=0))
    first = bus.consumer(source)
    read(first, 10)
    second = bus.consumer(source, member="two")
    first.commit([], {TopicPartition(source, 0): 4})
    first.close()
    started = time.monotonic()
    eventually(lambda: second.poll(1, 0.1) == [] and second.assignment() == {0, 1})
    assert time.monotonic() - started < 8  # at once, not after a time-out
    assert [record.offset for record in read(second, 6)] == list(range(4, 10))


def test_closing_twice_does_no_harm(bus: Bus) -> None:
    topic = bus.topic("a")
    for opened in (bus.publisher(), bus.reader(TopicPartition(topic, 0)), bus.consumer(topic)):
        opened.close()
        opened.close()


# The address


def test_an_unknown_scheme_is_refused() -> None:
    for url in ("amqp://host", "kafka://", "sqlite://bus.db", "bus.db"):
        with pytest.raises(BusError, match="sqlite:///FILE"):
            connect(url)


@pytest.mark.parametrize("scheme", ["sqlite", "kafka"])
def test_a_bus_that_is_not_there_is_unavailable_within_seconds(scheme: str, tmp_path: Path) -> None:
    kafka = f"kafka://127.0.0.1:{free_port()}"
    broker = connect(kafka if scheme == "kafka" else f"sqlite:///{tmp_path / 'none' / 'bus.db'}")
    started = time.monotonic()
    for ask in (
        broker.topics,
        broker.publisher,
        broker.reader,
        lambda: broker.consumer(group="g", member="m", inputs=["a"]),
    ):
        with pytest.raises(BusUnavailable, match=r"Start it|topics create"):
            ask()
    assert time.monotonic() - started < 15


def test_a_server_that_is_no_kafka_is_unavailable_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.io.cluster.CONNECT_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        broker = connect(f"kafka://127.0.0.1:{mute.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(BusUnavailable):
            broker.topics()
        assert time.monotonic() - started < 15


# Kafka alone


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_two_members_share_the_partitions_and_one_gets_all_when_the_other_leaves(bus: Bus) -> None:
    transactions, labels, alerts = bus.topic("tx", 4), bus.topic("labels", 4), bus.topic("alerts")
    first = bus.consumer(transactions, labels)
    own(first)
    second = bus.consumer(transactions, labels, member="two")
    members = (first, second)

    def shared() -> bool:
        assert first.poll(1, 0.1) == second.poll(1, 0.1) == []
        return all(len(member.assignment()) == 2 for member in members)

    eventually(shared)
    assert first.assignment() | second.assignment() == {0, 1, 2, 3}
    bus.publish(*numbered(transactions, 80), *numbered(labels, 80))
    seen: list[Record] = []
    while len(seen) < 160:
        for member in members:
            records = member.poll(50, 0.2)
            assert {record.partition for record in records} <= member.assignment()
            positions = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
            member.commit([Message(alerts, None, b"x") for _ in records], positions)
            seen += records
    assert len({(r.topic, r.partition, r.offset) for r in seen}) == 160
    second.close()
    eventually(lambda: first.poll(1, 0.1) == [] and first.assignment() == {0, 1, 2, 3})
    bus.publish(*numbered(transactions, 80), *numbered(labels, 80))
    assert len(read(first, 160)) == 160
    assert len(read(bus.reader(TopicPartition(alerts, 0)), 160)) == 160


@pytest.mark.kafka
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_killing_the_broker_in_the_middle_of_commits_neither_loses_nor_repeats(
    kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stream.io.kafka_consumer.COMMIT_SECONDS", 2.0)
    # kafka-python leaves the sockets of refused connections to the garbage collector. What pytest
    # keeps of its log would hold them until a test in which that is an error.
    caplog.set_level(logging.CRITICAL, "kafka")
    server = LocalKafka().start()  # not the one that all share
    try:
        keys = keys_committed_while_the_broker_is_killed(server)
    finally:
        server.stop()
        gc.collect()
    assert keys == [b"%d" % i for i in range(len(keys))]


def keys_committed_while_the_broker_is_killed(server: LocalKafka) -> list[bytes | None]:
    """Keys in the outputs; at position n, the key n is committed. Ends 20 after the kill."""
    bus = Bus(connect(f"kafka://{server.bootstrap}"), "own")
    killer = threading.Timer(1.0, server.kill)
    try:
        source, alerts = TopicPartition(bus.topic("tx"), 0), TopicPartition(bus.topic("alerts"), 0)
        consumer = bus.consumer(source.topic)
        own(consumer)
        killer.start()
        position, goal = 0, 1_000_000
        while position < goal:
            try:
                output = Message(alerts.topic, b"%d" % position, b"x")
                consumer.commit([output], {source: position + 1})
                position += 1
            except CommitLost:
                killer.join()
                server.start()
                own(consumer)
                position = consumer.committed(source) or 0
                goal = position + 20
        return [record.key for record in read(bus.reader(alerts), goal)]
    finally:
        killer.cancel()
        bus.close()


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_a_producer_that_is_faster_than_the_broker_waits_for_it(
    bus: Bus, kafka: LocalKafka
) -> None:
    topic = bus.topic("a", max_message_bytes=2_000_000)
    publisher, blob = bus.publisher(), os.urandom(1_000_000)
    publisher.publish([Message(topic, None, b"first")])
    publisher.flush()
    published: list[int] = []

    def publish() -> None:
        for i in range(100):
            publisher.publish([Message(topic, None, blob)])
            published.append(i)

    with ThreadPoolExecutor(1) as thread:
        with kafka.frozen():
            done = thread.submit(publish)
            before = -1
            while not len(published) == before > 0:  # until no more is taken
                before = len(published)
                time.sleep(1.0)
            assert not done.done()
            assert before * len(blob) <= UNACKNOWLEDGED_BYTES
        done.result()
    publisher.flush()
    assert bus.reader().end(TopicPartition(topic, 0)) == 101


@pytest.mark.kafka
@pytest.mark.parametrize("url", ["kafka"], indirect=True)
def test_a_member_whose_partitions_moved_cannot_commit_for_them(bus: Bus) -> None:
    source, alerts = bus.topic("tx", 2), bus.topic("alerts")
    first = bus.consumer(source)
    own(first)
    second = bus.consumer(source, member="two")
    eventually(
        lambda: first.poll(1, 0.1) == second.poll(1, 0.1) == [] and len(second.assignment()) == 1
    )
    (moved,) = second.assignment()
    with pytest.raises(CommitLost):
        first.commit([Message(alerts, None, b"lost")], {TopicPartition(source, moved): 9})
    own(first, second)  # it is still a member and gets its share again
    (mine,) = first.assignment()
    first.commit([Message(alerts, None, b"kept")], {TopicPartition(source, mine): 1})
    assert second.committed(TopicPartition(source, moved)) is None
    assert values(read(bus.reader(TopicPartition(alerts, 0)), 1)) == [b"kept"]


# The embedded bus alone


@pytest.mark.parametrize("url", ["embedded"], indirect=True)
def test_a_second_member_stands_by_on_the_embedded_bus(bus: Bus) -> None:
    topic = bus.topic("tx", 2)
    first, second = bus.consumer(topic), bus.consumer(topic, member="two")
    own(first)
    assert second.poll(10, 0.3) == []
    assert second.assignment() == frozenset()
    with pytest.raises(CommitLost):
        second.commit([], {TopicPartition(topic, 0): 1})
    first.commit([], {TopicPartition(topic, 0): 1})


@pytest.mark.parametrize("url", ["embedded"], indirect=True)
def test_one_call_of_publish_is_seen_whole_or_not_at_all(bus: Bus) -> None:
    topic = bus.topic("a", 2)
    with pytest.raises(BusError):
        bus.publish(*numbered(topic, 10), Message(topic, None, b"x" * 2_000_000))
    reader = bus.reader(TopicPartition(topic, 0), TopicPartition(topic, 1))
    assert reader.poll(100, 0.05) == []


_COMMITS = """
import sys
from stream.io import embedded_consumer
from stream.io.bus import Message, TopicPartition, connect
url, source, alerts, lease_seconds = sys.argv[1:]
embedded_consumer.LEASE_SECONDS = float(lease_seconds)
consumer = connect(url).consumer(group="g", member="m", inputs=[source])
while not consumer.assignment():
    consumer.poll(1, 0.1)
position = consumer.committed(TopicPartition(source, 0)) or 0
while True:
    position += 1
    outputs = [Message(alerts, b"%d" % position, b"x" * 3000) for _ in range(20)]
    consumer.commit(outputs, {TopicPartition(source, 0): position})
    print(position, flush=True)
"""


@pytest.mark.parametrize("url", ["embedded"], indirect=True)
def test_killing_a_process_in_the_middle_of_commits_leaves_whole_commits(
    bus: Bus, url: str
) -> None:
    source, alerts = bus.topic("tx"), bus.topic("alerts")
    for round_ in range(1, 4):
        command = [sys.executable, "-c", _COMMITS, url, source, alerts, "10"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            for _ in range(10 * round_):
                assert worker.stdout.readline()
            worker.send_signal(signal.SIGKILL)
            last = [int(line) for line in worker.stdout.read().split()] or [0]
    # The lease of the killed one has not expired: only the same member may come at once.
    consumer = bus.broker.consumer(group="g", member="m", inputs=[source])
    own(consumer)
    position = consumer.committed(TopicPartition(source, 0))
    consumer.close()
    assert position is not None
    assert position >= last[-1]
    records = read(bus.reader(TopicPartition(alerts, 0)), 20 * position)
    assert [record.key for record in records[::20]] == [b"%d" % (i + 1) for i in range(position)]
    with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()


@pytest.mark.parametrize("url", ["embedded"], indirect=True)
def test_a_member_that_was_killed_is_replaced_when_its_lease_ends(
    bus: Bus, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.io.embedded_consumer.LEASE_SECONDS", 1.0)
    source, alerts = bus.topic("tx"), bus.topic("alerts")
    command = [sys.executable, "-c", _COMMITS, url, source, alerts, "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        standby = bus.broker.consumer(group="g", member="standby", inputs=[source])
        assert standby.poll(1, 1.5) == []
        assert not standby.assignment()  # the lease is renewed for as long as its owner lives
        worker.kill()
        own(standby)
    assert standby.assignment() == {0}
    standby.close()


@pytest.mark.parametrize("url", ["embedded"], indirect=True)
def test_files_that_are_no_bus_are_refused_with_what_to_do(bus: Bus, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no database " * 1000)
    with pytest.raises(BusError, match=r"no bus\. Move it away"):
        connect(f"sqlite:///{text}").topics()
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(BusUnavailable, match="topics create"):
        connect(f"sqlite:///{empty}").reader()
    folder = tmp_path / "file" / "bus.db"
    (tmp_path / "file").touch()
    with pytest.raises(BusError, match="cannot be made"):
        connect(f"sqlite:///{folder}").create_topics([TopicSpec("a", 1)])


@pytest.mark.parametrize("url", ["embedded"], indirect=True)
def test_a_file_that_another_process_keeps_locked_is_unavailable(
    bus: Bus, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = bus.topic("a")
    publisher = bus.publisher()
    monkeypatch.setattr("stream.io.logfile.LOCK_SECONDS", 0.3)
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusUnavailable, match="locked"):
            publisher.publish(numbered(topic, 1))
        other.execute("ROLLBACK")
        publisher.publish(numbered(topic, 1))
    finally:
        other.close()
    assert len(read(bus.reader(TopicPartition(topic, 0)), 1)) == 1
