"""Tails partitions of the embedded bus."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import closing
from itertools import count

from stream.io.bus import BusError, Record, TopicPartition
from stream.io.logfile import OFFSET_BITS, LogFile, load_headers

POLL_BYTES = 32 * 1024 * 1024
"""A poll returns no further record once it holds this much, so that big ones fit in memory."""


class EmbeddedReader:
    """Tails partitions of the file."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._positions: dict[TopicPartition, int] = {}
        self._turns = count()

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        for source, position in positions.items():
            self._file.source(source)
            if position < 0:
                raise BusError(f"{source.topic}[{source.partition}] has no position {position}.")
        self._positions = dict(positions)

    def seek(self, source: TopicPartition, position: int) -> None:
        """Read one of the partitions from another position."""
        self.assign({**self._positions, source: position})

    def poll(
        self, max_records: int, timeout_seconds: float, skip: Collection[TopicPartition] = ()
    ) -> list[Record]:
        deadline = time.monotonic() + timeout_seconds
        pause_seconds = 0.0005
        version = self._file.version()
        while not (records := self._fetch(max_records, skip)):
            while self._file.version() == version:
                left_seconds = deadline - time.monotonic()
                if left_seconds <= 0:
                    return []
                time.sleep(min(pause_seconds, left_seconds))
                pause_seconds = min(pause_seconds * 1.5, 0.01)
            version = self._file.version()
        return records

    def _fetch(self, max_records: int, skip: Collection[TopicPartition]) -> list[Record]:
        records: list[Record] = []
        sources = [source for source in self._positions if source not in skip]
        # The first partition of the last time comes last now, so that a full one starves no other.
        turn = next(self._turns) % max(len(sources), 1)
        room = POLL_BYTES
        for source in sources[turn:] + sources[:turn]:
            if len(records) >= max_records or room <= 0:
                break
            topic, partition = source
            base = self._file.source(source) << OFFSET_BITS
            with (
                self._file.explained(),
                closing(
                    self._file.sql.execute(
                        "SELECT id, timestamp_ms, key, value, headers FROM record "
                        "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                        (
                            base + self._positions[source],
                            base + (1 << OFFSET_BITS),
                            max_records - len(records),
                        ),
                    )
                ) as rows,
            ):
                offset = None
                for id_, timestamp_ms, key, value, headers in rows:
                    offset = id_ - base
                    records.append(
                        Record(
                            topic,
                            partition,
                            offset,
                            timestamp_ms,
                            key,
                            value,
                            load_headers(headers) if headers else (),
                        )
                    )
                    room -= len(value or b"")
                    if room <= 0:
                        break
            if offset is not None:
                self._positions[source] = offset + 1
        return records

    def position(self, source: TopicPartition) -> int:
        if source not in self._positions:
            raise BusError(f"{source.topic}[{source.partition}] is not read here. Assign it first.")
        return self._positions[source]

    def at_end(self, source: TopicPartition) -> bool:
        return self.position(source) >= self.end(source)

    def end(self, source: TopicPartition) -> int:
        id_ = self._file.source(source)
        ((position,),) = self._file.rows("SELECT next FROM source WHERE id = ?", (id_,))
        return int(position)

    def beginning(self, source: TopicPartition) -> int:
        self._file.source(source)
        return 0

    def close(self) -> None:
        self._file.close()
