"""A fixed piece of work, by which times are told apart from how fast the machine is just then."""

from __future__ import annotations

import time

import numpy as np


class Yardstick:
    """Work of the kinds that a worker does: rows of an array changed in place, names looked up.

    >>> yardstick = Yardstick()
    >>> for _ in range(3):
    ...     yardstick.measure()
    >>> yardstick.times, yardstick.seconds > 0.0
    (3, True)
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._rows = rng.random((50_000, 24))
        self._at = rng.integers(len(self._rows), size=(20, 400))
        self._slots = {f"C{number}": number for number in range(50_000)}
        self._names = [f"C{number}" for number in rng.integers(50_000, size=2_000)]
        self.times = 0
        """How often it was applied since the last `take`."""
        self.seconds = 0.0
        """Processor time of that."""

    def measure(self) -> None:
        """Apply it once."""
        begun = time.thread_time()
        for at in self._at:
            self._rows[at] *= 0.999
        sum(self._slots[name] for name in self._names)
        self.seconds += time.thread_time() - begun
        self.times += 1

    def take(self) -> float:
        """Return the mean microseconds it took since the last call; 0 where it was not applied."""
        found = 1e6 * self.seconds / max(self.times, 1)
        self.times, self.seconds = 0, 0.0
        return found
