"""`weir audit`: read the log and the windows, and write what they say."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from stream.audit import AuditError
from stream.audit.facts import facts
from stream.audit.pages import page
from stream.audit.quality import Quality, read_windows
from stream.audit.refold import Refold
from stream.audit.trail import Trail, read_log
from stream.evaluation import RequestError
from stream.evaluation.progress import Progress
from stream.events import LiveReport
from stream.io.background import Background
from stream.io.bus import Reader, TopicPartition, connect, partitions_of
from stream.io.security import kafka_security, redis_security
from stream.io.store import StoreReader
from stream.settings import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    from_seconds: float
    to_seconds: float
    folder: Path
    refold: bool
    until_position: int | None
    without_redis: bool
    command: str


def request_of(args: argparse.Namespace) -> Request:
    """Return what the flags ask for. Raises `RequestError`."""
    since = -math.inf if args.since is None else args.since.timestamp()
    until = math.inf if args.until is None else args.until.timestamp()
    if since >= until:
        raise RequestError("--to is not later than --from: there is nothing between them")
    folder: Path = args.out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"--out {folder} cannot be written to: choose another folder")
    return Request(
        since,
        until,
        folder,
        args.refold,
        args.until_position,
        args.without_redis,
        args.command,
    )


def run_audit(settings: Settings, request: Request, stop: Event) -> dict[str, Any]:
    """Write `audit.json` and `audit.html`, and return what they say.

    Raises `RequestError`, `AuditError`, and what bus and Redis raise.
    """
    quality, live = (None, []) if request.without_redis else _windows(settings, request)
    broker = connect(settings.bus, kafka_security(settings))
    partitions_of(broker, settings.training_topic)
    trail, refold = Trail(request.from_seconds, request.to_seconds, settings.align_seconds), None
    if request.refold:
        try:
            refold = Refold(settings, quality.marks if quality else ())
        except ValueError as error:  # a learner or policy that is not known
            raise RequestError(str(error)) from error
    with closing(broker.reader()) as reader:
        positions = _read(settings, request, reader, trail, refold, stop=stop)
    if not trail.count:
        raise AuditError(
            f"the training log ({settings.training_topic}, positions {positions[0]} to "
            f"{positions[1]}) holds no example of that time: nothing was learned. Give another "
            "--from and --to"
        )
    found = facts(
        settings,
        broker.url,
        positions=positions,
        trail=trail,
        quality=quality,
        live=live,
        refold=refold,
    )
    found["command"] = request.command
    (request.folder / "audit.json").write_text(
        json.dumps(found, indent=2, allow_nan=False) + "\n", "utf-8"
    )
    (request.folder / "audit.html").write_text(page(found), "utf-8")
    for name in ("audit.html", "audit.json"):
        sys.stdout.write(f"{request.folder / name}\n")
    return found


def _windows(settings: Settings, request: Request) -> tuple[Quality, list[LiveReport]]:
    with closing(
        StoreReader(settings.redis, settings.redis_prefix, redis_security(settings))
    ) as reader:
        return (
            read_windows(reader, request.from_seconds, request.to_seconds),
            reader.live(),
        )


def _read(
    settings: Settings,
    request: Request,
    reader: Reader,
    trail: Trail,
    refold: Refold | None,
    *,
    stop: Event,
) -> tuple[int, int]:
    """Read the log, once; return from which position to which."""
    source = TopicPartition(settings.training_topic, 0)
    first, end = reader.beginning(source), reader.end(source)
    if request.until_position is not None:
        if not first <= request.until_position <= end:
            raise RequestError(
                f"--until-position {request.until_position}: the log holds positions {first} to "
                f"{end}"
            )
        end = request.until_position
    if refold is not None and first > 0:
        raise AuditError(
            f"the training log begins at position {first}: what was learned before is gone, so "
            "that no fold of it comes to the model in force. Leave out --refold"
        )
    fitting = Background("weir-fit")
    note = "folding the training log" if refold else "reading the training log"
    try:
        if refold is not None:
            refold.model.fit_in(fitting)
        with Progress(end - first, note) as progress:
            reached = 0.0
            for record in read_log(reader, source, first, end):
                counted = trail.add(record)
                if refold is not None:
                    refold.learn(record)
                reached = counted.timestamp.timestamp() if counted else reached
                progress.advance(1, reached)
                if stop.is_set():
                    raise AuditError("stopped before the log was read: nothing was written")
    finally:
        fitting.shutdown(wait=False, cancel_futures=True)
    if refold is not None:
        refold.compare(end)
    return first, end
