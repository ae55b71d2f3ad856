"""The rolling curve against brute force, and what the policies promise."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.threshold import (
    AlertBudget,
    BudgetThreshold,
    FBeta,
    RollingCurve,
    Threshold,
    parse_policy,
)

examples = st.lists(
    st.tuples(
        st.integers(1, 99).map(lambda n: n / 100),  # so that ties occur
        st.booleans(),
        st.sampled_from([1.0, 7.5]),
    ),
    min_size=1,
    max_size=50,
)


def f_of(rows: list, threshold: float, beta: float) -> float:
    tp = sum(w for score, fraud, w in rows if fraud and score >= threshold)
    fp = sum(w for score, fraud, w in rows if not fraud and score >= threshold)
    fn = sum(w for score, fraud, w in rows if fraud and score < threshold)
    return (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp) if tp else 0.0


@given(examples, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_best_cut_is_the_best_of_all_thresholds(rows: list, beta: float) -> None:
    curve = RollingCurve()
    for row in rows:
        curve.add(*row)
    best = curve.points(beta).best()
    assert best.f_beta == pytest.approx(f_of(rows, best.threshold, beta))
    assert best.f_beta == pytest.approx(max(f_of(rows, score, beta) for score, _, _ in rows))


@given(examples, st.integers(0, 100).map(lambda n: n / 100 + 0.001))
def test_the_curve_tells_what_any_threshold_would_have_had(rows: list, at: float) -> None:
    curve = RollingCurve()
    for row in rows:
        curve.add(*row)
    cuts, *_ = curve.points(1.0)
    near = [cut for cut in cuts if cut >= at]
    assert curve.points(1.0).f_at(at) == pytest.approx(f_of(rows, min(near), 1.0) if near else 0.0)


def test_the_curve_keeps_the_last_frauds_and_what_came_since_the_first_of_them() -> None:
    curve = RollingCurve(max_frauds=3, max_examples=1_000)
    for i in range(100):
        curve.add(i / 100, i % 10 == 0, 1.0)
    cuts, _, _, recall = curve.points(1.0)
    assert curve.frauds == 3
    assert len(cuts) == 39  # from behind the fraud at 60 on
    assert recall[-1] == 1.0


def learned(threshold: Threshold, n: int, fraud_at: float, chance: random.Random) -> None:
    for i in range(n):
        fraud = i % 20 == 0
        score = chance.gauss(fraud_at if fraud else fraud_at - 0.3, 0.03)
        threshold.learn(min(max(score, 0.001), 0.999), fraud, 1.0)


def test_the_threshold_holds_until_there_are_frauds_enough() -> None:
    threshold = Threshold(FBeta(1.0), min_frauds=10)
    for _ in range(9):
        threshold.learn(0.9, True, 1.0)
        threshold.learn(0.1, False, 1.0)
    assert threshold.value is None
    threshold.learn(0.9, True, 1.0)
    assert threshold.value == pytest.approx(0.5)


def test_the_threshold_follows_the_scores_in_bounded_steps() -> None:
    threshold, chance = Threshold(FBeta(1.0), max_step=0.5), random.Random(1)
    learned(threshold, 2_000, 0.9, chance)
    assert threshold.value is not None
    high = threshold.value
    assert 0.6 < high < 0.9
    moves = [high]
    for _ in range(400):
        learned(threshold, 20, 0.4, chance)
        moves.append(threshold.value)
    odds = np.log(np.array(moves) / (1 - np.array(moves)))
    assert 0.1 < moves[-1] < 0.4
    assert np.abs(np.diff(odds)).max() <= 0.5 + 1e-9


def test_the_threshold_does_not_move_for_less_than_the_hysteresis() -> None:
    threshold, chance = Threshold(FBeta(1.0), hysteresis=0.05), random.Random(1)
    learned(threshold, 2_000, 0.9, chance)
    before = threshold.value
    learned(threshold, 2_000, 0.9, chance)
    assert threshold.value == before


@pytest.mark.parametrize("chunk", [1, 7, 500])
def test_the_budget_is_kept_whatever_the_batches(chunk: int) -> None:
    chance = np.random.default_rng(1)
    times, scores = np.arange(20_000) * 3.6, chance.beta(1, 50, 20_000)  # 1,000 in an hour
    budget = BudgetThreshold(count=10, window_seconds=3600)
    thresholds = np.concatenate(
        [
            budget.decide(times[i : i + chunk], scores[i : i + chunk])
            for i in range(0, len(scores), chunk)
        ]
    )
    assert (scores >= thresholds)[1_000:].sum() / 19 == pytest.approx(10, rel=0.25)
    whole = BudgetThreshold(count=10, window_seconds=3600).decide(times, scores)
    assert np.array_equal(whole, thresholds)


def test_few_transactions_to_a_window_are_not_all_flagged() -> None:
    chance = np.random.default_rng(1)
    times, scores = np.arange(5_000) * 360.0, chance.random(5_000)  # 10 in an hour
    budget = BudgetThreshold(count=10, window_seconds=3600, max_share=0.02)
    alerts = scores >= budget.decide(times, scores)
    assert alerts[500:].mean() == pytest.approx(0.02, abs=0.01)


def test_a_model_that_knows_nothing_flags_nothing() -> None:
    budget = BudgetThreshold(count=10, window_seconds=3600)
    times, scores = np.arange(5_000.0), np.full(5_000, 0.5)
    assert not (scores >= budget.decide(times, scores)).any()


def test_policies_are_read_from_text() -> None:
    assert parse_policy("f_beta:0.5") == FBeta(0.5)
    assert parse_policy("alert_budget:100") == AlertBudget(100.0)
    for text in ("", "f_beta", "f_beta:", "f_beta:-1", "f_beta:nan", "f_beta:inf", "best:1"):
        with pytest.raises(ValueError, match="not understood"):
            parse_policy(text)


def test_a_curve_that_promises_too_little_leaves_it_to_the_alert_budget() -> None:
    threshold, chance = Threshold(FBeta(1.0), min_f=0.2), random.Random(1)
    for i in range(4_000):
        threshold.learn(chance.random(), i % 50 == 0, 1.0)
    assert threshold.value is None
    assert "the alert budget decides" in threshold.reason
    learned(threshold, 8_000, 0.9, chance)
    assert threshold.value is not None
