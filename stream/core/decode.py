"""Bytes to an event, or the reason why not. Never raises.

What each transaction, label and example goes through is read by msgspec (`core.wire`); what it will
not take, the models of `stream.events` look at, which take it after all or know what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from msgspec import MsgspecError, defstruct
from msgspec.json import Decoder
from pydantic import ValidationError, create_model

from stream import events
from stream.core import wire

E = TypeVar("E", bound=events.Event)
W = TypeVar("W")

_SHOWN_ERRORS = 3


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that cannot be read, and why."""

    reason: str


def transactions(
    fields: Sequence[str] = (),
) -> Callable[[bytes | None, int], wire.AnyTransaction | Reject]:
    """Return what reads a transaction from a message of so many bytes at most, or tells why not.

    `fields` are read besides those that every transaction may have, whatever they hold; None where
    there is nothing. The reader gives the transaction that a message carries, or the reason why it
    carries none.

    >>> read = transactions(["channel"])
    >>> about = b'"type": "DEBIT", "amount": 1, "nameOrig": "C1", "nameDest": "M1", "step": 0'
    >>> read(b'{"transaction_id": "1", "channel": "atm", ' + about + b"}", 1000).channel
    'atm'
    """
    new = [name for name in fields if name not in events.Transaction.model_fields]
    model: type[events.Transaction] = events.Transaction
    struct: type[wire.Transaction] = wire.Transaction
    if new:
        extra: dict[str, Any] = dict.fromkeys(new, (Any, None))
        model = create_model("Transaction", __base__=events.Transaction, **extra)
        columns = [(name, Any, None) for name in new]
        made = defstruct("Transaction", columns, bases=(wire.Transaction,), frozen=True)
        struct = cast(type[wire.Transaction], made)
    quick = Decoder(struct).decode

    def read(value: bytes | None, max_bytes: int) -> wire.AnyTransaction | Reject:
        found = _quickly(quick, value, max_bytes)
        if found is not None:
            at = found.timestamp
            if found.step is not None if at is None else events.FIRST <= at < events.END:
                return found
        return decode(value, model, max_bytes)

    return read


def label(value: bytes | None, max_bytes: int) -> wire.AnyLabel | Reject:
    """Return the label that a message carries, or the reason why it carries none."""
    found = _quickly(_LABEL, value, max_bytes)
    if found is not None and events.FIRST <= found.labelled_at < events.END:
        return found
    return decode(value, events.Label, max_bytes)


def example(value: bytes | None, max_bytes: int) -> wire.AnyExample | Reject:
    """Return the example that a record of the training log carries, or why it carries none."""
    found = _quickly(_EXAMPLE, value, max_bytes)
    if (
        found is not None
        and events.FIRST <= found.timestamp < events.END
        and events.FIRST <= found.labelled_at < events.END
    ):
        return found
    return decode(value, events.Example, max_bytes)


def decode(value: bytes | None, kind: type[E], max_bytes: int) -> E | Reject:
    """Return the event that a message carries, or the reason why it carries none.

    The reason names the field and what was expected, never the value that was found.

    >>> decode(b'{"transaction_id": 7}', events.Label, 1000).reason.split(";")[0]
    'transaction_id: Input should be a valid string'
    >>> decode(b"\\xff", events.Label, 1000).reason.split(":")[0]
    'not JSON'
    """
    if value is None:
        return Reject("no value")
    if len(value) > max_bytes:
        return Reject(f"too large: {len(value)} bytes, at most {max_bytes} are read")
    try:
        event = kind.model_validate_json(value)
    except ValidationError as error:
        return Reject(_reason(error))
    except (ValueError, RecursionError) as error:  # what pydantic lets through of its parser's
        return Reject(f"not JSON: {type(error).__name__}")
    return event


_LABEL: Callable[[bytes], wire.Label] = Decoder(wire.Label).decode
_EXAMPLE: Callable[[bytes], wire.Example] = Decoder(wire.Example).decode


def _quickly(read: Callable[[bytes], W], value: bytes | None, max_bytes: int) -> W | None:
    """Read a message, or None where there is something about it."""
    if value is None or len(value) > max_bytes:
        return None
    try:
        if not value.isascii():  # msgspec does not look into fields that nobody reads
            value.decode()
        return read(value)
    except (MsgspecError, ValueError, RecursionError):
        return None


def _reason(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = []
    for item in found[:_SHOWN_ERRORS]:
        if item["type"] == "json_invalid":
            return "not JSON: " + item["msg"].removeprefix("Invalid JSON: ")
        where = ".".join(str(part) for part in item["loc"])
        shown.append(f"{where}: {item['msg']}" if where else item["msg"])
    if len(found) > _SHOWN_ERRORS:
        shown.append(f"and {len(found) - _SHOWN_ERRORS} more")
    return "; ".join(shown)
