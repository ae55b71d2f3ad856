"""Rows and labels as messages, and what has left so far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from producers.order import Item
from producers.rows import Row
from stream.events import utc
from stream.io.bus import Broker, BusError, Message, Publisher, TopicSpec
from stream.settings import Settings


@dataclass(slots=True)
class Counts:
    """What has been handed to the bus."""

    transactions: int = 0
    frauds: int = 0
    labels: int = 0
    event_time_seconds: float | None = None
    """Event time of the newest transaction."""
    started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self.started

    def summary(self) -> dict[str, object]:
        """What `--summary` writes."""
        seconds = self.seconds()
        newest = self.event_time_seconds
        return {
            "transactions": self.transactions,
            "frauds": self.frauds,
            "labels": self.labels,
            "event_time": None if newest is None else utc(newest).isoformat(),
            "seconds": round(seconds, 3),
            "transactions_per_second": round(self.transactions / max(seconds, 1e-9), 1),
        }


def messages(items: Iterable[Item], settings: Settings) -> list[Message]:
    """Encode items for their topics, each under the key of its transaction.

    What is not there is not on the wire, and neither is the outcome.
    """
    transactions, labels = settings.transactions_topic, settings.labels_topic
    key_field = settings.key_field
    return [
        Message(
            transactions,
            getattr(item.transaction, key_field).encode(),
            item.transaction.model_dump_json(exclude_none=True).encode(),
        )
        if isinstance(item, Row)
        else Message(labels, item.key.encode(), item.label.model_dump_json().encode())
        for item in items
    ]


def send(publisher: Publisher, items: Sequence[Item], settings: Settings, counts: Counts) -> None:
    """Publish the items in one call, and count them."""
    publisher.publish(messages(items, settings))
    rows = [item for item in items if isinstance(item, Row)]
    counts.labels += len(items) - len(rows)
    if rows:
        counts.transactions += len(rows)
        counts.frauds += sum(row.is_fraud is True for row in rows)
        counts.event_time_seconds = rows[-1].time_seconds


def check_topics(broker: Broker, settings: Settings, *, create: bool) -> None:
    """Make sure that both topics are there; `create` makes those that are missing.

    Raises `BusError` where one is missing, or the two differ in partitions.
    """
    names = (settings.transactions_topic, settings.labels_topic)
    if create:
        broker.create_topics(
            [
                TopicSpec(name, settings.partitions, max_message_bytes=settings.max_message_bytes)
                for name in names
            ]
        )
    there = broker.topics(names)
    missing = [name for name in names if name not in there]
    if missing:
        raise BusError(
            f"Topic {' and '.join(missing)} missing on {broker.url}. Run `weir topics create`, or "
            "add --create-topics."
        )
    if there[names[0]] != there[names[1]]:
        raise BusError(
            f"Topic {names[0]} has {there[names[0]]} partitions and {names[1]} {there[names[1]]}; "
            "a label must land beside its transaction. Create both with one number."
        )
