"""Lines to an output whose reader may have gone, as in `weir alerts | head`."""

from __future__ import annotations

import io
import os
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
