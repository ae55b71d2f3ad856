"""Small streams that several tests use, made by the generator."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta

from producers.paysim import Scenario, generate
from producers.rows import Row
from stream.core.detector import Detector
from stream.core.model import Model
from stream.core.wire import Example
from stream.events import Label, utc
from stream.io.bus import Broker, Record, TopicPartition, partitions_of, read_whole
from stream.settings import Settings


def settings(**given: object) -> Settings:
    """Settings for a test: small bounds, nothing from the environment of whoever runs it."""
    return Settings(_env_prefix="WEIR_TEST_", **{"partitions": 1, "learner": "linear", **given})  # type: ignore[arg-type]


PATIENCE_SECONDS = 30.0
TOPICS = (
    *("transactions", "labels", "alerts", "training", "fits"),
    *("dead_letters", "decisions", "state"),
)


def topics(prefix: str, names: Sequence[str] = TOPICS) -> dict[str, object]:
    """Settings that give topics a prefix: a server is shared, and its topics are not."""
    return {f"{name}_topic": f"{prefix}-{name}" for name in names}


def everything(broker: Broker, topic: str) -> list[Record]:
    """All that a topic holds, in order within each partition."""
    sources = [TopicPartition(topic, p) for p in range(partitions_of(broker, topic))]
    with closing(broker.reader()) as reader:
        return list(read_whole(reader, sources, at_once=10_000))


def eventually(condition: Callable[[], bool]) -> None:
    """Return once it holds; fails where it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not within the time there was"
        time.sleep(0.01)


def examples(of: Sequence[Row], chosen: Settings) -> list[Example]:
    """What a worker sends to the training log of rows that it decides and has the labels of."""
    made = Detector(chosen, Model(chosen))
    made.open(0)
    made.on_transactions(0, [row.transaction for row in of])
    return made.on_labels(0, labels(of))[1]


def rows(count: int, *, fraud_rate: float = 0.02, clients: int = 1_000, seed: int = 3) -> list[Row]:
    """The first transactions of a generated stream."""
    scenario = Scenario(seed=seed, fraud_rate=fraud_rate, clients=clients)
    return list(itertools.chain.from_iterable(generate(scenario, transactions=count)))


def labels(of: Sequence[Row], delay: timedelta = timedelta()) -> list[Label]:
    """The label of each row."""
    return [
        label(row.transaction.transaction_id, bool(row.is_fraud), utc(row.time_seconds) + delay)
        for row in of
    ]


def label(transaction_id: str, is_fraud: bool, labelled_at: datetime) -> Label:
    return Label(
        transaction_id=transaction_id,
        is_fraud=is_fraud,
        labelled_at=labelled_at,
        source="chargeback",
    )
