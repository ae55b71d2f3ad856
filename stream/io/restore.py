"""Brings the account state of partitions to the committed positions, without any output."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from stream.core.detector import Detector
from stream.io.bus import Broker, Consumer, Reader, TopicPartition
from stream.io.checkpoint import Checkpoint
from stream.io.dead_letters import refused
from stream.io.intake import Intake, handle
from stream.io.training import TrainingLog

log = logging.getLogger(__name__)

Positions = dict[TopicPartition, int]

_STILL_THERE_SECONDS = 5.0


def restore(
    partitions: Iterable[int],
    detector: Detector,
    broker: Broker,
    consumer: Consumer,
    *,
    training: TrainingLog,
    checkpoint: Checkpoint | None,
    go_on: Callable[[], bool],
) -> Positions | None:
    """Open the account state of partitions and return the positions from which work goes on.

    It is loaded from a snapshot where one fits. Records from there, or from the beginning of the
    topics, up to the committed positions are handled again, and what comes of them is dropped: it
    was published when they were committed. What became a dead letter then is left out, also where
    it could be read by now: it was not decided, and a replay of it will be. Where the model is not
    ahead already, it learns the log alongside, as far as it had learned at that time: so scores
    come out as they were given.

    `go_on` is asked every few seconds; where it says no, None is returned and nothing is open.
    """
    intake = Intake(detector.settings)
    reader = broker.reader()
    start: Positions = {}
    goal: Positions = {}
    partitions, whole = list(partitions), False
    try:
        for partition in partitions:
            shard = detector.open(partition)
            saved = checkpoint.load_shard(partition, shard) if checkpoint else None
            begin, end = _span(intake.inputs(partition), saved or {}, reader, consumer)
            if saved is None or any(begin[source] > end[source] for source in end):
                detector.open(partition)  # no snapshot, or one of other topics: begin anew
                begin, end = _span(intake.inputs(partition), {}, reader, consumer)
            start |= begin
            goal |= end
            intake.open(partition)
        dead = refused(broker, detector.settings.dead_letters_topic, start, goal)
        reader.assign(start)
        done, total = 0, sum(goal[source] - start[source] for source in goal)
        looked = time.monotonic()
        while len(intake) or any(reader.position(s) < goal[s] for s in goal):
            batch = intake.take(lambda s: reader.position(s) >= goal[s])
            if batch:
                outcome = handle(detector, batch)
                done += len(batch)
                if outcome.joined:
                    training.learn_slice(intake.label_slice(batch))
            else:
                records = reader.poll(detector.settings.max_batch, 0.5)
                intake.put(
                    r
                    for r in records
                    if r.offset < goal[TopicPartition(r.topic, r.partition)]
                    and (r.topic, r.partition, r.offset) not in dead
                )
            if time.monotonic() - looked > _STILL_THERE_SECONDS:
                looked = time.monotonic()
                log.info("partitions %s: %d of %d records handled again", partitions, done, total)
                if not go_on():
                    break
        else:
            log.info("partitions %s: state restored, %d records handled again", partitions, total)
            whole = True
    finally:
        reader.close()
        if not whole:  # half a state is none
            for partition in partitions:
                detector.shards.pop(partition, None)
    return goal if whole else None


def _span(
    sources: Iterable[TopicPartition], saved: Positions, reader: Reader, consumer: Consumer
) -> tuple[Positions, Positions]:
    """Return the positions from which to handle again, and those up to which."""
    start, goal = {}, {}
    for source in sources:
        first, end = reader.beginning(source), reader.end(source)
        committed = consumer.committed(source) or 0
        if committed > end:
            log.warning("%s ends at %d, and %d was committed", source, end, committed)
        goal[source] = max(min(committed, end), first)
        start[source] = max(saved.get(source, first), first)
    return start, goal
