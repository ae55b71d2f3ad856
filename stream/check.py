"""Are broker, topics and Redis there, and what to do if not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stream.io.bus import BusError, BusRefused, TopicSpec, connect
from stream.io.redis_link import StoreError, StoreRefused
from stream.io.security import kafka_security, redis_security
from stream.io.store import StoreReader
from stream.settings import Settings


class Finding(NamedTuple):
    """One thing that was looked at; `text` says what to do where it is not well."""

    well: bool
    what: str
    text: str
    refused: bool = False
    """Whether it is there, and refuses us."""


def look(settings: Settings, wanted: Sequence[TopicSpec]) -> Iterator[Finding]:
    """Look at the bus, at each topic that is wanted there, and at Redis."""
    try:
        broker = connect(settings.bus, kafka_security(settings))
        held = broker.topics([spec.name for spec in wanted])
        yield Finding(True, "bus", broker.url)
        yield from _topics(settings, wanted, held)
    except BusError as error:
        yield Finding(False, "bus", str(error), isinstance(error, BusRefused))
    try:
        reader = StoreReader(settings.redis, settings.redis_prefix, redis_security(settings))
        reader.probe()
        yield Finding(True, "redis", reader.url)
    except StoreError as error:
        yield Finding(False, "redis", str(error), isinstance(error, StoreRefused))


def _topics(
    settings: Settings, wanted: Sequence[TopicSpec], held: dict[str, int]
) -> Iterator[Finding]:
    for spec in wanted:
        found = held.get(spec.name)
        if found is None:
            yield Finding(False, "topic", f"{spec.name} is not there: run `weir topics create`")
        elif spec.name == settings.training_topic and found != 1:
            text = f"{spec.name} has {found} partitions and must have 1, or models differ"
            yield Finding(False, "topic", text)
        else:
            yield Finding(True, "topic", f"{spec.name}, {found} partition(s)")
    inputs = [held.get(settings.transactions_topic), held.get(settings.labels_topic)]
    if None not in inputs and inputs[0] != inputs[1]:
        text = f"transactions and labels must have one number of partitions, not {inputs}"
        yield Finding(False, "topics", text)
