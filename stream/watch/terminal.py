"""The live view in a terminal, and plain lines where there is none. It reads from Redis alone."""

from __future__ import annotations

import sys
import threading
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live

from stream.core.estimate import Estimates
from stream.io.store import StoreReader
from stream.watch import panels
from stream.watch.output import emit
from stream.watch.snapshot import Snapshot, Watcher

PLAIN_SECONDS = 5.0
"""Time between plain lines, at least."""

_TALL = 32
"""From this height on there is room for the bars by window, and for what alarms look at."""
_MOST_ALARMS = 4


def watch(
    reader: StoreReader,
    *,
    refresh_seconds: float = 1.0,
    plain: bool | None = None,
    stop: threading.Event | None = None,
    total: int | None = None,
    out: TextIO | None = None,
) -> None:
    """Show what Redis holds until `stop` is set, or for ever; Redis may come and go.

    Parameters
    ----------
    refresh_seconds
        Time between two looks at Redis.
    plain
        One line of `key=value` every few seconds instead of the view; by default where `out` is
        no terminal.
    total
        How many transactions there will be, for the progress bar.
    out
        Where to; by default standard output.
    """
    out = out or sys.stdout
    stop = stop or threading.Event()
    watcher = Watcher(reader, total)
    if plain or (plain is None and not out.isatty()):
        _watch_plain(watcher, max(refresh_seconds, PLAIN_SECONDS), stop, out)
        return
    console = Console(file=out, highlight=False)
    # The alternate screen: nothing flickers, resizing leaves no traces, the scrollback stays clean.
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(render(watcher.take(), console.width, console.height), refresh=True)
            if stop.wait(refresh_seconds):
                break
    console.print(render(watcher.take(), console.width, console.height - 1))


def _watch_plain(watcher: Watcher, seconds: float, stop: threading.Event, out: TextIO) -> None:
    over = False
    while not over:
        over = stop.wait(seconds)
        if not emit(plain_line(watcher.take()), out):
            return


def render(snapshot: Snapshot, width: int = 80, height: int = 24) -> RenderableType:
    """Return the view of a snapshot, at most `height` lines of `width` characters.

    What matters most stands first. The two tables share the lines that are left, and what does not
    fit is left out from below. A figure whose labels are missing is "–".
    """
    shown = [panels.title(snapshot, width)]
    if snapshot.trouble:
        shown.append(panels.trouble(snapshot.trouble, width))
    if snapshot.alarms:
        tall = height >= _TALL
        most = _MOST_ALARMS if tall else max(min(height // 8, _MOST_ALARMS), 1)
        shown.append(panels.alarms(snapshot, most, look=tall))
    shown += [
        panels.progress(snapshot, width),
        panels.speed(snapshot),
        panels.quality_title(snapshot),
        panels.quality(snapshot),
        *([panels.doubt(snapshot)] if panels.doubt(snapshot).lines else []),
        *([panels.quality_by_window(snapshot)] if height >= _TALL else []),
        panels.rule("Threshold and class balance"),
        panels.balance(snapshot),
        *([panels.segments(snapshot)] if height >= _TALL else []),
        panels.counters(snapshot, width),
    ]
    left = height - sum(panel.lines for panel in shown)
    if left >= 3:
        rows = min(len(snapshot.spans), max((left - 3) // 2, 1))
        if left < 6:  # too little for two tables
            rows = min(len(snapshot.spans), left - 2)
        shown += [panels.windows_title(width), panels.windows(snapshot.spans, rows, width)]
        left -= rows + 2
    if left >= 2:
        shown += [
            panels.rule("Newest alerts"),
            panels.alerts(snapshot.alerts[: left - 1], width),
        ]
    fitting, lines = [], 0
    for panel in shown:
        lines += panel.lines
        if lines > height:
            break
        fitting.append(panel.content)
    return Group(*fitting)


def plain_line(snapshot: Snapshot) -> str:
    """Return the key figures as one line of `key=value`; "-" where a figure is not known."""
    rolling, recent = snapshot.quality, snapshot.recent
    model, latency, event_time = snapshot.model, snapshot.latency_ms(), snapshot.event_time()
    values: dict[str, object] = {
        "workers": len(snapshot.live),
        "event_time": event_time and event_time.isoformat(timespec="seconds"),
        "decided": snapshot.count("decisions"),
        "total": snapshot.total,
        "transactions_per_second": sum(r.transactions_per_second for r in snapshot.live),
        "latency_p50_ms": latency and latency[0],
        "latency_p99_ms": latency and latency[1],
        "lag": snapshot.count("lag"),
        "precision": rolling.precision,
        "recall": rolling.recall,
        "f1": rolling.f1,
        "average_precision": rolling.average_precision,
        "label_coverage": rolling.label_coverage,
        **_estimated(snapshot.estimates),
        "threshold": model and model.threshold,
        "fraud_prior": model and model.fraud_prior,
        "predicted_positive_rate": recent.predicted_positive_rate,
        "sampling_rate": model and model.sampling_rate,
        "learned_share": model and model.learned_share,
        "alerts": snapshot.count("alerts"),
        "labels": snapshot.count("labels"),
        "dead_letters": snapshot.count("dead_letters"),
        "alarms": len(snapshot.alarms),
        "raised": ",".join(alarm.name for alarm in snapshot.alarms) or None,
        "redis": "away" if snapshot.trouble else "there",
    }
    now = snapshot.taken_at.isoformat(timespec="seconds")
    return " ".join([now, *(f"{name}={_plain(value)}" for name, value in values.items())])


def _estimated(estimates: Estimates) -> dict[str, object]:
    """Each estimate, its interval, and whether it is to be trusted."""
    return {
        f"estimated_{name}{part}": value
        for name, found in estimates.figures().items()
        for part, value in (
            ("", found.value),
            ("_low", found.low),
            ("_high", found.high),
            ("_trusted", "yes" if found.trusted else "no"),
        )
    }


def _plain(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
