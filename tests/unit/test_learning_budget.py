"""Learning takes what it may where time is short, and all it asks for where there is time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.learning_budget import LearningBudget


def taught(
    budget: LearningBudget, batches: int, *, frauds: int, legitimate: int, each_us: float
) -> float:
    """Thousands of transactions with so many examples each; microseconds each took at the end."""
    examples = 0.0
    for _ in range(batches):
        examples = frauds + legitimate * budget.thinning
        budget.spent(1_000, round(examples), examples * each_us / 1e6, behind=True)
    return examples * each_us / 1_000


@given(st.floats(1.0, 200.0), st.integers(0, 20), st.integers(50, 1_000), st.floats(10.0, 3_000.0))
def test_a_worker_that_is_behind_keeps_to_the_budget(
    budget_us: float, frauds: int, legitimate: int, each_us: float
) -> None:
    budget = LearningBudget(budget_us)
    spent = taught(budget, 200, frauds=frauds, legitimate=legitimate, each_us=each_us)
    least = (frauds + 0.01 * legitimate) * each_us / 1_000  # frauds are never left out
    most = (frauds + legitimate) * each_us / 1_000
    assert spent == pytest.approx(min(max(budget_us, least), most), rel=0.15, abs=each_us / 1_000)


def test_without_a_bound_nothing_is_thinned_and_the_cost_is_told() -> None:
    budget = LearningBudget(None)
    taught(budget, 20, frauds=1, legitimate=99, each_us=500.0)
    assert budget.thinning == 1.0
    assert budget.cost_us == pytest.approx(50.0)


def test_a_worker_that_has_caught_up_learns_all_again_and_knows_the_share_when_behind() -> None:
    budget = LearningBudget(10.0)
    taught(budget, 100, frauds=0, legitimate=100, each_us=1_000.0)
    assert budget.thinning == pytest.approx(0.1, rel=0.1)
    budget.spent(1_000, 10, 0.01, behind=False)
    assert budget.thinning == 1.0
    budget.spent(1_000, 100, 0.1, behind=True)
    assert budget.thinning == pytest.approx(0.1, rel=0.2)


def test_learning_what_others_sent_with_nothing_to_decide_breaks_nothing() -> None:
    budget = LearningBudget(10.0)
    budget.spent(0, 100, 0.1, behind=True)
    budget.spent(0, 0, 0.0, behind=True)
    assert 0.0 < budget.thinning <= 1.0
