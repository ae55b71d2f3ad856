"""The figures as people read them: which, under which name, and how exactly."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from stream.evaluation.figures import Figures

SHOWN = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "calibration": "calibration",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "cost": "cost",
    "alerts_per_day": "alerts per day",
    "microseconds_per_transaction": "µs per transaction",
}


_WIDE, _NARROW = 120, 108
"""Characters: what a comparison fills, and what it needs, lest figures be cut off."""


def print_figures(found: Mapping[str, Figures]) -> None:
    """Print the figures of one run, or of several side by side."""
    first = next(iter(found.values()))
    about = (
        f"{first.transactions:,} transactions graded, {first.frauds:,} frauds "
        f"(1 in {first.transactions / first.frauds:,.0f}), {first.days:,.1f} days"
    )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    if len(found) == 1:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, title in SHOWN.items():
            table.add_row(title, shown(name, getattr(first, name)))
    else:
        gap = 2 if console.width >= _WIDE else 1
        console.width = max(console.width, _NARROW)
        table = Table(box=None, padding=(0, gap, 0, 0), header_style="bold")
        table.add_column("")
        for title in SHOWN.values():
            table.add_column(title, justify="right")
        best = max(f.average_precision or 0.0 for f in found.values())
        for strategy, each in found.items():
            cells = [shown(name, getattr(each, name)) for name in SHOWN]
            style = "bold" if each.average_precision == best else None
            table.add_row(strategy, *cells, style=style)
    console.print(about)
    console.print(table)


def shown(name: str, value: float | None) -> str:
    """Return a figure as people read it.

    >>> shown("average_precision", 0.78125), shown("cost", 12345.6), shown("precision", None)
    ('0.781', '12,346', '–')
    """
    if value is None:
        return "–"
    if name in ("cost", "amount_caught", "amount_missed") or isinstance(value, int):
        return f"{value:,.0f}"
    if name == "log_loss":
        return f"{value:.5f}"
    if name == "fraud_rate":
        return f"{value:.3%}"
    if name in ("alerts_per_day", "microseconds_per_transaction", "days"):
        return f"{value:,.1f}"
    return f"{value:.3f}"
