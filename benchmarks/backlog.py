"""A worker far behind: does the memory that it takes depend on how far?

    python benchmarks/backlog.py --transactions 100000 400000

Publishes so many transactions of the generator and their labels, as fast as it goes, then starts a
worker, which finds them all there, and waits until it has caught up. For each number it prints the
most memory that the producer and the worker had resident, and how long the worker took. What a
worker knows is bounded low here, to what the smallest backlog fills, windows are days, and the
learner is a small one: what is left are the buffers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from stream.io.bus import TopicPartition, connect

CLIENTS = 20_000
"""Transactions a day of event time: labels are a day late, so as many are on their way."""
SETTINGS = {
    "WEIR_MAX_ACCOUNTS": "20000",
    "WEIR_MAX_PENDING": "40000",
    "WEIR_LEARNER": "linear",
    "WEIR_WINDOW_SECONDS": "86400",
    "WEIR_REDIS": "redis://127.0.0.1:1/0",  # nowhere: reports wait, and scoring goes on
    "WEIR_LOG_LEVEL": "ERROR",
}


@dataclass(frozen=True, slots=True)
class Caught:
    """What it took to publish a backlog and to catch up with it."""

    transactions: int
    partitions: int
    producer_mb: float
    """Most resident memory."""
    worker_mb: float
    alerts: int
    seconds: float
    """From the start of the worker to its end."""


def caught_up(transactions: int, partitions: int, bus: str | None = None) -> Caught:
    """Publish a backlog and have a worker catch up with it; `bus`: a Kafka, else a file."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"backlog-{os.getpid()}-{transactions}"
        url = bus or f"sqlite:///{folder}/bus.db"
        topics = ("transactions", "labels", "alerts", "training", "dead_letters")
        environment = (
            os.environ
            | SETTINGS
            | {f"WEIR_{topic.upper()}_TOPIC": f"{name}-{topic}" for topic in topics}
            | {"WEIR_BUS": url, "WEIR_GROUP": name, "WEIR_PARTITIONS": str(partitions)}
        )
        _ran(["stream", "topics", "create"], environment)
        size = ["--transactions", str(transactions), "--clients", str(CLIENTS)]
        produce = ["producers", "paysim", *size, "--label-delay", "1d", "--quiet"]
        producer_mb = _ran(produce, environment)
        begun = time.monotonic()
        worker_mb = _ran(["stream", "detect", "--until-end"], environment)
        seconds = time.monotonic() - begun
        with closing(connect(url).reader()) as reader:
            topic = f"{name}-alerts"
            alerts = sum(reader.end(TopicPartition(topic, at)) for at in range(partitions))
    return Caught(
        transactions=transactions,
        partitions=partitions,
        producer_mb=round(producer_mb, 1),
        worker_mb=round(worker_mb, 1),
        alerts=alerts,
        seconds=round(seconds, 1),
    )


def _ran(command: list[str], environment: dict[str, str]) -> float:
    """Run a module with its arguments; return the most memory it had resident, in MB."""
    child = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Print a line for each backlog."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transactions", type=int, nargs="+", default=[100_000, 400_000])
    parser.add_argument("--partitions", type=int, default=1, metavar="N")
    parser.add_argument("--bus", metavar="URL", help="kafka://HOST:PORT; default: a new file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    args = parser.parse_args()
    print(f"{'backlog':>10}{'producer MB':>13}{'worker MB':>11}{'alerts':>9}{'seconds':>9}")
    found = []
    for transactions in args.transactions:
        caught = caught_up(transactions, args.partitions, args.bus)
        found.append(asdict(caught))
        print(
            f"{caught.transactions:>10,}{caught.producer_mb:>13.0f}{caught.worker_mb:>11.0f}"
            f"{caught.alerts:>9,}{caught.seconds:>9.0f}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
