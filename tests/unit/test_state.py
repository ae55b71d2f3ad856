"""Snapshots on their way to the bus."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.detector import Detector
from stream.core.model import Model
from stream.core.plain import FrozenTable
from stream.io import packing
from stream.io.bus import TopicPartition
from stream.io.state import CHUNK_BYTES, Damaged, Manifest, Saved, StateWriter
from tests.streams import settings


def test_a_snapshot_that_takes_its_time_goes_out_as_time_passes() -> None:
    made, now = Detector(settings(), Model(settings())), [1_000.0]
    shard = made.open(0)
    names, nothing = [f"C{i}" for i in range(20_000)], np.zeros(20_000)
    shard.features.accounts.observe(names, np.zeros(20_000, dtype=np.int64), nothing, nothing)
    writer = StateWriter(settings(), lambda: now[0])
    writer.opened(0, 0, 0)

    def sent(rounds: int, *, slowly: bool) -> int:
        """Bytes that go out in so many rounds."""
        size = 0
        for _ in range(rounds):
            writer.go_on(slowly=slowly)
            writer.ready(5.0)
            size += sum(len(message.value or b"") for message in writer.messages())
        return size

    writer.begin(0, shard, {TopicPartition("transactions", 0): 20_000})
    total = 0
    for _ in range(10):
        now[0] += 0.1
        total += sent(10, slowly=True)
    assert 5 * CHUNK_BYTES <= total <= 9 * CHUNK_BYTES  # four megabytes
    now[0] += 60.0
    assert sent(100, slowly=True) <= 2 * CHUNK_BYTES  # none of it is made up for
    assert writer.waiting
    assert sent(100, slowly=False) > CHUNK_BYTES
    assert not writer.waiting
    writer.close()


def test_what_is_given_up_is_followed_by_a_snapshot_in_its_place() -> None:
    made = Detector(settings(), Model(settings()))
    shard, source = made.open(0), TopicPartition("transactions", 0)
    writer = StateWriter(settings(), lambda: 0.0)
    writer.opened(0, 4, 0)

    def keys() -> set[bytes]:
        found = set()
        while writer.waiting:
            writer.go_on()
            writer.ready(5.0)
            found |= {message.key or b"" for message in writer.messages()}
        return found

    writer.begin(0, shard, {source: 1})
    whole = keys()
    for positions in ({source: 2}, {source: 2}):
        writer.begin(0, shard, positions)
        writer.drop()
        assert not writer.waiting
    writer.begin(0, shard, {source: 2})
    assert keys().isdisjoint(whole)
    writer.close()


texts = st.lists(st.text() | st.sampled_from(["\n", "\0", "\ud800", "\u2028", '"', "\\"]))


@given(texts, st.integers(1, 3), st.lists(st.floats(allow_nan=False), max_size=20))
def test_what_is_packed_comes_back_whatever_is_in_it(
    told: list[str], at_once: int, numbers: list[float]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_PIECE_BYTES", 64 * at_once)
        array = np.array(numbers)
        frozen = FrozenTable(
            {"texts": told, "numbers": array[: len(told)]}, len(array[: len(told)])
        )
        whole = {"plain": told, "array": array, "none": list[str](), **frozen.columns}
        packer, packed = packing.Packer(100), list[bytes]()
        for piece in packing.pieces(whole):
            packed += packer.add(piece)
        found = packing.unpack(b"".join([*packed, *packer.close()]))
    assert found["plain"] == told
    assert found["texts"] == told[: len(numbers)]
    assert found["none"] == []
    assert np.array_equal(found["array"], array)
    assert np.array_equal(found["numbers"], array[: len(told)])


@pytest.mark.parametrize("content", [b"", b"PK", {"features/a": [1.0]}, {"windows/starts": ["x"]}])
def test_what_is_no_state_is_damaged_and_no_end_of_the_worker(
    content: bytes | dict[str, list],
) -> None:
    if isinstance(content, dict):
        packer = packing.Packer(100)
        arrays = {k: v if isinstance(v[0], str) else np.array(v) for k, v in content.items()}
        for piece in packing.pieces(arrays):
            packer.add(piece)
        content = b"".join(packer.close())
    manifest = Manifest(
        *(0, "0", {}, {}, 1, len(content), hashlib.sha256(content).hexdigest()),
        *(datetime.now(UTC), 0, 0),
    )
    with pytest.raises(Damaged):
        Saved(manifest, content).restore(Detector(settings(), Model(settings())).open(0))


def test_a_snapshot_is_due_in_its_time_but_at_once_where_much_was_handled_again() -> None:
    now = [1_000.0]
    writer = StateWriter(settings(checkpoint_seconds=30.0), lambda: now[0])
    writer.opened(0, 0, 999)
    assert writer.due() == []
    writer.opened(1, 0, 1_000)
    assert writer.due() == [1]
    writer.closed(1)
    now[0] += 30.0
    assert writer.due() == [0]
    writer.close()
