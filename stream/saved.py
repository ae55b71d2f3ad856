"""What is saved of a worker's state: shown, verified, and forgotten."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from stream.core.detector import Detector
from stream.core.model import Model
from stream.io.bus import Message, Reader, TopicPartition, connect, partitions_of
from stream.io.checkpoint import Checkpoint
from stream.io.security import kafka_security
from stream.io.state import Damaged, Saved, newest, read
from stream.settings import Settings
from stream.watch.words import duration


class Finding(NamedTuple):
    """One thing that is saved. `problem` says why it would not be used, and is empty where it is.

    `behind` is how many records a worker that starts handles again, or examples it learns.
    """

    what: str
    saved: str
    size_bytes: int | None
    behind: int | None
    problem: str

    def asdict(self) -> dict[str, Any]:
        return self._asdict()


def show(settings: Settings, *, thorough: bool, as_json: bool) -> bool:
    """Print what is saved, and return whether all of it can be used.

    `thorough` reads it as a worker would: every chunk, every array, and the pickled model.
    """
    findings = list(look(settings, thorough=thorough))
    if as_json:
        print(json.dumps([finding.asdict() for finding in findings], indent=2))
    else:
        _print(findings, thorough=thorough)
    return not any(finding.problem for finding in findings)


def look(settings: Settings, *, thorough: bool) -> Iterator[Finding]:
    """Look at the account state of each partition on the bus, and at the model on the disk."""
    broker = connect(settings.bus, kafka_security(settings))
    partitions = partitions_of(broker, settings.state_topic)
    consumed = broker.reader()
    try:
        detector = Detector(settings, Model(settings), partitions)
        for partition in range(partitions):
            yield _account_state(settings, consumed, detector, partition, thorough=thorough)
        yield _model(settings, consumed, thorough=thorough)
    finally:
        consumed.close()


def reset(settings: Settings) -> int:
    """Forget the account state on the bus and the model on the disk; return how much that was.

    A worker that starts afterwards rebuilds both from the topics, as far as these reach back.
    """
    broker = connect(settings.bus, kafka_security(settings))
    partitions = partitions_of(broker, settings.state_topic)
    reader, publisher, forgotten = broker.reader(), broker.publisher(), 0
    try:
        for partition in range(partitions):
            keys = read(reader, settings, partition)
            publisher.publish(
                [Message(settings.state_topic, key, None, partition=partition) for key in keys]
            )
            forgotten += bool(keys)
        publisher.flush()
    finally:
        publisher.close()
        reader.close()
    if settings.state_dir is not None:
        checkpoint = Checkpoint(settings.state_dir, settings)
        forgotten += checkpoint.path.exists()
        checkpoint.path.unlink(missing_ok=True)
    return forgotten


def _account_state(
    settings: Settings, reader: Reader, detector: Detector, partition: int, *, thorough: bool
) -> Finding:
    what = f"accounts of partition {partition}"
    held = read(reader, settings, partition)
    found, _ = newest(held, settings, partition)
    if found is None:
        problem = "what is there is not whole" if held else ""
        return Finding(what, "nothing", None, None, problem)
    manifest = found.manifest
    shard = detector.open(partition)
    problem = _made_with_another(manifest.differing(settings, shard))
    if thorough and not problem:
        problem = _damage(found, detector, partition)
    inputs = (settings.transactions_topic, settings.labels_topic)
    behind = sum(
        max(reader.end(source) - at, 0)
        for source, at in manifest.positions.items()
        if source.topic in inputs
    )
    age = datetime.now(UTC) - manifest.made_at
    said = (
        f"number {manifest.number}, {duration(max(age.total_seconds(), 0.0))} ago: "
        f"{manifest.accounts:,} accounts, {manifest.pending:,} pending"
    )
    del detector.shards[partition]
    return Finding(what, said, manifest.size_bytes, behind, problem)


def _damage(found: Saved, detector: Detector, partition: int) -> str:
    try:
        found.restore(detector.open(partition))
    except Damaged as damage:
        return str(damage)
    return ""


def _made_with_another(differing: list[str]) -> str:
    return f"made with another {' and '.join(differing)}" if differing else ""


def _model(settings: Settings, reader: Reader, *, thorough: bool) -> Finding:
    log_end = reader.end(TopicPartition(settings.training_topic, 0))
    if settings.state_dir is None:
        return Finding("model", "nothing: no WEIR_STATE_DIR", None, log_end, "")
    checkpoint = Checkpoint(settings.state_dir, settings)
    try:
        header = checkpoint.header()
    except ValueError as error:
        return Finding("model", str(checkpoint.path), None, log_end, f"cannot be read: {error}")
    if header is None:
        return Finding("model", "nothing", None, log_end, "")
    problem = _made_with_another(checkpoint.differing(header))
    if thorough and not problem and checkpoint.load() is None:
        problem = "cannot be read"
    position = int(header["position"])
    return Finding(
        "model",
        f"position {position:,} of the training log",
        checkpoint.path.stat().st_size,
        max(log_end - position, 0),
        problem,
    )


def _print(findings: list[Finding], *, thorough: bool) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("what", "saved"):
        table.add_column(name)
    for name in ("size", "to do again"):
        table.add_column(name, justify="right")
    table.add_column("well" if thorough else "usable")
    for finding in findings:
        table.add_row(
            finding.what,
            finding.saved,
            "" if finding.size_bytes is None else f"{finding.size_bytes / 1e6:,.1f} MB",
            "" if finding.behind is None else f"{finding.behind:,}",
            finding.problem or ("" if finding.size_bytes is None else "yes"),
        )
    # Not cut to the width of a terminal where there is none.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)
