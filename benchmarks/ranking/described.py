"""Weir's own features of a stream, collected once for all rows of the table that need them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking.streams import Step, Stream, journey, settings
from stream.core.detector import Detector
from stream.core.features import Features
from stream.core.model import Model
from stream.core.pending import Pending
from stream.events import Label, utc
from stream.settings import Settings

Rows = NDArray[np.float32]


class Watched:
    """Stands in for the features of a shard: adds a stream's extra columns, and can keep all rows.

    Everything else is left to the features themselves, whatever they are made of.
    """

    def __init__(self, inner: Features, stream: Stream, *, keep: bool = False) -> None:
        self.inner = inner
        self.names = (*inner.names, *stream.extra_names)
        self.kept: list[Rows] = []
        self.cpu_seconds = 0.0
        self._extra = stream.extra
        self._keep = keep
        self._next = 0

    def transform(self, batch: Any, *given: Any) -> Rows:
        begun = time.process_time()
        rows = self.inner.transform(batch, *given)
        if self._extra is not None:
            rows = np.hstack([rows, self._extra[self._next : self._next + len(rows)]])
        self._next += len(rows)
        self.cpu_seconds += time.process_time() - begun
        if self._keep:
            self.kept.append(rows)
        return rows

    def label(self, *given: Any) -> None:
        begun = time.process_time()
        self.inner.label(*given)
        self.cpu_seconds += time.process_time() - begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass(frozen=True, slots=True)
class Described:
    """A stream with the features of each transaction at the moment of scoring, shape (n, k)."""

    stream: Stream
    names: tuple[str, ...]
    features: Rows
    steps: tuple[Step, ...]
    microseconds: float
    """CPU per transaction that the features took, labels in the accounts' history included."""


def opened(given: Settings, stream: Stream, *, keep: bool = False) -> tuple[Detector, Watched]:
    """Return Weir's detector with partition 0 open, and its features with the stream's extras."""
    detector = Detector(given, Model(given))
    shard = detector.open(0)
    watched = Watched(shard.features, stream, keep=keep)
    shard.features = cast(Features, watched)
    if stream.extra_names:  # it was made for the features without them
        fields = shard.windows.segments.fields
        shard.pending = Pending(len(watched.names), given.max_pending, fields)
    return detector, watched


def feature_names(stream: Stream) -> tuple[str, ...]:
    """Return the names of the features that the rows of a stream's table see."""
    return opened(settings(learner="linear"), stream)[1].names


def labels_of(stream: Stream, step: Step) -> list[Label]:
    """Return the labels that a label step brings."""
    delay = stream.delay
    return [
        Label(
            transaction_id=stream.transactions[i].transaction_id,
            is_fraud=bool(stream.labels[i]),
            labelled_at=utc(float(stream.times_seconds[i])) + delay,
            source="chargeback",
        )
        for i in range(step.first, step.last)
        if stream.labelled[i]
    ]


def describe(stream: Stream) -> Described:
    """Run Weir's detector over the stream with its cheapest learner, and keep the features."""
    cheapest = settings(learner="linear")
    steps = tuple(journey(stream, cheapest.align_seconds, cheapest.max_batch))
    detector, watched = opened(cheapest, stream, keep=True)
    for step in steps:
        if step.labels:
            detector.on_labels(0, labels_of(stream, step))
        else:
            detector.on_transactions(0, stream.transactions[step.first : step.last])
    features = np.concatenate(watched.kept)
    cost = 1e6 * watched.cpu_seconds / len(stream)
    return Described(stream, watched.names, features, steps, cost)
