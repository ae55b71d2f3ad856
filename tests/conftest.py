"""Real servers for the tests that need them, started once, and commands run in this process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api import Browser

from stream.__main__ import main
from tests.commands import Ended, Weir
from tests.servers import browser
from tests.servers import kafka as kafka_server
from tests.servers import redis as redis_server_
from tests.servers.kafka import LocalKafka
from tests.servers.redis import LocalRedis

# Nothing here asserts a time: machines are noisy, and a slow one is not a failure.
hypothesis.settings.register_profile(
    "weir", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("weir")


def pytest_xdist_auto_num_workers() -> int:
    """Two to a core: half of what takes long is waiting for a server."""
    return 2 * (os.cpu_count() or 1)


def pytest_report_header() -> list[str]:
    """Say at the top which real servers there are, instead of a line for each test that skips."""
    servers = {
        "Apache Kafka": kafka_server.missing(),
        "Redis": redis_server_.missing(),
        "Chromium": browser.missing(),
    }
    return [f"{name}: {missing or 'there'}" for name, missing in servers.items()]


def _need(missing: str | None) -> None:
    """Skip where a server is missing; fail where WEIR_REQUIRE_SERVERS=1 says it must be there."""
    if missing and os.environ.get("WEIR_REQUIRE_SERVERS") == "1":
        pytest.fail(f"WEIR_REQUIRE_SERVERS=1, but: {missing}", pytrace=False)
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def kafka() -> Iterator[LocalKafka]:
    """A real Apache Kafka that all tests share: unique topics and groups, never a flush."""
    _need(kafka_server.missing())
    server = LocalKafka()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalRedis]:
    """A real Redis that all tests share: a unique key prefix each, never a flush."""
    _need(redis_server_.missing())
    server = LocalRedis()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A real Chromium that all tests share: a context of its own each."""
    _need(browser.missing())
    with browser.chromium() as started:
        yield started


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a bus, on either of the two."""
    if request.param == "embedded":
        return f"sqlite:///{tmp_path / 'bus.db'}"
    return f"kafka://{request.getfixturevalue('kafka').bootstrap}"


@pytest.fixture
def unique() -> str:
    """A prefix for topics, groups and keys that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def weir(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Weir]:
    """Runs a command by its entry point, without the time that an interpreter takes to start."""
    handlers = list(logging.getLogger().handlers)
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*command: str, entry: Callable[..., int] = main, **env: str) -> Ended:
        for name in [name for name in os.environ if name.startswith("WEIR_")]:
            monkeypatch.delenv(name)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        try:
            code = entry(command)
        except SystemExit as end:  # from argparse
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    yield run
    logging.getLogger().handlers = handlers  # the one of the command writes to what was captured
    for number, handler in signals.items():
        signal.signal(number, handler)
