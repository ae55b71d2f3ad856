"""An alert budget is kept in each period, whatever the traffic, the batches and the clocks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.core.budget import BudgetThreshold
from stream.core.traffic import Traffic

Floats = NDArray[np.float64]
DAY = 86_400.0


def a_stream(days: int, a_day: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Event times with a busy noon and quiet nights, and scores."""
    chance = np.random.default_rng(seed)
    times = chance.random(3 * days * a_day) * days * DAY
    busy = 0.5 - 0.45 * np.cos(2 * np.pi * times / DAY)
    times = np.sort(times[chance.random(len(times)) < busy][: days * a_day])
    return times, chance.beta(1, 50, len(times))


def decided(budget: BudgetThreshold, times: Floats, scores: Floats, chunk: int) -> Floats:
    return np.concatenate(
        [
            budget.decide(times[i : i + chunk], scores[i : i + chunk])
            for i in range(0, len(times), chunk)
        ]
    )


def alerts_in(period: float, times: Floats, alerts: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount((times // period).astype(int), weights=alerts).astype(np.int64)


@pytest.mark.parametrize("count", [10, 50, 200])
def test_each_day_has_the_alerts_of_the_budget_within_a_twentieth(count: int) -> None:
    times, scores = a_stream(days=30, a_day=5_000)
    alerts = scores >= BudgetThreshold(count, DAY).decide(times, scores)
    of_day = alerts_in(DAY, times, alerts)[2:-1]
    assert (of_day <= count).all()
    assert (of_day >= 0.95 * count - 1).mean() >= 0.9


def test_a_budget_costs_little_of_what_a_constant_threshold_would_rank_highest() -> None:
    times, scores = a_stream(days=30, a_day=5_000)
    alerts = scores >= BudgetThreshold(50, DAY).decide(times, scores)
    late = times > 2 * DAY
    best = np.sort(scores[late])[::-1][: int((alerts & late).sum())]
    assert scores[alerts & late].mean() > 0.95 * best.mean()


def test_scores_that_rise_tenfold_do_not_break_the_budget() -> None:
    times, scores = a_stream(days=20, a_day=5_000)
    scores = np.where(times > 10.4 * DAY, np.minimum(10 * scores, 0.99), scores)
    of_day = alerts_in(DAY, times, scores >= BudgetThreshold(50, DAY).decide(times, scores))
    assert (of_day <= 50).all()
    assert of_day[12:-1].min() >= 45


def test_three_times_the_traffic_does_not_break_the_budget() -> None:
    times, scores = a_stream(days=20, a_day=6_000)
    kept = (times > 10 * DAY) | (np.arange(len(times)) % 3 == 0)
    times, scores = times[kept], scores[kept]
    of_day = alerts_in(DAY, times, scores >= BudgetThreshold(50, DAY).decide(times, scores))
    assert (of_day <= 50).all()
    assert of_day[2:-1].min() >= 45


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=20), st.sampled_from([0.01, 1.0]))
def test_how_a_stream_is_cut_makes_no_difference(sizes: list[int], max_share: float) -> None:
    times, scores = a_stream(days=2, a_day=3_000)
    whole = BudgetThreshold(20, 6 * 3600.0, max_share=max_share).decide(times, scores)
    budget, at = BudgetThreshold(20, 6 * 3600.0, max_share=max_share), 0
    parts: list[Floats] = []
    while at < len(times):
        size = sizes[len(parts) % len(sizes)]
        parts.append(budget.decide(times[at : at + size], scores[at : at + size]))
        at += size
    assert np.array_equal(np.concatenate(parts), whole)


def test_going_on_from_a_snapshot_equals_going_on() -> None:
    times, scores = a_stream(days=4, a_day=3_000)
    budget = BudgetThreshold(20, DAY)
    budget.decide(times[:5_123], scores[:5_123])
    resumed = pickle.loads(pickle.dumps(budget))  # noqa: S301 - our own
    rest = (times[5_123:], scores[5_123:])
    assert np.array_equal(resumed.decide(*rest), budget.decide(*rest))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.01, 0.05]))
def test_the_largest_share_holds_at_every_moment(seed: int, max_share: float) -> None:
    chance = np.random.default_rng(seed)
    times = np.arange(0.0, 3_000 * 360.0, 360.0)
    scores = np.clip(chance.random(3_000) * 10 ** chance.normal(0, 1, 3_000).cumsum() / 1e3, 0, 0.9)
    budget = BudgetThreshold(10, 3600, max_share=max_share)
    flagged = np.cumsum(scores >= budget.decide(times, scores))
    assert (flagged <= max_share * (np.arange(3_000) + 1 + budget.every)).all()


def test_a_part_of_the_stream_has_its_part_of_the_budget() -> None:
    times, scores = a_stream(days=12, a_day=6_000)
    total = np.zeros(12, np.int64)
    for part in range(3):
        mine = np.arange(len(times)) % 3 == part
        budget = BudgetThreshold(100, DAY, part=part, parts=3)
        alerts = scores[mine] >= budget.decide(times[mine], scores[mine])
        total += alerts_in(DAY, times[mine], alerts)
    assert (total[2:-1] >= 95).all()
    assert (total <= 100).all()


@given(st.floats(0.1, 50.0), st.integers(1, 9), st.integers(0, 10_000))
def test_what_a_period_allows_the_parts_adds_up_to_the_budget(
    count: float, parts: int, period: int
) -> None:
    count = round(count, 2)
    whole = BudgetThreshold(count, DAY).allowance(period)
    budgets = [BudgetThreshold(count, DAY, part=part, parts=parts) for part in range(parts)]
    assert sum(budget.allowance(period) for budget in budgets) == whole


def test_a_budget_goes_on_from_plain_arrays_as_if_nothing_had_been() -> None:
    times, scores = a_stream(days=3, a_day=2_000)
    made, resumed = BudgetThreshold(20, DAY), BudgetThreshold(20, DAY)
    made.decide(times[:3_333], scores[:3_333])
    resumed.restore(made.snapshot())
    rest = slice(3_333, None)
    assert np.array_equal(
        made.decide(times[rest], scores[rest]), resumed.decide(times[rest], scores[rest])
    )
    other = BudgetThreshold(30, DAY)
    other.restore(made.snapshot())
    assert other.value == BudgetThreshold(30, DAY).value


def test_half_an_alert_a_period_is_one_every_other_period() -> None:
    times, scores = a_stream(days=40, a_day=500)
    of_day = alerts_in(DAY, times, scores >= BudgetThreshold(0.5, DAY).decide(times, scores))
    assert of_day.max() == 1
    assert 12 <= of_day.sum() <= 20


def test_one_clock_gone_wrong_does_not_break_the_budget() -> None:
    times, scores = a_stream(days=12, a_day=5_000)
    told = times.copy()
    told[::500] += 3_000 * DAY
    told[250::500] = 0.0
    alerts = scores >= BudgetThreshold(50, DAY).decide(told, scores)
    right = told == times
    of_day = alerts_in(DAY, times[right], alerts[right])[2:-1]
    assert (of_day <= 50).all()
    assert of_day.min() >= 45


def test_few_transactions_to_a_window_are_not_all_flagged() -> None:
    chance = np.random.default_rng(1)
    times, scores = np.arange(0.0, 5_000 * 360.0, 360.0), chance.random(5_000)  # 10 in an hour
    budget = BudgetThreshold(count=10, window_seconds=3600, max_share=0.02)
    alerts = scores >= budget.decide(times, scores)
    assert alerts[500:].mean() == pytest.approx(0.02, abs=0.01)


def test_a_model_that_knows_nothing_flags_nothing() -> None:
    budget = BudgetThreshold(count=10, window_seconds=3600)
    times, scores = np.arange(5_000.0), np.full(5_000, 0.5)
    assert not (scores >= budget.decide(times, scores)).any()


def test_what_is_remembered_is_bounded() -> None:
    times, scores = a_stream(days=60, a_day=2_000)
    budget = BudgetThreshold(20, 3600.0, memory=1_000)
    sizes = []
    for i in range(0, len(times), 500):
        budget.decide(times[i : i + 500], scores[i : i + 500])
        sizes.append(len(pickle.dumps(budget)))
    assert max(sizes) < 2 * sizes[0]


def test_traffic_follows_the_hour_of_the_day() -> None:
    traffic = Traffic(begin_seconds=0.0)
    assert traffic.expected(0.0, 3600.0) is None
    for day in range(3):
        traffic.observe(day * DAY + np.arange(0.0, 3600.0, 10.0))  # the first hour only
        traffic.close((day + 1) * DAY)
    assert traffic.expected(10 * DAY, 10 * DAY + 1800) == pytest.approx(180)
    assert traffic.expected(10 * DAY + 3600, 11 * DAY) == pytest.approx(0)
    assert traffic.expected(10 * DAY - 5, 12 * DAY + 3600) == pytest.approx(3 * 360)
