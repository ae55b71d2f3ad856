"""The shape that both sources share."""

from __future__ import annotations

from typing import NamedTuple

from stream.events import Transaction


class Row(NamedTuple):
    """A transaction and what is known about it: what both sources yield, in event-time order."""

    transaction: Transaction
    time_seconds: float
    """Event time: the transaction's `time_seconds` under the settings' step origin."""
    is_fraud: bool | None
    """None where it is not known: such a transaction never gets a label."""
    pattern: str | None
    """The generator's fraud pattern; None for a legitimate one and in tables."""
