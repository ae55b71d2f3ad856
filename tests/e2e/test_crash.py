"""Killed at any moment, on either bus: one decision each, one alert each, one example each."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from stream.__main__ import topic_specs
from stream.core.model import Model
from stream.core.windows import measure
from stream.events import Decided, Example, WindowReport
from stream.io.bus import Message, TopicPartition, connect
from stream.io.store import StoreReader
from stream.settings import Settings
from tests.servers.kafka import LocalKafka
from tests.servers.redis import LocalRedis
from tests.servers.worker import probed, start
from tests.streams import TOPICS, everything, labels, rows, settings, topics

RUNS, KILLS = 3, 10
"""On each bus: a worker is killed and started again 30 times."""
ROWS = rows(20_000, fraud_rate=0.005, clients=8_000)
FRAUDS = {row.transaction.transaction_id: bool(row.is_fraud) for row in ROWS}
DELAY = timedelta(hours=3)
ENDS_WITHIN_SECONDS = 300.0
QUICK = {"max_batch": 200, "align_seconds": 3600}
"""Fewer, larger steps: a run is over in a few seconds, in some two hundred commits."""
OUTPUTS = TOPICS[2:]


def publish(to: Settings) -> None:
    """All transactions and labels, by event time; the account is the key."""
    events = [(r.time_seconds, 1, r.transaction.nameDest, r.transaction) for r in ROWS]
    events += [
        (label.labelled_at.timestamp(), 0, row.transaction.nameDest, label)
        for row, label in zip(ROWS, labels(ROWS, DELAY), strict=True)
    ]
    publisher = connect(to.bus).publisher()
    publisher.publish(
        [
            Message(
                to.transactions_topic if is_transaction else to.labels_topic,
                key.encode(),
                event.model_dump_json(exclude_none=True).encode(),
            )
            for _, is_transaction, key, event in sorted(events, key=lambda e: e[:3])
        ]
    )
    publisher.close()


@pytest.fixture(scope="module")
def published_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded bus with all there is to decide, to be copied."""
    file = tmp_path_factory.mktemp("published") / "bus.db"
    made = settings(bus=f"sqlite:///{file}")
    connect(made.bus).create_topics(topic_specs(made))
    publish(made)
    return file


@pytest.fixture(scope="module")
def published_topics(kafka: LocalKafka) -> dict[str, object]:
    """Topics of a real Kafka with all there is to decide."""
    given = {"bus": f"kafka://{kafka.bootstrap}", **topics("crash", TOPICS[:2])}
    made = settings(**given, **topics("crash-none", OUTPUTS))
    connect(made.bus).create_topics(topic_specs(made))
    publish(made)
    return given


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    """The bus and the inputs, of settings."""
    if request.param == "kafka":
        yield request.getfixturevalue("published_topics")
        return
    for name in ("bus.db", "bus.db-wal"):
        source = request.getfixturevalue("published_file").with_name(name)
        if source.exists():
            shutil.copy(source, tmp_path / name)
    yield {"bus": f"sqlite:///{tmp_path}/bus.db"}


class Outcome(NamedTuple):
    """What the topics hold in the end."""

    scores: dict[str, tuple[float, float]]
    alerts: list[str]
    log: list[Example]


def outcome(of: Settings) -> Outcome:
    """Read the topics, and check that nothing is there twice and nothing is missing."""
    broker = connect(of.bus)
    decided = [
        Decided.model_validate_json(record.value or b"")
        for record in everything(broker, of.decisions_topic)
    ]
    count = Counter(id_ for batch in decided for id_ in batch.transaction_ids)
    assert set(count.values()) == {1}
    assert count.keys() == FRAUDS.keys()
    scores = {
        id_: (score, threshold)
        for batch in decided
        for id_, score, threshold in zip(
            batch.transaction_ids, batch.scores, batch.thresholds, strict=True
        )
    }
    alerts = [json.loads(r.value or b"") for r in everything(broker, of.alerts_topic)]
    alert_ids = [alert["alert_id"] for alert in alerts]
    assert len(alert_ids) == len(set(alert_ids)) > 20
    flagged = {id_ for id_, (score, threshold) in scores.items() if score >= threshold}
    assert {alert["transaction_id"] for alert in alerts} == flagged
    for alert in alerts:
        assert (alert["score"], alert["threshold"]) == scores[alert["transaction_id"]]
    log = [
        Example.model_validate_json(r.value or b"") for r in everything(broker, of.training_topic)
    ]
    examples = Counter(example.transaction_id for example in log)
    assert set(examples.values()) == {1}
    assert {e.transaction_id for e in log if e.is_fraud} == {
        i for i, fraud in FRAUDS.items() if fraud
    }
    assert all((e.score, e.alerted) == _given(scores[e.transaction_id]) for e in log)
    return Outcome(scores, alert_ids, log)


def _given(score_and_threshold: tuple[float, float]) -> tuple[float, bool]:
    score, threshold = score_and_threshold
    return score, score >= threshold


def windows_are_those_of(found: Outcome, reports: list[WindowReport]) -> None:
    """Check that reports hold what was decided and what the labels say of it."""
    flagged = {id_: score >= threshold for id_, (score, threshold) in found.scores.items()}
    verdicts = Counter((flagged[id_], fraud) for id_, fraud in FRAUDS.items())
    whole = measure(reports)
    assert whole.transactions == whole.labelled == len(FRAUDS)
    assert whole.true_positives == verdicts[True, True]
    assert whole.false_positives == verdicts[True, False]
    assert whole.frauds == sum(FRAUDS.values())
    assert sum(r.score_sum for r in reports) == pytest.approx(
        sum(score for score, _ in found.scores.values())
    )


def reported(summary: Path) -> list[WindowReport]:
    return [WindowReport.model_validate(report) for report in json.loads(summary.read_text())]


def ended(process: BaseProcess) -> None:
    process.join(ENDS_WITHIN_SECONDS)
    assert process.exitcode == 0


def kill(process: BaseProcess) -> None:
    """As `kill -9` does."""
    process.kill()
    process.join()


@pytest.mark.parametrize("run", range(RUNS))
def test_a_worker_killed_at_any_moment_decides_each_once_and_learns_each_once(
    given: dict[str, object], unique: str, tmp_path: Path, run: int
) -> None:
    chance = random.Random(run)
    disk = tmp_path / "state"
    chosen = settings(
        **given,
        **topics(unique, OUTPUTS),
        group=unique,
        # One run with all that learns; the others with what is quick.
        learner="linear" if run else "auto",
        rebalance="under" if run else "auto",
        state_dir=disk if run % 2 == 0 else None,
        # What is drawn then follows the clock, and still every restart draws the same again.
        learning_budget_us=1.0 if run == 1 else None,
        checkpoint_seconds=0.2,
        **QUICK,
    )
    connect(chosen.bus).create_topics(topic_specs(chosen))
    for _ in range(KILLS):
        worker = start(chosen, "one")
        time.sleep(chance.uniform(0.0, 2.5))
        kill(worker)
        if chance.random() < 0.3:
            shutil.rmtree(disk, ignore_errors=True)  # lost with its worker
    summary = tmp_path / "summary.json"
    ended(start(chosen, "one", summary=summary))
    found = outcome(chosen)
    windows_are_those_of(found, reported(summary))
    never_killed = Model(chosen)
    for example in found.log:
        never_killed.learn(example)
    model: Model = pickle.loads(summary.with_suffix(".model").read_bytes())  # noqa: S301 - ours
    assert model.learned == never_killed.learned == len(found.log)
    assert probed(model, found.log) == probed(never_killed, found.log)
    assert model.threshold.value == never_killed.threshold.value


@pytest.mark.kafka
def test_at_least_once_a_worker_killed_at_any_moment_loses_nothing(
    published_topics: dict[str, object], unique: str, tmp_path: Path
) -> None:
    chosen = settings(
        **published_topics,
        **topics(unique, OUTPUTS),
        group=unique,
        rebalance="under",
        delivery="at-least-once",
        **QUICK,
    )
    connect(chosen.bus).create_topics(topic_specs(chosen))
    chance = random.Random(7)
    for _ in range(KILLS):
        worker = start(chosen, "one")
        time.sleep(chance.uniform(0.5, 2.5))
        kill(worker)
    summary = tmp_path / "summary.json"
    ended(start(chosen, "one", summary=summary))
    broker, flagged = connect(chosen.bus), {}
    for record in everything(broker, chosen.decisions_topic):
        batch = Decided.model_validate_json(record.value or b"")
        for id_, score, threshold in zip(
            batch.transaction_ids, batch.scores, batch.thresholds, strict=True
        ):
            flagged[id_] = score >= threshold  # what was decided last, where it was twice
    assert flagged.keys() == FRAUDS.keys()
    alerts = [json.loads(r.value or b"") for r in everything(broker, chosen.alerts_topic)]
    assert {i for i, yes in flagged.items() if yes} <= {a["transaction_id"] for a in alerts}
    assert all(alert["alert_id"] == f"alert-{alert['transaction_id']}" for alert in alerts)
    log = [
        Example.model_validate_json(r.value or b"")
        for r in everything(broker, chosen.training_topic)
    ]
    assert {e.transaction_id for e in log if e.is_fraud} == {i for i, f in FRAUDS.items() if f}
    whole = measure(reported(summary))
    assert whole.transactions == whole.labelled == len(FRAUDS)


def told(of: Settings) -> Iterator[tuple[int, Decided]]:
    """What the decisions topic holds, with partitions, as it grows; ends only with the test."""
    deadline = time.monotonic() + ENDS_WITHIN_SECONDS
    with closing(connect(of.bus).reader()) as reader:
        reader.assign({TopicPartition(of.decisions_topic, p): 0 for p in range(of.partitions)})
        while time.monotonic() < deadline:
            for record in reader.poll(10_000, 0.2):
                yield record.partition, Decided.model_validate_json(record.value or b"")
    pytest.fail("not decided in time")


def wait_for(of: Settings, count: int) -> None:
    """Return when so many transactions have been decided."""
    with closing(told(of)) as batches:
        for _, batch in batches:
            count -= len(batch.transaction_ids)
            if count <= 0:
                return


def wait_for_all(of: Settings) -> None:
    """Return when all transactions and labels have been handled."""
    with closing(connect(of.bus).reader()) as reader:
        ends = [
            tuple(reader.end(TopicPartition(topic, p)) for p in range(of.partitions))
            for topic in (of.transactions_topic, of.labels_topic)
        ]
    missing = set(enumerate(zip(*ends, strict=True)))
    with closing(told(of)) as batches:
        for partition, batch in batches:
            missing.discard((partition, (batch.transactions[1], batch.labels[1])))
            if not missing:
                return


@pytest.mark.kafka
def test_a_broker_that_is_killed_and_comes_back_costs_nothing_but_time(
    kafka: LocalKafka, unique: str, tmp_path: Path
) -> None:
    broker = LocalKafka().start()
    try:
        chosen = settings(bus=f"kafka://{broker.bootstrap}", group=unique, **QUICK)
        connect(chosen.bus).create_topics(topic_specs(chosen))
        publish(chosen)
        summary = tmp_path / "summary.json"
        worker = start(chosen, "one", summary=summary)
        wait_for(chosen, len(ROWS) // 3)
        broker.kill()
        time.sleep(1.0)
        broker.start()
        ended(worker)
        windows_are_those_of(
            outcome(chosen),
            [WindowReport.model_validate(r) for r in json.loads(summary.read_text())],
        )
    finally:
        broker.stop()


@pytest.mark.redis
def test_window_reports_are_complete_though_redis_was_away_for_the_middle_third(
    given: dict[str, object], redis_server: LocalRedis, unique: str, tmp_path: Path
) -> None:
    store = LocalRedis().start()
    try:
        chosen = settings(
            **given, **topics(unique, OUTPUTS), group=unique, redis=store.url, **QUICK
        )
        connect(chosen.bus).create_topics(topic_specs(chosen))
        worker = start(chosen, "one", summary=tmp_path / "summary.json", redis=True)
        wait_for(chosen, len(ROWS) // 3)
        store.kill()
        wait_for(chosen, 2 * len(ROWS) // 3)
        store.start()
        ended(worker)
        reports = StoreReader(store.url, chosen.redis_prefix).windows()
        windows_are_those_of(outcome(chosen), reports)
    finally:
        store.stop()


@pytest.mark.kafka
def test_workers_that_are_killed_and_added_in_a_group_decide_each_once(
    kafka: LocalKafka, unique: str, tmp_path: Path
) -> None:
    chosen = settings(
        bus=f"kafka://{kafka.bootstrap}",
        **topics(unique),
        group=unique,
        partitions=4,
        **QUICK,
        checkpoint_seconds=0.5,
    )
    connect(chosen.bus).create_topics(topic_specs(chosen))
    publish(chosen)
    workers = [start(chosen, f"worker-{i}") for i in range(2)]
    for i in range(2, 4):
        time.sleep(random.Random(i).uniform(1.0, 4.0))
        kill(workers.pop(0))
        workers.append(start(chosen, f"worker-{i}"))
    wait_for_all(chosen)
    for worker in workers:
        kill(worker)
    summary = tmp_path / "summary.json"
    ended(start(chosen, "last", summary=summary))
    windows_are_those_of(outcome(chosen), reported(summary))
