"""The whole journey as people run it: separate processes, a real Kafka, a real Redis."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaConsumer, TopicPartition

from tests.servers.kafka import LocalKafka
from tests.servers.redis import LocalRedis
from tests.streams import rows

DATA = Path(__file__).parents[3] / "shared" / "data" / "paysim_first_50000.csv.gz"
DELAY = ("--label-delay", "1h")
TIMING = ("seconds", "transactions_per_second")


def weir(*command: str, env: dict[str, str] | None = None, module: str = "stream") -> str:
    """Run a command of Weir as a process of its own and return what it printed."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
    done = subprocess.run(
        [sys.executable, "-m", module, *command],
        env=clean | (env or {}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table as PaySim writes it: 8,000 rows with 2 % frauds, by the hour."""
    path = tmp_path_factory.mktemp("table") / "paysim.csv"
    balances = ("oldbalanceOrg", "newbalanceOrig", "oldbalanceDest", "newbalanceDest")
    some = rows(8_000, clients=20_000)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "type", "amount", "nameOrig", "nameDest", *balances, "isFraud"])
        for row in some:
            tx = row.transaction
            step = int((row.time_seconds - some[0].time_seconds) // 3600) + 1
            values = [getattr(tx, name) for name in balances]
            writer.writerow(
                [
                    step,
                    tx.type,
                    tx.amount,
                    tx.nameOrig,
                    tx.nameDest,
                    *values,
                    int(bool(row.is_fraud)),
                ]
            )
    return path


@pytest.fixture
def env(kafka: LocalKafka, redis_server: LocalRedis, unique: str) -> dict[str, str]:
    topics = (
        *("TRANSACTIONS", "LABELS", "ALERTS", "TRAINING"),
        *("DEAD_LETTERS", "DECISIONS", "STATE"),
    )
    return {
        "WEIR_BUS": f"kafka://{kafka.bootstrap}",
        "WEIR_REDIS": redis_server.url,
        "WEIR_REDIS_PREFIX": unique,
        "WEIR_GROUP": unique,
        "WEIR_PARTITIONS": "1",
        **{f"WEIR_{name}_TOPIC": f"{unique}-{name.lower()}" for name in topics},
    }


def consumed(env: dict[str, str], topic: str) -> Iterator[dict[str, Any]]:
    """The values of a topic, with nothing but kafka-python."""
    consumer = KafkaConsumer(
        bootstrap_servers=env["WEIR_BUS"].removeprefix("kafka://"),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        consumer_timeout_ms=3_000,
    )
    consumer.assign([TopicPartition(env[f"WEIR_{topic}_TOPIC"], 0)])
    try:
        for record in consumer:
            yield json.loads(record.value)
    finally:
        consumer.close()


def without_timing(summary: Path) -> dict[str, Any]:
    return {k: v for k, v in json.loads(summary.read_text()).items() if k not in TIMING}


def journey_on_kafka(env: dict[str, str], file: Path, summary: Path, score_from: str) -> None:
    weir("topics", "create", env=env)
    assert "FAIL" not in weir("check", env=env)
    weir("replay", str(file), "--columns", "paysim", *DELAY, "--quiet", env=env, module="producers")
    weir("detect", "--until-end", f"--summary={summary}", f"--score-from={score_from}", env=env)


def demo(file: Path, summary: Path, score_from: str) -> None:
    weir(
        "demo", f"--replay={file}", "--columns=paysim", *DELAY, f"--score-from={score_from}",
        "--no-view", f"--summary={summary}",
    )  # fmt: skip


@pytest.mark.kafka
@pytest.mark.redis
def test_separate_processes_on_kafka_and_redis_come_to_what_the_demo_comes_to(
    env: dict[str, str], table: Path, tmp_path: Path
) -> None:
    journey_on_kafka(env, table, tmp_path / "kafka.json", "6h")
    # Looked at now: a worker that has left stays in view for a while only.
    assert "decided=8000" in weir("watch", "--plain", "--once", env=env)
    demo(table, tmp_path / "demo.json", "6h")
    found = without_timing(tmp_path / "kafka.json")
    assert found == without_timing(tmp_path / "demo.json")
    assert found["transactions"] == found["decisions"] == found["labels"] == 8_000
    assert found["alerts"] > 20

    printed = [json.loads(line) for line in weir("alerts", "--json", env=env).splitlines()]
    alerts = list(consumed(env, "ALERTS"))
    assert alerts == printed
    assert len({alert["alert_id"] for alert in alerts}) == len(alerts) == found["alerts"]


@pytest.mark.kafka
@pytest.mark.redis
def test_the_window_metrics_in_redis_equal_those_recomputed_from_the_topics(
    env: dict[str, str], table: Path, tmp_path: Path
) -> None:
    journey_on_kafka(env, table, tmp_path / "kafka.json", "6h")
    alerted = {alert["transaction_id"] for alert in consumed(env, "ALERTS")}
    labels = {label["transaction_id"]: label["is_fraud"] for label in consumed(env, "LABELS")}
    expected: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for tx in consumed(env, "TRANSACTIONS"):
        window = expected[1767225600 + tx["step"] * 3600]  # from 2026-01-01T00:00:00Z
        id_, amount = tx["transaction_id"], tx["amount"]
        window["transactions"] += 1
        window["amount"] += amount
        window["alerts"] += id_ in alerted
        if id_ in labels:
            window["labelled"] += 1
            flagged, fraud = id_ in alerted, labels[id_]
            window["true_positives"] += flagged and fraud
            window["false_positives"] += flagged and not fraud
            window["false_negatives"] += fraud and not flagged
            window["true_negatives"] += not fraud and not flagged
            window["amount_caught"] += amount * (flagged and fraud)
            window["amount_missed"] += amount * (fraud and not flagged)
            window["amount_false"] += amount * (flagged and not fraud)
    client = redis.Redis.from_url(env["WEIR_REDIS"], decode_responses=True)
    prefix = env["WEIR_REDIS_PREFIX"]
    members = client.zrange(f"{prefix}:windows", 0, -1)
    assert {int(str(member).split(":")[1]) for member in members} == set(expected)
    caught = 0.0
    for member in members:
        found = client.hgetall(f"{prefix}:window:{member}")
        window = expected[int(str(member).split(":")[1])]
        for name, value in window.items():
            assert float(found[name]) == pytest.approx(value), (member, name)
        tp, flagged = window["true_positives"], window["true_positives"] + window["false_positives"]
        frauds = tp + window["false_negatives"]
        assert ("precision" in found) == (flagged > 0)
        assert ("recall" in found) == (frauds > 0)
        if flagged:
            assert float(found["precision"]) == pytest.approx(tp / flagged)
        if frauds:
            assert float(found["recall"]) == pytest.approx(tp / frauds)
        caught += tp
    assert caught > 10
    client.close()


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.skipif(not DATA.exists(), reason=f"the PaySim rows are not there ({DATA.name})")
def test_on_paysims_rows_all_are_decided_and_ranked_as_a_river_pipeline_would(
    env: dict[str, str], tmp_path: Path
) -> None:
    demo(DATA, tmp_path / "demo.json", "2h")
    found = without_timing(tmp_path / "demo.json")
    assert found["transactions"] == found["decisions"] == found["labels"] == 50_000
    assert found["joined"] == 50_000
    assert found["average_precision"] >= 0.95
    journey_on_kafka(env, DATA, tmp_path / "kafka.json", "2h")
    assert without_timing(tmp_path / "kafka.json") == found
