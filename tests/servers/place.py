"""Producer, worker and dashboard as processes, on a bus and a Redis of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stream.io.local_redis import LocalRedisServer

PATIENCE_SECONDS = 60.0


class Place:
    """Starts commands as people would, with the settings given; ends them all.

    Parameters
    ----------
    folder
        Where the bus is.
    redis
        Started already.
    settings
        By name, as in the environment without `WEIR_`.
    """

    def __init__(
        self, folder: Path, redis: LocalRedisServer, settings: Mapping[str, object]
    ) -> None:
        self.bus = f"sqlite:///{folder}/bus.db"
        self.redis = redis
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
        self._env |= {"WEIR_BUS": self.bus, "WEIR_REDIS": redis.url}
        self._env |= {f"WEIR_{name.upper()}": str(value) for name, value in settings.items()}
        self._folder = folder
        self._processes: list[tuple[subprocess.Popen[str], Path]] = []
        assert self.start("stream", "topics", "create").wait(PATIENCE_SECONDS) == 0

    def start(self, module: str, *command: str) -> subprocess.Popen[str]:
        """Start a command of `stream` or `producers`."""
        told = self._folder / f"{len(self._processes)}.txt"
        with told.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *command],
                env=self._env,
                stdout=subprocess.PIPE if command[0] == "dashboard" else subprocess.DEVNULL,
                stderr=log,
                text=True,
            )
        self._processes.append((process, told))
        return process

    def dashboard(self, *flags: str) -> tuple[subprocess.Popen[str], str]:
        """Start the web page; return its process, and its link with the token."""
        process = self.start("stream", "dashboard", "--port=0", *flags)
        assert process.stdout is not None
        found = re.search(r"http://\S+#token=\S+", process.stdout.readline())
        if found is None:
            raise RuntimeError("the dashboard ended before it served the page")
        return process, found[0]

    def stop(self) -> None:
        """End all that was started, and see that it ended well."""
        for process, _ in reversed(self._processes):
            process.terminate()
        for process, told in self._processes:
            process.communicate(timeout=PATIENCE_SECONDS)
            # A generator that is told to end has not done all it was to do.
            assert process.returncode in (0, -15), told.read_text()
            assert "Traceback" not in told.read_text()
