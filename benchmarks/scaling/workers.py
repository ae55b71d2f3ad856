"""The same table, handled by one worker, or by several in a group: what each came to."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from benchmarks.scaling.decisions import decided
from benchmarks.scaling.digest import digest
from benchmarks.scaling.turns import take_long_turns
from benchmarks.throughput.loops import stages
from benchmarks.throughput.stages import sampled
from benchmarks.yardstick import Yardstick
from stream.core.windows import ranked_average_precision
from stream.io.bus import TopicPartition, connect
from stream.io.store import StoreWriter
from stream.io.worker import Worker
from stream.process import set_up_process
from stream.settings import Settings

_WAITS_SECONDS = 1_200.0
_MEASURED_EVERY_SECONDS = 1.0
_SETTLED_SECONDS = 2.0
"""Without a change of its partitions for so long, a worker takes them for its share."""


class Table(NamedTuple):
    """What is known of the transactions of a table."""

    frauds: Mapping[str, bool]
    """The truth, by transaction id."""
    graded: Set[str]
    """Ids of those that count in average precision."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker did."""

    transactions: int
    examples: int
    """Of its own, in the log."""
    cpu_seconds: float
    """Of all its threads, up to the end of the inputs."""
    learning_cpu_seconds: float
    model: str
    """The digest of its model at the end of the training log."""
    yardstick_us: float
    """What a fixed piece of work took meanwhile, on the mean."""
    stages: Counter[str]
    """Processor seconds by stage, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a group of workers came to."""

    workers: int
    transactions: int
    cpu_us: float
    """Processor time of all workers per transaction."""
    learning_us: float
    """Of that, what learning takes."""
    examples: int
    """That came of them: each worker learns all."""
    average_precision: float
    models: int
    """Different ones at the end of the training log: one, if all is well."""
    position: int
    seconds: float
    yardstick_us: float
    """What a fixed piece of work took them meanwhile, on the mean."""
    stages_us: dict[str, float] = field(default_factory=dict)
    """Processor time per transaction by stage, where it was asked for."""


def handled(
    settings: Settings,
    workers: int,
    table: Table,
    cores: Sequence[int],
    *,
    beside: Settings | None = None,
    by_stage: bool = False,
) -> Shared:
    """Have a group of workers on these cores handle all there is: a table that was published.

    A worker of another group, whose settings are `beside`, does the same meanwhile, and does not
    count. Raises `SystemExit` where a transaction was decided not at all, or more than once.
    """
    context = get_context("spawn")
    everybody, processes = [], []
    places = [(settings, (number, workers)) for number in range(workers)]
    if beside is not None:
        places.append((beside, (0, 1)))
    for of, place in places:
        here, there = context.Pipe()
        given = (of.model_dump(mode="json"), place, cores, there, by_stage)
        process = context.Process(target=_work, args=given, daemon=True)
        process.start()
        there.close()
        everybody.append(here)
        processes.append(process)
    pipes = everybody[:workers]
    try:
        for pipe in everybody:
            _answer(pipe)
        begun = time.monotonic()
        for pipe in everybody:
            pipe.send("go")
        for pipe in pipes:
            _answer(pipe)
        if not all(process.is_alive() for process in processes[workers:]):
            raise SystemExit("the worker beside ended with an error")
        seconds = time.monotonic() - begun
        reader = connect(settings.bus).reader()
        end = reader.end(TopicPartition(settings.training_topic, 0))
        scores = _scores(settings)
        reader.close()
        for pipe in pipes:
            pipe.send(end)
        shares: list[Share] = [_answer(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    if set(scores) != set(table.frauds):
        raise SystemExit(f"{len(table.frauds) - len(scores)} transactions were not decided")
    count = sum(share.transactions for share in shares)
    graded = sorted(table.graded)
    ranked = np.array([scores[id_] for id_ in graded])
    return Shared(
        workers=workers,
        transactions=count,
        cpu_us=1e6 * sum(share.cpu_seconds for share in shares) / count,
        learning_us=1e6 * sum(share.learning_cpu_seconds for share in shares) / count,
        examples=sum(share.examples for share in shares),
        average_precision=float(
            ranked_average_precision(ranked, np.array([table.frauds[i] for i in graded])) or 0.0
        ),
        models=len({share.model for share in shares}),
        position=end,
        seconds=seconds,
        yardstick_us=float(np.mean([share.yardstick_us for share in shares])),
        stages_us={
            name: 1e6 * spent / count
            for name, spent in sum((share.stages for share in shares), Counter()).most_common()
        },
    )


def _answer(pipe: Any) -> Any:
    if not pipe.poll(_WAITS_SECONDS):
        raise SystemExit("a worker does not come to the end")
    try:
        return pipe.recv()
    except EOFError:
        raise SystemExit("a worker ended with an error") from None


def _scores(settings: Settings) -> dict[str, float]:
    """The score of each transaction that was decided. Raises `SystemExit` for a second one."""
    scores: dict[str, float] = {}
    for _, batch in decided(settings):
        for id_, score in zip(batch.transaction_ids, batch.scores, strict=True):
            if id_ in scores:
                raise SystemExit(f"{id_} was decided twice")
            scores[id_] = score
    return scores


def _without(member: str, spent: Mapping[str, float]) -> Counter[str]:
    """Seconds by stage, threads by what they do for any worker.

    >>> _without("worker-1", {"kafka-io-worker-1": 1.0, "worker-1-network-thread": 2.0})
    Counter({'network-thread': 2.0, 'kafka-io': 1.0})
    """
    found: Counter[str] = Counter()
    for name, seconds in spent.items():
        found[name.replace(f"-{member}", "").replace(f"{member}-", "")] += seconds  # type: ignore[assignment]
    return found


def _measured(worker: Worker) -> Yardstick:
    """Have a worker apply a yardstick every second of its processor time."""
    yardstick, step = Yardstick(), worker.step
    yardstick.measure()  # the first time is dearer
    yardstick.take()
    due = time.process_time()

    def stepped() -> bool:
        nonlocal due
        if time.process_time() >= due:
            yardstick.measure()
            due = time.process_time() + _MEASURED_EVERY_SECONDS
        return step()

    worker.step = stepped  # type: ignore[method-assign]
    return yardstick


def _join(worker: Worker, workers: int, pipe: Any) -> None:
    """Say once this worker has its share of the partitions, and go on when it is told to.

    What it costs when partitions move is no cost of a transaction.
    """
    partitions = worker._partitions
    inputs = [source for at in range(partitions) for source in worker._intake.inputs(at)]
    share = {partitions // workers, -(-partitions // workers)}
    owned: frozenset[int] = frozenset()
    since, told = time.monotonic(), False
    while not pipe.poll():
        worker._consumer.poll(1, 0.1, inputs)
        before, owned = owned, worker._consumer.assignment()
        if owned != before:
            since = time.monotonic()
        if not told and len(owned) in share and time.monotonic() > since + _SETTLED_SECONDS:
            pipe.send("ready")
            told = True
    pipe.recv()


def _work(
    chosen: dict[str, Any], place: tuple[int, int], cores: Sequence[int], pipe: Any, by_stage: bool
) -> None:
    """Be the worker at a place in its group: which one, of how many."""
    number, workers = place
    member = f"worker-{number}"
    os.sched_setaffinity(0, cores)
    take_long_turns()
    set_up_process()  # as `weir detect` does
    settings = Settings(**chosen)
    store = StoreWriter(
        settings.redis, settings.redis_prefix, worker=member, window_expiry_seconds=86_400
    )
    worker = Worker(settings, connect(settings.bus), store, member=member)
    until_end = Event()
    until_end.set()
    _join(worker, workers, pipe)
    measured = _measured(worker)
    cpu = time.process_time()
    with sampled(stages(worker)) if by_stage else nullcontext(Counter[str]()) as spent:
        worker.run(Event(), until_end)
    cpu_seconds = time.process_time() - cpu - measured.seconds
    examples, (_, learning_seconds) = worker.reporting.counts["examples"], worker._learned()
    pipe.send("done")
    worker._training.learn(pipe.recv())  # what others have sent since
    pipe.send(
        Share(
            transactions=worker.reporting.counts["decisions"],
            examples=examples,
            cpu_seconds=cpu_seconds,
            learning_cpu_seconds=learning_seconds,
            model=digest(worker.detector.model),
            yardstick_us=measured.take(),
            stages=_without(member, spent),
        )
    )
    pipe.recv()  # the parent ends it
