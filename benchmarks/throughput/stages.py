"""Where processor time goes, by stage, while a loop runs in this process's main thread."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_EVERY_SECONDS = 0.002


@contextmanager
def sampled(functions: Mapping[str, tuple[Any, ...]]) -> Iterator[Counter[str]]:
    """Count the processor seconds of the main thread by stage, those of the others by name.

    Some five hundred times a second the main thread's processor time since the last look goes to
    the stage whose function is innermost on the stack: `functions` are those of each stage. What
    is in none of them is "rest". Complete when the block ends.
    """
    stages = {_code(each): name for name, of in functions.items() for each in of}
    spent: Counter[str] = Counter()
    last = time.thread_time()

    def look(_: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.thread_time()
        while frame is not None and frame.f_code not in stages:
            frame = frame.f_back
        spent[stages[frame.f_code] if frame else "rest"] += now - last
        last = now

    before = _threads()
    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _EVERY_SECONDS, _EVERY_SECONDS)
    try:
        yield spent
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for thread, (name, seconds) in _threads().items():
            if thread != threading.main_thread().native_id:
                spent[name] += seconds - before.get(thread, ("", 0.0))[1]


def _code(function: Any) -> CodeType:
    code: CodeType = getattr(function, "__func__", function).__code__
    return code


def _threads() -> dict[int, tuple[str, float]]:
    """Processor seconds of each thread there is, with its name."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        name = names.get(int(task.name), "threads of libraries")
        found[int(task.name)] = (name.split("-python")[0], ticks / _TICKS)
    return found


_TICKS = os.sysconf("SC_CLK_TCK")
"""What Linux counts processor time in, per second."""
