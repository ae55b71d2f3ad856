"""How long a process has a core to itself before another one gets it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
import sys

TURN_SECONDS = 0.1
"""As long as Linux allows (`sched_setattr(2)`)."""
_SINCE = (6, 12)
"""The first release of Linux that does as it is told."""
_NUMBERS = {"x86_64": 314, "aarch64": 274}
"""Of the system call, which Python's library does not have."""
_NORMAL = 0
_ATTRIBUTES = "IIQiIQQQ"
"""`struct sched_attr`: size, policy, flags, nice, priority, and the runtime in nanoseconds."""


def take_long_turns() -> None:
    """Let this process and its threads keep a core for a tenth of a second at a time.

    Several workers on one core take turns of a millisecond or three by default. Each then finds the
    caches of the core filled by another: a cost of sharing a core, which workers with one each do
    not have. Where the kernel does not allow it, the turns stay as they are, and a line says so.
    """
    number = _NUMBERS.get(platform.machine())
    release = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if sys.platform != "linux" or number is None or release < _SINCE:  # older ones say yes
        _stays(f"not known for {platform.system()} {platform.release()} on {platform.machine()}")
        return
    size, nice = struct.calcsize(_ATTRIBUTES), os.getpriority(os.PRIO_PROCESS, 0)
    attributes = struct.pack(_ATTRIBUTES, size, _NORMAL, 0, nice, 0, int(1e9 * TURN_SECONDS), 0, 0)
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(number, 0, ctypes.create_string_buffer(attributes, size), 0):
        _stays(os.strerror(ctypes.get_errno()))


def _stays(why: str) -> None:
    print(f"turns of workers on a core stay as short as they are: {why}", file=sys.stderr)
