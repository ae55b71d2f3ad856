"""The bus on one SQLite file: several processes on one machine produce, consume and tail.

Reader and consumer are next door, the file itself is in `logfile`. Objects made here are each for
one thread. Whoever outgrows one machine goes to Kafka.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import closing

from stream.io.bus import BusError, Message, TopicSpec
from stream.io.embedded_consumer import EmbeddedConsumer
from stream.io.embedded_reader import EmbeddedReader
from stream.io.logfile import LogFile


class EmbeddedBroker:
    """The bus in the file at `path`. `create_topics` makes the file, the rest needs it there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def topics(self, expected: Collection[str] = ()) -> dict[str, int]:  # noqa: ARG002 - no rights
        with closing(LogFile(self.path)) as file:
            return {name: layout.partitions for name, layout in file.topics().items()}

    def create_topics(self, topics: Sequence[TopicSpec]) -> list[str]:
        with closing(LogFile(self.path, create=True)) as file, file.transaction() as sql:
            there = file.topics()
            missing = [spec for spec in topics if spec.name not in there]
            for spec in topics:
                if spec.name in there and there[spec.name].partitions != spec.partitions:
                    raise BusError(
                        f"Topic {spec.name} has {there[spec.name].partitions} partitions in "
                        f"{self.url}, not {spec.partitions}. Set the number to what is there, or "
                        "start with another file."
                    )
                if spec.partitions < 1:
                    raise BusError(f"Topic {spec.name} needs at least one partition.")
            for spec in missing:
                (first,) = sql.execute("SELECT coalesce(max(id) + 1, 0) FROM source").fetchone()
                sources = range(first, first + spec.partitions)
                sql.executemany("INSERT INTO source VALUES (?, 0)", [(id_,) for id_ in sources])
                sql.execute(
                    "INSERT INTO topic VALUES (?, ?, ?, ?, ?)",
                    (
                        spec.name,
                        first,
                        spec.partitions,
                        spec.max_message_bytes,
                        json.dumps(dict(spec.config)),
                    ),
                )
            return [spec.name for spec in missing]

    def publisher(self) -> EmbeddedPublisher:
        return EmbeddedPublisher(LogFile(self.path))

    def reader(self, *, patient: bool = False) -> EmbeddedReader:  # noqa: ARG002 - all are
        return EmbeddedReader(LogFile(self.path))

    def consumer(
        self,
        *,
        group: str,
        member: str,
        inputs: Sequence[str],
        exactly_once: bool = True,  # noqa: ARG002 - it always is
    ) -> EmbeddedConsumer:
        return EmbeddedConsumer(self.path, group, member, inputs)


class EmbeddedPublisher:
    """Publishes at once: what `publish` was given is on the bus when it returns."""

    def __init__(self, file: LogFile) -> None:
        self._file = file

    def publish(self, messages: Sequence[Message]) -> None:
        if messages:
            with self._file.transaction() as sql:
                self._file.append(sql, messages)

    def flush(self) -> None:
        """Do nothing: `publish` has waited."""

    def close(self) -> None:
        self._file.close()
