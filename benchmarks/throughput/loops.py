"""The loops that are compared: each reads a whole topic in a process of its own, on one core."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from redis import Redis
from river.forest import ARFClassifier
from river.imblearn import RandomUnderSampler

from benchmarks.throughput.groups import with_topics
from benchmarks.throughput.stages import sampled
from stream.core import detector, explain
from stream.core.decode import decode
from stream.core.features import Features
from stream.core.model import Model
from stream.core.pending import Pending
from stream.core.windows import Windows
from stream.io.batches import Batches
from stream.io.bus import connect
from stream.io.intake import Intake
from stream.io.outputs import Outputs
from stream.io.store import StoreWriter
from stream.io.training import TrainingLog
from stream.io.worker import Worker
from stream.process import set_up_process

SENT_ON = 60
"""One in so many: about what a worker flags that has fifty alerts a second to give."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a loop came."""

    transactions: int
    messages: int
    seconds: float
    """From the first poll to the end; imports and connections before it do not count."""
    cpu_seconds: float
    """Of all its threads."""
    stages: dict[str, float] = field(default_factory=dict)
    """Processor seconds by stage, where they were asked for."""
    alerts: int = 0


def bare(bootstrap: str, topics: tuple[str, ...], count: int, *, compiled: bool = False) -> Pace:
    """The limit of the client: poll, parse the JSON, nothing else; with the reader of record
    batches that is kafka-python's own, or with Weir's, which is `compiled`."""
    consumer = consumer_of(bootstrap, topics)
    if compiled:
        consumer._fetcher.PartitionRecords = Batches
    begun, cpu, read = time.monotonic(), time.process_time(), 0
    while read < count:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                json.loads(record.value)
            read += len(records)
    pace = Pace(0, read, time.monotonic() - begun, time.process_time() - cpu)
    consumer.close()
    return pace


def forward(environment: Mapping[str, str]) -> None:
    """The limit on live traffic, until it is killed: poll, parse, and send one in `SENT_ON` of the
    transactions on as if flagged, with nothing kept, learned or committed."""
    settings = with_topics(environment)
    bootstrap = settings.bus.partition("://")[2]
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=0)
    consumer = consumer_of(bootstrap, (settings.transactions_topic,))
    read = itertools.count(1)
    while True:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                transaction = json.loads(record.value)
                if next(read) % SENT_ON == 0:
                    producer.send(settings.alerts_topic, json.dumps(transaction).encode())
        producer.flush()


def naive(bootstrap: str, topic: str, alerts_topic: str, redis_url: str, count: int) -> Pace:
    """What people write today, record by record, with a label in every record.

    A forest that River's own sampler feeds, 0.5 for a threshold, alerts through a producer, and
    a Redis hash for every record.
    """
    numbers = ("amount", "oldbalanceOrg", "newbalanceOrig", "oldbalanceDest", "newbalanceDest")
    forest = ARFClassifier(n_models=10, seed=7)
    model = RandomUnderSampler(forest, desired_dist={0: 0.9, 1: 0.1}, seed=7)
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    redis = Redis.from_url(redis_url)
    consumer = consumer_of(bootstrap, (topic,))
    begun, cpu, read, alerts = time.monotonic(), time.process_time(), 0, 0
    while read < count:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records[: count - read]:
                row = json.loads(record.value)
                x = {name: row.get(name) or 0.0 for name in numbers}
                x |= {f"type_{row['type']}": 1.0}
                score = model.predict_proba_one(x).get(1, 0.0)
                if score >= 0.5:
                    producer.send(alerts_topic, json.dumps(row | {"score": score}).encode())
                    alerts += 1
                redis.hset("naive", mapping={"read": read, "score": score, "alerts": alerts})
                model.learn_one(x, row["isFraud"])
                read += 1
    pace = Pace(read, read, time.monotonic() - begun, time.process_time() - cpu, alerts=alerts)
    consumer.close()
    producer.close()
    return pace


def weir(
    environment: Mapping[str, str],
    begin: int = 0,
    end: int | None = None,
    *,
    by_stage: bool = False,
    until_end: bool = True,
) -> Pace:
    """Weir's own worker, from so many transactions decided up to so many, or to the end of both
    topics, or until it is killed."""
    set_up_process()  # as `weir detect` does
    settings = with_topics(environment)
    store = StoreWriter(
        settings.redis,
        settings.redis_prefix,
        worker="bench",
        window_expiry_seconds=settings.window_expiry_seconds,
    )
    worker = Worker(settings, connect(settings.bus), store, member="bench")
    ending = Event()
    if until_end:
        ending.set()
    stop, step, counts = Event(), worker.step, worker.reporting.counts
    before: Counter[str] = Counter()
    spent: Mapping[str, float] = {}
    begun = cpu = 0.0

    def counted() -> bool:
        nonlocal spent, begun, cpu
        if end is not None and counts["decisions"] >= end:
            stop.set()
            return False
        if not begun and counts["decisions"] >= begin:
            before.update(counts)
            spent = stack.enter_context(sampled(stages(worker))) if by_stage else {}
            begun, cpu = time.monotonic(), time.process_time()
        return step()

    worker.step = counted  # type: ignore[method-assign]
    with ExitStack() as stack:
        worker.run(stop, ending)
        seconds, cpu_seconds = time.monotonic() - begun, time.process_time() - cpu
    worker.close()
    store.close(timeout_seconds=5.0)
    counts = counts - before
    messages = counts["transactions"] + counts["labels"]
    return Pace(counts["decisions"], messages, seconds, cpu_seconds, dict(spent), counts["alerts"])


def consumer_of(bootstrap: str, topics: tuple[str, ...], **options: Any) -> Any:
    """A consumer at the first records of topics of one partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, fetch_max_wait_ms=20, max_poll_records=2000, **options
    )
    consumer.assign([TopicPartition(topic, 0) for topic in topics])
    consumer.seek_to_beginning()
    return consumer


def stages(worker: Any) -> dict[str, tuple[Any, ...]]:
    """The functions of each stage of a worker, by what people would call it."""
    return {
        "poll": (type(worker._consumer).poll,),
        "align": (Intake.put, Intake.take),
        "decode": (decode,),
        "features": (Features.transform,),
        "score": (Model.scored,),
        "reasons": (explain.reasons,),
        "pending": (Pending.add,),
        "windows": (Windows.decided, Windows.labelled),
        "join labels": (Pending.join, Features.label, detector.Detector.on_labels),
        "outputs": (Outputs.messages, Outputs.alerts),
        "commit": (type(worker._consumer).commit,),
        "read the log": (TrainingLog.learn,),
        "learn": (detector.Detector.on_examples,),
        "reports and snapshots": (type(worker)._report_and_save,),
    }
