"""The servers of a run: its own, up to its end, or those that were given."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from tests.servers import kafka as kafka_server
from tests.servers import redis as redis_server
from tests.servers.kafka import LocalKafka
from tests.servers.redis import LocalRedis

S = TypeVar("S", LocalKafka, LocalRedis)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add which servers, and where the figures go: of every benchmark that needs servers."""
    parser.add_argument("--kafka", metavar="HOST:PORT", help="brokers; default: one of its own")
    parser.add_argument("--redis", metavar="URL", help="server; default: one of its own")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put the tables into this copy of the page"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")


def started(stack: ExitStack, kafka: str | None, redis: str | None) -> tuple[str, str]:
    """Return where Apache Kafka and Redis are, started where none was given.

    Raises `SystemExit` where they cannot be started.
    """
    return (
        kafka or _start(stack, kafka_server.missing(), _steady, "--kafka HOST:PORT").bootstrap,
        redis or _start(stack, redis_server.missing(), LocalRedis, "--redis URL").url,
    )


def _steady() -> LocalKafka:
    return LocalKafka(java=kafka_server.STEADY)


def _start(stack: ExitStack, missing: str | None, kind: Callable[[], S], instead: str) -> S:
    if missing:
        raise SystemExit(f"{missing}, or give {instead}")
    server = kind()
    stack.callback(server.stop)
    return server.start()
