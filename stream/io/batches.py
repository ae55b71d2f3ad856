"""Record batches, fetched by kafka-python and read by aiokafka's reader, which is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.errors import UnsupportedCodecError as UnknownCodec
from aiokafka.record.default_records import DefaultRecordBatch
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.protocol.consumer import IsolationLevel

from stream.io.bus import Record

_FORMAT = 2
"""Of batches since Kafka 0.11. Older ones stay with kafka-python's reader."""


class Batches(Fetcher.PartitionRecords):
    """What was fetched of a partition, as records of the bus.

    kafka-python (3.0.12) reads a record in Python: 6 to 7 us, where this takes 1. What it knows of
    batches (their checksums, which transactions were aborted, where to fetch next) stays its own.
    """

    drain: Any
    _consume_aborted_transactions_up_to: Any
    _contains_abort_marker: Any
    _is_batch_aborted: Any

    def _unpack_records(self, tp: Any, records: Any, *_deserializers: Any) -> Iterator[Record]:
        try:
            while (batch := records.next_batch()) is not None:
                if self.check_crcs and not batch.validate_crc():
                    raise CorruptRecordError(_said(tp, batch, "its checksum is another"))
                self.bytes_read += batch.size_in_bytes
                if not self._is_left_out(batch):
                    for record in _read(tp, batch):
                        self.next_fetch_offset = record.offset + 1
                        yield record
                if batch.magic == _FORMAT:  # its last records may have been compacted away
                    self.next_fetch_offset = batch.next_offset
        except Exception:
            self.drain()  # or kafka-python takes it that there is more, and asks for ever
            raise
        self.drain()

    def _is_left_out(self, batch: Any) -> bool:
        """Whether a batch is of an aborted transaction, or says how one ended."""
        if batch.magic != _FORMAT:
            return False
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def _read(tp: Any, batch: Any) -> Iterator[Record]:
    """The records of a batch, by the reader of its format."""
    topic, partition = tp
    make = Record._make
    reader = DefaultRecordBatch(bytes(batch._buffer)) if batch.magic == _FORMAT else batch
    try:
        for record in reader:
            headers: Any = record.headers or ()
            if headers:
                headers = tuple((name, value or b"") for name, value in headers)
            offset, time_ms = record.offset, record.timestamp
            yield make((topic, partition, offset, time_ms, record.key, record.value, headers))
    except UnknownCodec as error:
        raise UnsupportedCodecError(_said(tp, batch, str(error))) from error
    except Exception as error:  # its own, of what decompresses, of a name that is no text
        raise CorruptRecordError(_said(tp, batch, repr(error))) from error


def _said(tp: Any, batch: Any, what: str) -> str:
    return f"the batch of {tp.topic}[{tp.partition}] at {batch.base_offset} cannot be read: {what}"
