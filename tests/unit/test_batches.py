"""Record batches come to what kafka-python reads from them itself."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c
from kafka.structs import TopicPartition

from stream.io.batches import Batches
from stream.io.bus import Record

AT = TopicPartition("some topic", 3)
NONE, GZIP, LZ4 = 0, 1, 3
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
VALUES = st.none() | st.binary(max_size=30) | st.integers(50, 300).map(bytes)
"""Some of them many zeros: what does not become smaller is not compressed."""
HEADERS = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=2)
RECORDS = st.lists(
    st.tuples(st.integers(0, 2**41), st.none() | st.binary(max_size=20), VALUES, HEADERS),
    min_size=1,
    max_size=8,
)


def a_batch(records: Any, *, offset: int = 0, compression: int = NONE, **of_producer: Any) -> bytes:
    builder = MemoryRecordsBuilder(2, compression, 1_000_000, **of_producer)
    for record in records:
        builder.append(*record)
    builder.close()
    return offset.to_bytes(8, "big") + bytes(builder.buffer())[8:]  # as the broker does


def some(*values: bytes) -> list[Any]:
    return [(1_000 + at, b"key", value, []) for at, value in enumerate(values)]


def opened(
    kind: Any, fetched: bytes, offset: int = 0, aborted: Any = None, *, committed: bool = True
) -> Any:
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    return kind(
        offset, AT, MemoryRecords(fetched), isolation_level=level, aborted_transactions=aborted
    )


def by_kafka_python(fetched: bytes, offset: int = 0, aborted: Any = None) -> list[Record]:
    return [
        Record(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            tuple((name, value or b"") for name, value in record.headers),
        )
        for record in opened(Fetcher.PartitionRecords, fetched, offset, aborted).take(None)
    ]


@given(
    batches=st.lists(
        st.tuples(RECORDS, st.sampled_from([NONE, GZIP, LZ4])), min_size=1, max_size=3
    ),
    begin=st.integers(0, 9),
    at_once=st.integers(1, 5),
)
def test_every_record_is_what_kafka_python_reads(batches: Any, begin: int, at_once: int) -> None:
    fetched, offset = b"", 0
    for records, compression in batches:
        fetched += a_batch(records, offset=offset, compression=compression)
        offset += len(records)
    expected = by_kafka_python(fetched, begin)
    found = opened(Batches, fetched, begin)
    assert found.bytes_read == 0
    records = []
    while found:
        records += found.take(at_once)
        if records:
            assert found.next_fetch_offset == records[-1].offset + 1
    assert records == expected
    assert found.next_fetch_offset == offset
    assert found.bytes_read == len(fetched)


def test_what_was_aborted_is_left_out_and_so_is_what_says_so() -> None:
    of_one = {"transactional": True, "producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
    of_another = {**of_one, "producer_id": 8}
    fetched = (
        a_batch(some(b"a", b"b"), offset=0, **of_one)
        + a_batch(some(b"c"), offset=2, **of_another)
        + _ended(3, 7, committed=False)
        + _ended(4, 8, committed=True)
        + a_batch(some(b"d"), offset=5, **of_one)
        + _ended(6, 7, committed=True)
    )

    class Aborted:
        first_offset, producer_id = 0, 7

    found = opened(Batches, fetched, aborted=[Aborted])
    assert [record.value for record in found.take(None)] == [b"c", b"d"]
    assert found.next_fetch_offset == 7
    assert by_kafka_python(fetched, aborted=[Aborted]) == opened(
        Batches, fetched, aborted=[Aborted]
    ).take(None)
    uncommitted = opened(Batches, fetched, aborted=[Aborted], committed=False).take(None)
    assert [record.value for record in uncommitted] == [b"a", b"b", b"c", b"d"]


def _ended(offset: int, producer_id: int, *, committed: bool) -> bytes:
    """A control batch: how a transaction of a producer ended."""
    kind = 1 if committed else 0
    records = [(1_000, bytes([0, 0, 0, kind]), bytes(6), [])]
    of_producer = {"producer_id": producer_id, "producer_epoch": 0, "base_sequence": 0}
    made = bytearray(a_batch(records, offset=offset, transactional=True, **of_producer))
    made[22] |= 0x20  # a control batch, by its attributes
    return _checked(made)


def _checked(batch: bytearray) -> bytes:
    """The batch with the checksum of what it holds by now."""
    batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
    return bytes(batch)


def test_a_changed_byte_is_found_by_the_checksum_after_what_came_before() -> None:
    good, bad = a_batch(some(b"a")), bytearray(a_batch(some(b"b"), offset=1))
    bad[-3] ^= 1
    found = opened(Batches, good + bytes(bad))
    assert [record.value for record in found.take(None)] == [b"a"]
    assert not found, "kafka-python would take it that there is more, and ask for ever"
    with pytest.raises(CorruptRecordError, match=r"some topic\[3\] at 1 .* checksum"):
        found.take(None)


def test_where_to_fetch_next_is_behind_what_was_compacted_away_and_of_its_epoch() -> None:
    batch = bytearray(a_batch(some(b"a", b"b"), offset=5))
    batch[12:16] = (9).to_bytes(4, "big")  # the epoch of the leader
    batch[23:27] = (7).to_bytes(4, "big")  # the last offset there was
    drained: list[Any] = []
    found = opened(Batches, _checked(batch), 6)
    found.on_drain = drained.append
    assert [record.value for record in found.take(None)] == [b"b"]
    assert (found.next_fetch_offset, found.leader_epoch, drained) == (13, 9, [found])


def test_a_broker_that_gives_the_time_has_it_for_all_of_a_batch() -> None:
    batch = bytearray(a_batch(some(b"a", b"b")))
    batch[22] |= 0x08
    expected = by_kafka_python(_checked(batch))
    assert {record.timestamp_ms for record in expected} == {1_001}
    assert opened(Batches, _checked(batch)).take(None) == expected


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("compression", [NONE, GZIP])
def test_the_formats_before_are_read_as_well(magic: int, compression: int) -> None:
    builder = MemoryRecordsBuilder(magic, compression, 1_000_000)
    for at in range(50):
        builder.append(1_000 + at, b"key", b"value", [])
    builder.close()
    fetched = bytes(builder.buffer())
    expected = by_kafka_python(fetched, 3)
    assert [record.offset for record in expected] == list(range(3, 50))
    assert opened(Batches, fetched, 3).take(None) == expected


def test_an_unknown_codec_is_said_to_be_one() -> None:
    batch = bytearray(a_batch(some(b"value")))
    batch[22] |= 6
    with pytest.raises(UnsupportedCodecError, match=r"some topic\[3\] at 0"):
        opened(Batches, _checked(batch)).take(None)


@pytest.mark.parametrize("codec", [GZIP, 2, LZ4, 4], ids=lambda at: CODECS[at])
def test_what_cannot_be_decompressed_is_an_error_of_kafka_python(codec: int) -> None:
    batch = bytearray(a_batch(some(b"value")))
    batch[22] |= codec
    with pytest.raises(CorruptRecordError, match=r"some topic\[3\] at 0"):
        opened(Batches, _checked(batch)).take(None)


def test_a_checksum_is_looked_at_where_that_is_asked_for() -> None:
    batch = bytearray(a_batch(some(b"value")))
    batch[17] ^= 1
    found = Batches(0, AT, MemoryRecords(bytes(batch)), check_crcs=False)
    assert [record.value for record in found.take(None)] == [b"value"]


@pytest.mark.parametrize("at", [61, 65, 69, -1], ids=["length", "key", "value", "headers"])
def test_a_batch_that_makes_no_sense_is_an_error_of_kafka_python(at: int) -> None:
    batch = bytearray(a_batch(some(b"value")))
    batch[at] = 0x7E
    with pytest.raises(CorruptRecordError):
        list(opened(Batches, _checked(batch)).take(None))


def test_a_header_without_a_text_for_a_name_is_an_error_of_kafka_python() -> None:
    batch = bytearray(a_batch([(1_000, None, b"value", [("name", b"")])]))
    batch[batch.index(b"name")] = 0xFF
    with pytest.raises(CorruptRecordError):
        opened(Batches, _checked(batch)).take(None)


@pytest.mark.parametrize("codec", [NONE, GZIP, 2, LZ4, 4], ids=lambda at: CODECS[at])
def test_whatever_a_producer_compresses_with_is_read(codec: int) -> None:
    # By the builder of aiokafka: kafka-python has no snappy or zstd where no more is installed.
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1_000_000)
    for at in range(100):
        assert builder.append(at, 1_000 + at, b"key", b"value", [])
    found = opened(Batches, bytes(builder.build())).take(None)
    assert len(found) == 100
    assert found[99] == Record(*AT, 99, 1_099, b"key", b"value", ())
