"""What open pages cost: the worker's processor time for a transaction with and without them, and
what the dashboard takes meanwhile.

    python benchmarks/pages.py --pages 50 --seconds 600 [--json FILE]

Runs generator, worker and dashboard as processes, on the embedded bus. First no page is open for a
quarter of the time, then so many for `--seconds`, then none again: what the worker takes without
them is the mean of before and after, as a transaction also costs more the more is known. A page is
a client of the server-sent events that reads all it is sent; ranges are shared out among them.

Processor time and memory are read from /proc, so this runs on Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

sys.path.append(str(Path(__file__).parents[1]))

from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreReader
from stream.watch.timeline import RANGES
from tests.servers.place import Place

_TICK_SECONDS = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_SAMPLES = 20
_DAYS = 12


class Used(NamedTuple):
    """What processes have taken so far, and what the worker has done with it."""

    at: float
    worker_seconds: float
    dashboard_seconds: float
    decisions: int


class Phase(NamedTuple):
    """What a part of the run took."""

    pages: int
    seconds: float
    transactions: int
    worker_us_per_transaction: float
    dashboard_share_of_a_core: float


@dataclass
class Read:
    """What the pages were sent."""

    events: int = 0
    megabytes: float = 0.0


class Run:
    """The processes, and what is read off them."""

    def __init__(self, place: Place, args: argparse.Namespace) -> None:
        total = int(args.rate * args.seconds * 1.7)
        self._worker = place.start("stream", "detect")
        self._dashboard, self.link = place.dashboard()
        place.start(
            "producers",
            "paysim",
            f"--transactions={total}",
            f"--clients={max(total // _DAYS, 200)}",
            f"--rate={args.rate}",
            "--fraud-rate=0.01",
            "--label-delay=1d",
            "--quiet",
        )
        self._reader = StoreReader(place.redis.url, "weir")

    def used(self) -> Used:
        """Return what has been taken until now."""
        return Used(
            time.monotonic(),
            processor_seconds(self._worker),
            processor_seconds(self._dashboard),
            sum(report.decisions for report in self._reader.live()),
        )

    def memory_mb(self) -> float:
        """Return the resident memory of the dashboard."""
        return float(Path(f"/proc/{self._dashboard.pid}/statm").read_text().split()[1]) * _PAGE_MB

    def wait_for(self, decisions: int) -> None:
        """Return when so many have been decided."""
        while self.used().decisions < decisions:
            time.sleep(0.5)

    def close(self) -> None:
        self._reader.close()


def main() -> None:
    """Run it, and print what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600.0, help="with pages open")
    parser.add_argument("--rate", type=float, default=300.0, help="transactions per second")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    settings = {"window_seconds": 3600, "partitions": 2, "learner": "linear"}
    with tempfile.TemporaryDirectory() as folder, LocalRedisServer() as redis:
        place = Place(Path(folder), redis, settings)
        try:
            run = Run(place, args)
            with closing(run):
                found = measured(run, args.pages, args.seconds)
        finally:
            place.stop()
    for name, value in found.items():
        print(f"{name.replace('_', ' '):<44} {value}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


def measured(run: Run, pages: int, seconds: float) -> dict[str, float]:
    """Return the figures of a run without pages, with them, and without again."""
    run.wait_for(1_000)
    before, _, _ = phase(run, 0, seconds / 4)
    during, memory, read = phase(run, pages, seconds)
    after, _, _ = phase(run, 0, seconds / 4)
    without = (before.worker_us_per_transaction + after.worker_us_per_transaction) / 2
    return {
        "pages": pages,
        "seconds_with_pages": round(during.seconds, 1),
        "transactions": before.transactions + during.transactions + after.transactions,
        "worker_us_per_transaction_before": round(before.worker_us_per_transaction, 1),
        "worker_us_per_transaction_with_pages": round(during.worker_us_per_transaction, 1),
        "worker_us_per_transaction_after": round(after.worker_us_per_transaction, 1),
        "worker_with_pages_over_without": round(during.worker_us_per_transaction / without, 3),
        "dashboard_share_of_a_core_without_pages": round(before.dashboard_share_of_a_core, 4),
        "dashboard_share_of_a_core_with_pages": round(during.dashboard_share_of_a_core, 4),
        "dashboard_mb_before": round(memory[0], 1),
        "dashboard_mb_after_a_tenth": round(memory[len(memory) // 10], 1),
        "dashboard_mb_half_way": round(memory[len(memory) // 2], 1),
        "dashboard_mb_at_the_end": round(memory[-1], 1),
        "events_per_page_and_second": round(read.events / max(pages, 1) / during.seconds, 2),
        "kb_per_page_and_second": round(read.megabytes * 1e3 / max(pages, 1) / during.seconds, 1),
    }


def phase(run: Run, pages: int, seconds: float) -> tuple[Phase, list[float], Read]:
    """Have so many pages open for so long; return what was taken, memory on the way, what came."""
    first, read, memory = run.used(), Read(), [run.memory_mb()]

    async def go() -> None:
        clients = [asyncio.create_task(page(run.link, n, read)) for n in range(pages)]
        for _ in range(_SAMPLES):
            await asyncio.sleep(seconds / _SAMPLES)
            memory.append(run.memory_mb())
            for client in clients:
                if client.done():
                    client.result()  # raises what ended it
                    raise RuntimeError("the dashboard closed a page")
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    asyncio.run(go())
    last = run.used()
    took, done = last.at - first.at, last.decisions - first.decisions
    return (
        Phase(
            pages,
            took,
            done,
            1e6 * (last.worker_seconds - first.worker_seconds) / max(done, 1),
            (last.dashboard_seconds - first.dashboard_seconds) / took,
        ),
        memory,
        read,
    )


async def page(link: str, number: int, read: Read) -> None:
    """Open the events of a range, and read on for ever."""
    address = urlsplit(link)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    range_ = RANGES[number % len(RANGES)].name
    asked = f"GET /events?range={range_} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
    try:
        writer.write(asked.encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"the dashboard answered {status!r}")
        while got := await reader.read(65_536):
            read.events += got.count(b"event: ")
            read.megabytes += len(got) / 1e6
    finally:
        writer.close()


def processor_seconds(process: subprocess.Popen[str]) -> float:
    """Return the processor time of a process, in seconds."""
    # Behind the name, which may hold blanks: user and system time are the 12th and 13th.
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS


if __name__ == "__main__":
    main()
