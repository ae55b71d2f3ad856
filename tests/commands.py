"""What comes of a command, whether it ran in a process of its own or in that of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    """The exit code of a command, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


Weir = Callable[..., Ended]
"""Flags and arguments; settings by name (WEIR_...); `entry`, where it is another's entry point."""
