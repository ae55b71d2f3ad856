"""A server process that never outlives the tests, even where these are killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self

STOP_SECONDS = 15.0


class ServerProcess:
    """Runs `command` with its output in a file, until it is ended or whoever started it dies."""

    def __init__(self, command: list[str], output: Path) -> None:
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                # Not the terminal's: Ctrl-C is for pytest, which then ends the server in order.
                start_new_session=True,
            )
        # Reads from us until we are gone, in whatever way, and then ends the server.
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read _; kill -9 "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def runs(self) -> bool:
        return self._process.poll() is None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it does nothing at all, and answers nobody."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def end(self, *, kill: bool) -> None:
        """End it in order, or at once as a power cut does; returns when it is gone."""
        self._guard.kill()
        self._guard.communicate()
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class LocalServer(ABC):
    """A server with a folder of its own that can be stopped, killed and started again."""

    def __init__(self, prefix: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._process: ServerProcess | None = None

    @abstractmethod
    def start(self) -> Self:
        """Start, and return when it answers."""

    def restart(self) -> None:
        """Stop it, if it runs, and start it again on the same port and data."""
        self._end(kill=False)
        self.start()

    def frozen(self) -> AbstractContextManager[None]:
        """Meanwhile it does nothing at all, and answers nobody."""
        assert self._process is not None
        return self._process.frozen()

    def kill(self) -> None:
        """End it at once, as a power cut does; what was written stays."""
        self._end(kill=True)

    def stop(self) -> None:
        """End it in order and throw its data away."""
        self._end(kill=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(kill=kill)
