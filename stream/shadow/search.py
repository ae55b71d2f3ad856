"""Where in a partition something is reached: a few looks instead of reading all of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.io.bus import BusUnavailable, Reader, Record, TopicPartition

_AT_ONCE = 20
_PATIENCE_SECONDS = 30.0


def search(
    reader: Reader,
    source: TopicPartition,
    first: int,
    end: int,
    reached: Callable[[Record], bool | None],
) -> int:
    """Return the first position in [first, end] whose record has reached what is looked for.

    What has been reached stays so behind it; of a record that says nothing, such as one that cannot
    be read, `reached` is None, and the next is asked. Takes about log2(end - first) looks. The
    reader is assigned anew.
    """
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        record, said = _first_that_says(reader, source, middle, high, reached)
        if record is None or said:
            high = middle
        else:
            low = record.offset + 1
    return low


def _first_that_says(
    reader: Reader,
    source: TopicPartition,
    first: int,
    end: int,
    reached: Callable[[Record], bool | None],
) -> tuple[Record | None, bool | None]:
    at = first
    while at < end:
        for record in read_from(reader, source, at, end):
            said = reached(record)
            if said is not None:
                return record, said
        at = reader.position(source)
    return None, None


def read_from(reader: Reader, source: TopicPartition, first: int, end: int) -> list[Record]:
    """Return a few records of [first, end), the next that there are; none where there are no more.

    Raises `BusUnavailable` where the bus gives none for too long.
    """
    reader.assign({source: first})
    until = time.monotonic() + _PATIENCE_SECONDS
    while not (found := reader.poll(_AT_ONCE, 0.2)):
        if reader.position(source) >= end:
            return []
        if time.monotonic() > until:
            raise BusUnavailable(
                f"{source.topic}[{source.partition}] gives no record from position {first} on, and "
                f"ends at {end}. Try again later."
            )
    return [record for record in found if record.offset < end]


def last_record(reader: Reader, source: TopicPartition, first: int, end: int) -> Record | None:
    """Return the last record of [first, end): at the end of a topic may be marks that are none."""
    back = 1
    while back < 2 * (end - first):
        at = max(end - back, first)
        newest: Record | None = None
        while at < end and (found := read_from(reader, source, at, end)):
            newest, at = found[-1], found[-1].offset + 1
        if newest is not None:
            return newest
        back *= 2
    return None
