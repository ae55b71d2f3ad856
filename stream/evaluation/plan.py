"""What is evaluated, and how: read off the flags, and refused at once where it makes no sense."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from producers.columns import COLUMNS, Columns, TableError
from stream.core.policies import Cost, parse_policy
from stream.evaluation import GradingError, RequestError
from stream.evaluation.distort import Distortion, keep_rate
from stream.evaluation.table import Size, size
from stream.settings import Settings

FALSE_ALARM_COST = 10.0
"""Of an alert that was none, where neither a flag nor the threshold policy says."""
_WITHOUT_SHARE = ("auto", "none")
"""Values of `rebalance` that a target share means nothing to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is evaluated, and how: the same for all that are compared."""

    path: Path
    columns: Columns
    label_delay: timedelta
    score_from: timedelta
    limit: int | None
    false_alarm_cost: float
    distortion: Distortion
    size: Size | None
    """None where the table could not be looked at beforehand."""


def plan_of(settings: Settings, args: argparse.Namespace, strategies: Sequence[str]) -> Plan:
    """Return what the flags ask for.

    Raises `RequestError` for what makes no sense, and `GradingError` for a table that is seen
    beforehand to hold no fraud.
    """
    columns = _columns(args)
    cost = _false_alarm_cost(settings, args.false_alarm_cost)
    _check_share(args, strategies)
    if args.report:
        _check_report(args.report)
    try:
        there = size(args.file, columns, args.transactions)
    except (ValueError, OSError, EOFError):
        there = None  # reading it will say why
    if there is not None and there.legitimate == there.rows:
        raise GradingError(
            f"{args.file}: there is no fraud among its {there.rows:,} rows, so that neither recall "
            "nor average precision is defined. Give a longer table."
            if there.rows
            else f"{args.file} is empty: there is a header and no row below it"
        )
    distortion = Distortion(
        settings.seed, label_fraction=args.label_fraction, wrong_labels=args.wrong_labels
    )
    if there is not None and (args.thin_frauds or args.thin_legitimate):
        distortion, there = _thinned(distortion, there, args.thin_frauds, args.thin_legitimate)
    return Plan(
        path=args.file,
        columns=columns,
        label_delay=args.label_delay,
        score_from=args.score_from,
        limit=args.transactions,
        false_alarm_cost=cost,
        distortion=distortion,
        size=there,
    )


def in_words(span: timedelta) -> str:
    """Return a span of event time as people say it.

    >>> in_words(timedelta(days=60)), in_words(timedelta(minutes=90)), in_words(timedelta())
    ('60 days', '1.5 hours', '0 seconds')
    """
    seconds = span.total_seconds()
    units = {"day": 86_400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0}
    unit = next((unit for unit, length in units.items() if seconds >= length), "second")
    count = seconds / units[unit]
    return f"{count:.3g} {unit}{'' if count == 1 else 's'}"


def _columns(args: argparse.Namespace) -> Columns:
    if args.file is None:
        raise RequestError(
            "no table: give `weir evaluate FILE --columns paysim|card`, or --map field=COLUMN,... "
            "for any other CSV file with a column of labels"
        )
    columns = COLUMNS[args.columns] if args.columns else Columns({})
    if args.map:
        try:
            columns = columns.mapped(args.map)
        except TableError as error:
            raise RequestError(f"--map: {error}") from None
    if not columns.fields:
        raise RequestError(
            f"what are the columns of {args.file}? Give --columns {' or '.join(COLUMNS)} for a "
            "known table, or --map field=COLUMN,... for any other"
        )
    if "is_fraud" not in columns.fields:
        raise RequestError(
            "no column says which transactions are frauds: add is_fraud=COLUMN to --map"
        )
    return columns


def _false_alarm_cost(settings: Settings, given: float | None) -> float:
    """What a false alarm costs: as said, else as the threshold policy has it."""
    try:
        policy = parse_policy(settings.threshold)
    except ValueError as error:
        raise RequestError(str(error)) from error
    if given is not None:
        return given
    return policy.false_alarm if isinstance(policy, Cost) else FALSE_ALARM_COST


def _check_share(args: argparse.Namespace, strategies: Sequence[str]) -> None:
    if args.target_share is not None and all(name in _WITHOUT_SHARE for name in strategies):
        why = (
            "--rebalance none samples nothing"
            if "auto" not in strategies
            else "--rebalance auto, the default, finds its own share"
        )
        raise RequestError(
            f"--share {args.target_share} means nothing here: {why}. Leave it out, or give a "
            "strategy with a share, such as --rebalance under"
        )


def _check_report(folder: Path) -> None:
    """Say at once, and not after the run, why there can be no report."""
    if find_spec("matplotlib") is None:
        raise RequestError(
            "--report draws with matplotlib, which is not installed: pip install 'weir[report]', "
            "or leave --report out"
        )
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--report {folder} is a file; give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--report {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"--report {folder} cannot be written to: choose another folder")


def _thinned(
    distortion: Distortion, there: Size, frauds_to: float | None, legitimate_to: float | None
) -> tuple[Distortion, Size]:
    """The distortion that thins one class to a ratio, and how many rows are then left."""
    keep_frauds = keep_legitimate = 1.0
    try:
        if frauds_to:
            keep_frauds = keep_rate("frauds", there.frauds, there.legitimate, 1 / frauds_to)
        elif legitimate_to:
            keep_legitimate = keep_rate(
                "legitimate transactions", there.legitimate, there.frauds, legitimate_to
            )
    except ValueError as error:
        flag = "--thin-frauds" if frauds_to else "--thin-legitimate"
        other = "--thin-legitimate" if frauds_to else "--thin-frauds"
        raise RequestError(f"{flag}: {error}. {other} thins the other class.") from None
    lost = there.frauds * (1 - keep_frauds) + there.legitimate * (1 - keep_legitimate)
    thinned = replace(distortion, keep_frauds=keep_frauds, keep_legitimate=keep_legitimate)
    return thinned, there._replace(rows=round(there.rows - lost))
