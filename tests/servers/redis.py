"""A real Redis on a free loopback port, thrown away at the end."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Sequence
from typing import Self

from tests.servers.kafka import free_port
from tests.servers.process import LocalServer, ServerProcess

START_SECONDS = 20.0


def program() -> str | None:
    """The server's program, Redis or its fork Valkey; None where there is none."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def missing() -> str | None:
    """What is not there to run Redis, and how to get it; None when all is there."""
    return None if program() else "Redis is not there: install redis-server or valkey-server"


class LocalRedis(LocalServer):
    """One server. It appends every write to a file, so that a restart finds the data again.

    `flags` are given to the program besides.
    """

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._flags = list(flags)
        super().__init__(prefix="weir-redis-")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start, and return when it answers."""
        command = [program() or "redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--save", "", "--appendonly", "yes"]
        command += self._flags
        self._process = ServerProcess(command, self._folder / "output.txt")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.runs():
            if self._answers():
                return self
            time.sleep(0.02)
        output = (self._folder / "output.txt").read_text(errors="replace")[-4000:]
        self.stop()
        raise RuntimeError(f"Redis did not start within {START_SECONDS} s:\n{output}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
