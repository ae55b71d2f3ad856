"""Fits shared by the workers of a group: each is done by one of them, and read by the others."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import closing
from importlib.metadata import version
from typing import cast

from stream.core.boosted import Fitting
from stream.core.trees import Fit, Trees
from stream.io.background import Background
from stream.io.bus import Broker, BusError, Message, TopicPartition
from stream.settings import Settings

log = logging.getLogger(__name__)

_LEAST_PATIENCE_SECONDS, _MOST_PATIENCE_SECONDS = 1.0, 10.0
"""How long trees of another worker are waited for where they should be in force by now."""
_PATIENCE_SECONDS = 200e-6
"""The same, per example that they are fitted to: some twenty times as long as a fit takes, as the
others may have the core that it is done on."""
_HELD = 256
"""Fits that are held at most, packed: more than a long training log comes to."""
_HELD_BYTES = 262_144
"""Of one of them, at most: they have a quarter of it."""
_POLL_SECONDS = 0.5
_LOOK_SECONDS = 0.1
"""Between two looks of one who does not wait: each takes a millisecond."""
_QUIET_SECONDS = 5.0
"""Without a record for so long, what was fitted before is not waited for."""
_UNUSED = "trees of another worker cannot be read, and are fitted anew: %s"


class SharedFits:
    """Where the fits of a worker are done: by itself, or by another worker of its group.

    All workers come to the same fits at the same positions of the training log. Each fit is the
    turn of whoever owns a certain partition: that worker fits in its background and publishes the
    trees at once. The others read them when they are to be in force. They go by a digest of all
    that trees follow from, so a worker only takes those that it would have come to itself. Where
    they do not come in time, or the topic cannot be used, it fits for itself.

    Parameters
    ----------
    settings
        Of the application.
    background
        Where this worker fits.
    broker
        Where the topic of fits is.
    owned
        The partitions that the worker owns, as they are at any time.
    partitions
        How many there are.
    """

    def __init__(
        self,
        settings: Settings,
        background: Background,
        broker: Broker,
        owned: Collection[int],
        partitions: int,
    ) -> None:
        self.waits = False
        """Whether others are at the same fits now; while one learns what is past, they are not."""
        self._background = background
        self._broker = broker
        self._reader = broker.reader(patient=True)
        self._source = TopicPartition(settings.fits_topic, 0)
        self._owned = owned
        self._partitions = partitions
        self._packed: dict[str, bytes] = {}
        """Trees that were read, by the digest of their fit, the oldest first."""
        self._awaited: set[_Theirs] = set()
        self._fitting: set[Future[Trees]] = set()
        self._missed = False
        """Whether trees did not come in time, and none have come since."""
        self._made_with = f"weir {version('weir')}, numpy {version('numpy')}"

    def open(self) -> None:
        """Read what was fitted before, the newest."""
        try:
            end = self._reader.end(self._source)
            begin = max(self._reader.beginning(self._source), end - 4 * _HELD)
            self._reader.assign({self._source: begin})
            patience = time.monotonic()
            while self._reader.position(self._source) < end:
                if self._read(0.5):
                    patience = time.monotonic()
                elif time.monotonic() - patience > _QUIET_SECONDS:
                    return
        except BusError as error:
            log.warning("trees fitted before cannot be read, and are fitted anew: %s", error)

    def submit(self, fit: Fit, /) -> Fitting:
        """Have a fit done here, where it is this worker's turn, or by another."""
        if self.waits and not self.mine(fit):
            theirs = _Theirs(self, fit, self._background.submit(self.digest, fit))
            self._awaited.add(theirs)
            return theirs
        ours = self._background.submit(self.fitted if self.waits else self._past, fit)
        self._fitting.add(ours)
        ours.add_done_callback(self._fitting.discard)
        return ours

    def mine(self, fit: Fit) -> bool:
        """Whether it is this worker's turn."""
        how = f"{fit.strategy} {fit.target_share} {fit.seed}"
        return zlib.crc32(how.encode()) % self._partitions in self._owned

    def digest(self, fit: Fit) -> str:
        """Return what the trees of a fit are known by."""
        return fit.digest(self._made_with)

    def fitted(self, fit: Fit) -> Trees:
        """Fit here, and publish the trees."""
        trees = fit()
        message = Message(
            self._source.topic, self.digest(fit).encode(), trees.to_bytes(), partition=0
        )
        try:
            with closing(self._broker.publisher()) as publisher:  # seldom: none is kept
                publisher.publish([message])
        except BusError as error:
            log.warning("trees are not there for other workers, who fit them anew: %s", error)
        return trees

    def settled(self) -> bool:
        """Whether all trees that were begun have come: nobody would wait for them."""
        for theirs in list(self._awaited):
            theirs.look()
        return not (self._awaited or self._fitting)

    def has_come(self, theirs: _Theirs) -> None:
        """Await these trees no longer."""
        self._awaited.discard(theirs)

    def patience_seconds(self, fit: Fit) -> float:
        """Return how long trees of another worker are waited for where they are due."""
        by_size = _LEAST_PATIENCE_SECONDS + _PATIENCE_SECONDS * len(fit.frauds)
        return 0.0 if self._missed else min(by_size, _MOST_PATIENCE_SECONDS)

    def here(self, fit: Fit) -> Future[Trees]:
        """Fit here what another worker should have fitted."""
        mine = self.mine(fit)
        return self._background.submit(self.fitted, fit) if mine else self._background.submit(fit)

    def late(self) -> None:
        """Have patience again only once trees have come."""
        log.info("trees of another worker did not come in time: fitting them here")
        self._missed = True

    def take(self, digest: str, timeout_seconds: float = 0.0) -> Trees | None:
        """Return the trees of a fit that another worker has done, if they are there.

        Waits so long for any. Raises `BusError`, and `ValueError` for what is no trees.
        """
        if digest not in self._packed:
            self._read(timeout_seconds)
        return self._held(digest)

    def close(self) -> None:
        self._reader.close()

    def _past(self, fit: Fit) -> Trees:
        """The trees of a fit that is long past, if they were published, or else fitted here."""
        trees = None
        try:
            trees = self._held(self.digest(fit))
        except ValueError as error:
            log.warning(_UNUSED, error)
        return trees or fit()

    def _held(self, digest: str) -> Trees | None:
        """The trees of a fit, if they were read. They are let go of."""
        packed = self._packed.pop(digest, None)
        return None if packed is None else Trees.from_bytes(packed)

    def _read(self, timeout_seconds: float) -> int:
        records = self._reader.poll(_HELD, timeout_seconds)
        for record in records:
            if record.value and record.key and len(record.value) <= _HELD_BYTES:
                self._packed[record.key[:64].decode(errors="replace")] = record.value
                self._missed = False
            if len(self._packed) > _HELD:
                del self._packed[next(iter(self._packed))]
        return len(records)


class _Theirs:
    """Trees that another worker fits."""

    def __init__(self, fits: SharedFits, fit: Fit, digest: Future[str]) -> None:
        self._fits = fits
        self._fit = fit
        self._digest = digest
        self._trees: Trees | None = None
        self._looks_at = 0.0
        """When to look next without waiting, by the monotonic clock."""
        self._due: float | None = None
        """When they do not come in time, by the monotonic clock: known once they are asked for."""
        self._own: Future[Trees] | None = None
        """The same, fitted here, as they did not."""

    def look(self, wait_seconds: float = 0.0) -> None:
        """Take them, if they are there. Waits so long for any."""
        if self._trees is not None or not self._digest.done():
            return
        if self._own is None:
            now = time.monotonic()
            if not wait_seconds and now < self._looks_at:
                return
            self._looks_at = now + _LOOK_SECONDS
            try:
                self._trees = self._fits.take(self._digest.result(), wait_seconds)
            except (BusError, ValueError) as error:
                log.warning(_UNUSED, error)
                self._own = self._fits.here(self._fit)
        elif self._own.done():
            self._trees = self._own.result()
        if self._trees is not None:
            self._fits.has_come(self)

    def done(self) -> bool:
        """Whether they are there. Asked where they are due: if late, they are fitted here."""
        self.look()
        if self._trees is None and self._own is None and self._digest.done():
            if self._fits.mine(self._fit):  # by now: partitions move
                self._own = self._fits.here(self._fit)
            elif self._is_late():
                self._fits.late()
                self._own = self._fits.here(self._fit)
        return self._trees is not None

    def _is_late(self) -> bool:
        now = time.monotonic()
        if self._due is None:
            self._due = now + self._fits.patience_seconds(self._fit)
        return now >= self._due

    def result(self) -> Trees:
        self._digest.result()
        while not self.done():
            if self._own is None:
                self.look(_POLL_SECONDS)
            else:
                self._own.result()
        return cast(Trees, self._trees)
