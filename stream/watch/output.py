"""Lines to an output whose reader may have gone, as in `weir alerts | head`."""

from __future__ import annotations

import io
import os
import select
from typing import TextIO


def emit(line: str, out: TextIO) -> bool:
    """Print a line at once; return False when nobody reads any more, and then stay quiet.

    >>> emit("a line", io.StringIO())
    True
    """
    try:
        print(line, file=out, flush=True)
    except BrokenPipeError:
        # The interpreter flushes standard output at exit, and would complain then.
        try:
            descriptor = out.fileno()
        except io.UnsupportedOperation:
            return False
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
        return False
    return True


def deserted(out: TextIO) -> bool:
    """Whether nobody reads the output any more; False where that cannot be told.

    >>> deserted(io.StringIO())
    False
    """
    if not hasattr(select, "poll"):  # as on Windows
        return False
    try:
        poll = select.poll()
        poll.register(out.fileno(), 0)  # no event but those that are always told
    except io.UnsupportedOperation:
        return False
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
