"""A Redis of their own for the tests of views."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.io.local_redis import LocalRedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedisServer]:
    """fakeredis' server, that the tests of a module share: a prefix each."""
    with LocalRedisServer(prefer="fakeredis") as local:
        yield local
