"""Keeps transactions and labels in step by event time while a worker catches up."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S")
V = TypeVar("V")


class Item(NamedTuple, Generic[S, V]):
    """A record of a source, with its event time."""

    source: S
    offset: int
    time_seconds: float
    value: V
    size: int = 0
    """Bytes that it came as."""


class Alignment(Generic[S, V]):
    """Gives out transactions and labels in slices of event time, labels first.

    A transaction in slice k, ``floor(time / slice)``, may be scored once every label that came
    before the slice began is handled; a label in slice k, ``ceil(time / slice)``, comes before the
    transactions of slice k. So what a replay learns before which transaction depends on event time
    and not on how fast each topic was read, and a label is never used before its time. A source
    that was read to its end holds nobody up: on live traffic everything goes out at once.

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
        self._transactions: dict[S, deque[Item[S, V]]] = {}
        self._labels: dict[S, deque[Item[S, V]]] = {}
        self._bytes: dict[S, int] = {}

    def open(self, transactions: S, labels: S) -> None:
        """Begin to wait for the two inputs of a partition."""
        self._transactions[transactions] = deque()
        self._labels[labels] = deque()
        self._bytes |= {transactions: 0, labels: 0}

    def close(self, *sources: S) -> None:
        """Forget sources, and what waits of them."""
        for source in sources:
            self._transactions.pop(source, None)
            self._labels.pop(source, None)
            self._bytes.pop(source, None)

    def put(self, items: Iterable[Item[S, V]]) -> None:
        """Take in records, in offset order per source; those of unknown sources are dropped."""
        queues = {**self._transactions, **self._labels}
        for item in items:
            queue = queues.get(item.source)
            if queue is not None:
                queue.append(item)
                self._bytes[item.source] += item.size

    def __len__(self) -> int:
        return sum(map(len, [*self._transactions.values(), *self._labels.values()]))

    def full(self) -> list[S]:
        """Return the sources of which enough waits."""
        queues = {**self._transactions, **self._labels}
        return [source for source, queue in queues.items() if self._enough(source, queue)]

    def take(
        self, limit: int, at_end: Callable[[S], bool], *, patient: bool = True
    ) -> Sequence[Item[S, V]]:
        """Return what may be handled next: transactions only, or the labels of one slice.

        Parameters
        ----------
        limit
            Transactions at most. Labels of a slice come together.
        at_end
            Whether a source was read to its end; if not, and nothing of it waits, the others wait
            for it.
        patient
            False: do not wait for sources that have nothing.
        """
        labels_until = self._frontier(self._labels, self._label_slice, at_end, patient)
        taken: list[Item[S, V]] = []
        waiting = [queue for queue in self._transactions.values() if queue]
        for queue in sorted(waiting, key=lambda queue: self._slice(queue[0])):
            # Below a whole number is the same as with the floor below it.
            while (
                queue
                and len(taken) < limit
                and queue[0].time_seconds / self.slice_seconds < labels_until
            ):
                taken.append(queue.popleft())
        if taken:
            self._gone(taken)
            return taken
        transactions_until = self._frontier(self._transactions, self._slice, at_end, patient)
        heads = [self._label_slice(queue[0]) for queue in self._labels.values() if queue]
        if not heads or min(heads) > transactions_until:
            return taken
        slice_ = min(heads)
        for source, queue in self._labels.items():
            more_may_come = patient and not at_end(source) and not self._enough(source, queue)
            if more_may_come and not (queue and self._label_slice(queue[-1]) > slice_):
                return taken
        for queue in self._labels.values():
            while queue and queue[0].time_seconds / self.slice_seconds <= slice_:  # so is its ceil
                taken.append(queue.popleft())
        self._gone(taken)
        return taken

    def _enough(self, source: S, queue: deque[Item[S, V]]) -> bool:
        return len(queue) >= self.max_waiting or self._bytes[source] >= self.max_bytes

    def _gone(self, items: Iterable[Item[S, V]]) -> None:
        for item in items:
            self._bytes[item.source] -= item.size

    def _slice(self, item: Item[S, V]) -> float:
        return math.floor(item.time_seconds / self.slice_seconds)

    def _label_slice(self, item: Item[S, V]) -> float:
        return math.ceil(item.time_seconds / self.slice_seconds)

    def _frontier(
        self,
        queues: dict[S, deque[Item[S, V]]],
        slice_of: Callable[[Item[S, V]], float],
        at_end: Callable[[S], bool],
        patient: bool,
    ) -> float:
        """The first slice that is not known to be over."""
        frontier = math.inf
        for source, queue in queues.items():
            if queue:
                frontier = min(frontier, slice_of(queue[0]))
            elif patient and not at_end(source):
                return -math.inf
        return frontier
