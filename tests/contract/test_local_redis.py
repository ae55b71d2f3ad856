"""A Redis of one's own lives as long as the process that asked for it, and no longer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
from redis import Redis

from stream.io.local_redis import Kind, LocalRedisServer

KINDS = ["fakeredis", pytest.param("redis-server", marks=pytest.mark.redis)]

KILLED = """
import os, sys
from stream.io.local_redis import LocalRedisServer
with LocalRedisServer(prefer=sys.argv[1]) as server:
    print(server.port, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param != "fakeredis" and shutil.which(request.param) is None:
        if os.environ.get("WEIR_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{request.param} is not installed")
        pytest.skip(f"{request.param} is not installed")
    chosen: Kind = request.param
    return chosen


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_answers_inside_the_block_and_is_gone_behind_it(kind: Kind) -> None:
    with LocalRedisServer(prefer=kind) as server:
        assert server.kind == kind
        client = Redis.from_url(server.url)
        assert client.ping()
        client.close()
    assert not listens(server.port)


def test_two_at_once_do_not_share_anything(kind: Kind) -> None:
    with LocalRedisServer(prefer=kind) as one, LocalRedisServer(prefer=kind) as other:
        first, second = Redis.from_url(one.url), Redis.from_url(other.url)
        first.set("key", "value")
        assert second.get("key") is None
        first.close()
        second.close()


def test_it_ends_when_its_parent_is_killed_at_once(kind: Kind) -> None:
    parent = subprocess.run(
        [sys.executable, "-c", KILLED, kind], capture_output=True, text=True, check=False
    )
    assert parent.returncode == -9
    port = int(parent.stdout)
    deadline = time.monotonic() + 10
    while listens(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not listens(port)


def test_a_server_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="valkey-server"):
        LocalRedisServer(prefer="valkey-server").start()
