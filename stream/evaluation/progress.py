"""How far an evaluation is: a bar on a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import time
from types import TracebackType

from rich import progress as bars
from rich.console import Console

from stream.events import utc

_LINE_SECONDS = 10.0
_DRAW_SECONDS = 0.2


class Progress:
    """Shows the transactions done, the pace and the event time reached.

    Drawn by whoever advances it and never by a thread of its own, whose work would count as that
    of the detector.
    """

    def __init__(self, total: int | None, note: str = "") -> None:
        self.transactions = 0
        self._total = total
        self._note = f"{note} · " if note else ""
        self._begun = time.monotonic()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._gap_seconds = _DRAW_SECONDS if self._console.is_terminal else _LINE_SECONDS
        self._next = self._begun + self._gap_seconds
        self._bar: bars.Progress | None = None
        if self._console.is_terminal:
            self._bar = bars.Progress(
                bars.BarColumn(bar_width=24) if total else bars.SpinnerColumn(),
                bars.TextColumn("{task.description}"),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> Progress:
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

    def advance(self, transactions: int, time_seconds: float) -> None:
        """Count transactions; `time_seconds` is the event time reached."""
        self.transactions += transactions
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._gap_seconds
        pace = self.transactions / (now - self._begun)
        of = f" of {self._total:,}" if self._total else ""
        text = (
            f"{self._note}{self.transactions:,}{of} · {pace:,.0f}/s · "
            f"event time {utc(time_seconds):%Y-%m-%d %H:%M}"
        )
        if self._bar:
            self._bar.update(self._task, completed=self.transactions, description=text)
            self._bar.refresh()
        else:
            self._console.print(text, markup=False)
