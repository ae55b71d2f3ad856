"""A thread for what may take its time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

_STEPS_BACK, _GIVES_WAY = 5, 10
"""About a quarter of a core that another thread wants, too, and a tenth. With less, what is waited
for comes late, and who waits for the interpreter meanwhile waits long."""


class Background(ThreadPoolExecutor):
    """One thread that works when others have nothing to do, and knows the processor time it took.

    It steps back on Linux only, where a priority can be that of a thread. Having given way, it
    comes back only where the process may raise a priority: as root, mostly.
    """

    seconds = 0.0
    gives_way = False
    """Whether what is begun next steps back further: somebody waits for other threads."""

    def __init__(self, name: str) -> None:
        super().__init__(1, thread_name_prefix=name)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def timed() -> Any:
            _step_back(_GIVES_WAY if self.gives_way else _STEPS_BACK)
            begun = time.thread_time()
            try:
                return fn(*args, **kwargs)
            finally:
                self.seconds += time.thread_time() - begun

        return super().submit(timed)


def _step_back(niceness: int) -> None:
    if sys.platform != "linux":
        return
    with suppress(OSError):  # not allowed here: then it stays as it is
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
