"""Log and wait: each label meets its transaction once, whatever the order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.pending import Joined, Pending
from stream.core.plain import whole
from stream.core.scored import Scored
from stream.events import Label, Transaction

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def transaction(id_: str, amount: float = 1.0) -> Transaction:
    return Transaction(
        transaction_id=id_, type="TRANSFER", amount=amount, nameOrig="a" + id_, nameDest="b", step=1
    )


def label(id_: str, is_fraud: bool = False, hours: int = 0) -> Label:
    labelled_at = NOW + timedelta(hours=hours)
    return Label(
        transaction_id=id_, is_fraud=is_fraud, labelled_at=labelled_at, source="chargeback"
    )


def add(pending: Pending, ids: list[str], score: float = 0.5) -> None:
    n = len(ids)
    pending.add(
        [transaction(id_, amount=float(len(id_))) for id_ in ids],
        Scored(
            np.arange(n, dtype=float),
            np.full(n, score),
            np.array([i % 2 == 0 for i in range(n)], dtype=bool),
            np.array([float(len(id_)) for id_ in ids]),
            np.full((n, 1), 3, dtype=np.int16),
        ),
        np.arange(2 * n, dtype=np.float32).reshape(n, 2),
    )


def ids(joined: Joined) -> list[str]:
    return [found.transaction_id for found in joined.labels]


def test_a_label_meets_its_transaction_with_score_decision_and_features_as_they_were() -> None:
    pending = Pending(2, 10, ["type"])
    add(pending, ["x", "yy"], score=0.25)
    joined = pending.join([label("yy", True)])
    assert ids(joined) == ["yy"]
    assert joined.frauds.tolist() == [True]
    assert (joined.scores[0], joined.alerts[0], joined.amounts[0]) == (0.25, False, 2.0)
    assert joined.features.tolist() == [[2.0, 3.0]]
    assert (joined.origins, joined.destinations) == (["ayy"], ["b"])
    assert len(pending) == 1


def test_a_second_label_is_counted_and_joins_nothing() -> None:
    pending = Pending(2, 10, ["type"])
    add(pending, ["x"])
    assert ids(pending.join([label("x"), label("x")])) == ["x"]
    assert ids(pending.join([label("x")])) == []
    assert (pending.repeated, pending.corrected) == (2, 0)


def test_a_label_that_contradicts_corrects_the_first_and_knows_the_weight_of_that() -> None:
    pending = Pending(2, 10, ["type"])
    add(pending, ["x", "y"])
    first = pending.join([label("x"), label("y")])
    assert not first.corrects.any()
    pending.sent(first.slots[:1], np.array([7.5]))
    second = pending.join([label("x", True, 1), label("y", True, 1)])
    assert ids(second) == ["x", "y"]
    assert second.corrects.all()
    assert second.frauds.all()
    assert second.sent.tolist() == [7.5, 0.0]  # y was thinned away
    assert second.features.tolist() == first.features.tolist()
    assert (pending.repeated, pending.corrected, len(pending)) == (0, 2, 0)


def test_the_newest_label_holds_and_of_equal_ones_the_last_that_came() -> None:
    pending = Pending(2, 10, ["type"])
    add(pending, ["x"])
    pending.join([label("x", True, 1)])
    pending.join([label("x", True, 3)])
    assert ids(pending.join([label("x", False, 2)])) == []  # outdated by what was said again
    assert (pending.repeated, pending.corrected) == (2, 0)
    assert ids(pending.join([label("x", False, 3)])) == ["x"]
    assert ids(pending.join([label("x", True, 4), label("x", False, 5)])) == []  # there and back
    assert (pending.repeated, pending.corrected) == (2, 3)


def test_of_labels_that_came_before_their_transaction_the_newest_waits() -> None:
    pending = Pending(2, 10, ["type"])
    pending.join(
        [label("x", False, 1), label("x", True, 2), label("x", False, 0), label("x", True, 3)]
    )
    assert (pending.early, pending.repeated, pending.corrected) == (1, 2, 1)
    add(pending, ["x"])
    joined = pending.join([])
    assert joined.frauds.tolist() == [True]
    assert not joined.corrects.any()


def test_a_correction_of_an_expired_transaction_waits_as_any_unknown_label_and_falls_out() -> None:
    pending = Pending(2, 3, ["type"])
    add(pending, ["a", "b", "c"])
    pending.join([label("a")])
    add(pending, ["d"])
    assert ids(pending.join([label("a", True, 1)])) == []
    assert (pending.early, pending.unknown, pending.corrected) == (1, 0, 0)
    pending.join([label(f"never seen {i}") for i in range(100_000)])
    assert (pending.early, pending.unknown) == (100_000, 1)


def test_a_label_that_came_before_its_transaction_waits_for_it() -> None:
    pending = Pending(2, 10, ["type"])
    assert ids(pending.join([label("x")])) == []
    assert pending.early == 1
    add(pending, ["x"])
    assert pending.has_met
    assert ids(pending.join([])) == ["x"]
    assert pending.early == 0
    assert not pending.has_met


def test_the_oldest_expire_when_it_is_full_and_the_unlabelled_among_them_are_counted() -> None:
    pending = Pending(2, 3, ["type"])
    add(pending, ["a", "b", "c"])
    pending.join([label("a")])
    add(pending, ["d", "e"])
    assert pending.expired == 1
    assert pending.held("abcde") == [False, False, True, True, True]
    assert ids(pending.join([label("b"), label("e")])) == ["e"]
    assert pending.early == 1  # nobody can tell a label of an expired one from an early one


@given(
    st.lists(st.sampled_from([f"t{i}" for i in range(8)]), unique=True),
    st.lists(st.sampled_from([f"t{i}" for i in range(8)])),
    st.integers(0, 20),
    st.integers(4, 10),
)
def test_going_on_from_a_snapshot_equals_going_on(
    transactions: list[str], labels: list[str], cut: int, capacity: int
) -> None:
    pending = Pending(2, capacity, ["type"])
    pending.join([label(id_) for id_ in labels[:cut]])
    add(pending, transactions)
    restored = Pending(2, capacity, ["type"])
    restored.restore(whole(pending.snapshot()))
    for later in (labels[cut:], []):
        mine, theirs = (p.join([label(id_) for id_ in later]) for p in (pending, restored))
        assert ids(mine) == ids(theirs)
        assert np.array_equal(mine.features, theirs.features)
    assert len(pending) == len(restored)
    assert pending.early == restored.early
    add(pending, ["new1", "new2"])
    add(restored, ["new1", "new2"])
    assert pending.expired == restored.expired


@pytest.mark.parametrize("reserved", [1_000, 4_000_000])
def test_it_grows_to_its_bound_and_no_further(
    reserved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.core.pending.RESERVED", reserved)
    pending = Pending(2, 10_000, ["type"])
    for start in range(0, 30_000, 1_000):
        add(pending, [f"{i}" for i in range(start, start + 1_000)])
    assert len(pending) == 10_000
    assert pending.expired == 20_000
    assert ids(pending.join([label("20000"), label("29999")])) == ["20000", "29999"]


def recent(pending: Pending, id_: str, most: int = 5) -> list[str]:
    return [entry.transaction_id for entry in pending.recent(id_, most)]


def between(pending: Pending, *pairs: tuple[str, str, str]) -> None:
    """Add transactions with these ids, origins and destinations."""
    n = len(pairs)
    codes = np.zeros((n, 1), dtype=np.int16)
    pending.add(
        [
            transaction(id_).model_copy(update={"nameOrig": origin, "nameDest": destination})
            for id_, origin, destination in pairs
        ],
        Scored(np.arange(float(n)), np.full(n, 0.5), np.zeros(n, dtype=bool), np.ones(n), codes),
        np.zeros((n, 2), dtype=np.float32),
    )


def test_what_the_accounts_of_a_transaction_did_before_it_comes_newest_first() -> None:
    pending = Pending(2, 100, ["type"])
    between(pending, ("1", "A", "B"), ("2", "C", "D"), ("3", "B", "E"))
    between(pending, ("4", "A", "B"), ("5", "X", "A"), ("6", "B", "A"))
    assert recent(pending, "4") == ["3", "1"]
    assert recent(pending, "6") == ["5", "4", "3", "1"]
    assert recent(pending, "6", most=1) == ["5", "4"]  # the newest of A, and that of B
    assert recent(pending, "1") == recent(pending, "2") == []
    assert pending.recent("6", 5)[1].is_fraud is None
    pending.join([label("4", True)])
    assert pending.recent("6", 5)[1].is_fraud is True


@pytest.mark.parametrize("count", [3, 4, 5, 9, 14])
def test_what_accounts_did_is_found_also_where_the_ring_has_been_round(count: int) -> None:
    pending = Pending(2, 4, ["type"])
    for i in range(count):
        between(pending, (str(i), "A", f"B{i}"))
    last = count - 1
    assert recent(pending, str(last)) == [str(i) for i in range(last - 1, last - 4, -1) if i >= 0]
    second = last - 1
    assert recent(pending, str(second)) == [
        str(i) for i in range(second - 1, last - 4, -1) if i >= 0
    ]
    restored = Pending(2, 4, ["type"])
    restored.restore(whole(pending.snapshot()))
    assert recent(restored, str(last)) == recent(pending, str(last))


def test_where_a_batch_is_larger_than_the_ring_its_first_have_no_past_to_tell() -> None:
    pending = Pending(2, 4, ["type"])
    between(pending, *((str(i), "A", f"B{i}") for i in range(10)))
    assert recent(pending, "0") == []
    assert recent(pending, "9") == ["8", "7", "6"]


def test_codes_of_fields_that_are_still_counted_are_restored_and_others_are_not() -> None:
    pending, restored = Pending(2, 10, ["type", "channel"]), Pending(2, 10, ["country", "type"])
    codes = np.array([[3, 5], [4, 6]], dtype=np.int16)
    pending.add(
        [transaction("x"), transaction("y")],
        Scored(np.zeros(2), np.zeros(2), np.zeros(2, dtype=bool), np.ones(2), codes),
        np.zeros((2, 2), dtype=np.float32),
    )
    restored.restore(whole(pending.snapshot()))
    assert restored.join([label("x"), label("y")]).codes.tolist() == [[0, 3], [0, 4]]
