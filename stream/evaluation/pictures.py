"""The pictures of a report: what each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from stream.core.evaluate import Graded
from stream.evaluation.curves import (
    PERIODS,
    by_period,
    precision_recall,
    readable_period,
    reliability,
)
from stream.evaluation.drawing import MUTED, PAPER, SERIES, picture, powers
from stream.evaluation.figures import Figures
from stream.evaluation.timeline import Moment, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DAY, _HOUR = 86_400.0, 3600.0
_CURVE_POINTS = 400
_LEAST_FRAUDS = 5
"""In a stretch of event time whose average precision is drawn."""
_WIDE = 11.8
"""Of a picture over both columns, in inches: its texts are then as large as the others'."""
_LEGEND_ABOVE: dict[str, Any] = {
    "loc": "lower left",
    "bbox_to_anchor": (0, 1),
    "borderaxespad": 0.2,
}


class Clock:
    """Event time as it stands under the pictures: days, or hours, since the first transaction."""

    def __init__(self, begin_seconds: float, end_seconds: float) -> None:
        self.begin_seconds, self.end_seconds = begin_seconds, end_seconds
        long = end_seconds - begin_seconds > 3 * _DAY
        self.unit_seconds, self.unit = (_DAY, "day") if long else (_HOUR, "hour")

    def __call__(self, seconds: float | np.ndarray) -> np.ndarray:
        return np.asarray((np.asarray(seconds) - self.begin_seconds) / self.unit_seconds)


def precision_recall_curve(runs: Mapping[str, tuple[Graded, Figures]]) -> str:
    """Draw precision over recall of each run, with the point that its alerts came to."""

    def draw(axes: Axes) -> None:
        for colour, (name, (graded, found)) in zip(cycle(SERIES), runs.items(), strict=False):
            precision, recall = precision_recall(graded.scores, graded.frauds)
            rows = np.unique(np.linspace(0, len(recall) - 1, _CURVE_POINTS).astype(int))
            label = name if len(runs) > 1 else "any threshold"
            axes.plot(recall[rows], precision[rows], color=colour, label=label)
            if found.precision is not None and found.recall is not None:
                axes.plot(
                    found.recall,
                    found.precision,
                    "o",
                    color=colour,
                    markersize=9,
                    markeredgecolor=PAPER,
                    markeredgewidth=1.5,
                    label="in force" if len(runs) == 1 else None,
                )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel="recall", ylabel="precision")
        axes.legend(loc="lower left")

    return picture("pr", "precision over recall", draw)


def average_precision_over_time(
    runs: Mapping[str, Graded], clock: Clock, from_seconds: float
) -> str:
    """Draw average precision by stretch of event time, all labels in."""
    seconds = readable_period(next(iter(runs.values())))

    def draw(axes: Axes) -> None:
        _mark(axes, clock, from_seconds)
        for colour, (name, graded) in zip(cycle(SERIES), runs.items(), strict=False):
            known = [
                p
                for p in by_period(graded, clock.begin_seconds, seconds)
                if p.average_precision is not None and p.frauds >= _LEAST_FRAUDS
            ]
            ends = [min(p.begin_seconds + p.seconds, clock.end_seconds) for p in known]
            middle = clock(
                np.array([(p.begin_seconds + e) / 2 for p, e in zip(known, ends, strict=True)])
            )
            values = np.array([p.average_precision for p in known], dtype=np.float64)
            axes.plot(middle, values, color=colour, label=name, marker=".", markersize=5)
        axes.set(ylim=(0, 1.04), ylabel=f"average precision, by {PERIODS[seconds]}")
        if len(runs) > 1:
            axes.legend(ncols=4, **_LEGEND_ABOVE)

    return picture("ap", "average precision over time", draw)


def calibration(graded: Graded) -> str:
    """Draw the fraud rate over the score given, in bins that announce equally many frauds."""
    found = reliability(graded.scores, graded.frauds)

    def draw(axes: Axes) -> None:
        some = found.fraud_rate > 0
        least = float(min(found.score.min(), found.fraud_rate[some].min())) / 2
        axes.plot([least, 1], [least, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        low = np.maximum(found.low, least)
        axes.vlines(found.score, low, found.high, color=SERIES[0], alpha=0.45, linewidth=4)
        score, rate = found.score[some], found.fraud_rate[some]
        axes.plot(score, rate, "o-", color=SERIES[0], markersize=6, linewidth=1.2)
        axes.set(xscale="log", yscale="log", xlabel="mean score", ylabel="fraud rate")
        axes.set(xlim=(least, 1.3), ylim=(least, 1.3))
        powers(axes, "xy")

    return picture("calibration", "fraud rate over score", draw)


def thresholds(timeline: Timeline, clock: Clock, from_seconds: float) -> str:
    """Draw the threshold in force over event time."""
    times, values = _column(timeline, lambda m: m.threshold)

    def draw(axes: Axes) -> None:
        _mark(axes, clock, from_seconds)
        shown = values < 1  # at 1 nothing is flagged: not yet a threshold
        axes.step(clock(times[shown]), values[shown], where="post", color=SERIES[0])
        axes.set(ylabel="threshold")
        if shown.any() and values[shown].max() > 20 * values[shown].min():
            axes.set_yscale("log")
            powers(axes, "y")
        else:
            axes.set_ylim(0, None)

    return picture("threshold", "threshold over time", draw)


def shares(timeline: Timeline, clock: Clock, from_seconds: float) -> str:
    """Draw the fraud prior, the share of frauds learned, and the rate of sampling."""
    names = {
        "fraud_prior": "fraud prior",
        "learned_share": "learned",
        "sampling_rate": "sampled",
    }

    def draw(axes: Axes) -> None:
        _mark(axes, clock, from_seconds)
        # Before the first example is learned there is nothing to tell: a prior of one half.
        known = [m for m in timeline.moments if m.state["model_position"] > 0]
        times = clock(np.array([m.time_seconds for m in known]))
        for colour, (name, label) in zip(SERIES, names.items(), strict=False):
            axes.plot(times, [m.state[name] for m in known], color=colour, label=label)
        axes.set(ylabel="share", yscale="log")
        powers(axes, "y")
        axes.legend(ncols=3, **_LEGEND_ABOVE)

    return picture("shares", "fraud prior, share learned and sampling over time", draw)


def weights(timeline: Timeline, clock: Clock, from_seconds: float) -> str | None:
    """Draw the share of each member in the vote, stacked; None where there is no committee."""
    names = list(dict.fromkeys(name for m in timeline.moments for name in m.weights))
    if len(names) < 2:
        return None

    def draw(axes: Axes) -> None:
        times, _ = _column(timeline, lambda m: m.threshold)
        parts = [[m.weights.get(name, 0.0) for m in timeline.moments] for name in names]
        colours = [SERIES[i % len(SERIES)] for i in range(len(names))]
        bands = axes.stackplot(
            clock(times),
            *parts,
            labels=names,
            colors=colours,
            edgecolor=PAPER,
            linewidth=0.6,
            step="post",
        )
        for band in bands[len(SERIES) :]:  # the colours begin anew, paler
            band.set_alpha(0.55)
        _mark(axes, clock, from_seconds, colour=PAPER)
        axes.set(ylim=(0, 1), ylabel="share of the vote")
        axes.grid(False)
        axes.legend(
            *(handles[::-1] for handles in axes.get_legend_handles_labels()),
            **{"loc": "center left", "bbox_to_anchor": (1.01, 0.5)},
        )

    return picture("weights", "weights of the members over time", draw, width=_WIDE)


def alerts(graded: Graded, clock: Clock, from_seconds: float) -> str:
    """Draw alerts and frauds by day of event time, or by hour where the span is short."""
    periods = by_period(graded, clock.begin_seconds, clock.unit_seconds)

    def draw(axes: Axes) -> None:
        begins = clock(np.array([p.begin_seconds for p in periods]))
        edges = np.append(begins, begins[-1] + 1)
        _mark(axes, clock, from_seconds)
        raised = [p.alerts for p in periods]
        bars = axes.bar(begins + 0.5, raised, width=0.8, color=SERIES[0], alpha=0.7)
        line = axes.stairs([p.frauds for p in periods], edges, color=SERIES[1], linewidth=1.8)
        axes.set(ylabel=f"per {clock.unit}", ylim=(0, None), xlim=(-0.01 * edges[-1], edges[-1]))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.legend([bars, line], ["alerts", "frauds"], ncols=2, **_LEGEND_ABOVE)

    return picture("alerts", f"alerts per {clock.unit}", draw)


def _column(timeline: Timeline, of: Callable[[Moment], float]) -> tuple[np.ndarray, np.ndarray]:
    moments = timeline.moments
    return np.array([m.time_seconds for m in moments]), np.array([of(m) for m in moments])


def _mark(axes: Axes, clock: Clock, from_seconds: float, colour: str = MUTED) -> None:
    """The axis of event time, and a line where grading begins if that is not at its beginning."""
    end = float(clock(clock.end_seconds)) or 1.0  # all at one moment
    axes.set(xlabel=f"{clock.unit}s since the first transaction", xlim=(-0.01 * end, 1.02 * end))
    if from_seconds > clock.begin_seconds:
        axes.axvline(float(clock(from_seconds)), color=colour, linewidth=1, linestyle=(0, (2, 3)))
