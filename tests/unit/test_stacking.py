"""Stacking: whom to listen to, and how much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from stream.core.stacking import filled, stack

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def sigmoid(log_odds: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-log_odds))
    return found


def stream(n: int = 4_000, seed: int = 1, base: float = -3.0) -> tuple[Floats, Bools]:
    """True log-odds, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(base, 2.0, n)
    return truth, rng.random(n) < sigmoid(truth)


def stacked(
    votes: Floats,
    frauds: Bools,
    weights: Floats | None = None,
    prior: Floats | None = None,
    strength: float = 1.0,
) -> Floats:
    m = votes.shape[1]
    prior = np.full(m, 1.0 / m) if prior is None else prior
    weights = np.ones(len(votes)) if weights is None else weights
    return stack(votes, frauds, weights, np.array([0.0, *prior]), prior, strength)


numbers = st.floats(-9.0, 9.0)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Votes of members that may be silent, and their shares."""
    m = draw(st.integers(1, 4))
    row = st.lists(st.one_of(numbers, st.just(float("nan"))), min_size=m, max_size=m)
    votes = draw(st.lists(row, min_size=1, max_size=8))
    shares = draw(st.lists(st.one_of(st.just(0.0), st.floats(0.01, 3.0)), min_size=m, max_size=m))
    return np.array(votes), np.array(shares)


@given(tables())
def test_who_was_silent_is_filled_with_what_lies_among_the_votes_of_the_others(
    table: tuple[Floats, Floats],
) -> None:
    votes, shares = table
    full = filled(votes, shares)
    for given_row, row in zip(votes, full, strict=True):
        said = given_row[~np.isnan(given_row)]
        assert np.array_equal(row[~np.isnan(given_row)], said)
        if len(said):
            assert (row >= said.min() - 1e-9).all()
            assert (row <= said.max() + 1e-9).all()


def test_the_silent_say_the_mean_of_the_others_by_their_shares() -> None:
    votes = np.array([[1.0, np.nan, 4.0], [np.nan, np.nan, 2.0]])
    found = filled(votes, np.array([2.0, 7.0, 1.0]))
    assert found == pytest.approx(np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 2.0]]))


def test_a_member_without_a_share_speaks_where_nobody_else_does() -> None:
    votes = np.array([[3.0, np.nan], [3.0, 1.0]])
    assert filled(votes, np.array([0.0, 1.0])) == pytest.approx(np.array([[3.0, 3.0], [3.0, 1.0]]))


def test_filling_leaves_the_votes_alone() -> None:
    votes = np.array([[1.0, np.nan]])
    filled(votes, np.ones(2))
    assert np.isnan(votes[0, 1])


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.tuples(numbers, numbers, st.booleans(), st.floats(1.0, 1e4)), min_size=1, max_size=40
    ),
    strength=st.floats(0.1, 100.0),
)
@example(rows=[(0.0, 5e-324, False, 2.0)], strength=1.0)
def test_coefficients_are_finite_and_never_negative(
    rows: list[tuple[float, float, bool, float]], strength: float
) -> None:
    table = np.array([row[:2] for row in rows])
    frauds = np.array([row[2] for row in rows])
    weights = np.array([row[3] for row in rows])
    found = stacked(table, frauds, weights, strength=strength)
    assert found.shape == (3,)
    assert np.isfinite(found).all()
    assert (found[1:] >= 0.0).all()


def test_a_member_that_is_always_wrong_is_not_believed_backwards() -> None:
    truth, frauds = stream()
    bias, coefficient = stacked(-truth[:, None], frauds)
    assert coefficient == 0.0
    assert sigmoid(np.array([bias]))[0] == pytest.approx(frauds.mean(), rel=0.01)


@pytest.mark.parametrize("base", [-6.0, -3.0, 0.0])
@pytest.mark.parametrize("off", [-3.0, 0.0, 3.0])
def test_the_mean_probability_is_the_weighted_fraud_rate(base: float, off: float) -> None:
    truth, frauds = stream(base=base)
    # Members that are over-sure and shifted, on examples that stand for more or fewer.
    votes = np.column_stack([2.0 * truth + off, truth - off])
    weights = np.where(frauds, 1.0, np.where(truth > base, 2.0, 20.0))
    bias, *coefficients = stacked(votes, frauds, weights)
    probabilities = sigmoid(bias + votes @ np.array(coefficients))
    rate = weights[frauds].sum() / weights.sum()
    assert np.average(probabilities, weights=weights) == pytest.approx(rate, rel=0.02)


def test_what_is_over_sure_is_held_back_and_what_is_too_timid_is_pushed() -> None:
    truth, frauds = stream(20_000)
    for slope in (0.5, 1.0, 3.0):
        found = stacked(slope * truth[:, None], frauds)
        assert found[1] == pytest.approx(1.0 / slope, rel=0.1)
        assert found[0] == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("said", ["noise", "nothing"])
def test_a_member_that_knows_nothing_gets_nothing(said: str) -> None:
    truth, frauds = stream(20_000)
    noise = np.random.default_rng(7).normal(0.0, 2.0, len(truth))
    votes = np.column_stack([truth, noise if said == "noise" else np.full(len(truth), 1.0)])
    found = stacked(votes, frauds)
    assert found[1] == pytest.approx(1.0, abs=0.1)
    if said == "noise":
        assert found[2] < 0.05
    else:  # a constant is the bias, by another name: it ranks nobody
        assert found[0] + found[2] == pytest.approx(0.0, abs=0.3)


def test_members_that_err_apart_are_both_heard_and_the_better_more() -> None:
    truth, frauds = stream(20_000)
    rng = np.random.default_rng(5)
    votes = np.column_stack([truth + rng.normal(0.0, s, len(truth)) for s in (1.0, 2.0)])
    _, better, worse = stacked(votes, frauds)
    assert better > 1.5 * worse > 0.1


def test_a_weight_is_a_repetition() -> None:
    truth, frauds = stream(600)
    rng = np.random.default_rng(3)
    votes = np.column_stack([truth, truth + rng.normal(0.0, 2.0, len(truth))])
    times = rng.integers(1, 6, len(truth))
    weighted = stacked(votes, frauds, times.astype(np.float64))
    repeated = stacked(np.repeat(votes, times, axis=0), np.repeat(frauds, times))
    unweighted = stacked(votes, frauds)
    assert weighted == pytest.approx(repeated, abs=2e-3)
    assert abs(weighted - unweighted).max() > 0.02


def test_few_examples_change_little_and_many_much() -> None:
    """Members of which only the first knows something, though the second was expected to."""
    prior = np.array([0.1, 0.9])
    away = []
    for n in (20, 200, 20_000):
        truth, frauds = stream(n, seed=4, base=-2.0)
        votes = np.column_stack([truth, np.random.default_rng(n).normal(size=n)])
        found = stacked(votes, frauds, prior=prior, strength=20.0)
        away.append(float(abs(found[1:] - prior).max()))
    assert away[0] < 0.25
    assert away[0] < away[1] < away[2]
    assert away[2] > 0.8


def test_the_firmer_it_is_held_the_nearer_it_stays_to_what_was_expected() -> None:
    truth, frauds = stream(300)
    prior = np.array([0.2])
    away = [
        abs(stacked(truth[:, None], frauds, prior=prior, strength=s)[1] - 0.2)
        for s in (1.0, 100.0, 10_000.0)
    ]
    assert away[0] > away[1] > away[2]
    assert away[2] < 0.02


@pytest.mark.parametrize("shift", [-4.0, -1.0, 2.0])
def test_a_vote_that_is_shifted_moves_the_bias_and_nothing_else(shift: float) -> None:
    """Sampling shifts log-odds by a constant; so does a prior that has moved."""
    truth, frauds = stream(10_000, base=-2.0)
    rng = np.random.default_rng(2)
    votes = np.column_stack([truth, truth + rng.normal(0.0, 2.0, len(truth))])
    there = votes + np.array([shift, 0.0])
    one, other = stacked(votes, frauds), stacked(there, frauds)
    assert other[1:] == pytest.approx(one[1:], abs=0.02)
    assert other[0] - one[0] == pytest.approx(-shift * one[1], abs=0.1)
    assert sigmoid(other[0] + there @ other[1:]) == pytest.approx(
        sigmoid(one[0] + votes @ one[1:]), abs=0.01
    )


def test_where_it_begins_makes_no_difference() -> None:
    truth, frauds = stream(2_000)
    votes = np.column_stack([truth, 0.5 * truth + 1.0])
    ones, prior = np.ones(len(votes)), np.full(2, 0.5)
    found = [
        stack(votes, frauds, ones, np.array(start), prior, 1.0)
        for start in ([0.0, 0.0, 0.0], [5.0, 0.0, 3.0], [-10.0, 1.0, 1.0])
    ]
    assert found[1] == pytest.approx(found[0], abs=5e-3)
    assert found[2] == pytest.approx(found[0], abs=5e-3)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(12, 400),
    m=st.integers(1, 5),
    strength=st.sampled_from([0.01, 1.0, 5.0]),
    twins=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_no_other_coefficients_have_a_loss_that_is_less(
    seed: int, n: int, m: int, strength: float, twins: bool
) -> None:
    """Against a search along the slope, from anywhere: at bounds, too, and where two say alike."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-4.0 * rng.random(), 3.0 * rng.random() + 0.1, n)
    frauds = rng.random(n) < sigmoid(truth)
    frauds[:3], frauds[3:6] = True, False
    votes = (
        np.outer(truth, rng.uniform(-1.0, 2.0, m)) + rng.normal(size=(n, m)) * 6.0 * rng.random()
    )
    if twins:
        votes[:, -1] = votes[:, 0]
    votes, weights = np.clip(votes, -9.0, 9.0), rng.exponential(20.0, n)
    start = np.array([3.0 * rng.normal(), *rng.exponential(1.0, m) * (rng.random(m) < 0.6)])
    prior = np.full(m, 1.0 / m)

    def loss(theta: Floats) -> float:
        margin = np.where(frauds, 1.0, -1.0) * (theta[0] + votes @ theta[1:])
        away = theta[1:] - prior
        held = 0.05 * theta[0] ** 2 + strength / 2.0 * float(away @ away)
        return float(weights @ np.logaddexp(0.0, -margin)) + held

    found = stack(votes, frauds, weights, start, prior, strength)
    bounds = [(-12.0, 12.0), *[(0.0, None)] * m]
    searched = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    assert (found[1:] >= 0.0).all()
    assert loss(found) <= searched.fun + 1e-5 * abs(searched.fun)
