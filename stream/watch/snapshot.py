"""What a view shows: the reports in Redis at one moment, and the figures people want of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import groupby

from stream.core.estimate import NOTHING, Estimates
from stream.core.merging import merge_segments
from stream.core.windows import Measures, measure
from stream.events import Alarm, Alert, LiveReport, Segment, WindowReport
from stream.io.store import StoreReader, StoreUnavailable
from stream.watch.history import History

ROLLING_WINDOWS = 24
"""Over how many matured windows the rolling figures are taken."""
SHOWN_ALERTS = 50
SILENT_SECONDS = 10.0
"""A worker that has not reported for so long is called silent."""

REAL_TIME = timedelta(days=7)
"""Where event time is no further than this from the clock, the clock is the time of the stream."""

_REACH, _FURTHER = 4_000, 4
"""Window reports that the first look reads, at most; and as many times more where too few of them
have matured."""
_LONGEST_PAUSE_SECONDS = 20.0
_MATURE = 0.8
_SHOWN_WINDOWS = 30
_READING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Span:
    """One tumbling window of the whole stream: its partitions taken together."""

    start: datetime
    seconds: int
    measures: Measures
    matured: bool
    """Whether its labels have come, about as far as labels come in this stream."""
    reports: tuple[WindowReport, ...]


@dataclass(frozen=True)
class Snapshot:
    """The reports in Redis at one moment. `trouble` says why they are older than `taken_at`."""

    taken_at: datetime
    live: tuple[LiveReport, ...] = ()
    spans: tuple[Span, ...] = ()
    """Oldest first."""
    alerts: tuple[Alert, ...] = ()
    """Newest first."""
    estimates: Estimates = NOTHING
    """Of the newest windows whose labels have not come, `ROLLING_WINDOWS` of them at most."""
    total: int | None = None
    """How many transactions there will be, where that is known."""
    trouble: str | None = None

    @cached_property
    def rolling(self) -> tuple[Span, ...]:
        """The newest matured windows."""
        return tuple(span for span in self.spans if span.matured)[-ROLLING_WINDOWS:]

    @cached_property
    def quality(self) -> Measures:
        """The measures of the newest matured windows together."""
        return measure([report for span in self.rolling for report in span.reports])

    @cached_property
    def segments(self) -> dict[str, dict[str, Segment]]:
        """The segments of the newest matured windows together."""
        return merge_segments(r.segments for span in self.rolling for r in span.reports)

    @cached_property
    def recent(self) -> Measures:
        """The measures of the newest windows, labelled or not: for what needs no labels."""
        newest = self.spans[-ROLLING_WINDOWS:]
        return measure([report for span in newest for report in span.reports])

    @property
    def model(self) -> LiveReport | None:
        """The worker whose model is furthest: all hold the same one, at most a moment apart."""
        return max(self.live, key=lambda report: report.model_position, default=None)

    @property
    def last(self) -> Span | None:
        """The newest window; in a stream of now the newest that is not of a time to come, which
        clocks make that are wrong."""
        now = self.taken_at
        if any(abs(span.start - now) <= REAL_TIME for span in self.spans):
            begun = [span for span in self.spans if span.start <= now + REAL_TIME]
            return begun[-1]
        return self.spans[-1] if self.spans else None

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is raised now by any worker, each name once, as who raised it first sees it."""
        first: dict[str, Alarm] = {}
        for alarm in sorted((a for r in self.live for a in r.alarms), key=lambda a: a.since):
            first.setdefault(alarm.name, alarm)
        return tuple(first.values())

    def count(self, name: str) -> int:
        """Return a counter of the live reports, summed over workers."""
        return sum(getattr(report, name) for report in self.live)

    def latency_ms(self) -> tuple[float, float] | None:
        """Return the median and the 99th percentile of the slowest worker, None without one."""
        if not self.live:
            return None
        return (
            max(report.latency_p50_ms for report in self.live),
            max(report.latency_p99_ms for report in self.live),
        )

    def event_time(self) -> datetime | None:
        """Return the event time of the newest transaction decided."""
        return max((r.event_time for r in self.live if r.event_time), default=None)

    def silent_seconds(self) -> float:
        """Return how long ago the worker reported that has been silent longest."""
        oldest = min((report.reported_at for report in self.live), default=self.taken_at)
        return max((self.taken_at - oldest).total_seconds(), 0.0)


def spans(reports: Sequence[WindowReport]) -> tuple[Span, ...]:
    """Merge partitions into windows of the whole stream, oldest first.

    A window counts as matured when at least 0.8 times as large a share of it is labelled as of all
    given windows together: so figures come as soon as labels do, and where only a sample is ever
    labelled, too.
    """
    labelled = sum(report.labelled for report in reports)
    usual = labelled / max(sum(report.transactions for report in reports), 1)
    merged = []
    for start, group in groupby(sorted(reports, key=lambda r: r.start), key=lambda r: r.start):
        parts = tuple(group)
        measures = measure(parts)
        coverage = measures.label_coverage or 0.0
        matured = coverage > 0 and coverage >= _MATURE * usual
        merged.append(Span(start, parts[0].seconds, measures, matured, parts))
    return tuple(merged)


class Watcher:
    """Takes snapshots of what Redis holds, again and again, at little cost to it."""

    def __init__(self, reader: StoreReader, total: int | None = None) -> None:
        self._reader = reader
        self._last = Snapshot(taken_at=datetime.now(UTC), total=total)
        self._since: datetime | None = None
        self._windows_at = 0.0
        self._reach = _REACH
        self._history = History()

    def take(self) -> Snapshot:
        """Return what is in Redis now; when it is away, what was seen last and the trouble."""
        try:
            found, estimates = self._spans()
            self._last = replace(
                self._last,
                taken_at=datetime.now(UTC),
                live=tuple(self._reader.live()),
                spans=found,
                estimates=estimates,
                alerts=tuple(self._reader.alerts(SHOWN_ALERTS)),
                trouble=None,
            )
        except StoreUnavailable as error:
            self._last = replace(self._last, taken_at=datetime.now(UTC), trouble=str(error))
        return self._last

    def _spans(self) -> tuple[tuple[Span, ...], Estimates]:
        """Read the windows that matter: those shown, and back to the oldest of the rolling ones."""
        began = time.monotonic()
        if began < self._windows_at:
            return self._last.spans, self._last.estimates
        since = self._since or self._reader.start_of(self._reach)
        found = spans(self._reader.windows(since=since))
        estimates = self._history.estimate(found, ROLLING_WINDOWS)
        # A month of windows takes a while to read: then it is read less often.
        pause = min((time.monotonic() - began) / _READING_SHARE, _LONGEST_PAUSE_SECONDS)
        self._windows_at = time.monotonic() + pause
        matured = [span for span in found if span.matured][-ROLLING_WINDOWS:]
        self._since = None
        if since is not None and len(matured) < ROLLING_WINDOWS:
            self._reach *= _FURTHER
        elif matured:
            shown = timedelta(seconds=_SHOWN_WINDOWS * found[-1].seconds)
            self._since = min(matured[0].start, found[-1].start - shown)
        return found, estimates
