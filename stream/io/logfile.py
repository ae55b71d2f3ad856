"""One SQLite file that holds topics: what the embedded bus is made of.

The file is in WAL mode, so readers never wait for the writer and one writer works at a time. What
was committed survives the death of any process; after a power cut the last moments may be missing,
but never half a transaction. The file must lie on a local disk, not on a network share.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from stream.io.bus import BusError, BusUnavailable, Message, TopicPartition
from stream.io.placing import partition_of

LOCK_SECONDS = 15.0
"""How long to wait for another process's write before the bus counts as unavailable."""

OFFSET_BITS = 40
"""A record's id is its partition's number in the file, then its offset in so many bits.

One integer key keeps the records of a partition together and in order, without a second index.
"""

_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE topic (name TEXT PRIMARY KEY, first INTEGER NOT NULL, partitions INTEGER NOT NULL,
    max_message_bytes INTEGER NOT NULL, config TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE source (id INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE record (id INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, key BLOB,
    value BLOB, headers TEXT);
CREATE TABLE position (consumers TEXT, source INTEGER, position INTEGER NOT NULL,
    PRIMARY KEY (consumers, source)) WITHOUT ROWID;
CREATE TABLE lease (consumers TEXT PRIMARY KEY, member TEXT NOT NULL, epoch INTEGER NOT NULL,
    expires_seconds REAL NOT NULL) WITHOUT ROWID;
"""
_LATEST = """
CREATE TABLE IF NOT EXISTS latest (source INTEGER, key BLOB, id INTEGER NOT NULL,
    PRIMARY KEY (source, key)) WITHOUT ROWID"""
_FROM_1 = (_LATEST, f"PRAGMA user_version = {_SCHEMA_VERSION}")
"""What a file of layout 1 lacks: the newest record of each key in the compacted topics."""

_ADVICE: dict[str, tuple[type[BusError], str]] = {
    "SQLITE_BUSY": (BusUnavailable, "another process holds it locked. Stop that one, or wait"),
    "SQLITE_LOCKED": (BusUnavailable, "another process holds it locked. Stop that one, or wait"),
    "SQLITE_FULL": (BusUnavailable, "the disk is full. Make room; what is there is intact"),
    "SQLITE_IOERR": (BusUnavailable, "the disk does not answer. Check it and its free space"),
    "SQLITE_CANTOPEN": (BusUnavailable, "it cannot be opened. Make it with `weir topics create`"),
    "SQLITE_READONLY": (BusError, "it is read-only for this user. Give write access to its folder"),
    "SQLITE_CORRUPT": (BusError, "it is damaged. Move it away and run `weir topics create`"),
    "SQLITE_NOTADB": (BusError, "it is no bus. Move it away, or name another file"),
    "SQLITE_TOOBIG": (BusError, "a message is too large for it. Send smaller ones"),
}


class Layout(NamedTuple):
    first: int
    partitions: int
    max_message_bytes: int
    compacted: bool


class LogFile:
    """A connection to the file, with its topics and with errors that say what to do."""

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.path = path
        self._layouts: dict[str, Layout] = {}
        self._sources: dict[TopicPartition, int] = {}
        self._keyless = count()
        self.closed = False
        if create:
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BusError(f"The folder of {path} cannot be made: {error}.") from error
        elif not Path(path).is_file():
            raise BusUnavailable(
                f"There is no bus at {path} yet. Make it with `weir topics create`."
            )
        with self.explained():
            self.sql = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare(create)
        except BaseException:
            self.sql.close()
            raise

    def _prepare(self, create: bool) -> None:
        if create:
            self._patiently("PRAGMA journal_mode = WAL")
        self._patiently("PRAGMA synchronous = NORMAL")
        self._patiently("PRAGMA journal_size_limit = 67108864")
        ((version,),) = self._patiently("PRAGMA user_version")
        if version == 0 and create:
            with self.transaction() as sql:
                ((version,),) = self.rows("PRAGMA user_version")
                if version == 0:  # else another process was quicker
                    for statement in [*filter(str.strip, _SCHEMA.split(";")), _LATEST]:
                        sql.execute(statement)
                    version = _SCHEMA_VERSION
                    sql.execute(f"PRAGMA user_version = {version}")
        if version == 0:
            raise BusUnavailable(
                f"There is no bus in {self.path} yet. Make it with `weir topics create`."
            )
        if version == 1:
            with self.transaction() as sql:
                for statement in _FROM_1:
                    sql.execute(statement)
            version = _SCHEMA_VERSION
        if version != _SCHEMA_VERSION:
            raise BusError(
                f"The bus in {self.path} was made by another version of Weir (layout {version}, "
                f"not {_SCHEMA_VERSION}). Name another file, or use that version."
            )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what SQLite says into what to do."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            kind = next((name for name in _ADVICE if code.startswith(name)), None)
            error_type, advice = _ADVICE[kind] if kind else (BusError, f"{error} ({code})")
            raise error_type(f"The bus at {self.path} failed: {advice}.") from error

    def _patiently(self, statement: str) -> list[Any]:
        """Run a statement that may have to wait for another process."""
        # Not SQLite's own waiting: its pauses grow to 100 ms, and a producer at full speed would
        # keep the worker from ever committing.
        deadline = time.monotonic() + LOCK_SECONDS
        pause_seconds = 0.0002
        with self.explained():
            while True:
                try:
                    return self.sql.execute(statement).fetchall()
                except sqlite3.OperationalError as error:
                    busy = getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
                    if not busy or time.monotonic() > deadline:
                        raise
                time.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 0.002)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside, or nothing where it raises."""
        self._patiently("BEGIN IMMEDIATE")
        try:
            with self.explained():
                yield self.sql
                self.sql.execute("COMMIT")
        finally:
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK")

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        with self.explained():
            return self.sql.execute(statement, parameters).fetchall()

    def version(self) -> int:
        """A number that changes when another connection commits."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def topics(self) -> dict[str, Layout]:
        rows = self.rows("SELECT name, first, partitions, max_message_bytes, config FROM topic")
        self._layouts = {
            name: Layout(first, partitions, most, "compact" in json.loads(config).values())
            for name, first, partitions, most, config in rows
        }
        return self._layouts

    def layout(self, topic: str) -> Layout:
        if topic not in self._layouts and topic not in self.topics():
            raise BusError(
                f"There is no topic {topic} in {self.path}. Make it with `weir topics create`."
            )
        return self._layouts[topic]

    def source(self, source: TopicPartition) -> int:
        """The number of a partition in the file."""
        id_ = self._sources.get(source)
        if id_ is None:
            layout = self.layout(source.topic)
            if not 0 <= source.partition < layout.partitions:
                raise BusError(
                    f"Topic {source.topic} in {self.path} has {layout.partitions} partitions, "
                    f"so no partition {source.partition}."
                )
            id_ = self._sources[source] = layout.first + source.partition
        return id_

    def append(
        self, sql: sqlite3.Connection, messages: Sequence[Message]
    ) -> dict[TopicPartition, int]:
        """Write messages behind what is there; the position behind the last one, by partition."""
        timestamp_ms = time.time_ns() // 1_000_000
        ends: dict[TopicPartition, int] = {}
        rows = []
        replaced: list[tuple[int, bytes, int | None]] = []
        latest: dict[tuple[int, bytes], int] = {}
        for topic, key, value, headers, wanted in messages:
            layout = self.layout(topic)
            size = len(value or b"") + len(key or b"")
            if size > layout.max_message_bytes:
                raise BusError(
                    f"A message of {size} bytes is too large for topic {topic}, which takes "
                    f"{layout.max_message_bytes}. Send smaller ones, or create the topic with more."
                )
            if wanted is not None:
                number = wanted
            elif key is not None:
                number = partition_of(key, layout.partitions)
            else:
                number = next(self._keyless) % layout.partitions
            source = TopicPartition(topic, number)
            id_ = self._sources.get(source)
            if id_ is None:
                id_ = self.source(source)
            offset = ends.get(source)
            if offset is None:
                found = sql.execute("SELECT next FROM source WHERE id = ?", (id_,)).fetchone()
                offset = int(found[0])
            ends[source] = offset + 1
            record = (id_ << OFFSET_BITS) + offset
            if layout.compacted and key is not None:
                replaced.append((id_, key, latest.get((id_, key))))
                latest[id_, key] = record
            rows.append(
                (
                    record,
                    timestamp_ms,
                    key,
                    value,
                    _dump_headers(headers) if headers else None,
                )
            )
        sql.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
        # Of each key of a compacted topic, only the newest record is kept.
        sql.executemany(
            "DELETE FROM record WHERE id = "
            "coalesce(?3, (SELECT id FROM latest WHERE source = ?1 AND key = ?2))",
            replaced,
        )
        sql.executemany(
            "INSERT OR REPLACE INTO latest VALUES (?, ?, ?)",
            [(*key, id_) for key, id_ in latest.items()],
        )
        sql.executemany(
            "UPDATE source SET next = ? WHERE id = ?",
            [(end, self._sources[source]) for source, end in ends.items()],
        )
        return ends

    def close(self) -> None:
        self.closed = True
        self.sql.close()


def _dump_headers(headers: Sequence[tuple[str, bytes]]) -> str:
    return json.dumps([(name, value.decode("latin-1")) for name, value in headers])


def load_headers(text: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value.encode("latin-1")) for name, value in json.loads(text))
