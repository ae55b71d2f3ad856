"""What a process that decides sets up for itself, before it begins."""

from __future__ import annotations

import gc


def set_up_process() -> None:
    """Have this process compute in one thread, and seldom look for cyclic garbage."""
    compute_in_one_thread()
    collect_rarely()


def compute_in_one_thread() -> None:
    """Have matrix products computed by the thread that asks for them.

    The products of a batch are small. The threads that BLAS keeps for large ones wait for them with
    open eyes: on two cores, that was a quarter of the processor time of a worker. And how a sum is
    split among threads decides how it is rounded: workers with more cores would come to another
    model.
    """
    import numpy  # noqa: F401, PLC0415 - the limit holds for libraries that are loaded by then
    import scipy.linalg  # noqa: F401, PLC0415 - the same, with a BLAS of its own
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - other commands need none of it

    threadpool_limits(1, user_api="blas")


def collect_rarely() -> None:
    """Have the cyclic collector look seldom, and never at what is there by now.

    What a worker makes of a record holds no cycles, so counting references frees it. But records
    that wait are many, and Python walks through all that is young after every 700 new objects, and
    through all there is again and again: a fifth of the time of a worker.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 80, 20)
