"""Counts of windows by score bin, of what was flagged and of the rest: what estimates rest on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.windows import BIN_LIMIT, BIN_WIDTH
from stream.events import WindowReport

Floats = NDArray[np.float64]

BINS = 2 * BIN_LIMIT + 1
LOG_ODDS: Floats = np.linspace(-BIN_LIMIT + 0.5, BIN_LIMIT + 0.5, BINS) * BIN_WIDTH
"""The middle of each score bin, shape (bins,)."""


class Tally(NamedTuple):
    """Counts of windows of the whole stream. The first five by score bin, lowest first.

    Shapes are (bins,) and () for one window or a sum of them, (windows, bins) and (windows,) for
    several one below the other.
    """

    flagged: Floats
    passed: Floats
    """Scored and not flagged."""
    labelled_flagged: Floats
    labelled_passed: Floats
    frauds: Floats
    """Those whose label says fraud."""
    caught: Floats
    """Flagged frauds, by label."""
    missed: Floats
    false: Floats

    def __len__(self) -> int:
        """Windows one below the other."""
        return len(self.caught)

    @property
    def scored(self) -> Floats:
        """All transactions, by score bin."""
        return self.flagged + self.passed

    def part(self, rows: slice) -> Tally:
        """Return some of the windows one below the other."""
        return Tally(*(column[rows] for column in self))

    def added(self) -> Tally:
        """Return the sum of the windows one below the other."""
        return Tally(*(np.asarray(column.sum(axis=0)) for column in self))

    def blocks(self, size: int) -> Tally:
        """Return sums of so many windows each; what is left over at the beginning is left out.

        >>> stacked([tally(())] * 7).blocks(3).flagged.shape
        (2, 921)
        """
        starts = np.arange(len(self) % size, len(self), size)
        if not len(starts):
            return self.part(slice(0))
        return Tally(*(np.add.reduceat(column, starts, axis=0) for column in self))


def tally(reports: Iterable[WindowReport]) -> Tally:
    """Return the counts of reports, added up.

    A report says how many were flagged and not which: they are taken for its highest scores, as
    they are but for changes of the threshold within the window.

    >>> from stream.events import FIRST
    >>> counts = dict.fromkeys(WindowReport.model_fields, 0) | {"start": FIRST}
    >>> counts |= {"fraud_amounts": {}, "segments": {}, "alerts": 3, "histogram": {0: (4, 0, 0)}}
    >>> found = tally([WindowReport.model_validate(counts)])
    >>> float(found.flagged.sum()), float(found.passed.sum())
    (3.0, 1.0)
    """
    bins, outcomes = np.zeros((5, BINS)), np.zeros(3)
    for report in reports:
        counts = np.zeros((3, BINS))
        for bin_, of_bin in report.histogram.items():
            counts[:, bin_ + BIN_LIMIT] = of_bin
        scored, labelled = counts[0], counts[1] + counts[2]
        flagged = _highest(scored, report.alerts)
        told = _highest(labelled, report.true_positives + report.false_positives)
        bins += (flagged, scored - flagged, told, labelled - told, counts[2])
        outcomes += (report.true_positives, report.false_negatives, report.false_positives)
    return Tally(*bins.astype(np.float32), *(np.array(outcome) for outcome in outcomes))


def stacked(tallies: Sequence[Tally]) -> Tally:
    """Return tallies of one window each as one of several, in double precision."""
    if not tallies:
        return stacked([tally(())]).part(slice(0))
    return Tally(*(np.stack(column).astype(np.float64) for column in zip(*tallies, strict=True)))


def _highest(counts: Floats, most: float) -> Floats:
    """The part of counts by bin, lowest first, that the `most` highest make up."""
    above = np.cumsum(counts[::-1])[::-1] - counts
    highest: Floats = np.clip(most - above, 0, counts)
    return highest
