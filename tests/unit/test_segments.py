"""Values of fields become codes: the same everywhere, and never too many."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stream.core import wire
from stream.core.decode import Reject, transactions
from stream.core.merging import merge_segments
from stream.core.segments import MAX_VALUES, Segments
from stream.events import Segment, Transaction

READ = transactions(["channel", "country"])


def transaction(**fields: object) -> wire.AnyTransaction:
    value = {
        "transaction_id": "1",
        "type": "DEBIT",
        "amount": 1.0,
        "nameOrig": "C1",
        "nameDest": "M1",
        "step": 0,
    }
    found = READ(json.dumps(value | fields).encode(), 10_000)
    assert not isinstance(found, Reject)
    return found


def names(segments: Segments, *batch: wire.AnyTransaction) -> list[dict[str, str]]:
    amounts = np.array([tx.amount for tx in batch])
    return [segments.named(row) for row in segments.codes(batch, amounts).tolist()]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("atm", "atm"),
        (7, "7"),
        (True, "true"),
        (None, "missing"),
        ("", "missing"),
        (0.5, "other"),
        (["atm"], "other"),
        ({"a": 1}, "other"),
        ("x" * 33, "other"),
    ],
)
def test_a_field_of_the_settings_is_read_whatever_it_holds(value: object, name: str) -> None:
    segments = Segments(["channel"])
    assert names(segments, transaction(channel=value))[0]["channel"] == name


def test_a_field_is_read_also_where_msgspec_will_not_take_the_message() -> None:
    found = transaction(channel="atm", timestamp="2026-01-01 00:00:00+00:00", step=None)
    assert isinstance(found, Transaction | wire.Transaction)
    assert names(Segments(["channel", "country"]), found)[0] == {
        "type": "DEBIT",
        "amount": "under 10",
        "channel": "atm",
        "country": "missing",
    }


@pytest.mark.parametrize(
    ("amount", "band"),
    [
        (0, "under 10"),
        (9.99, "under 10"),
        (10, "10 to 100"),
        (999.99, "100 to 1k"),
        (1_000_000, "1M and more"),
        (1e12, "1M and more"),
    ],
)
def test_amounts_fall_into_the_band_that_begins_at_or_below_them(amount: float, band: str) -> None:
    assert names(Segments(), transaction(amount=amount))[0]["amount"] == band


def test_there_are_never_more_values_than_the_bound_and_the_first_are_kept() -> None:
    segments = Segments(["channel"])
    batch = [transaction(channel=f"c{i}") for i in range(3 * MAX_VALUES)]
    found = [name["channel"] for name in names(segments, *batch)]
    kept = MAX_VALUES - 2  # other and missing are values, too
    assert found == [f"c{i}" for i in range(kept)] + ["other"] * (3 * MAX_VALUES - kept)
    assert names(segments, batch[0])[0]["channel"] == "c0"


def test_a_snapshot_gives_the_same_codes_whatever_the_values_are_called() -> None:
    segments, restored = Segments(["channel"]), Segments(["channel"])
    batch = [transaction(channel=c) for c in ("a:b", "ü", "other", "\n", "1:x", "missing")]
    codes = segments.codes(batch, np.ones(len(batch)))
    restored.restore(segments.snapshot())
    assert np.array_equal(restored.codes(batch, np.ones(len(batch))), codes)
    assert restored.snapshot() == segments.snapshot()


def test_reports_are_merged_by_value() -> None:
    one = {"type": {"A": Segment(1, 0, 0, 0, 1, 0), "B": Segment(2, 1, 1, 0, 0, 1)}}
    other = {"type": {"B": Segment(3, 0, 0, 0, 3, 0)}, "amount": {"x": Segment(9, 0, 0, 0, 0, 0)}}
    assert merge_segments([one, other]) == {
        "type": {"A": Segment(1, 0, 0, 0, 1, 0), "B": Segment(5, 1, 1, 0, 3, 1)},
        "amount": {"x": Segment(9, 0, 0, 0, 0, 0)},
    }
