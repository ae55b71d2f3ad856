"""Per-window counts that mature as labels come, and the measures that people read off them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.plain import Restored, Snapshot
from stream.core.scored import Scored
from stream.core.segments import Counts, Segments, columns
from stream.core.traffic import counted
from stream.events import MAX_BIN, WindowReport, utc

BIN_WIDTH = 0.05
"""Width of a score bin in log-odds: scores closer than this rank as ties in a window's measures."""
BIN_LIMIT = MAX_BIN
"""Scores beyond ±23 in log-odds (1e-10 from 0 or 1) share the outermost bins."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def score_bin(scores: Floats) -> Ints:
    """Return the histogram bin of each score in [0, 1]: its log-odds over the bin width, floored.

    >>> score_bin(np.array([0.0, 0.5, 1.0])).tolist()
    [-460, 0, 460]
    """
    p = np.minimum(np.maximum(scores, 1e-12), 1 - 1e-12)
    bins = np.floor(np.log(p / (1 - p)) / BIN_WIDTH + 1e-9)
    bounded: Floats = np.minimum(np.maximum(bins, -BIN_LIMIT), BIN_LIMIT)
    return bounded.astype(np.int64)


def log_loss(scores: Floats, frauds: Bools) -> Floats:
    """Return the log loss of each score in nats, scores kept 1e-10 away from 0 and 1."""
    p = np.clip(scores, 1e-10, 1 - 1e-10)
    losses: Floats = -np.log(np.where(frauds, p, 1 - p))
    return losses


def average_precision(legitimate: Sequence[float], frauds: Sequence[float]) -> float | None:
    """Return average precision from counts per score bin, highest score first.

    The stepwise sum over bins of (gain in recall) x (precision), without interpolation; scores in
    one bin are ties. None where there is no fraud.

    >>> average_precision([0, 1, 0], [1, 0, 1])
    0.8333333333333333
    """
    fraud_counts = np.asarray(frauds, dtype=np.float64)
    found = np.cumsum(fraud_counts)
    if not len(found) or found[-1] == 0:
        return None
    flagged = found + np.cumsum(np.asarray(legitimate, dtype=np.float64))
    hit = fraud_counts > 0
    return float(np.sum(fraud_counts[hit] / found[-1] * found[hit] / flagged[hit]))


def ranked_average_precision(
    scores: Floats, frauds: Bools, weights: Floats | None = None
) -> float | None:
    """Return the average precision of scores of shape (n,); equal scores are ties.

    Each stands for `weights` transactions, or for one. None where there is no fraud.

    >>> scores, frauds = np.array([0.9, 0.5, 0.1]), np.array([True, False, True])
    >>> ranked_average_precision(scores, frauds)
    0.8333333333333333
    >>> ranked_average_precision(scores, frauds, np.array([1.0, 2.0, 1.0]))
    0.75
    """
    values, tie = np.unique(-scores, return_inverse=True)

    def counts(of: Bools) -> list[float]:
        stands_for = None if weights is None else weights[of]
        found: list[float] = np.bincount(tie[of], stands_for, minlength=len(values)).tolist()
        return found

    return average_precision(counts(~frauds), counts(frauds))


@dataclass(slots=True)
class _Window:
    """The accumulating half of a `WindowReport`."""

    transactions: int = 0
    alerts: int = 0
    labelled: int = 0
    true_positives: int = 0
    false_positives: int = 0
    true_negatives: int = 0
    false_negatives: int = 0
    amount: float = 0.0
    amount_caught: float = 0.0
    amount_missed: float = 0.0
    amount_false: float = 0.0
    score_sum: float = 0.0
    alert_score_sum: float = 0.0
    labelled_score_sum: float = 0.0
    labelled_log_loss_sum: float = 0.0
    threshold: float = 1.0
    fraud_prior: float = 0.0
    sampling_rate: float = 1.0
    learned_share: float = 0.0
    model_position: int = 0
    histogram: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    fraud_amounts: dict[int, float] = dataclasses.field(default_factory=dict)
    segments: Counts = dataclasses.field(default_factory=lambda: np.empty((0, 0, 0), np.int64))


_NESTED = {"histogram", "fraud_amounts", "segments"}
_SCALARS = [f.name for f in dataclasses.fields(_Window) if f.name not in _NESTED]
_INTEGERS = {f.name for f in dataclasses.fields(_Window) if f.type == "int"}


class Windows:
    """Tumbling windows of one partition, by event time.

    A window takes labels as long as it is among the newest `max_windows`; older ones are closed,
    and what still comes for them is counted in `late`.

    Parameters
    ----------
    partition
        Partition number the reports carry.
    seconds
        Length of a window in seconds of event time, aligned to the epoch.
    max_windows
        How many windows stay open.
    fields, types
        Of `Segments`: by them transactions are counted, too.
    """

    def __init__(
        self,
        partition: int,
        seconds: int,
        max_windows: int,
        fields: Sequence[str] = (),
        types: Sequence[str] = (),
    ) -> None:
        self.partition = partition
        self.seconds = seconds
        self.max_windows = max_windows
        self.segments = Segments(fields, types)
        self.closed = 0
        self.late = 0
        self._open: dict[int, _Window] = {}
        self._closed_before = -(1 << 62)
        self._changed: set[int] = set()

    def __len__(self) -> int:
        """Windows that take labels."""
        return len(self._open)

    @property
    def held(self) -> Mapping[int, _Window]:
        """The windows that take labels, to be read: by beginning in seconds, counts so far."""
        return self._open

    def decided(self, scored: Scored, state: Mapping[str, float]) -> None:
        """Count decided transactions; `state` holds the report's non-additive fields as of now."""
        for window, rows in self._by_window(scored.times_seconds):
            _, scores, alerts, amounts, codes = scored.rows(rows)
            window.transactions += len(rows)
            window.alerts += int(alerts.sum())
            window.amount += float(amounts.sum())
            window.score_sum += float(scores.sum())
            window.alert_score_sum += float(scores[alerts].sum())
            self._count(window, scores, column=0)
            self.segments.decided(window.segments, codes, alerts)
            for name, value in state.items():
                setattr(window, name, value)

    def labelled(self, scored: Scored, frauds: Bools) -> None:
        """Count labels, each with the score and decision that its transaction was given."""
        for window, rows in self._by_window(scored.times_seconds):
            window.labelled += len(rows)
            window.labelled_score_sum += float(scored.scores[rows].sum())
            self._settle(window, scored.rows(rows), frauds[rows])

    def corrected(self, scored: Scored, frauds: Bools) -> None:
        """Move labels that were counted as the opposite of `frauds` to where they belong."""
        for window, rows in self._by_window(scored.times_seconds):
            self._settle(window, scored.rows(rows), ~frauds[rows], times=-1)
            self._settle(window, scored.rows(rows), frauds[rows])

    def changed(self) -> list[WindowReport]:
        """Return the reports of windows that changed since the last call, oldest first."""
        reports = [self._report(start) for start in sorted(self._changed) if start in self._open]
        self._changed.clear()
        return reports

    def touch(self) -> None:
        """Have all windows count as changed: where reports go has lost them."""
        self._changed = set(self._open)

    def snapshot(self) -> Snapshot:
        """Return a copy of the state, plain."""
        starts = sorted(self._open)
        windows = [self._open[s] for s in starts]
        bins = [(s, b, *c) for s in starts for b, c in self._open[s].histogram.items()]
        amounts = [(s, b, a) for s in starts for b, a in self._open[s].fraud_amounts.items()]
        return {
            "starts": np.array(starts, dtype=np.int64),
            "scalars": np.array(
                [[getattr(window, name) for name in _SCALARS] for window in windows],
                dtype=np.float64,
            ).reshape(len(starts), len(_SCALARS)),
            "bins": np.array(bins, dtype=np.int64).reshape(len(bins), 5),
            "fraud_amounts": np.array(amounts, dtype=np.float64).reshape(len(amounts), 3),
            "segments": np.array(
                [window.segments for window in windows]
                or np.empty((0, *self.segments.empty().shape)),
                dtype=np.int32,
            ),
            "segment_fields": list(self.segments.fields),
            "segment_values": self.segments.snapshot(),
            "counters": np.array([self.closed, self.late, self._closed_before], dtype=np.int64),
        }

    def restore(self, state: Restored) -> None:
        """Take over a snapshot; all its windows count as changed."""
        self._open = {}
        had = state["segment_fields"]
        self.segments.restore(had, state["segment_values"])
        counts = columns(state["segments"], had, self.segments.fields, axis=1)
        rows = (state["starts"].tolist(), state["scalars"].tolist(), counts)
        for start, row, segments in zip(*rows, strict=True):
            window = _Window(segments=segments.astype(np.int64))
            for name, value in zip(_SCALARS, row, strict=True):
                setattr(window, name, int(value) if name in _INTEGERS else value)
            self._open[start] = window
        for start, bin_, *counts in state["bins"].tolist():
            self._open[start].histogram[bin_] = counts
        for start, bin_, amount in state["fraud_amounts"].tolist():
            self._open[int(start)].fraud_amounts[int(bin_)] = amount
        self.closed, self.late, self._closed_before = state["counters"].tolist()
        self.touch()

    def _by_window(self, times_seconds: Floats) -> Iterable[tuple[_Window, Ints]]:
        """The open windows of the times, each with its rows; rows of closed ones are late."""
        numbers = times_seconds // self.seconds
        for number, _ in counted(numbers):
            rows = np.flatnonzero(numbers == number)
            window = self._window(number * self.seconds)
            if window is None:
                self.late += len(rows)
            else:
                yield window, rows

    def _window(self, start: int) -> _Window | None:
        """The open window that begins at `start`, made if need be; None when it is closed."""
        if start < self._closed_before:
            return None
        window = self._open.get(start)
        if window is None:
            window = self._open[start] = _Window(segments=self.segments.empty())
            while len(self._open) > self.max_windows:
                oldest = min(self._open)
                del self._open[oldest]
                self.closed += 1
                self._closed_before = oldest + 1
                if oldest == start:
                    return None
        self._changed.add(start)
        return window

    def _settle(self, window: _Window, scored: Scored, fraud: Bools, *, times: int = 1) -> None:
        """Count what labels say of decisions; -1 times: take it back."""
        _, score, alert, amount, codes = scored
        window.true_positives += times * int((alert & fraud).sum())
        window.false_positives += times * int((alert & ~fraud).sum())
        window.true_negatives += times * int((~alert & ~fraud).sum())
        window.false_negatives += times * int((~alert & fraud).sum())
        window.amount_caught += times * float(amount[alert & fraud].sum())
        window.amount_missed += times * float(amount[~alert & fraud].sum())
        window.amount_false += times * float(amount[alert & ~fraud].sum())
        window.labelled_log_loss_sum += times * float(log_loss(score, fraud).sum())
        self._count(window, score[~fraud], 1, times)
        self._count(window, score[fraud], 2, times)
        amounts = window.fraud_amounts
        for bin_, of in zip(score_bin(score[fraud]).tolist(), amount[fraud].tolist(), strict=True):
            amounts[bin_] = amounts.get(bin_, 0.0) + times * of
            if not window.histogram[bin_][2]:  # the last of them was corrected
                del amounts[bin_]
        self.segments.settled(window.segments, codes, alert, fraud, times)

    @staticmethod
    def _count(window: _Window, scores: Floats, column: int, times: int = 1) -> None:
        for bin_, count in Counter(score_bin(scores).tolist()).items():
            window.histogram.setdefault(bin_, [0, 0, 0])[column] += times * count

    def _report(self, start: int) -> WindowReport:
        window = self._open[start]
        return WindowReport(
            partition=self.partition,
            start=utc(start),
            seconds=self.seconds,
            **{name: getattr(window, name) for name in _SCALARS},
            histogram={b: (c[0], c[1], c[2]) for b, c in sorted(window.histogram.items())},
            fraud_amounts=dict(sorted(window.fraud_amounts.items())),
            segments=self.segments.report(window.segments),
        )


@dataclass(frozen=True, slots=True)
class Measures:
    """What the counts of windows say. None where a figure is not defined, such as precision
    without a labelled alert."""

    transactions: int
    alerts: int
    labelled: int
    label_coverage: float | None
    """Share of transactions whose label has come."""
    frauds: int
    true_positives: int
    false_positives: int
    precision: float | None
    recall: float | None
    f1: float | None
    f_beta: float | None
    mcc: float | None
    """Matthews correlation coefficient."""
    g_mean: float | None
    """Square root of recall times specificity."""
    balanced_accuracy: float | None
    average_precision: float | None
    log_loss: float | None
    """Mean over labelled transactions, in nats."""
    calibration: float | None
    """Mean score over fraud rate, of labelled transactions: 1 is calibrated, above is alarmist."""
    predicted_positive_rate: float | None
    fraud_rate: float | None
    """Share of frauds among labelled transactions."""
    estimated_precision: float | None
    """Mean score of the alerts: what the precision will be if scores are calibrated."""
    amount_caught: float
    amount_missed: float
    amount_false: float

    def asdict(self) -> dict[str, float | None]:
        return dataclasses.asdict(self)


def measure(reports: Sequence[WindowReport], beta: float = 1.0) -> Measures:
    """Return the measures of windows taken together: partitions, time spans, or both.

    >>> measure([]).precision is None
    True
    """

    def total(name: str) -> float:
        return math.fsum(getattr(report, name) for report in reports)

    tp, fp = int(total("true_positives")), int(total("false_positives"))
    tn, fn = int(total("true_negatives")), int(total("false_negatives"))
    transactions, alerts, labelled = (
        int(total(name)) for name in ("transactions", "alerts", "labelled")
    )
    frauds = tp + fn
    recall, specificity = _ratio(tp, frauds), _ratio(tn, tn + fp)
    both = None if recall is None or specificity is None else (recall, specificity)
    ranked = ranked_labels(reports)
    return Measures(
        transactions=transactions,
        alerts=alerts,
        labelled=labelled,
        label_coverage=_ratio(labelled, transactions),
        frauds=frauds,
        true_positives=tp,
        false_positives=fp,
        precision=_ratio(tp, tp + fp),
        recall=recall,
        f1=f_beta(tp, fp, fn, 1.0),
        f_beta=f_beta(tp, fp, fn, beta),
        mcc=_ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        g_mean=math.sqrt(both[0] * both[1]) if both else None,
        balanced_accuracy=sum(both) / 2 if both else None,
        average_precision=average_precision([c[0] for c in ranked], [c[1] for c in ranked]),
        log_loss=_ratio(total("labelled_log_loss_sum"), labelled),
        calibration=_ratio(total("labelled_score_sum"), frauds),
        predicted_positive_rate=_ratio(alerts, transactions),
        fraud_rate=_ratio(frauds, labelled),
        estimated_precision=_ratio(total("alert_score_sum"), alerts),
        amount_caught=total("amount_caught"),
        amount_missed=total("amount_missed"),
        amount_false=total("amount_false"),
    )


def ranked_labels(reports: Sequence[WindowReport]) -> list[list[int]]:
    """Return labelled legitimate transactions and frauds by score bin, highest score first."""
    bins: dict[int, list[int]] = {}
    for report in reports:
        for bin_, (_, legitimate, fraud) in report.histogram.items():
            counts = bins.setdefault(bin_, [0, 0])
            counts[0] += legitimate
            counts[1] += fraud
    return [bins[bin_] for bin_ in sorted(bins, reverse=True)]


def f_beta(tp: float, fp: float, fn: float, beta: float) -> float | None:
    """Return the F-measure that weighs recall `beta` times as much as precision.

    >>> f_beta(tp=8, fp=2, fn=2, beta=1)
    0.8
    """
    b2 = beta * beta
    return _ratio((1 + b2) * tp, (1 + b2) * tp + b2 * fn + fp)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None
