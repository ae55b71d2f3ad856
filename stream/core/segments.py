"""Segments: the values of a few fields, by which every rate of a window is counted, too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.wire import AnyTransaction
from stream.events import Segment

Bools = NDArray[np.bool_]
Codes = NDArray[np.int16]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_VALUES = 32
"""Codes of a field, with those of `other` and `missing`."""
OTHER, MISSING = "other", "missing"
BANDS = (
    *("under 10", "10 to 100", "100 to 1k", "1k to 10k", "10k to 100k", "100k to 1M"),
    "1M and more",
)
"""Of the amount, in the stream's currency."""

_EDGES = 10.0 ** np.arange(1, len(BANDS))
_LONGEST = 32
_TYPE, _AMOUNT = "type", "amount"
_TRANSACTIONS, _ALERTS, _LABELLED = range(3)


class Segments:
    """Codes of the values of `type`, of the band of `amount`, and of further fields.

    A value is a text, a whole number, or true and false; anything else, and what is longer than 32
    characters, is `other`, and what is not there is `missing`. Besides these two, the first 30
    values of a field are told apart, in the order in which they come; what comes later is `other`.

    Parameters
    ----------
    fields
        Fields besides type and amount.
    types
        Types that are told apart whatever comes before them.

    Examples
    --------
    >>> from stream.events import Transaction
    >>> one = Transaction(
    ...     transaction_id="1", type="DEBIT", amount=12.5, nameOrig="C1", nameDest="M1", step=0
    ... )
    >>> segments = Segments()
    >>> segments.named(segments.codes([one], np.array([12.5]))[0])
    {'type': 'DEBIT', 'amount': '10 to 100'}
    """

    def __init__(self, fields: Sequence[str] = (), types: Sequence[str] = ()) -> None:
        self.fields = (_TYPE, _AMOUNT, *fields)
        self._codes: list[dict[str, int]] = [_unseen() for _ in self.fields]
        self._codes[1] = {band: code for code, band in enumerate(BANDS)}
        self._coded(0, types)

    def codes(self, batch: Sequence[AnyTransaction], amounts: Floats) -> Codes:
        """Return the code of each transaction's value by field, shape (n, f)."""
        found = np.empty((len(batch), len(self.fields)), dtype=np.int16)
        found[:, 0] = self._coded(0, [tx.type for tx in batch])
        found[:, 1] = np.searchsorted(_EDGES, amounts, side="right")
        for at, field in enumerate(self.fields[2:], start=2):
            found[:, at] = self._coded(at, [_text(getattr(tx, field, None)) for tx in batch])
        return found

    def named(self, codes: Iterable[int]) -> dict[str, str]:
        """Return the value by field that codes, shape (f,), stand for."""
        pairs = zip(self.fields, self._codes, codes, strict=True)
        return {field: list(known)[code] for field, known, code in pairs}

    def empty(self) -> Counts:
        """Return counts of nothing, shape (f, `MAX_VALUES`, 6), the last as in `Segment`."""
        return np.zeros((len(self.fields), MAX_VALUES, len(Segment._fields)), dtype=np.int64)

    def decided(self, counts: Counts, codes: Codes, alerts: Bools) -> None:
        """Count transactions, codes of shape (n, f), and the alerts among them."""
        counts[:, :, _TRANSACTIONS] += self._counted(codes)
        if alerts.any():
            counts[:, :, _ALERTS] += self._counted(codes[alerts])

    def settled(
        self, counts: Counts, codes: Codes, alerts: Bools, frauds: Bools, times: int = 1
    ) -> None:
        """Count what labels say of decisions; -1 times: take it back."""
        kinds = (alerts & frauds, alerts & ~frauds, ~alerts & ~frauds, ~alerts & frauds)
        for at, rows in enumerate(kinds, start=_LABELLED):
            if rows.any():
                counts[:, :, at] += times * self._counted(codes[rows])

    def report(self, counts: Counts) -> dict[str, dict[str, Segment]]:
        """Return counts by field and value, of the values that there are."""
        return {
            field: {
                value: Segment(*counts[at, code].tolist())
                for value, code in known.items()
                if counts[at, code].any()
            }
            for at, (field, known) in enumerate(zip(self.fields, self._codes, strict=True))
        }

    def snapshot(self) -> list[str]:
        """Return the values that are told apart, by field, in the order of their codes."""
        return [f"{at}:{value}" for at, known in enumerate(self._codes) for value in known]

    def restore(self, fields: Sequence[str], state: Sequence[str]) -> None:
        """Take over a snapshot of these fields: of those that are here, too."""
        found: dict[str, dict[str, int]] = {field: {} for field in fields}
        for text in state:
            at, _, value = text.partition(":")
            known = found[fields[int(at)]]
            known[value] = len(known)
        self._codes = [found.get(field) or _unseen() for field in self.fields]

    def _coded(self, at: int, values: Sequence[str]) -> list[int]:
        known = self._codes[at]
        for value in dict.fromkeys(values):  # in their order: the same in every process
            if value not in known and len(known) < MAX_VALUES:
                known[value] = len(known)
        return [known.get(value, 0) for value in values]

    def _counted(self, codes: Codes) -> Counts:
        """Occurrences of each code by field, shape (f, `MAX_VALUES`)."""
        fields = len(self.fields)
        flat = (codes + MAX_VALUES * np.arange(fields)).ravel()
        return np.bincount(flat, minlength=fields * MAX_VALUES).reshape(fields, MAX_VALUES)


def columns(
    saved: NDArray[Any], had: Sequence[str], have: Sequence[str], axis: int
) -> NDArray[Any]:
    """Return an array that was saved by field, `had`, by the fields that there are now.

    Counts of a field that was not there are 0; its codes, being a first column's, are `other`.

    >>> columns(np.array([[1, 2]]), ["type", "amount"], ["type", "channel"], axis=1).tolist()
    [[1, 0]]
    """
    shape = list(saved.shape)
    shape[axis] = len(have)
    found = np.zeros(shape, dtype=saved.dtype)
    both = [name for name in have if name in had]
    to: list[Any] = [slice(None)] * saved.ndim
    of = list(to)
    to[axis], of[axis] = [list(have).index(n) for n in both], [list(had).index(n) for n in both]
    found[tuple(to)] = saved[tuple(of)]
    return found


def _unseen() -> dict[str, int]:
    return {OTHER: 0, MISSING: 1}


def _text(value: Any) -> str:
    """The value of a field as a segment's name."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, str | int) else OTHER
    return text if len(text) <= _LONGEST else OTHER
