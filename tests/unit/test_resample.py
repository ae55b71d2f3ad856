"""Laws of resampling a window of the log at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from stream.core.resample import STRATEGIES, Resampled, resample

AIMING = [name for name in STRATEGIES if name not in ("none", "hard")]


def window(
    n: int = 40_000, fraud_rate: float = 0.02, thinned_to: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.random(n) < fraud_rate
    x = rng.normal(size=(n, 3)) + y[:, None] * np.array([2.0, 0.0, 0.0])
    x = np.column_stack([x, rng.random(n) < np.where(y, 0.8, 0.3)]).astype(np.float32)
    kept = y | (rng.random(n) < thinned_to)
    return x[kept], y[kept], np.where(y, 1.0, 1.0 / thinned_to)[kept]


def resampled(
    strategy: str, x: np.ndarray, y: np.ndarray, w: np.ndarray, share: float
) -> Resampled:
    scores = 1.0 / (1.0 + np.exp(4.0 - 2.0 * x[:, 0].astype(np.float64)))
    return resample(strategy, x, y, w, share, np.random.default_rng(1), scores=scores)


@pytest.mark.parametrize("thinned_to", [1.0, 0.3])
@pytest.mark.parametrize("strategy", [*AIMING, "hard"])
def test_the_weight_of_frauds_is_the_target_share(strategy: str, thinned_to: float) -> None:
    for share in (0.1, 0.3):
        _, y, weight, _ = resampled(strategy, *window(thinned_to=thinned_to), share)
        assert weight[y].sum() / weight.sum() == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize("thinned_to", [1.0, 0.3])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_factor_gives_back_the_odds_of_the_whole_stream(
    strategy: str, thinned_to: float
) -> None:
    x, y, w = window(thinned_to=thinned_to)
    _, learned, weight, factor = resampled(strategy, x, y, w, 0.2)
    odds = weight[learned].sum() / weight[~learned].sum() * factor
    assert odds == pytest.approx(w[y].sum() / w[~y].sum())


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "borderline"])
def test_a_model_fitted_on_it_is_calibrated(strategy: str) -> None:
    fitted = resampled(strategy, *window(thinned_to=0.3), 0.2)
    model = LogisticRegression().fit(fitted.X, fitted.y, fitted.sample_weight)
    x, y, _ = window(seed=9)
    fraud = model.predict_proba(x)[:, 1]
    odds = fraud / (1.0 - fraud) * fitted.odds_factor
    assert (odds / (1.0 + odds)).sum() / y.sum() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_generators_give_equal_rows_and_the_input_is_left_alone(strategy: str) -> None:
    x, y, w = window(5_000, thinned_to=0.5)
    before = x.copy(), y.copy(), w.copy()
    one, other = (resampled(strategy, x, y, w, 0.2) for _ in range(2))
    assert one.odds_factor == other.odds_factor
    for a, b in zip(one[:3], other[:3], strict=True):
        assert np.array_equal(a, b)
    assert all(np.array_equal(a, b) for a, b in zip((x, y, w), before, strict=True))
    assert one.X.dtype == np.float32
    assert one.y.dtype == np.bool_


@pytest.mark.parametrize("strategy", ["smote", "borderline"])
def test_synthetic_flags_are_flags(strategy: str) -> None:
    x, y, w = window()
    rows = resampled(strategy, x, y, w, 0.3).X
    assert set(np.unique(rows[:, 3])) == {0.0, 1.0}


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    labels=st.lists(st.booleans(), max_size=30),
    share=st.floats(0.01, 0.9),
    hole=st.sampled_from([0.0, np.nan, np.inf]),
    seed=st.integers(0, 99),
)
def test_no_window_crashes_it(
    strategy: str, labels: list[bool], share: float, hole: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y = np.array(labels, dtype=np.bool_)
    x = rng.normal(size=(len(y), 3)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = hole
    w = rng.random(len(y)) * 50.0 + 0.1
    rows, frauds, weight, factor = resampled(strategy, x, y, w, share)
    assert len(rows) == len(frauds) == len(weight)
    assert 0.0 < factor < np.inf
    assert (weight > 0).all()


def test_what_is_wrong_is_said() -> None:
    x, y, w = window(100)
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match=r"strategy 'half' .* give one of none, under"):
        resample("half", x, y, w, 0.1, rng)
    with pytest.raises(ValueError, match="target_share"):
        resample("under", x, y, w, 0.0, rng)
    with pytest.raises(ValueError, match="scores"):
        resample("hard", x, y, w, 0.1, rng)
