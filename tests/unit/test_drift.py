"""Drift: each figure is found when it changes, and nothing is where nothing does."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.drift import Drift

Example = tuple[float, bool, float]
"""Score, label, weight."""


def calibrated(n: int, seed: int, *, thinned_to: float = 1.0) -> Iterator[Example]:
    """A stream whose scores are the probabilities that its labels are drawn from."""
    chance = random.Random(seed)
    for _ in range(n):
        score = min(chance.betavariate(0.1, 4.0), 0.99)
        is_fraud = chance.random() < score
        if is_fraud or chance.random() < thinned_to:
            yield score, is_fraud, 1.0 if is_fraud else 1.0 / thinned_to


@pytest.mark.parametrize("thinned_to", [1.0, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_a_quiet_stream_raises_no_alarm(seed: int, thinned_to: float) -> None:
    watched = Drift()
    rows = calibrated(int(20_000 / thinned_to), seed, thinned_to=thinned_to)
    found = [watched.learn(*row) for row in rows]
    assert len(found) > 19_000
    assert not any(found)
    assert watched.found == dict.fromkeys(Drift.FIGURES, 0)


# Each of these changes one figure only. The scores of a fraud are given as two that take turns,
# and so are those of the legitimate: a mean may stay while the mean of the logarithm moves.
CHANGES: dict[str, tuple[tuple[int, float, float, float, float], ...]] = {
    # one fraud in, scores of frauds, scores of legitimate examples
    "prior": ((50, 1.0, 1.0, 0.0, 0.0), (5, 1.0, 1.0, 0.0, 0.0)),
    "calibration": ((50, 0.5, 0.5, 0.02, 0.02), (50, 0.5, 0.5, 0.2909, 0.001016)),
    "error": ((20, 0.5, 0.5, 0.02, 0.02), (20, 0.99, 0.01, 0.02, 0.02)),
    "scores": ((50, 0.5, 0.5, 0.01, 0.01), (50, 0.5, 0.5, 0.0198, 0.0002)),
}


def regime(n: int, seed: int, given: tuple[int, float, float, float, float]) -> Iterator[Example]:
    one_in, fraud, other_fraud, legitimate, other_legitimate = given
    chance = random.Random(seed)
    for _ in range(n):
        is_fraud = chance.random() < 1 / one_in
        first = chance.random() < 0.5
        if is_fraud:
            yield fraud if first else other_fraud, True, 1.0
        else:
            yield legitimate if first else other_legitimate, False, 1.0


@pytest.mark.parametrize("figure", Drift.FIGURES)
def test_a_change_of_one_figure_is_found_and_is_that_figure(figure: str) -> None:
    watched = Drift()
    before, after = CHANGES[figure]
    for row in regime(8_000, 1, before):
        assert watched.learn(*row) == ()
    for row in regime(8_000, 2, after):
        watched.learn(*row)
    assert watched.found[figure] > 0
    assert [name for name in Drift.FIGURES if watched.found[name]] == [figure]


@pytest.mark.parametrize("figure", Drift.FIGURES)
def test_a_change_back_is_found_as_well(figure: str) -> None:
    watched = Drift()
    after, before = CHANGES[figure]
    for row in regime(8_000, 3, before):
        assert watched.learn(*row) == ()
    found = {name for row in regime(8_000, 4, after) for name in watched.learn(*row)}
    assert found == {figure}


def test_what_was_found_is_counted() -> None:
    watched, told = Drift(), dict.fromkeys(Drift.FIGURES, 0)
    for i in range(6):
        one_in, score = (4, 0.02) if i % 2 else (40, 0.9)
        for row in regime(6_000, i, (one_in, score, score, score / 10, score / 10)):
            for name in watched.learn(*row):
                told[name] += 1
    assert watched.found == told
    assert all(told.values())


def test_a_window_forgets_what_was_before_the_change() -> None:
    watched = Drift()
    before, after = CHANGES["calibration"]
    for row in regime(6_000, 5, before):
        watched.learn(*row)
    assert watched.width("calibration") == 6_000
    for row in regime(3_000, 6, after):
        watched.learn(*row)
    assert watched.width("calibration") <= 4_500


def test_frauds_and_the_legitimate_are_counted_where_they_belong() -> None:
    watched = Drift()
    for i in range(100):
        watched.learn(0.1, i % 10 == 0, 1.0)
    assert {name: watched.width(name) for name in Drift.FIGURES} == {
        "prior": 10,
        "calibration": 100,
        "error": 10,
        "scores": 90,
    }


def test_a_thinned_stream_has_the_gaps_between_frauds_of_the_whole_one() -> None:
    """What is thinned in the middle, with weights that say so, is no change of the prior."""
    watched = Drift()
    for row in regime(10_000, 7, (20, 1.0, 1.0, 0.0, 0.0)):
        watched.learn(*row)
    chance = random.Random(8)
    for score, is_fraud, _ in regime(40_000, 9, (20, 1.0, 1.0, 0.0, 0.0)):
        if is_fraud:
            watched.learn(score, True, 1.0)
        elif chance.random() < 0.25:
            watched.learn(score, False, 4.0)
    assert watched.found["prior"] == 0


def test_a_higher_delta_finds_a_change_no_later() -> None:
    def after(delta: float) -> int:
        watched = Drift(delta)
        before, changed = CHANGES["scores"]
        for row in regime(3_000, 1, before):
            watched.learn(*row)
        rows = enumerate(regime(3_000, 2, changed))
        return next(i for i, row in rows if "scores" in watched.learn(*row))

    assert after(1e-12) > after(0.05)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans(), st.floats(1.0, 1e9)), max_size=100))
def test_no_score_or_weight_crashes_it(rows: list[Example]) -> None:
    watched = Drift()
    for row in rows:
        assert set(watched.learn(*row)) <= set(Drift.FIGURES)


def test_going_on_from_a_pickle_equals_going_on() -> None:
    def watch(watched: Drift, part: Callable[[], Iterator[Example]]) -> list[tuple[str, ...]]:
        return [watched.learn(*row) for row in part()]

    before, after = CHANGES["error"]
    watched = Drift()
    watch(watched, lambda: regime(5_003, 1, before))
    resumed = pickle.loads(pickle.dumps(watched))  # noqa: S301 - made here
    one, other = (watch(each, lambda: regime(4_000, 2, after)) for each in (watched, resumed))
    assert one == other
    assert any(one)
    assert watched.found == resumed.found
