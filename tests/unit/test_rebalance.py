"""Laws of the samplers, and River's own checks on the wrappers."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import base, dummy, linear_model
from river.checks import yield_checks

from stream.core.learners import LEARNERS, Committee
from stream.core.rebalance import ClassPrior, Rebalanced, kept, sampling_rate


def stream(n: int, fraud_rate: float, seed: int = 0) -> list[tuple[dict[str, float], bool]]:
    """A stream in which x says something about y, but not all."""
    chance = random.Random(seed)
    rows = []
    for _ in range(n):
        fraud = chance.random() < fraud_rate
        rows.append(({"x": chance.gauss(2.0 if fraud else 0.0, 1.0), "z": chance.random()}, fraud))
    return rows


@pytest.mark.parametrize("target_share", [0.02, 0.1, 0.5])
def test_the_learned_share_tends_to_the_target(target_share: float) -> None:
    model = Rebalanced(dummy.PriorClassifier(), target_share, half_life=5_000, seed=1)
    for x, y in stream(40_000, 0.01):
        model.learn_one(x, y)
    assert model.learned_share == pytest.approx(target_share, rel=0.25)


@pytest.mark.parametrize("target_share", [0.02, 0.1, 0.5])
def test_a_corrected_score_is_calibrated_whatever_the_sampler_does(target_share: float) -> None:
    model = Rebalanced(linear_model.LogisticRegression(), target_share, half_life=20_000, seed=1)
    scores, frauds = [], 0
    for i, (x, y) in enumerate(stream(60_000, 0.02)):
        if i >= 20_000:
            scores.append(model.predict_proba_one(x)[True])
            frauds += y
        model.learn_one(x, y)
    assert sum(scores) / frauds == pytest.approx(1.0, abs=0.2)


def test_an_example_that_stands_for_many_is_learned_as_often_as_the_many_would_be() -> None:
    """A log thinned at 1 in 10 with weight 10 gives the rates of the whole stream."""
    whole = Rebalanced(dummy.PriorClassifier(), 0.1, half_life=1e6, seed=1)
    thinned = Rebalanced(dummy.PriorClassifier(), 0.1, half_life=1e6, seed=1)
    for i, (x, y) in enumerate(stream(60_000, 0.005)):
        whole.learn_one(x, y)
        if y or kept(str(i), 0.1, seed=3):
            thinned.learn_one(x, y, w=1.0 if y else 10.0)
    assert thinned.prior == pytest.approx(whole.prior, rel=0.1)
    assert thinned.learned_share == pytest.approx(whole.learned_share, rel=0.15)
    assert thinned.predict_proba_one({})[True] == pytest.approx(0.005, rel=0.2)


def test_the_class_prior_follows_a_prior_shift_within_a_few_half_lives() -> None:
    prior = ClassPrior(half_life=1_000)
    for i in range(20_000):
        prior.observe(is_fraud=i % 100 == 0)
    for i in range(5_000):
        prior.observe(is_fraud=i % 10 == 0)
    assert prior.value == pytest.approx(0.1, rel=0.1)


@given(st.floats(1e-6, 0.999), st.floats(1e-3, 0.9))
def test_the_sampling_rate_meets_the_target_or_keeps_all(prior: float, share: float) -> None:
    rate = sampling_rate(prior, share)
    learned = prior / (prior + (1 - prior) * rate)
    assert 0 < rate <= 1
    assert learned == pytest.approx(share, rel=1e-6) or (rate == 1 and learned >= share)


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.floats(0, 1), st.floats(0, 1))
def test_what_is_kept_at_a_rate_is_kept_at_every_higher_one(
    ids: list[str], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert all(kept(i, high, 7) for i in ids if kept(i, low, 7))


@pytest.mark.parametrize("name", LEARNERS)
def test_predicting_changes_nothing(name: str) -> None:
    rows = stream(300, 0.2)
    silent, asked = (LEARNERS[name](0.1, 1_000, 3) for _ in range(2))
    for x, y in rows:
        for _ in range(3):
            asked.predict_proba_one(dict(x))
        silent.learn_one(dict(x), y, w=1.0)
        asked.learn_one(dict(x), y, w=1.0)
    for x, _ in rows[:50]:
        assert silent.predict_proba_one(dict(x)) == asked.predict_proba_one(dict(x))


@pytest.mark.parametrize("name", LEARNERS)
def test_going_on_from_a_copy_equals_going_on(name: str) -> None:
    rows = stream(600, 0.2)
    model = LEARNERS[name](0.1, 1_000, 3)
    for x, y in rows[:300]:
        model.learn_one(dict(x), y, w=1.0)
    resumed = copy.deepcopy(model)
    for x, y in rows[300:]:
        model.learn_one(dict(x), y, w=1.0)
        resumed.learn_one(dict(x), y, w=1.0)
    for x, _ in rows[:50]:
        assert model.predict_proba_one(dict(x)) == resumed.predict_proba_one(dict(x))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_that_knows_nothing_gives_a_probability(name: str) -> None:
    proba = LEARNERS[name](0.03, 50_000, 7).predict_proba_one({"x": 1.0})
    assert 0 < proba[True] < 1
    assert proba[True] + proba[False] == pytest.approx(1.0)


CHECKED = [
    Rebalanced(linear_model.LogisticRegression(), seed=1),
    Committee([linear_model.LogisticRegression(), linear_model.LogisticRegression()]),
]


@pytest.mark.parametrize(
    ("model", "check"),
    [(model, check) for model in CHECKED for check in yield_checks(model)],
    ids=lambda value: getattr(value, "__name__", None) or str(getattr(value, "func", value)),
)
def test_rivers_own_estimator_checks_pass(model: base.Estimator, check: Any) -> None:
    check(model.clone())
