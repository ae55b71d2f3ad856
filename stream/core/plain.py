"""What account state is saved as: plain arrays and lists of texts, never pickled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESERVED = 4_000_000
"""Rows that arrays have room for from the beginning, up to their bound: memory is only taken by
rows that are written to, and growing would have everybody wait for a copy."""

Array = NDArray[Any]
Ints = NDArray[np.int64]


class _Rows(ABC):
    """What `Frozen` and `FrozenTexts` have in common: which rows, and which are put aside."""

    def __init__(self, rows: int, first: int) -> None:
        self._rows, self._first = rows, first
        self._where = np.zeros(rows, dtype=np.int32)
        """By place: the how manyth to be put aside, from 1; takes memory as it is written to."""
        self._aside = 0
        self._taken = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def done(self) -> bool:
        """Whether all was handed out."""
        return self._taken == self._rows

    def keep(self, rows: Ints) -> None:
        """Put these rows aside, as far as they are still to be handed out."""
        if self.done:
            return
        places = rows - self._first
        places[places < 0] += self._rows
        places = np.unique(places[(places >= self._taken) & (places < self._rows)])
        places = places[self._where[places] == 0]
        if len(places):
            self._put_aside((self._first + places) % self._rows)
            self._where[places] = np.arange(self._aside + 1, self._aside + len(places) + 1)
            self._aside += len(places)

    def _next(self, count: int) -> tuple[slice, Array, Array]:
        """Rows to hand out, which of them were put aside, and the how manyth each of those was."""
        start = (self._first + self._taken) % max(self._rows, 1)
        count = min(count, self._rows - self._taken, self._rows - start)
        where = self._where[self._taken : self._taken + count]
        self._taken += count
        if self.done:  # let go of what nobody needs any more
            self._where = self._where[:0].copy()
        kept = np.flatnonzero(where)
        return slice(start, start + count), kept, where[kept] - 1

    @abstractmethod
    def _put_aside(self, rows: Ints) -> None: ...


class Frozen(_Rows):
    """Rows of an array as they are now, handed out a slice at a time while the array is written to.

    Copying all rows at once would hold up whoever waits for it. Whoever writes to the array says so
    just before (`keep`): rows that were not handed out yet are put aside then, as they were.

    Parameters
    ----------
    array
        Shape (n, ...). One that takes its place later is no concern of this.
    rows
        How many of its rows, from the first: those behind them are no concern of this either.
    first
        The row that is handed out first, where they are a ring.

    Examples
    --------
    >>> array = np.arange(4)
    >>> frozen = Frozen(array, 3)
    >>> frozen.take(1).tolist()
    [0]
    >>> frozen.keep(np.array([0, 2, 3]))
    >>> array[:] = -1
    >>> frozen.take(9).tolist()
    [-1, 2]
    """

    def __init__(self, array: Array, rows: int, first: int = 0) -> None:
        super().__init__(rows, first)
        self._array = array
        # Filled from its begin on. Memory is taken as it is written to, and were every row put
        # aside at a place of its own, each would take a page.
        self._old = np.empty(self.shape, dtype=array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all that is handed out."""
        return (self._rows, *self._array.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._array[:1].nbytes

    def take(self, count: int) -> Array:
        """Return a copy of the next rows, `count` at most, and at least one if there are any."""
        rows, kept, where = self._next(count)
        found: Array = self._array[rows].copy()
        found[kept] = self._old[where]
        if self.done:
            self._array, self._old = self._array[:0], self._old[:0].copy()
        return found

    def _put_aside(self, rows: Ints) -> None:
        self._old[self._aside : self._aside + len(rows)] = self._array[rows]


class FrozenTexts(_Rows):
    """The same of a list of texts.

    >>> texts = ["a", "b", "c"]
    >>> frozen = FrozenTexts(texts, first=2)
    >>> frozen.keep(np.array([0]))
    >>> texts[0] = "d"
    >>> frozen.take(1), frozen.take(9)
    (['c'], ['a', 'b'])
    """

    def __init__(self, texts: list[str], first: int = 0) -> None:
        super().__init__(len(texts), first)
        self._texts = texts
        self._old: list[str] = []

    def take(self, count: int) -> list[str]:
        """Return the next texts, `count` at most, and at least one if there are any."""
        rows, kept, where = self._next(count)
        found = self._texts[rows]
        for at, old in zip(kept.tolist(), where.tolist(), strict=True):
            found[at] = self._old[old]
        if self.done:
            self._texts, self._old = [], []
        return found

    def _put_aside(self, rows: Ints) -> None:
        self._old += [self._texts[row] for row in rows.tolist()]


def keep(frozen: dict[str, Frozen | FrozenTexts], rows: Ints, *names: str) -> None:
    """Before rows are written to, of all that is frozen or of some: have them put aside."""
    for name in names or tuple(frozen):
        if name in frozen:
            frozen[name].keep(rows)
            if frozen[name].done:
                del frozen[name]


Snapshot = Mapping[str, NDArray[np.generic] | list[str] | Frozen | FrozenTexts]
"""The state of now, by name: what it was taken of may go on changing."""
Restored = Mapping[str, Any]
"""The same, as it was read: a list of texts where there was one, an array otherwise."""


def whole(snapshot: Snapshot) -> Restored:
    """Return a snapshot with all that is frozen as arrays and lists."""
    return {name: _whole(value) for name, value in snapshot.items()}


def _whole(value: Any) -> Any:
    if isinstance(value, FrozenTexts):
        return [text for part in parts(value, len(value)) for text in part]
    return np.concatenate(list(parts(value, len(value)))) if isinstance(value, Frozen) else value


def parts(frozen: Frozen | FrozenTexts, count: int) -> Iterator[Any]:
    """Yield all of it, so much at a time, and once where there is nothing."""
    while True:
        yield frozen.take(count)
        if frozen.done:
            return
