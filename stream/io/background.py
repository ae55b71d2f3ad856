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

_NICENESS = 5
"""About a quarter of a core that another thread wants, too."""


class Background(ThreadPoolExecutor):
    """One thread that works when others have nothing to do, and knows the processor time it took.

    It steps back on Linux only, where a priority can be that of a thread.
    """

    seconds = 0.0

    def __init__(self, name: str) -> None:
        super().__init__(1, thread_name_prefix=name, initializer=_step_back)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def timed() -> Any:
            begun = time.thread_time()
            try:
                return fn(*args, **kwargs)
            finally:
                self.seconds += time.thread_time() - begun

        return super().submit(timed)


def _step_back() -> None:
    if sys.platform != "linux":
        return
    with suppress(OSError):  # not allowed here: then it works like any other
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
