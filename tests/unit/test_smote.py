"""Synthetic frauds lie between real ones, and make sense column by column."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import dummy

from stream.core.neighbours import Columns, Reservoir, between, distances, nearest, two_valued
from stream.core.smote import BorderlineSmote, Smote

KINDS = ("card", "cash", "transfer")


def fraud(chance: random.Random, *, shift: float = 0.0, scale: float = 1.0) -> dict[str, float]:
    """A fraud with a one-hot kind, as raw flags or as a scaler leaves them."""
    kind = chance.choice(KINDS)
    x = {"amount": chance.gauss(5.0, 2.0), "rate": chance.random() * 1e6}
    return x | {name: (float(name == kind) - shift) * scale for name in KINDS}


@pytest.mark.parametrize("kind", [Smote, BorderlineSmote])
def test_flags_of_a_synthetic_fraud_are_those_of_a_real_one(kind: type[Smote]) -> None:
    chance = random.Random(1)
    model = kind(dummy.PriorClassifier(), 0.5, seed=1)
    for i in range(600):
        model.learn_one(fraud(chance), i % 2 == 0)
    for _ in range(100):
        for made in model.synthesised(fraud(chance), 3):
            assert sorted(made[name] for name in KINDS) == [0.0, 0.0, 1.0]


def test_flags_behind_a_scaler_that_still_moves_are_not_interpolated() -> None:
    chance = random.Random(1)
    model = Smote(dummy.PriorClassifier(), 0.5, seed=1)
    for i in range(500):
        model.learn_one(fraud(chance, shift=0.3 + i / 1e5, scale=2.0 + i / 1e4), True)
    for _ in range(100):
        (made,) = model.synthesised(fraud(chance, shift=0.305, scale=2.05), 1)
        assert all(made[name] < -0.5 or made[name] > 1.3 for name in KINDS)


def test_a_synthetic_fraud_lies_between_two_real_ones() -> None:
    chance = random.Random(2)
    frauds = [fraud(chance) for _ in range(50)]
    model = Smote(dummy.PriorClassifier(), 0.5, seed=1)
    for x in frauds:
        model.learn_one(x, True)
    x = frauds[7]
    for made in model.synthesised(x, 50):
        ends = [
            z
            for z in frauds
            for u in [(made["amount"] - x["amount"]) / ((z["amount"] - x["amount"]) or 1.0)]
            if 0.0 <= u <= 1.0 and abs(x["rate"] + u * (z["rate"] - x["rate"]) - made["rate"]) < 1.0
        ]
        assert ends


def test_features_that_are_no_numbers_stay_as_they_are() -> None:
    model = Smote(dummy.PriorClassifier(), 0.5, seed=1)
    for i in range(20):
        model.learn_one({"a": float(i), "who": f"C{i}", "hole": float("nan")}, True)
    (made,) = model.synthesised({"a": 3.0, "who": "me", "hole": float("inf"), "new": 1.0}, 1)
    assert (made["who"], made["hole"], made["new"]) == ("me", float("inf"), 1.0)
    assert 0.0 <= made["a"] <= 19.0


def test_the_input_is_not_kept_and_not_changed() -> None:
    model = BorderlineSmote(dummy.PriorClassifier(), 0.5, seed=1)
    x = {"a": 1.0}
    model.learn_one(x, True)
    x["a"] = 7.0
    assert model._frauds.points.tolist() == [[1.0]]
    assert model._examples == [{"a": 1.0}]


def test_borderline_frauds_come_from_the_border() -> None:
    """Frauds lie from 0 to 10, legitimate examples from -7 to 3: danger is below 3."""
    chance = random.Random(3)
    model = BorderlineSmote(dummy.PriorClassifier(), 0.5, seed=1)
    for i in range(2_000):
        at = chance.random() * 10.0
        model.learn_one({"x": at if i % 2 else at - 7.0}, bool(i % 2))
    made = [x["x"] for _ in range(50) for x in model.synthesised({"x": 9.0}, 4)]
    assert max(made) < 4.0


def test_without_a_border_a_fraud_is_repeated() -> None:
    chance = random.Random(3)
    model = BorderlineSmote(dummy.PriorClassifier(), 0.5, seed=1)
    for i in range(400):
        model.learn_one({"x": chance.random() + (100.0 if i % 2 else 0.0)}, bool(i % 2))
    x = {"x": 100.5}
    assert model.synthesised(x, 2) == [x, x]


@given(st.integers(2, 40), st.integers(0, 200))
def test_a_reservoir_holds_the_newest_point_and_never_more_than_its_size(size: int, n: int) -> None:
    chance, points = random.Random(n), Reservoir(size)
    for i in range(n):
        slot = points.add(np.array([float(i)] * (1 + i // 50)), chance)
        assert points.points[slot][0] == i
    assert len(points) == min(size, n)
    assert len(set(points.points[:, 0].tolist())) == len(points) if n else True


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60, unique=True), st.integers(1, 9))
def test_the_nearest_are_those_a_full_sort_finds(values: list[float], k: int) -> None:
    squared = distances(np.array(values)[:, None], np.zeros(1), np.ones(1))
    found = {float(squared[i]) for i in nearest(squared, k)}
    assert found <= set(sorted(squared.tolist())[:k])


def test_the_order_of_features_does_not_matter() -> None:
    first, second = Columns(), Columns()
    a = first.vector({"a": 1.0, "b": 2.0})
    b = second.vector({"b": 2.0, "a": 1.0})
    assert a.tolist() == b.tolist()


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_whole_columns_come_from_one_parent(at: float) -> None:
    mixed = between(np.array([1.0, 0.0]), np.array([0.0, 1.0]), at, np.array([True, True]))
    assert sorted(mixed.tolist()) == [0.0, 1.0]


def test_many_values_are_not_two() -> None:
    column = np.random.default_rng(1).normal(size=(100, 1))
    assert not two_valued(column)[0]
    assert two_valued(np.zeros((5, 1)))[0]
