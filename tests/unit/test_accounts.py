"""The decayed account history against a plain re-computation from all past events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import accounts as accounts_module
from stream.core.accounts import (
    AMOUNT,
    COUNT,
    FRAUD,
    FRAUDS,
    LABELLED,
    LABELS,
    RUN,
    SEEN,
    Accounts,
    History,
)
from stream.core.plain import whole

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


def observe(accounts: Accounts, rows: list) -> History:
    names, roles, times, amounts = zip(*rows, strict=True) if rows else ((), (), (), ())
    return accounts.observe(
        list(names), np.array(roles, dtype=np.int64), np.array(times, float), np.array(amounts)
    )


def expected(rows: list, row: int, role: int, hours: float) -> tuple[float, float]:
    name, _, now, _ = rows[row]
    past = [r for r in rows[:row] if r[0] == name and r[1] == role]
    weights = [0.5 ** ((now - then) / 3600.0 / hours) for _, _, then, _ in past]
    return sum(weights), sum(w * r[3] for w, r in zip(weights, past, strict=True))


labels = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 72 * 3600), st.booleans()),
    max_size=20,
)


def label(accounts: Accounts, rows: list) -> None:
    names, roles, times, frauds = zip(*rows, strict=True) if rows else ((), (), (), ())
    accounts.label(
        list(names), np.array(roles, dtype=np.int64), np.array(times, float), np.array(frauds, bool)
    )


@given(events)
def test_history_is_the_decayed_sum_of_what_came_before_and_of_nothing_else(rows: list) -> None:
    history = observe(Accounts(HALF_LIVES_HOURS, 100), rows)
    for row, (name, _, now, _) in enumerate(rows):
        for role in (0, 1):
            seen = [r[2] for r in rows[:row] if r[0] == name and r[1] == role]
            age = history.ages_seconds[row, role, SEEN]
            assert age == (now - max(seen) if seen else np.inf)
            for h, hours in enumerate(HALF_LIVES_HOURS):
                count, amount = expected(rows, row, role, hours)
                assert history.sums[row, role, COUNT, h] == pytest.approx(count)
                assert history.sums[row, role, AMOUNT, h] == pytest.approx(amount)


@given(events, st.integers(0, 40))
def test_splitting_a_batch_changes_nothing(rows: list, cut: int) -> None:
    whole = observe(Accounts(HALF_LIVES_HOURS, 100), rows).sums
    split = Accounts(HALF_LIVES_HOURS, 100)
    parts = [observe(split, part).sums for part in (rows[:cut], rows[cut:]) if part]
    assert np.array_equal(whole, np.concatenate(parts) if parts else whole)


@given(labels, labels)
def test_label_sums_are_decayed_up_to_the_newest_label_however_late_they_come(
    rows: list, later: list
) -> None:
    accounts = Accounts(HALF_LIVES_HOURS, 100)
    observe(accounts, [("a", 0, 0, 1.0), ("b", 0, 0, 1.0)])
    for batch in (rows, later):
        label(accounts, batch)
    now = 10_000 * 3600
    history = observe(accounts, [("a", 0, now, 1.0), ("b", 0, now, 1.0)])
    for row, name in enumerate("ab"):
        for role in (0, 1):
            mine = [(t, fraud) for n, r, t, fraud in rows + later if (n, r) == (name, role)]
            newest = max((t for t, _ in mine), default=-np.inf)
            assert history.ages_seconds[row, role, LABELLED] == now - newest
            known = max((t for t, fraud in mine if fraud), default=-np.inf)
            assert history.ages_seconds[row, role, FRAUD] == now - known
            for h, hours in enumerate(HALF_LIVES_HOURS):
                weights = [0.5 ** ((newest - t) / 3600.0 / hours) for t, _ in mine]
                assert history.labels[row, role, LABELS, h] == pytest.approx(sum(weights))
                assert history.labels[row, role, FRAUDS, h] == pytest.approx(
                    sum(w for w, (_, fraud) in zip(weights, mine, strict=True) if fraud)
                )


def run_hours(*told: tuple[int, bool]) -> float:
    """Age at hour 100 of the run of frauds after labels of (hour of the transaction, fraud)."""
    accounts = Accounts(HALF_LIVES_HOURS, 100)
    observe(accounts, [("a", 1, 0, 1.0)])
    for hour, fraud in told:
        label(accounts, [("a", 1, hour * 3600, fraud)])
    history = observe(accounts, [("a", 1, 100 * 3600, 1.0)])
    return float(history.ages_seconds[0, 1, RUN]) / 3600.0


def test_a_run_of_frauds_lasts_from_the_first_until_a_legitimate_transaction_follows() -> None:
    assert run_hours() == np.inf
    assert run_hours((10, False)) == np.inf
    assert run_hours((10, True)) == 90
    assert run_hours((10, True), (20, True)) == 90
    assert run_hours((10, True), (20, True), (30, False)) == np.inf
    assert run_hours((10, True), (30, False), (40, True)) == 60


def test_a_late_label_corrects_the_run_of_frauds() -> None:
    assert run_hours((20, True), (10, True)) == 90
    assert run_hours((20, True), (10, False)) == 80
    assert run_hours((10, True), (30, True), (20, False)) == 70


def correct(accounts: Accounts, rows: list) -> None:
    names, roles, times, frauds = zip(*rows, strict=True)
    accounts.correct(
        list(names), np.array(roles, dtype=np.int64), np.array(times, float), np.array(frauds, bool)
    )


def moments_hours(told: list[tuple[int, bool]], then: tuple[int, bool]) -> tuple[float, float]:
    """Ages at hour 100 of the newest fraud and of the run, after labels and a correction."""
    accounts = Accounts(HALF_LIVES_HOURS, 100)
    observe(accounts, [("a", 1, 0, 1.0)])
    for hour, fraud in told:
        label(accounts, [("a", 1, hour * 3600, fraud)])
    correct(accounts, [("a", 1, then[0] * 3600, then[1])])
    ages = observe(accounts, [("a", 1, 100 * 3600, 1.0)]).ages_seconds[0, 1] / 3600.0
    return float(ages[FRAUD]), float(ages[RUN])


def test_a_correction_moves_the_newest_fraud_and_the_run_as_far_as_they_are_known() -> None:
    never = np.inf
    assert moments_hours([(10, True)], (10, False)) == (never, never)
    assert moments_hours([(10, False)], (10, True)) == (90, 90)
    assert moments_hours([(10, False), (20, False)], (10, True)) == (90, never)
    assert moments_hours([(10, True), (20, True)], (20, False)) == (90, never)
    assert moments_hours([(10, True), (20, True)], (10, False)) == (80, 80)
    assert moments_hours([(10, True), (20, True), (30, True)], (20, False)) == (70, 70)
    assert moments_hours([(10, True), (20, False)], (20, True)) == (80, 80)  # one run since hour 10
    assert moments_hours([(10, True), (20, False), (30, True)], (20, True)) == (70, 80)


def test_an_account_whose_labels_were_forgotten_has_nothing_to_take_back() -> None:
    accounts = Accounts(HALF_LIVES_HOURS, 16)
    observe(accounts, [("a", 0, 0, 1.0)])
    label(accounts, [("a", 0, 0, True)])
    for i in range(1, 40):
        observe(accounts, [(f"b{i}", 0, i, 1.0)])
    correct(accounts, [("a", 0, 0, False)])
    observe(accounts, [("a", 0, 50, 1.0)])
    correct(accounts, [("a", 0, 0, False)])
    label(accounts, [("a", 0, 50, False)])
    correct(accounts, [("a", 0, 0, False)])
    history = observe(accounts, [("a", 0, 60, 1.0)])
    assert (history.labels[0, 0, FRAUDS] == 0.0).all()


def test_accounts_stay_within_their_bound_and_the_longest_unseen_go_first() -> None:
    accounts = Accounts([1.0], 64)
    for i in range(1_000):
        observe(accounts, [("regular", 0, 10 * i, 1.0), (f"once-{i}", 1, 10 * i, 1.0)])
        assert len(accounts) <= 64
    assert accounts.evicted == 1_001 - len(accounts)
    history = observe(accounts, [("regular", 0, 10_000, 1.0), ("once-3", 1, 10_000, 1.0)])
    assert history.sums[0, 0, COUNT, 0] > 100
    assert history.sums[1].sum() == 0


def test_a_name_is_held_once_however_often_it_comes() -> None:
    accounts = Accounts([1.0], 64)
    first, again = "".join(["regu", "lar"]), "".join(["regul", "ar"])
    observe(accounts, [(first, 0, 0, 1.0)])
    observe(accounts, [("new", 0, 1, 1.0), (again, 0, 1, 1.0)])
    assert accounts.observed == ["new", "regular"]
    assert accounts.observed[1] is first


@given(events, labels, events)
def test_going_on_from_a_snapshot_equals_going_on(before: list, told: list, after: list) -> None:
    kept = Accounts(HALF_LIVES_HOURS, 100)
    observe(kept, before)
    label(kept, told)
    restored = Accounts(HALF_LIVES_HOURS, 100)
    restored.restore(whole(kept.snapshot()))
    for mine, theirs in zip(observe(kept, after), observe(restored, after), strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("look", [1, 3, 4_096])
def test_who_is_evicted_is_the_same_after_a_restore(
    look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those unseen for equally long, in slots that were taken before."""
    monkeypatch.setattr(accounts_module, "_LOOK", look)
    rng = np.random.default_rng(1)
    batches = [
        [(f"C{n}", int(n) % 2, hour * 3600, float(n)) for n in rng.integers(0, 60, 5)]
        for hour in range(40)
    ]
    straight, resumed = (Accounts(HALF_LIVES_HOURS, 16) for _ in range(2))
    for number, rows in enumerate(batches):
        if number % 7 == 3:
            held = whole(resumed.snapshot())
            resumed = Accounts(HALF_LIVES_HOURS, 16)
            resumed.restore(held)
        for mine, theirs in zip(observe(straight, rows), observe(resumed, rows), strict=True):
            assert np.array_equal(mine, theirs)
        assert len(straight) == len(resumed) <= 16
    assert straight.evicted == resumed.evicted > 40


@pytest.mark.parametrize("in_turn", [True, False])
def test_of_many_one_of_the_longest_unseen_goes_as_each_new_one_comes(
    in_turn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only some of the slots tell how long that is, and few are looked at for each."""
    monkeypatch.setattr(accounts_module, "_SPANS", 100)
    monkeypatch.setattr(accounts_module, "_TOGETHER", 4)
    monkeypatch.setattr(accounts_module, "_LOOK", 64)
    accounts, looks = Accounts([1.0], 1_600), list[int]()
    order = np.random.default_rng(2).permutation(1_600).tolist()
    order = sorted(order) if in_turn else order
    observe(accounts, [(f"{name}", 0, 0, 1.0) for name in range(1_600)])
    for time, name in enumerate(order, 1):
        observe(accounts, [(f"{name}", 0, time, 1.0)])
    last_seen = accounts._last_seen

    def counted(slots: slice) -> Any:
        looks[-1] += isinstance(slots, slice)
        return last_seen(slots)

    monkeypatch.setattr(accounts, "_last_seen", counted)
    for count in range(1, 801):
        looks.append(0)
        observe(accounts, [(f"new {count}", 0, 2_000 + count, 1.0)])
        assert (len(accounts), accounts.evicted) == (1_600, count)
    names = set(whole(accounts.snapshot())["names"])
    gone = [place for place, name in enumerate(order) if f"{name}" not in names]
    assert len(gone) == 800
    assert max(gone) < 800 + 2 * 100  # a sixteenth are 100
    assert all(f"new {count}" in names for count in range(1, 801))
    assert max(looks) <= 4


def test_those_of_the_batch_at_hand_stay_however_long_they_were_not_seen() -> None:
    accounts = Accounts([1.0], 32)
    observe(accounts, [(f"{name}", 0, name, 1.0) for name in range(32)])
    late = [(f"{name}", 0, 0, 1.0) for name in range(10)]
    observe(accounts, [*late, *((f"new {i}", 0, 40, 1.0) for i in range(3))])
    names = set(whole(accounts.snapshot())["names"])
    assert {f"{name}" for name in range(32)} - names == {"10", "11", "12"}
    observe(accounts, [(f"more {i}", 0, 41, 1.0) for i in range(100)])
    assert len(accounts) == 100  # by the batch
    observe(accounts, [("one", 0, 42, 1.0)])
    assert len(accounts) == 32


def test_where_the_bound_is_lower_now_the_longest_unseen_go_with_the_next_batch() -> None:
    before, now = Accounts([1.0], 1_000), Accounts([1.0], 100)
    observe(before, [(f"{name}", 0, name, 1.0) for name in range(1_000)])
    now.restore(whole(before.snapshot()))
    observe(now, [("new", 0, 1_000, 1.0)])
    assert set(whole(now.snapshot())["names"]) == {"", "new", *(f"{n}" for n in range(901, 1_000))}
    again = Accounts([1.0], 100)
    again.restore(whole(now.snapshot()))
    rows = [("new", 0, 1_001, 1.0), ("990", 0, 1_001, 1.0), ("3", 0, 1_001, 1.0)]
    for mine, theirs in zip(observe(now, rows), observe(again, rows), strict=True):
        assert np.array_equal(mine, theirs)
    assert len(now) == len(again) == 100


def test_of_those_unseen_for_equally_long_the_one_taken_first_goes() -> None:
    accounts = Accounts(HALF_LIVES_HOURS, 3)
    for name in "cab":
        observe(accounts, [(name, 0, 0, 1.0)])
    observe(accounts, [("d", 0, 0, 1.0)])
    assert set(whole(accounts.snapshot())["names"]) == {"a", "b", "d"}
    observe(accounts, [("e", 0, 0, 1.0)])
    assert set(whole(accounts.snapshot())["names"]) == {"b", "d", "e"}
    observe(accounts, [("f", 0, 0, 1.0)])
    assert set(whole(accounts.snapshot())["names"]) == {"d", "e", "f"}
