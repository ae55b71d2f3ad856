"""The legitimate habit of each kind of transaction."""

from __future__ import annotations

import numpy as np
import pytest

from stream.core.habit import Habit

KINDS = ("type_A", "type_B", "busy")
OF_A = np.array([[1.0, 0.0, 0.0]], dtype=np.float32)
OF_B = np.array([[0.0, 1.0, 0.0]], dtype=np.float32)


def test_habit_is_the_mean_of_legitimate_examples_by_what_they_stand_for() -> None:
    habit = Habit(half_life=1e9)
    habit.learn({"a": 1.0}, weight=9.0)
    habit.learn({"a": 11.0}, weight=1.0)
    assert habit.usual(("a",), np.zeros((2, 1), np.float32)) == pytest.approx(2.0)


def test_habit_follows_a_change_within_a_few_half_lives() -> None:
    habit = Habit(half_life=100)
    for _ in range(1_000):
        habit.learn({"a": 1.0}, weight=1.0)
    for _ in range(500):
        habit.learn({"a": 5.0}, weight=1.0)
    assert habit.usual(("a",), np.zeros((1, 1), np.float32)) == pytest.approx(5.0, abs=0.2)


def test_each_kind_has_a_habit_of_its_own_and_one_hardly_known_that_of_all() -> None:
    habit = Habit(half_life=1e9)
    for _ in range(10_000):
        habit.learn({"type_A": 1.0, "type_B": 0.0, "busy": 8.0}, weight=1.0)
    assert habit.usual(KINDS, OF_B)[0, 2] == pytest.approx(8.0)
    habit.learn({"type_A": 0.0, "type_B": 1.0, "busy": 2.0}, weight=1.0)
    assert habit.usual(KINDS, OF_B)[0, 2] == pytest.approx(8.0, abs=0.2)
    for _ in range(10_000):
        habit.learn({"type_A": 0.0, "type_B": 1.0, "busy": 2.0}, weight=1.0)
    assert habit.usual(KINDS, OF_B)[0, 2] == pytest.approx(2.0, abs=0.1)
    assert habit.usual(KINDS, OF_A)[0, 2] == pytest.approx(8.0, abs=0.1)


def test_what_no_example_had_is_not_known() -> None:
    habit = Habit(half_life=100)
    assert np.isnan(habit.usual(KINDS, OF_A)).all()
    habit.learn({"type_A": 1.0}, weight=1.0)
    assert np.isnan(habit.usual(KINDS, OF_A)[0]).tolist() == [False, True, True]
    habit.learn({"type_A": 1.0, "type_B": 0.0, "busy": 3.0}, weight=1.0)
    assert habit.usual(KINDS, OF_A)[0].tolist() == [1.0, 0.0, 3.0]
