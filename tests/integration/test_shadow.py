"""A challenger over what was decided: `weir replay`, on the embedded bus and on real Kafka."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Timer

import pytest
from redis import Redis

from producers.rows import Row
from stream.__main__ import topic_specs
from stream.core.comparison import Comparison
from stream.events import ChallengerReport, Decided, utc
from stream.io.bus import Message, TopicPartition, connect
from stream.io.local_redis import LocalRedisServer
from stream.io.store import Keys, StoreReader
from stream.io.worker import Worker
from stream.settings import Settings
from stream.shadow import ReplayError
from stream.shadow.beginning import Beginnings
from stream.shadow.challenger import Challenger, new_detector
from stream.shadow.command import run_replay
from stream.shadow.course import Course
from stream.shadow.past import Past
from stream.shadow.request import request_of
from tests.servers.worker import Memory
from tests.streams import everything, labels, rows, settings, topics

DELAY = timedelta(hours=3)
ROWS = rows(4_000, clients=800)
"""With accounts that come again: their history matters."""


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with LocalRedisServer() as server:
        yield server.url


@pytest.fixture
def chosen(url: str, unique: str, redis: str) -> Settings:
    """Settings with topics of their own on either bus, and the topics made."""
    made = settings(bus=url, group=unique, redis=redis, redis_prefix=unique, **topics(unique))
    connect(url).create_topics(topic_specs(made))
    return made


def publish(of: Settings, table: Sequence[Row]) -> None:
    """Transactions and labels in event-time order, as the producers publish them."""
    events = [(r.time_seconds, 1, r.transaction.nameDest, r.transaction) for r in table]
    keys = {r.transaction.transaction_id: r.transaction.nameDest for r in table}
    events += [
        (x.labelled_at.timestamp(), 0, keys[x.transaction_id], x)  # type: ignore[misc]
        for x in labels(table, DELAY)
    ]
    publisher = connect(of.bus).publisher()
    for _, is_transaction, key, event in sorted(events, key=lambda e: e[:3]):
        topic = of.transactions_topic if is_transaction else of.labels_topic
        value = event.model_dump_json(exclude_none=True).encode()
        publisher.publish([Message(topic, key.encode(), value)])
    publisher.close()


def work(of: Settings) -> Worker:
    """Run a worker over all there is, and close it."""
    until_end = Event()
    until_end.set()
    worker = Worker(of, connect(of.bus), Memory(), member="one")
    try:
        worker.run(Event(), until_end)
    finally:
        worker.close()
    return worker


def replayed(
    of: Settings,
    challenger: Settings | None = None,
    *,
    since: datetime | timedelta | None = None,
    warm: timedelta = timedelta(days=365),
    stop: Event | None = None,
    **flags: object,
) -> ChallengerReport:
    """What `weir replay` comes to."""
    given = {
        "since": since, "warm": warm, "unlearned": False, "follow": False, "name": None,
        "json": None, "false_alarm_cost": None, **flags,
    }  # fmt: skip
    request = request_of(challenger or of, of, argparse.Namespace(**given))
    return run_replay(request, stop or Event())


def ends(of: Settings) -> dict[TopicPartition, int]:
    """Where all topics end, and what groups have committed does not show there."""
    with closing(connect(of.bus).reader()) as reader:
        return {
            source: reader.end(source)
            for spec in topic_specs(of)
            for source in (TopicPartition(spec.name, p) for p in range(spec.partitions))
        }


def scored(of: Settings) -> dict[str, tuple[float, float]]:
    """Score and threshold in force of each transaction, from the decisions topic."""
    found = {}
    for record in everything(connect(of.bus), of.decisions_topic):
        told = Decided.model_validate_json(record.value or b"")
        found |= dict(
            zip(told.transaction_ids, zip(told.scores, told.thresholds, strict=True), strict=True)
        )
    return found


class Noted(Comparison):
    """Keeps what the challenger decided."""

    def __init__(self) -> None:
        super().__init__(-math.inf, 1_000_000)
        self.scores: dict[str, tuple[float, float]] = {}

    def decided(self, partition, decisions, scores, thresholds) -> None:  # type: ignore[no-untyped-def]
        super().decided(partition, decisions, scores, thresholds)
        ids = [tx.transaction_id for tx in decisions.transactions]
        pairs = zip(decisions.scores.tolist(), decisions.thresholds.tolist(), strict=True)
        self.scores |= dict(zip(ids, pairs, strict=True))


def run_beside(of: Settings, since: datetime | None, *, unlearned: bool) -> Noted:
    """Replay with the settings in force, and keep every score."""
    broker = connect(of.bus)
    with closing(broker.reader()) as looks, closing(broker.reader()) as reader:
        begin = Beginnings(of, looks, of.partitions).find(since, timedelta())
        detector = new_detector(of, of.partitions)
        noted, stop = Noted(), Event()
        log = broker.reader()
        past = None if unlearned else Past(of, log, detector, begin.from_seconds, stop=stop)
        challenger = Challenger(detector, noted, past)
        for step in Course(of, reader, begin, of.partitions, stop).steps():
            challenger.step(step)
        log.close()
    return noted


@pytest.mark.parametrize("learner", ["linear", "auto"])
def test_the_settings_in_force_from_the_beginning_give_every_score_and_threshold_again(
    chosen: Settings, learner: str
) -> None:
    """Bit for bit: the same code, batches, labels and order of examples."""
    chosen = chosen.model_copy(update={"learner": learner})
    publish(chosen, ROWS)
    work(chosen)
    assert run_beside(chosen, None, unlearned=True).scores == scored(chosen)
    report = replayed(chosen)
    assert report.name == "as-in-force"
    assert report.challenger == report.in_force
    assert report.in_force["transactions"] == report.in_force["labelled"] == len(ROWS)
    assert report.apart["frauds_by_chance"] == 1.0


def test_several_partitions_in_several_runs_of_the_worker_come_to_the_same(
    url: str, unique: str, redis: str
) -> None:
    chosen = settings(
        bus=url, group=unique, redis=redis, redis_prefix=unique, **topics(unique)
    ).model_copy(update={"partitions": 3})
    connect(url).create_topics(topic_specs(chosen))
    for begin in (0, 2_000):
        publish(chosen, ROWS[begin : begin + 2_000])
        work(chosen)
    found, noted = scored(chosen), run_beside(chosen, None, unlearned=True)
    assert noted.scores.keys() == found.keys()
    assert len(found) == len(ROWS)
    assert noted.in_force.measures() == pytest.approx(noted.challenger.measures(), rel=0.02)


def test_a_replay_writes_to_no_topic_joins_no_group_and_leaves_the_keys_of_others_alone(
    chosen: Settings, redis: str, unique: str
) -> None:
    publish(chosen, ROWS)
    work(chosen)
    client = Redis.from_url(redis, decode_responses=True)
    client.set(f"{unique}:windows", "untouched")
    before = ends(chosen)
    inputs = [chosen.transactions_topic, chosen.labels_topic]
    consumer = connect(chosen.bus).consumer(group=chosen.group, member="other", inputs=inputs)
    while consumer.assignment() != {0}:
        consumer.poll(1, 0.1)
    committed = [consumer.committed(TopicPartition(topic, 0)) for topic in inputs]
    replayed(chosen, chosen.model_copy(update={"threshold": "f_beta:2"}), name="beta-2")
    assert ends(chosen) == before
    consumer.poll(1, 0.1)
    assert consumer.assignment() == {0}
    assert [consumer.committed(TopicPartition(topic, 0)) for topic in inputs] == committed
    consumer.close()
    own = Keys(unique).challenger("beta-2")
    keys = set(client.scan_iter(f"{unique}*"))
    assert client.get(f"{unique}:windows") == "untouched"
    assert keys - {f"{unique}:windows", Keys(unique).challengers} == {
        key for key in keys if key == own or key.startswith(f"{own}:")
    }
    assert all(client.ttl(key) > 0 for key in keys - {f"{unique}:windows"})


def test_windows_and_the_report_of_a_challenger_are_there_for_whoever_watches(
    chosen: Settings, redis: str, unique: str, tmp_path: Path
) -> None:
    publish(chosen, ROWS)
    work(chosen)
    challenger = chosen.model_copy(update={"threshold": "cost:5"})
    file = tmp_path / "found.json"
    report = replayed(chosen, challenger, json=file)
    (read,) = StoreReader(redis, unique).challengers()
    assert read == report
    assert read.done
    assert read.settings == {"threshold": "cost:5"}
    assert read.name == "threshold-cost-5"
    assert json.loads(file.read_text()) == report.model_dump(mode="json")
    cost = (report.challenger["amount_missed"] or 0) + 5 * (
        report.challenger["false_positives"] or 0
    )
    assert report.challenger["cost"] == pytest.approx(cost)
    windows = StoreReader(redis, Keys(unique).challenger(read.name)).windows()
    assert sum(window.transactions for window in windows) == report.challenger["transactions"]
    assert sum(window.alerts for window in windows) == report.challenger["alerts"]
    # Fewer windows the second time: none of the first is left.
    later = utc(ROWS[3_000].time_seconds)
    again = replayed(chosen, challenger, since=later)
    windows = StoreReader(redis, Keys(unique).challenger(read.name)).windows()
    assert sum(w.transactions for w in windows) >= (again.challenger["transactions"] or 0)
    assert min(w.start for w in windows) > later - timedelta(hours=1)


def test_from_a_moment_on_a_challenger_that_has_learned_the_log_does_as_the_one_in_force(
    chosen: Settings,
) -> None:
    """Only account history before the warm-up is missing: all of it is there."""
    publish(chosen, ROWS)
    work(chosen)
    since = utc(ROWS[2_000].time_seconds)
    report = replayed(chosen, since=since)
    later = [row for row in ROWS if row.time_seconds >= since.timestamp()]
    assert report.in_force["transactions"] == report.challenger["transactions"] == len(later)
    assert report.challenger == report.in_force


def test_a_short_warm_up_learns_what_it_does_not_decide_from_the_training_log(
    chosen: Settings,
) -> None:
    publish(chosen, ROWS)
    worker = work(chosen)
    since = utc(ROWS[2_000].time_seconds)
    learned = replayed(chosen, since=since, warm=timedelta())
    unlearned = replayed(chosen, since=since, warm=timedelta(), unlearned=True)
    assert learned.in_force == unlearned.in_force
    loss = [r.challenger["log_loss"] or 0.0 for r in (learned, unlearned)]
    assert loss[0] < loss[1]
    noted = run_beside(chosen, since, unlearned=False)
    assert noted.challenger.transactions == learned.challenger["transactions"]
    assert worker.detector.model.learned > 0


def test_what_makes_no_sense_is_said_in_a_sentence(chosen: Settings) -> None:
    with pytest.raises(ReplayError, match="tells of no decision"):
        replayed(chosen)
    publish(chosen, ROWS[:500])
    work(chosen)
    with pytest.raises(ReplayError, match="nothing was decided from"):
        replayed(chosen, since=utc(ROWS[-1].time_seconds + 86_400.0))


def test_a_replay_that_follows_goes_on_with_what_is_decided_meanwhile(chosen: Settings) -> None:
    publish(chosen, ROWS[:2_000])
    work(chosen)
    stop = Event()

    def more() -> None:
        publish(chosen, ROWS[2_000:3_000])
        work(chosen)
        Timer(8.0, stop.set).start()

    Timer(0.5, more).start()
    report = replayed(chosen, follow=True, stop=stop)
    assert report.in_force["transactions"] == 3_000
    assert report.challenger == report.in_force
