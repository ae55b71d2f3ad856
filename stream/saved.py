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
from stream.io.bus import Broker, BusError, Message, Reader, TopicPartition, connect
from stream.io.checkpoint import Checkpoint
from stream.io.security import kafka_security
from stream.io.state import Damaged, Saved, find, identity, read_all
from stream.settings import Settings


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
    partitions = _partitions(broker, settings)
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
    partitions = _partitions(broker, settings)
    reader, publisher, forgotten = broker.reader(), broker.publisher(), 0
    try:
        for partition in range(partitions):
            keys = read_all(reader, settings, partition)
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


def _partitions(broker: Broker, settings: Settings) -> int:
    found = broker.topics().get(settings.state_topic)
    if found is None:
        raise BusError(
            f"There is no topic {settings.state_topic!r} at {broker.url}. Make it with "
            "`weir topics create`."
        )
    return found


def _account_state(
    settings: Settings, reader: Reader, detector: Detector, partition: int, *, thorough: bool
) -> Finding:
    what = f"accounts of partition {partition}"
    held = read_all(reader, settings, partition)
    found, _ = find(reader, settings, partition)
    if found is None:
        problem = "what is there is not whole" if held else ""
        return Finding(what, "nothing", None, None, problem)
    manifest = found.manifest
    shard = detector.open(partition)
    wanted = identity(settings, shard)
    other = [name for name, value in wanted.items() if manifest.identity.get(name) != value]
    problem = f"made with another {' and '.join(other)}" if other else ""
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
        f"number {manifest.number}, {_ago(age.total_seconds())}: {manifest.accounts:,} accounts, "
        f"{manifest.pending:,} pending"
    )
    del detector.shards[partition]
    return Finding(what, said, manifest.size_bytes, behind, problem)


def _damage(found: Saved, detector: Detector, partition: int) -> str:
    try:
        found.restore(detector.open(partition))
    except Damaged as damage:
        return str(damage)
    return ""


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
    other = checkpoint.differing(header)
    problem = f"made with another {' and '.join(other)}" if other else ""
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


def _ago(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
