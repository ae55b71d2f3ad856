"""Where a replay begins, and what it is asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from stream.io.bus import Broker, Message, Record, TopicPartition, TopicSpec, connect
from stream.shadow.request import moment, name_of_key, named
from stream.shadow.search import last_record, search
from tests.streams import everything

SOURCE = TopicPartition("events", 0)


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    """A bus with a compacted topic: of the records without a key of their own only one is left."""
    broker = connect(f"sqlite:///{tmp_path / 'bus.db'}")
    broker.create_topics([TopicSpec("events", 1, config={"cleanup.policy": "compact"})])
    return broker


def publish(broker: Broker, kept: Sequence[bool]) -> list[int]:
    """Publish so many records, and return the offsets of those that are there."""
    keys = [str(at).encode() if keep else b"gone" for at, keep in enumerate(kept)]
    with closing(broker.publisher()) as publisher:
        publisher.publish([Message("events", key, b"{}") for key in keys])
    return [record.offset for record in everything(broker, "events")]


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_the_first_record_that_has_reached_it_whatever_says_nothing(
    broker: Broker, seed: int
) -> None:
    rng = random.Random(seed)
    offsets = publish(broker, [rng.random() < 0.6 for _ in range(200)])
    with closing(broker.reader()) as reader:
        for wanted in range(0, 210, 7):
            silent = {offset for offset in offsets if rng.random() < 0.3}
            asked = []

            def reached(record: Record, silent=silent, wanted=wanted, asked=asked) -> bool | None:  # type: ignore[no-untyped-def]
                asked.append(record.offset)
                return None if record.offset in silent else record.offset >= wanted

            at = search(reader, SOURCE, 0, 200, reached)
            telling = [offset for offset in offsets if offset not in silent]
            assert at <= next((offset for offset in telling if offset >= wanted), 200)
            assert all(offset < at for offset in telling if offset < wanted)
            assert len(asked) < 60  # and not one for each record


def test_the_last_record_is_found_wherever_it_lies(broker: Broker) -> None:
    offsets = publish(broker, [True] * 9 + [False] * 5 + [True])
    with closing(broker.reader()) as reader:
        assert last_record(reader, SOURCE, 0, 0) is None
        for end in (1, 9, 14, 15):
            found = last_record(reader, SOURCE, 0, end)
            assert found is not None
            assert found.offset == max(offset for offset in offsets if offset < end)


@pytest.mark.parametrize("text", ["yesterday", "", "7", "-3d", "2026-13-01"])
def test_a_moment_that_is_none_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="beginning"):
        moment(text)


def test_a_name_fits_a_key_and_tells_the_settings() -> None:
    name = named({"threshold": "cost:25", "features": "mine.py:TABLE " * 20})
    assert name.startswith("threshold-cost-25.features-mine-py-table")
    assert name_of_key(name) == name
    with pytest.raises(ValueError, match="no name"):
        name_of_key("a:b")
