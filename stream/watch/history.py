"""The counts of matured windows that estimates are checked by: more of them than views show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from stream.core.estimate import Estimates, estimate
from stream.core.tally import Tally, tally

if TYPE_CHECKING:
    from stream.watch.snapshot import Span

REFERENCE_WINDOWS = 840
"""How many matured windows are held, at most: five weeks of hours."""


class History:
    """Keeps what matured windows came to, after views have left them behind."""

    def __init__(self) -> None:
        self._matured: dict[datetime, tuple[int, Tally]] = {}

    def estimate(self, spans: Sequence[Span], most: int) -> Estimates:
        """Take in windows, oldest first, and estimate the newest that wait for labels.

        These are, of the windows after the last that has matured, at most so many.
        """
        last = None
        for span in spans:
            if not span.matured:
                continue
            last = span.start
            known = self._matured.get(last)
            if known is None or known[0] != span.measures.labelled:
                self._matured[last] = (span.measures.labelled, tally(span.reports))
        for start in sorted(self._matured)[:-REFERENCE_WINDOWS]:
            del self._matured[start]
        waiting = [span for span in spans if last is None or span.start > last][-most:]
        return estimate(
            [tally(span.reports) for span in waiting],
            [self._matured[start][1] for start in sorted(self._matured)],
        )
