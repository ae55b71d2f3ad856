"""From publication of a transaction to its alert at a reader, at several rates of live traffic."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from typing import Any

import numpy as np
from kafka import TopicPartition

from benchmarks.throughput import loops
from producers.paysim import Scenario, generate
from stream.core import wire
from stream.events import utc

Work = Callable[[Mapping[str, str]], None]
"""A loop that ends when it is killed, in the environment of a worker. Picklable."""
LABEL_DELAY_SECONDS = 10.0
_TICK_SECONDS = 0.002
"""Between two calls of the producer, each with what is due by then."""
_STARTS_WITHIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from a transaction's timestamp, when it was published, to its alert; infinite
    where none came in time."""

    rate: float
    """Transactions per second that were published, each with a label ten seconds later."""
    alerts: int
    p50_ms: float
    p99_ms: float
    p999_ms: float


def measure(
    core: int,
    environment: Mapping[str, str],
    bootstrap: str,
    rates: Sequence[float],
    work: Work,
    *,
    warm: int,
    seconds: float,
    clients: int,
) -> list[Latency]:
    """Have a loop on one core do `warm` transactions, then live ones at one rate after the other.

    It says in the decisions topic when it is warm. Time is that of the clock: a timestamp says when
    a transaction is published.
    """
    context = get_context("spawn")
    traffic = _Traffic(environment, bootstrap, clients)
    traffic.publish(warm)
    here, there = context.Pipe()
    worker = context.Process(target=_work, args=(core, work, dict(environment)), daemon=True)
    reader = context.Process(
        target=_read, args=(bootstrap, environment["WEIR_ALERTS_TOPIC"], there), daemon=True
    )
    worker.start()
    try:
        if warm:
            _wait_for(bootstrap, environment["WEIR_DECISIONS_TOPIC"], warm)
        reader.start()
        here.recv()  # it stands at the end
        spans = [traffic.run(rate, seconds) for rate in rates]
        time.sleep(1.0)
        here.send("enough")
        times, latencies = (np.array(each) for each in here.recv())
        return [_described(times, latencies, *span) for span in spans]
    finally:
        for process in (worker, reader):
            if process.pid is not None:
                process.kill()
                process.join()
        traffic.close()


def _described(times: Any, latencies: Any, begun: float, ended: float, rate: float) -> Latency:
    within = latencies[(times >= begun) & (times < ended)]
    if not len(within):
        return Latency(rate, 0, *(float("inf"),) * 3)
    p50, p99, p999 = (1000.0 * np.quantile(within, q) for q in (0.5, 0.99, 0.999))
    return Latency(rate, len(within), float(p50), float(p99), float(p999))


class _Traffic:
    """Publishes transactions of the generator as of now, and the label of each later."""

    def __init__(self, environment: Mapping[str, str], bootstrap: str, clients: int) -> None:
        self._transactions = environment["WEIR_TRANSACTIONS_TOPIC"]
        self._labels = environment["WEIR_LABELS_TOPIC"]
        self._rows = itertools.chain.from_iterable(
            generate(Scenario(clients=clients, fraud_rate=0.001), transactions=10**9)
        )
        self._due: deque[tuple[float, str, bool]] = deque()
        # Not kafka-python, which takes most of the core that the broker needs. It is installed
        # with the extra `benchmarks`.
        from confluent_kafka import Producer  # noqa: PLC0415 - the tests do without

        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 1,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def publish(self, count: int) -> None:
        """Publish so many at once, with their labels, as of the last minutes."""
        begun = time.time() - count * 1e-3
        for number, made in enumerate(self._made(count)):
            self._send(*made, begun + number * 1e-3)
        self._said(float("inf"))
        self._producer.flush()

    def run(self, rate: float, seconds: float) -> tuple[float, float, float]:
        """Publish at a rate, each transaction with its own time, for so long after the labels come
        at this rate, too. Returns when that began and ended, and the rate that it came to."""
        made = self._made(int(rate * (LABEL_DELAY_SECONDS + seconds)))
        begun, sent = time.time(), 0
        while sent < len(made):
            now = time.time()
            until = min(int((now - begun) * rate) + 1, len(made))
            for each in made[sent:until]:
                self._send(*each, time.time())
            sent = max(sent, until)
            self._said(now)
            self._producer.poll(0)
            time.sleep(_TICK_SECONDS)
        ended = time.time()
        return begun + LABEL_DELAY_SECONDS, ended, sent / (ended - begun)

    def _made(self, count: int) -> list[tuple[str, bytes, bytes, bool]]:
        """Id, what of the message stands before its time, and behind it, and whether a fraud."""
        made = []
        for row in itertools.islice(self._rows, count):
            given = row.transaction.model_dump(mode="json", exclude_none=True)
            given["timestamp"] = "|"
            before, behind = json.dumps(given).encode().split(b"|")
            made.append((row.transaction.transaction_id, before, behind, bool(row.is_fraud)))
        return made

    def _send(self, id_: str, before: bytes, behind: bytes, is_fraud: bool, at: float) -> None:
        value = before + utc(at).isoformat().encode() + behind
        self._producer.produce(self._transactions, value=value, partition=0)
        self._due.append((at + LABEL_DELAY_SECONDS, id_, is_fraud))

    def _said(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, id_, is_fraud = self._due.popleft()
            label = wire.Label(id_, is_fraud, utc(min(at, time.time())), "chargeback")
            self._producer.produce(self._labels, value=wire.written(label), partition=0)

    def close(self) -> None:
        self._producer.purge()


def live(environment: Mapping[str, str]) -> None:
    """Weir's own worker, until it is killed."""
    loops.weir(environment, until_end=False)


def _work(core: int, work: Work, environment: dict[str, str]) -> None:
    os.sched_setaffinity(0, {core})
    work(environment)


def _read(bootstrap: str, topic: str, pipe: Any) -> None:
    """Note when each alert is seen, until told that it is enough."""
    consumer = _consumer(bootstrap, topic)
    consumer.seek_to_end()
    consumer.position(TopicPartition(topic, 0))
    times, latencies = [], []
    pipe.send("ready")
    while not pipe.poll():
        for records in consumer.poll(timeout_ms=100).values():
            now = time.time()
            for record in records:
                at = datetime.fromisoformat(json.loads(record.value)["timestamp"]).timestamp()
                times.append(at)
                latencies.append(now - at)
    pipe.send((times, latencies))
    consumer.close()


def _wait_for(bootstrap: str, decisions: str, count: int) -> None:
    """Return when so many transactions, and as many labels, have been handled."""
    consumer, least = _consumer(bootstrap, decisions), 0
    deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
    while least < count:
        if time.monotonic() > deadline:
            raise SystemExit("the worker does not catch up")
        for records in consumer.poll(timeout_ms=1000).values():
            newest = json.loads(records[-1].value)
            least = min(newest["transactions"][1], newest["labels"][1])
    consumer.close()


def _consumer(bootstrap: str, topic: str) -> Any:
    return loops.consumer_of(bootstrap, (topic,), isolation_level="read_committed")
