"""A Redis of one's own for the embedded default: on this machine, in memory, gone with its user."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Literal

Kind = Literal["redis-server", "valkey-server", "fakeredis"]

_SERVERS: tuple[Kind, ...] = ("redis-server", "valkey-server")
_START_SECONDS = 20.0
_PORTS_TRIED = 5


class LocalRedisServer:
    """A Redis protocol server on a free loopback port, as a context manager.

    `redis-server` or `valkey-server` where one is on the PATH, else fakeredis' server. It keeps
    nothing on disk. It asks for no password: whoever has an account on this machine can read it.

    The server runs under a child process that ends it when its standard input closes, which the
    kernel does however the parent ends, `kill -9` included. (Only when that child itself is killed
    with -9 does a `redis-server` stay behind.)

    Parameters
    ----------
    prefer
        Which server to take; by default the first that is there. Raises `FileNotFoundError` on
        entry where the one preferred is not installed.
    """

    def __init__(self, prefer: Kind | None = None) -> None:
        found = [server for server in _SERVERS if shutil.which(server)]
        self.kind: Kind = prefer or (found[0] if found else "fakeredis")
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, once it has been started."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> LocalRedisServer:
        self.start()
        return self

    def start(self) -> None:
        """Start it, on the port it had before if it is started again; return when it answers."""
        command = [sys.executable, "-m", "stream.io.local_redis"]
        program = shutil.which(self.kind)
        if self.kind != "fakeredis" and program is None:
            raise FileNotFoundError(f"{self.kind} is not installed or not on the PATH")
        for _ in range(_PORTS_TRIED):
            self.port = self.port or _free_port()
            self._child = subprocess.Popen(  # noqa: S603 - our own module, by its full name
                [*command, str(self.port), *([program] if program else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                # Ctrl-C in a terminal is for the parent, which ends us after its last report.
                start_new_session=True,
            )
            if self._wait_until_it_answers(self._child):
                return
            self.stop()
            self.port = 0
        raise RuntimeError(
            f"{self.kind} did not start on a loopback port; start it by hand to see why, "
            "or give the address of a Redis (--redis, WEIR_REDIS)"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; what it held is gone."""
        if self._child is None:
            return
        child, self._child = self._child, None
        if child.stdin is not None:
            child.stdin.close()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _wait_until_it_answers(self, child: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            answers = _answers(self.port)
            # In this order: another server that took the port first makes the child end.
            if child.poll() is not None:
                return False
            if answers:
                return True
            time.sleep(0.02)
        return False


def serve(port: int, program: str | None) -> None:
    """Serve on a loopback port until standard input closes: a Redis program, else fakeredis."""
    if program is None:
        from fakeredis import TcpFakeServer  # noqa: PLC0415 - only where it is the server

        server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.buffer.read()
        os._exit(0)  # its threads wait for connections that may stay open
    child = subprocess.Popen(  # noqa: S603 - the server found on the PATH
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdin=subprocess.DEVNULL,
    )
    threading.Thread(target=_end_with, args=(child,), daemon=True).start()
    sys.stdin.buffer.read()
    child.terminate()
    try:
        child.wait(timeout=3)
    except subprocess.TimeoutExpired:
        child.kill()


def _end_with(child: subprocess.Popen[bytes]) -> None:
    os._exit(child.wait())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
