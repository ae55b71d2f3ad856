"""Texts in plain arrays, for snapshots."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pack(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts as the bytes of a JSON list: as long as they are, whatever is in them.

    An array of numpy's own text type is as wide as its longest text, and drops a NUL at the end.

    >>> unpack(pack(["a", "a\\0", ""]))
    ['a', 'a\\x00', '']
    """
    return np.frombuffer(json.dumps(list(texts)).encode(), dtype=np.uint8)


def unpack(packed: NDArray[np.generic]) -> list[str]:
    """Return the texts that `pack` was given."""
    texts: list[str] = json.loads(packed.tobytes())
    return texts
