"""Reports on their way out: they wait by key, bounded, and a thread writes them when it can."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

_RETRY_SECONDS, _RETRY_LIMIT_SECONDS = 0.2, 10.0
_REST_SECONDS = 0.2
_AT_ONCE = 200


class Outbox(Generic[Item]):
    """Writes items from a thread of its own; putting never blocks on, nor fails with, the writing.

    Items wait by kind and key, and the newest of a key replaces the one before. Each kind has its
    bound; what has waited longest falls out. While writing fails the items wait, and it is tried
    again after 0.2 seconds, doubling to 10. One warning is logged when it begins to fail and one
    when it works again.

    Parameters
    ----------
    write
        Writes items, which were put in this order. Raises when it could not; then the same items,
        or newer ones of the same keys, come again.
    bounds
        How many items of each kind may wait.
    describe
        What the log says of an error, in sentences; of None, that it is over.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], None],
        bounds: Mapping[str, int],
        describe: Callable[[Exception | None], str],
    ) -> None:
        self.healthy = True
        self.dropped = dict.fromkeys(bounds, 0)
        self._write = write
        self._bounds = dict(bounds)
        self._describe = describe
        self._waiting: dict[str, dict[Hashable, Item]] = {kind: {} for kind in bounds}
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="weir-outbox", daemon=True)
        self._thread.start()

    def put(self, kind: str, items: Iterable[tuple[Hashable, Item]]) -> None:
        """Have items written soon, each in place of one of its key that still waits."""
        waiting = self._waiting[kind]
        with self._changed:
            for key, item in items:
                waiting.pop(key, None)
                waiting[key] = item
                if len(waiting) > self._bounds[kind]:
                    del waiting[next(iter(waiting))]
                    self.dropped[kind] += 1
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many items wait to be written."""
        return sum(map(len, self._waiting.values()))

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything is written; False when it is not within the timeout."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while self.waiting:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                self._hurry.set()
                self._changed.wait(min(left, 0.5))
        return True

    def close(self, timeout_seconds: float) -> int:
        """Write what can be written within the timeout, end, and return how many were left."""
        self.flush(timeout_seconds)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._hurry.set()
        self._thread.join(5)
        return self.waiting

    def _run(self) -> None:
        delay = _RETRY_SECONDS
        while (batch := self._next_batch()) is not None:
            if self._written([item for _, _, item in batch]):
                self._take(batch)
                # An item may change with every batch of the worker: a few writes a second do.
                pause = 0.0 if len(batch) >= _AT_ONCE else _REST_SECONDS
                delay = _RETRY_SECONDS
            else:
                pause, delay = delay, min(2 * delay, _RETRY_LIMIT_SECONDS)
            self._hurry.wait(pause)
            self._hurry.clear()

    def _next_batch(self) -> list[tuple[str, Hashable, Item]] | None:
        """Wait for items and return those that wait longest; None when there is no more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.waiting)
            if self._closed:
                return None
            return [
                (kind, key, item)
                for kind, waiting in self._waiting.items()
                for key, item in list(waiting.items())[:_AT_ONCE]
            ]

    def _take(self, written: Sequence[tuple[str, Hashable, Item]]) -> None:
        """Remove what was written, except where a newer item has come meanwhile."""
        with self._changed:
            for kind, key, item in written:
                if self._waiting[kind].get(key) is item:
                    del self._waiting[kind][key]
            self._changed.notify_all()

    def _written(self, items: Sequence[Item]) -> bool:
        try:
            self._write(items)
        except Exception as error:  # whatever it is, it must not end the thread
            if self.healthy:
                self.healthy = False
                logger.warning(self._describe(error))
            return False
        if not self.healthy:
            self.healthy = True
            logger.warning(self._describe(None))
        return True
