"""Features by name, each in a column of its own."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", NDArray[np.float32], NDArray[np.float64])


class Columns:
    """Gives every feature a column, as it is first seen.

    >>> columns = Columns()
    >>> columns.add(("b", "a"))
    2
    >>> columns.placed(("c", "b"), np.array([[1.0, 2.0]]))
    array([[ 2., nan]])
    """

    def __init__(self, names: tuple[Hashable, ...] = ()) -> None:
        self.names = names
        self._asked: tuple[Hashable, ...] | None = None
        self._at = np.empty(0, dtype=np.intp)
        self._whole = False

    def __reduce__(self) -> tuple[Any, ...]:  # without what was asked last
        return Columns, (self.names,)

    def add(self, names: tuple[Hashable, ...]) -> int:
        """Give those a column that have none, and return how many they were."""
        if names == self.names:
            return 0
        known = set(self.names)
        new = tuple(name for name in names if name not in known)
        if new:
            self.names += new
            self._asked = None
        return len(new)

    def placed(self, names: tuple[Hashable, ...], rows: T) -> T:
        """Return rows with these columns, shape (n, d), in those that are known here.

        NaN: the rows have none such. What is not known is left out.
        """
        if names == self.names:
            return rows
        if names != self._asked:
            at = {name: i for i, name in enumerate(names)}
            self._asked = names
            self._at = np.array([at.get(name, len(names)) for name in self.names], dtype=np.intp)
            self._whole = at.keys() >= set(self.names)
        if self._whole:
            return rows[:, self._at]
        missing = np.full((len(rows), 1), np.nan, dtype=rows.dtype)
        return np.hstack([rows, missing])[:, self._at]
