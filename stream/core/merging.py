"""Window reports added up: over partitions, over a span of time, or both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from stream.events import Segment, WindowReport

_SUMS = (
    *("transactions", "alerts", "labelled"),
    *("true_positives", "false_positives", "true_negatives", "false_negatives"),
    *("amount", "amount_caught", "amount_missed", "amount_false"),
    *("score_sum", "alert_score_sum", "labelled_score_sum", "labelled_log_loss_sum"),
)
_LAST = ("threshold", "fraud_prior", "sampling_rate", "learned_share", "model_position")


def merge(reports: Sequence[WindowReport], start: datetime, seconds: int) -> WindowReport:
    """Return one report of `seconds` from `start` that stands for all the given ones.

    Sums of what is additive; of the rest, that of the model that was furthest, and of those with
    one model the latest window. Raises `ValueError` where there is none.
    """
    last = max(reports, key=lambda report: (report.model_position, report.start))
    return WindowReport(
        partition=last.partition,
        start=start,
        seconds=seconds,
        **{name: sum(getattr(report, name) for report in reports) for name in _SUMS},
        histogram=_bins(report.histogram for report in reports),
        fraud_amounts=_amounts(report.fraud_amounts for report in reports),
        segments=merge_segments(report.segments for report in reports),
        **{name: getattr(last, name) for name in _LAST},
    )


def merge_segments(
    parts: Iterable[dict[str, dict[str, Segment]]],
) -> dict[str, dict[str, Segment]]:
    """Return counts by field and value, added up.

    >>> one = {"type": {"DEBIT": Segment(9, 1, 1, 0, 8, 0)}}
    >>> merge_segments([one, one])["type"]["DEBIT"].transactions
    18
    """
    merged: dict[str, dict[str, Segment]] = {}
    for part in parts:
        for field, values in part.items():
            into = merged.setdefault(field, {})
            for value, counts in values.items():
                before = into.get(value)
                both = counts if before is None else map(sum, zip(before, counts, strict=True))
                into[value] = Segment(*both)
    return merged


def _bins(
    parts: Iterable[dict[int, tuple[int, int, int]]],
) -> dict[int, tuple[int, int, int]]:
    merged: dict[int, tuple[int, int, int]] = {}
    for part in parts:
        for bin_, (scored, legitimate, frauds) in part.items():
            before = merged.get(bin_, (0, 0, 0))
            merged[bin_] = (before[0] + scored, before[1] + legitimate, before[2] + frauds)
    return merged


def _amounts(parts: Iterable[dict[int, float]]) -> dict[int, float]:
    merged: dict[int, float] = {}
    for part in parts:
        for bin_, amount in part.items():
            merged[bin_] = merged.get(bin_, 0.0) + amount
    return merged
