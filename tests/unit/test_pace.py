"""Event time to wall time, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest

from producers.order import Item
from producers.pace import BEHIND_SECONDS, CALL_SECONDS, Pace
from producers.rows import Row
from stream.events import Transaction, utc


class Wall:
    """A clock, and what was said and slept by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.stop_at = float("inf")

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= CALL_SECONDS
        self.now += seconds

    def pace(self, *, speed: float | None = None, rate: float | None = None) -> Pace:
        return Pace(
            speed=speed,
            rate=rate,
            clock=lambda: self.now,
            sleep=self.sleep,
            warn=self.said.append,
            stopped=lambda: self.now >= self.stop_at,
        )


def row(time_seconds: float) -> Row:
    transaction = Transaction(
        transaction_id="t",
        type="PAYMENT",
        amount=1.0,
        nameOrig="C1",
        nameDest="M1",
        timestamp=utc(time_seconds),
    )
    return Row(transaction, time_seconds, False, None)


def sent(wall: Wall, pace: Pace, items: list[Item], cost_seconds: float = 0) -> list[float]:
    """Wall time, since the start, at which each item left."""
    left = []
    start = wall.now
    for call in pace.calls(items):
        left += [wall.now - start] * len(call)
        wall.now += cost_seconds
    return left


def test_a_speed_keeps_the_gaps_of_event_time() -> None:
    wall = Wall()
    at = [0.0, 60.0, 60.0, 120.0, 7200.0]
    left = sent(wall, wall.pace(speed=60), [row(time) for time in at])
    assert left == pytest.approx([0, 1, 1, 2, 120], abs=2 * CALL_SECONDS)
    assert not wall.said


def test_a_rate_spaces_by_count_whatever_the_event_time() -> None:
    wall = Wall()
    left = sent(wall, wall.pace(rate=100), [row(0.0)] * 500 + [row(1e6)] * 500)
    assert left[-1] == pytest.approx(10, abs=0.1)
    assert left == sorted(left)
    assert left[500] == pytest.approx(5, abs=0.1)
    assert len(set(left)) < 250, "what is due within one moment leaves in one call"


def test_nothing_leaves_before_it_is_due() -> None:
    wall = Wall()
    items = [row(number / 7) for number in range(100)]
    left = sent(wall, wall.pace(speed=1), items)
    assert all(
        wall_seconds >= item.time_seconds - 1e-9
        for wall_seconds, item in zip(left, items, strict=True)
    )


def test_a_slow_bus_moves_the_timetable_instead_of_being_overrun() -> None:
    wall = Wall()
    left = sent(wall, wall.pace(rate=1_000), [row(0.0)] * 20_000, cost_seconds=0.5)
    assert wall.said
    assert "slower than asked for" in wall.said[0]
    spent = wall.now - 100
    assert len(wall.said) <= spent / 30 + 1, "once in a while"
    gaps = {round(b - a, 3) for a, b in pairwise(left) if b > a}
    assert min(gaps) >= 0.5
    # Once the bus is quick again, only what is owed of the last moments comes at once.
    owed = sent(wall, wall.pace(rate=1_000), [row(0.0)] * 5_000)
    assert sum(seconds < 0.1 for seconds in owed) <= (BEHIND_SECONDS + 0.2) * 1_000


def test_a_stop_ends_a_long_wait() -> None:
    wall = Wall()
    wall.stop_at = 103.0
    left = sent(wall, wall.pace(speed=1), [row(0.0), row(1e6), row(2e6)])
    assert left == [0]
    assert wall.now == pytest.approx(103, abs=2 * CALL_SECONDS)


def test_an_endless_source_is_taken_only_as_needed() -> None:
    wall = Wall()
    wall.stop_at = 102.0
    endless = chain.from_iterable([row(float(number))] for number in range(10**9))
    assert sum(len(call) for call in wall.pace(speed=10).calls(endless)) == pytest.approx(20, abs=2)


@pytest.mark.parametrize(
    "given", [{}, {"speed": 1, "rate": 1}, {"speed": 0}, {"rate": float("inf")}]
)
def test_a_pace_is_either_a_speed_or_a_rate(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either"):
        Wall().pace(**given)
