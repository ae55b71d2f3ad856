"""What each policy chooses on a curve, against brute force, and how it is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.curve import Curve, RollingCurve
from stream.core.policies import (
    AlertBudget,
    Cost,
    CurvePolicy,
    FBeta,
    PrecisionAtLeast,
    RecallAtLeast,
    parse_policy,
)
from stream.core.threshold import choose

Row = tuple[float, bool, float, float]

rows = st.lists(
    st.tuples(
        st.integers(1, 99).map(lambda n: n / 100),
        st.booleans(),
        st.sampled_from([1.0, 4.0]),
        st.sampled_from([1.0, 60.0]),
    ),
    min_size=1,
    max_size=80,
)


def curve_of(examples: list[Row]) -> Curve:
    curve = RollingCurve()
    for row in examples:
        curve.add(*row)
    return curve.points()


@given(rows, st.sampled_from([0.5, 1.0, 2.0]))
def test_f_beta_chooses_the_highest_f_measure_there_is(examples: list[Row], beta: float) -> None:
    def f(threshold: float) -> float:
        tp = sum(w for s, fraud, w, _ in examples if fraud and s >= threshold)
        fp = sum(w for s, fraud, w, _ in examples if not fraud and s >= threshold)
        fn = sum(w for s, fraud, w, _ in examples if fraud and s < threshold)
        caught = (1 + beta**2) * tp
        return caught / (caught + beta**2 * fn + fp) if tp else 0.0

    curve = curve_of(examples)
    best = float(curve.threshold[choose(FBeta(beta), curve)])
    assert f(best) == pytest.approx(max(f(s) for s, *_ in examples))


@given(rows, st.sampled_from([0.5, 5.0, 50.0]))
def test_cost_chooses_the_least_there_is_flagging_nothing_included(
    examples: list[Row], false_alarm: float
) -> None:
    def cost(threshold: float) -> float:
        missed = sum(w * a for s, fraud, w, a in examples if fraud and s < threshold)
        false = sum(w for s, fraud, w, _ in examples if not fraud and s >= threshold)
        return missed + false_alarm * false

    curve = curve_of(examples)
    best = float(curve.threshold[choose(Cost(false_alarm), curve)])
    assert cost(best) == pytest.approx(min(cost(s) for s in [1.0, *(s for s, *_ in examples)]))


@given(rows, st.sampled_from([0.1, 0.5, 0.9]))
def test_a_floor_holds_with_its_bound_wherever_any_cut_holds_it(
    examples: list[Row], floor: float
) -> None:
    curve = curve_of(examples)
    for policy, bound in (
        (PrecisionAtLeast(floor), curve.precision_lower),
        (RecallAtLeast(floor), curve.recall_lower),
    ):
        at = choose(policy, curve)
        if (bound >= floor).any():
            assert bound[at] >= floor
            others = np.flatnonzero(bound >= floor)
            assert policy.loss(curve)[at] == policy.loss(curve)[others].min()
        else:
            assert bound[at] == bound.max()


def test_a_higher_floor_of_precision_never_catches_more() -> None:
    chance = np.random.default_rng(1)
    frauds = chance.random(2_000) < 0.1
    scores = np.clip(chance.normal(0.3 + 0.3 * frauds, 0.12), 0.01, 0.99)
    ones = [1.0] * 2_000
    curve = curve_of(list(zip(scores.tolist(), frauds.tolist(), ones, ones, strict=True)))
    recalls = [curve.recall[choose(PrecisionAtLeast(p), curve)] for p in (0.2, 0.5, 0.8, 0.95)]
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[0] > recalls[-1]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("f_beta:0.5", FBeta(0.5)),
        ("precision_at_least:0.8", PrecisionAtLeast(0.8)),
        ("recall_at_least:.7", RecallAtLeast(0.7)),
        ("cost:12.5", Cost(12.5)),
        ("alert_budget:100", AlertBudget(100.0)),
        ("alert_budget:100/1d", AlertBudget(100.0, 86_400.0)),
        ("alert_budget:100/d", AlertBudget(100.0, 86_400.0)),
        ("alert_budget:2.5/90m", AlertBudget(2.5, 5_400.0)),
    ],
)
def test_policies_are_read_from_text(text: str, policy: CurvePolicy | AlertBudget) -> None:
    assert parse_policy(text) == policy


@pytest.mark.parametrize(
    "text",
    [
        *("", "f_beta", "f_beta:", "f_beta:-1", "f_beta:nan", "f_beta:inf", "best:1", "cost:0"),
        *("precision_at_least:1", "recall_at_least:80", "precision_at_least:0", "cost:1e999"),
        *("alert_budget:", "alert_budget:0", "alert_budget:5/", "alert_budget:5/1y"),
        *("alert_budget:1/0s", "alert_budget:x/1d", "alert_budget:-5", "alert_budget:1e999"),
    ],
)
def test_what_is_no_policy_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"not understood: .* Give f_beta:BETA, precision_at"):
        parse_policy(text)
