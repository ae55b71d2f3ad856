"""Texts in plain arrays, for snapshots."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 5_000
"""Texts that are packed in one go: other threads wait for as long."""


def pack(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts as the bytes of JSON lists, one a line: as long as they are, whatever is in
    them.

    An array of numpy's own text type is as wide as its longest text, and drops a NUL at the end.

    >>> unpack(pack(["a", "a\\0", "\\n"]))
    ['a', 'a\\x00', '\\n']
    """
    lines = (json.dumps(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE))
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def unpack(packed: NDArray[np.generic]) -> list[str]:
    """Return the texts that `pack` was given."""
    return [text for line in packed.tobytes().splitlines() for text in json.loads(line)]
