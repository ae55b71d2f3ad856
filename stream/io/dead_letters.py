"""The dead letters as they lie on their topic, and the way back to where they came from.

A replay writes, in the same commit as the letters it puts back, a *note* of their positions behind
them on the dead-letters topic. So what was replayed is known for as long as the letters are kept,
whoever asks, and whatever was killed when. A consumer group's position would not do: it knows no
gaps, and Kafka forgets it after a week without a member.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import NamedTuple

from stream.io.bus import (
    Broker,
    BusError,
    BusUnavailable,
    CommitLost,
    Consumer,
    Message,
    Reader,
    Record,
    TopicPartition,
    partitions_of,
    read_whole,
)

log = logging.getLogger(__name__)

REPLAYED_FROM = "replayed_from"
"""Header of a message that a replay put back: the position of its dead letter."""

_NOTE_HEADER = ("note", b"replayed")
_AT_ONCE = 500
_PROGRESS_SECONDS = 5.0
_PATIENCE_SECONDS = 90.0
"""Longer than Kafka lets a transaction be open."""
_DIGITS = re.compile(r"\d+")


class Letter(NamedTuple):
    """What is known of a dead letter besides its bytes. Its headers may be anybody's."""

    position: int
    published_ms: int
    """When it was published, in milliseconds since the epoch (UTC)."""
    reason: str
    topic: str | None
    """Where it came from, with partition and offset; None where the headers do not say."""
    partition: int | None
    offset: int | None
    size: int
    """Bytes of its value."""
    replayed_from: int | None
    """The position of the dead letter that it was before a replay put it back."""

    @property
    def kind(self) -> str:
        """The reason with `#` for each number, so that equal faults count together.

        >>> Letter(0, 0, "too large: 70000 bytes", None, None, None, 0, None).kind
        'too large: # bytes'
        """
        return _DIGITS.sub("#", self.reason)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters: positions from `first` to `last`, both included, and what they say."""

    first: int = 0
    last: int | None = None
    reason: str | None = None
    """Part of the reason or of its kind, upper or lower case alike."""
    topic: str | None = None

    def __contains__(self, letter: Letter) -> bool:
        text = (self.reason or "").lower()
        return (
            self.first <= letter.position
            and (self.last is None or letter.position <= self.last)
            and (text in letter.reason.lower() or text in letter.kind.lower())
            and self.topic in (None, letter.topic)
        )


class DeadLetters:
    """The topic of dead letters, read without a group. Close it when done.

    Raises `BusError` where the topic is not there or has more than one partition.
    """

    def __init__(self, broker: Broker, topic: str, stop: Event) -> None:
        partitions = partitions_of(broker, topic)
        if partitions != 1:
            raise BusError(
                f"Topic {topic!r} has {partitions} partitions, so a position does not name a "
                "dead letter. Create it anew with one, as `weir topics create` does."
            )
        self.source = TopicPartition(topic, 0)
        self.stop = stop
        """When this is set, reading goes no further."""
        self._reader: Reader = broker.reader()
        self.first = self._reader.beginning(self.source)
        """The first position that the bus still holds."""
        self.end = self._reader.end(self.source)
        """The position behind the last record, as it was at the beginning."""

    def close(self) -> None:
        self._reader.close()

    def settle(self, end: int) -> None:
        """Wait until records before `end` can be read. Raises `BusUnavailable` after a while."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.end < end and not self.stop.wait(0.02):
            if time.monotonic() > deadline:
                raise BusUnavailable(
                    f"What lies before position {end} of {self.source.topic} has not been "
                    f"committed within {_PATIENCE_SECONDS:.0f} s: another producer is in the "
                    "middle of it. Nothing was replayed; try again."
                )
            self.end = self._reader.end(self.source)

    def records(self, first: int, end: int) -> Iterator[list[Record]]:
        """Read records, letters and notes, from `first` to before `end`, a batch at a time."""
        self._reader.assign({self.source: max(first, self.first)})
        end, shown = min(end, self.end), time.monotonic()
        while not self.stop.is_set() and (at := self._reader.position(self.source)) < end:
            yield [r for r in self._reader.poll(_AT_ONCE, 0.5) if r.offset < end]
            if time.monotonic() - shown > _PROGRESS_SECONDS:
                shown = time.monotonic()
                log.info("%s read from %d to %d of %d", self.source.topic, first, at, end)

    def at(self, position: int) -> Record | None:
        """Return the record at a position; None where there is none."""
        if not self.first <= position < self.end:
            return None
        found = [record for batch in self.records(position, position + 1) for record in batch]
        return found[0] if found and found[0].offset == position else None


class Marks:
    """What was replayed of the positions from `first` to before `end`: a byte for each."""

    def __init__(self, first: int, end: int) -> None:
        self._first = first
        self._marks = bytearray(max(end - first, 0))

    def __contains__(self, position: int) -> bool:
        return bool(self._marks[position - self._first])

    def add(self, note: Record) -> None:
        """Take in what a note says; of one that is none of ours nothing."""
        for first, last in _ranges(note):
            begin = max(first - self._first, 0)
            end = min(last + 1 - self._first, len(self._marks))
            self._marks[begin:end] = b"\1" * (end - begin)


def letter(record: Record) -> Letter:
    """Return what the headers of a dead letter say."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers}

    def number(name: str) -> int | None:
        text = headers.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    return Letter(
        position=record.offset,
        published_ms=record.timestamp_ms,
        reason=headers.get("reason", "no reason given"),
        topic=headers.get("topic"),
        partition=number("partition"),
        offset=number("offset"),
        size=len(record.value or b""),
        replayed_from=number(REPLAYED_FROM),
    )


def is_note(record: Record) -> bool:
    """Whether a record of the topic is the note of a replay and no letter."""
    return _NOTE_HEADER in record.headers


def refused(
    broker: Broker,
    topic: str,
    start: Mapping[TopicPartition, int],
    goal: Mapping[TopicPartition, int],
) -> set[tuple[str, int, int]]:
    """Return topic, partition and offset of what became a dead letter between two positions.

    What handles records again needs it: what could not be read then was never decided, also where
    it can be read by now.
    """
    found: set[tuple[str, int, int]] = set()
    spans = {at: range(start[at], goal[at]) for at in goal if start[at] < goal[at]}
    if not spans:
        return found
    sources = [TopicPartition(topic, at) for at in range(broker.topics().get(topic, 0))]
    with closing(broker.reader()) as reader:
        for one in map(letter, read_whole(reader, sources)):
            if one.topic is None or one.partition is None or one.offset is None:
                continue
            if one.offset in spans.get(TopicPartition(one.topic, one.partition), ()):
                found.add((one.topic, one.partition, one.offset))
    return found


@dataclass(slots=True)
class Tally:
    """What a replay did, or would do."""

    replayed: dict[str, int] = field(default_factory=dict)
    """Letters put back, by topic."""
    before: int = 0
    """Were replayed before, and are left alone."""
    astray: int = 0
    """Do not say that they came from transactions or labels, and are left alone."""
    first: int | None = None
    last: int | None = None
    """Positions of the first and the last letter put back."""
    stopped_at: int | None = None
    """Where it was told to stop; None where it came to the end."""


def replay(
    broker: Broker,
    topic: str,
    origins: Sequence[str],
    wanted: Wanted,
    *,
    group: str,
    dry_run: bool,
    stop: Event,
) -> Tally:
    """Put the bytes of dead letters back on the topics they came from, each letter once.

    Key and partition are those they came with, and a header `replayed_from` tells the position.
    Only topics in `origins` are written. What is added to the dead letters meanwhile is left alone.

    Letters and the note of them are one commit of the group's only member: a second replay that
    begins fences the first. Raises `BusError` then, or where the bus refuses a letter; the same
    command goes on where this one ended.
    """
    partitions = broker.topics()
    tally = Tally()
    consumer = None if dry_run else _joined(broker, group, topic, stop)
    try:
        with closing(DeadLetters(broker, topic, stop)) as letters:
            if consumer is not None:
                # Once this can be read, so can every note of those who replayed before, also where
                # a worker's open transaction hides the end of the topic. No other will follow: only
                # the member that joined last can commit.
                letters.settle(_commit(consumer, [_note(topic, [])], 0)[letters.source])
            first, end = max(wanted.first, letters.first), letters.end
            last = end if wanted.last is None else min(wanted.last + 1, end)
            attend = _attendance(consumer, letters.source)
            done = _replayed(letters, first, attend)
            for batch in letters.records(first, last):
                attend()
                outputs = []
                for record in batch:
                    found = letter(record)
                    if is_note(record) or found not in wanted:
                        continue
                    if found.position in done:
                        tally.before += 1
                    elif found.topic not in origins or found.topic not in partitions:
                        tally.astray += 1
                    else:
                        outputs.append((found, _message(record, found, partitions[found.topic])))
                if outputs and consumer is not None:
                    positions = [found.position for found, _ in outputs]
                    note = _note(topic, positions)
                    _commit(consumer, [*(message for _, message in outputs), note], positions[0])
                for found, message in outputs:
                    tally.replayed[message.topic] = tally.replayed.get(message.topic, 0) + 1
                    tally.first = found.position if tally.first is None else tally.first
                    tally.last = found.position
            if stop.is_set():
                tally.stopped_at = first if tally.last is None else tally.last + 1
    finally:
        if consumer is not None:
            consumer.close()
    return tally


def _joined(broker: Broker, group: str, topic: str, stop: Event) -> Consumer:
    """Become the only member of the group, whoever was it before."""
    consumer = broker.consumer(group=group, member="replay", inputs=[topic])
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not consumer.assignment() and not stop.is_set():
            consumer.poll(1, 0.2, [TopicPartition(topic, 0)])
            if time.monotonic() > deadline:
                raise BusUnavailable(
                    f"Group {group} gave no partition of {topic} within {_PATIENCE_SECONDS:.0f} s. "
                    "Nothing was replayed; look whether another member is in it, and try again."
                )
    except BaseException:
        consumer.close()
        raise
    return consumer


def _attendance(consumer: Consumer | None, source: TopicPartition) -> Callable[[], None]:
    """What keeps the membership alive while the topic is read."""

    def attend() -> None:
        if consumer is not None:
            consumer.poll(1, 0.0, [source])

    return attend


def _replayed(letters: DeadLetters, first: int, attend: Callable[[], None]) -> Marks:
    marks = Marks(first, letters.end)
    for batch in letters.records(first, letters.end):
        attend()
        for record in filter(is_note, batch):
            marks.add(record)
    return marks


def _message(record: Record, found: Letter, partitions: int) -> Message:
    assert found.topic is not None  # noqa: S101 - it is one of the origins
    there = found.partition is not None and found.partition < partitions
    return Message(
        found.topic,
        record.key,
        record.value or b"",
        ((REPLAYED_FROM, str(found.position).encode()),),
        # The topic may have been made anew with fewer; then the key decides.
        found.partition if there else None,
    )


def _commit(
    consumer: Consumer, outputs: Sequence[Message], before: int
) -> dict[TopicPartition, int]:
    try:
        return consumer.commit(outputs, {})
    except CommitLost as lost:
        raise BusError(
            f"The replay ended before position {before}: {lost} Where another replay has begun, it "
            "goes on with the rest; else run the same command again. What was put back is known, "
            "and nothing goes out twice."
        ) from lost


def _note(topic: str, positions: Sequence[int]) -> Message:
    """Return the note of a replay: positions as ranges, first and last included."""
    ranges: list[list[int]] = []
    for position in positions:
        if ranges and position == ranges[-1][1] + 1:
            ranges[-1][1] = position
        else:
            ranges.append([position, position])
    return Message(topic, None, json.dumps({"replayed": ranges}).encode(), (_NOTE_HEADER,), 0)


def _ranges(note: Record) -> list[tuple[int, int]]:
    try:
        return [
            (int(first), int(last))
            for first, last in json.loads(note.value or b"")["replayed"]
            if 0 <= first <= last
        ]
    except (ValueError, TypeError, KeyError):
        log.warning("The note at position %d cannot be read and is left out.", note.offset)
        return []
