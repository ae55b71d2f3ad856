"""Weir itself, with each of its strategies: the detector of production, features included."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import get_args

import numpy as np

from benchmarks.ranking.described import labels_of, opened
from benchmarks.ranking.streams import Floats, Stream, journey
from stream.core.detector import Detector
from stream.settings import Settings


def strategies() -> tuple[str, ...]:
    """The strategies that the settings know, `auto` last."""
    known: tuple[str, ...] = get_args(Settings.model_fields["rebalance"].annotation)
    return (*(name for name in known if name != "auto"), "auto")


def run(
    stream: Stream, given: Settings, progress: Callable[[int], None] = lambda _: None
) -> tuple[Floats, float]:
    """Score and learn a stream in order.

    Returns scores, shape (n,), and CPU microseconds per transaction of all threads and child
    processes. `progress` gets the rows done.
    """
    detector, _ = opened(given, stream)
    return played(detector, stream, progress)


def played(
    detector: Detector, stream: Stream, progress: Callable[[int], None] = lambda _: None
) -> tuple[Floats, float]:
    """Score and learn a stream with a detector that is open for it; return as `run` does."""
    given = detector.settings
    scores = np.zeros(len(stream))
    begun, apart = _cpu_seconds(), 0.0
    for step in journey(stream, given.align_seconds, given.max_batch):
        if step.labels:
            before = time.process_time()
            labels = labels_of(stream, step)  # in production they come off the wire
            apart += time.process_time() - before
            _, examples = detector.on_labels(0, labels)
            detector.on_examples(examples, detector.model.position + len(examples))
        else:
            batch = stream.transactions[step.first : step.last]
            scores[step.first : step.last] = detector.on_transactions(0, batch).scores
            progress(step.last)
    seconds = _cpu_seconds() - begun - apart
    return scores, 1e6 * seconds / len(stream)


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
