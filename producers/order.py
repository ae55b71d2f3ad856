"""Which message leaves before which: event time, and at equal event time labels first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from producers.labels import DueLabel, LateLabels
from producers.rows import Row

Item = Row | DueLabel
"""What leaves: both have a `time_seconds`."""


class Slice(NamedTuple):
    """What goes out as one for one stretch of event time: first the labels, then the rows."""

    labels: list[DueLabel]
    rows: list[Row]


def slices(
    chunks: Iterable[list[Row]], late: LateLabels, slice_seconds: int, *, final_labels: bool
) -> Iterator[Slice]:
    """Cut a stream into whole slices of event time.

    Slice k holds the transactions of [k, k+1) slice lengths since the epoch, and before them the
    labels due in (k-1, k]: a label is never ahead of its time, and whoever handles slice after
    slice, labels first, handles everything in event time to within a slice. At the end the labels
    still held follow, unless `final_labels` says no.

    Why whole slices: on the embedded bus one call of `publish` is atomic. A worker running beside
    the producer therefore sees whole slices only, aligns labels and transactions by them, and
    reaches the same result in every run however the two are scheduled.
    """
    open_rows: list[Row] = []
    number = -math.inf

    def closed() -> Iterator[Slice]:
        for of_slice, due in groupby(
            late.release(number * slice_seconds),
            lambda label: -(-label.time_seconds // slice_seconds),
        ):
            if of_slice < number:
                yield Slice(list(due), [])
            else:
                yield Slice(list(due), open_rows)
                break
        else:
            yield Slice([], open_rows)

    for chunk in chunks:
        for of_slice, some in groupby(chunk, lambda row: row.time_seconds // slice_seconds):
            rows = list(some)
            if of_slice != number:
                if open_rows:
                    yield from closed()
                    late.add(open_rows)
                open_rows, number = [], of_slice
            open_rows.extend(rows)
    if open_rows:
        yield from closed()
        late.add(open_rows)
    if final_labels:
        for _, due in groupby(
            late.release(), lambda label: -(-label.time_seconds // slice_seconds)
        ):
            yield Slice(list(due), [])


def calls(cut: Iterable[Slice], most: int = 5_000) -> Iterator[list[Item]]:
    """Put whole slices together to calls of up to `most` items; a larger slice is one call.

    >>> label = lambda t: DueLabel(t, "C1", None)
    >>> [len(call) for call in calls([Slice([label(1)] * 3, []), Slice([label(2)] * 2, [])], 4)]
    [3, 2]
    """
    call: list[Item] = []
    for labels, rows in cut:
        if call and len(call) + len(labels) + len(rows) > most:
            yield call
            call = []
        call += labels
        call += rows
    if call:
        yield call


def merged(chunks: Iterable[list[Row]], late: LateLabels) -> Iterator[Item]:
    """Yield one item after another in event time: what a paced producer sends.

    Labels not yet due at the end stay where they are.
    """
    for chunk in chunks:
        for row in chunk:
            if late.next_due_seconds() <= row.time_seconds:
                yield from late.release(row.time_seconds)
            yield row
            late.add((row,))
