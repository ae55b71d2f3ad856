"""Live traffic while workers come, are restarted one after the other, and go."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.scaling.decisions import decided, sources
from producers.paysim import Scenario, generate
from producers.rows import Row
from stream.core import wire
from stream.events import utc
from stream.io.bus import Message, connect
from stream.settings import Settings

_TICK_SECONDS = 0.02
_LABEL_DELAY_SECONDS = 5.0
_PHASE_SECONDS = 10.0
_STOPS_WITHIN_SECONDS = 60.0
_SETTLES_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What was done, and how long a partition then went without a decision at the most."""

    what: str
    longest_pause_seconds: float


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of it."""

    transactions: int
    rate: float
    twice: int
    """Transactions with more than one decision."""
    never: int
    """Transactions without any."""
    phases: list[Phase]


def moved(settings: Settings, environment: Mapping[str, str], rate: float, folder: Path) -> Moved:
    """Have one worker, then three, each restarted in turn, then two; all are `weir detect`.

    Logs of the workers go to the folder, and the snapshots of their models. Raises `SystemExit`
    where a worker ends with an error.
    """
    workers = _Workers(environment, folder)
    marks: list[tuple[float, str]] = []

    def phase(what: str) -> None:
        marks.append((time.time(), what))
        print(what, file=sys.stderr, flush=True)

    try:
        workers.start("a")
        begun = time.time()
        with _traffic(settings, rate) as published:
            _wait_for_first(settings)
            phase("one worker")
            time.sleep(_PHASE_SECONDS)
            phase("one to three")
            for member in "bc":
                workers.start(member)
            for member in "bc":
                workers.wait_for(member)
            time.sleep(_PHASE_SECONDS)
            for member in "abc":
                phase(f"{member} is restarted")
                workers.stop(member)
                workers.start(member)
                workers.wait_for(member)
                time.sleep(_PHASE_SECONDS)
            phase("three to two")
            workers.stop("c")
            time.sleep(_PHASE_SECONDS)
            phase("")
        ids, at = _decisions(settings, len(published))
    finally:
        workers.kill()
    return Moved(
        transactions=len(published),
        rate=len(published) / (marks[-1][0] - begun),
        twice=sum(count > 1 for count in ids.values()),
        never=len(set(published) - ids.keys()),
        phases=[
            Phase(what, longest_pause(at, since, until))
            for (since, what), (until, _) in itertools.pairwise(marks)
        ],
    )


def longest_pause(at: Mapping[int, list[float]], since: float, until: float) -> float:
    """Seconds between two decisions of a partition at the most, of spans that touch this."""
    longest = 0.0
    for times in at.values():
        ordered = np.sort(times)
        gaps = np.diff(ordered)
        within = (ordered[1:] >= since) & (ordered[:-1] <= until)
        longest = max(longest, float(gaps[within].max(initial=0.0)))
    return longest


class _Workers:
    """Processes of `weir detect`, by name."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = {**os.environ, **environment}
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, member: str) -> None:
        own = {"WEIR_WORKER_ID": member, "WEIR_STATE_DIR": str(self._folder / member)}
        with self._log(member).open("wb") as log:
            self._running[member] = subprocess.Popen(
                [sys.executable, "-m", "stream", "detect"],
                env=self._environment | own,
                stdout=log,
                stderr=log,
            )

    def wait_for(self, member: str) -> None:
        """Return when it works on a partition, as whoever restarts workers in turn waits for."""
        deadline = time.monotonic() + _SETTLES_SECONDS
        while b"state restored" not in self._log(member).read_bytes():
            if time.monotonic() > deadline or self._running[member].poll() is not None:
                raise SystemExit(f"{member} does not work: see {self._folder}")
            time.sleep(0.1)

    def _log(self, member: str) -> Path:
        """What it has said since it was started last."""
        return self._folder / f"{member}.log"

    def stop(self, member: str) -> None:
        """Ask it to end, as a container is stopped, and wait until it has."""
        process = self._running[member]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"{member} does not stop: see {self._folder}") from None
        del self._running[member]
        if process.returncode != 0:
            raise SystemExit(f"{member} ended with {process.returncode}: see {self._folder}")

    def kill(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@contextmanager
def _traffic(settings: Settings, rate: float) -> Iterator[list[str]]:
    """Publish live transactions at a rate, and their labels later; their ids, as they leave."""
    rows = itertools.chain.from_iterable(
        generate(Scenario(clients=50_000, fraud_rate=0.002), transactions=10**9)
    )
    published: list[str] = []
    stop = threading.Event()

    def run() -> None:
        publisher = connect(settings.bus).publisher()
        due: list[tuple[float, Row]] = []
        begun = time.time()
        while not stop.is_set():
            now = time.time()
            new = [next(rows) for _ in range(int((now - begun) * rate) + 1 - len(published))]
            messages = [_transaction(settings, row, now) for row in new]
            while due and due[0][0] <= now:
                messages.append(_label(settings, due.pop(0)[1], now))
            publisher.publish(messages)
            published.extend(row.transaction.transaction_id for row in new)
            due.extend((now + _LABEL_DELAY_SECONDS, row) for row in new)
            stop.wait(_TICK_SECONDS)
        publisher.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield published
    finally:
        stop.set()
        thread.join()


def _transaction(settings: Settings, row: Row, now: float) -> Message:
    transaction = row.transaction.model_copy(update={"timestamp": utc(now), "step": None})
    key = getattr(transaction, settings.key_field).encode()
    return Message(settings.transactions_topic, key, wire.written(transaction))


def _label(settings: Settings, row: Row, now: float) -> Message:
    label = wire.Label(row.transaction.transaction_id, bool(row.is_fraud), utc(now), "chargeback")
    key = getattr(row.transaction, settings.key_field).encode()
    return Message(settings.labels_topic, key, wire.written(label))


def _wait_for_first(settings: Settings) -> None:
    deadline = time.monotonic() + _SETTLES_SECONDS
    reader = connect(settings.bus).reader()
    while not all(map(reader.end, sources(settings))):
        if time.monotonic() > deadline:
            raise SystemExit("the worker does not begin")
        time.sleep(0.2)
    reader.close()


def _decisions(settings: Settings, count: int) -> tuple[Counter[str], dict[int, list[float]]]:
    """How often each transaction was decided, and when anything was, by partition; all of them."""
    deadline = time.monotonic() + _SETTLES_SECONDS
    while True:
        ids: Counter[str] = Counter()
        at: dict[int, list[float]] = defaultdict(list)
        for record, batch in decided(settings):
            if batch.transaction_ids:
                ids.update(batch.transaction_ids)
                at[record.partition].append(record.timestamp_ms / 1000.0)
        if len(ids) >= count or time.monotonic() > deadline:
            return ids, at
        time.sleep(1.0)
