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
    """Counts of windows of the whole stream. The first four by score bin, lowest first.

    Shapes are (bins,) and () for one window or a sum of them, (windows, bins) and (windows,) for
    several one below the other.
    """

    flagged: Floats
    passed: Floats
    """Scored and not flagged."""
    labelled_flagged: Floats
    labelled_passed: Floats
    caught: Floats
    """Flagged ones whose label says fraud."""
    missed: Floats
    false: Floats


def tally(reports: Iterable[WindowReport]) -> Tally:
    """Return the counts of reports, added up.

    A report says how many were flagged and not which: they are taken for its highest scores, as
    they are but for changes of the threshold within the window.

    >>> from stream.events import FIRST
    >>> counts = dict.fromkeys(WindowReport.model_fields, 0) | {"version": 1, "start": FIRST}
    >>> counts |= {"fraud_amounts": {}, "segments": {}, "alerts": 3, "histogram": {0: (4, 0, 0)}}
    >>> found = tally([WindowReport.model_validate(counts)])
    >>> float(found.flagged.sum()), float(found.passed.sum())
    (3.0, 1.0)
    """
    bins, outcomes = np.zeros((4, BINS)), np.zeros(3)
    for report in reports:
        counts = np.zeros((3, BINS))
        for bin_, of_bin in report.histogram.items():
            counts[:, bin_ + BIN_LIMIT] = of_bin
        labelled = counts[1] + counts[2]
        flagged = _highest(counts[0], report.alerts)
        labelled_flagged = _highest(labelled, report.true_positives + report.false_positives)
        bins += (flagged, counts[0] - flagged, labelled_flagged, labelled - labelled_flagged)
        outcomes += (report.true_positives, report.false_negatives, report.false_positives)
    return Tally(*bins, *(np.array(outcome) for outcome in outcomes))


def added(tallies: Sequence[Tally]) -> Tally:
    """Return the sum of tallies; zeros where there are none."""
    if not tallies:
        return tally(())
    return Tally(*(np.sum(column, axis=0) for column in zip(*tallies, strict=True)))


def blocks(tallies: Sequence[Tally], size: int) -> Tally:
    """Return the sums of so many tallies each, the last of them in the last block, stacked.

    What is left over at the beginning is left out.

    >>> blocks([tally(())] * 7, 3).flagged.shape
    (2, 921)
    """
    first = len(tallies) % size
    parts = [added(tallies[at : at + size]) for at in range(first, len(tallies), size)]
    if not parts:
        return Tally(*(column[:0] for column in blocks([tally(())], 1)))
    return Tally(*(np.stack(column) for column in zip(*parts, strict=True)))


def _highest(counts: Floats, most: float) -> Floats:
    """The part of counts by bin, lowest first, that the `most` highest make up."""
    above = np.cumsum(counts[::-1])[::-1] - counts
    highest: Floats = np.clip(most - above, 0, counts)
    return highest
