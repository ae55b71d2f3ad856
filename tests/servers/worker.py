"""A worker in a process of its own, to be killed: quick to start, as its modules are there."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from collections.abc import Iterable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from stream.core.model import Model
from stream.events import Alert, Example, LiveReport, WindowReport
from stream.settings import Settings

if TYPE_CHECKING:
    from stream.io.worker import Worker

_context = multiprocessing.get_context("forkserver")


class Memory:
    """A store that keeps the latest of everything, as Redis would."""

    losses = 0

    def __init__(self) -> None:
        self.windows: dict[tuple[int, float], WindowReport] = {}
        self.live: list[LiveReport] = []
        self.alerts: list[Alert] = []

    def put_windows(self, reports: Iterable[WindowReport]) -> None:
        self.windows |= {(r.partition, r.start.timestamp()): r for r in reports}

    def put_live(self, report: LiveReport) -> None:
        self.live.append(report)

    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        self.alerts += alerts


def worked_through(settings: Settings, store: Any = None) -> Worker:
    """Run a worker here over all there is; return it, closed."""
    from stream.io.bus import connect
    from stream.io.worker import Worker

    until_end = Event()
    until_end.set()
    worker = Worker(settings, connect(settings.bus), store or Memory(), member="one")
    try:
        worker.run(Event(), until_end)
    finally:
        worker.close()
    return worker


def start(
    settings: Settings, member: str, *, summary: Path | None = None, redis: bool = False
) -> BaseProcess:
    """Start a worker; with a summary it ends at the end of its inputs, and writes one."""
    _context.set_forkserver_preload([__name__, "stream.io.worker", "stream.io.store", "kafka"])
    given = settings.model_dump(mode="json")
    process = _context.Process(target=_run, args=(given, member, summary, redis), daemon=True)
    process.start()
    return process


def probed(model: Model, log: Sequence[Example]) -> list[float]:
    """Scores of the last hundred examples' features by a model."""
    names = tuple(log[-1].features)
    rows = [[example.features[name] for name in names] for example in log[-100:]]
    return model.scores(names, np.array(rows, dtype=np.float32)).tolist()


def _run(given: dict[str, Any], member: str, summary: Path | None, redis: bool) -> None:
    from stream.io.bus import connect
    from stream.io.store import StoreWriter
    from stream.io.worker import Worker
    from stream.log import configure

    configure("text", "INFO")
    settings = Settings(_env_prefix="WEIR_TEST_", **given)  # type: ignore[call-arg]
    memory: Any = Memory()
    if redis:
        memory = StoreWriter(
            settings.redis, settings.redis_prefix, worker=member, window_expiry_seconds=86_400
        )
    until_end = Event()
    if summary is not None:
        until_end.set()
    worker = Worker(settings, connect(settings.bus), memory, member=member)
    try:
        worker.run(Event(), until_end)
    finally:
        worker.close()
    if redis:
        memory.close(timeout_seconds=20.0)
    if summary is not None:
        shards = worker.detector.shards.values()
        for shard in shards:
            shard.windows.touch()
        reports = [report for shard in shards for report in shard.windows.changed()]
        summary.with_suffix(".model").write_bytes(pickle.dumps(worker.detector.model))
        summary.write_text(json.dumps([report.model_dump(mode="json") for report in reports]))
