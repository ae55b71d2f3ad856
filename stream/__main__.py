"""The command line, and the only place where parts are put together."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from producers.columns import COLUMNS, TableError
from producers.options import Parser, RefusedFlag
from stream import __doc__ as journey
from stream import dead_letters as letters
from stream.audit import AuditError
from stream.evaluation import OF_THE_BUS, GradingError, RequestError
from stream.events import Alert, Decided, Example, Label, Transaction
from stream.io.bus import (
    BusAddressError,
    BusError,
    BusRefused,
    BusUnavailable,
    TooManyRejects,
    TopicSpec,
    connect,
    partitions_of,
)
from stream.io.redis_link import StoreError, StoreRefused, StoreUnavailable
from stream.io.security import (
    SecurityError,
    kafka_security,
    redis_security,
    refuse_password,
)
from stream.log import configure
from stream.process import set_up_process
from stream.settings import CREDENTIALS, PASSWORDS, OwnError, Settings
from stream.shadow import ReplayError

if TYPE_CHECKING:
    from stream.io.store import StoreReader

log = logging.getLogger("stream")

T = TypeVar("T")

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_REJECTS, EXIT_REFUSED = range(6)
EXITS = """\
exit codes: 0 done; 1 failure; 2 flags or settings not understood; 3 bus or Redis not there;
4 too many messages that cannot be read; 5 bus or Redis refuse us: user, password, certificate,
rights; 130 interrupted twice"""

_SCHEMAS: dict[str, type[BaseModel]] = {
    "transaction": Transaction,
    "label": Label,
    "alert": Alert,
    "example": Example,
    "decided": Decided,
}
_DECIDED_BYTES = 8_388_608
"""Of a batch as large as the settings allow, with ids as long as they may be."""
_STATE_CONFIG = {
    "cleanup.policy": "compact",
    "retention.ms": "-1",
    # A worker that starts reads all of it, so what was replaced is to go soon.
    "segment.bytes": "33554432",
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "900000",
    "delete.retention.ms": "3600000",
}
_COMMON = ("bus", "redis", *CREDENTIALS, "log_format", "log_level")


class UsageError(Exception):
    """Flags or settings that are not understood; the message names the key, not the value."""


_ENDINGS: dict[type[Exception], int] = {  # the first that fits
    UsageError: EXIT_USAGE,
    OwnError: EXIT_USAGE,
    RequestError: EXIT_USAGE,
    TableError: EXIT_FAILURE,
    GradingError: EXIT_FAILURE,
    ReplayError: EXIT_FAILURE,
    AuditError: EXIT_FAILURE,
    SecurityError: EXIT_USAGE,
    BusAddressError: EXIT_USAGE,
    BusRefused: EXIT_REFUSED,
    BusUnavailable: EXIT_UNAVAILABLE,
    TooManyRejects: EXIT_REJECTS,
    BusError: EXIT_FAILURE,
    StoreRefused: EXIT_REFUSED,
    StoreUnavailable: EXIT_UNAVAILABLE,
    StoreError: EXIT_USAGE,  # an address that is not understood
    OSError: EXIT_FAILURE,  # a full disk, a folder that is not there
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    sys.path.append(str(Path.cwd()))  # for learners and features of the user's own
    args = _parser().parse_args(argv)
    args.command = shlex.join(["weir", *(sys.argv[1:] if argv is None else argv)])
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
    for name in ("bus", "redis"):
        refuse_password(given.get(name), f"--{name}")
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))} (WEIR_{str(item['loc'][0]).upper()}): {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise UsageError("settings not understood: " + "; ".join(problems)) from None


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Return the topics as the settings want them."""
    inputs, example_bytes = settings.max_message_bytes, 1_048_576
    return [
        TopicSpec(settings.transactions_topic, settings.partitions, inputs),
        TopicSpec(settings.labels_topic, settings.partitions, inputs),
        TopicSpec(settings.alerts_topic, settings.partitions),
        TopicSpec(
            settings.training_topic, 1, example_bytes, {"retention.ms": "-1"}
        ),  # the model is rebuilt from it: kept for ever
        TopicSpec(settings.fits_topic, 1, config={"retention.ms": "-1"}),  # spares fitting anew
        TopicSpec(settings.dead_letters_topic, 1, inputs + 65_536),
        TopicSpec(settings.decisions_topic, settings.partitions, _DECIDED_BYTES),
        TopicSpec(settings.state_topic, settings.partitions, 1_048_576, _STATE_CONFIG),
    ]


def detect(settings: Settings, args: argparse.Namespace) -> int:
    """Run a worker until it is told to stop."""
    from stream.core.evaluate import Scorecard
    from stream.io.store import StoreWriter
    from stream.io.worker import Worker

    set_up_process()
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
        security=redis_security(settings),
    )
    worker = None
    try:
        try:
            broker = connect(settings.bus, kafka_security(settings))
            worker = Worker(settings, broker, store, member=member, scorecard=scorecard)
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
    from stream.watch.terminal import watch as show

    stop = stop_on_signals()
    reader = _reader(settings, once=args.once)
    if args.once:
        stop.set()
    show(reader, refresh_seconds=args.refresh, plain=args.plain or None, stop=stop)
    return EXIT_OK


def metrics(settings: Settings, args: argparse.Namespace) -> int:
    """Answer Prometheus."""
    from stream.watch.metrics import serve
    from stream.watch.snapshot import Watcher

    serve(Watcher(_reader(settings)), args.host, args.port, stop_on_signals())
    return EXIT_OK


def dashboard(settings: Settings, args: argparse.Namespace) -> int:
    """Serve the web page."""
    from stream.watch.dashboard import Address, Dashboard

    page = Dashboard(
        settings,
        _reader(settings),
        lambda: connect(settings.bus, kafka_security(settings)),
        Address(args.host, args.port, tuple(args.allow_host)),
    )
    stop = stop_on_signals()
    page.start()
    print(f"The page is at {page.link}", flush=True)
    while not stop.wait(1.0) and page.serving:
        pass
    served = page.serving
    page.stop()
    return EXIT_OK if served else EXIT_FAILURE


def _reader(settings: Settings, *, once: bool = False) -> StoreReader:
    """What reads from Redis: that need not be there yet, but is not to refuse."""
    from stream.io.store import StoreReader

    reader = StoreReader(settings.redis, settings.redis_prefix, redis_security(settings))
    try:
        reader.ping()
    except StoreUnavailable as error:
        if once or isinstance(error, StoreRefused):
            raise
    return reader


def alerts(settings: Settings, args: argparse.Namespace) -> int:
    """Print the alerts."""
    from stream.watch.alerts import Wanted, follow_alerts

    broker = connect(settings.bus, kafka_security(settings))
    partitions = partitions_of(broker, settings.alerts_topic)
    follow_alerts(
        broker.reader(),
        settings.alerts_topic,
        partitions,
        follow=args.follow,
        as_json=args.json,
        wanted=Wanted(**{name: getattr(args, name) for name in Wanted.__dataclass_fields__}),
        limit=args.limit,
        from_beginning=not args.new,
        stop=stop_on_signals(),
    )
    return EXIT_OK


def dead_letters(settings: Settings, args: argparse.Namespace) -> int:
    """List, show or replay what could not be read."""
    letters.run(settings, args, stop_on_signals())
    return EXIT_OK


def topics(settings: Settings, _: argparse.Namespace) -> int:
    """Make the topics that are missing."""
    specs = topic_specs(settings)
    made = connect(settings.bus, kafka_security(settings)).create_topics(specs)
    for spec in specs:
        state = "created" if spec.name in made else "there already"
        print(f"{spec.name:<16} {spec.partitions:>3} partition(s)  {state}")
    return EXIT_OK


def state(settings: Settings, args: argparse.Namespace) -> int:
    """Show, verify or forget what is saved of a worker's state."""
    from stream.saved import reset, show

    if args.action != "reset":
        sound = show(settings, thorough=args.action == "verify", as_json=args.json)
        return EXIT_OK if sound else EXIT_FAILURE
    if not args.yes:
        raise UsageError(
            "reset forgets the account state of all partitions and the model's snapshot, and a "
            "worker that starts rebuilds them from the topics, as far as these reach back. Stop "
            "the workers, then give --yes"
        )
    print(f"forgotten: {reset(settings)}")
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
        if not finding.well:
            code = max(code, EXIT_REFUSED if finding.refused else EXIT_UNAVAILABLE)
    return code


def demo(settings: Settings, args: argparse.Namespace) -> int:
    """Run generator, worker and view together."""
    from stream.demo import run_demo

    set_up_process()
    return run_demo(settings, args, topic_specs, stop_on_signals())


def evaluate(settings: Settings, args: argparse.Namespace) -> int:
    """Run the detector over a table and grade it."""
    from stream.evaluation.command import run_evaluation

    set_up_process()
    return run_evaluation(settings, args)


def replay(settings: Settings, args: argparse.Namespace) -> int:
    """Decide once more, with other settings, what was decided."""
    from stream.shadow.command import run_replay
    from stream.shadow.request import CHALLENGED, request_of

    set_up_process()
    given = {name: value for name, value in vars(args).items() if name not in CHALLENGED}
    in_force = load_settings(argparse.Namespace(**given))
    run_replay(request_of(settings, in_force, args), stop_on_signals())
    return EXIT_OK


def audit(settings: Settings, args: argparse.Namespace) -> int:
    """Write what was learned from, what was done about its balance, and how it did."""
    from stream.audit.command import request_of, run_audit

    set_up_process()
    run_audit(settings, request_of(args), stop_on_signals())
    return EXIT_OK


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

    return _understood(read, text)


def _understood(read: Callable[[str], T], text: str) -> T:
    """What a reader of flags makes of a text, its complaint said as argparse wants it."""
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def _moment(text: str) -> datetime | timedelta | None:
    from stream.shadow.request import moment

    return _understood(moment, text)


def _instant(text: str) -> datetime | None:
    found = _moment(text)
    if isinstance(found, timedelta):
        raise argparse.ArgumentTypeError(f"{text!r}: write a time such as 2026-03-01")
    return found


def _key_name(text: str) -> str:
    from stream.shadow.request import name_of_key

    return _understood(name_of_key, text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535, or 0 for any")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not within 0 and 1")
    return share


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return amount


def _ratio(text: str) -> float:
    """Legitimate transactions to one fraud: 200 or 1:200."""
    ratio = _amount(text.removeprefix("1:"))
    if ratio == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: give how many legitimate ones to a fraud")
    return ratio


def _strategies(text: str) -> tuple[str, ...]:
    known = get_args(Settings.model_fields["rebalance"].annotation)
    names = tuple(text.split(","))
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f"{name!r} is there twice")
    return names


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
    parser = Parser(
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

    _demo_flags(
        command("demo", demo, "generator or table, worker and live view on the embedded bus")
    )

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

    _evaluate_flags(command("evaluate", evaluate, "the detector over a table, graded; no broker"))

    _looking_back(command)

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

    sub = command("metrics", metrics, "the same figures for Prometheus, at /metrics")
    sub.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: %(default)s)"
    )
    sub.add_argument("--port", type=_port, default=9464, help="default: %(default)s")
    _settings_flags(sub, only=(*_COMMON, "redis_prefix"))

    sub = command("dashboard", dashboard, "the web page: live figures, alerts, marking them")
    _address_flags(sub)
    needed = ("redis_prefix", "labels_topic", "key_field", "window_expiry_seconds")
    _settings_flags(sub, only=(*_COMMON, *needed, "dashboard_token", "dashboard_token_file"))

    sub = command("alerts", alerts, "the alerts, from the beginning of their topic")
    _alert_flags(sub)
    _settings_flags(sub, only=(*_COMMON, "alerts_topic"))

    sub = command("dead-letters", dead_letters, "what could not be read: list, show, replay")
    for action in letters.add_actions(sub, EXITS):
        _settings_flags(action, only=letters.SETTINGS)

    topic_names = tuple(name for name in Settings.model_fields if name.endswith("_topic"))
    sub = command("topics", topics, "make the topics that are missing")
    sub.add_argument("action", choices=("create",))
    _settings_flags(sub, only=(*_COMMON, *topic_names, "partitions", "max_message_bytes"))

    sub = command("state", state, "what is saved of a worker's state")
    sub.add_argument(
        "action",
        choices=("show", "verify", "reset"),
        help="show it; verify: read all of it as a worker would; reset: forget it",
    )
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub.add_argument("--yes", action="store_true", help="of reset: do it")
    _settings_flags(sub)

    sub = command("schema", schema, "the JSON Schema of what is on a topic")
    sub.add_argument("event", choices=tuple(_SCHEMAS))

    sub = command("check", check, "are broker, topics and Redis there, and what to do if not")
    _settings_flags(sub, only=(*_COMMON, *topic_names, "partitions"))
    return parser


_EVALUATE = """\
Runs the detector of production over a CSV file in event-time order, without broker or Redis: each
transaction is scored by what was known before it, its label comes --label-delay later, and the
scores and decisions given are graded. See docs/evaluate.md.

  weir evaluate card.csv.gz --columns card --label-delay 7d --score-from 60d
  weir evaluate paysim.csv --columns paysim --label-delay 1d --compare none,under,auto --report out
  weir evaluate own.csv --map timestamp=WHEN,nameOrig=PAYER,nameDest=SHOP,amount=SUM,type==CARD,\
is_fraud=VERDICT
"""
_EVALUATE_VALUES = """\
values:
  DURATION       90s, 30m, 1h, 7d or 1d12h
  --learner      auto, linear, forest, boosted, or package.module:function, a function of your own
                 that returns a River classifier or pipeline
  --rebalance    auto, none, under, over, hybrid, weights, smote, borderline or hard
  --threshold    f_beta:1, precision_at_least:0.8, recall_at_least:0.6, cost:25, alert_budget:20 (in
                 a window) or alert_budget:100/1d

"""


def _demo_flags(sub: argparse.ArgumentParser) -> None:
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
    sub.add_argument(
        "--page",
        action="store_true",
        help="the web page instead of the view in the terminal; stays until it is interrupted",
    )
    _address_flags(sub)
    sub.add_argument("--summary", type=_to_write, metavar="FILE", help="write the summary as JSON")
    alone = ("bus", "redis", "group", "worker_id", "state_dir", "partitions")
    _settings_flags(sub, exclude=(*alone, *CREDENTIALS))


def _address_flags(sub: argparse.ArgumentParser) -> None:
    """Where the web page is served."""
    sub.add_argument(
        "--host",
        default="127.0.0.1",
        help="address the page listens at; beyond the loopback, reading needs the token, too "
        "(default: %(default)s)",
    )
    sub.add_argument(
        "--port", type=_port, default=9465, help="of the page; 0: any (default: %(default)s)"
    )
    sub.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name the page is reached by, such as a proxy's; may be given again",
    )


def _evaluate_flags(sub: argparse.ArgumentParser) -> None:
    sub.usage = (
        "weir evaluate FILE (--columns paysim|card | --map FIELD=COLUMN,...) [flags]\n"
        "       weir evaluate --help"
    )
    sub.description, sub.epilog = _EVALUATE, _EVALUATE_VALUES + EXITS
    sub.add_argument(
        "file", nargs="?", type=_there, metavar="FILE", help="a CSV file, plain or compressed"
    )
    sub.add_argument(
        "--columns", choices=sorted(COLUMNS), help="what they are, for a table that is known"
    )
    sub.add_argument(
        "--map",
        metavar="FIELD=COLUMN,...",
        help="which column is which field, over --columns or without it; FIELD==TEXT is a text "
        "that every row gets",
    )
    sub.add_argument(
        "--label-delay",
        type=duration,
        default="7d",
        metavar="DURATION",
        help="event time from a transaction to its label (default: %(default)s)",
    )
    sub.add_argument(
        "--score-from",
        type=duration,
        default="0s",
        metavar="DURATION",
        help="graded from this event time after the first transaction (default: %(default)s)",
    )
    sub.add_argument("--transactions", type=_count, metavar="N", help="end after so many rows")
    sub.add_argument(
        "--false-alarm-cost",
        type=_amount,
        metavar="AMOUNT",
        help="of an alert that was no fraud, for the figure `cost` (default: that of a threshold "
        "cost:AMOUNT, else 10)",
    )
    sub.add_argument(
        "--compare",
        type=_strategies,
        metavar="A,B,...",
        help="run these values of --rebalance one after the other, and show them side by side",
    )
    sub.add_argument(
        "--share",
        dest="target_share",
        metavar="SHARE",
        help="of frauds, aimed at in what is learned; short for --target-share. auto finds its own",
    )
    group = sub.add_argument_group("a harder table; graded by the truth all the same")
    thin = group.add_mutually_exclusive_group()
    thin.add_argument(
        "--thin-frauds",
        type=_ratio,
        metavar="RATIO",
        help="leave out frauds until there is one to RATIO legitimate transactions",
    )
    thin.add_argument(
        "--thin-legitimate",
        type=_ratio,
        metavar="RATIO",
        help="leave out legitimate transactions until there are RATIO to a fraud",
    )
    group.add_argument(
        "--label-fraction",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="share of transactions that ever get a label (default: 1)",
    )
    group.add_argument(
        "--wrong-labels",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of labels, of either class, that say the opposite of the truth (default: 0)",
    )
    group = sub.add_argument_group("what comes out")
    group.add_argument("--json", action="store_true", help="the figures as one JSON object")
    group.add_argument("--summary", type=_to_write, metavar="FILE", help="the same into a file")
    group.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write DIR/index.html: figures and pictures on one page (needs weir[report])",
    )
    _settings_flags(sub, exclude=OF_THE_BUS)


def _alert_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--follow", action="store_true", help="wait for new ones")
    sub.add_argument("--new", action="store_true", help="only those from now on")
    sub.add_argument("--json", action="store_true", help="one JSON object a line, as on the topic")
    sub.add_argument("--limit", type=_count, metavar="N", help="end after so many")
    sub.add_argument(
        "--since", type=_instant, metavar="TIME", help="event time from which on, ISO 8601, as UTC"
    )
    sub.add_argument("--until", type=_instant, metavar="TIME", help="event time before which")
    sub.add_argument("--min-score", type=_share, metavar="SCORE", help="of this score or more")
    sub.add_argument("--min-amount", type=_amount, metavar="AMOUNT", help="of this amount or more")
    sub.add_argument("--type", metavar="TYPE", help="of this type")
    sub.add_argument("--account", metavar="NAME", help="from or to this account")
    sub.add_argument("--transaction-id", metavar="ID", help="of this transaction")


def _looking_back(command: Callable[..., argparse.ArgumentParser]) -> None:
    _replay_flags(
        command("replay", replay, "what other settings would have decided; publishes nothing")
    )
    _audit_flags(command("audit", audit, "a report of what was learned from, and of its balance"))


_REPLAY = """\
A challenger: decides once more what the workers have decided, from --from on, with other settings,
and compares. It reads transactions, labels, decisions and the training log; it joins no group,
publishes nothing, and writes to Redis under a prefix of its own. (To publish the rows of a table
instead: weir-produce replay.) See docs/replay.md.

  weir replay --from 7d --threshold precision_at_least:0.8
  weir replay --from 2026-03-01 --learner linear --rebalance none --name plain --json plain.json
  weir replay --from 1d --threshold cost:25 --follow
"""
_REPLAY_VALUES = """\
values:
  TIME           2026-03-01, 2026-03-01T12:00:00Z, or a duration such as 7d: so long before the
                 newest transaction that was decided, all in event time; or: beginning
  DURATION       90s, 30m, 1h, 7d or 1d12h

"""
_NOT_OF_A_REPLAY = (
    *("group", "worker_id", "state_dir", "partitions", "max_message_bytes", "delivery"),
    *("reject_share", "reject_window", "checkpoint_seconds", "bus_patience_seconds"),
    *("alerts_topic", "fits_topic", "dead_letters_topic", "state_topic", "align_seconds"),
    "learning_budget_us",
)


def _replay_flags(sub: argparse.ArgumentParser) -> None:
    sub.description, sub.epilog = _REPLAY, _REPLAY_VALUES + EXITS
    sub.add_argument(
        "--from",
        dest="since",
        type=_moment,
        required=True,
        metavar="TIME",
        help="transactions count from this event time on",
    )
    sub.add_argument(
        "--warm",
        type=duration,
        default="7d",
        metavar="DURATION",
        help="decide so much from before it, too, so that account history is warm; it does not "
        "count (default: %(default)s)",
    )
    sub.add_argument(
        "--unlearned",
        action="store_true",
        help="begin with a model that knows nothing; default: it has learned the training log up "
        "to there, as the model in force had",
    )
    sub.add_argument("--follow", action="store_true", help="go on with what is decided, until told")
    sub.add_argument(
        "--name",
        type=_key_name,
        metavar="NAME",
        help="of the challenger in Redis (default: made of the settings that are its own)",
    )
    sub.add_argument("--json", type=_to_write, metavar="FILE", help="write the comparison as JSON")
    sub.add_argument(
        "--false-alarm-cost",
        type=_amount,
        metavar="AMOUNT",
        help="for the figure `cost` (default: that of a threshold cost:AMOUNT)",
    )
    sub.add_argument_group(
        "the challenger's own",
        "--threshold, --learner, --rebalance, --target-share, --features and --alert-budget below; "
        "all other settings are to be as in force",
    )
    _settings_flags(sub, exclude=_NOT_OF_A_REPLAY)


_AUDIT = """\
Writes DIR/audit.html and DIR/audit.json: class balance by day and what was done about it,
thresholds, metrics and segments with intervals, corrections, alarms, and a digest of the training
log by which the audit can be repeated. See docs/audit.md.

  weir audit --out audit
  weir audit --from 2026-03-01 --to 2026-04-01 --out march --refold
"""


def _audit_flags(sub: argparse.ArgumentParser) -> None:
    sub.description = _AUDIT
    about = "time of the transactions: 2026-03-01 or 2026-03-01T12:00:00Z, UTC unless it says"
    sub.add_argument(
        "--from", dest="since", type=_instant, metavar="TIME", help=f"first {about} (default: all)"
    )
    sub.add_argument(
        "--to", dest="until", type=_instant, metavar="TIME", help="before this one (default: all)"
    )
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="made if need be")
    sub.add_argument(
        "--refold",
        action="store_true",
        help="learn the whole log anew: does it come to the model in force, and what has drifted?",
    )
    sub.add_argument(
        "--until-position",
        type=_count,
        metavar="N",
        help="read the log up to there: what an earlier audit read (default: all of it)",
    )
    sub.add_argument(
        "--without-redis", action="store_true", help="of the training log alone: no windows"
    )
    _settings_flags(sub, exclude=_NOT_OF_A_REPLAY)


def _settings_flags(
    parser: argparse.ArgumentParser, only: Sequence[str] = (), exclude: Sequence[str] = ()
) -> None:
    """Give the parser a flag for each setting; pydantic reads the values."""
    group = parser.add_argument_group("settings", "each also from the environment: WEIR_<NAME>")
    for name, field in Settings.model_fields.items():
        if name in exclude or (only and name not in only):
            continue
        flag = "--" + name.replace("_", "-")
        if name in PASSWORDS:
            group.add_argument(flag, action=RefusedFlag, help=argparse.SUPPRESS)
            continue
        default = field.get_default()
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        note = "" if default is None else f" (default: {shown})"
        group.add_argument(
            flag, dest=name, metavar="VALUE", help=f"{field.description}{note}".replace("%", "%%")
        )


if __name__ == "__main__":
    sys.exit(main())
