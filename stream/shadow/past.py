"""What was learned before a replay begins: the training log, as the challenger learns it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event

from stream.core.decode import Reject, example
from stream.core.detector import Detector
from stream.io.bus import BusUnavailable, Reader, TopicPartition
from stream.io.training import MAX_EXAMPLE_BYTES
from stream.settings import Settings

log = logging.getLogger(__name__)

_AT_ONCE = 1_000
_PATIENCE_SECONDS = 30.0


class Past:
    """Has a detector learn the examples of the log whose transactions are from before a moment.

    Those of later ones it makes itself. So each label is learned once, when the model in force had
    learned it, and with the features of then.
    """

    def __init__(
        self,
        settings: Settings,
        reader: Reader,
        detector: Detector,
        before_seconds: float,
        *,
        stop: Event,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        self.learned = 0
        self._source = TopicPartition(settings.training_topic, 0)
        self._reader = reader
        self._detector = detector
        self._before_seconds = before_seconds
        self._stop = stop
        self._progress = progress
        self._first = reader.beginning(self._source)
        self._waiting: list[tuple[int, bytes | None]] = []
        reader.assign({self._source: self._first})
        if self._first > 0:
            log.warning(
                "the training log begins at position %d: what was learned before is not there, and "
                "the challenger does not learn it",
                self._first,
            )

    def learn_until(self, position: int) -> None:
        """Learn up to a position of the log, which is there or about to be."""
        model = self._detector.model
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self._stop.is_set() and self._behind(position):
            if not self._waiting:
                records = self._reader.poll(_AT_ONCE, 0.2)
                self._waiting = [(record.offset, record.value) for record in records]
                if not records and time.monotonic() > until:
                    raise BusUnavailable(
                        f"{self._source.topic} gives no record, and a model has learned it up to "
                        f"{position}. Try again later."
                    )
                continue
            ready = [pair for pair in self._waiting if pair[0] < position]
            if not ready:
                return
            until = time.monotonic() + _PATIENCE_SECONDS
            self._waiting = self._waiting[len(ready) :]
            found = [example(value, MAX_EXAMPLE_BYTES) for _, value in ready]
            mine = [
                each
                for each in found
                if not isinstance(each, Reject)
                and each.timestamp.timestamp() < self._before_seconds
            ]
            self._detector.on_examples(mine, model.position + len(mine))
            self.learned += len(mine)
            self._progress(ready[-1][0] + 1 - self._first, position - self._first)

    def _behind(self, position: int) -> bool:
        if self._waiting:
            return self._waiting[0][0] < position
        return self._reader.position(self._source) < position
