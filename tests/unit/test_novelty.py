"""Novelty: how far above the usual, from the rows alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.core.novelty import Novelty

Floats = NDArray[np.float64]

BLOCK = 250
"""Rows by which the next ones are measured, at least."""


def usual(n: int, width: int = 3, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(5.0, 2.0, size=(n, width))


def in_batches(novelty: Novelty, rows: Floats, cuts: list[int]) -> Floats:
    """Scores of rows that come in batches which end at these places."""
    at = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return np.concatenate([novelty.score(rows[a:b]) for a, b in itertools.pairwise(at)])


@settings(max_examples=30)
@given(
    n=st.integers(0, 1_200),
    cuts=st.lists(st.integers(0, 1_200), max_size=8),
    order=st.sampled_from(["C", "F"]),
)
@example(n=252, cuts=[251], order="F")
def test_how_rows_are_cut_into_batches_changes_no_score(
    n: int, cuts: list[int], order: str
) -> None:
    rows = np.array(usual(n, width=9), order="F" if order == "F" else "C")
    whole = Novelty(9, half_life=300).score(rows)
    assert np.array_equal(in_batches(Novelty(9, half_life=300), rows, cuts), whole)


@settings(max_examples=30)
@given(before=st.integers(0, 1_200), after=st.integers(0, 600), cut=st.integers(0, 600))
def test_going_on_from_a_snapshot_equals_going_on(before: int, after: int, cut: int) -> None:
    novelty = Novelty(3, half_life=300)
    novelty.score(usual(before))
    resumed = Novelty(3, half_life=300)
    resumed.restore(novelty.snapshot())
    rows = usual(after, seed=1)
    assert np.array_equal(in_batches(resumed, rows, [cut]), novelty.score(rows))


def test_a_snapshot_stays_what_it_was_while_the_original_goes_on() -> None:
    novelty, rows = Novelty(3), usual(1_000)
    novelty.score(rows[:400])
    snapshot = novelty.snapshot()
    expected = novelty.score(rows[400:])
    resumed = Novelty(3)
    resumed.restore(snapshot)
    assert np.array_equal(resumed.score(rows[400:]), expected)


def test_a_restored_one_does_not_share_what_it_learns_with_the_snapshot() -> None:
    novelty = Novelty(3)
    novelty.score(usual(400))
    snapshot = {name: array.copy() for name, array in novelty.snapshot().items()}
    before = {name: array.copy() for name, array in snapshot.items()}
    resumed = Novelty(3)
    resumed.restore(snapshot)
    resumed.score(usual(700, seed=1))
    assert all(np.array_equal(snapshot[name], before[name]) for name in before)


def test_the_first_block_is_measured_by_nothing_and_scores_0() -> None:
    novelty, rows = Novelty(3), usual(BLOCK + 50)
    rows[BLOCK - 1] = rows[-1] = 20.0
    scores = novelty.score(rows)
    assert (scores[:BLOCK] == 0.0).all()
    assert scores[-1] > 50.0


def test_a_row_is_not_measured_by_its_own_block() -> None:
    calm, wild = Novelty(1), Novelty(1)
    for novelty in (calm, wild):
        novelty.score(usual(BLOCK, width=1))
    rows = usual(BLOCK, width=1, seed=1)
    spiked = rows.copy()
    spiked[:100] = 1e4
    assert np.array_equal(wild.score(spiked)[100:], calm.score(rows)[100:])
    # The next block is: what was beyond measure has become usual.
    probe = np.array([[1e4]])
    assert wild.score(probe)[0] < 10.0 < calm.score(probe)[0]


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.0, 1e9])
def test_a_column_that_has_been_constant_says_nothing(constant: float) -> None:
    varied, both = Novelty(1), Novelty(2)
    rows = usual(1_000, width=1)
    with_constant = np.column_stack([rows[:, 0], np.full(len(rows), constant)])
    assert both.score(with_constant) == pytest.approx(varied.score(rows), rel=1e-9)
    probe = np.array([[9.0, constant + 1e6]])
    assert both.score(probe)[0] == pytest.approx(varied.score(probe[:, :1])[0], rel=1e-9)
    assert varied.score(probe[:, :1])[0] > 0.0


@given(
    rows=st.lists(st.tuples(*[st.floats(-1e12, 1e12)] * 2), min_size=1, max_size=20),
    times=st.integers(1, 60),
)
def test_a_score_is_a_finite_number_and_at_least_0(
    rows: list[tuple[float, float]], times: int
) -> None:
    scores = Novelty(2).score(np.tile(np.array(rows), (times, 1)))
    assert len(scores) == times * len(rows)
    assert np.isfinite(scores).all()
    assert (scores >= 0.0).all()


@given(column=st.integers(0, 2), low=st.floats(5.0, 100.0), more=st.floats(0.1, 100.0))
def test_what_is_further_above_the_usual_scores_higher(
    column: int, low: float, more: float
) -> None:
    novelty = Novelty(3)
    novelty.score(usual(2 * BLOCK))
    rows = np.full((2, 3), 5.0)
    rows[:, column] = [low + 1.0, low + 1.0 + more]
    one, other = novelty.score(rows)
    assert other > one > 0.0


def test_what_is_below_the_usual_is_no_news() -> None:
    novelty = Novelty(3)
    novelty.score(usual(2 * BLOCK))
    assert novelty.score(np.full((1, 3), -1e6)).tolist() == [0.0]


def test_a_score_is_the_sum_of_the_squares_of_the_deviations_above_the_mean() -> None:
    rows = usual(BLOCK)
    novelty = Novelty(3)
    novelty.score(rows)
    probe = usual(100, seed=2)
    above = np.maximum(probe - rows.mean(axis=0), 0.0) / rows.std(axis=0)
    assert novelty.score(probe) == pytest.approx((above**2).sum(axis=1))


def test_what_is_usual_follows_the_stream_within_a_few_half_lives() -> None:
    novelty = Novelty(1, half_life=500)
    novelty.score(usual(5_000, width=1))
    moved = usual(5_000, width=1, seed=1) + 20.0
    scores = novelty.score(moved)
    # About 1/2 is usual: the mean square of the half that lies above the mean.
    assert scores[:BLOCK].mean() > 50.0
    assert scores[-BLOCK:].mean() == pytest.approx(0.5, abs=0.2)
