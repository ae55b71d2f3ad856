"""Charts as SVG, drawn by hand: a few lines over days, in the colours of the page around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 30, 26
_TICKS, _DATES = 5, 6


class Line(NamedTuple):
    """One series: a value for each place on the axis, None where there is none."""

    name: str
    values: Sequence[float | None]
    intervals: Sequence[tuple[float, float] | None] = ()


def chart(
    title: str,
    places: Sequence[str],
    lines: Sequence[Line],
    shown: Callable[[float], str],
    *,
    logarithmic: bool = False,
) -> str:
    """Return an SVG element with lines over places in their order, and bands of their intervals.

    The axis begins at 0, or at the least value where it is logarithmic; then values of 0 or less
    are left out. Empty where there is nothing to draw.

    >>> chart("x", ["a", "b"], [Line("none", [None, None])], str)
    ''
    >>> svg = chart("x", ["a", "b"], [Line("one", [1.0, 2.0])], str)
    >>> svg.startswith("<svg"), svg.count("<polyline")
    (True, 1)
    """
    if logarithmic:
        lines = [line._replace(values=[_positive(v) for v in line.values]) for line in lines]
    known = [v for line in lines for v in line.values if v is not None]
    bands = [v for line in lines for pair in line.intervals if pair for v in pair]
    if not known:
        return ""
    axis = _Axis(known + ([] if logarithmic else bands), logarithmic=logarithmic)
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(places) - 1, 1)
    xs = [_LEFT + i * step for i in range(len(places))]
    drawn = [_grid(axis, shown), _dates(places, xs)]
    for number, line in enumerate(lines):
        drawn += [_band(line, xs, axis, number), _line(line, xs, axis, number)]
    drawn.append(_legend(lines))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'font-size="12.5">{"".join(drawn)}</svg>'
    )


class _Axis:
    def __init__(self, values: Sequence[float], *, logarithmic: bool) -> None:
        self._log = logarithmic
        high = max(values)
        if logarithmic:
            self.low = 10.0 ** math.floor(math.log10(min(values)))
            self.high = 10.0 ** math.ceil(math.log10(high) + 1e-9)
        else:
            self.low, self.high = 0.0, _round_up(high) if high > 0 else 1.0

    def ticks(self) -> list[float]:
        if not self._log:
            return [self.low + (self.high - self.low) * i / (_TICKS - 1) for i in range(_TICKS)]
        first, last = round(math.log10(self.low)), round(math.log10(self.high))
        return [10.0**e for e in range(first, last + 1)]

    def y(self, value: float) -> float:
        if self._log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5 or 10 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * times for times in (1, 2, 4, 5, 10) if unit * times >= value * 0.999999)


def _grid(axis: _Axis, shown: Callable[[float], str]) -> str:
    return "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{axis.y(v):.1f}" y2="{axis.y(v):.1f}" '
        f'stroke="var(--grid)"/><text x="{_LEFT - 6}" y="{axis.y(v) + 4:.1f}" text-anchor="end" '
        f'fill="var(--muted)">{escape(shown(v))}</text>'
        for v in axis.ticks()
    )


def _dates(places: Sequence[str], xs: Sequence[float]) -> str:
    every = max(math.ceil(len(places) / _DATES), 1)
    return "".join(
        f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{"start" if i == 0 else "middle"}" '
        f'fill="var(--muted)">{escape(place)}</text>'
        for i, (place, x) in enumerate(zip(places, xs, strict=True))
        if i % every == 0 and x < _WIDTH - 30
    )


def _runs(line: Sequence[object | None]) -> list[list[int]]:
    """Indices of values that are there, without gaps between them."""
    runs: list[list[int]] = [[]]
    for i, value in enumerate(line):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(i)
    return [run for run in runs if run]


def _band(line: Line, xs: Sequence[float], axis: _Axis, number: int) -> str:
    drawn = ""
    for run in _runs(line.intervals):
        pairs = [(xs[i], pair) for i in run if (pair := line.intervals[i])]
        there = [f"{x:.1f},{axis.y(high):.1f}" for x, (_, high) in pairs]
        back = [f"{x:.1f},{axis.y(low):.1f}" for x, (low, _) in reversed(pairs)]
        drawn += f'<polygon points="{" ".join(there + back)}" fill="var(--s{number})" '
        drawn += 'fill-opacity="0.15"/>'
    return drawn


def _line(line: Line, xs: Sequence[float], axis: _Axis, number: int) -> str:
    drawn, colour = "", f"var(--s{number})"
    for run in _runs(line.values):
        at = [(xs[i], axis.y(v)) for i in run if (v := line.values[i]) is not None]
        if len(at) == 1:
            drawn += f'<circle cx="{at[0][0]:.1f}" cy="{at[0][1]:.1f}" r="2.5" fill="{colour}"/>'
            continue
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        drawn += (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8" '
            'stroke-linejoin="round"/>'
        )
    return drawn


def _legend(lines: Sequence[Line]) -> str:
    drawn, x = "", float(_LEFT)
    for number, line in enumerate(lines):
        drawn += (
            f'<rect x="{x:.0f}" y="8" width="10" height="10" rx="3" fill="var(--s{number})"/>'
            f'<text x="{x + 15:.0f}" y="17" fill="var(--ink)">{escape(line.name)}</text>'
        )
        x += 27 + 6.2 * len(line.name)
    return drawn
