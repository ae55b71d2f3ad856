"""Reasons of an alert."""

from __future__ import annotations

import math

import pytest

from stream.core.explain import Habit, reasons


def linear(x: dict[str, float]) -> float:
    return 1 / (1 + math.exp(-(2.0 * x["a"] + 1.0 * x["b"] - 3.0 * x["c"])))


def test_the_strongest_reasons_come_first_with_the_log_odds_they_account_for() -> None:
    habit = {"a": 0.0, "b": 0.0, "c": 0.0}
    found = reasons({"a": 1.0, "b": 1.5, "c": 0.5, "new": 9.0}, habit, linear)
    assert [(r.feature, r.value, r.habit) for r in found] == [("a", 1.0, 0.0), ("b", 1.5, 0.0)]
    assert found[0].effect == pytest.approx(2.0)
    assert found[1].effect == pytest.approx(1.5)


def test_habit_is_the_mean_of_legitimate_examples_by_what_they_stand_for() -> None:
    habit = Habit(half_life=1e9)
    habit.learn({"a": 1.0}, weight=9.0)
    habit.learn({"a": 11.0}, weight=1.0)
    assert habit.means["a"] == pytest.approx(2.0)


def test_habit_follows_a_change_within_a_few_half_lives() -> None:
    habit = Habit(half_life=100)
    for _ in range(1_000):
        habit.learn({"a": 1.0}, weight=1.0)
    for _ in range(500):
        habit.learn({"a": 5.0}, weight=1.0)
    assert habit.means["a"] == pytest.approx(5.0, abs=0.2)
