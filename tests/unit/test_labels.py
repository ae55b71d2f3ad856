"""Late labels: never early, in order, and the same however the rows arrive."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.labels import DueLabel, LateLabels
from producers.order import Item, calls, merged, slices
from producers.rows import Row
from stream.events import Transaction, utc


def row(number: int, time_seconds: float, is_fraud: bool | None = False) -> Row:
    transaction = Transaction(
        transaction_id=f"t{number}",
        type="TRANSFER",
        amount=1.0,
        nameOrig="C1",
        nameDest=f"C{number % 3}",
        timestamp=utc(time_seconds),
    )
    return Row(transaction, time_seconds, is_fraud, None)


times = st.lists(st.integers(0, 5_000), max_size=60).map(sorted)
delays = st.sampled_from([0, 1, 59, 60, 61, 600, 100_000]).map(lambda s: timedelta(seconds=s))


def chunked(rows: list[Row], size: int) -> list[list[Row]]:
    return [rows[at : at + size] for at in range(0, len(rows), size)]


@given(times, delays, st.floats(0, 1), st.integers(0, 600), st.integers(1, 20))
def test_labels_come_in_order_and_never_before_their_delay(
    at: list[int], delay: timedelta, fraction: float, spread_seconds: int, step: int
) -> None:
    rows = [row(number, float(time)) for number, time in enumerate(at)]
    late = LateLabels(delay, fraction, 1, spread=timedelta(seconds=spread_seconds))
    due: list[DueLabel] = []
    for chunk in chunked(rows, step):
        for some in chunk:
            new = list(late.release(some.time_seconds))
            assert all(label.time_seconds <= some.time_seconds for label in new)
            due += new
            late.add([some])
    due += late.release()
    assert len(late) == 0
    when = [label.time_seconds for label in due]
    assert when == sorted(when)
    made = {some.transaction.transaction_id: some for some in rows}
    for label in due:
        of = made[label.label.transaction_id]
        assert label.time_seconds >= of.time_seconds + delay.total_seconds()
        assert label.label.labelled_at.timestamp() == label.time_seconds
        assert label.key == of.transaction.nameDest


def released(
    rows: list[Row], fraction: float, seed: int, size: int = 7, spread: float = 0
) -> list[DueLabel]:
    late = LateLabels(timedelta(hours=1), fraction, seed, spread=timedelta(seconds=spread))
    for chunk in chunked(rows, size):
        late.add(chunk)
    return list(late.release())


def test_the_fraction_is_respected_and_independent_of_chunks_and_order() -> None:
    rows = [row(number, number / 10) for number in range(20_000)]
    labelled = released(rows, 0.3, 5, spread=50)
    assert len(labelled) / len(rows) == pytest.approx(0.3, abs=0.015)
    assert labelled == released(rows, 0.3, 5, size=999, spread=50)
    ids = {label.label.transaction_id for label in labelled}
    assert ids == {label.label.transaction_id for label in released(rows[::-1], 0.3, 5)}
    other = {label.label.transaction_id for label in released(rows, 0.3, 6)}
    assert len(ids & other) / len(rows) == pytest.approx(0.09, abs=0.015)
    # Whoever gets a label at a smaller fraction gets it at a larger one, too.
    assert ids < {label.label.transaction_id for label in released(rows, 0.6, 5)}


def test_the_spread_is_exponential_on_top_of_the_delay() -> None:
    labelled = released([row(number, 0.0) for number in range(20_000)], 1.0, 5, spread=100)
    extra = [label.time_seconds - 3600 for label in labelled]
    assert min(extra) >= 0
    assert sum(extra) / len(extra) == pytest.approx(100, rel=0.05)
    assert sum(one > 100 for one in extra) / len(extra) == pytest.approx(0.368, abs=0.02)


def test_what_is_not_known_gets_no_label() -> None:
    rows = [row(0, 0.0, None), row(1, 0.0, True), row(2, 0.0, False)]
    assert [label.label.is_fraud for label in released(rows, 1, 0)] == [True, False]


@pytest.mark.parametrize("key_field", ["nameDest", "nameOrig", "transaction_id"])
def test_a_label_carries_the_key_of_its_transaction(key_field: str) -> None:
    late = LateLabels(timedelta(0), 1, 0, key_field=key_field)  # type: ignore[arg-type]
    late.add([row(5, 0.0)])
    (due,) = late.release()
    assert due.key == getattr(row(5, 0.0).transaction, key_field)


def test_a_wrong_label_is_corrected_one_delay_later_and_is_the_same_however_the_rows_come() -> None:
    rows = [row(number, number / 10, number % 7 == 0) for number in range(5_000)]
    truth = {some.transaction.transaction_id: some.is_fraud for some in rows}

    def said(size: int) -> list[DueLabel]:
        late, due = LateLabels(timedelta(minutes=1), 1, 5, corrected=0.2), list[DueLabel]()
        for chunk in chunked(rows, size):
            due += late.release(chunk[0].time_seconds)
            late.add(chunk)
        return [*due, *late.release()]

    due = said(40)
    assert due == said(7)
    assert [each.time_seconds for each in due] == sorted(each.time_seconds for each in due)
    wrong = {
        e.label.transaction_id: e for e in due if e.label.is_fraud != truth[e.label.transaction_id]
    }
    assert len(wrong) / len(rows) == pytest.approx(0.2, abs=0.02)
    assert len(due) == len(rows) + len(wrong)
    last = {each.label.transaction_id: each for each in due}
    for id_, each in last.items():
        assert each.label.is_fraud == truth[id_]
        if id_ in wrong:
            assert each.time_seconds == pytest.approx(wrong[id_].time_seconds + 60)
            assert each.key == wrong[id_].key


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        LateLabels(timedelta(0), fraction, 0)


@given(times, delays, st.integers(1, 30), st.integers(1, 40), st.booleans())
def test_slices_hold_whole_stretches_of_event_time_with_labels_first(
    at: list[int], delay: timedelta, size: int, most: int, final_labels: bool
) -> None:
    rows = [row(number, float(time)) for number, time in enumerate(at)]
    late = LateLabels(delay, 1, 0)
    cut = list(slices(chunked(rows, size), late, 60, final_labels=final_labels))
    assert [some for piece in cut for some in piece.rows] == rows
    newest = -1.0
    seen: set[str] = set()
    for labels, of_slice in cut:
        # A slice is known by its number: of its labels rounded up, of its rows rounded down.
        numbers = {-(-label.time_seconds // 60) for label in labels}
        numbers |= {some.time_seconds // 60 for some in of_slice}
        if of_slice and delay >= timedelta(seconds=60):
            assert len(numbers) == 1
            assert numbers.pop() > newest
        assert {label.label.transaction_id for label in labels} <= seen
        seen |= {some.transaction.transaction_id for some in of_slice}
        if of_slice:
            newest = of_slice[0].time_seconds // 60
            assert all(label.time_seconds <= newest * 60 for label in labels)
    labelled = [label for piece in cut for label in piece.labels]
    assert [label.time_seconds for label in labelled] == sorted(
        label.time_seconds for label in labelled
    )
    assert len(labelled) + len(late) == len(rows)
    if final_labels:
        assert len(labelled) == len(rows)
    together = list(calls(cut, most))
    flat: list[Item] = [item for piece in cut for item in (*piece.labels, *piece.rows)]
    assert [item for call in together for item in call] == flat
    largest = max((len(piece.labels) + len(piece.rows) for piece in cut), default=0)
    assert all(len(call) <= max(most, largest) for call in together)


@given(times, delays, st.integers(1, 9))
def test_what_a_paced_producer_sends_is_in_event_time_with_labels_first(
    at: list[int], delay: timedelta, size: int
) -> None:
    rows = [row(number, float(time)) for number, time in enumerate(at)]
    items = list(merged(chunked(rows, size), LateLabels(delay, 1, 0)))
    assert [item.time_seconds for item in items] == sorted(item.time_seconds for item in items)
    assert [item for item in items if isinstance(item, Row)] == rows
    if delay:
        order = [(item.time_seconds, isinstance(item, Row)) for item in items]
        assert order == sorted(order)
