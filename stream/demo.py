"""Generator or table, worker and view together, on one machine with nothing installed."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread

from rich.console import Console
from rich.table import Table

from stream.core.evaluate import Scorecard
from stream.io.bus import Broker, TopicSpec, connect
from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreReader, StoreWriter
from stream.io.worker import Worker
from stream.settings import CREDENTIALS, Settings
from stream.watch.terminal import watch

_GENERATED = {"transactions": 36_000, "clients": 3_000, "rate": 600, "fraud-rate": 0.01}
"""Twelve days of a small bank in about a minute. The fraud rate is above PaySim's 0.0013, so that
so few transactions hold enough frauds to learn from."""
_WINDOW_SECONDS = 6 * 3600


class _Work(Thread):
    """The worker, wholly in its thread, because bus connections belong to one."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        store: StoreWriter,
        *,
        scorecard: Scorecard,
        stop: Event,
        until_end: Event,
    ) -> None:
        super().__init__(name="worker")
        self.over = Event()
        self.failure: BaseException | None = None
        self.summary: dict[str, float | None] = {}
        self._settings, self._broker, self._store = settings, broker, store
        self._scorecard, self._stop_asked, self._until_end = scorecard, stop, until_end

    def run(self) -> None:
        try:
            worker = Worker(
                self._settings, self._broker, self._store, member="demo", scorecard=self._scorecard
            )
            try:
                worker.run(self._stop_asked, self._until_end)
            finally:
                worker.close()
            self._store.flush(timeout_seconds=2.0)  # so that the last picture is of the end
            self.summary = worker.summary()
        except BaseException as error:
            self.failure = error
        finally:
            self.over.set()


def run_demo(
    settings: Settings,
    args: argparse.Namespace,
    topic_specs: Callable[[Settings], Sequence[TopicSpec]],
    stop: Event,
) -> int:
    """Run producer, worker and view until the stream ends; print and write a summary.

    The producer is a process of its own, as it would be in production; bus and Redis are those
    of this run alone and gone afterwards. With the web page all stays up after the end of the
    stream, so that people can look and mark alerts, until `stop` is set. Returns the exit code.
    """
    if not args.replay:
        args.transactions = args.transactions or _GENERATED["transactions"]
    plain = args.no_view or not sys.stdout.isatty()
    if not plain and not args.page:
        logging.getLogger("stream").setLevel(logging.WARNING)  # lines would tear the picture
    with tempfile.TemporaryDirectory(prefix="weir-demo-") as folder, LocalRedisServer() as redis:
        here = {"bus": f"sqlite:///{folder}/bus.db", "redis": redis.url, "partitions": 1}
        here |= dict.fromkeys(CREDENTIALS)  # those are for other servers
        if not args.replay and "window_seconds" not in settings.model_fields_set:
            here["window_seconds"] = _WINDOW_SECONDS
        settings = settings.model_copy(update=here)
        broker = connect(settings.bus)
        broker.create_topics(topic_specs(settings))
        store = StoreWriter(
            settings.redis,
            settings.redis_prefix,
            worker="demo",
            window_expiry_seconds=settings.window_expiry_seconds,
        )
        until_end = Event()
        work = _Work(
            settings,
            broker,
            store,
            scorecard=Scorecard(args.score_from),
            stop=stop,
            until_end=until_end,
        )
        producer = subprocess.Popen(_producer_command(settings, args))  # noqa: S603 - ourselves

        def await_producer() -> None:
            producer.wait()
            if not args.page:
                until_end.set()

        try:
            work.start()
            Thread(target=await_producer, daemon=True).start()
            reader = StoreReader(settings.redis, settings.redis_prefix)
            if args.page:
                _serve(settings, reader, broker, args, until=work.over)
            else:
                watch(
                    reader,
                    refresh_seconds=0.5,
                    plain=plain,
                    stop=work.over,
                    total=args.transactions,
                )
        finally:
            if not work.over.is_set():
                stop.set()
            work.join()
            producer.terminate()
            store.close(timeout_seconds=5.0)
        if (failure := work.failure) is not None:
            raise failure
        if producer.wait() != 0 and not stop.is_set():
            return 1  # it has said why
    _show(work.summary)
    if args.summary:
        args.summary.write_text(json.dumps(work.summary, indent=2) + "\n")
    return 0


def _serve(
    settings: Settings, reader: StoreReader, broker: Broker, args: argparse.Namespace, until: Event
) -> None:
    """Serve the web page until the worker has ended."""
    from stream.watch.dashboard import Address, Dashboard  # noqa: PLC0415 - only where it is shown

    address = Address(args.host, args.port, tuple(args.allow_host))
    page = Dashboard(settings, reader, lambda: broker, address, total=args.transactions)
    page.start()
    told = f"The page is at {page.link}\nIt stays when the stream has ended; Ctrl-C ends all."
    Console(stderr=True).print(told, soft_wrap=True, highlight=False, markup=False)
    try:
        until.wait()
    finally:
        page.stop()


def _producer_command(settings: Settings, args: argparse.Namespace) -> list[str]:
    """The command line of the producer, as a person would type it."""
    flags = {
        "--bus": settings.bus,
        "--seed": settings.seed,
        "--label-delay": f"{args.label_delay.total_seconds()}s",
        "--transactions": args.transactions,
    }
    source = ["paysim", *(f"--{name}={value}" for name, value in _GENERATED.items())]
    if args.replay:
        source = ["replay", str(args.replay), "--columns", args.columns]
    given = [f"{flag}={value}" for flag, value in flags.items() if value is not None]
    return [sys.executable, "-m", "producers", *source, "--quiet", *given]


def _show(summary: Mapping[str, object]) -> None:
    """Print the summary: what went through, and how well it was judged."""
    table = Table(title="Summary", title_justify="left", show_header=False, box=None)
    for name, value in summary.items():
        if value is None:
            text = "–"
        elif isinstance(value, float):
            text = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        else:
            text = f"{value:,}"
        table.add_row(name.replace("_", " "), text)
    Console().print(table)
