"""The class prior, the rate and the coin. What holds for every sampler is in test_samplers."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import dummy

from stream.core.rebalance import ClassPrior, Rebalanced, kept, sampling_rate


def stream(n: int, fraud_rate: float, seed: int = 0) -> list[tuple[dict[str, float], bool]]:
    """A stream in which x says something about y, but not all."""
    chance = random.Random(seed)
    rows = []
    for _ in range(n):
        fraud = chance.random() < fraud_rate
        rows.append(({"x": chance.gauss(2.0 if fraud else 0.0, 1.0), "z": chance.random()}, fraud))
    return rows


def test_an_example_that_stands_for_many_is_learned_as_often_as_the_many_would_be() -> None:
    """A log thinned at 1 in 10 with weight 10 gives the rates of the whole stream."""
    whole = Rebalanced(dummy.PriorClassifier(), 0.1, half_life=1e6, seed=1)
    thinned = Rebalanced(dummy.PriorClassifier(), 0.1, half_life=1e6, seed=1)
    rows = stream(60_000, 0.005)
    keep = kept([str(i) for i in range(len(rows))], np.full(len(rows), 0.1), seed=3)
    for (x, y), drawn in zip(rows, keep.tolist(), strict=True):
        whole.learn_one(x, y)
        if y or drawn:
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
    kept_low, kept_high = (kept(ids, np.full(len(ids), rate), 7) for rate in (low, high))
    assert (kept_high | ~kept_low).all()
