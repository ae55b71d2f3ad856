"""Texts in plain arrays, for snapshots."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1_000
"""Texts that are packed in one go: other threads wait for as long."""


def pack(texts: Sequence[str]) -> list[bytes]:
    """Return the bytes of texts, in pieces: JSON lists, one a line: as long as they are, whatever
    is in them.

    An array of numpy's own text type is as wide as its longest text, and drops a NUL at the end.

    >>> unpack(np.frombuffer(b"".join(pack(["a", "a\\0", "\\n"])), dtype=np.uint8))
    ['a', 'a\\x00', '\\n']
    """
    starts = range(0, len(texts), _AT_ONCE)
    return [json.dumps(texts[at : at + _AT_ONCE]).encode() + b"\n" for at in starts]


def unpack(packed: NDArray[np.generic]) -> list[str]:
    """Return the texts that `pack` was given, from its pieces one after the other."""
    return [text for line in packed.tobytes().splitlines() for text in json.loads(line)]
