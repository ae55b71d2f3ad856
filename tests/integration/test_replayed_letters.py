"""Dead letters put back where they came from, on the embedded bus and on real Kafka: each once."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from threading import Event, Thread

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition

from stream.__main__ import topic_specs
from stream.io.bus import BusError, Message, TooManyRejects, connect
from stream.io.dead_letters import REPLAYED_FROM, Tally, Wanted, is_note, letter, replay
from stream.settings import Settings
from tests.servers.kafka import LocalKafka
from tests.servers.worker import worked_through
from tests.streams import everything, labels, rows, settings, topics

ROWS = rows(200)


@pytest.fixture
def chosen(url: str, unique: str) -> Settings:
    """Settings with topics of their own on either bus, and the topics made."""
    return made(url, unique)


def made(url: str, unique: str) -> Settings:
    found = settings(bus=url, group=unique, partitions=2, **topics(unique))
    connect(url).create_topics(topic_specs(found))
    return found


def publish(of: Settings, *messages: Message) -> None:
    with closing(connect(of.bus).publisher()) as publisher:
        publisher.publish(messages)


def run(of: Settings) -> Counter[str]:
    """Run a worker over all there is; return its counts."""
    return Counter(worked_through(of).reporting.counts)


def replayed(
    of: Settings, wanted: Wanted | None = None, *, dry_run: bool = False, stop: Event | None = None
) -> Tally:
    return replay(
        connect(of.bus),
        of.dead_letters_topic,
        (of.transactions_topic, of.labels_topic),
        wanted or Wanted(),
        group=f"{of.group}-dead-letters",
        dry_run=dry_run,
        stop=stop or Event(),
    )


def put_back(of: Settings) -> Counter[tuple[str, bytes | None, bytes | None, int]]:
    """What replays have put on the input topics: topic, key, value, position of the letter."""
    return Counter(
        (r.topic, r.key, r.value, int(dict(r.headers)[REPLAYED_FROM]))
        for topic in (of.transactions_topic, of.labels_topic)
        for r in everything(connect(of.bus), topic)
        if REPLAYED_FROM in dict(r.headers)
    )


def test_letters_go_back_as_they_came_once_each_and_are_decided_once(chosen: Settings) -> None:
    strict = chosen.model_copy(update={"max_record_bytes": 400})
    good = [row.transaction.model_dump_json(exclude_none=True).encode() for row in ROWS]
    padded = [value + b" " * 400 for value in good[100:]]  # too large for now
    keys = [row.transaction.nameDest.encode() for row in ROWS]
    late = [label.model_dump_json().encode() + b" " * 400 for label in labels(ROWS[:10])]
    transactions, their_labels = chosen.transactions_topic, chosen.labels_topic
    publish(
        chosen,
        *(Message(transactions, k, v) for k, v in zip(keys, good[:100] + padded, strict=True)),
        *(Message(their_labels, k, v) for k, v in zip(keys[:10], late, strict=True)),
        *(Message(transactions, None, b"{" * n) for n in range(1, 6)),
        Message(transactions, keys[0], good[0][:-1]),
    )
    assert run(strict)["decisions"] == 100
    letters = everything(connect(chosen.bus), chosen.dead_letters_topic)
    assert len(letters) == 116

    dry = replayed(chosen, dry_run=True)
    assert dry.replayed == {transactions: 106, their_labels: 10}
    assert not put_back(chosen)

    assert replayed(chosen, Wanted(topic=their_labels)).replayed == {their_labels: 10}
    again = replayed(chosen, Wanted(topic=their_labels))
    assert (again.replayed, again.before) == ({}, 10)
    rest = replayed(chosen, Wanted(reason="too large"))
    assert (rest.replayed, rest.before) == ({transactions: 100}, 10)
    last = replayed(chosen)
    assert (last.replayed, last.before) == ({transactions: 6}, 110)
    assert replayed(chosen).replayed == {}

    origins = {
        (one.topic, record.key, record.value, one.position): one.partition
        for record in letters
        for one in [letter(record)]
    }
    assert put_back(chosen) == Counter(dict.fromkeys(origins, 1))
    for topic in (transactions, their_labels):
        for record in everything(connect(chosen.bus), topic):
            position = dict(record.headers).get(REPLAYED_FROM)
            if position is not None:
                at = (topic, record.key, record.value, int(position))
                assert record.partition == origins[at]

    # The cause is mended: what was too large is decided, what is no JSON is a new letter.
    counts = run(chosen)
    assert (counts["decisions"], counts["labels"], counts["dead_letters"]) == (100, 10, 6)
    new = [
        letter(record)
        for record in everything(connect(chosen.bus), chosen.dead_letters_topic)
        if not is_note(record) and letter(record).position > letters[-1].offset
    ]
    assert {one.replayed_from for one in new} == {
        letter(record).position for record in letters if b"too large" not in record.headers[0][1]
    }
    assert replayed(chosen, Wanted(last=letters[-1].offset)).replayed == {}


def forged(of: Settings, count: int) -> None:
    """Letters without a worker."""
    publish(
        of,
        *(
            Message(
                of.dead_letters_topic,
                b"k%d" % n,
                b"v%d" % n,
                (
                    ("reason", b"not JSON"),
                    ("topic", of.transactions_topic.encode()),
                    ("partition", b"%d" % (n % 2)),
                    ("offset", b"%d" % n),
                ),
            )
            for n in range(count)
        ),
    )


class Stopping(Event):
    """Is set at its look number `looks`; before that look it may wait for `until`."""

    def __init__(self, looks: int, until: Event | None = None) -> None:
        super().__init__()
        self.looks = looks
        self.until = until
        self.reached = Event()

    def is_set(self) -> bool:
        self.looks -= 1
        if self.looks == 0:
            self.reached.set()
            if self.until is None:
                self.set()
            else:
                self.until.wait(60)
        return super().is_set()


def test_a_replay_that_was_stopped_or_fenced_is_gone_on_with_and_nothing_goes_out_twice(
    chosen: Settings,
) -> None:
    forged(chosen, 1_700)
    stopped = None
    for looks in range(4, 60):
        stopped = replayed(chosen, stop=Stopping(looks))
        if stopped.replayed:
            break
    assert stopped is not None
    count = stopped.replayed[chosen.transactions_topic]
    assert 0 < count < 1_700
    assert stopped.stopped_at is not None

    released, failures = Event(), []
    held = Stopping(looks + 1, until=released)

    def hold() -> None:
        try:
            replayed(chosen, stop=held)
        except BusError as error:
            failures.append(str(error))

    former = Thread(target=hold)
    former.start()
    assert held.reached.wait(60)  # somewhere between marking and the end
    rest = replayed(chosen)
    released.set()
    former.join(60)
    assert not former.is_alive()
    assert len(failures) == 1
    assert "nothing goes out twice" in failures[0]
    assert rest.stopped_at is None
    found = put_back(chosen)
    assert len(found) == 1_700
    assert set(found.values()) == {1}
    assert replayed(chosen).before == 1_700


@pytest.mark.kafka
def test_a_note_that_a_workers_open_transaction_hides_is_waited_for(
    kafka: LocalKafka, unique: str
) -> None:
    chosen = made(f"kafka://{kafka.bootstrap}", unique)
    topic, group = chosen.dead_letters_topic, f"{chosen.group}-dead-letters"
    forged(chosen, 10)
    worker = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{unique}/worker")
    worker.init_transactions()
    worker.begin_transaction()
    worker.send(topic, b"hides what is behind it").get(30)
    with closing(connect(chosen.bus).consumer(group=group, member="replay", inputs=[topic])) as one:
        while not one.assignment():
            one.poll(1, 0.2)
        header = (("note", b"replayed"),)
        one.commit([Message(topic, None, b'{"replayed": [[0, 9]]}', header)], {})
    tallies: list[Tally] = []
    second = Thread(target=lambda: tallies.append(replayed(chosen)))
    uncommitted, place = KafkaConsumer(bootstrap_servers=kafka.bootstrap), KafkaPartition(topic, 0)
    before = uncommitted.end_offsets([place])[place]
    second.start()
    while second.is_alive() and uncommitted.end_offsets([place])[place] < before + 2:
        time.sleep(0.05)  # until its own first note, and the marker behind it, are there
    time.sleep(0.5)
    uncommitted.close()
    worker.commit_transaction()
    worker.close()
    second.join(60)
    assert [(tally.replayed, tally.before) for tally in tallies] == [({}, 10)]


def test_a_worker_started_into_a_poisoned_topic_stops_early_each_time_and_comes_through(
    chosen: Settings,
) -> None:
    chosen = chosen.model_copy(update={"max_batch": 500})
    publish(chosen, *(Message(chosen.transactions_topic, b"k", b"?") for _ in range(2_300)))
    good = [row.transaction.model_dump_json(exclude_none=True).encode() for row in rows(1_000)]
    drained = 0
    for _ in range(2):
        with pytest.raises(TooManyRejects, match="100% of the last 1000 messages cannot be read"):
            run(chosen)
        letters = len(everything(connect(chosen.bus), chosen.dead_letters_topic))
        assert letters - drained == 1_000
        drained = letters
    publish(chosen, *(Message(chosen.transactions_topic, b"k", value) for value in good))
    counts = run(chosen)  # the producer is mended, and no setting raised
    assert (counts["decisions"], counts["dead_letters"]) == (1_000, 300)
    publish(chosen, *(Message(chosen.labels_topic, b"k", b"?") for _ in range(1_500)))
    assert run(chosen.model_copy(update={"reject_share": 1.0}))["dead_letters"] == 1_500
