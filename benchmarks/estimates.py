"""How near figures estimated without labels come to those that mature, week by week.

    python benchmarks/estimates.py FILE --columns card --label-delay 7d --score-from 60d
    python benchmarks/estimates.py --generate shift --label-delay 3d --score-from 14d

The detector runs once over the stream. For each week, estimates are made at the moment it ends,
with the labels that have come by then: none of its own where the label delay is a week, and those
of older windows. The windows are those of production, an hour each, and so is the number of matured
ones that are looked at. Weeks follow one another from `--score-from` on; for more of them, rolling
weeks begin every day. The generator changes at the end of day 28 of 42.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from producers.options import duration
from producers.paysim import NewPattern, Scenario, Shift, generate
from producers.replay import COLUMNS, read_table
from stream.core.detector import Detector
from stream.core.estimate import Estimate, estimate
from stream.core.evaluate import Graded, Row, Scorecard, evaluate
from stream.core.model import Model
from stream.core.scored import Scored
from stream.core.tally import Tally, tally
from stream.core.windows import Windows, measure
from stream.events import WindowReport
from stream.settings import Settings
from stream.watch.history import REFERENCE_WINDOWS

DAY = 86_400.0
WEEK_DAYS = 7
NEAR = 0.05
FIGURES = ("precision", "recall", "average_precision")
CHANGE_DAY, DAYS = 28, 42
GENERATED: dict[str, dict[str, Any]] = {
    "stable": {},
    "shift": {"shifts": (Shift(CHANGE_DAY, 5.0),)},
    "fewer": {"shifts": (Shift(CHANGE_DAY, 0.25),)},
    "pattern": {
        "new_patterns": (NewPattern(CHANGE_DAY, "structuring"), NewPattern(CHANGE_DAY, "probe"))
    },
}
"""Scenarios by name: five times the frauds, a quarter of them, or two new patterns of fraud."""


@dataclass(frozen=True, slots=True)
class Week:
    """What was estimated of a week when it ended, and what its labels said later."""

    day: float
    """Its beginning, in days after that of the stream's first."""
    alerts: int
    estimates: dict[str, Estimate]
    matured: dict[str, float | None]

    def difference(self, name: str) -> float | None:
        value, matured = self.estimates[name].value, self.matured[name]
        return None if value is None or matured is None else value - matured

    def covers(self, name: str) -> bool | None:
        found, matured = self.estimates[name], self.matured[name]
        if found.low is None or found.high is None or matured is None:
            return None
        # A figure of counts may lie on the very limit.
        return found.low - 1e-9 <= matured <= found.high + 1e-9


def grade(rows: Iterable[Row], delay: timedelta, settings: Settings) -> Graded:
    """Run the detector over a stream, and return what it scored beside the truth."""
    scorecard = Scorecard()
    evaluate(Detector(settings, Model(settings)), rows, delay, scorecard)
    return scorecard.graded()


def windows_of(graded: Graded, seconds: int) -> list[tuple[WindowReport, WindowReport]]:
    """The report of each window before any of its labels has come, and after all have."""
    windows = Windows(0, seconds, max_windows=1 << 30)
    found = []
    days = np.flatnonzero(np.diff(graded.times_seconds // DAY)) + 1
    for times, scores, alerts, amounts, frauds in zip(
        *(np.split(column, days) for column in graded), strict=True
    ):
        codes = np.zeros((len(times), 2), dtype=np.int16)
        scored = Scored(times, scores, alerts, amounts, codes)
        windows.decided(scored, {})
        waiting = windows.changed()
        windows.labelled(scored, frauds)
        found += zip(waiting, windows.changed(), strict=True)
    return found


def weeks(
    reports: Sequence[tuple[WindowReport, WindowReport]], delay: timedelta, from_day: float
) -> list[Week]:
    """Return rolling weeks, one for each day, with what is known when they end."""
    starts = np.array([report.start.timestamp() for report, _ in reports])
    seconds = reports[0][0].seconds
    waiting: list[Tally] = [tally([report]) for report, _ in reports]
    labelled: list[Tally] = [tally([report]) for _, report in reports]
    first = starts[0] // DAY * DAY
    found, day = [], from_day
    while (end := first + (day + WEEK_DAYS) * DAY) <= starts[-1] + seconds:
        begin = end - WEEK_DAYS * DAY
        week = np.flatnonzero((starts >= begin) & (starts < end))
        known = starts + seconds + delay.total_seconds() <= end
        # Where labels come within the week, those of its own windows are left out as well.
        matured = np.flatnonzero(known & (starts < begin))[-REFERENCE_WINDOWS:]
        estimates = estimate([waiting[i] for i in week], [labelled[i] for i in matured])
        measures = measure([reports[i][1] for i in week])
        found.append(
            Week(
                day,
                measures.alerts,
                {name: getattr(estimates, name) for name in FIGURES},
                {name: getattr(measures, name) for name in FIGURES},
            )
        )
        day += 1
    return found


def shares(weeks: Sequence[Week], name: str) -> dict[str, float | int]:
    """Of weeks that have the figure: how many are near, are covered, are trusted; how wide."""
    having = [week for week in weeks if week.difference(name) is not None]
    if not having:
        return {"weeks": 0}
    off = np.array([abs(week.difference(name) or 0.0) for week in having])
    width = [(e.high or 0.0) - (e.low or 0.0) for e in (week.estimates[name] for week in having)]
    return {
        "weeks": len(having),
        "near": float((off <= NEAR).mean()),
        "covered": float(np.mean([bool(week.covers(name)) for week in having])),
        "width": float(np.mean(width)),
        "mean_difference": float(off.mean()),
        "largest_difference": float(off.max()),
    }


def summary(weeks: Sequence[Week]) -> dict[str, Any]:
    """The shares by figure, of all weeks and of those that are trusted."""
    found: dict[str, Any] = {}
    for name in FIGURES:
        trusted = [week for week in weeks if week.estimates[name].trusted]
        found[name] = {"all": shares(weeks, name), "trusted": shares(trusted, name)}
    return found


def print_weeks(title: str, weeks: Sequence[Week]) -> None:
    print(f"\n{title}: estimated [interval] matured, difference")
    print("  day  alerts  " + "".join(f"{name.replace('_', ' '):<40}" for name in FIGURES))
    for week in weeks:
        cells = []
        for name in FIGURES:
            found, matured, off = week.estimates[name], week.matured[name], week.difference(name)
            if off is None:
                cells.append("-")
                continue
            cells.append(
                f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}] {matured:.3f} {off:+.3f}"
                + ("" if week.covers(name) else " OUT")
            )
        print(f"{week.day:5g}  {week.alerts:6,}  " + "".join(f"{cell:<40}" for cell in cells))
        told = {name: week.estimates[name].why for name in FIGURES if week.estimates[name].why}
        for why in dict.fromkeys(told.values()):
            whose = ", ".join(name.replace("_", " ") for name in told if told[name] == why)
            print(f"               not trusted ({whose}): {why}")


def print_summary(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}")
    for name, of in found.items():
        for which, s in of.items():
            if not s["weeks"]:
                continue
            print(
                f"  {name.replace('_', ' '):<18}{which:<8}{s['weeks']:>3}   within {NEAR} "
                f"{s['near']:.0%}, covered {s['covered']:.0%}, mean width {s['width']:.3f}, "
                f"off {s['mean_difference']:.3f} on average, {s['largest_difference']:.3f} at most"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--columns", choices=tuple(COLUMNS), default="card")
    parser.add_argument("--generate", choices=tuple(GENERATED), help="in place of a file")
    parser.add_argument("--seed", type=int, default=7, help="seed of the generator")
    parser.add_argument("--label-delay", type=duration, default=timedelta(days=7))
    parser.add_argument("--score-from", type=duration, default=timedelta(days=60))
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if (args.file is None) == (args.generate is None):
        parser.error("give a FILE or --generate, one of them")
    settings = Settings()
    if args.file:
        chunks = read_table(args.file, COLUMNS[args.columns], step_origin=settings.step_origin)
    else:
        scenario = Scenario(
            seed=args.seed, fraud_rate=0.004, clients=8_000, **GENERATED[args.generate]
        )
        chunks = generate(scenario, days=DAYS)
    rows = ((row.transaction, row.is_fraud) for row in itertools.chain.from_iterable(chunks))
    reports = windows_of(grade(rows, args.label_delay, settings), settings.window_seconds)
    rolling = weeks(reports, args.label_delay, args.score_from / timedelta(days=1))
    apart = rolling[::WEEK_DAYS]
    print_weeks("weeks", apart)
    print_weeks("rolling weeks", rolling)
    found = {"weeks": summary(apart), "rolling": summary(rolling)}
    print_summary("weeks", found["weeks"])
    print_summary("rolling weeks", found["rolling"])
    if args.json:
        told = found | {"by_day": [asdict(week) for week in rolling]}
        args.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
