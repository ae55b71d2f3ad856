"""What the threshold in force promises, and that early labels of alerts do not bend it."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.maturing import Matured, Maturing
from stream.core.policies import AlertBudget, Cost, FBeta, Policy, PrecisionAtLeast, RecallAtLeast
from stream.core.threshold import Threshold
from stream.events import Source

DAY = 86_400.0
POLICIES = [FBeta(1.0), PrecisionAtLeast(0.8), RecallAtLeast(0.7), Cost(5.0)]


def learned(threshold: Threshold, n: int, fraud_at: float, chance: random.Random) -> None:
    for i in range(n):
        fraud = i % 20 == 0
        score = chance.gauss(fraud_at if fraud else fraud_at - 0.3, 0.03)
        threshold.learn(min(max(score, 0.001), 0.999), fraud, 1.0, amount=50.0)


def test_the_threshold_holds_until_there_are_frauds_enough() -> None:
    threshold = Threshold(FBeta(1.0), min_frauds=10)
    for _ in range(9):
        threshold.learn(0.9, True, 1.0)
        threshold.learn(0.1, False, 1.0)
    assert threshold.value is None
    assert threshold.chosen is None
    threshold.learn(0.9, True, 1.0)
    assert threshold.value == pytest.approx(0.5)


def test_the_threshold_follows_the_scores_in_bounded_steps() -> None:
    threshold, chance = Threshold(FBeta(1.0), max_step=0.5), random.Random(1)
    learned(threshold, 2_000, 0.9, chance)
    assert threshold.value is not None
    moves = [threshold.value]
    assert 0.6 < moves[0] < 0.9
    for _ in range(1_000):
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


def test_a_curve_that_promises_too_little_leaves_it_to_the_alert_budget() -> None:
    threshold, chance = Threshold(FBeta(1.0), min_f=0.2), random.Random(1)
    for i in range(4_000):
        threshold.learn(chance.random(), i % 50 == 0, 1.0)
    assert threshold.value is None
    assert "the alert budget decides" in threshold.reason
    learned(threshold, 16_000, 0.9, chance)
    assert threshold.value is not None


def test_where_no_cut_holds_the_floor_the_closest_decides_and_the_reason_says_so() -> None:
    threshold, chance = Threshold(PrecisionAtLeast(0.8)), random.Random(1)
    for i in range(4_000):
        threshold.learn(chance.random(), i % 50 == 0, 1.0)
    assert threshold.value is not None
    assert "no cut holds the floor" in threshold.reason


def test_a_useless_model_flags_nothing_where_false_alarms_cost_more_than_frauds() -> None:
    threshold, chance = Threshold(Cost(5.0)), random.Random(1)
    for i in range(4_000):
        threshold.learn(chance.random(), i % 50 == 0, 1.0, amount=1.0)
    assert threshold.value == 1.0


def test_a_budget_never_has_a_value_from_labels() -> None:
    threshold = Threshold(AlertBudget(5.0))
    learned(threshold, 2_000, 0.9, random.Random(1))
    assert threshold.value is None
    assert threshold.reason == "the alert budget decides"


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_the_trade_off_that_was_chosen_is_told_in_words_and_figures(policy: Policy) -> None:
    threshold = Threshold(policy)
    learned(threshold, 4_000, 0.7, random.Random(1))
    assert threshold.chosen is not None
    assert 0 < threshold.chosen.precision_lower <= threshold.chosen.precision <= 1
    assert 0 < threshold.chosen.recall_lower <= threshold.chosen.recall <= 1
    assert f"precision {threshold.chosen.precision:.2f}" in threshold.reason


labels = st.lists(
    st.tuples(st.floats(0, 0.999), st.booleans(), st.sampled_from([1.0, 9.0]), st.booleans()),
    min_size=60,
    max_size=200,
)


def teach(threshold: Threshold, rows: list[Any], begin: float) -> None:
    for i, (score, fraud, weight, alerted) in enumerate(rows):
        time = begin + 60.0 * i - (0 if alerted else 600)
        threshold.learn(
            score,
            fraud,
            weight,
            amount=10.0,
            time_seconds=time,
            labelled_seconds=begin + 60.0 * i,
            source="analyst" if alerted else "chargeback",
            alerted=alerted,
        )


@settings(deadline=None, max_examples=40)
@given(labels, labels, st.sampled_from(POLICIES))
def test_the_threshold_is_a_share_and_going_on_from_a_snapshot_equals_going_on(
    rows: list[Any], rest: list[Any], policy: Policy
) -> None:
    threshold = Threshold(policy)
    teach(threshold, rows, 0.0)
    assert threshold.value is None or 0 <= threshold.value <= 1
    resumed = pickle.loads(pickle.dumps(threshold))  # noqa: S301 - our own
    for each in (threshold, resumed):
        teach(each, rest, 60.0 * len(rows))
    assert resumed.value == threshold.value
    assert resumed.chosen == threshold.chosen
    assert resumed.reason == threshold.reason


def a_stream(days: int, seed: int = 1) -> list[tuple[float, bool, float]]:
    """Time, fraud and score of 400 transactions a day; ten times the frauds from day 20 on."""
    chance = np.random.default_rng(seed)
    times = np.sort(chance.random(400 * days) * days * DAY)
    frauds = chance.random(len(times)) < np.where(times < 20 * DAY, 0.03, 0.3)
    scores = np.clip(chance.normal(np.where(frauds, 0.55, 0.3), 0.1), 0.01, 0.99)
    return list(zip(times.tolist(), frauds.tolist(), scores.tolist(), strict=True))


def recall_told(
    *, timely: bool, until_days: float, review_rate: float = 1.0, told_rate: float = 1.0
) -> float:
    """Recall at 0.5 on the curve where alerts are labelled in an hour and the rest in a week.

    With a review rate only such a share of what was not flagged is ever labelled.
    """
    chance, due = random.Random(1), []
    for time, fraud, score in a_stream(days=30):
        alerted = score >= 0.5
        if alerted or chance.random() < review_rate:
            source: Source = "analyst" if alerted else "sample" if review_rate < 1 else "chargeback"
            due.append((time + (3600 if alerted else 7 * DAY), time, fraud, score, alerted, source))
    threshold = Threshold(FBeta(1.0), review_rate=told_rate)
    for labelled, time, fraud, score, alerted, source in sorted(due):
        if labelled <= until_days * DAY:
            times = {"time_seconds": time, "labelled_seconds": labelled} if timely else {}
            threshold.learn(score, fraud, 1.0, alerted=alerted, source=source, **times)
    curve = threshold.curve.points()
    return float(curve.recall[curve.at(0.5)])


TRUE_RECALL = 0.69  # of a normal score of mean 0.55 and deviation 0.1 at 0.5


def test_a_curve_of_labels_as_they_come_is_biased_when_fraud_rises_and_ours_is_not() -> None:
    naive = recall_told(timely=False, until_days=25)
    assert naive > TRUE_RECALL + 0.15
    assert recall_told(timely=True, until_days=25) == pytest.approx(TRUE_RECALL, abs=0.06)
    assert recall_told(timely=True, until_days=30) == pytest.approx(TRUE_RECALL, abs=0.06)


def test_a_curve_that_takes_a_reviewed_sample_for_all_is_biased_and_ours_is_not() -> None:
    naive = recall_told(timely=True, until_days=30, review_rate=0.2)
    assert naive > TRUE_RECALL + 0.15
    ours = recall_told(timely=True, until_days=30, review_rate=0.2, told_rate=0.2)
    assert ours == pytest.approx(TRUE_RECALL, abs=0.06)


def test_labels_of_alerts_alone_tell_nothing_yet() -> None:
    threshold = Threshold(FBeta(1.0))
    for i in range(1_000):
        threshold.learn(
            *(0.9, i % 2 == 0, 1.0),
            time_seconds=float(i),
            labelled_seconds=i + 60.0,
            source="analyst",
            alerted=True,
        )
    assert threshold.value is None
    assert len(threshold.maturing) == 1_000


@given(st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 500), st.booleans())))
def test_examples_go_on_once_each_and_no_more_wait_than_may(
    rows: list[tuple[int, int, bool]],
) -> None:
    waiting, gone = Maturing(max_waiting=10), []
    for i, (time, delay, alerted) in enumerate(sorted(rows, key=lambda r: r[0] + r[1])):
        example = Matured(i / 1e3, False, 1.0, 0.0, sampled=False, alerted=alerted)
        gone += waiting.add(example, time_seconds=time, labelled_seconds=time + delay)
        assert len(waiting) <= 10
    assert len(gone) + len(waiting) == len(rows)
    assert len(set(gone)) == len(gone)
    assert waiting.untimely <= len(gone)


def test_labels_that_all_take_as_long_wait_for_nobody() -> None:
    waiting = Maturing()
    for i in range(100):
        example = Matured(0.5, i % 7 == 0, 1.0, 0.0, sampled=False, alerted=i % 5 == 4)
        went = waiting.add(example, time_seconds=1e9 + i, labelled_seconds=1e9 + i + 7 * DAY)
        assert went == [example]
