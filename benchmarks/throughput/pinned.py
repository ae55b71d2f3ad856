"""Functions run in processes of their own, on one core."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.throughput.loops import Pace


class Pinned:
    """Runs functions in processes of their own on one core."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._context = multiprocessing.get_context("spawn")

    def run(self, function: Callable[..., Pace], *args: Any, **kwargs: Any) -> Pace:
        """Return what the function returned there."""
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_pinned, args=(self._core, there, function, args, kwargs)
        )
        process.start()
        there.close()
        try:
            pace: Pace = here.recv()
        except EOFError:
            raise SystemExit(f"{function.__name__} ended without a result") from None
        process.join()
        print(f"{function.__name__}: {pace.seconds:.1f} s", file=sys.stderr, flush=True)
        return pace


def _pinned(core: int, answer: Any, function: Callable[..., Pace], args: Any, kwargs: Any) -> None:
    os.sched_setaffinity(0, {core})
    answer.send(function(*args, **kwargs))
