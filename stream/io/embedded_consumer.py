"""A worker's membership in a group on the embedded bus.

One consumer of a group owns all partitions, by a lease that it renews and that carries an epoch;
every commit checks the epoch, so a former owner cannot publish. The others stand by.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from stream.io.bus import BusError, CommitLost, Message, Record, TopicPartition
from stream.io.embedded_reader import EmbeddedReader
from stream.io.logfile import LogFile

log = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
"""A consumer whose process has died is replaced after this time."""
SILENCE_SECONDS = 300.0
"""One that lives but has not polled or committed for so long is replaced, too."""


class _Lease(NamedTuple):
    member: str
    epoch: int
    expires_seconds: float


class EmbeddedConsumer:
    """A member of a group: owns all partitions of the inputs, or stands by with none.

    A poll that changes the assignment returns no records.
    """

    mark = 0

    def __init__(self, path: str, group: str, member: str, inputs: Sequence[str]) -> None:
        self._group = group
        self._member = member
        self._epoch: int | None = None
        self._fenced: str | None = None
        self._ahead: list[Message] = []
        self._assignment: frozenset[int] = frozenset()
        self._look_again = 0.0
        self._file = LogFile(path)
        self._reader = EmbeddedReader(self._file)
        self._renewal: _Renewal | None = None
        try:
            counts = {name: self._file.layout(name).partitions for name in inputs}
            if len(set(counts.values())) != 1:
                found = ", ".join(f"{name}: {count}" for name, count in counts.items())
                raise BusError(
                    f"All inputs must have the same number of partitions, but have {found}. "
                    "Create them anew with one number."
                )
            self._partitions = range(counts[inputs[0]])
            self._sources = [TopicPartition(name, at) for name in inputs for at in self._partitions]
            self._take(even_from=member)
        except BusError:
            self._file.close()
            raise

    def poll(
        self,
        max_records: int,
        timeout_seconds: float,
        skip: Collection[TopicPartition] = (),
    ) -> list[Record]:
        deadline = time.monotonic() + timeout_seconds
        while True:
            if self._follow_lease():
                return []
            left_seconds = deadline - time.monotonic()
            if self._epoch is not None:
                records = self._reader.poll(max_records, max(0.0, min(left_seconds, 1.0)), skip)
                if records:
                    return records
            elif left_seconds > 0:
                time.sleep(min(left_seconds, 0.05))
            if left_seconds <= 0:
                return []

    def assignment(self) -> frozenset[int]:
        return self._assignment

    def committed(self, source: TopicPartition) -> int | None:
        rows = self._file.rows(
            "SELECT position FROM position WHERE consumers = ? AND source = ?",
            (self._group, self._file.source(source)),
        )
        return int(rows[0][0]) if rows else None

    def seek(self, source: TopicPartition, position: int) -> None:
        if source not in self._sources or source.partition not in self._assignment:
            raise BusError(
                f"{source.topic}[{source.partition}] is not owned by {self._member} of "
                f"{self._group}."
            )
        self._reader.seek(source, position)

    def at_end(self, source: TopicPartition) -> bool:
        return self._reader.at_end(source)

    def end(self, source: TopicPartition) -> int:
        return self._reader.end(source)

    def send(self, outputs: Sequence[Message]) -> None:
        self._ahead += outputs

    def has_sent(self) -> bool:
        return False

    def settle(self) -> None:
        """Nothing: positions are committed when `commit` returns."""

    def commit(
        self, outputs: Sequence[Message], positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        outputs, self._ahead = [*self._ahead, *outputs], []
        if self._renewal is not None:
            self._renewal.active()
        with self._file.transaction() as sql:
            owns = self._owns()
            if owns and self._assignment:
                written = self._file.append(sql, outputs)
                sql.executemany(
                    "INSERT INTO position VALUES (?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET position = excluded.position",
                    [
                        (self._group, self._file.source(source), position)
                        for source, position in positions.items()
                    ],
                )
                return written
        if self._epoch is not None and not owns:
            self._lose()
        raise CommitLost(
            self._fenced
            or f"{self._member} does not own the partitions of {self._group} any more; "
            "nothing was published."
        )

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            if self._renewal is not None:
                self._renewal.stop()
            with self._file.transaction() as sql:
                sql.execute(
                    "UPDATE lease SET expires_seconds = 0 WHERE consumers = ? AND epoch = ?",
                    (self._group, self._epoch),
                )
        except BusError as error:
            log.warning("The lease of %s could not be given back: %s", self._group, error)
        finally:
            self._assignment = frozenset()
            self._file.close()

    def _follow_lease(self) -> bool:
        """Take the lease where it is free, see where it was taken; whether any of it was."""
        if self._fenced:
            raise BusError(self._fenced)
        now = time.monotonic()
        if self._renewal is not None:
            self._renewal.active()
        if now >= self._look_again:
            self._look_again = now + (0.1 if self._epoch is None else LEASE_SECONDS / 4)
            if self._epoch is None:
                self._take()
            elif not self._owns():
                self._lose()
                return True
        if self._epoch is None or self._assignment:
            return False
        self._reader.assign({source: self.committed(source) or 0 for source in self._sources})
        self._assignment = frozenset(self._partitions)
        log.info("%s of %s owns partitions %s", self._member, self._group, list(self._partitions))
        return True

    def _lease(self) -> _Lease | None:
        rows = self._file.rows(
            "SELECT member, epoch, expires_seconds FROM lease WHERE consumers = ?", (self._group,)
        )
        return _Lease(*rows[0]) if rows else None

    def _owns(self) -> bool:
        lease = self._lease()
        return lease is not None and lease.epoch == self._epoch

    def _take(self, even_from: str | None = None) -> None:
        """Take the lease where it is free, expired, or held by `even_from`."""

        def free(lease: _Lease | None) -> bool:
            return (
                lease is None
                or lease.member == even_from
                # Far in the future: the clock was set back since.
                or not 0 <= lease.expires_seconds - time.time() <= LEASE_SECONDS
            )

        if not free(self._lease()):  # a look costs others nothing, a transaction makes them wait
            return
        with self._file.transaction() as sql:
            lease = self._lease()
            if free(lease):
                epoch = lease.epoch + 1 if lease else 1
                sql.execute(
                    "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)",
                    (self._group, self._member, epoch, time.time() + LEASE_SECONDS),
                )
                self._epoch = epoch
        if self._epoch is not None:
            self._renewal = _Renewal(self._file.path, self._group, self._epoch)
            self._renewal.start()

    def _lose(self) -> None:
        """Stand by again; for good, where another of the same name has taken over."""
        if self._renewal is not None:
            self._renewal.stop()
            self._renewal = None
        lease = self._lease()
        if lease is not None and lease.member == self._member and lease.epoch != self._epoch:
            self._fenced = (
                f"Another worker named {self._member} has taken over in {self._group}. "
                "Give every worker a name of its own."
            )
        log.warning("%s lost the partitions of %s", self._member, self._group)
        self._epoch = None
        self._assignment = frozenset()
        self._reader.assign({})


class _Renewal(threading.Thread):
    """Renews a lease in the background, so that a long batch or a long restore does not lose it."""

    def __init__(self, path: str, group: str, epoch: int) -> None:
        super().__init__(name="lease", daemon=True)
        self._path = path
        self._lease = (group, epoch)
        self._stopped = threading.Event()
        self._active_at = time.monotonic()

    def active(self) -> None:
        """Note that the owner is at work."""
        self._active_at = time.monotonic()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def run(self) -> None:
        while not self._stopped.wait(LEASE_SECONDS / 4):
            if time.monotonic() - self._active_at > SILENCE_SECONDS:
                continue
            try:
                with closing(LogFile(self._path)) as file, file.transaction() as sql:
                    sql.execute(
                        "UPDATE lease SET expires_seconds = ? WHERE consumers = ? AND epoch = ?",
                        (time.time() + LEASE_SECONDS, *self._lease),
                    )
            except BusError as error:
                log.warning("The lease of %s could not be renewed: %s", self._lease[0], error)
