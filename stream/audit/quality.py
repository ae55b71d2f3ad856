"""The windows in Redis, folded by day: what was decided, how it turned out, for whom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

from stream.core.intervals import share_interval
from stream.core.merging import merge
from stream.core.windows import measure
from stream.events import Segment, WindowReport
from stream.io.store import StoreReader

_IN_FORCE = ("threshold", "fraud_prior", "sampling_rate", "learned_share")
_MOST_MARKS = 20_000


class Mark(NamedTuple):
    """What the model in force was at a position of the training log, as a window tells it."""

    position: int
    fraud_prior: float
    learned_share: float
    threshold: float


class Folded:
    """The sum of windows, and the range of what is no sum."""

    def __init__(self) -> None:
        self.windows = 0
        self._whole: WindowReport | None = None
        self._in_force: dict[str, list[float]] = {}
        self._position = 0

    def add(self, reports: Sequence[WindowReport]) -> None:
        """Take in the reports of windows, oldest first; those of later windows come later."""
        self.windows += len(reports)
        held = [] if self._whole is None else [self._whole]
        self._whole = merge([*held, *reports], reports[0].start, reports[0].seconds)
        self._position = reports[-1].model_position
        for name in _IN_FORCE:
            values = [getattr(report, name) for report in reports]
            low, high, _ = self._in_force.get(name, (values[0],) * 3)
            self._in_force[name] = [min(low, *values), max(high, *values), values[-1]]

    def asdict(self) -> dict[str, Any]:
        """Return measures with 90 % intervals, segments, and least, greatest and last in force."""
        whole = self._whole
        if whole is None:
            return {"windows": 0}
        found = measure([whole]).asdict()
        tp, fn = whole.true_positives, whole.false_negatives
        return {
            "windows": self.windows,
            "measures": found,
            "precision_interval": share_interval(tp, whole.false_positives),
            "recall_interval": share_interval(tp, fn),
            "segments": self._of_segments(whole),
            "in_force": {
                name: dict(zip(("least", "greatest", "last"), values, strict=True))
                for name, values in self._in_force.items()
            },
            "model_position": self._position,
        }

    @staticmethod
    def _of_segments(whole: WindowReport) -> dict[str, list[dict[str, Any]]]:
        everyone = _rates(
            Segment(
                whole.transactions,
                whole.alerts,
                whole.true_positives,
                whole.false_positives,
                whole.true_negatives,
                whole.false_negatives,
            )
        )
        return {
            name: [
                _beside(everyone, {"value": value, **_rates(counts)})
                for value, counts in sorted(values.items(), key=lambda each: -each[1][0])
            ]
            for name, values in sorted(whole.segments.items())
        }


def _rates(of: Segment) -> dict[str, Any]:
    """Error rates of a part of the stream, each with its 90 % interval."""
    legitimate = of.false_positives + of.true_negatives
    frauds = of.false_negatives + of.true_positives
    return {
        **of._asdict(),
        "false_positive_rate": of.false_positives / legitimate if legitimate else None,
        "false_positive_interval": share_interval(of.false_positives, of.true_negatives),
        "false_negative_rate": of.false_negatives / frauds if frauds else None,
        "false_negative_interval": share_interval(of.false_negatives, of.true_positives),
    }


def _beside(everyone: dict[str, Any], segment: dict[str, Any]) -> dict[str, Any]:
    """Add whether a segment's rates lie apart from those of the whole stream."""
    apart = []
    for name in ("false_positive", "false_negative"):
        interval, usual = segment[f"{name}_interval"], everyone[f"{name}_rate"]
        if interval and usual is not None and not interval[0] <= usual <= interval[1]:
            apart.append(name)
    return {**segment, "apart": apart}


class Quality:
    """Windows by day and together, read a day at a time."""

    def __init__(self) -> None:
        self.whole = Folded()
        self.days: dict[str, Folded] = {}
        self.marks: list[Mark] = []
        """Of the newest windows, at most 20,000."""

    def add(self, reports: Sequence[WindowReport]) -> None:
        """Take in windows, oldest first."""
        if not reports:
            return
        self.whole.add(reports)
        for day, of_day in groupby(reports, key=lambda report: report.start.date().isoformat()):
            self.days.setdefault(day, Folded()).add(list(of_day))
        self.marks += [
            Mark(r.model_position, r.fraud_prior, r.learned_share, r.threshold) for r in reports
        ]
        del self.marks[:-_MOST_MARKS]

    def asdict(self) -> dict[str, Any]:
        """Return what was found, as plain data."""
        return {
            "whole": self.whole.asdict(),
            "days": [{"day": day, **folded.asdict()} for day, folded in sorted(self.days.items())],
        }


def read_windows(reader: StoreReader, from_seconds: float, to_seconds: float) -> Quality:
    """Read the windows that start in a span of event time."""
    found = Quality()
    held = reader.span()
    if held is None:
        return found
    begin = max(from_seconds, held[0].timestamp())
    end = min(to_seconds, held[1].timestamp() + 1.0)
    for since, until in _days(begin, end):
        found.add(reader.windows(since, until))
    return found


def _days(begin: float, end: float) -> Iterator[tuple[datetime, datetime]]:
    at = begin
    while at < end:
        until = min((math.floor(at / 86_400) + 1) * 86_400.0, end)
        yield datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(until, UTC)
        at = until
