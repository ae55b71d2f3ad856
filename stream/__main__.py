"""The command line, and the only place where parts are put together."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

from pydantic import BaseModel, ValidationError

from stream import __doc__ as journey
from stream.events import Alert, Example, Label, Transaction
from stream.io.bus import (
    BusAddressError,
    BusError,
    BusUnavailable,
    TooManyRejects,
    TopicSpec,
    connect,
)
from stream.io.redis_link import StoreError, StoreUnavailable
from stream.log import configure
from stream.settings import Settings

log = logging.getLogger("stream")

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_REJECTS = range(5)
EXITS = """\
exit codes: 0 done; 1 failure; 2 flags or settings not understood; 3 bus or Redis not there;
4 too many messages that cannot be read; 130 interrupted twice"""

_SCHEMAS: dict[str, type[BaseModel]] = {
    "transaction": Transaction,
    "label": Label,
    "alert": Alert,
    "example": Example,
}
_COMMON = ("bus", "redis", "log_format", "log_level")


class UsageError(Exception):
    """Flags or settings that are not understood; the message names the key, not the value."""


_ENDINGS: dict[type[Exception], int] = {  # the first that fits
    UsageError: EXIT_USAGE,
    BusAddressError: EXIT_USAGE,
    BusUnavailable: EXIT_UNAVAILABLE,
    TooManyRejects: EXIT_REJECTS,
    BusError: EXIT_FAILURE,
    StoreUnavailable: EXIT_UNAVAILABLE,
    StoreError: EXIT_USAGE,  # an address that is not understood
    OSError: EXIT_FAILURE,  # a full disk, a folder that is not there
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    args = _parser().parse_args(argv)
    try:
        settings = load_settings(args)
        configure(settings.log_format, settings.log_level)
        code: int = args.run(settings, args)
    except BrokenPipeError:  # whoever read us has gone, as in `weir alerts | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_OK
    except tuple(_ENDINGS) as error:
        code = next(code for kind, code in _ENDINGS.items() if isinstance(error, kind))
        print(f"weir: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    return code


def load_settings(args: argparse.Namespace) -> Settings:
    """Return the settings: flags first, then the environment. Raises `UsageError`."""
    given = {k: v for k, v in vars(args).items() if k in Settings.model_fields and v is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))} (WEIR_{str(item['loc'][0]).upper()}): {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise UsageError("settings not understood: " + "; ".join(problems)) from None


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Return the five topics as the settings want them."""
    inputs, example_bytes = settings.max_message_bytes, 1_048_576
    return [
        TopicSpec(settings.transactions_topic, settings.partitions, inputs),
        TopicSpec(settings.labels_topic, settings.partitions, inputs),
        TopicSpec(settings.alerts_topic, settings.partitions),
        TopicSpec(
            settings.training_topic, 1, example_bytes, {"retention.ms": "-1"}
        ),  # the model is rebuilt from it: kept for ever
        TopicSpec(settings.dead_letters_topic, 1, inputs + 65_536),
    ]


def detect(settings: Settings, args: argparse.Namespace) -> int:
    """Run a worker until it is told to stop."""
    from stream.core.evaluate import Scorecard
    from stream.io.store import StoreWriter
    from stream.io.worker import Worker

    stop, until_end = stop_on_signals(), Event()
    if args.until_end:
        until_end.set()
    scorecard = Scorecard(args.score_from) if args.summary else None
    member = settings.worker_id or socket.gethostname()
    store = StoreWriter(
        settings.redis,
        settings.redis_prefix,
        worker=member,
        window_expiry_seconds=settings.window_expiry_seconds,
    )
    worker = None
    try:
        try:
            worker = Worker(
                settings, connect(settings.bus), store, member=member, scorecard=scorecard
            )
        except ValueError as error:  # a learner or policy that is not known
            raise UsageError(str(error)) from error
        worker.run(stop, until_end)
    finally:
        if worker is not None:
            worker.close()
        store.close(timeout_seconds=5.0)
    if args.summary and scorecard:
        args.summary.write_text(json.dumps(worker.summary(), indent=2) + "\n")
    return EXIT_OK


def watch(settings: Settings, args: argparse.Namespace) -> int:
    """Show the rolling metrics."""
    from stream.io.store import StoreReader
    from stream.watch.terminal import watch as show

    stop = stop_on_signals()
    reader = StoreReader(settings.redis, settings.redis_prefix)
    if args.once:
        stop.set()
        reader.ping()
    show(reader, refresh_seconds=args.refresh, plain=args.plain or None, stop=stop)
    return EXIT_OK


def alerts(settings: Settings, args: argparse.Namespace) -> int:
    """Print the alerts."""
    from stream.watch.alerts import follow_alerts

    broker = connect(settings.bus)
    partitions = broker.topics().get(settings.alerts_topic)
    if partitions is None:
        raise BusError(
            f"Topic {settings.alerts_topic!r} is not there. Make it with `weir topics create`."
        )
    follow_alerts(
        broker.reader(),
        settings.alerts_topic,
        partitions,
        follow=args.follow,
        as_json=args.json,
        stop=stop_on_signals(),
    )
    return EXIT_OK


def topics(settings: Settings, _: argparse.Namespace) -> int:
    """Make the topics that are missing."""
    specs = topic_specs(settings)
    made = connect(settings.bus).create_topics(specs)
    for spec in specs:
        state = "created" if spec.name in made else "there already"
        print(f"{spec.name:<16} {spec.partitions:>3} partition(s)  {state}")
    return EXIT_OK


def schema(_: Settings, args: argparse.Namespace) -> int:
    """Print the JSON Schema of an event."""
    print(json.dumps(_SCHEMAS[args.event].model_json_schema(), indent=2))
    return EXIT_OK


def check(settings: Settings, _: argparse.Namespace) -> int:
    """Tell whether broker, topics and Redis are there, and what to do if not."""
    from stream.check import look

    code = EXIT_OK
    for finding in look(settings, topic_specs(settings)):
        print(f"{'ok' if finding.well else 'FAIL':<5} {finding.what:<8} {finding.text}")
        code = code if finding.well else EXIT_UNAVAILABLE
    return code


def demo(settings: Settings, args: argparse.Namespace) -> int:
    """Run generator, worker and view together."""
    from stream.demo import run_demo

    return run_demo(settings, args, topic_specs, stop_on_signals())


def stop_on_signals() -> Event:
    """Return an event that SIGTERM or SIGINT sets; a second one ends the process at once."""
    stop = Event()

    def on_signal(number: int, _: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log.info(
            "%s: finishing the batch at hand; again to end at once", signal.Signals(number).name
        )

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 30m, 1h or 7d."""
    from producers.options import duration as read

    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def _there(text: str) -> Path:
    """A file to read: said at once where it is not there, and not at the end of a run."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text)


def _to_write(text: str) -> Path:
    if not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder for {text!r}")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weir",
        description=str(journey).splitlines()[0],
        epilog=EXITS + "\nEvery setting is also read from the environment, as WEIR_<NAME>.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Settings, argparse.Namespace], int], about: str) -> Any:
        sub = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=EXITS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    sub = command("demo", demo, "generator or table, worker and live view on the embedded bus")
    sub.add_argument(
        "--replay", type=_there, metavar="FILE", help="a table instead of the generator"
    )
    sub.add_argument(
        "--columns",
        choices=("paysim", "card"),
        default="paysim",
        help="of the table (default: %(default)s)",
    )
    sub.add_argument(
        "--label-delay",
        type=duration,
        default="1d",
        metavar="DURATION",
        help="event time from a transaction to its label (default: %(default)s)",
    )
    sub.add_argument(
        "--score-from",
        type=duration,
        default="3d",
        metavar="DURATION",
        help="quality counts from this event time after the start (default: %(default)s)",
    )
    sub.add_argument(
        "--transactions",
        type=_count,
        metavar="N",
        help="end after so many (default: 36000; with --replay all)",
    )
    sub.add_argument("--no-view", action="store_true", help="plain lines even on a terminal")
    sub.add_argument("--summary", type=_to_write, metavar="FILE", help="write the summary as JSON")
    _settings_flags(sub, exclude=("bus", "redis", "group", "worker_id", "state_dir", "partitions"))

    sub = command("detect", detect, "a worker: scores transactions, joins labels, learns")
    sub.add_argument("--until-end", action="store_true", help="stop once all there is was handled")
    sub.add_argument(
        "--summary",
        type=_to_write,
        metavar="FILE",
        help="write counts and quality as JSON at the end; keeps every score in memory",
    )
    sub.add_argument(
        "--score-from",
        type=duration,
        default="0s",
        metavar="DURATION",
        help="quality counts from this event time after the start (default: %(default)s)",
    )
    _settings_flags(sub)

    sub = command("watch", watch, "the rolling metrics, live")
    sub.add_argument("--plain", action="store_true", help="plain lines even on a terminal")
    sub.add_argument("--once", action="store_true", help="show how it stands, and end")
    sub.add_argument(
        "--refresh",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="time between two looks (default: %(default)s)",
    )
    _settings_flags(sub, only=(*_COMMON, "redis_prefix"))

    sub = command("alerts", alerts, "the alerts, from the beginning of their topic")
    sub.add_argument("--follow", action="store_true", help="wait for new ones")
    sub.add_argument("--json", action="store_true", help="one JSON object a line, as on the topic")
    _settings_flags(sub, only=(*_COMMON, "alerts_topic"))

    topic_names = tuple(name for name in Settings.model_fields if name.endswith("_topic"))
    sub = command("topics", topics, "make the topics that are missing")
    sub.add_argument("action", choices=("create",))
    _settings_flags(sub, only=(*_COMMON, *topic_names, "partitions", "max_message_bytes"))

    sub = command("schema", schema, "the JSON Schema of what is on a topic")
    sub.add_argument("event", choices=tuple(_SCHEMAS))

    sub = command("check", check, "are broker, topics and Redis there, and what to do if not")
    _settings_flags(sub, only=(*_COMMON, *topic_names, "partitions"))
    return parser


def _settings_flags(
    parser: argparse.ArgumentParser, only: Sequence[str] = (), exclude: Sequence[str] = ()
) -> None:
    """Give the parser a flag for each setting; pydantic reads the values."""
    group = parser.add_argument_group("settings", "each also from the environment: WEIR_<NAME>")
    for name, field in Settings.model_fields.items():
        if name in exclude or (only and name not in only):
            continue
        default = field.get_default()
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        note = "" if default is None else f" (default: {shown})"
        flag = "--" + name.replace("_", "-")
        group.add_argument(
            flag, dest=name, metavar="VALUE", help=f"{field.description}{note}".replace("%", "%%")
        )


if __name__ == "__main__":
    sys.exit(main())
