"""Bytes to a transaction, a label or an example, or the reason why not. Never raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from stream.events import Event

E = TypeVar("E", bound=Event)

_SHOWN_ERRORS = 3


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that cannot be read, and why."""

    reason: str


def decode(value: bytes | None, kind: type[E], max_bytes: int) -> E | Reject:
    """Return the event that a message carries, or the reason why it carries none.

    The reason names the field and what was expected, never the value that was found.

    >>> from stream.events import Label
    >>> decode(b'{"transaction_id": 7}', Label, 1000).reason.split(";")[0]
    'transaction_id: Input should be a valid string'
    >>> decode(b"\\xff", Label, 1000).reason.split(":")[0]
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
