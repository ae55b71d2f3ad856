"""What a group has decided, as its topic has it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stream.core.wire import Decided
from stream.io.bus import Record, TopicPartition, connect, partitions_of, read_whole
from stream.settings import Settings


def sources(settings: Settings) -> list[TopicPartition]:
    """Return the partitions of the decisions topic."""
    count = partitions_of(connect(settings.bus), settings.decisions_topic)
    return [TopicPartition(settings.decisions_topic, at) for at in range(count)]


def decided(settings: Settings) -> Iterator[tuple[Record, Decided]]:
    """Yield each batch that was decided, with its record, up to where the topic ends now."""
    reader = connect(settings.bus).reader()
    try:
        for record in read_whole(reader, sources(settings)):
            yield record, msgspec.json.decode(record.value or b"", type=Decided)
    finally:
        reader.close()
