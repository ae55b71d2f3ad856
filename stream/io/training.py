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
_LOOK_SECONDS = 0.5
"""Between two looks for what others have written. Each costs a millisecond, and labels are late."""
_AT_ONCE = 200
"""Examples learned between two looks at whether to stop."""
_MANY, _TOO_MANY = 2_000, 10_000
"""Examples that wait from which on learning takes longer at a time, and from which on it is not put
off any more, not even for trees."""


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
        if self._read or self._is_time():
            self.learn()

    def follow_for(self, seconds: float) -> bool:
        """Learn what has come for about so long; return whether more could be learned now.

        What waits for trees goes on waiting. The more wait, the longer: twice so long where twice
        as many as `_MANY` do. Where too many do, they are learned as by `follow`.
        """
        if len(self._read) > _TOO_MANY:
            self.learn()
        elif not self._read and self._is_time():
            self._fetch(0.0)
        for _ in range(max(1, len(self._read) // _MANY)):
            until = time.perf_counter() + seconds
            while self._step():
                if time.perf_counter() >= until:
                    break
            else:
                return False
        return True

    def _is_time(self) -> bool:
        """Whether to look for what others have written."""
        now = time.monotonic()
        if now < self._looks_at:
            return False
        self._looks_at = now + _LOOK_SECONDS
        return True

    def _step(self) -> bool:
        """Learn for a millisecond; return whether there was something to learn."""
        model = self._detector.model
        if model.busy or not self._read:
            return model.go_on()
        position, example = self._read.popleft()
        if example is not None:
            model.take(example)
        model.position = position
        return True

    def learn_all(self) -> None:
        """Learn up to where the log ends now."""
        self.learn(self._reader.end(self._source))

    def learn(self, until: int = 0) -> None:
        """Learn what has come; wait for it until the model's position is at least `until`."""
        model = self._detector.model
        model.finish()
        patience = shown = time.monotonic()
        begun = model.position
        while not self.stop.is_set():
            behind = model.position < until
            if not self._read and (behind or not until):
                self._fetch(0.05 if behind else 0.0)
            if self._read:
                self._learn(min(len(self._read), _AT_ONCE))
                patience = time.monotonic()
            elif not behind:
                return
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

    def written(self, examples: Sequence[Example], end: int) -> None:
        """Take over examples that this worker has just put into the log, the last before `end`.

        Where nothing else lies between what was read and them, they are not read back.
        """
        begin = end - len(examples)
        read = self._read[-1][0] if self._read else self._detector.model.position
        # Behind what it wrote before comes its mark, and then may come what it has written now.
        passed = self._mark if read == self._written_until else 0
        self._written_until = end
        if begin in {read, read + passed}:
            self._read.extend(enumerate(examples, begin + 1))
            self._reader.assign({self._source: end})

    def close(self) -> None:
        self._reader.close()

    def _fetch(self, timeout_seconds: float) -> bool:
        """Read one poll's worth; return whether anything waits to be learned."""
        records = self._reader.poll(self._settings.max_batch, timeout_seconds)
        if len(records) >= _AT_ONCE:  # one who is behind: there may be more
            self._looks_at = 0.0
        for record in records:
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
