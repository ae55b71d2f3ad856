"""The report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from stream.evaluation import OF_THE_BUS, drawing, pictures
from stream.evaluation.page import FRAME, STYLE
from stream.evaluation.plan import Plan, in_words
from stream.evaluation.printing import SHOWN, shown
from stream.events import utc

if TYPE_CHECKING:
    from stream.evaluation.command import Run

_PACKAGES = ("weir", "river", "numpy", "xgboost-cpu", "xgboost", "matplotlib")
_TILES = ("average_precision", "precision", "recall", "alerts_per_day", "calibration")


def write_report(folder: Path, plan: Plan, runs: Mapping[str, Run], command: str) -> Path:
    """Write `index.html` into a folder that is there, and return its path."""
    page = folder / "index.html"
    page.write_text(_page(plan, runs, command), "utf-8")
    return page


def _page(plan: Plan, runs: Mapping[str, Run], command: str) -> str:
    first = next(iter(runs.values()))
    end = float(first.graded.times_seconds[-1])
    found = first.figures
    span = f"{utc(first.from_seconds):%Y-%m-%d %H:%M} to {utc(end):%Y-%m-%d %H:%M}"
    about = (
        f"{found.transactions:,} transactions graded, {span} (UTC, event time); "
        f"{found.frauds:,} frauds, 1 in {found.transactions / found.frauds:,.0f}"
    )
    several = len(runs) > 1
    asked = [f"labels {in_words(plan.label_delay)} late", f"learner {first.settings.learner}"]
    if not several:
        asked.append(f"rebalance {first.settings.rebalance}")
    how = ", ".join([*asked, f"threshold {first.settings.threshold}"])
    parts = [
        f"<header><h1>{escape(plan.path.name)}</h1><p>{escape(about)}<br>{escape(how)}</p></header>",
        _comparison(runs) if several else _tiles(first),
        _overlay(runs) if several else "",
        *(_run(name, each, folded=several) for name, each in runs.items()),
        _made(plan, first, command, several=several),
    ]
    return FRAME.format(title=escape(f"Weir: {plan.path.name}"), style=STYLE, body="\n".join(parts))


def _tiles(run: Run) -> str:
    tiles = "".join(
        f"<div><dt>{SHOWN[name]}</dt><dd>{shown(name, getattr(run.figures, name))}</dd></div>"
        for name in _TILES
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _comparison(runs: Mapping[str, Run]) -> str:
    best = max(run.figures.average_precision or 0.0 for run in runs.values())
    head = "".join(f"<th>{title}</th>" for title in SHOWN.values())
    body = ""
    for (name, run), colour in zip(runs.items(), drawing.series(len(runs)), strict=True):
        row = ' class="best"' if run.figures.average_precision == best else ""
        cells = "".join(f"<td>{shown(key, getattr(run.figures, key))}</td>" for key in SHOWN)
        key = f'<i style="background:var(--{colour})"></i>'
        body += f"<tr{row}><th>{key}{escape(name)}</th>{cells}</tr>"
    return (
        f'<div class="scroll"><table class="figures"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _overlay(runs: Mapping[str, Run]) -> str:
    clock = _clock(runs.values())
    first = next(iter(runs.values()))
    graded = {name: (run.graded.since(run.from_seconds), run.figures) for name, run in runs.items()}
    whole = {name: run.graded for name, run in runs.items()}
    return _grid(
        [
            _figure(
                "Precision and recall",
                pictures.precision_recall_curve(graded),
                "Every threshold there could have been; the dots are what the alerts came to.",
            ),
            _figure(
                "Average precision over time",
                pictures.average_precision_over_time(whole, clock, first.from_seconds),
                _MATURED,
            ),
        ]
    )


_MATURED = "By event time of the transactions, once all is known about them."


def _run(name: str, run: Run, *, folded: bool) -> str:
    clock = _clock([run])
    counted = run.graded.since(run.from_seconds)
    drawn = [
        _figure(
            "Precision and recall",
            pictures.precision_recall_curve({name: (counted, run.figures)}),
            "Every threshold there could have been; the dot is what the alerts came to.",
        ),
        _figure(
            "Average precision over time",
            pictures.average_precision_over_time({name: run.graded}, clock, run.from_seconds),
            _MATURED,
        ),
        _figure(
            "Calibration",
            pictures.calibration(counted),
            "On the dashed line a score is the probability of fraud. Each point announces as many "
            "frauds as the next; bars: 95 % intervals.",
        ),
        _figure(
            "Alerts",
            pictures.alerts(run.graded, clock, run.from_seconds),
            "What people would have had to look at, and what there was to find.",
        ),
        _figure(
            "Threshold",
            pictures.thresholds(run.timeline, clock, run.from_seconds),
            f"The score from which a transaction was flagged: {run.settings.threshold}.",
        ),
        _figure(
            "Shares",
            pictures.shares(run.timeline, clock, run.from_seconds),
            "Frauds among the labels that came (prior) and in the training log (learned), and how "
            "many of the legitimate ones went there (sampled). Members may thin further.",
        ),
    ]
    stacked = pictures.weights(run.timeline, clock, run.from_seconds)
    if stacked is not None:
        drawn.append(_figure("Members", stacked, "How much each member's vote counted.", wide=True))
    inside = _grid(drawn) + _figures(run)
    if folded:
        return f"<details><summary>{escape(name)}</summary>{inside}</details>"
    return inside


def _clock(runs: Iterable[Run]) -> pictures.Clock:
    run = next(iter(runs))
    return pictures.Clock(run.begin_seconds, float(run.graded.times_seconds[-1]))


def _grid(parts: Iterable[str]) -> str:
    return f'<div class="grid">{"".join(parts)}</div>'


def _figure(title: str, svg: str, caption: str, *, wide: bool = False) -> str:
    kind = ' class="wide"' if wide else ""
    svg = f'<div class="scroller">{svg}</div>' if wide else svg
    return f"<figure{kind}><h2>{title}</h2>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _figures(run: Run) -> str:
    said = run.figures.asdict()
    rows = {SHOWN.get(name, name.replace("_", " ")): shown(name, said[name]) for name in said}
    return f"<section><h2>Figures</h2>{_table(rows, columns=True)}</section>"


def _made(plan: Plan, run: Run, command: str, *, several: bool) -> str:
    settings = {
        name: ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in run.settings.model_dump(exclude=set(OF_THE_BUS)).items()
        if not (several and name == "rebalance")
    }
    asked = {
        "label delay": in_words(plan.label_delay),
        "scored from": in_words(plan.score_from),
        "cost of a false alarm": f"{plan.false_alarm_cost:g}",
        "frauds kept": f"{plan.distortion.keep_frauds:.4g}",
        "legitimate kept": f"{plan.distortion.keep_legitimate:.4g}",
        "label fraction": f"{plan.distortion.label_fraction:g}",
        "wrong labels": f"{plan.distortion.wrong_labels:g}",
    }
    return (
        f"<section><h2>Command</h2><pre><code>{escape(command)}</code></pre></section>"
        f"<details><summary>Settings</summary>{_table(asked | settings)}</details>"
        f"<details><summary>Versions</summary>{_table(_versions())}</details>"
    )


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # the other of the two that XGBoost comes in
    return found


def _table(rows: Mapping[str, str], *, columns: bool = False) -> str:
    pairs = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
    return f'<dl class="pairs{" columns" if columns else ""}">{"".join(pairs)}</dl>'
