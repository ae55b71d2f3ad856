"""The rules of alarms by figures: what raises one, what is chance, and when it is over."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from stream.core import alarm_rules as rules
from stream.core.alarms import KINDS, Alarms, Finding, kind_of
from stream.core.days import Days
from stream.core.feature_watch import FeatureWatch
from stream.core.label_gaps import LabelGaps
from stream.core.scored import Bools, Floats, Scored
from stream.core.windows import Windows

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0
PER_HOUR = 200


def found(holds: bool | None, *, sure: bool = False, figure: float = 1.0) -> Finding:
    return Finding("prior_shift", holds, figure, 0.5, "cause", sure)


def raised_after(*looks: Finding) -> list[bool]:
    alarms, seen = Alarms(), []
    for i, look in enumerate(looks):
        alarms.update([look], NOW + timedelta(minutes=i))
        seen.append(bool(alarms.raised))
    return seen


def test_an_alarm_is_raised_and_over_only_after_two_looks_in_a_row() -> None:
    yes, no, unknown = found(True), found(False), found(None)
    assert raised_after(yes, no, yes, yes, no, yes, no, no) == [False] * 3 + [True] * 4 + [False]
    assert raised_after(yes, unknown, yes, yes, unknown, no, unknown, no, no) == (
        [False] * 3 + [True] * 5 + [False]
    )
    assert raised_after(found(True, sure=True), found(False, sure=True)) == [True, False]


def test_a_raised_alarm_keeps_its_beginning_and_takes_the_newest_figure() -> None:
    alarms = Alarms(looks=1)
    told = [
        alarms.update([found(True, figure=figure)], NOW + timedelta(minutes=i)).raised
        for i, figure in enumerate((1.0, 2.0, 3.0))
    ]
    assert [len(each) for each in told] == [1, 0, 0]
    (alarm,) = alarms.raised
    assert (alarm.since, alarm.figure) == (NOW, 3.0)
    assert alarm.look == KINDS["prior_shift"].look
    assert alarms.clear().over == (alarm,)
    assert not alarms.raised


def test_every_kind_says_what_it_means_and_what_to_look_at() -> None:
    assert {kind_of(f"{name}:x") for name in KINDS} == set(KINDS)
    assert all(all(kind) for kind in KINDS.values())


def days(
    rates: list[float],
    *,
    flagged: float | list[float] = 0.01,
    announced: float | None = None,
    learned: float = 1_000.0,
) -> Days:
    """Days of fraud rates, the last one newest, all labelled; half of what is flagged is fraud."""
    windows = Windows(0, 3600, 1_000)
    shares = flagged if isinstance(flagged, list) else [flagged] * len(rates)
    for hour in range(24 * len(rates)):
        rate, share = rates[hour // 24], shares[hour // 24]
        frauds = np.arange(PER_HOUR) < round(rate * PER_HOUR)
        alerts = np.arange(PER_HOUR) < round(share * PER_HOUR)
        scores = np.full(PER_HOUR, rate if announced is None else announced)
        times = np.full(PER_HOUR, HOUR * hour)
        state = {"model_position": 10 * learned, "learned_share": 0.1}
        windows.decided(scored(times, scores, alerts), state)
        windows.labelled(scored(times, scores, alerts), frauds)
    return Days([windows], DAY * len(rates))


def scored(times: Floats, scores: Floats, alerts: Bools) -> Scored:
    """Columns of transactions of one amount."""
    n = len(times)
    return Scored(times, scores, alerts, np.ones(n), np.zeros((n, 2), dtype=np.int16))


def holds(finding: Finding | None) -> bool | None:
    assert finding is not None
    return finding.holds


def test_a_prior_shift_is_raised_both_ways_and_not_by_chance_or_too_little_history() -> None:
    assert holds(rules.prior_shift(days([0.02] * 5 + [0.06]))) is True
    assert holds(rules.prior_shift(days([0.02] * 5 + [0.0]))) is True
    assert holds(rules.prior_shift(days([0.02] * 5 + [0.02]))) is False
    assert holds(rules.prior_shift(days([0.02] * 5 + [0.025]))) is not True
    assert rules.prior_shift(days([0.02, 0.02, 0.2])) is None


def test_a_prior_shift_lasts_until_it_is_what_is_usual() -> None:
    after = [rules.prior_shift(days([0.02] * 7 + [0.06] * n)) for n in range(1, 8)]
    assert [holds(each) for each in after[:3]] == [True, True, True]
    assert holds(after[6]) is False


def test_days_whose_labels_have_not_come_are_not_judged() -> None:
    windows = Windows(0, 3600, 1_000)
    one = np.ones(PER_HOUR)
    for hour in range(24 * 6):
        times = np.full(PER_HOUR, HOUR * hour)
        quiet = scored(times, 0.01 * one, one < 0)
        windows.decided(quiet, {})
        if hour < 24 * 4 + 6:
            windows.labelled(quiet, np.arange(PER_HOUR) < 2)
    end = Days([windows], 6 * DAY).matured()
    assert end is not None
    # A tenth of the day may be missing.
    assert math.isclose(end, 42 - 2, abs_tol=1)


def test_far_too_few_alerts_are_below_prior_and_a_young_model_is_left_alone() -> None:
    fewer = days([0.02] * 6, flagged=[0.02] * 4 + [0.0] * 2)
    assert holds(rules.below_prior(fewer, 0.02)) is True
    assert holds(rules.below_prior(days([0.02] * 6, flagged=0.01), 0.02)) is False
    young = days([0.02] * 6, flagged=[0.02] * 4 + [0.0] * 2, learned=50)
    assert rules.below_prior(young, 0.02) is None


def test_scores_that_announce_several_times_the_frauds_are_calibration_drift() -> None:
    assert holds(rules.calibration_drift(days([0.02] * 6, announced=0.06))) is True
    assert holds(rules.calibration_drift(days([0.02] * 6, announced=0.005))) is True
    assert holds(rules.calibration_drift(days([0.02] * 6, announced=0.02))) is False


def test_a_precision_surely_below_the_floor_is_told_and_one_just_below_is_not() -> None:
    half = days([0.02] * 6, flagged=0.04)  # half of these are frauds
    assert holds(rules.precision_floor(half, 0.8)) is True
    assert holds(rules.precision_floor(half, 0.52)) is False
    assert rules.precision_floor(days([0.02] * 6, flagged=0.0), 0.8) is None


def test_score_drift_is_held_to_what_has_been_usual() -> None:
    six = days([0.02] * 6)
    usual = np.array([9_000, 900, 100])
    moved = np.array([6_000, 3_000, 1_000])
    assert holds(rules.score_drift(six, np.array([usual] * 6))) is False
    assert holds(rules.score_drift(six, np.array([moved, *[usual] * 5]))) is True
    restless = np.array([moved, usual, moved, usual, moved, usual])
    assert holds(rules.score_drift(six, restless)) is not True


@pytest.mark.parametrize(("every_hours", "silent_after"), [(1, 24 + 3), (24, 24 + 3 * 24)])
def test_labels_are_silent_by_the_gaps_that_were_usual(every_hours: int, silent_after: int) -> None:
    gaps = LabelGaps()
    assert gaps.finding() is None
    for hour in range(24 * 4):
        gaps.observe(HOUR * hour, 100, 50 if hour % every_hours == 0 else 0)
        told = gaps.finding()
        assert told is not None
        assert not told.holds
    last = (24 * 4 - 1) // every_hours * every_hours
    for hour in range(24 * 4, 24 * 20):
        gaps.observe(HOUR * hour, 100, 0)
        told = gaps.finding()
        assert told is not None
        assert told.holds == (hour - last > silent_after)


def blocks(
    watch: FeatureWatch, name: str, share: float, count: int, seed: int = 1
) -> dict[str, bool | None]:
    """What blocks show of a feature that is 1 in such a share of transactions, else 0."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        watch.observe((name,), (rng.random((1_000, 1)) < share).astype(np.float32))
    return {each.name: each.holds for each in watch.findings()}


def test_a_feature_is_constant_only_where_it_used_to_vary_for_sure() -> None:
    watch = FeatureWatch(block=1_000)
    assert blocks(watch, "drains", 0.1, 12) == {}
    assert blocks(watch, "drains", 0.0, 1) == {"feature_constant:drains": True}
    assert blocks(watch, "drains", 0.0, 3) == {"feature_constant:drains": True}
    assert blocks(watch, "drains", 0.1, 1) == {"feature_constant:drains": False}
    assert blocks(watch, "drains", 0.1, 5) == {}
    rare = FeatureWatch(block=1_000)
    assert blocks(rare, "type_DEBIT", 0.005, 30) == {}
    assert blocks(rare, "type_DEBIT", 0.0, 10) == {}


def test_a_field_is_missing_where_half_of_what_had_it_has_not() -> None:
    watch = FeatureWatch(block=1_000)
    assert blocks(watch, "orig_balance_missing", 0.1, 12) == {}
    assert blocks(watch, "orig_balance_missing", 0.3, 1) == {}
    assert blocks(watch, "orig_balance_missing", 0.8, 2) == {"feature_missing:orig_balance": True}
    assert blocks(watch, "orig_balance_missing", 0.1, 1) == {"feature_missing:orig_balance": False}
