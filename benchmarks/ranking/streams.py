"""A stream to rank, and the order in which its transactions and labels come."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.events import Transaction
from stream.settings import Settings

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DAY = 86_400.0


class Step(NamedTuple):
    """What happens next: the labels of rows `first` to `last` come, or these rows ask for a score.

    `last` is exclusive. Rows that never get a label are among those of a label step; `Stream`
    says which.
    """

    labels: bool
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Transactions in event-time order, n of them, and what is said of them later.

    `frauds` is the truth, by which scores are graded; `labels` is what the learners are told, of
    rows where `labelled`. Times are seconds since the epoch; `drift_seconds` is where the
    generator changes, if it does. `extra` has columns, shape (n, k), that every row of the table
    sees beside Weir's features.
    """

    name: str
    about: str
    transactions: Sequence[Transaction]
    times_seconds: Floats
    frauds: Bools
    delay: timedelta
    score_from: timedelta
    labels: Bools
    labelled: Bools
    drift_seconds: float | None = None
    extra_names: tuple[str, ...] = ()
    extra: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.transactions)

    @property
    def graded(self) -> Bools:
        """Rows whose scores count, shape (n,)."""
        graded: Bools = (
            self.times_seconds >= self.times_seconds[0] + self.score_from.total_seconds()
        )
        return graded


def settings(**given: object) -> Settings:
    """Weir's settings with some given; nothing comes from the environment of whoever runs it."""
    return Settings.model_validate(given)


def journey(stream: Stream, slice_seconds: int, max_batch: int) -> Iterator[Step]:
    """Yield what happens in the order of `stream.core.evaluate`: a label is never ahead of time.

    Before the rows of a slice of event time come the labels due by its beginning; what is left
    comes at the end.
    """
    due_seconds = np.round(stream.times_seconds + stream.delay.total_seconds(), 6)
    due = np.ceil(due_seconds / slice_seconds)
    asked = np.floor(stream.times_seconds / slice_seconds)
    told = 0

    def labels_until(slice_: float) -> Iterator[Step]:
        nonlocal told
        while told < len(due) and due[told] <= slice_:
            last = int(np.searchsorted(due, due[told], side="right"))
            yield Step(True, told, last)
            told = last

    starts = np.flatnonzero(np.r_[True, asked[1:] != asked[:-1]]).tolist()
    for first, last in itertools.pairwise([*starts, len(asked)]):
        yield from labels_until(asked[first])
        for at in range(first, last, max_batch):
            yield Step(False, at, min(at + max_batch, last))
    yield from labels_until(math.inf)
