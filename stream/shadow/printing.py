"""The comparison as people read it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime

from rich.console import Console
from rich.table import Table

from stream.evaluation.printing import shown
from stream.events import ChallengerReport
from stream.watch import words

_ROWS = {
    "transactions": "transactions",
    "labelled": "labelled",
    "frauds": "frauds among them",
    "alerts": "alerts",
    "labelled_alerts": "labelled alerts",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "calibration": "calibration",
    "amount_caught": "amount caught",
    "amount_missed": "amount missed",
    "amount_false": "amount of false alarms",
    "cost": "cost",
}
_INTERVALS = ("precision", "recall")
_WIDTH = 100


def print_comparison(report: ChallengerReport) -> None:
    """Print both side by side, and what chance has to do with it."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    own = ", ".join(f"{k} {v}" for k, v in report.settings.items()) or "the settings in force"
    console.print(f"{report.name}: {own}", markup=False)
    console.print(f"{_moment(report.graded_from)} to {_moment(report.event_time)} (event time)")
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("in force", justify="right")
    table.add_column("challenger", justify="right")
    for name, title in _ROWS.items():
        if name in report.in_force:
            table.add_row(title, _cell(report.in_force, name), _cell(report.challenger, name))
    console.print(table)
    for line in words.disagreement(report.apart):
        console.print(line)


def _cell(measures: Mapping[str, float | None], name: str) -> str:
    text = shown("amount_missed" if name == "amount_false" else name, measures[name])
    if name not in _INTERVALS:
        return text
    low, high = measures[f"{name}_lower"], measures[f"{name}_upper"]
    return text if low is None or high is None else f"{text} ({low:.3f} to {high:.3f})"


def _moment(at: datetime | None) -> str:
    return "the beginning" if at is None else f"{at:%Y-%m-%d %H:%M}"
