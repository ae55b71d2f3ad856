"""Fits shared by the workers of a group: each is done by one of them, and read by the others."""

from __future__ import annotations

import logging
import time
import zlib
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future

from stream.core.boosted import Fitting
from stream.core.trees import Fit, Trees
from stream.io.background import Background
from stream.io.bus import BusUnavailable, Message, Reader, TopicPartition, read_whole
from stream.settings import Settings

log = logging.getLogger(__name__)

_LEAST_PATIENCE_SECONDS, _MOST_PATIENCE_SECONDS = 0.1, 2.0
"""How long trees of another worker are waited for where they should be in force by now."""
_PATIENCE_SECONDS = 40e-6
"""The same, per example that they are fitted to: some four times as long as a fit takes."""
_HELD = 256
"""Fits that are held at most, packed: more than a long training log comes to."""
_POLL_SECONDS = 0.05


class SharedFits:
    """Where the fits of a worker are done: by itself, or by another worker of its group.

    All workers come to the same fits at the same positions of the training log. Each fit is the
    turn of whoever owns a certain partition: that worker fits in its background and publishes the
    trees with its next commit. The others read them when they are to be in force. They go by a
    digest of all that trees follow from, so a worker only takes those that it would have come to
    itself. Where they do not come in time, it fits for itself.

    Parameters
    ----------
    settings
        Of the application.
    background
        Where this worker fits.
    reader
        For the topic of fits. It is closed with this.
    owned
        The partitions that the worker owns, as they are at any time.
    partitions
        How many there are.
    """

    def __init__(
        self,
        settings: Settings,
        background: Background,
        reader: Reader,
        owned: Collection[int],
        partitions: int,
    ) -> None:
        self.waits = False
        """Whether others are at the same fits now; while one learns what is past, they are not."""
        self._background = background
        self._reader = reader
        self._source = TopicPartition(settings.fits_topic, 0)
        self._owned = owned
        self._partitions = partitions
        self._packed: dict[str, bytes] = {}
        """Trees that were read, by the digest of their fit, the oldest first."""
        self._own: deque[Message] = deque()
        """Fitted here and not yet published."""

    def open(self) -> None:
        """Read what was fitted before."""
        for record in read_whole(self._reader, [self._source]):
            self._hold(record.key, record.value)

    def submit(self, fit: Fit, /) -> Fitting:
        """Have a fit done here, where it is this worker's turn, or by another."""
        if self.mine(fit):
            return self._background.submit(self.fitted, fit)
        return _Theirs(self, fit, self._background.submit(fit.digest))

    def mine(self, fit: Fit) -> bool:
        """Whether it is this worker's turn."""
        how = f"{fit.strategy} {fit.target_share} {fit.seed}"
        return zlib.crc32(how.encode()) % self._partitions in self._owned

    def fitted(self, fit: Fit) -> Trees:
        """Fit here, and have the trees published."""
        trees = fit()
        key = fit.digest().encode()
        self._own.append(Message(self._source.topic, key, trees.to_bytes(), partition=0))
        return trees

    def messages(self) -> list[Message]:
        """Return what is to be published with the next commit."""
        return list(self._own)

    def published(self, messages: Collection[Message]) -> None:
        """Forget what was published."""
        for _ in messages:
            self._own.popleft()

    def take(self, digest: str, timeout_seconds: float) -> Trees | None:
        """Return the trees of a fit that another worker has done, if they come in time."""
        deadline = time.monotonic() + timeout_seconds
        while digest not in self._packed:
            left = deadline - time.monotonic()
            try:
                for record in self._reader.poll(_HELD, max(0.0, min(left, _POLL_SECONDS))):
                    self._hold(record.key, record.value)
            except BusUnavailable as error:
                log.warning("fits of other workers cannot be read: %s", error)
                return None
            if left <= 0.0 and digest not in self._packed:
                return None
        try:
            return Trees.from_bytes(self._packed.pop(digest))
        except ValueError as error:
            log.warning("a fit of another worker cannot be read, and is done anew: %s", error)
            return None

    def close(self) -> None:
        self._reader.close()

    def _hold(self, key: bytes | None, value: bytes | None) -> None:
        self._packed[(key or b"").decode(errors="replace")] = value or b""
        if len(self._packed) > _HELD:
            del self._packed[next(iter(self._packed))]


class _Theirs:
    """Trees that another worker fits."""

    def __init__(self, fits: SharedFits, fit: Fit, digest: Future[str]) -> None:
        self._fits = fits
        self._fit = fit
        self._digest = digest
        self._trees: Trees | None = None

    def result(self) -> Trees:
        if self._trees is None:
            self._trees = self._found()
        return self._trees

    def _found(self) -> Trees:
        mine = self._fits.mine(self._fit)  # by now: partitions move
        waits = self._fits.waits and not mine
        patience_seconds = 0.0
        if waits:
            by_size = _LEAST_PATIENCE_SECONDS + _PATIENCE_SECONDS * len(self._fit.frauds)
            patience_seconds = min(by_size, _MOST_PATIENCE_SECONDS)
        trees = self._fits.take(self._digest.result(), patience_seconds)
        if trees is not None:
            return trees
        if waits:
            log.info("trees of another worker did not come in time: fitting them here")
        return self._fits.fitted(self._fit) if mine else self._fit()
