"""Where a replay begins: a moment of event time, as positions in the topics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream.core.decode import Reject, decode
from stream.events import Decided, utc
from stream.io.bus import Reader, Record, TopicPartition
from stream.io.intake import Intake
from stream.io.restore import MAX_DECIDED_BYTES
from stream.settings import Settings
from stream.shadow import ReplayError
from stream.shadow.search import last_record, read_from, search

_MARGIN_SECONDS = 3600.0
"""Events lie about in order of event time: the search aims at so much before the moment, and what
is older than that is left out."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """From when on what was decided is decided once more, and where that lies."""

    graded_seconds: float
    """Transactions count from this event time on; minus infinity: all."""
    from_seconds: float
    """They are decided once more from this event time on, so that account history is warm."""
    positions: dict[TopicPartition, int]
    """Of transactions, labels and decisions."""
    ends: dict[TopicPartition, int]
    """Of the decisions topic, as it ended when this was looked up."""
    transactions: int
    """Records of transactions in between."""
    shortened: bool
    """Whether the topics reach back less far than was asked for."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What the topics hold of one partition."""

    transactions: TopicPartition
    labels: TopicPartition
    decisions: TopicPartition
    first: int
    """Position of the first record of the decisions topic that tells of records still held."""
    end: int
    last: Decided
    newest_seconds: float
    floor_seconds: float
    """Event time from which on all is there; minus infinity where nothing was cut off."""


class Beginnings:
    """Looks up in the topics where a moment of event time lies. Publication times do not matter."""

    def __init__(self, settings: Settings, reader: Reader, partitions: int) -> None:
        self._reader = reader
        self._intake = Intake(settings)
        self._settings = settings
        self._partitions = partitions

    def find(self, since: datetime | timedelta | None, warm: timedelta) -> Beginning:
        """Return where to begin so that transactions count from `since` on.

        A time span is one before the newest transaction decided; None is the beginning of the
        topics. Raises `ReplayError` where nothing was decided from then on, or where that is no
        longer there.
        """
        held = [h for p in range(self._partitions) if (h := self._held(p)) is not None]
        newest = max((each.newest_seconds for each in held), default=-math.inf)
        if newest == -math.inf:
            raise ReplayError(
                f"topic {self._settings.decisions_topic!r} tells of no decision whose transaction "
                "is still there: nothing can be decided once more. Run a worker (`weir detect`) "
                "first"
            )
        floor = max(each.floor_seconds for each in held)
        graded = floor
        if since is not None:
            back = isinstance(since, timedelta)
            graded = newest - since.total_seconds() if back else since.timestamp()  # type: ignore[union-attr]
        if graded > newest:
            raise ReplayError(
                f"nothing was decided from {utc(graded):%Y-%m-%d %H:%M} on: the newest transaction "
                f"is of {utc(newest):%Y-%m-%d %H:%M} (event time, UTC). Give an earlier --from"
            )
        if graded < floor:
            raise ReplayError(
                f"the topics no longer hold what came before {utc(floor):%Y-%m-%d %H:%M} (event "
                f"time, UTC): give --from {utc(math.ceil(floor)).isoformat()}, a later one, or "
                "--from beginning. Keep transactions, labels and decisions for longer to see "
                "further back"
            )
        start = graded if since is None else graded - warm.total_seconds()
        positions: dict[TopicPartition, int] = {}
        count = 0
        for each in held:
            at = self._decisions_from(each, max(start, floor))
            if at is None:  # nothing is so new here
                positions[each.transactions] = each.last.transactions[1]
                positions[each.labels] = each.last.labels[1]
                positions[each.decisions] = each.end
                continue
            record, decided = at
            positions[each.transactions] = decided.transactions[0]
            positions[each.labels] = decided.labels[0]
            positions[each.decisions] = record.offset
            count += each.last.transactions[1] - decided.transactions[0]
        return Beginning(
            graded,
            max(start, floor),
            positions,
            {each.decisions: each.end for each in held},
            count,
            shortened=start < floor and since is not None,
        )

    def _held(self, partition: int) -> _Held | None:
        """What is held of a partition; None where nothing was decided, or its records are gone."""
        transactions, labels = self._intake.inputs(partition)
        decisions = TopicPartition(self._settings.decisions_topic, partition)
        first, end = self._reader.beginning(decisions), self._reader.end(decisions)
        last = last_record(self._reader, decisions, first, end)
        if last is None or (told := _told(last)) is None:
            return None
        least = self._reader.beginning(transactions), self._reader.beginning(labels)

        def covered(record: Record) -> bool | None:
            decided = _told(record)
            if decided is None:
                return None
            return decided.transactions[0] >= least[0] and decided.labels[0] >= least[1]

        first = search(self._reader, decisions, first, end, covered)
        begun = self._told_from(decisions, first, end)
        if begun is None or begun[1].transactions[0] >= told.transactions[1]:
            return None
        begin, stop = begun[1].transactions[0], told.transactions[1]
        cut = begin > 0 or begun[1].labels[0] > 0
        floor = self._time(transactions, begin, stop, newest=False) if cut else -math.inf
        newest = self._time(transactions, max(begin, stop - 50), stop, newest=True)
        return _Held(transactions, labels, decisions, first, end, told, newest, floor)

    def _decisions_from(self, held: _Held, start: float) -> tuple[Record, Decided] | None:
        """The first record of the decisions topic with a transaction of the moment or later."""
        wanted = self._told_from(held.decisions, held.first, held.end)
        if wanted is None or start == -math.inf:
            return wanted
        begin = wanted[1].transactions[0]

        def since(record: Record) -> bool | None:
            _, times = self._intake.read([record])
            return None if math.isnan(times[0]) else bool(times[0] >= start - _MARGIN_SECONDS)

        until = held.last.transactions[1]
        offset = search(self._reader, held.transactions, begin, until, since)

        def tells(record: Record) -> bool | None:
            decided = _told(record)
            return None if decided is None else decided.transactions[1] > offset

        at = search(self._reader, held.decisions, held.first, held.end, tells)
        return self._told_from(held.decisions, at, held.end)

    def _told_from(
        self, source: TopicPartition, first: int, end: int
    ) -> tuple[Record, Decided] | None:
        """The first record of the decisions topic in [first, end) that can be read."""
        at = first
        while at < end and (records := read_from(self._reader, source, at, end)):
            for record in records:
                if (decided := _told(record)) is not None:
                    return record, decided
            at = records[-1].offset + 1
        return None

    def _time(self, source: TopicPartition, first: int, end: int, *, newest: bool) -> float:
        """Event time of the first transaction in [first, end), or of the newest of them."""
        found, at = -math.inf, first
        while at < end and (records := read_from(self._reader, source, at, end)):
            _, times = self._intake.read(records)
            for seconds in times[~(times != times)].tolist():  # noqa: PLR0124 - NaN is not itself
                if not newest:
                    return float(seconds)
                found = max(found, seconds)
            at = records[-1].offset + 1
        return found


def _told(record: Record) -> Decided | None:
    found = decode(record.value, Decided, MAX_DECIDED_BYTES)
    return None if isinstance(found, Reject) else found
