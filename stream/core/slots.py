"""Where each of many texts has its row, found at once and never copied as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_PARTS = 256


class Slots:
    """Row numbers by text: a `dict` in parts, by the hash of the text.

    A `dict` that outgrows its room moves to a larger one, all at once: with half a million texts
    everybody waits for that for 20 to 200 ms. Each part moves for itself.

    >>> slots = Slots(["a", "b"])
    >>> slots.add(["c"], [7])
    >>> slots.remove(["a"])
    >>> slots.find(["a", "b", "c"]), len(slots), "a" in slots
    ([-1, 1, 7], 2, False)
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._parts: list[dict[str, int]] = [{} for _ in range(_PARTS)]
        self.add(texts, range(len(texts)))

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __contains__(self, text: str) -> bool:
        return text in self._parts[hash(text) % _PARTS]

    def get(self, text: str) -> int | None:
        """Return the row of a text, if it has one."""
        return self._parts[hash(text) % _PARTS].get(text)

    def find(self, texts: Iterable[str]) -> list[int]:
        """Return the row of each text, -1 where it has none."""
        parts = self._parts
        return [parts[hash(text) % _PARTS].get(text, -1) for text in texts]

    def add(self, texts: Iterable[str], rows: Iterable[int]) -> None:
        """Give each text a row."""
        parts = self._parts
        for text, row in zip(texts, rows, strict=True):
            parts[hash(text) % _PARTS][text] = row

    def remove(self, texts: Iterable[str]) -> None:
        """Take the rows of texts away. Raises `KeyError` for one that has none."""
        for text in texts:
            del self._parts[hash(text) % _PARTS][text]
