"""Snapshots on their way to the bus."""

from __future__ import annotations

import numpy as np

from stream.core.detector import Detector
from stream.core.model import Model
from stream.io.bus import TopicPartition
from stream.io.state import CHUNK_BYTES, StateWriter
from tests.streams import settings


def test_a_snapshot_that_takes_its_time_goes_out_as_time_passes() -> None:
    made, now = Detector(settings(), Model(settings())), [1_000.0]
    shard = made.open(0)
    names, nothing = [f"C{i}" for i in range(20_000)], np.zeros(20_000)
    shard.features.accounts.observe(names, np.zeros(20_000, dtype=np.int64), nothing, nothing)
    writer = StateWriter(settings(), lambda: now[0])
    writer.opened(0, 0)

    def sent(rounds: int, *, slowly: bool) -> int:
        """Bytes that go out in so many rounds."""
        size = 0
        for _ in range(rounds):
            writer.go_on(slowly=slowly)
            writer.ready(5.0)
            size += sum(len(message.value or b"") for message in writer.messages())
        return size

    writer.begin(0, shard, {TopicPartition("transactions", 0): 20_000})
    assert sent(100, slowly=True) <= 2 * CHUNK_BYTES
    now[0] += 0.5
    assert CHUNK_BYTES < sent(100, slowly=True) <= 6 * CHUNK_BYTES
    assert writer.waiting
    assert sent(100, slowly=False) > CHUNK_BYTES
    assert not writer.waiting
    writer.close()
