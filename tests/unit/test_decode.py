"""What can be read is read, and what cannot gets a reason; nothing raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream import events
from stream.core import wire
from stream.core.decode import Reject, decode, label, transactions
from stream.events import Alert, Example, Label, Transaction, utc

TRANSACTION: dict[str, Any] = {
    "transaction_id": "T1",
    "type": "TRANSFER",
    "amount": 181.0,
    "nameOrig": "C1",
    "oldbalanceOrg": 181.0,
    "newbalanceOrig": 0.0,
    "nameDest": "C2",
    "step": 1,
}


def read(message: dict[str, Any]) -> Transaction | Reject:
    return decode(json.dumps(message).encode(), Transaction, 65_536)


def test_a_transaction_under_paysims_names_is_read_and_its_label_is_not() -> None:
    found = read(TRANSACTION | {"isFraud": 1, "isFlaggedFraud": 0})
    assert isinstance(found, Transaction)
    assert "isFraud" not in found.model_dump_json()
    assert found.oldbalanceDest is None


def test_a_timestamp_may_stand_for_the_step() -> None:
    message = {k: v for k, v in TRANSACTION.items() if k != "step"}
    found = read(message | {"timestamp": "2026-03-01T12:00:00+01:00"})
    assert isinstance(found, Transaction)
    assert found.timestamp is not None
    assert found.timestamp.timestamp() == 1772362800


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount": -1}, "amount: Input should be greater than or equal to 0"),
        ({"amount": 1e300}, "amount: Input should be less than or equal to"),
        ({"amount": float("nan")}, "amount: "),
        ({"amount": float("inf")}, "amount: "),
        ({"amount": "181"}, "amount: Input should be a valid number"),
        ({"amount": None}, "amount: "),
        ({"amount": True}, "amount: "),
        ({"oldbalanceOrg": "many"}, "oldbalanceOrg: Input should be a valid number"),
        ({"transaction_id": ""}, "transaction_id: String should have at least 1 character"),
        ({"transaction_id": 7}, "transaction_id: Input should be a valid string"),
        ({"nameDest": "C" * 1000}, "nameDest: String should have at most 128 characters"),
        ({"type": {}}, "type: Input should be a valid string"),
        ({"step": -1}, "step: Input should be greater than or equal to 0"),
        ({"step": 1.5}, "step: "),
        ({"step": None}, "timestamp or step is required"),
        ({"step": None, "timestamp": "2026-03-01T12:00:00"}, "timestamp: Input should have time"),
        ({"step": None, "timestamp": "yesterday"}, "timestamp: "),
        (
            {"timestamp": "1800-01-01T00:00:00Z"},
            "timestamp: Input should be greater than or equal to 1970-01-01T00:00:00Z",
        ),
        ({"version": 2}, "version: Input should be 1"),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused_with_the_field_and_the_rule(
    change: dict[str, Any], reason: str
) -> None:
    found = read(TRANSACTION | change)
    assert isinstance(found, Reject)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("field", ["transaction_id", "type", "amount", "nameOrig", "nameDest"])
def test_a_missing_field_is_named(field: str) -> None:
    found = read({k: v for k, v in TRANSACTION.items() if k != field})
    assert found == Reject(f"{field}: Field required")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"transaction_id": "T1"', "not JSON"),
        (b"[" * 100_000, "too large"),
        (b"[" * 60_000, "not JSON"),
        (b"[]", "Input should be"),
        (b"null", "Input should be"),
        (b"x" * 5_000_000, "too large: 5000000 bytes"),
    ],
)
def test_what_is_no_json_object_is_refused(value: bytes | None, reason: str) -> None:
    found = decode(value, Transaction, 65_536)
    assert isinstance(found, Reject)
    assert found.reason.startswith(reason)


def test_a_reason_never_repeats_what_was_found() -> None:
    found = read(TRANSACTION | {"amount": "secret-4711", "type": ["secret-4711"]})
    assert isinstance(found, Reject)
    assert "secret" not in found.reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*TRANSACTION, "timestamp", "version"]), json_values))
@example({"transaction_id": "\ud800"})
def test_whatever_a_field_holds_nothing_raises(change: dict[str, Any]) -> None:
    message = json.dumps(TRANSACTION | change).encode()
    for kind in (Transaction, Label, Example, Alert):
        assert isinstance(decode(message, kind, 65_536), (kind, Reject))
    found = decode(message, Transaction, 65_536)
    if isinstance(found, Transaction):
        assert 0 <= found.amount <= 1e12
        found.transaction_id.encode()


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_nothing_raises(value: bytes) -> None:
    for kind in (Transaction, Label, Example):
        assert isinstance(decode(value, kind, 65_536), (kind, Reject))


@pytest.mark.parametrize("name", ["Transaction", "Label", "Example", "Decided"])
def test_what_is_read_and_written_quickly_has_the_fields_of_the_model_in_the_schema(
    name: str,
) -> None:
    model, quick = getattr(events, name), getattr(wire, name)
    assert set(quick.__struct_fields__) == set(model.model_fields)


transaction = transactions()

TIMES = [
    *("2026-01-01T00:00:00Z", "2026-01-01 00:00:00+01:00", "2026-01-01T00:00Z", "2026-01-01"),
    *("2026-01-01T00:00:00", "2026-01-01T00:00:00.1234567Z", "2026-01-01T23:59:60Z", "1760000000"),
    *("1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2199-12-31T23:59:59.9999999Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z"),
]


@pytest.mark.parametrize("time", TIMES)
def test_a_time_is_read_alike_or_refused_alike_by_both_readers(time: str) -> None:
    told = {"transaction_id": "T1", "is_fraud": True, "labelled_at": time, "source": "analyst"}
    value = json.dumps(TRANSACTION | {"timestamp": time}).encode()
    for quick, found in (
        (label(json.dumps(told).encode(), 1_000), decode(json.dumps(told).encode(), Label, 1_000)),
        (transaction(value, 1_000), decode(value, Transaction, 1_000)),
    ):
        if isinstance(found, Reject) or isinstance(quick, Reject):
            assert quick == found
            continue
        seconds = [
            each.time_seconds(utc(0)) if hasattr(each, "step") else each.labelled_at.timestamp()
            for each in (quick, found)
        ]
        assert seconds[0] == pytest.approx(seconds[1], abs=2e-6)


def test_what_is_read_quickly_needs_no_pydantic() -> None:
    value = json.dumps(TRANSACTION).encode()
    assert isinstance(transaction(value, 1_000), wire.Transaction)
    assert isinstance(transaction(value, 100), Reject)
    assert isinstance(transaction(value[:-1] + b', "x": "\xff"}', 1_000), Reject)
