"""The alerts of the alerts topic, as lines for people or as JSON lines for programs."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from pydantic import ValidationError

from stream.events import Alert
from stream.io.bus import BusUnavailable, Reader, Record, TopicPartition
from stream.watch import words
from stream.watch.output import deserted, emit

logger = logging.getLogger(__name__)

HEADER = (
    f"{'event time (UTC)':<19}  {'score':>5}  {'type':<8}  {'amount':>15}  "
    f"{'from -> to':<26}  reasons"
)

_AT_ONCE = 500
_POLL_SECONDS = 0.2
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts are asked for: those that all of these hold for. None holds for all.

    `since` and `until` are event times, from and before; `account` is either side's.
    """

    since: datetime | None = None
    until: datetime | None = None
    min_score: float | None = None
    min_amount: float | None = None
    type: str | None = None
    account: str | None = None
    transaction_id: str | None = None

    def holds(self, alert: Alert) -> bool:
        """Whether an alert is asked for."""
        return (
            (self.since is None or alert.timestamp >= self.since)
            and (self.until is None or alert.timestamp < self.until)
            and (self.min_score is None or alert.score >= self.min_score)
            and (self.min_amount is None or alert.amount >= self.min_amount)
            and self.type in (None, alert.type)
            and self.account in (None, alert.nameOrig, alert.nameDest)
            and self.transaction_id in (None, alert.transaction_id)
        )


ALL = Wanted()


def follow_alerts(
    reader: Reader,
    topic: str,
    partitions: int,
    *,
    follow: bool,
    as_json: bool,
    wanted: Wanted = ALL,
    limit: int | None = None,
    from_beginning: bool = True,
    out: TextIO | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Print alerts, a line each: a table for people, or the very JSON of the topic.

    Only those `wanted`. Ends at what was the end of the topic when it began, after `limit` alerts,
    when `stop` is set or when nobody reads the output any more; with `follow` it waits for more
    instead of ending. Order is that of the topic within each partition. The reader is closed at the
    end.

    Raises `BusUnavailable` when the bus is away, except while following: then it waits.
    """
    out = out or sys.stdout
    stop = stop or threading.Event()
    try:
        sources = [TopicPartition(topic, partition) for partition in range(partitions)]
        ends = {source: reader.end(source) for source in sources}
        starts = {s: reader.beginning(s) if from_beginning else ends[s] for s in sources}
        reader.assign(starts)
        if not as_json and not emit(HEADER, out):
            return
        printed, away = 0, False
        while not stop.is_set():
            if not follow and all(reader.position(source) >= ends[source] for source in sources):
                return
            try:
                records = reader.poll(_AT_ONCE, _POLL_SECONDS)
                away = False
            except BusUnavailable as error:
                if not follow:
                    raise
                if not away:
                    logger.warning("%s Waiting for it.", error)
                away = True
                stop.wait(_RETRY_SECONDS)
                records = []
            if not records and deserted(out):
                return
            for record in records:
                line = _line(record, as_json, wanted)
                if line is None or not (follow or _asked_for(record, ends)):
                    continue
                if not emit(line, out):
                    return
                printed += 1
                if printed == limit:
                    return
    finally:
        reader.close()


def alert_line(alert: Alert) -> str:
    """Return an alert as a line of the table under `HEADER`."""
    time = alert.timestamp.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    reasons = words.reasons_in_words(alert.reasons, len(alert.reasons))
    accounts = f"{alert.nameOrig} -> {alert.nameDest}"
    line = f"{time}  {alert.score:5.3f}  {alert.type:<8}  {alert.amount:>15,.2f}  {accounts:<26}"
    return f"{line}  {reasons}".rstrip()


def _asked_for(record: Record, ends: dict[TopicPartition, int]) -> bool:
    return record.offset < ends[TopicPartition(record.topic, record.partition)]


def _line(record: Record, as_json: bool, wanted: Wanted) -> str | None:
    """The line of a record; None where it is not wanted, or is no alert, which the log then has."""
    if as_json and record.value and wanted == ALL:
        return record.value.decode(errors="replace")
    try:
        alert = Alert.model_validate_json(record.value or b"")
    except ValidationError:
        logger.warning(
            "Record %d of %s, partition %d is no alert and is left out; --json alone shows it.",
            record.offset,
            record.topic,
            record.partition,
        )
        return None
    if not wanted.holds(alert):
        return None
    return (record.value or b"").decode() if as_json else alert_line(alert)
