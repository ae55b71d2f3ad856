"""The events of every transaction as msgspec reads and writes them: a tenth of pydantic's time.

The models of `stream.events` say what is right on the wire, in every detail; `core.decode` asks
them whenever these here will not take a message. What both take, both read alike.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from stream import events
from stream.events import MAX_AMOUNT, Source

Text = Annotated[str, Meta(min_length=1, max_length=128)]
Balance = Annotated[float, Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
Aware = Annotated[datetime, Meta(tz=True)]
Share = Annotated[float, Meta(ge=0, le=1)]


# They hold nothing that could lead back to them, so the collector of cycles need not know them.
class Transaction(Struct, frozen=True, gc=False):
    """See `stream.events.Transaction`."""

    transaction_id: Text
    type: Annotated[str, Meta(min_length=1, max_length=32)]
    amount: Annotated[float, Meta(ge=0, le=MAX_AMOUNT)]
    nameOrig: Text  # noqa: N815 - PaySim's name on the wire
    nameDest: Text  # noqa: N815
    step: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    timestamp: Aware | None = None
    oldbalanceOrg: Balance | None = None  # noqa: N815
    newbalanceOrig: Balance | None = None  # noqa: N815
    oldbalanceDest: Balance | None = None  # noqa: N815
    newbalanceDest: Balance | None = None  # noqa: N815
    version: Literal[1] = 1

    def time_seconds(self, step_origin: datetime) -> float:
        """Event time in seconds since the epoch (UTC)."""
        return events.event_seconds(self.timestamp, self.step, step_origin)


class Label(Struct, frozen=True, gc=False):
    """See `stream.events.Label`."""

    transaction_id: Text
    is_fraud: bool
    labelled_at: Aware
    source: Source
    version: Literal[1] = 1


class Example(Struct, frozen=True, gc=False, omit_defaults=True):
    """See `stream.events.Example`."""

    version: Literal[1]
    transaction_id: Text
    timestamp: Aware
    labelled_at: Aware
    source: Source
    is_fraud: bool
    score: Share
    alerted: bool
    amount: Annotated[float, Meta(ge=0, le=MAX_AMOUNT)]
    weight: Annotated[float, Meta(ge=1, le=1e9)]
    features: dict[str, Annotated[float, Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]]
    corrects_weight: Annotated[float, Meta(ge=0, le=1e9)] | None = None


class Decided(Struct, frozen=True, gc=False):
    """See `stream.events.Decided`."""

    version: Literal[1]
    transactions: tuple[int, int]
    labels: tuple[int, int]
    decided_at: Aware
    transaction_ids: list[str]
    scores: list[float]
    thresholds: list[float]
    state: dict[str, float]


AnyTransaction = Transaction | events.Transaction
AnyLabel = Label | events.Label
AnyExample = Example | events.Example
"""Events as either reads them."""


def written(event: Struct | events.Event) -> bytes:
    """Return an event as it goes on the wire: JSON."""
    if isinstance(event, events.Event):
        return event.model_dump_json(exclude_none=True).encode()
    return msgspec.json.encode(event)
