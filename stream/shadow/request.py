"""What a replay is asked for: read off the flags, and refused at once where it makes no sense."""

from __future__ import annotations

import argparse
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from producers import options
from stream.core.policies import Cost, parse_policy
from stream.evaluation import RequestError
from stream.settings import Settings

CHALLENGED = ("threshold", "learner", "rebalance", "target_share", "features", "alert_budget")
"""Settings that a challenger may have other than those in force."""
BEGINNING = "beginning"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    name: str
    settings: Settings
    """The challenger's: those in force, but for what the flags say."""
    in_force: Settings
    since: datetime | timedelta | None
    """A moment of event time, a span before the newest transaction, or None: the beginning."""
    warm: timedelta
    unlearned: bool
    follow: bool
    false_alarm_cost: float | None
    json: Path | None

    @property
    def differing(self) -> dict[str, str]:
        """The settings that are the challenger's own, as text."""
        return {
            name: str(getattr(self.settings, name))
            for name in CHALLENGED
            if getattr(self.settings, name) != getattr(self.in_force, name)
        }


def request_of(settings: Settings, in_force: Settings, args: argparse.Namespace) -> Request:
    """Return what the flags ask for. Raises `RequestError`."""
    cost = args.false_alarm_cost
    for each in (in_force, settings):  # the challenger's word is the last
        try:
            policy = parse_policy(each.threshold)
        except ValueError as error:
            raise RequestError(str(error)) from error
        if args.false_alarm_cost is None and isinstance(policy, Cost):
            cost = policy.false_alarm
    found = Request(
        name=args.name or "",
        settings=settings,
        in_force=in_force,
        since=args.since,
        warm=args.warm,
        unlearned=args.unlearned,
        follow=args.follow,
        false_alarm_cost=cost,
        json=args.json,
    )
    if found.name:
        return found
    return Request(**{**_fields(found), "name": named(found.differing)})  # type: ignore[arg-type]


def _fields(request: Request) -> dict[str, object]:
    return {name: getattr(request, name) for name in Request.__dataclass_fields__}


def named(differing: dict[str, str]) -> str:
    """Return a name for a challenger by the settings that are its own: short, fit for a key.

    >>> named({"threshold": "f_beta:2", "learner": "linear"})
    'threshold-f_beta-2.learner-linear'
    >>> named({})
    'as-in-force'
    """
    parts = [re.sub(r"[^a-z0-9_]+", "-", f"{k}-{v}".lower()) for k, v in differing.items()]
    return ".".join(parts)[:80] or "as-in-force"


def moment(text: str) -> datetime | timedelta | None:
    """Read a moment of event time: ISO 8601, a duration back such as 7d, or `beginning`.

    A time without an offset is UTC. Raises `ValueError` for anything else.

    >>> moment("2026-03-01").isoformat(), moment("7d"), moment("beginning")
    ('2026-03-01T00:00:00+00:00', datetime.timedelta(days=7), None)
    """
    if text == BEGINNING:
        return None
    with suppress(ValueError):
        return options.moment(text)
    with suppress(ValueError):
        return options.duration(text)
    raise ValueError(
        "no moment: write 2026-03-01, 2026-03-01T12:00:00Z, 7d for so long before the newest "
        f"transaction, or {BEGINNING}"
    )


def name_of_key(text: str) -> str:
    """Read the name of a challenger. Raises `ValueError` where it would not do for a key.

    >>> name_of_key("beta-2")
    'beta-2'
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", text):
        raise ValueError("no name: up to 80 letters, digits, dots, dashes and underscores")
    return text
