"""The legitimate habit of each kind of transaction."""

from __future__ import annotations

import numpy as np
import pytest

from stream.core.habit import Habit

KINDS = ("type_A", "type_B", "busy")
OF_A = np.array([[1.0, 0.0, 0.0]], dtype=np.float32)
OF_B = np.array([[0.0, 1.0, 0.0]], dtype=np.float32)


def learn(
    habit: Habit, names: tuple[str, ...], *row: float, weight: float = 1.0, times: int = 1
) -> None:
    """Have it learn one example, so many times."""
    rows = np.tile(np.array(row, dtype=np.float32), (times, 1))
    habit.learn(names, rows, np.full(times, weight))


def test_habit_is_the_mean_of_legitimate_examples_by_what_they_stand_for() -> None:
    habit = Habit(half_life=1e9)
    learn(habit, ("a",), 1.0, weight=9.0)
    learn(habit, ("a",), 11.0)
    assert habit.usual(("a",), np.zeros((2, 1), np.float32)) == pytest.approx(2.0)


def test_habit_follows_a_change_within_a_few_half_lives() -> None:
    habit = Habit(half_life=100)
    learn(habit, ("a",), 1.0, times=1_000)
    learn(habit, ("a",), 5.0, times=500)
    assert habit.usual(("a",), np.zeros((1, 1), np.float32)) == pytest.approx(5.0, abs=0.2)


def test_each_kind_has_a_habit_of_its_own_and_one_hardly_known_that_of_all() -> None:
    habit = Habit(half_life=1e9)
    learn(habit, KINDS, 1.0, 0.0, 8.0, times=10_000)
    assert habit.usual(KINDS, OF_B)[0, 2] == pytest.approx(8.0)
    learn(habit, KINDS, 0.0, 1.0, 2.0)
    assert habit.usual(KINDS, OF_B)[0, 2] == pytest.approx(8.0, abs=0.2)
    learn(habit, KINDS, 0.0, 1.0, 2.0, times=10_000)
    assert habit.usual(KINDS, OF_B)[0, 2] == pytest.approx(2.0, abs=0.1)
    assert habit.usual(KINDS, OF_A)[0, 2] == pytest.approx(8.0, abs=0.1)


def test_many_at_once_come_to_what_one_after_the_other_comes_to() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(200, 3)).astype(np.float32)
    rows[:, 0], rows[:, 1] = np.arange(200) % 2, np.arange(200) % 2 == 0
    weights = rng.uniform(1.0, 30.0, 200)
    at_once, one_by_one = Habit(half_life=100), Habit(half_life=100)
    for part in np.array_split(np.arange(200), 3):
        at_once.learn(KINDS, rows[part], weights[part])
    for row, weight in zip(rows, weights, strict=True):
        one_by_one.learn(KINDS, row[None], np.array([weight]))
    for kind in (OF_A, OF_B):
        assert at_once.usual(KINDS, kind) == pytest.approx(one_by_one.usual(KINDS, kind))


def test_what_no_example_had_is_not_known() -> None:
    habit = Habit(half_life=100)
    assert np.isnan(habit.usual(KINDS, OF_A)).all()
    learn(habit, ("type_A",), 1.0)
    assert np.isnan(habit.usual(KINDS, OF_A)[0]).tolist() == [False, True, True]
    learn(habit, KINDS, 1.0, 0.0, 3.0)
    assert habit.usual(KINDS, OF_A)[0].tolist() == [1.0, 0.0, 3.0]


def test_a_feature_that_an_example_does_not_have_is_left_as_it_is() -> None:
    habit = Habit(half_life=100)
    learn(habit, KINDS, 1.0, 0.0, np.nan)
    assert np.isnan(habit.usual(KINDS, OF_A)[0]).tolist() == [False, False, True]
    learn(habit, KINDS, 1.0, 0.0, 3.0)
    learn(habit, KINDS, 1.0, 0.0, np.nan)
    assert habit.usual(KINDS, OF_A)[0].tolist() == [1.0, 0.0, 3.0]
