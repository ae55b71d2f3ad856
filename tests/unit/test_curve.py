"""The rolling curve against brute force, and its lower bounds against the binomial."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.bounds import CONFIDENCE_Z, lower_bound
from stream.core.curve import RollingCurve
from stream.core.maturing import Matured

Row = tuple[float, bool, float, float]

examples = st.lists(
    st.tuples(
        st.integers(1, 99).map(lambda n: n / 100),  # so that ties occur
        st.booleans(),
        st.sampled_from([1.0, 7.5]),
        st.sampled_from([0.0, 3.0, 100.0]),
    ),
    min_size=1,
    max_size=50,
)


def curve_of(rows: list[Row]) -> RollingCurve:
    curve = RollingCurve()
    for row in rows:
        curve.add(*row)
    return curve


def counts(rows: list[Row], threshold: float) -> tuple[float, float, float]:
    """Caught, false alarms and amount missed at a threshold, counted one by one."""
    caught = sum(w for score, fraud, w, _ in rows if fraud and score >= threshold)
    false = sum(w for score, fraud, w, _ in rows if not fraud and score >= threshold)
    missed = sum(w * amount for score, fraud, w, amount in rows if fraud and score < threshold)
    return caught, false, missed


@given(examples)
def test_every_cut_does_what_counting_one_by_one_says(rows: list[Row]) -> None:
    curve = curve_of(rows).points()
    for i, threshold in enumerate(curve.threshold):
        caught, false, missed = counts(rows, threshold)
        point = curve.point(i)
        assert curve.caught[i] == pytest.approx(caught)
        assert curve.false_alarms[i] == pytest.approx(false)
        assert point.amount_missed == pytest.approx(missed, abs=1e-6)
        assert point.precision == pytest.approx(caught / (caught + false) if caught else 0.0)


@given(examples)
def test_no_threshold_does_what_no_cut_does(rows: list[Row]) -> None:
    curve = curve_of(rows).points()
    cuts = set(zip(curve.caught.round(6), curve.false_alarms.round(6), strict=True))
    for threshold in {0.0, 1.0, *(score for score, *_ in rows)}:
        caught, false, _ = counts(rows, threshold)
        assert (round(caught, 6), round(false, 6)) in cuts


@given(examples, st.integers(0, 100).map(lambda n: n / 100 + 0.001))
def test_a_threshold_comes_to_the_last_cut_at_or_above_it(rows: list[Row], at: float) -> None:
    curve = curve_of(rows).points()
    above = [i for i, threshold in enumerate(curve.threshold) if threshold >= at]
    assert curve.at(at) == (above[-1] if above else 0)


@given(examples)
def test_cuts_fall_from_one_and_lie_between_0_and_1(rows: list[Row]) -> None:
    threshold = curve_of(rows).points().threshold
    assert threshold[0] == 1.0
    assert (np.diff(threshold) < 0).all()
    assert threshold[-1] > 0.0


@given(examples)
def test_a_lower_bound_lies_between_0_and_the_share_itself(rows: list[Row]) -> None:
    curve = curve_of(rows).points()
    assert (curve.precision_lower >= 0).all()
    assert (curve.precision_lower <= curve.precision + 1e-9).all()
    assert (curve.recall_lower >= 0).all()
    assert (curve.recall_lower <= curve.recall + 1e-9).all()


def test_equal_weights_give_wilsons_bound() -> None:
    hits, misses = np.array([80.0]), np.array([19.5])  # half a miss is added: 80 of 100
    z, n, p = CONFIDENCE_Z, 100, 0.8
    wilson = (p + z**2 / 2 / n - z * math.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)) / (1 + z**2 / n)
    assert lower_bound(hits, hits, misses, misses, 1.0)[0] == pytest.approx(wilson)


def test_fewer_and_heavier_examples_prove_less() -> None:
    hits, misses = np.array([80.0]), np.array([20.0])
    bounds = [
        lower_bound(hits, hits, misses, misses * weight, weight)[0] for weight in (1.0, 5.0, 20.0)
    ]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[2] < bounds[0] - 0.1


@pytest.mark.parametrize("rate", [1.0, 0.3, 0.1])
def test_the_bound_of_precision_holds_nine_times_in_ten_on_thinned_examples(rate: float) -> None:
    chance = np.random.default_rng(1)
    held = []
    for _ in range(2_000):
        caught, false = chance.binomial(300, 0.8), chance.binomial(75, rate)
        sums = np.array([[caught], [caught], [false / rate], [false / rate**2]])
        low = lower_bound(sums[0], sums[1], sums[2], sums[3], 1 / rate)
        held.append(low[0] <= 240 / 315)
    assert np.mean(held) >= 0.88


def test_the_curve_keeps_the_last_frauds_and_what_came_since_the_first_of_them() -> None:
    curve = RollingCurve(max_frauds=3, max_examples=1_000)
    for i in range(1_000):
        curve.add((i % 100) / 100, i % 10 == 0, 1.0)
    points = curve.points()
    assert curve.frauds == 3
    assert len(curve) == 39  # from behind the fourth fraud from the end on
    assert points.caught[-1] == 3
    assert points.false_alarms[-1] == 36


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 5), st.integers(1, 30))
def test_the_bounds_hold_and_frauds_are_counted(
    frauds: list[bool], max_frauds: int, most: int
) -> None:
    curve = RollingCurve(max_frauds, most)
    for fraud in frauds:
        curve.add(0.5, fraud, 1.0)
        assert curve.frauds <= max_frauds
        assert len(curve) <= most
    if len(curve):
        assert curve.points().caught[-1] == curve.frauds


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=100), st.integers(1, 5))
def test_a_correction_takes_the_place_and_the_score_of_what_was_wrong(
    told: list[tuple[bool, int]], max_frauds: int
) -> None:
    curve, kept = RollingCurve(max_frauds, 30), list[tuple[int, bool]]()
    for i, (fraud, of) in enumerate(told):
        key = min(of, i)
        example = Matured(0.9, fraud, 1.0, 0.0, sampled=False, alerted=False, key=key)
        held = [at for at, each in enumerate(kept) if each == (key, not fraud)]
        assert curve.correct(example) == bool(held)
        if held:
            kept[held[-1]] = (key, fraud)
        else:
            curve.add(key / 100, fraud, 1.0, key=key)
            kept = [*kept, (key, fraud)][-30:]
        frauds = [at for at, (_, is_fraud) in enumerate(kept) if is_fraud]
        if len(frauds) > max_frauds:
            kept = kept[frauds[-max_frauds - 1] + 1 :]
        rows = curve._columns[:, curve._begin : curve._end].T
        assert [(int(row[6]), bool(row[1])) for row in rows] == kept
        assert rows[:, 0].tolist() == [key / 100 for key, _ in kept]
        assert curve.frauds == sum(is_fraud for _, is_fraud in kept)


def test_an_empty_curve_says_so() -> None:
    with pytest.raises(ValueError, match="no example yet"):
        RollingCurve().points()


def test_a_reviewed_sample_stands_for_all_that_was_not_flagged() -> None:
    curve = RollingCurve(review_rate=0.1)
    curve.add(0.9, True, 1.0, alerted=True)
    curve.add(0.8, False, 1.0, alerted=True)
    curve.add(0.1, True, 1.0, sampled=True)
    curve.add(0.1, False, 2.0, sampled=True)
    points = curve.points()
    assert points.caught[-1] == pytest.approx(11.0)
    assert points.false_alarms[-1] == pytest.approx(21.0)
    curve.add(0.2, True, 1.0)  # missed frauds come in by themselves: no need to scale them up
    assert curve.points().caught[-1] == pytest.approx(3.0)
    assert curve.points().false_alarms[-1] == pytest.approx(21.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.1])
def test_a_review_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match="review_rate is a share"):
        RollingCurve(review_rate=rate)


@given(
    told=st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=150),
    max_frauds=st.integers(1, 6),
    max_examples=st.integers(2, 40),
)
def test_a_curve_that_was_looked_at_before_is_that_of_one_that_was_not(
    told: list[tuple[int, bool, bool]], max_frauds: int, max_examples: int
) -> None:
    watched, plain = (RollingCurve(max_frauds, max_examples) for _ in range(2))
    for number, (score, is_fraud, look) in enumerate(told):
        for curve in (watched, plain):
            curve.add(score / 10.0, is_fraud, 1.0 + number / 7.0, 0.1 * number)
        if look:
            watched.points()
    if told:
        pairs = zip(watched.points(), plain.points(), strict=True)
        assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
        kept = copy.deepcopy(watched)  # as a snapshot has it
        pairs = zip(kept.points(), plain.points(), strict=True)
        assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
