"""From publication of a transaction to its alert at a reader, at several rates of live traffic."""

from __future__ import annotations

import gc
import itertools
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from benchmarks.throughput import loops
from producers.paysim import Scenario, generate
from stream.core import wire
from stream.events import utc

Work = Callable[[Mapping[str, str]], None]
"""A loop that ends when it is killed, in the environment of a worker. Picklable."""
LABEL_DELAY_SECONDS = 10.0
_TICK_SECONDS = 0.002
"""Between two calls of the producer, each with what is due by then, all of one time."""
_AT_ONCE = 1_000
"""Handed over together of what is published at once, and so of one time, too."""
_QUIET_SECONDS = 1.0
"""No alert for so long after the last transaction: all have come, late ones, too."""
_TIME, _LABELLED = "|", b"1970-01-01T00:00:00Z"
"""Where a time goes: in a transaction, and in a label as it is written."""
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
    topic = environment["WEIR_ALERTS_TOPIC"]
    reader = context.Process(target=_read, args=(bootstrap, topic, there), daemon=True)
    worker.start()
    try:
        if warm:
            _wait_for(bootstrap, environment["WEIR_DECISIONS_TOPIC"], warm)
        reader.start()
        there.close()  # where the reader ends, this process is to notice
        here.recv()  # it stands at the end
        spans = [traffic.run(rate, seconds) for rate in rates]
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


class _Prepared(NamedTuple):
    """A transaction of the generator and its label: what of each message stands before its time,
    and behind it."""

    transaction: tuple[bytes, bytes]
    label: tuple[bytes, bytes]


class _Traffic:
    """Publishes transactions of the generator as of now, and the label of each later.

    The broker has its core from us: what can be is prepared beforehand, and what is due together
    is handed over as one. Message by message took 45 % of the core at 9,000 a second.
    """

    def __init__(self, environment: Mapping[str, str], bootstrap: str, clients: int) -> None:
        self._transactions = environment["WEIR_TRANSACTIONS_TOPIC"]
        self._labels = environment["WEIR_LABELS_TOPIC"]
        self._rows = itertools.chain.from_iterable(
            generate(Scenario(clients=clients, fraud_rate=0.001), transactions=10**9)
        )
        self._due: deque[tuple[float, list[_Prepared]]] = deque()
        self._lost: Any = None
        """Why a message was not delivered."""
        # Not kafka-python, which takes most of the core that the broker needs. It is installed
        # with the extra `benchmarks`.
        from confluent_kafka import Producer  # noqa: PLC0415 - the tests do without

        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 1,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
                "on_delivery": self._told,
                "delivery.report.only.error": True,  # not a call for each message
            }
        )

    def publish(self, count: int) -> None:
        """Publish so many at once, with their labels, as of the last minutes."""
        made = self._made(count)
        begun = time.time() - len(made) * 1e-3
        for first in range(0, len(made), _AT_ONCE):
            self._send(made[first : first + _AT_ONCE], begun + first * 1e-3)
        self._said(float("inf"))
        self._producer.flush()
        self._raise_if_lost()

    def run(self, rate: float, seconds: float) -> tuple[float, float, float]:
        """Publish at a rate, each transaction with its own time, for so long after the labels come
        at this rate, too. Returns when that began and ended, and the rate that it came to."""
        made = self._made(int(rate * (LABEL_DELAY_SECONDS + seconds)))
        gc.freeze()  # or the collector looks through it now and then
        begun, sent = time.time(), 0
        while sent < len(made):
            now = time.time()
            until = min(int((now - begun) * rate) + 1, len(made))
            self._send(made[sent:until], now)
            sent = max(sent, until)
            self._said(now)
            self._producer.poll(0)
            time.sleep(_TICK_SECONDS)
        self._raise_if_lost()
        ended = time.time()
        return begun + LABEL_DELAY_SECONDS, ended, sent / (ended - begun)

    def _made(self, count: int) -> list[_Prepared]:
        made = []
        for row in itertools.islice(self._rows, count):
            given = row.transaction.model_dump(mode="json", exclude_none=True)
            given["timestamp"] = _TIME
            label = wire.Label(given["transaction_id"], bool(row.is_fraud), utc(0.0), "chargeback")
            made.append(
                _Prepared(
                    _around(json.dumps(given).encode(), _TIME.encode()),
                    _around(wire.written(label), _LABELLED),
                )
            )
        return made

    def _send(self, some: list[_Prepared], at: float) -> None:
        if some:
            self._hand_over(self._transactions, [each.transaction for each in some], at)
            self._due.append((at + LABEL_DELAY_SECONDS, some))

    def _said(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, some = self._due.popleft()
            self._hand_over(self._labels, [each.label for each in some], min(at, time.time()))

    def _hand_over(self, topic: str, messages: list[tuple[bytes, bytes]], at: float) -> None:
        stamp = utc(at).isoformat().encode()
        values = [{"value": before + stamp + behind} for before, behind in messages]
        if self._producer.produce_batch(topic, values, partition=0) != len(values):
            raise SystemExit(f"the producer does not take all messages for {topic}")

    def _told(self, error: Any, _message: Any) -> None:
        self._lost = self._lost or error

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise SystemExit(f"not all was published: {self._lost}")

    def close(self) -> None:
        self._producer.purge()


def _around(message: bytes, time_: bytes) -> tuple[bytes, bytes]:
    before, behind = message.split(time_)  # it is there, and once
    return before, behind


def live(environment: Mapping[str, str]) -> None:
    """Weir's own worker, until it is killed."""
    loops.weir(environment, until_end=False)


def _work(core: int, work: Work, environment: dict[str, str]) -> None:
    os.sched_setaffinity(0, {core})
    work(environment)


def _read(bootstrap: str, topic: str, pipe: Any) -> None:
    """Note when each alert is seen, until told that it is enough and none comes any more."""
    # Nor is this kafka-python: it took a fifth of the core that the broker needs.
    from confluent_kafka import Consumer, TopicPartition  # noqa: PLC0415 - the tests do without

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-reader",  # it wants one, and commits nothing
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
        }
    )
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0))
    consumer.assign([TopicPartition(topic, 0, end)])
    times, latencies = [], []
    pipe.send("ready")
    now = seen = time.time()
    while not pipe.poll() or now < seen + _QUIET_SECONDS:
        message = consumer.poll(0.1)
        now = time.time()
        if message is not None:
            if (error := message.error()) is not None:
                raise SystemExit(f"the alerts cannot be read: {error}")
            seen = now
            at = datetime.fromisoformat(json.loads(message.value())["timestamp"]).timestamp()
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
