"""The training log, folded: what was learned, by class, source and day, and its digest."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from stream.core.decode import Reject, example
from stream.core.severity import tier
from stream.core.wire import AnyExample
from stream.io.bus import BusUnavailable, Reader, Record, TopicPartition
from stream.io.training import MAX_EXAMPLE_BYTES

_AT_ONCE = 2_000
_PATIENCE_SECONDS = 30.0
_DAY_SECONDS = 86_400


@dataclass(slots=True)
class _Counts:
    """Examples of one span. A correction takes back what it corrects."""

    examples: Counter[str] = field(default_factory=Counter)
    """By class; corrections included."""
    corrections: Counter[str] = field(default_factory=Counter)
    """By the class that holds now."""
    frauds: float = 0.0
    legitimate: float = 0.0
    """Labelled transactions that the examples stand for, by their weights."""
    caught: float = 0.0
    """Of the frauds, those that had been flagged; all frauds are in the log."""
    false_alarms: float = 0.0
    """Of the legitimate, those that had been flagged, by their weights."""

    def add(self, one: AnyExample) -> None:
        name = "fraud" if one.is_fraud else "legitimate"
        self.examples[name] += 1
        self._weigh(one, one.is_fraud, one.weight)
        if one.corrects_weight is not None:
            self.corrections[name] += 1
            self._weigh(one, not one.is_fraud, -one.corrects_weight)

    def _weigh(self, one: AnyExample, is_fraud: bool, weight: float) -> None:
        flagged = weight if one.alerted else 0.0
        if is_fraud:
            self.frauds += weight
            self.caught += flagged
        else:
            self.legitimate += weight
            self.false_alarms += flagged

    def asdict(self) -> dict[str, Any]:
        frauds, legitimate = max(self.frauds, 0.0), max(self.legitimate, 0.0)
        stands_for, flagged = frauds + legitimate, self.caught + self.false_alarms
        in_log = sum(self.examples.values())
        rate = frauds / stands_for if stands_for else None
        return {
            "examples": dict(self.examples),
            "corrections": dict(self.corrections),
            "stands_for": stands_for,
            "fraud_rate": rate,
            "tier": tier(rate),
            "share_in_log": self.examples["fraud"] / in_log if in_log else None,
            "rate_kept": self.examples["legitimate"] / legitimate if legitimate >= 1 else None,
            "recall": self.caught / frauds if frauds >= 1 else None,
            "precision": self.caught / flagged if flagged >= 1 else None,
        }


class Trail:
    """Counts the examples of a log whose transactions are of a span of event time.

    Held are counts by day and a digest, never the examples. The digest is SHA-256 over the values
    of the examples that count, in the order of their positions, a newline behind each.

    Parameters
    ----------
    from_seconds, to_seconds
        Event time of the transactions that count: from the first on, before the second.
    slice_seconds
        Labels of so much event time are handled together (setting `align_seconds`): one that is
        further behind the newest so far counts as late.
    """

    def __init__(
        self,
        from_seconds: float = -math.inf,
        to_seconds: float = math.inf,
        slice_seconds: float = 600.0,
    ) -> None:
        self.from_seconds, self.to_seconds = from_seconds, to_seconds
        self.count = self.unreadable = self.late = 0
        self._slice_seconds = slice_seconds
        self.first: int | None = None
        self.last: int | None = None
        self.gaps = 0
        """Positions between the first and the last record read that hold none."""
        self._next: int | None = None
        self._digest = hashlib.sha256()
        self._days: dict[int, _Counts] = {}
        self._whole = _Counts()
        self._sources: Counter[str] = Counter()
        self._weights: Counter[int] = Counter()
        self._labelled: tuple[float, float] = (math.inf, -math.inf)
        self._times: tuple[float, float] = (math.inf, -math.inf)

    def add(self, record: Record) -> AnyExample | None:
        """Take in the next record of the log; return the example where it counts."""
        if self._next is not None:
            self.gaps += record.offset - self._next
        self._next = record.offset + 1
        found = example(record.value, MAX_EXAMPLE_BYTES)
        if isinstance(found, Reject):
            self.unreadable += 1
            return None
        seconds = found.timestamp.timestamp()
        if not self.from_seconds <= seconds < self.to_seconds:
            return None
        self.count += 1
        self.first = record.offset if self.first is None else self.first
        self.last = record.offset
        self._digest.update((record.value or b"") + b"\n")
        labelled = found.labelled_at.timestamp()
        self.late += labelled < self._labelled[1] - self._slice_seconds
        self._labelled = _wider(self._labelled, labelled)
        self._times = _wider(self._times, seconds)
        self._days.setdefault(int(seconds // _DAY_SECONDS), _Counts()).add(found)
        self._whole.add(found)
        self._sources[found.source] += 1
        self._weights[math.floor(math.log2(found.weight))] += 1
        return found

    @property
    def span_seconds(self) -> tuple[float, float]:
        """Event time of the first and the last transaction that counts."""
        return self._times

    def asdict(self) -> dict[str, Any]:
        """Return what was found, as plain data."""
        return {
            "examples": self.count,
            "first_position": self.first,
            "last_position": self.last,
            "sha256": self._digest.hexdigest(),
            "positions_without_a_record": self.gaps,
            "unreadable": self.unreadable,
            "late": self.late,
            "labelled_from_seconds": self._labelled[0] if self.count else None,
            "labelled_to_seconds": self._labelled[1] if self.count else None,
            "sources": dict(sorted(self._sources.items())),
            "weights": {f"{2**k} to {2 ** (k + 1)}": n for k, n in sorted(self._weights.items())},
            "whole": self._whole.asdict(),
            "days": [
                {"day": _day(number), **self._days[number].asdict()}
                for number in sorted(self._days)
            ],
        }


def read_log(
    reader: Reader,
    source: TopicPartition,
    first: int,
    end: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Record]:
    """Yield the records of [first, end); `progress` is told how many came at once.

    Raises `BusUnavailable` where the bus gives none for too long.
    """
    reader.assign({source: first})
    until = time.monotonic() + _PATIENCE_SECONDS
    while reader.position(source) < end:
        found = [r for r in reader.poll(_AT_ONCE, 0.5) if r.offset < end]
        if found:
            until = time.monotonic() + _PATIENCE_SECONDS
            yield from found
            progress(len(found))
        elif time.monotonic() > until:
            raise BusUnavailable(
                f"{source.topic} gives no record from position {reader.position(source)} on, and "
                f"ends at {end}. Try again later."
            )


def _wider(span: tuple[float, float], seconds: float) -> tuple[float, float]:
    return min(span[0], seconds), max(span[1], seconds)


def _day(number: int) -> str:
    return date.fromordinal(date(1970, 1, 1).toordinal() + number).isoformat()
