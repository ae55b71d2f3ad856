"""Trees that are handed from one worker to another, and the digest that they are known by."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xgboost

from stream.core.prediction import predicted
from stream.core.trees import Fit, Trees

NAMES = ("b", "a", "c")


def fit(seed: int = 1, strategy: str = "weights") -> Fit:
    """A fit of 500 examples, of which two features say something."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 3)).astype(np.float32)
    features[::7, 2] = np.nan
    frauds = features[:, 0] + 0.5 * rng.normal(size=500) > 1.5
    return Fit(NAMES, features, frauds, rng.uniform(1.0, 5.0, 500), strategy, 0.1, seed)


@pytest.mark.parametrize("strategy", ["weights", "none", "under", "smote"])
def test_trees_that_were_packed_are_the_same_to_the_bit(strategy: str) -> None:
    due = fit(strategy=strategy)
    trees = due()
    packed = trees.to_bytes()
    unpacked = Trees.from_bytes(packed)
    assert unpacked.to_bytes() == packed == due().to_bytes()
    assert unpacked.odds_factor == trees.odds_factor
    names = ("c", "b", "more", "a")  # as another asks: in another order, and with what is unknown
    rows = np.column_stack([due.features[:, [2, 0]], due.features[:, :1], due.features[:, 1]])
    found = unpacked.probabilities(names, rows)
    assert found.tobytes() == trees.probabilities(names, rows).tobytes()
    assert np.ptp(found) > 0.3


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda _: b"",
        lambda _: b"\x00" * 100,
        lambda packed: packed[:-9],
        lambda packed: packed[:50] + b"????" + packed[54:],
        lambda _: zlib.compress(b"no newline"),
        lambda _: zlib.compress(b'[["a"], 1.0]\nno trees'),
        lambda _: zlib.compress(b'{"a": 1}\n' + fit()().booster.save_raw("ubj")),
        lambda _: zlib.compress(b'[["a"], 1.0]\n' + fit()().booster.save_raw("ubj")),
        lambda _: zlib.compress(b'[["a", "b", "c"], "x"]\n' + fit()().booster.save_raw("ubj")),
        lambda _: zlib.compress(b'[["a", "b", "c"], NaN]\n' + fit()().booster.save_raw("ubj")),
        lambda _: zlib.compress(b'[["a", "b", "c"], -1]\n' + fit()().booster.save_raw("ubj")),
        lambda _: zlib.compress(b'[["a"], 1.0]\n'),
        lambda _: zlib.compress(b'[["a"], 1' + b"0" * 400 + b"]\n{"),
        lambda _: zlib.compress(b"[" * 100_000 + b"\n"),
        lambda _: zlib.compress(b"[" + b" " * 20_000_000 + b"\n"),
    ],
)
def test_what_is_no_trees_is_an_error_that_says_so(spoiled: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="no trees"):
        Trees.from_bytes(spoiled(fit()().to_bytes()))


def test_fits_have_one_digest_only_where_all_is_the_same() -> None:
    one = fit()
    others = [
        dataclasses.replace(one, names=("a", "b", "c")),
        dataclasses.replace(one, features=np.nextafter(one.features, np.float32(np.inf))),
        dataclasses.replace(one, frauds=~one.frauds),
        dataclasses.replace(one, weights=one.weights + 1e-12),
        dataclasses.replace(one, strategy="none"),
        dataclasses.replace(one, target_share=0.2),
        dataclasses.replace(one, seed=2),
        dataclasses.replace(one, scores=np.zeros(500)),
        dataclasses.replace(one, features=one.features[:, :2], names=("b", "a")),
    ]
    assert fit().digest() == one.digest() != one.digest("another version")
    assert len({each.digest() for each in [one, *others]}) == len(others) + 1


def test_what_trees_say_is_to_the_bit_what_xgboost_itself_says() -> None:
    due = fit()
    booster = due().booster
    for n in (1, 2, 63, 64, 65, 500):  # XGBoost takes 64 rows at a time
        rows = due.features[:n]
        assert np.isnan(rows).any()
        by_itself = booster.inplace_predict(rows, validate_features=False)
        assert predicted(booster, rows).tobytes() == by_itself.tobytes()
        assert predicted(booster, np.asfortranarray(rows)).tobytes() == by_itself.tobytes()
    assert len(predicted(booster, due.features[:0])) == 0


def test_several_threads_ask_trees_at_once() -> None:
    due = fit()
    booster = due().booster
    whole = predicted(booster, due.features)

    def ask(begin: int) -> bool:
        parts = [predicted(booster, due.features[begin : begin + 50]) for _ in range(200)]
        return all(part.tobytes() == whole[begin : begin + 50].tobytes() for part in parts)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(0, 400, 50)))


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(xgboost.core.XGBoostError, match="columns"):
        predicted(fit()().booster, np.zeros((2, 4), dtype=np.float32))
