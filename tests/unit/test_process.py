"""What a process that decides sets up for itself."""

from __future__ import annotations

import json
import subprocess
import sys

_SHOWS_THREADS = """
import gc, json
from stream.process import set_up_process
set_up_process()
import scipy.optimize, stream.io.worker
from threadpoolctl import threadpool_info
threads = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
print(json.dumps({"threads": threads, "threshold": gc.get_threshold()[0]}))
"""


def test_matrix_products_take_one_thread_whatever_is_imported_later() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", _SHOWS_THREADS], capture_output=True, text=True, check=True
    )
    found = json.loads(shown.stdout)
    assert found["threads"]
    assert set(found["threads"]) == {1}
    assert found["threshold"] > 700
