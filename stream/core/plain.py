"""What account state is saved as: plain arrays and lists of texts, never pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESERVED = 4_000_000
"""Rows that arrays have room for from the beginning, up to their bound: memory is only taken by
rows that are written to, and growing would have everybody wait for a copy."""

Array = NDArray[Any]
Ints = NDArray[np.int64]


class Frozen:
    """Rows of an array as they are now, handed out a slice at a time while the array is written to.

    Copying all rows at once would hold up whoever waits for it. Whoever writes to the array says so
    just before (`keep`): rows that were not handed out yet are put aside then, as they were.

    Parameters
    ----------
    array
        Shape (n, ...). One that takes its place later is no concern of this.
    rows
        How many of its rows, from the first; or which, in this order, each at most once.

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

    def __init__(self, array: Array, rows: int | Ints) -> None:
        self._array = array
        self._at = None if isinstance(rows, int) else rows
        self._rows = rows if isinstance(rows, int) else len(rows)
        self._place: Ints | None = None
        """Of each row of the array among those handed out; where there is none, behind them."""
        if self._at is not None:
            self._place = np.full(len(array), self._rows)
            self._place[self._at] = np.arange(self._rows)
        self._kept = np.zeros(self._rows, dtype=np.bool_)
        self._old = np.empty(self.shape, dtype=array.dtype)  # takes no memory until written to
        self._taken = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all that is handed out."""
        return (self._rows, *self._array.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self._array[:1].nbytes

    @property
    def done(self) -> bool:
        """Whether all was handed out."""
        return self._taken == self._rows

    def keep(self, rows: Ints) -> None:
        """Put these rows of the array aside, as far as they are still to be handed out."""
        if self.done:
            return
        places = rows
        if self._place is not None:  # rows that came later are behind
            known = rows < len(self._place)
            places = np.where(known, self._place[np.where(known, rows, 0)], self._rows)
        new = (places >= self._taken) & (places < self._rows)
        new[new] = ~self._kept[places[new]]
        self._old[places[new]] = self._array[rows[new]]
        self._kept[places[new]] = True

    def take(self, count: int) -> Array:
        """Return a copy of the next rows, `count` at most."""
        span = slice(self._taken, min(self._taken + count, self._rows))
        at = self._at
        found: Array = self._array[span].copy() if at is None else self._array[at[span]]
        kept = self._kept[span]
        found[kept] = self._old[span][kept]
        self._taken = span.stop
        if self.done:
            self._array = self._array[:0]  # let go of what nobody needs any more
            self._old, self._kept = self._old[:0].copy(), self._kept[:0].copy()
        return found


Snapshot = Mapping[str, NDArray[np.generic] | list[str] | Frozen]
"""The state of now, by name: what it was taken of may go on changing."""
Restored = Mapping[str, Any]
"""The same, as it was read: a list of texts where there was one, an array otherwise."""


def whole(snapshot: Snapshot) -> Restored:
    """Return a snapshot with all that is frozen as arrays."""
    return {
        name: value.take(len(value)) if isinstance(value, Frozen) else value
        for name, value in snapshot.items()
    }
