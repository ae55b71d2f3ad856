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
from stream.core.traffic import counted
from stream.events import WindowReport, utc

BIN_WIDTH = 0.05
"""Width of a score bin in log-odds: scores closer than this rank as ties in a window's measures."""
BIN_LIMIT = 460
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


_SCALARS = [f.name for f in dataclasses.fields(_Window) if f.name != "histogram"]
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
    """

    def __init__(self, partition: int, seconds: int, max_windows: int) -> None:
        self.partition = partition
        self.seconds = seconds
        self.max_windows = max_windows
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

    def decided(
        self,
        times_seconds: Floats,
        scores: Floats,
        alerts: Bools,
        amounts: Floats,
        state: Mapping[str, float],
    ) -> None:
        """Count decided transactions; `state` holds the report's non-additive fields as of now."""
        for window, rows in self._by_window(times_seconds):
            flagged = alerts[rows]
            window.transactions += len(rows)
            window.alerts += int(flagged.sum())
            window.amount += float(amounts[rows].sum())
            window.score_sum += float(scores[rows].sum())
            window.alert_score_sum += float(scores[rows][flagged].sum())
            self._count(window, scores[rows], column=0)
            for name, value in state.items():
                setattr(window, name, value)

    def labelled(
        self, times_seconds: Floats, scores: Floats, alerts: Bools, amounts: Floats, frauds: Bools
    ) -> None:
        """Count labels, each with the score and decision that its transaction was given."""
        for window, rows in self._by_window(times_seconds):
            score, alert, amount, fraud = scores[rows], alerts[rows], amounts[rows], frauds[rows]
            window.labelled += len(rows)
            window.labelled_score_sum += float(score.sum())
            self._settle(window, score, alert, amount, fraud)

    def corrected(
        self, times_seconds: Floats, scores: Floats, alerts: Bools, amounts: Floats, frauds: Bools
    ) -> None:
        """Move labels that were counted as the opposite of `frauds` to where they belong."""
        for window, rows in self._by_window(times_seconds):
            score, alert, amount, fraud = scores[rows], alerts[rows], amounts[rows], frauds[rows]
            self._settle(window, score, alert, amount, ~fraud, times=-1)
            self._settle(window, score, alert, amount, fraud)

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
        bins = [(s, b, *c) for s in starts for b, c in self._open[s].histogram.items()]
        return {
            "starts": np.array(starts, dtype=np.int64),
            "scalars": np.array(
                [[getattr(self._open[s], name) for name in _SCALARS] for s in starts],
                dtype=np.float64,
            ).reshape(len(starts), len(_SCALARS)),
            "bins": np.array(bins, dtype=np.int64).reshape(len(bins), 5),
            "counters": np.array([self.closed, self.late, self._closed_before], dtype=np.int64),
        }

    def restore(self, state: Restored) -> None:
        """Take over a snapshot; all its windows count as changed."""
        self._open = {}
        for start, row in zip(state["starts"].tolist(), state["scalars"].tolist(), strict=True):
            window = _Window()
            for name, value in zip(_SCALARS, row, strict=True):
                setattr(window, name, int(value) if name in _INTEGERS else value)
            self._open[start] = window
        for start, bin_, *counts in state["bins"].tolist():
            self._open[start].histogram[bin_] = counts
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
            window = self._open[start] = _Window()
            while len(self._open) > self.max_windows:
                oldest = min(self._open)
                del self._open[oldest]
                self.closed += 1
                self._closed_before = oldest + 1
                if oldest == start:
                    return None
        self._changed.add(start)
        return window

    def _settle(
        self,
        window: _Window,
        score: Floats,
        alert: Bools,
        amount: Floats,
        fraud: Bools,
        *,
        times: int = 1,
    ) -> None:
        """Count what labels say of decisions; -1 times: take it back."""
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
    bins: dict[int, list[int]] = {}
    for report in reports:
        for bin_, (_, legitimate, fraud) in report.histogram.items():
            counts = bins.setdefault(bin_, [0, 0])
            counts[0] += legitimate
            counts[1] += fraud
    ranked = [bins[bin_] for bin_ in sorted(bins, reverse=True)]
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


def f_beta(tp: float, fp: float, fn: float, beta: float) -> float | None:
    """Return the F-measure that weighs recall `beta` times as much as precision.

    >>> f_beta(tp=8, fp=2, fn=2, beta=1)
    0.8
    """
    b2 = beta * beta
    return _ratio((1 + b2) * tp, (1 + b2) * tp + b2 * fn + fp)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None
