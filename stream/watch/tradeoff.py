"""What another threshold would have done: the precision-recall curve of matured windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from stream.core.intervals import share_bounds
from stream.core.windows import BIN_WIDTH, score_bin
from stream.events import WindowReport

Floats = NDArray[np.float64]

_DAY_SECONDS = 86_400.0
_SAME_AMOUNT = 1e-6


@dataclass(frozen=True)
class Tradeoff:
    """Cuts through labelled scores, highest threshold first, as columns of one length.

    Scores closer than `BIN_WIDTH` in log-odds are one cut. Counts are of labelled transactions,
    amounts of labelled frauds; None where windows do not tell amounts by score.
    """

    thresholds: Floats
    caught: Floats
    false_alarms: Floats
    missed: Floats
    alerts_per_day: Floats
    """Of all transactions, labelled or not."""
    amount_caught: Floats | None
    amount_missed: Floats | None

    def at(self, threshold: float) -> int | None:
        """Return the cut of a threshold: the last one not below it. None without any cut.

        As the curve is no finer than `BIN_WIDTH`, so is the answer.
        """
        if not len(self.thresholds):
            return None
        least = int(score_bin(np.array([threshold]))[0])
        above = score_bin(self.thresholds) >= least
        return max(int(above.sum()) - 1, 0)

    def asdict(self) -> dict[str, object]:
        """Return the columns for the page, with precision and recall and their intervals."""
        precision = share_bounds(self.caught, self.false_alarms)
        recall = share_bounds(self.caught, self.missed)
        columns = {
            "threshold": self.thresholds,
            "caught": self.caught,
            "false_alarms": self.false_alarms,
            "missed": self.missed,
            "alerts_per_day": self.alerts_per_day,
            "precision": self.caught / np.maximum(self.caught + self.false_alarms, 1.0),
            "precision_low": precision[0],
            "precision_high": precision[1],
            "recall": self.caught / np.maximum(self.caught + self.missed, 1.0),
            "recall_low": recall[0],
            "recall_high": recall[1],
        }
        return {
            **{name: _rounded(column) for name, column in columns.items()},
            "amount_caught": _known(self.amount_caught),
            "amount_missed": _known(self.amount_missed),
        }


def tradeoff(reports: Sequence[WindowReport], seconds: float) -> Tradeoff:
    """Return the cuts through the labelled scores of windows that span so many seconds.

    Only bins with a labelled transaction are cuts: between two of them nothing changes.
    """
    counts: dict[int, list[float]] = {}
    for report in reports:
        for bin_, bin_counts in report.histogram.items():
            into = counts.setdefault(bin_, [0.0, 0.0, 0.0, 0.0])
            for column, count in enumerate(bin_counts):
                into[column] += count
        for bin_, amount in report.fraud_amounts.items():
            counts.setdefault(bin_, [0.0, 0.0, 0.0, 0.0])[3] += amount
    bins = sorted(counts, reverse=True)
    table = np.array([counts[bin_] for bin_ in bins], dtype=np.float64).reshape(len(bins), 4)
    cut = np.flatnonzero((table[:, 1] > 0) | (table[:, 2] > 0))
    scored, false_alarms, caught, amounts = (table.cumsum(axis=0)[cut, c] for c in range(4))
    edges = np.array(bins, dtype=np.float64)[cut] * BIN_WIDTH
    frauds = caught[-1] if len(caught) else 0.0
    known = _amounts_known(reports)
    return Tradeoff(
        thresholds=1.0 / (1.0 + np.exp(-edges)),
        caught=caught,
        false_alarms=false_alarms,
        missed=frauds - caught,
        alerts_per_day=scored * (_DAY_SECONDS / max(seconds, 1.0)),
        amount_caught=amounts if known else None,
        amount_missed=amounts[-1:] - amounts if known else None,
    )


def _amounts_known(reports: Sequence[WindowReport]) -> bool:
    """Whether the amounts by score are those of all frauds: older windows have none."""
    told = sum(sum(report.fraud_amounts.values()) for report in reports)
    total = sum(report.amount_caught + report.amount_missed for report in reports)
    return total > 0 and abs(told - total) <= _SAME_AMOUNT * total


def _known(column: Floats | None) -> list[float | None] | None:
    return None if column is None else _rounded(column)


def _rounded(column: Floats) -> list[float | None]:
    """Seven significant digits: half as long on the wire, and nobody sees the rest."""
    return [None if isnan(value) else float(f"{value:.7g}") for value in column.tolist()]
