"""The decayed account history against a plain re-computation from all past events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.accounts import AMOUNT, COUNT, FRAUDS, LABELS, Accounts

HALF_LIVES_HOURS = (1.0, 24.0)

events = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(0, 1),
        st.integers(0, 72 * 3600),
        st.floats(0, 1e6),
    ),
    max_size=40,
).map(lambda rows: sorted(rows, key=lambda row: row[2]))


def observe(accounts: Accounts, rows: list) -> tuple[np.ndarray, np.ndarray]:
    names, roles, times, amounts = zip(*rows, strict=True) if rows else ((), (), (), ())
    return accounts.observe(
        list(names), np.array(roles, dtype=np.int64), np.array(times, float), np.array(amounts)
    )


def expected(rows: list, row: int, role: int, hours: float) -> tuple[float, float]:
    name, _, now, _ = rows[row]
    past = [r for r in rows[:row] if r[0] == name and r[1] == role]
    weights = [0.5 ** ((now - then) / 3600.0 / hours) for _, _, then, _ in past]
    return sum(weights), sum(w * r[3] for w, r in zip(weights, past, strict=True))


@given(events)
def test_history_is_the_decayed_sum_of_what_came_before_and_of_nothing_else(rows: list) -> None:
    history, since = observe(Accounts(HALF_LIVES_HOURS, 100), rows)
    for row, (name, _, now, _) in enumerate(rows):
        for role in (0, 1):
            seen = [r[2] for r in rows[:row] if r[0] == name and r[1] == role]
            assert since[row, role] == (now - max(seen) if seen else np.inf)
            for h, hours in enumerate(HALF_LIVES_HOURS):
                count, amount = expected(rows, row, role, hours)
                assert history[row, role, COUNT, h] == pytest.approx(count)
                assert history[row, role, AMOUNT, h] == pytest.approx(amount)


@given(events, st.integers(0, 40))
def test_splitting_a_batch_changes_nothing(rows: list, cut: int) -> None:
    whole, _ = observe(Accounts(HALF_LIVES_HOURS, 100), rows)
    split = Accounts(HALF_LIVES_HOURS, 100)
    parts = [observe(split, part)[0] for part in (rows[:cut], rows[cut:]) if part]
    assert np.array_equal(whole, np.concatenate(parts) if parts else whole)


def test_a_late_label_counts_with_the_discount_it_would_have_had_by_now() -> None:
    accounts = Accounts([1.0], 10)
    role = np.array([1])
    accounts.observe(["t"], role, np.array([0.0]), np.array([5.0]))
    accounts.observe(["t"], role, np.array([7200.0]), np.array([5.0]))
    accounts.label(["t"], role, np.array([0.0]), np.array([1.0]))  # two half-lives late
    history, _ = accounts.observe(["t"], role, np.array([7200.0]), np.array([5.0]))
    assert history[0, 1, LABELS, 0] == pytest.approx(0.25)
    assert history[0, 1, FRAUDS, 0] == pytest.approx(0.25)


def test_accounts_stay_within_their_bound_and_the_longest_unseen_go_first() -> None:
    accounts = Accounts([1.0], 64)
    for i in range(1_000):
        observe(accounts, [("regular", 0, 10 * i, 1.0), (f"once-{i}", 1, 10 * i, 1.0)])
        assert len(accounts) <= 64
    assert accounts.evicted == 1_001 - len(accounts)
    history, _ = observe(accounts, [("regular", 0, 10_000, 1.0), ("once-3", 1, 10_000, 1.0)])
    assert history[0, 0, COUNT, 0] > 100
    assert history[1].sum() == 0


@given(events, events)
def test_going_on_from_a_snapshot_equals_going_on(before: list, after: list) -> None:
    kept = Accounts(HALF_LIVES_HOURS, 100)
    observe(kept, before)
    restored = Accounts(HALF_LIVES_HOURS, 100)
    restored.restore(kept.snapshot())
    for mine, theirs in zip(observe(kept, after), observe(restored, after), strict=True):
        assert np.array_equal(mine, theirs)
