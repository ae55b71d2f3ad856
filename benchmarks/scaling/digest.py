"""What a model is, as a number: equal for equal models, however each came to be."""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xgboost
from msgspec import Struct

from stream.core.model import Model

_LEFT_OUT = frozenset({"executor", "settings"})
"""Where it fits and what it was made with: not what it has learned."""


def digest(model: Model) -> str:
    """Return a digest of all that a model holds, floats by their bits.

    A pickle of it differs where two have the same values in other objects; this does not.
    """
    found = hashlib.sha256()
    _into(found, model, set())
    return found.hexdigest()[:16]


def _into(found: Any, value: Any, above: set[int]) -> None:
    """Add a value; `above` are the ids of what holds it."""
    if id(value) in above:
        found.update(b"above")
        return
    found.update(type(value).__name__.encode())
    if value is None or isinstance(value, bool | int | str | bytes):
        found.update(repr(value).encode())
    elif isinstance(value, float):
        found.update(struct.pack("<d", value))
    elif isinstance(value, datetime):
        found.update(value.astimezone(UTC).isoformat().encode())
    elif isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, np.generic):
        found.update(value.tobytes())
    elif isinstance(value, xgboost.Booster):
        found.update(value.save_raw("ubj"))
    elif isinstance(value, type) or callable(value):
        found.update(getattr(value, "__qualname__", "").encode())
    else:
        for part in _parts(value):
            _into(found, part, above | {id(value)})


def _parts(value: Any) -> Any:
    """What a value is made of."""
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, list | tuple | deque):
        return value
    if isinstance(value, Set):
        return sorted(value, key=repr)
    if isinstance(value, Struct):
        return [part for name in value.__struct_fields__ for part in (name, getattr(value, name))]
    _, made_of, *rest = value.__reduce_ex__(4)  # as it would be pickled
    state = rest.pop(0) if rest else None
    if isinstance(state, tuple) and len(state) == 2:  # of what has slots
        state = {name: held for each in state if each for name, held in each.items()}
    if isinstance(state, Mapping):
        state = [(name, state[name]) for name in sorted(state) if name not in _LEFT_OUT]
    return [made_of, state, *(list(items) for items in rest if items is not None)]
