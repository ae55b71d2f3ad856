"""Where each of many texts has its row, found for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_CELLS, _LOAD = 8, 3
"""Of a bucket: as many as come with one read of memory, and how many are in use on average."""
_EMPTY = 0
"""The hash of a cell that is free."""
_AT_ONCE = 65_536
"""Rows added at once: a restore brings a million, and each takes some hundred bytes meanwhile."""


class Slots:
    """Finds the rows of a list by their texts, in arrays.

    A hash table of buckets of eight cells, and a `dict` for the few that find no place in theirs.
    All that a batch asks for is read together; of a `dict` it would be text by text, each time a
    wait for memory. The table grows by a few buckets with each batch (linear hashing: Litwin, VLDB
    1980), where a `dict` that outgrows its room moves all at once: with half a million texts
    everybody waits for that for 20 to 200 ms.

    Parameters
    ----------
    texts
        The list. Who adds a row has put its text there before, and leaves it there.
    room
        Rows for which memory is set aside; it is taken as it is needed.

    Examples
    --------
    >>> texts = ["a", "b", "c"]
    >>> slots = Slots(texts, room=100)
    >>> slots.add(range(3))
    >>> slots.remove([0])
    >>> slots.find(["a", "b", "c", "d"]), len(slots)
    ([-1, 1, 2, -1], 2)
    """

    def __init__(self, texts: list[str], room: int) -> None:
        self._texts = texts
        self._count = 0
        self._buckets = 1
        """In use."""
        shape = (room // _LOAD + 1, _CELLS)
        self._hashes = np.zeros(shape, dtype=np.int64)
        self._rows = np.zeros(shape, dtype=np.int32)
        self._elsewhere: dict[str, int] = {}

    def __len__(self) -> int:
        return self._count

    def find(self, texts: Sequence[str]) -> list[int]:
        """Return the row of each text, -1 where it has none."""
        hashes = _hashes(texts)
        buckets = self._buckets_of(hashes)
        found = self._hashes[buckets] == hashes[:, None]
        rows = np.where(found.any(axis=1), self._rows[buckets, found.argmax(axis=1)], -1)
        held, elsewhere = self._texts, self._elsewhere.get
        return [
            row if row >= 0 and held[row] == text else elsewhere(text, -1)
            for row, text in zip(rows.tolist(), texts, strict=True)
        ]

    def add(self, rows: Sequence[int]) -> None:
        """Take in rows. No other has the text of one of them."""
        for first in range(0, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            self._count += len(some)
            self._spread(self._count // _LOAD + 1)
            self._put(_hashes([self._texts[row] for row in some]), np.array(some, dtype=np.int64))

    def remove(self, rows: Sequence[int]) -> None:
        """Let rows go, with their texts still in the list. Raises `KeyError` for one not held."""
        hashes, at = _hashes([self._texts[row] for row in rows]), np.array(rows, dtype=np.int64)
        buckets = self._buckets_of(hashes)
        mine = (self._hashes[buckets] == hashes[:, None]) & (self._rows[buckets] == at[:, None])
        here = mine.any(axis=1)
        self._hashes[buckets[here], mine.argmax(axis=1)[here]] = _EMPTY
        for row in at[~here].tolist():
            del self._elsewhere[self._texts[row]]
        self._count -= len(rows)

    def _put(self, hashes: Ints, rows: Ints) -> None:
        buckets = self._buckets_of(hashes)
        there = self._hashes[buckets]
        # Those of one bucket take its free cells in turn. Of equal hashes the first has one.
        free = (there == _EMPTY).cumsum(axis=1) > ranks(buckets)[:, None]
        fits = free[:, -1] & (ranks(hashes) == 0) & (there != hashes[:, None]).all(axis=1)
        cells = buckets[fits], free.argmax(axis=1)[fits]
        self._hashes[cells], self._rows[cells] = hashes[fits], rows[fits]
        self._elsewhere.update((self._texts[row], row) for row in rows[~fits].tolist())

    def _buckets_of(self, hashes: Ints) -> Ints:
        level = _level(self._buckets)
        buckets = hashes & (2 * level - 1)
        return np.where(buckets < self._buckets, buckets, buckets - level)

    def _spread(self, buckets: int) -> None:
        """Have so many buckets in use: each new one takes over what is its own of an old one."""
        while self._buckets < buckets:
            if self._buckets == len(self._hashes):
                self._hashes, self._rows = (
                    np.concatenate([each, np.zeros_like(each)])
                    for each in (self._hashes, self._rows)
                )
            level, first = _level(self._buckets), self._buckets
            last = min(buckets, 2 * level, len(self._hashes))
            old, new = slice(first - level, last - level), slice(first, last)
            moves = (self._hashes[old] & level) != 0
            self._hashes[new] = np.where(moves, self._hashes[old], _EMPTY)
            self._hashes[old][moves] = _EMPTY
            self._rows[new] = self._rows[old]
            self._buckets = last


def ranks(values: Ints) -> Ints:
    """Return how many of the values before each are equal to it, shape (n,).

    >>> ranks(np.array([5, 7, 5, 5])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(values, kind="stable")
    ordered, place = values[order], np.arange(len(values))
    new = np.ones(len(values), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    found = np.empty_like(place)
    found[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    return found


def _hashes(texts: Sequence[str]) -> Ints:
    hashes = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
    hashes[hashes == _EMPTY] = 1
    return hashes


def _level(buckets: int) -> int:
    """The largest power of two that is not above."""
    return 1 << (buckets.bit_length() - 1)
