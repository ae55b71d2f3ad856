"""Reasons of an alert."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.core.explain import Habit, reasons

NAMES = ("a", "b", "c", "new")


def linear(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    return rows.astype(np.float64) @ np.array([2.0, 1.0, -3.0, 5.0])


def test_the_strongest_reasons_come_first_with_the_log_odds_they_account_for() -> None:
    habit = {"a": 0.0, "b": 0.0, "c": 0.0}
    alerts = np.array([[1.0, 1.5, 0.5, 9.0], [0.0, 1.0, 0.0, 0.0]], dtype=np.float32)
    first, second = reasons(NAMES, alerts, habit, linear)
    assert [(r.feature, r.value, r.habit) for r in first] == [("a", 1.0, 0.0), ("b", 1.5, 0.0)]
    assert [r.effect for r in first] == pytest.approx([2.0, 1.5])
    assert [(r.feature, r.effect) for r in second] == [("b", pytest.approx(1.0))]


def test_alerts_are_explained_together_as_each_on_its_own() -> None:
    rng = np.random.default_rng(1)
    alerts = rng.normal(size=(20, 4)).astype(np.float32)
    habit = {"a": 0.1, "c": -0.2, "new": 0.3}
    apart = [reasons(NAMES, row[None], habit, linear)[0] for row in alerts]
    assert reasons(NAMES, alerts, habit, linear) == apart


def test_a_batch_without_alerts_asks_the_model_nothing() -> None:
    def asked(_: NDArray[np.float32]) -> NDArray[np.float64]:
        raise AssertionError

    assert reasons(NAMES, np.empty((0, 4), dtype=np.float32), {"a": 0.0}, asked) == []


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
