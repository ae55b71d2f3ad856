"""The flags of `weir-produce`, and how their texts are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from producers.columns import COLUMNS, FIELDS
from producers.scenario import PATTERNS, NewPattern, Scenario, Shift
from stream.io.security import INSTEAD_OF_A_FLAG
from stream.settings import PASSWORDS, Settings

T = TypeVar("T")


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 30m, 1h, 7d or 1d12h. Raises `ValueError` for anything else.

    >>> duration("1d12h")
    datetime.timedelta(days=1, seconds=43200)
    """
    import pandas as pd  # noqa: PLC0415 - takes half a second, and most commands read no duration

    try:
        if not any(letter.isalpha() for letter in text):
            raise ValueError("no unit")  # pandas would read nanoseconds
        value = pd.Timedelta(text.strip().replace("d", "D")).to_pytimedelta()  # days are D there
        if value < timedelta(0):
            raise ValueError("negative")
    except (ValueError, AttributeError):  # AttributeError: "nat" is read as no time at all
        raise ValueError("not a duration; write 90s, 30m, 1h or 7d") from None
    return value


def moment(text: str) -> datetime:
    """Read a moment as ISO 8601 has it, as UTC where it has no offset.

    >>> moment("2026-01-31").isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.utcoffset() is None else found.astimezone(UTC)


def _shift(text: str) -> Shift:
    day, _, factor = text.partition(":")
    return Shift(_amount(day), _amount(factor))


def _new_pattern(text: str) -> NewPattern:
    day, _, pattern = text.partition(":")
    return NewPattern(_amount(day), pattern)


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text} is not a number of 0 or more")
    return value


def _above_zero(text: str) -> float:
    value = _amount(text)
    if not value:
        raise ValueError("must be above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("must be 1 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text} is not within 0 and 1")
    return value


def _read(reader: Callable[[str], T]) -> Callable[[str], T]:
    """Make argparse show what the reader's `ValueError` says."""

    def read(text: str) -> T:
        try:
            return reader(text)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(f"{text!r}: {problem}") from None

    return read


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated flags, nor do its commands: `--bus`, where a command has
    none, would be `--bus-patience-seconds`."""

    def __init__(self, **given: Any) -> None:
        super().__init__(allow_abbrev=False, **given)


class RefusedFlag(argparse.Action):
    """A password as a flag: refused with what to do instead."""

    def __call__(self, parser: argparse.ArgumentParser, *given: object) -> None:
        parser.error(
            f"{given[-1]} is no flag: flags are read by everyone (ps). {INSTEAD_OF_A_FLAG}"
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = Parser(
        prog="weir-produce",
        description="Put transactions, and later their labels, on the bus.",
        epilog="Exit codes: 0 done, or stopped by SIGTERM; 1 failure; 2 usage or settings; "
        "130 stopped by SIGINT. Topics, partitions and keys come from WEIR_* settings.",
    )
    commands = root.add_subparsers(dest="source", required=True, metavar="SOURCE")
    paysim = commands.add_parser(
        "paysim",
        help="the generator: mobile money after the published PaySim calibration",
        description="Generate mobile money transactions with fraud, seeded. Goes on for ever "
        "unless --days or --transactions is given. The same flags give the same stream; so "
        "a producer that is started again begins it again, unless --seed or --start differ.",
    )
    _generator_flags(paysim)
    replay = commands.add_parser(
        "replay",
        help="a table: the rows of a CSV file",
        description="Replay the rows of a CSV file (also .gz, .bz2, .zip, .xz, .zst), which must "
        "be in event-time order.",
    )
    _table_flags(replay)
    for command in (paysim, replay):
        _common_flags(command)
    return root


def _generator_flags(command: argparse.ArgumentParser) -> None:
    usual = Scenario()
    flags = command.add_argument_group("generator")
    flags.add_argument(
        "--fraud-rate",
        type=_read(_share),
        default=usual.fraud_rate,
        metavar="SHARE",
        help="share of frauds among transactions, over a long run (default: %(default)s)",
    )
    flags.add_argument(
        "--clients",
        type=_read(_count),
        default=usual.clients,
        metavar="N",
        help="accounts that pay: each makes about one transaction a day, few of them many "
        "(default: %(default)s)",
    )
    flags.add_argument(
        "--days", type=_read(_above_zero), metavar="N", help="days of event time (default: no end)"
    )
    flags.add_argument(
        "--start",
        type=_read(moment),
        metavar="ISO",
        help="event time of the first day, ISO 8601, UTC where no offset is given (default: the "
        "settings' step origin, 2026-01-01)",
    )
    flags.add_argument(
        "--shift",
        type=_read(_shift),
        action="append",
        default=[],
        metavar="DAY:FACTOR",
        help="from that day on (0 is the first) the fraud rate is FACTOR times --fraud-rate; "
        "repeatable",
    )
    flags.add_argument(
        "--patterns",
        type=lambda text: tuple(text.split(",")),
        default=PATTERNS,
        metavar="A,B",
        help=f"fraud patterns (default: {','.join(PATTERNS)})",
    )
    flags.add_argument(
        "--new-pattern",
        type=_read(_new_pattern),
        action="append",
        default=[],
        metavar="DAY:NAME",
        help="this pattern is absent before that day; repeatable",
    )
    flags.add_argument(
        "--uneven-days",
        action="store_true",
        help="let days differ as in the published month, which thins out; by default all are alike",
    )


def _table_flags(command: argparse.ArgumentParser) -> None:
    flags = command.add_argument_group("table")
    flags.add_argument("file", type=Path, metavar="FILE", help="the table")
    flags.add_argument(
        "--columns", choices=sorted(COLUMNS), help="what the columns are: a known table"
    )
    flags.add_argument(
        "--map",
        metavar="FIELD=COLUMN,...",
        help="which column is which field, over --columns or without it; FIELD==TEXT is a text "
        f"that every row gets. Fields: {', '.join(FIELDS)}",
    )


def _common_flags(command: argparse.ArgumentParser) -> None:
    settings = Settings.model_fields
    flags = command.add_argument_group("labels")
    flags.add_argument(
        "--label-delay",
        type=_read(duration),
        default=timedelta(days=7),
        metavar="DURATION",
        help="event time from a transaction to its label: 90s, 30m, 1h, 7d (default: 7d)",
    )
    flags.add_argument(
        "--label-delay-spread",
        type=_read(duration),
        default=timedelta(0),
        metavar="DURATION",
        help="mean of an exponential delay on top (default: none)",
    )
    flags.add_argument(
        "--label-fraction",
        type=_read(_share),
        default=1.0,
        metavar="SHARE",
        help="share of transactions that ever get a label (default: 1)",
    )
    flags.add_argument(
        "--correct-labels",
        type=_read(_share),
        default=0.0,
        metavar="SHARE",
        help="share of labels that are wrong, until a second label, one delay later, corrects them "
        "(default: 0)",
    )
    flags.add_argument(
        "--no-final-labels",
        action="store_true",
        help="keep back the labels not yet due at the end; by default they leave at once then, "
        "dated when they are due",
    )
    flags = command.add_argument_group("pace (default: as fast as it goes)")
    pace = flags.add_mutually_exclusive_group()
    pace.add_argument(
        "--speed",
        type=_read(_above_zero),
        metavar="FACTOR",
        help="seconds of event time per second: 60 is an hour a minute",
    )
    pace.add_argument(
        "--rate",
        type=_read(_above_zero),
        metavar="N",
        help="transactions per second: the mean over a day of the generator, which keeps its "
        "swings; even spacing for a table",
    )
    flags = command.add_argument_group("run")
    flags.add_argument(
        "--transactions",
        "--limit",
        type=_read(_count),
        metavar="N",
        help="end after so many transactions (default: no limit)",
    )
    flags.add_argument(
        "--seed",
        type=int,
        default=7,
        metavar="N",
        help="seed of everything random here (default: %(default)s)",
    )
    flags.add_argument(
        "--bus",
        metavar="URL",
        help=f"{settings['bus'].description} (default: WEIR_BUS, else {settings['bus'].default})",
    )
    for name in PASSWORDS:
        flag = "--" + name.replace("_", "-")
        flags.add_argument(flag, action=RefusedFlag, help=argparse.SUPPRESS)
    flags.add_argument(
        "--create-topics",
        action="store_true",
        help="create the topics of transactions and labels where they are missing",
    )
    flags.add_argument(
        "--summary", type=Path, metavar="FILE", help="write the final counts as JSON there"
    )
    flags.add_argument("--quiet", action="store_true", help="show no progress")
