"""Values of fields become codes: the same everywhere, and never too many."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from stream.core import wire
from stream.core.decode import Reject, transactions
from stream.core.merging import merge_segments
from stream.core.segments import MAX_VALUES, Segments, columns
from stream.events import Segment, Transaction
from stream.settings import Settings

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
    restored.restore(segments.fields, segments.snapshot())
    assert np.array_equal(restored.codes(batch, np.ones(len(batch))), codes)
    assert restored.snapshot() == segments.snapshot()


def test_reports_are_merged_by_value() -> None:
    one = {"type": {"A": Segment(1, 0, 0, 0, 1, 0), "B": Segment(2, 1, 1, 0, 0, 1)}}
    other = {"type": {"B": Segment(3, 0, 0, 0, 3, 0)}, "amount": {"x": Segment(9, 0, 0, 0, 0, 0)}}
    assert merge_segments([one, other]) == {
        "type": {"A": Segment(1, 0, 0, 0, 1, 0), "B": Segment(5, 1, 1, 0, 3, 1)},
        "amount": {"x": Segment(9, 0, 0, 0, 0, 0)},
    }


def test_types_that_the_settings_name_are_told_apart_whatever_comes_before_them() -> None:
    segments = Segments(types=["TRANSFER"])
    batch = [transaction(type=f"typo{i}") for i in range(2 * MAX_VALUES)]
    names(segments, *batch)
    assert names(segments, transaction(type="TRANSFER"))[0]["type"] == "TRANSFER"


def test_with_other_fields_the_values_of_those_that_stay_are_restored() -> None:
    before, after = Segments(["channel"]), Segments(["country", "channel"])
    names(before, transaction(channel="atm"), transaction(channel="web"))
    after.restore(before.fields, before.snapshot())
    codes = before.codes([transaction(channel="web")], np.ones(1))[0]
    kept = columns(codes[None], before.fields, after.fields, axis=1)[0]
    assert after.named(kept.tolist())["channel"] == "web"
    assert after.named(kept.tolist())["country"] == "other"


@pytest.mark.parametrize(
    "name",
    [
        *("isFraud", "is_fraud", "ISFRAUD", "time_seconds", "model_config", "copy", "nameOrig"),
        *("type", "amount", "a-b", "1a", "", "channel,channel", "a,b,c,d,e,f,g,h,i"),
    ],
)
def test_a_name_that_tells_no_groups_apart_or_would_break_a_reader_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="segments"):
        Settings(segments=name)


def test_names_of_fields_are_separated_by_commas() -> None:
    assert Settings(segments="channel,country").segments == ("channel", "country")
