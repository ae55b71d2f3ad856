"""After a change of the stream: how soon ranking is back, and whether scores stay calibrated.

Recovery is counted in *matured labels*: of the transactions since the change, how many labels had
come when a transaction was scored. With a label delay the first transactions after the change are
scored before any of their labels is known; nothing that learns from labels could do better there.

Frauds come day and night alike and legitimate transactions by day, so that average precision goes
up and down with the hour, by more than a change does to it. Its level before the change is
therefore that of windows as long that end at the same time of day.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking.streams import DAY, Bools, Floats, Stream
from stream.core.windows import ranked_average_precision

BLOCK = 5_000
"""Matured labels to a block: within the first, ranking must be back and calibration may be off."""
STRIDE = 500
WINDOW = 5_000
"""Transactions over which the rolling average precision is taken."""
BACK = 0.9


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came after a change, pooled over streams that differ in their seed only.

    `before` is the mean rolling average precision before the change, of the last `WINDOW`
    transactions. `lowest` and `after` are shares of the level before, at the lowest point of the
    first 2 `BLOCK` labels and in the mean of the last `BLOCK`; `back_after` is how many labels had
    matured when that share was back at `BACK`; 0: it never fell below, None: never back.
    `calibration_before` and `calibrations` are mean score over fraud rate, the latter by blocks:
    the transactions that were scored while `BLOCK` more labels matured, from the change on.
    """

    before: float
    lowest: float
    after: float
    back_after: int | None
    calibration_before: float | None
    calibrations: tuple[float | None, ...]
    blind_labels: int
    """Transactions after the change that were scored before its first label came."""

    def asdict(self) -> dict[str, object]:
        return asdict(self)


def recovery(runs: Sequence[tuple[Stream, Floats]]) -> Recovery:
    """Measure what a change did to the scores, shape (n,) each, of streams with one scenario.

    Raises `ValueError` for a stream that does not change.
    """
    curves, before, blocks, blind = [], [], [], []
    for stream, scores in runs:
        first, changed = int(np.flatnonzero(stream.graded)[0]), _changed_row(stream)
        curves.append(rolling(stream, scores))
        before.append((scores[first:changed], stream.frauds[first:changed]))
        matured = matured_at(stream)[changed:]
        ends = changed + np.searchsorted(matured, np.arange(0, matured[-1] + 1, BLOCK))
        blocks.append([(scores[a:b], stream.frauds[a:b]) for a, b in itertools.pairwise(ends)])
        blind.append(int(np.searchsorted(matured, 1)))
    steps = min(len(precision) for precision, _ in curves)
    precision, level = np.mean([[side[:steps] for side in curve] for curve in curves], axis=0)
    share = precision / level
    return Recovery(
        before=float(level.mean()),
        lowest=float(share[: 2 * BLOCK // STRIDE].min()),
        after=float(share[-BLOCK // STRIDE :].mean()),
        back_after=back_after(share, BACK),
        calibration_before=_calibration(before),
        calibrations=tuple(_calibration(parts) for parts in zip(*blocks, strict=False)),
        blind_labels=round(float(np.mean(blind))),
    )


def back_after(share: Floats, level: float) -> int | None:
    """Labels after which a curve of `rolling` is back at a level, from its lowest point on.

    The lowest point is sought in the first two blocks. 0: it never was below. None: it is not back.

    >>> back_after(np.array([0.9, 0.4, 0.6, 0.8, 0.7]), 0.7)
    1500
    >>> back_after(np.array([0.9, 0.8]), 0.7), back_after(np.array([0.5, 0.6]), 0.7)
    (0, None)
    """
    lowest = int(share[: 2 * BLOCK // STRIDE].argmin())
    if share[lowest] >= level:
        return 0
    back = np.flatnonzero(share[lowest:] >= level)
    return (lowest + int(back[0])) * STRIDE if len(back) else None


def matured_at(stream: Stream) -> NDArray[np.int64]:
    """Labels of transactions since the change that have come when each is scored, shape (n,)."""
    due = stream.times_seconds + stream.delay.total_seconds()
    of_change = stream.labelled & (np.arange(len(stream)) >= _changed_row(stream))
    come = np.cumsum(of_change)
    seen = np.searchsorted(due, stream.times_seconds, side="right")
    return np.where(seen > 0, come[np.maximum(seen - 1, 0)], 0)


def rolling(stream: Stream, scores: Floats) -> tuple[Floats, Floats]:
    """Rolling average precision after the change, and its level before, shape (k,) each.

    Entry i is that of the last `WINDOW` transactions up to where i `STRIDE` labels of the new time
    have matured. Its window lies wholly after the change, so the first ones are shorter, and entry
    0 is of those scored blind. The level is the mean of windows of as many transactions that end at
    the same time on days before; where there is no such day, that of all before.
    """
    first, changed = int(np.flatnonzero(stream.graded)[0]), _changed_row(stream)
    matured = matured_at(stream)
    found = []
    for labels in range(0, int(matured[-1]) + 1, STRIDE):
        end = max(int(np.searchsorted(matured, max(labels, 1))), changed + 1)
        size = end - max(changed, end - WINDOW)
        same = np.searchsorted(
            stream.times_seconds,
            stream.times_seconds[end - 1] - DAY * np.arange(1, 8),
            side="right",
        )
        ends = [int(at) for at in same if first + size <= at <= changed]
        before = [slice(at - size, at) for at in ends] or [slice(first, changed)]
        level = np.mean([_ranked(scores[rows], stream.frauds[rows]) for rows in before])
        rows = slice(end - size, end)
        found.append((_ranked(scores[rows], stream.frauds[rows]), float(level)))
    curves = np.array(found).reshape(-1, 2)
    return curves[:, 0], curves[:, 1]


def _calibration(parts: Sequence[tuple[Floats, Bools]]) -> float | None:
    """Mean score over fraud rate of all parts together; None without frauds."""
    frauds = sum(int(truth.sum()) for _, truth in parts)
    return sum(float(scores.sum()) for scores, _ in parts) / frauds if frauds else None


def _changed_row(stream: Stream) -> int:
    if stream.drift_seconds is None:
        raise ValueError(
            f"{stream.name} does not change; give a stream of the generator with drift"
        )
    return int(np.searchsorted(stream.times_seconds, stream.drift_seconds))


def _ranked(scores: Floats, frauds: Bools) -> float:
    """Average precision; 0 where there is no fraud to find."""
    return ranked_average_precision(scores, frauds) or 0.0
