"""Work that is done a little at a time, so that others need not wait for all of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Awaited(Protocol):
    """What work cannot go on without: a `Future`, or what is like one."""

    def done(self) -> bool:
        """Return whether it is there."""

    def result(self) -> Any:
        """Return it; wait for it where it is not there yet."""


Steps = Generator[Awaited | None, None, T]
"""Yields after every step, of a millisecond or so: what it has to wait for, or None."""


def finished(steps: Steps[T]) -> T:
    """Take all steps, wait where they wait, and return what they come to.

    >>> def work():
    ...     yield
    ...     return 2
    >>> finished(work())
    2
    """
    while True:
        try:
            awaited = next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        if awaited is not None:
            awaited.result()
