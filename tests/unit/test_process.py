"""What a process that decides sets up for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from stream.io.background import Background

_SHOWS_THREADS = """
import gc, json
from stream.process import set_up_process
set_up_process()
import scipy.optimize, stream.io.worker
from threadpoolctl import threadpool_info
import numpy
threads = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
large = numpy._core.multiarray._get_madvise_hugepage()
print(json.dumps({"threads": threads, "threshold": gc.get_threshold()[0], "large": large}))
"""


def test_matrix_products_take_one_thread_whatever_is_imported_later() -> None:
    found = shown({})
    assert found["threads"]
    assert set(found["threads"]) == {1}
    assert found["threshold"] > 700


def test_memory_comes_in_small_pages_unless_told_otherwise() -> None:
    assert not shown({})["large"]
    if sys.platform == "linux":
        assert shown({"NUMPY_MADVISE_HUGEPAGE": "1"})["large"]


def shown(environment: dict[str, str]) -> dict[str, Any]:
    rest = {k: v for k, v in os.environ.items() if k != "NUMPY_MADVISE_HUGEPAGE"}
    process = subprocess.run(
        [sys.executable, "-c", _SHOWS_THREADS],
        capture_output=True,
        text=True,
        check=True,
        env=rest | environment,
    )
    found: dict[str, Any] = json.loads(process.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_what_is_done_in_the_background_steps_back_and_where_others_are_waited_for_gives_way() -> (
    None
):
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = niceness()
    with Background("fit") as background:
        assert background.submit(niceness).result() == max(own, 5)
        background.gives_way = True
        assert background.submit(niceness).result() == max(own, 10)
    assert niceness() == own
