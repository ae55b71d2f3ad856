"""How far a producer is, for people: a line that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from producers.publish import Counts
from stream.events import utc

LINE_SECONDS = 5.0
"""Time between plain lines."""


class Reporter:
    """Shows counts on stderr: moving on a terminal, a line now and then elsewhere, or nothing."""

    def __init__(self, counts: Counts, total: int | None, *, quiet: bool) -> None:
        self._counts = counts
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._next_line = time.monotonic() + LINE_SECONDS
        self._window = (time.monotonic(), 0)
        self._rate = 0.0
        self._bar: Progress | None = None
        if not quiet and self._console.is_terminal:
            shape = BarColumn(bar_width=24) if total else SpinnerColumn()
            self._bar = Progress(
                shape, TextColumn("{task.description}"), console=self._console, transient=True
            )
            self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> Reporter:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self) -> None:
        """Show the counts as they are now; cheap enough to call after every publish."""
        if self._quiet:
            return
        now = time.monotonic()
        since, count = self._window
        if now - since >= 1:
            self._rate = (self._counts.transactions - count) / (now - since)
            self._window = (now, self._counts.transactions)
        if self._bar:
            self._bar.update(
                self._task, completed=self._counts.transactions, description=self._text()
            )
        elif now >= self._next_line:
            self.say(self._text())
            self._next_line = now + LINE_SECONDS

    def say(self, text: str) -> None:
        """Print a line; beside the moving one where there is one."""
        if not self._quiet:
            self._console.print(text, markup=False)

    def close(self, *, stopped: bool) -> None:
        """Print the last line."""
        counts = self._counts
        rate = counts.transactions / max(counts.seconds(), 1e-9)
        self.say(
            f"{'stopped' if stopped else 'done'}: {counts.transactions:,} transactions, "
            f"{counts.frauds:,} frauds, {counts.labels:,} labels in {counts.seconds():.1f} s "
            f"({rate:,.0f} transactions/s)"
        )

    def _text(self) -> str:
        counts = self._counts
        newest = counts.event_time_seconds
        at = "" if newest is None else f" · event time {utc(newest):%Y-%m-%d %H:%M}"
        return (
            f"{counts.transactions:,} transactions · {self._rate:,.0f}/s{at} · "
            f"{counts.frauds:,} frauds · {counts.labels:,} labels"
        )
