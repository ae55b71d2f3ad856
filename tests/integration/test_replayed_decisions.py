"""A challenger over what was decided: `weir replay`, on the embedded bus and on real Kafka."""

from __future__ import annotations

import argparse
import json
import math
import uuid
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
from stream.core.detector import Decisions
from stream.events import ChallengerReport, Decided, utc
from stream.io.bus import Message, TopicPartition, connect
from stream.io.local_redis import LocalRedisServer
from stream.io.store import Keys, StoreReader
from stream.settings import Settings
from stream.shadow import ReplayError
from stream.shadow.beginning import Beginnings
from stream.shadow.challenger import Challenger, new_detector
from stream.shadow.command import run_replay
from stream.shadow.course import Course
from stream.shadow.past import Past
from stream.shadow.request import request_of
from tests.servers.worker import worked_through
from tests.streams import everything, labels, rows, settings, topics

DELAY = timedelta(hours=3)
ROWS = rows(2_000, clients=400)
"""With accounts that come again: their history matters."""
SINCE = utc(ROWS[1_000].time_seconds)
ALL = timedelta(days=365)


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


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory, redis: str) -> Settings:
    """A stream that a worker has decided all of: a replay leaves it as it is."""
    folder = tmp_path_factory.mktemp("stream")
    made = settings(bus=f"sqlite:///{folder / 'bus.db'}", redis=redis)
    connect(made.bus).create_topics(topic_specs(made))
    publish(made, ROWS)
    worked_through(made)
    return made


@pytest.fixture
def decided(stream: Settings) -> Settings:
    """The same, with a prefix of its own in Redis."""
    return stream.model_copy(update={"redis_prefix": f"t{uuid.uuid4().hex[:12]}"})


def publish(of: Settings, table: Sequence[Row]) -> None:
    """Transactions and labels in event-time order, as the producers publish them."""
    events = []
    for row, said in zip(table, labels(table, DELAY), strict=True):
        key = row.transaction.nameDest.encode()
        for seconds, topic, event in (
            (row.time_seconds, of.transactions_topic, row.transaction),
            (said.labelled_at.timestamp(), of.labels_topic, said),
        ):
            value = event.model_dump_json(exclude_none=True).encode()
            events.append((seconds, Message(topic, key, value)))
    publisher = connect(of.bus).publisher()
    publisher.publish([message for _, message in sorted(events, key=lambda each: each[0])])
    publisher.close()


def replayed(
    of: Settings, *, since: datetime | timedelta | None = None, stop: Event | None = None,
    own: dict[str, object] | None = None, **flags: object,
) -> ChallengerReport:  # fmt: skip
    """What `weir replay` comes to."""
    given = {
        "since": since, "warm": ALL, "unlearned": False, "follow": False, "name": None,
        "json": None, "false_alarm_cost": None, **flags,
    }  # fmt: skip
    challenger = of.model_copy(update=own or {})
    return run_replay(request_of(challenger, of, argparse.Namespace(**given)), stop or Event())


def ends(of: Settings) -> dict[TopicPartition, int]:
    """Where all topics end."""
    with closing(connect(of.bus).reader()) as reader:
        return {
            source: reader.end(source)
            for spec in topic_specs(of)
            for source in (TopicPartition(spec.name, p) for p in range(spec.partitions))
        }


Scores = dict[str, tuple[float, float]]


def scored(of: Settings) -> Scores:
    """Score and threshold in force of each transaction, from the decisions topic."""
    found: Scores = {}
    for record in everything(connect(of.bus), of.decisions_topic):
        told = Decided.model_validate_json(record.value or b"")
        pairs = zip(told.scores, told.thresholds, strict=True)
        found |= dict(zip(told.transaction_ids, pairs, strict=True))
    return found


class Noted(Comparison):
    """Keeps what the challenger decided."""

    def __init__(self) -> None:
        super().__init__(-math.inf, 1_000_000)
        self.scores: Scores = {}

    def decided(
        self, partition: int, decisions: Decisions, scores: object, thresholds: object
    ) -> None:
        ids = [tx.transaction_id for tx in decisions.transactions]
        pairs = zip(decisions.scores.tolist(), decisions.thresholds.tolist(), strict=True)
        self.scores |= dict(zip(ids, pairs, strict=True))
        super().decided(partition, decisions, scores, thresholds)  # type: ignore[arg-type]


def decided_once_more(of: Settings, since: datetime | None, *, from_log: bool) -> Scores:
    """Every score and threshold of a challenger with the settings in force."""
    broker, noted, stop = connect(of.bus), Noted(), Event()
    with closing(broker.reader()) as reader, closing(broker.reader()) as log:
        begin = Beginnings(of, reader, of.partitions).find(since, timedelta())
        detector = new_detector(of, of.partitions)
        past = Past(of, log, detector, begin.from_seconds, stop=stop) if from_log else None
        challenger = Challenger(detector, noted, past)
        for step in Course(of, reader, begin, of.partitions, stop).steps():
            challenger.step(step)
    return noted.scores


def test_the_settings_in_force_give_every_score_and_threshold_again(chosen: Settings) -> None:
    """Bit for bit: the same code, batches, labels and order of examples."""
    publish(chosen, ROWS)
    worked_through(chosen)
    found = scored(chosen)
    assert len(found) == len(ROWS)
    assert decided_once_more(chosen, None, from_log=False) == found


def test_so_does_a_committee_over_several_partitions_and_runs_of_the_worker(
    tmp_path: Path, redis: str
) -> None:
    bus = f"sqlite:///{tmp_path / 'bus.db'}"
    chosen = settings(bus=bus, redis=redis, learner="auto", partitions=3)
    connect(bus).create_topics(topic_specs(chosen))
    for begin in (0, 1_200):
        publish(chosen, ROWS[begin : begin + 1_200])
        worked_through(chosen)
    assert decided_once_more(chosen, None, from_log=False) == scored(chosen)


def test_other_settings_give_other_decisions_about_the_same_transactions(decided: Settings) -> None:
    report = replayed(decided, own={"threshold": "f_beta:3"}, false_alarm_cost=2.0)
    same, other = report.in_force, report.challenger
    assert report.settings == {"threshold": "f_beta:3"}
    for name in ("transactions", "labelled", "frauds"):
        assert same[name] == other[name]
    assert same["transactions"] == len(ROWS)
    assert (other["recall"] or 0) > (same["recall"] or 0)
    apart = report.apart
    caught = apart["frauds_only_challenger"] - apart["frauds_only_in_force"]
    false = apart["false_only_challenger"] - apart["false_only_in_force"]
    assert caught == (other["true_positives"] or 0) - (same["true_positives"] or 0)
    assert false == (other["false_positives"] or 0) - (same["false_positives"] or 0)
    cost = (other["amount_missed"] or 0) + 2 * (other["false_positives"] or 0)
    assert other["cost"] == pytest.approx(cost)


def test_a_replay_writes_to_no_topic_joins_no_group_and_leaves_the_keys_of_others_alone(
    chosen: Settings, redis: str, unique: str
) -> None:
    publish(chosen, ROWS)
    worked_through(chosen)
    client = Redis.from_url(redis, decode_responses=True)
    client.set(f"{unique}:windows", "untouched")
    inputs = [chosen.transactions_topic, chosen.labels_topic]
    consumer = connect(chosen.bus).consumer(group=chosen.group, member="other", inputs=inputs)
    while consumer.assignment() != {0}:
        consumer.poll(1, 0.1)
    before = ends(chosen)
    committed = [consumer.committed(TopicPartition(topic, 0)) for topic in inputs]
    replayed(chosen, own={"threshold": "f_beta:2"}, name="beta-2")
    assert ends(chosen) == before
    consumer.poll(1, 0.1)
    assert consumer.assignment() == {0}
    assert [consumer.committed(TopicPartition(topic, 0)) for topic in inputs] == committed
    consumer.close()
    own, others = Keys(unique).challenger("beta-2"), {f"{unique}:windows", f"{unique}:challengers"}
    keys = {str(key) for key in client.scan_iter(f"{unique}*")}
    assert client.get(f"{unique}:windows") == "untouched"
    assert own in keys
    assert all(key == own or key.startswith(f"{own}:") for key in keys - others)
    assert all(client.ttl(key) > 0 for key in keys - {f"{unique}:windows"})
    client.close()


def test_windows_and_the_report_of_a_challenger_are_there_for_whoever_watches(
    decided: Settings, redis: str, tmp_path: Path
) -> None:
    file, own = tmp_path / "found.json", {"threshold": "cost:5"}
    report = replayed(decided, own=own, json=file)
    prefix = decided.redis_prefix
    (read,) = StoreReader(redis, prefix).challengers()
    assert read == report
    assert read.done
    assert read.name == "threshold-cost-5"
    assert json.loads(file.read_text()) == report.model_dump(mode="json")
    windows = StoreReader(redis, Keys(prefix).challenger(read.name)).windows()
    assert sum(window.transactions for window in windows) == report.challenger["transactions"]
    assert sum(window.alerts for window in windows) == report.challenger["alerts"]
    replayed(decided, own=own, since=SINCE)  # of what was there before, nothing is left
    windows = StoreReader(redis, Keys(prefix).challenger(read.name)).windows()
    assert min(window.start for window in windows) > SINCE - timedelta(hours=1)


def test_from_a_moment_on_only_what_is_newer_counts(decided: Settings) -> None:
    report = replayed(decided, since=SINCE)
    newer = [row for row in ROWS if row.time_seconds >= SINCE.timestamp()]
    assert report.in_force["transactions"] == len(newer)
    assert report.challenger == report.in_force  # as all before it was the warm-up
    newest = max(row.time_seconds for row in ROWS)
    back = replayed(decided, since=timedelta(seconds=newest - SINCE.timestamp()))
    assert back.in_force == report.in_force


def test_second_copies_and_what_cannot_be_read_are_not_decided_once_more(
    tmp_path: Path, redis: str
) -> None:
    """Also where the first copy is from before the beginning: the challenger has not met it."""
    chosen = settings(bus=f"sqlite:///{tmp_path / 'bus.db'}", redis=redis)
    connect(chosen.bus).create_topics(topic_specs(chosen))
    publish(chosen, ROWS[:400])
    since = ROWS[399].time_seconds + 3600
    late = [
        row.transaction.model_copy(update={"step": None, "timestamp": utc(since + i)})
        for i, row in enumerate(ROWS[:50])
    ]
    fresh = [tx.model_copy(update={"transaction_id": f"new-{i}"}) for i, tx in enumerate(late)]
    values = [tx.model_dump_json(exclude_none=True).encode() for tx in (*late, *fresh, *fresh)]
    publisher = connect(chosen.bus).publisher()
    publisher.publish(
        [Message(chosen.transactions_topic, b"key", value) for value in (*values, b"rubbish")]
    )
    publisher.close()
    worked_through(chosen)
    report = replayed(chosen, since=utc(since), warm=timedelta())
    assert report.challenger["transactions"] == report.in_force["transactions"] == len(fresh)


def test_what_was_learned_before_the_warm_up_is_learned_from_the_training_log(
    decided: Settings,
) -> None:
    learned = replayed(decided, since=SINCE, warm=timedelta())
    unlearned = replayed(decided, since=SINCE, warm=timedelta(), unlearned=True)
    assert learned.in_force == unlearned.in_force
    losses = [report.challenger["log_loss"] or 0.0 for report in (learned, unlearned)]
    assert losses[0] < losses[1]
    model = new_detector(decided, 1)
    log = connect(decided.bus).reader()
    past = Past(decided, log, model, SINCE.timestamp(), stop=Event())
    past.learn_until(ends(decided)[TopicPartition(decided.training_topic, 0)])
    before = [
        each
        for each in everything(connect(decided.bus), decided.training_topic)
        if datetime.fromisoformat(json.loads(each.value or b"")["timestamp"]) < SINCE
    ]
    assert past.learned == model.model.learned == len(before) > 0
    log.close()


def test_what_the_topics_no_longer_hold_is_said_with_the_moment_from_which_they_do(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after retention: the transactions begin later, the decisions topic does not."""
    publish(chosen, ROWS)
    worked_through(chosen)
    broker = connect(chosen.bus)
    reader = broker.reader()
    whole = reader.beginning
    cut = TopicPartition(chosen.transactions_topic, 0)
    monkeypatch.setattr(reader, "beginning", lambda s: 1_000 if s == cut else whole(s))
    beginnings = Beginnings(chosen, reader, 1)
    begin = beginnings.find(None, timedelta())
    assert begin.positions[cut] >= 1_000
    assert begin.graded_seconds >= ROWS[1_000].time_seconds
    with pytest.raises(ReplayError, match="no longer hold what came before"):
        beginnings.find(utc(ROWS[10].time_seconds), timedelta())
    later = beginnings.find(utc(begin.graded_seconds + 3600), timedelta(days=30))
    assert later.shortened
    assert later.from_seconds == begin.graded_seconds
    reader.close()


def test_a_replay_of_nothing_says_so(decided: Settings, tmp_path: Path, redis: str) -> None:
    empty = settings(bus=f"sqlite:///{tmp_path / 'bus.db'}", redis=redis)
    connect(empty.bus).create_topics(topic_specs(empty))
    with pytest.raises(ReplayError, match="tells of no decision"):
        replayed(empty)
    with pytest.raises(ReplayError, match="nothing was decided from"):
        replayed(decided, since=utc(ROWS[-1].time_seconds + 86_400.0))


def test_a_replay_that_follows_goes_on_with_what_is_decided_meanwhile(
    tmp_path: Path, redis: str
) -> None:
    chosen = settings(bus=f"sqlite:///{tmp_path / 'bus.db'}", redis=redis)
    connect(chosen.bus).create_topics(topic_specs(chosen))
    publish(chosen, ROWS[:1_000])
    worked_through(chosen)
    stop = Event()

    def more() -> None:
        publish(chosen, ROWS[1_000:1_400])
        worked_through(chosen)
        Timer(5.0, stop.set).start()

    Timer(0.5, more).start()
    report = replayed(chosen, follow=True, stop=stop)
    assert report.in_force["transactions"] == 1_400
    assert report.challenger == report.in_force
