"""Buses with all there is to decide, published once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.__main__ import topic_specs
from stream.io.bus import connect
from tests.outcome import OUTPUTS, publish
from tests.servers.kafka import LocalKafka
from tests.streams import TOPICS, settings, topics


@pytest.fixture(scope="session")
def published_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded bus with all there is to decide, to be copied."""
    file = tmp_path_factory.mktemp("published") / "bus.db"
    made = settings(bus=f"sqlite:///{file}")
    connect(made.bus).create_topics(topic_specs(made))
    publish(made)
    return file


@pytest.fixture(scope="session")
def published_topics(kafka: LocalKafka) -> dict[str, object]:
    """Topics of a real Kafka with all there is to decide."""
    given = {"bus": f"kafka://{kafka.bootstrap}", **topics("crash", TOPICS[:2])}
    made = settings(**given, **topics("crash-none", OUTPUTS))
    connect(made.bus).create_topics(topic_specs(made))
    publish(made)
    return given


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    """The bus and the inputs, of settings."""
    if request.param == "kafka":
        yield request.getfixturevalue("published_topics")
        return
    for name in ("bus.db", "bus.db-wal"):
        source = request.getfixturevalue("published_file").with_name(name)
        if source.exists():
            shutil.copy(source, tmp_path / name)
    yield {"bus": f"sqlite:///{tmp_path}/bus.db"}
