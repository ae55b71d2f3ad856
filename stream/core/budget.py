"""The alert budget: so many alerts in each period, kept by control and not by chance."""

from __future__ import annotations

import json
import math

import numpy as np
from numpy.typing import NDArray

from stream.core.plain import Restored, Snapshot
from stream.core.traffic import Traffic, counted

Floats = NDArray[np.float64]

_BURST = 8
"""Looks whose unused share of alerts may be flagged at once."""
_PERIODS = 32
"""Periods whose alerts are counted at the same time."""
_OLD_PERIODS = 8
"""Scores older than so many periods are forgotten, as far as `_FEW` are left."""
_FEW = 500
_SHORTEST_GAP = 50
"""Scores between two looks at least."""
_LOOKS_AHEAD = 8
"""A look comes when an eighth of the period's remaining traffic has passed, if not sooner."""
_PRIOR_SHARE = 0.1
"""How busy a period is counts against the usual from this share of a usual period on."""
_GIVEN = ("count", "window_seconds", "max_share", "part", "parts", "memory")
_PLAIN = (
    *("value", "_next_value", "_period", "_begun_seconds"),
    *("_credit", "_gap", "_until_look"),
)
"""What of the state is a number."""


class BudgetThreshold:
    """A threshold that lets `count` transactions through in each period, from scores alone.

    Periods are aligned to the epoch in event time. At each look the threshold becomes the quantile
    of the last scores that spends what is left of the budget over the traffic still to come in the
    period, by hour of the day (`Traffic`) and by how busy the period has been so far. Looks come
    closer towards the end of a period. A plain quantile leaves the Poisson noise of a whole period,
    this one that of the last few looks; and a budget that is used up flags nothing more, so the
    count is never exceeded. What a period flags is a whole number: a fractional budget is carried
    over, so that 0.5 is one alert every other period.

    Scores tied at the quantile stay out, so that a model that knows nothing yet flags nothing.
    Where the memory holds too few scores to allow a single alert, only one above all is flagged.

    Parameters
    ----------
    count
        Alerts per period.
    window_seconds
        Length of the period in event time.
    max_share
        Share of the transactions flagged at most, however few make a period.
    part, parts
        Which of how many parts of the stream is decided here: it has its share of the budget. The
        alerts that a period allows to the parts add up to those of the whole, also where they are
        fewer than the parts.
    memory
        How many scores are remembered.
    every
        How many scores between two looks at most.
    """

    def __init__(
        self,
        count: float,
        window_seconds: float,
        *,
        max_share: float = 1.0,
        part: int = 0,
        parts: int = 1,
        memory: int = 10_000,
        every: int = 250,
    ) -> None:
        self.count = count
        self.window_seconds = window_seconds
        self.max_share = max_share
        self.part = part
        self.parts = parts
        self.memory = memory
        self.every = every
        self.value = 1.0
        """Threshold in force for the period under way."""
        self.used_up: tuple[int, float] | None = None
        """The newest period whose budget was used up, and the share of its traffic to come then."""
        self.traffic: Traffic | None = None
        self._next_value = 1.0
        """Threshold for what belongs to another period, of which nothing is spent yet."""
        self._period: int | None = None
        self._begun_seconds = 0.0
        self._seen: dict[int, int] = {}
        self._spent: dict[int, int] = {}
        self._credit = 0.0
        """Alerts that `max_share` allows until the next look."""
        self._scores, self._times = np.empty(2 * memory), np.empty(2 * memory)
        self._begin = self._end = 0
        self._gap = self._until_look = every

    def decide(self, times_seconds: Floats, scores: Floats) -> Floats:
        """Return the threshold in force for each score, shape (n,), and take the scores in.

        Where the budget is used up that is 1, which flags nothing. How a stream is cut into calls
        makes no difference.
        """
        thresholds = np.empty(len(scores))
        at = 0
        while at < len(scores):
            until = min(at + self._until_look, len(scores))
            here = slice(at, until)
            thresholds[here] = self._decide(times_seconds[here], scores[here])
            self._remember(times_seconds[here], scores[here])
            self._until_look -= until - at
            if self._until_look == 0:
                self._look()
            at = until
        return thresholds

    def allowance(self, period: int) -> int:
        """Return the alerts that a period may have: whole numbers that add up to the budget."""
        return self._until(period + 1) - self._until(period)

    def snapshot(self) -> Snapshot:
        """Return a copy of the state, plain."""
        held = slice(self._begin, self._end)
        rest = {name: getattr(self, name) for name in (*_GIVEN, *_PLAIN)} | {
            "seen": list(self._seen.items()),
            "spent": list(self._spent.items()),
            "traffic": None if self.traffic is None else self.traffic.snapshot(),
        }
        return {
            "scores": self._scores[held].copy(),
            "times": self._times[held].copy(),
            "rest": np.frombuffer(json.dumps(rest).encode(), dtype=np.uint8),
        }

    def restore(self, state: Restored) -> None:
        """Take over a snapshot; not that of another budget."""
        rest = json.loads(state["rest"].tobytes())
        if any(rest[name] != getattr(self, name) for name in _GIVEN):
            return
        for name in _PLAIN:
            setattr(self, name, rest[name])
        self._seen, self._spent = (
            {int(period): int(count) for period, count in rest[name]} for name in ("seen", "spent")
        )
        self.traffic = None if rest["traffic"] is None else Traffic.restored(rest["traffic"])
        self._begin, self._end = 0, len(state["scores"])
        self._scores[: self._end], self._times[: self._end] = state["scores"], state["times"]

    def _until(self, period: int) -> int:
        """Alerts that all periods before this one may have had."""
        # Over the parts, these add up to floor(count * period) (Hermite's identity).
        return math.floor(self.count * period / self.parts + self.part / self.parts + 1e-6)

    def _decide(self, times: Floats, scores: Floats) -> Floats:
        periods = np.floor_divide(times, self.window_seconds)
        thresholds = np.where(periods == self._period, self.value, self._next_value)
        for period, number in counted(periods):
            self._seen[period] = self._seen.get(period, 0) + number
        for i in np.flatnonzero(scores >= thresholds).tolist():
            period = int(periods[i])
            spent = self._spent.get(period, 0)
            if self._credit >= 1.0 and spent < self.allowance(period):
                self._credit -= 1.0
                self._spent[period] = spent + 1
            else:
                thresholds[i] = 1.0
        return thresholds

    def _remember(self, times: Floats, scores: Floats) -> None:
        if self._end + len(scores) > len(self._scores):
            kept = slice(max(self._begin, self._end - self.memory), self._end)
            size = kept.stop - kept.start
            self._scores[:size], self._times[:size] = self._scores[kept], self._times[kept]
            self._begin, self._end = 0, size
        here = slice(self._end, self._end + len(scores))
        self._scores[here], self._times[here] = scores, times
        self._end = here.stop
        self._begin = max(self._begin, self._end - self.memory)

    def _look(self) -> None:
        """Spread what is left of the budget over what is left of the period."""
        fresh = np.sort(self._times[self._end - self._gap : self._end])
        # Without the tails, so that one clock gone wrong does not move the present.
        begun, now = float(fresh[self._gap // 10]), float(fresh[-1 - self._gap // 10])
        if self.traffic is None:
            self._begun_seconds, self.traffic = begun, Traffic(begun)
        self._forget(now)
        self.traffic.observe(fresh)
        self.traffic.close(now)
        self._period = math.floor(now / self.window_seconds)
        to_come, in_next = self._to_come(self.traffic, self._period, now)
        left = self.allowance(self._period) - self._spent.get(self._period, 0)
        self.value, self._next_value = self._quantiles(
            left / max(to_come, 1.0), self.count / self.parts / max(in_next, 1.0)
        )
        if left <= 0:
            self.value = 1.0
            self._note_used_up(self.traffic, self._period, to_come)
        self._gap = min(
            self.every, max(min(_SHORTEST_GAP, self.every), int(to_come / _LOOKS_AHEAD))
        )
        self._until_look = self._gap
        burst = max(1.0, _BURST * self.max_share * self.every)
        self._credit = min(self._credit + self.max_share * self._gap, burst)

    def early(self) -> tuple[float, int]:
        """Return how early the budget of this period or the last was used up, and the budget.

        The first as the share of the period's traffic that was still to come: 0 where it lasted.
        """
        period = self._period
        if period is None:
            return 0.0, 0
        if self.used_up is None or period - self.used_up[0] > 1:
            return 0.0, self.allowance(period)
        return self.used_up[1], self.allowance(self.used_up[0])

    def _note_used_up(self, traffic: Traffic, period: int, to_come: float) -> None:
        if self.used_up is not None and self.used_up[0] == period:
            return
        whole = to_come + self._seen.get(period, 0)
        # On the first day nobody knows what is to come; and in a few looks nothing is controlled.
        if traffic.whole and whole >= _LOOKS_AHEAD * self.every and self.allowance(period) > 0:
            self.used_up = (period, to_come / whole)

    def _to_come(self, traffic: Traffic, period: int, now: float) -> tuple[float, float]:
        """Return the transactions to expect in the rest of the period and in the whole next one."""
        begin, end = period * self.window_seconds, (period + 1) * self.window_seconds
        in_next = traffic.expected(end, end + self.window_seconds)
        if in_next is None:  # the first hour: as many per second as so far
            early, late = np.quantile(self._times[self._begin : self._end], [0.05, 0.95])
            rate = 0.9 * (self._end - self._begin) / max(late - early, 1.0)
            return float(rate * max(end - now, 0.0)), float(rate * self.window_seconds)
        so_far = traffic.expected(max(begin, self._begun_seconds), max(now, begin))
        rest = traffic.expected(min(now, end), end)
        prior = _PRIOR_SHARE * in_next
        level = (self._seen.get(period, 0) + prior) / max((so_far or 0.0) + prior, 1e-9)
        return level * (rest or 0.0), in_next

    def _quantiles(self, *shares: float) -> list[float]:
        """Return for each share the lowest score of those that are flagged at it."""
        scores = self._scores[self._begin : self._end]
        n = len(scores)
        allowed = [int(min(max(share, 0.0), self.max_share) * n + 1e-9) for share in shares]
        # The highest scores in order, one more than are flagged at most.
        top = min(max(allowed) + 1, n)
        ranked = np.sort(np.partition(scores, n - top)[n - top :])
        found = []
        for a in allowed:
            first = 0 if a >= n else int(np.searchsorted(ranked, ranked[top - 1 - a], side="right"))
            beyond_all = min(float(ranked[-1]) + 1e-9, 1.0)
            found.append(float(ranked[first]) if first < top else beyond_all)
        return found

    def _forget(self, now: float) -> None:
        """Drop scores of a model that has changed since, and counts of other periods."""
        oldest = now - _OLD_PERIODS * self.window_seconds
        while self._times[self._begin] < oldest and self._end - self._begin > _FEW:
            self._begin += max((self._end - self._begin) // 10, 1)
        if len(self._seen) > _PERIODS:
            near = sorted(self._seen, key=lambda p: abs(p - now / self.window_seconds))
            self._seen = {p: self._seen[p] for p in near[: _PERIODS // 2]}
            self._spent = {p: self._spent[p] for p in self._spent if p in self._seen}
