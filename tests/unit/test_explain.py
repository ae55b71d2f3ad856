"""Reasons of an alert."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.core.explain import reasons
from stream.core.families import CIRCUMSTANCES, KIND, family
from stream.core.features import feature_names

NAMES = ("a", "b", "c", "new")
COUNTS = ("orig_count_1h", "orig_count_24h", "orig_count_168h", "amount")


def linear(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    return rows.astype(np.float64) @ np.array([2.0, 1.0, -3.0, 5.0])


def test_the_strongest_reasons_come_first_with_the_log_odds_they_account_for() -> None:
    usual = np.array([[0.0, 0.0, 0.0, np.nan]] * 2)
    alerts = np.array([[1.0, 1.5, 0.5, 9.0], [0.0, 1.0, 0.0, 0.0]], dtype=np.float32)
    first, second = reasons(NAMES, alerts, usual, linear)
    assert [(r.feature, r.value, r.habit) for r in first] == [("a", 1.0, 0.0), ("b", 1.5, 0.0)]
    assert [r.effect for r in first] == pytest.approx([2.0, 1.5])
    assert [(r.feature, r.effect) for r in second] == [("b", pytest.approx(1.0))]


def test_alerts_are_explained_together_as_each_on_its_own() -> None:
    rng = np.random.default_rng(1)
    for names in (NAMES, COUNTS):
        alerts = rng.normal(size=(450, 4)).astype(np.float32)
        usual = rng.normal(size=(450, 4))
        apart = [
            reasons(names, row[None], habit[None], linear)[0]
            for row, habit in zip(alerts, usual, strict=True)
        ]
        assert reasons(names, alerts, usual, linear) == apart


def test_a_batch_without_alerts_asks_the_model_nothing() -> None:
    def asked(_: NDArray[np.float32]) -> NDArray[np.float64]:
        raise AssertionError

    assert reasons(NAMES, np.empty((0, 4), dtype=np.float32), np.empty((0, 4)), asked) == []


def test_half_lives_that_stand_in_for_each_other_are_a_reason_together() -> None:
    def any_count(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = 4.0 * (rows[:, :3] > 1).any(axis=1) + 0.5 * rows[:, 3]
        return found

    alerts = np.array([[2.0, 2.0, 0.0, 1.0]], dtype=np.float32)
    (found,) = reasons(COUNTS, alerts, np.zeros((1, 4)), any_count)
    assert [(r.feature, r.effect) for r in found] == [("orig_count_1h", 4.0), ("amount", 0.5)]


def test_a_family_is_named_by_the_member_that_does_most() -> None:
    alerts = np.array([[1.0, 3.0, 2.0, 0.0]], dtype=np.float32)
    (found,) = reasons(COUNTS, alerts, np.zeros((1, 4)), lambda rows: rows[:, :3].sum(axis=1))
    assert [(r.feature, r.value, r.effect) for r in found] == [("orig_count_24h", 3.0, 6.0)]


def test_circumstances_come_after_all_others_and_the_kind_never() -> None:
    names = ("type_TRANSFER", "hour_sin", "novelty", "amount", "my_own")
    alerts = np.array([[1.0, 1.0, 1.0, 1.0, 1.0]], dtype=np.float32)
    weights = np.array([9.0, 8.0, 7.0, 1.0, 2.0])
    (found,) = reasons(names, alerts, np.zeros((1, 5)), lambda rows: rows @ weights)
    assert [r.feature for r in found] == ["my_own", "amount", "hour_sin"]


def test_the_families_of_the_core_are_few_and_none_spans_both_accounts() -> None:
    names = feature_names(("TRANSFER", "PAYMENT"), (0.5, 24.0))
    families = {family(name) for name in names}
    assert {KIND, *CIRCUMSTANCES} <= families
    assert len(families) < 20
    for each in families:
        sides = {n.split("_")[0] for n in names if family(n) == each} & {"orig", "dest"}
        assert len(sides) <= 1, each
