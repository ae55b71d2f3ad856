"""Alarms: what people should look at, by name, and when one is raised and when it is over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from stream.events import Alarm

BELOW_PRIOR = "below_prior"
PRIOR_SHIFT = "prior_shift"
SCORE_DRIFT = "score_drift"
CALIBRATION_DRIFT = "calibration_drift"
FEATURE_CONSTANT = "feature_constant"
FEATURE_MISSING = "feature_missing"
LABELS_SILENT = "labels_silent"
PRECISION_FLOOR = "precision_floor"
BUDGET_EXHAUSTED = "budget_exhausted"
DEAD_LETTERS = "dead_letters"


class Kind(NamedTuple):
    """What an alarm is called, what its figure is, and what to look at."""

    words: str
    figure: str
    look: str


KINDS = {
    BELOW_PRIOR: Kind(
        "flags far too few",
        "share flagged over the last day; limit: a fifth of what is expected",
        "whether scores have fallen (average precision, newest windows) or frauds have stopped",
    ),
    PRIOR_SHIFT: Kind(
        "fraud rate has shifted",
        "fraud rate of the newest labelled day; limit: that of the days before it, times or over "
        "1.5",
        "the newest frauds: a new pattern, a stop, or labels of another source",
    ),
    SCORE_DRIFT: Kind(
        "scores have drifted",
        "population stability index (PSI) of the last day's scores against the days before; "
        "limit: 0.1, or three times what has been usual",
        "what has changed in the traffic: types, amounts, fields, a producer",
    ),
    CALIBRATION_DRIFT: Kind(
        "scores no longer keep their word",
        "frauds announced by the scores of the newest labelled day over frauds found; limit: 2 or "
        "1/2",
        "fraud rate and average precision by window; alarms that came before this one",
    ),
    FEATURE_CONSTANT: Kind(
        "a feature has gone constant",
        "transactions of the last block in which it differs; limit: the fewest in the blocks "
        "before",
        "the field that the feature is made of, at its producer",
    ),
    FEATURE_MISSING: Kind(
        "a field has gone missing",
        "share of the last block without the field; limit: half of what had it has not",
        "the field at its producer",
    ),
    LABELS_SILENT: Kind(
        "labels have stopped",
        "hours of event time without a label; limit: by the longest gap that was usual",
        "the labels topic and its producer: without labels nothing is learned",
    ),
    PRECISION_FLOOR: Kind(
        "precision is below its floor",
        "precision of the newest labelled alerts; limit: the floor of the policy",
        "false alarms among the newest alerts, and threshold_reason",
    ),
    BUDGET_EXHAUSTED: Kind(
        "alert budget used up early",
        "share of the period's traffic to come when the budget was used up; limit: a quarter",
        "the newest alerts: an attack, or a budget that is too small for the traffic",
    ),
    DEAD_LETTERS: Kind(
        "messages cannot be read",
        "share of the last messages that are dead letters; limit: a tenth of `reject_share`",
        "`weir dead-letters list`, and what produces them",
    ),
}
"""Every kind of alarm. One that has a subject, such as a feature, bears it behind a colon."""


class Finding(NamedTuple):
    """What a rule finds at one look: whether the condition holds, or, if None, cannot be told."""

    name: str
    holds: bool | None
    figure: float
    limit: float
    cause: str
    sure: bool = False
    """Strong enough for one look: it is raised, or over, at the first."""


class Changes(NamedTuple):
    """What a look has changed."""

    raised: tuple[Alarm, ...]
    over: tuple[Alarm, ...]


def kind_of(name: str) -> str:
    """Return the kind of an alarm: its name without a subject.

    >>> kind_of("feature_constant:amount")
    'feature_constant'
    """
    return name.partition(":")[0]


class Alarms:
    """Those that are raised, with hysteresis: raised or over only after `looks` looks in a row.

    What cannot be told at a look changes nothing, and breaks the row.

    >>> from stream.events import utc
    >>> alarms, found = Alarms(), Finding(PRIOR_SHIFT, True, 0.02, 0.003, "fraud rate 2 %")
    >>> [len(alarms.update([found], utc(at)).raised) for at in (0, 60, 120)]
    [0, 1, 0]
    >>> alarms.raised[0].since.minute
    1
    """

    def __init__(self, looks: int = 2) -> None:
        self.looks = looks
        self._raised: dict[str, Alarm] = {}
        self._row: dict[str, int] = {}
        """Looks in a row that speak against what is in force."""

    @property
    def raised(self) -> tuple[Alarm, ...]:
        """Those that are raised, the oldest first."""
        return tuple(self._raised.values())

    def update(self, findings: Iterable[Finding], now: datetime) -> Changes:
        """Take in the findings of a look, each name at most once, at wall time `now`."""
        raised, over = [], []
        for found in findings:
            name, before = found.name, self._raised.get(found.name)
            if found.holds and before:
                self._raised[name] = _alarm(found, before.since)
            if found.holds is None or found.holds == (before is not None):
                self._row.pop(name, None)
                continue
            self._row[name] = self._row.get(name, 0) + 1
            if self._row[name] < self.looks and not found.sure:
                continue
            del self._row[name]
            if before:
                over.append(self._raised.pop(name))
            else:
                self._raised[name] = _alarm(found, now)
                raised.append(self._raised[name])
        return Changes(tuple(raised), tuple(over))

    def clear(self) -> Changes:
        """Take all for over: there is nothing to look at any more."""
        over = self.raised
        self._raised, self._row = {}, {}
        return Changes((), over)


def _alarm(found: Finding, since: datetime) -> Alarm:
    look = KINDS[kind_of(found.name)].look
    return Alarm(
        name=found.name,
        since=since,
        figure=found.figure,
        limit=found.limit,
        cause=found.cause,
        look=look,
    )
