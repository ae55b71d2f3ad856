"""The training log as a worker follows it: what was learned is what the log says."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from threading import Event

from stream.core.decode import Reject, example
from stream.core.detector import Detector
from stream.core.wire import AnyExample, Example
from stream.io.bus import Reader, TopicPartition
from stream.settings import Settings

log = logging.getLogger(__name__)

MAX_EXAMPLE_BYTES = 1_048_576
_PATIENCE_SECONDS = 5.0
_PROGRESS_SECONDS = 5.0
_LOOK_SECONDS = 0.05
"""Between two looks for what others have written."""
_AT_ONCE = 200
"""Examples learned between two looks at whether to stop."""


class TrainingLog:
    """Reads the training topic from where the model stands, and has the detector learn it.

    `mark` is how many positions a commit of this worker takes behind what it writes to the log.
    """

    def __init__(self, settings: Settings, reader: Reader, detector: Detector, mark: int) -> None:
        self.stop = Event()
        """When this is set, learning goes no further."""
        self._settings = settings
        self._source = TopicPartition(settings.training_topic, 0)
        self._reader = reader
        self._detector = detector
        self._mark = mark
        self._read: deque[tuple[int, AnyExample | None]] = deque()
        """Read and not yet learned, each with the position behind it; None cannot be read."""
        self._looks_at = 0.0
        """When to look next, by the monotonic clock."""
        self._written_until = -1
        """Position behind the last example that this worker wrote."""

    def open(self) -> None:
        """Learn from the model's position, or the nearest that the log holds, up to its end."""
        model = self._detector.model
        first, end = self._reader.beginning(self._source), self._reader.end(self._source)
        if model.position < first or model.position > end:
            log.warning(
                "the training log holds positions %d to %d and the model stands at %d: learning "
                "goes on from what there is. Keep the topic for longer, or keep snapshots "
                "(WEIR_STATE_DIR).",
                first,
                end,
                model.position,
            )
            model.position = min(max(model.position, first), end)
        self._reader.assign({self._source: model.position})
        self.learn(end)

    def follow(self) -> None:
        """Learn what has come, if it is time for another look."""
        if self._read or time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + _LOOK_SECONDS
            self.learn()

    def learn_all(self) -> None:
        """Learn up to where the log ends now."""
        self.learn(self._reader.end(self._source))

    def learn(self, until: int = 0) -> None:
        """Learn what has come; wait for it until the model's position is at least `until`."""
        model = self._detector.model
        patience = shown = time.monotonic()
        begun = model.position
        while not self.stop.is_set() and (
            self._fetch(0.05 if model.position < until else 0.0) or model.position < until
        ):
            if self._read:
                self._learn(min(len(self._read), _AT_ONCE))
                patience = time.monotonic()
            elif time.monotonic() - patience > _PATIENCE_SECONDS:
                log.warning(
                    "the training log is slow: read up to %d, written up to %d",
                    model.position,
                    until,
                )
                return
            if time.monotonic() - shown > _PROGRESS_SECONDS:
                shown = time.monotonic()
                end = self._reader.end(self._source)
                log.info("learning the training log: %d, from %d to %d", model.position, begun, end)

    def learn_written(self, examples: Sequence[Example], end: int) -> None:
        """Learn examples that this worker has just put into the log, the last of them before `end`.

        Where nothing else lies between the model's position and them, they are not read back.
        """
        begin, position = end - len(examples), self._detector.model.position
        # Behind what it wrote before comes its mark, and then may come what it has written now.
        passed = self._mark if position == self._written_until else 0
        self._written_until = end
        if self._read or begin not in {position, position + passed}:
            self.learn(end)
            return
        self._detector.on_examples(examples, end)
        self._reader.assign({self._source: end})

    def close(self) -> None:
        self._reader.close()

    def _fetch(self, timeout_seconds: float) -> bool:
        """Read one poll's worth; return whether anything waits to be learned."""
        for record in self._reader.poll(self._settings.max_batch, timeout_seconds):
            found = example(record.value, MAX_EXAMPLE_BYTES)
            if isinstance(found, Reject):
                log.error("training log, offset %d is passed over: %s", record.offset, found.reason)
            self._read.append((record.offset + 1, None if isinstance(found, Reject) else found))
        if not self._read:  # what lies between, such as the marks of transactions, is passed over
            position = self._reader.position(self._source)
            self._detector.on_examples([], max(position, self._detector.model.position))
        return bool(self._read)

    def _learn(self, count: int) -> None:
        taken = [self._read.popleft() for _ in range(count)]
        self._detector.on_examples([e for _, e in taken if e is not None], taken[-1][0])
