"""Ranges hold the true figure about as often as they say; what is added up misses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from stream.core.intervals import CONFIDENCE, average_precision_interval, share_bounds
from stream.core.merging import merge
from stream.core.windows import average_precision, measure
from tests.unit.test_terminal import START, labelled, window


@pytest.mark.parametrize(("share", "seen"), [(0.5, 40), (0.8, 25), (0.05, 200)])
def test_the_range_of_a_share_holds_it_as_often_as_it_says(share: float, seen: int) -> None:
    hits = np.random.default_rng(1).binomial(seen, share, size=4000).astype(np.float64)
    low, high = share_bounds(hits, seen - hits)
    held = float(((low <= share) & (share <= high)).mean())
    assert held == pytest.approx(CONFIDENCE, abs=0.04)


def test_a_share_of_nothing_has_no_range_and_extremes_are_reached() -> None:
    low, high = share_bounds(np.array([0.0, 0.0, 5.0]), np.array([0.0, 5.0, 0.0]))
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] == 0
    assert high[2] == 1
    assert 0 < high[1] < 1
    assert 0 < low[2] < 1


def test_the_range_of_average_precision_holds_the_true_one_about_as_often_as_it_says() -> None:
    random, bins = np.random.default_rng(2), np.arange(60)
    frauds, legitimate = 4.0 * np.exp(-bins / 15), 0.2 * np.exp(bins / 10)
    true = average_precision(legitimate.tolist(), frauds.tolist())
    assert true is not None
    held = []
    for _ in range(150):
        drawn = (random.poisson(legitimate).astype(float), random.poisson(frauds).astype(float))
        found = average_precision_interval(*drawn)
        assert found is not None
        held.append(found.low <= true <= found.high)
    assert 0.8 <= np.mean(held) <= 0.98


def test_a_merged_report_has_the_measures_of_its_parts() -> None:
    parts = [labelled(0), labelled(0, 1), labelled(1, threshold=0.7, model_position=9), window(2)]
    whole = merge(parts, START, 3 * 3600)
    expected, found = measure(parts).asdict(), measure([whole]).asdict()
    assert found == {name: pytest.approx(value) for name, value in expected.items()}
    assert (whole.start, whole.seconds) == (START, 10_800)
    assert (whole.threshold, whole.model_position) == (0.7, 9)
    assert whole.segments["type"]["DEBIT"].transactions == 2700
