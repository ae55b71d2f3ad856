"""The comparison as people read it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime

from rich.console import Console
from rich.table import Table

from stream.evaluation.printing import shown
from stream.events import ChallengerReport

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
_SURE = 0.05


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
    for line in verdict(report.apart):
        console.print(line)


def verdict(apart: Mapping[str, float]) -> list[str]:
    """Return in sentences what the two disagree on, and whether chance would do it.

    >>> lines = verdict({
    ...     "frauds_only_in_force": 2, "frauds_only_challenger": 12, "frauds_by_chance": 0.013,
    ...     "false_only_in_force": 5, "false_only_challenger": 4, "false_by_chance": 1.0})
    >>> lines[0]
    'frauds: 2 caught only in force, 12 only by the challenger: more than chance (p 0.013)'
    >>> lines[1]
    'false alarms: 5 only in force, 4 only by the challenger: chance would do (p 1)'
    """
    lines = []
    for key, what, verb in (("frauds", "frauds", " caught"), ("false", "false alarms", "")):
        first, second = apart[f"{key}_only_in_force"], apart[f"{key}_only_challenger"]
        p = apart[f"{key}_by_chance"]
        if first == second == 0:
            lines.append(f"{what}: both the same")
            continue
        said = "more than chance" if p < _SURE else "chance would do"
        lines.append(
            f"{what}: {first:,.0f}{verb} only in force, {second:,.0f} only by the challenger: "
            f"{said} ({_chance(p)})"
        )
    return lines


def _cell(measures: Mapping[str, float | None], name: str) -> str:
    text = shown("amount_missed" if name == "amount_false" else name, measures[name])
    if name not in _INTERVALS:
        return text
    low, high = measures[f"{name}_lower"], measures[f"{name}_upper"]
    return text if low is None or high is None else f"{text} ({low:.3f} to {high:.3f})"


def _chance(p: float) -> str:
    return f"p {p:.2g}" if p >= 1e-9 else "p below 1e-9"


def _moment(at: datetime | None) -> str:
    return "the beginning" if at is None else f"{at:%Y-%m-%d %H:%M}"
