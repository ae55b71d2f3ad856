"""Late labels: what a transaction turned out to be, some event time later, and not for all."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from datetime import timedelta
from hashlib import blake2b
from typing import Literal, NamedTuple

from producers.rows import Row
from stream.events import Label, utc

KeyField = Literal["nameDest", "nameOrig", "transaction_id"]


class DueLabel(NamedTuple):
    """A label that is due, with the key of its transaction: both go to the same partition."""

    time_seconds: float
    key: str
    label: Label


class LateLabels:
    """Holds what is known of each row until it is due, and releases labels in event-time order.

    A label is due `delay` after its transaction, plus an exponential extra of mean `spread`.
    A share `fraction` of the transactions gets one. Both are decided by a hash of transaction id
    and seed, so they do not depend on chunks or order. Everything within the delay is held: some
    400 bytes per transaction, so 7 days of 20,000 a day take about 55 MB.

    A share `corrected` of the labels says the opposite of the truth, until a second one, `delay`
    after the first, corrects it.

    >>> from producers.paysim import Scenario, generate
    >>> rows = next(generate(Scenario(clients=500)))
    >>> late = LateLabels(timedelta(hours=1), fraction=1.0, seed=7)
    >>> late.add(rows)
    >>> list(late.release(rows[0].time_seconds + 3599.9))
    []
    >>> [due.label.transaction_id for due in late.release(rows[0].time_seconds + 3600)]
    ['sim-7-0']
    """

    def __init__(
        self,
        delay: timedelta,
        fraction: float,
        seed: int,
        *,
        spread: timedelta = timedelta(0),
        corrected: float = 0.0,
        key_field: KeyField = "nameDest",
    ) -> None:
        if delay < timedelta(0) or spread < timedelta(0):
            raise ValueError("A label delay is not negative.")
        if not (0 <= fraction <= 1 and 0 <= corrected <= 1):
            raise ValueError("A fraction of the labels lies in [0, 1].")
        self._delay_seconds = delay.total_seconds()
        self._spread_seconds = spread.total_seconds()
        self._fraction = fraction
        self._corrected = corrected
        self._seed = seed
        self._key_field = key_field
        self._hashed = fraction < 1 or self._spread_seconds > 0
        self._held: list[tuple[float, int, str, str, bool, bool]] = []
        self._added = 0

    def __len__(self) -> int:
        """How many labels wait."""
        return len(self._held)

    def add(self, rows: Iterable[Row]) -> None:
        """Hold what is known of these rows; rows of unknown outcome get no label."""
        for transaction, time_seconds, is_fraud, _ in rows:
            if is_fraud is None:
                continue
            due = time_seconds + self._delay_seconds
            if self._hashed:
                picked, extra = self._draw(transaction.transaction_id)
                if picked >= self._fraction:
                    continue
                due += extra
            # Whole microseconds, as `labelled_at` has: whoever compares either sees the same.
            due = round(due, 6)
            # Rows of one moment keep their order: the count decides among equal times.
            entry = (
                due,
                self._added,
                transaction.transaction_id,
                getattr(transaction, self._key_field),
                is_fraud,
                self._is_corrected(transaction.transaction_id),
            )
            heapq.heappush(self._held, entry)
            self._added += 1

    def release(self, until_seconds: float = math.inf) -> Iterator[DueLabel]:
        """Yield, and let go of, the labels due at or before this event time, in order."""
        while self._held and self._held[0][0] <= until_seconds:
            due, number, transaction_id, key, is_fraud, wrong = heapq.heappop(self._held)
            if wrong:
                again = round(due + self._delay_seconds, 6)
                entry = (again, number, transaction_id, key, is_fraud, False)
                heapq.heappush(self._held, entry)
            label = Label(
                transaction_id=transaction_id,
                is_fraud=is_fraud != wrong,
                labelled_at=utc(due),
                source="chargeback",
            )
            yield DueLabel(due, key, label)

    def next_due_seconds(self) -> float:
        """Event time of the next label; infinite where none waits."""
        return self._held[0][0] if self._held else math.inf

    def _is_corrected(self, transaction_id: str) -> bool:
        share = self._corrected
        return share > 0 and coins(transaction_id, self._seed, b"corrected")[0] < share

    def _draw(self, transaction_id: str) -> tuple[float, float]:
        """A uniform number, and the extra delay in whole milliseconds, of this transaction."""
        picked, other = coins(transaction_id, self._seed)
        # 1 - 2**-53 at most, or a hash of all ones would wait for ever.
        extra = -self._spread_seconds * math.log1p(-min(other, 1 - 2**-53))
        return picked, math.ceil(extra * 1000) / 1000


def coins(transaction_id: str, seed: int, purpose: bytes = b"") -> tuple[float, float]:
    """Two uniform numbers of a transaction, the same in every run; others for each purpose."""
    salt = (seed % 2**64).to_bytes(8, "big")
    digest = blake2b(transaction_id.encode(), digest_size=16, key=salt, person=purpose).digest()
    return int.from_bytes(digest[:8], "big") / 2**64, int.from_bytes(digest[8:], "big") / 2**64
