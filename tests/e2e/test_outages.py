"""A worker, its broker or Redis goes and comes back: nothing is lost, and nobody is told twice."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stream.__main__ import topic_specs
from stream.core.windows import measure
from stream.events import Decided, Example, WindowReport
from stream.io.bus import TopicPartition, connect
from stream.io.store import StoreReader
from stream.settings import Settings
from tests.outcome import (
    ENDS_WITHIN_SECONDS,
    FRAUDS,
    OUTPUTS,
    QUICK,
    ROWS,
    ended,
    kill,
    outcome,
    publish,
    reported,
    windows_are_those_of,
)
from tests.servers.kafka import LocalKafka
from tests.servers.redis import LocalRedis
from tests.servers.worker import start
from tests.streams import everything, settings, topics

KILLS = 5


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
