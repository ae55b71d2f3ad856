"""After a change of the stream: how soon ranking is back, and whether scores stay calibrated.

Everything is by *matured labels*: of the transactions since the change, how many labels had come
when a transaction was scored. With a label delay the first transactions after the change are scored
before any of their labels is known; nothing that learns from labels could do better there, so they
are block 0, apart from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking.streams import Bools, Floats, Stream
from stream.core.windows import ranked_average_precision

BLOCK = 5_000
"""Transactions to a block, and matured labels within which the ranking must be back."""
STRIDE = 500
WINDOW = 5_000
"""Transactions over which the rolling average precision is taken."""
BACK = 0.9


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came after a change. Figures are pooled over streams that differ in their seed only.

    `before` and `after` are average precisions of as many transactions before the change and at
    the end. `back_after` is how many labels had matured when the rolling average precision (of the
    last `WINDOW` transactions, mean over the streams) was back at `BACK` of the level before; 0: it
    never left it, None: never back. `lowest` is its lowest value on the way. `calibrations` is mean
    score over fraud rate by block of `BLOCK` transactions from where grading begins;
    `changed_block` is the first that has transactions from after the change.
    """

    before: float
    lowest: float
    after: float
    back_after: int | None
    calibrations: tuple[float | None, ...]
    changed_block: int
    blind_labels: int
    """Transactions after the change that were scored before its first label came."""

    def asdict(self) -> dict[str, object]:
        return asdict(self)


def recovery(runs: Sequence[tuple[Stream, Floats]]) -> Recovery:
    """Measure what a change did to the scores, shape (n,) each, of streams with one scenario.

    Raises `ValueError` for a stream that does not change.
    """
    curves, before, after, blind, since = [], [], [], [], []
    for stream, scores in runs:
        first, changed = int(np.flatnonzero(stream.graded)[0]), _changed_row(stream)
        # The first row that is scored with a label of the new time.
        told = int(np.searchsorted(matured_at(stream), 1))
        last = max(changed, len(stream) - (changed - first))
        before.append(_ranked(scores[first:changed], stream.frauds[first:changed]))
        after.append(_ranked(scores[last:], stream.frauds[last:]))
        curves.append(rolling(scores[changed:], stream.frauds[changed:], told - changed))
        blind.append(told - changed)
        since.append(changed - first)
    level, steps = float(np.mean(before)), min(len(curve) for curve in curves)
    curve = np.mean([part[:steps] for part in curves], axis=0)
    return Recovery(
        before=level,
        lowest=float(curve[: 2 * BLOCK // STRIDE].min()),
        after=float(np.mean(after)),
        back_after=back_after(curve, BACK * level),
        calibrations=calibrations(runs),
        changed_block=min(since) // BLOCK,
        blind_labels=round(float(np.mean(blind))),
    )


def back_after(curve: Floats, level: float) -> int | None:
    """Labels after which a curve of `rolling` is back at a level, from its lowest point on.

    The lowest point is sought in the first two blocks. 0: it never was below. None: it is not back.

    >>> back_after(np.array([0.9, 0.4, 0.6, 0.8, 0.7]), 0.7)
    1500
    >>> back_after(np.array([0.9, 0.8]), 0.7), back_after(np.array([0.5, 0.6]), 0.7)
    (0, None)
    """
    lowest = int(curve[: 2 * BLOCK // STRIDE].argmin())
    if curve[lowest] >= level:
        return 0
    back = np.flatnonzero(curve[lowest:] >= level)
    return (lowest + int(back[0])) * STRIDE if len(back) else None


def matured_at(stream: Stream) -> NDArray[np.int64]:
    """Labels of transactions since the change that have come when each is scored, shape (n,)."""
    due = stream.times_seconds + stream.delay.total_seconds()
    of_change = stream.labelled & (np.arange(len(stream)) >= _changed_row(stream))
    come = np.cumsum(of_change)
    seen = np.searchsorted(due, stream.times_seconds, side="right")
    return np.where(seen > 0, come[np.maximum(seen - 1, 0)], 0)


def rolling(scores: Floats, frauds: Bools, blind: int) -> Floats:
    """Rolling average precision at every `STRIDE` matured labels since the change.

    Entry k is that of the last `WINDOW` transactions up to where about k `STRIDE` labels of the new
    time have matured: its window lies wholly after the change, so the first ones are shorter, and
    entry 0 is of those scored blind.
    """
    ends = range(max(blind, 1), len(scores) + 1, STRIDE)
    return np.array(
        [
            _ranked(scores[max(0, end - WINDOW) : end], frauds[max(0, end - WINDOW) : end])
            for end in ends
        ]
    )


def calibrations(runs: Sequence[tuple[Stream, Floats]]) -> tuple[float | None, ...]:
    """Mean score over fraud rate by block of transactions, pooled; None without frauds."""
    parts = [(scores[stream.graded], stream.frauds[stream.graded]) for stream, scores in runs]
    found: list[float | None] = []
    for at in range(0, min(len(scores) for scores, _ in parts) - BLOCK + 1, BLOCK):
        announced = sum(float(scores[at : at + BLOCK].sum()) for scores, _ in parts)
        frauds = sum(int(truth[at : at + BLOCK].sum()) for _, truth in parts)
        found.append(announced / frauds if frauds else None)
    return tuple(found)


def _changed_row(stream: Stream) -> int:
    if stream.drift_seconds is None:
        raise ValueError(
            f"{stream.name} does not change; give a stream of the generator with drift"
        )
    return int(np.searchsorted(stream.times_seconds, stream.drift_seconds))


def _ranked(scores: Floats, frauds: Bools) -> float:
    """Average precision; 0 where there is no fraud to find."""
    return ranked_average_precision(scores, frauds) or 0.0
