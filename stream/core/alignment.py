"""Keeps transactions and labels in step by event time while a worker catches up."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S")
V = TypeVar("V")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Taken(NamedTuple, Generic[S, V]):
    """What comes out of one source, in its order."""

    source: S
    values: list[V]


class Alignment(Generic[S, V]):
    """Gives out transactions and labels in slices of event time, labels first.

    A transaction in slice k, ``floor(time / slice)``, may be scored once every label that came
    before the slice began is handled; a label in slice k, ``ceil(time / slice)``, comes before the
    transactions of slice k. So what a replay learns before which transaction depends on event time
    and not on how fast each topic was read, and a label is never used before its time. A source
    that was read to its end holds nobody up, and what is live waits for nobody.

    Parameters
    ----------
    slice_seconds
        Length of a slice in event time.
    max_waiting
        Records of one source that may wait; a slice of labels longer than this goes out in parts.
    max_bytes
        The same for their bytes as they came.
    """

    def __init__(self, slice_seconds: int, max_waiting: int, max_bytes: float = math.inf) -> None:
        self.slice_seconds = slice_seconds
        self.max_waiting = max_waiting
        self.max_bytes = max_bytes
        self._live: set[S] = set()
        """Transactions that have come to be live: what was given out last of them is."""
        self._transactions: dict[S, _Queue[V]] = {}
        self._labels: dict[S, _Queue[V]] = {}

    def open(self, transactions: S, labels: S) -> None:
        """Begin to wait for the two inputs of a partition."""
        self._transactions[transactions] = _Queue()
        self._labels[labels] = _Queue()

    def close(self, *sources: S) -> None:
        """Forget sources, and what waits of them."""
        for source in sources:
            self._live.discard(source)
            self._transactions.pop(source, None)
            self._labels.pop(source, None)

    def put(self, source: S, values: Sequence[V], times_seconds: Floats, sizes: Ints) -> None:
        """Take in records of a source in offset order, shapes (n,); of an unknown one, none.

        `sizes` are the bytes that each came as.
        """
        queue = self._transactions.get(source, self._labels.get(source))
        if queue is not None:
            queue.put(values, times_seconds / self.slice_seconds, sizes)

    def __len__(self) -> int:
        return sum(map(len, [*self._transactions.values(), *self._labels.values()]))

    @property
    def is_live(self) -> bool:
        """Whether the transactions given out last were live, of any source."""
        return bool(self._live)

    def full(self) -> list[S]:
        """Return the sources of which enough waits."""
        queues = {**self._transactions, **self._labels}
        return [source for source, queue in queues.items() if self._enough(queue)]

    def take(
        self,
        limit: int,
        at_end: Callable[[S], bool],
        *,
        patient: bool = True,
        live_seconds: tuple[float, float] = (math.inf, math.inf),
    ) -> list[Taken[S, V]]:
        """Return what may be handled next: transactions, then the labels of one slice.

        Parameters
        ----------
        limit
            Transactions at most. Labels of a slice come together.
        at_end
            Whether a source was read to its end; if not, and nothing of it waits, the others wait
            for it.
        patient
            False: do not wait for sources that have nothing.
        live_seconds
            What happened between the two does not wait; nor does an older label, where all
            transactions are live.
        """
        since, until = (at / self.slice_seconds for at in live_seconds)
        taken: list[Taken[S, V]] = []
        waiting = [each for each in self._transactions.items() if each[1]]
        labels_until = None
        for source, queue in sorted(waiting, key=lambda each: math.floor(each[1].first)):
            times = queue.times[:limit]
            free = (times >= since) & (times <= until)
            if not free.all():
                if labels_until is None:
                    labels_until = self._frontier(self._labels, math.ceil, at_end, patient)
                # Below a whole number is the same as with the floor below it.
                free |= times < labels_until
            count = _leading(free)
            if count:
                is_live = since <= times[count - 1] <= until
                (self._live.add if is_live else self._live.discard)(source)
                taken.append(Taken(source, queue.take(count)))
                limit -= count
        if since < math.inf and self._live.issuperset(self._transactions):
            since = -math.inf
        for source, queue in self._labels.items():
            count = _leading((queue.times >= since) & (queue.times <= until))
            if count:
                taken.append(Taken(source, queue.take(count)))
        return taken + self._slice_of_labels(at_end, patient)

    def _slice_of_labels(self, at_end: Callable[[S], bool], patient: bool) -> list[Taken[S, V]]:
        """The labels of the first slice that waits, where its time has come."""
        heads = [math.ceil(queue.first) for queue in self._labels.values() if queue]
        if not heads:
            return []
        slice_ = min(heads)
        if slice_ > self._frontier(self._transactions, math.floor, at_end, patient):
            return []
        for source, queue in self._labels.items():
            more_may_come = patient and not at_end(source) and not self._enough(queue)
            if more_may_come and not (queue and math.ceil(queue.times[-1]) > slice_):
                return []
        counts = {s: _leading(queue.times <= slice_) for s, queue in self._labels.items()}
        return [Taken(s, self._labels[s].take(count)) for s, count in counts.items() if count]

    def _enough(self, queue: _Queue[V]) -> bool:
        return len(queue) >= self.max_waiting or queue.bytes >= self.max_bytes

    @staticmethod
    def _frontier(
        queues: dict[S, _Queue[V]],
        slice_of: Callable[[float], float],
        at_end: Callable[[S], bool],
        patient: bool,
    ) -> float:
        """The first slice that is not known to be over."""
        frontier = math.inf
        for source, queue in queues.items():
            if queue:
                frontier = min(frontier, slice_of(queue.first))
            elif patient and not at_end(source):
                return -math.inf
        return frontier


class _Queue(Generic[V]):
    """What waits of a source: values, and in arrays their times, in slices, and sizes."""

    def __init__(self) -> None:
        self.values: deque[V] = deque()
        self.times: Floats = np.empty(0)
        self.sizes: Ints = np.empty(0, dtype=np.int64)
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first(self) -> float:
        return float(self.times[0])

    def put(self, values: Sequence[V], times: Floats, sizes: Ints) -> None:
        self.values.extend(values)
        self.times = np.concatenate([self.times, times])
        self.sizes = np.concatenate([self.sizes, sizes])
        self.bytes += int(sizes.sum())

    def take(self, count: int) -> list[V]:
        self.bytes -= int(self.sizes[:count].sum())
        self.times, self.sizes = self.times[count:], self.sizes[count:]
        return [self.values.popleft() for _ in range(count)]


def _leading(true: Bools) -> int:
    """How many values are true before the first that is not."""
    return len(true) if true.all() else int(np.argmin(true))
