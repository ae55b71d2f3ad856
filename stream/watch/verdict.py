"""Whether it is healthy, in a few words."""

from __future__ import annotations

from typing import Literal, NamedTuple

from stream.watch import words
from stream.watch.snapshot import SILENT_SECONDS, Snapshot

Level = Literal["good", "warn", "bad", "unknown"]

BEHIND_SECONDS = 5.0
"""What waits is handled within so long, or the stream is said to be behind."""
_FEW = 500
"""Records that wait: so many are a batch under way."""


class Verdict(NamedTuple):
    """The worst that was found, and all of it as sentences."""

    level: Level
    words: str
    notes: tuple[str, ...] = ()


def verdict(snapshot: Snapshot) -> Verdict:
    """Say how the workers are doing, worst first."""
    if snapshot.trouble:
        return Verdict("bad", "Redis is away", (snapshot.trouble,))
    if not snapshot.live:
        return Verdict("bad", "no worker", ("No worker has reported within the last minute.",))
    found: list[tuple[Level, str, str]] = []
    for report in snapshot.live:
        silent = (snapshot.taken_at - report.reported_at).total_seconds()
        if silent > SILENT_SECONDS:
            lasted = words.duration(silent)
            told = f"Worker {report.worker} has not reported for {lasted}."
            found.append(("bad", f"worker silent for {lasted}", told))
    behind = behind_seconds(snapshot)
    if behind is None:
        lag = snapshot.count("lag")
        told = f"{lag:,} records wait, and nothing is decided."
        found.append(("bad", "standing still", told))
    elif behind > BEHIND_SECONDS:
        lasted = words.duration(behind)
        told = f"{snapshot.count('lag'):,} records wait: {lasted} at the present rate."
        found.append(("warn", f"behind by {lasted}", told))
    if snapshot.alarms:
        count = len(snapshot.alarms)
        found.append(("warn", f"{count} alarm{'' if count == 1 else 's'}", ""))
    if not found:
        return Verdict("good", "healthy")
    found.sort(key=lambda each: each[0] != "bad")
    return Verdict(found[0][0], found[0][1], tuple(told for _, _, told in found if told))


def behind_seconds(snapshot: Snapshot) -> float | None:
    """Return how long what waits will take at the present rate; None: for ever."""
    lag = snapshot.count("lag")
    if lag <= _FEW:
        return 0.0
    rate = sum(report.transactions_per_second for report in snapshot.live)
    return lag / rate if rate > 0 else None
