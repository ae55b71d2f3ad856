"""What account state is saved as: plain arrays and lists of texts, never pickled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT_BYTES = 64
"""That a text takes in memory, about, wherever each may lie there."""
RESERVED = 4_000_000
"""Rows that arrays have room for from the beginning, up to their bound: memory is only taken by
rows that are written to, and growing would have everybody wait for a copy."""

Array = NDArray[Any]
Ints = NDArray[np.int64]
Columns = Mapping[str, Array | list[str]]


class FrozenTable:
    """Columns of one length as they are now, handed out bit by bit while they are written to.

    Copying all rows at once would hold up whoever waits for it. Whoever writes to the columns says
    so just before (`keep`): rows that were not handed out yet are put aside then, as they were.

    Parameters
    ----------
    columns
        Arrays, shape (n, ...), and lists of texts, by name. What takes the place of one later is no
        concern of this.
    rows
        How many of their rows, from the first: those behind them are no concern of this either.
    first
        The row that is handed out first, where they are a ring.

    Examples
    --------
    >>> numbers, names = np.arange(4), ["a", "b", "c", "d"]
    >>> frozen = FrozenTable({"numbers": numbers, "names": names}, 3)
    >>> frozen.columns["numbers"].take(1).tolist()
    [0]
    >>> frozen.keep(np.array([0, 2, 3]))
    >>> numbers[:] = -1
    >>> names[:] = ["changed"] * 4
    >>> frozen.columns["numbers"].take(9).tolist(), frozen.columns["names"].take(2)
    ([-1, 2], ['a', 'changed'])
    """

    def __init__(self, columns: Columns, rows: int, first: int = 0) -> None:
        self.rows, self.first = rows, first
        self.where = np.zeros(rows, dtype=np.int32)
        """By place: the how manyth to be put aside, from 1; takes memory as it is written to."""
        self.aside = 0
        """Rows that were put aside."""
        self.columns = {
            name: FrozenTexts(self, column) if isinstance(column, list) else Frozen(self, column)
            for name, column in columns.items()
        }

    def keep(self, rows: Ints) -> None:
        """Put these rows aside, as far as they are still to be handed out."""
        waiting = [column for column in self.columns.values() if not column.done]
        if not waiting:
            self.columns, self.where = {}, self.where[:0].copy()
            return
        places = rows - self.first
        places[places < 0] += self.rows
        open_ = (places >= min(column.taken for column in waiting)) & (places < self.rows)
        places = np.unique(places[open_])
        places = places[self.where[places] == 0]
        if len(places):
            for column in waiting:
                column.put_aside((self.first + places) % self.rows)
            self.where[places] = np.arange(self.aside + 1, self.aside + len(places) + 1)
            self.aside += len(places)


class _Column(ABC):
    """What `Frozen` and `FrozenTexts` have in common: how far they were handed out."""

    def __init__(self, table: FrozenTable) -> None:
        self._table = table
        self.taken = 0
        """Rows that were handed out."""

    def __len__(self) -> int:
        return self._table.rows

    @property
    def done(self) -> bool:
        """Whether all was handed out."""
        return self.taken == len(self)

    def _next(self, count: int) -> tuple[slice, Ints, Array]:
        """Rows to hand out, which of them were put aside, and the how manyth each of those was."""
        start = (self._table.first + self.taken) % max(len(self), 1)
        count = min(count, len(self) - self.taken, len(self) - start)
        where = self._table.where[self.taken : self.taken + count]
        self.taken += count
        kept = np.flatnonzero(where)
        return slice(start, start + count), kept, where[kept] - 1

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of all that is handed out."""

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """Bytes of one row."""

    @abstractmethod
    def put_aside(self, rows: Ints) -> None:
        """Put rows aside, behind those before."""


class Frozen(_Column):
    """A column of a `FrozenTable` that is an array."""

    def __init__(self, table: FrozenTable, array: Array) -> None:
        super().__init__(table)
        self._array = array
        # Filled from its begin on. Memory is taken as it is written to, and were every row put
        # aside at a place of its own, each would take a page.
        self._old = np.empty(self.shape, dtype=array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._array.shape[1:])

    @property
    def row_bytes(self) -> int:
        return self._array[:1].nbytes

    def take(self, count: int) -> Array:
        """Return a copy of the next rows, `count` at most, and at least one if there are any."""
        rows, kept, where = self._next(count)
        found: Array = self._array[rows].copy()
        found[kept] = self._old[where]
        if self.done:  # let go of what nobody needs any more
            self._array, self._old = self._array[:0], self._old[:0].copy()
        return found

    def put_aside(self, rows: Ints) -> None:
        self._old[self._table.aside : self._table.aside + len(rows)] = self._array[rows]


class FrozenTexts(_Column):
    """A column of a `FrozenTable` that is a list of texts."""

    def __init__(self, table: FrozenTable, texts: list[str]) -> None:
        super().__init__(table)
        self._texts = texts
        self._old: list[str] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self),)

    @property
    def row_bytes(self) -> int:
        return TEXT_BYTES

    def take(self, count: int) -> list[str]:
        """Return the next texts, `count` at most, and at least one if there are any."""
        rows, kept, where = self._next(count)
        found = self._texts[rows]
        for at, old in zip(kept.tolist(), where.tolist(), strict=True):
            # Moved: to let go of many at once, in the end, would hold everybody up.
            found[at], self._old[old] = self._old[old], ""
        if self.done:
            self._texts, self._old = [], []
        return found

    def put_aside(self, rows: Ints) -> None:
        self._old += [self._texts[row] for row in rows.tolist()]


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
