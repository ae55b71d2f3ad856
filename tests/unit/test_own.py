"""Features of the user's own: a table of names and functions, found by name."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.features import Features
from stream.core.own import OwnFeatures, named
from stream.events import Transaction
from stream.settings import OwnError

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)

Writes = Callable[[str], str]
"""Writes a module and returns its name."""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique: str) -> Writes:
    monkeypatch.syspath_prepend(tmp_path)
    count = itertools.count()

    def write(source: str) -> str:
        name = f"{unique}_{next(count)}"
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return name

    return write


def transaction(i: int = 0, amount: float = 10.0) -> Transaction:
    return Transaction(
        transaction_id=f"T{i}",
        type="PAYMENT",
        amount=amount,
        nameOrig=f"C{i % 3}",
        nameDest="M1",
        step=i,
        oldbalanceOrg=100.0,
    )


BATCH = [transaction(i, 10.0 * i) for i in range(20)]

TABLE = """
FEATURES = {
    "cents": lambda tx: round(tx.amount * 100) % 100,
    "night": lambda tx: tx.step % 24 < 6,
    "large": lambda tx: tx.amount > 100,
}
"""


def features(own: str | None) -> Features:
    return Features(("PAYMENT", "TRANSFER"), (1.0, 24.0), 1_000, ORIGIN, own)


def test_there_is_one_column_for_each_name_in_the_order_of_the_table(module: Writes) -> None:
    own = OwnFeatures(f"{module(TABLE)}:FEATURES")
    assert own.names == ("cents", "night", "large")
    batch = [transaction(3, 120.25), transaction(30, 7.5), transaction(8, 100.0)]
    cents, night, large = own.columns(batch)
    assert cents.tolist() == [25.0, 50.0, 0.0]
    assert night.tolist() == [1.0, 0.0, 0.0]
    assert large.tolist() == [1.0, 0.0, 0.0]
    assert all(column.dtype == np.float64 for column in (cents, night, large))


def test_without_a_table_there_are_none() -> None:
    own = OwnFeatures(None)
    assert own.names == ()
    assert own.columns(BATCH) == []


def test_an_empty_batch_has_empty_columns(module: Writes) -> None:
    own = OwnFeatures(f"{module(TABLE)}:FEATURES")
    assert [column.shape for column in own.columns([])] == [(0,)] * 3


def test_an_empty_table_has_no_columns(module: Writes) -> None:
    own = OwnFeatures(f"{module('FEATURES = {}')}:FEATURES")
    assert own.names == ()
    assert own.columns(BATCH) == []


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_not_finite_counts_as_0(module: Writes, value: str) -> None:
    source = f'FEATURES = {{"odd": lambda tx: float("{value}") if tx.amount > 50 else 3}}'
    (column,) = OwnFeatures(f"{module(source)}:FEATURES").columns(BATCH)
    assert column.tolist() == [3.0] * 6 + [0.0] * 14


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("1 / (tx.amount - 50)", "ZeroDivisionError: float division by zero"),
        ("tx.nothing", "AttributeError: .*nothing"),
        ("None", "TypeError: "),
        ("'many'", "ValueError: could not convert"),
        ("10 ** 400", "OverflowError: "),
    ],
)
def test_a_function_that_raises_stops_it_with_the_feature_and_the_transaction(
    module: Writes, body: str, told: str
) -> None:
    source = f'FEATURES = {{"fine": lambda tx: 1, "broken": lambda tx: {body}}}'
    table = f"{module(source)}:FEATURES"
    with pytest.raises(
        ValueError, match=f"feature 'broken' of {table} failed on transaction 'T5': {told}"
    ) as found:
        OwnFeatures(table).columns(BATCH[5:])
    assert found.value.__cause__ is not None


@pytest.mark.parametrize(
    "wrong",
    ["FEATURES = [abs]", "FEATURES = 3", "def FEATURES(tx): return 1", "FEATURES = {'a': 1}"],
)
def test_a_table_that_is_none_is_refused(module: Writes, wrong: str) -> None:
    table = f"{module(wrong)}:FEATURES"
    with pytest.raises(
        ValueError, match=f"features '{table}' is .*: give a mapping of names to functions"
    ):
        OwnFeatures(table)


@pytest.mark.parametrize("part", ["module", "name", "nothing", "no colon", "relative"])
def test_a_table_that_cannot_be_found_is_named_with_what_to_do(module: Writes, part: str) -> None:
    there = module(TABLE)
    table = {
        "module": f"{there}_not:FEATURES",
        "name": f"{there}:FEATURE",
        "nothing": ":FEATURES",
        "no colon": there,
        "relative": f".{there}:FEATURES",
    }[part]
    with pytest.raises(
        ValueError, match=r"features '.*' cannot be found: .* Give package\.module:name"
    ):
        OwnFeatures(table)


def test_what_is_found_by_name_is_the_thing_itself(module: Writes) -> None:
    found = named(f"{module(TABLE)}:FEATURES", "features")
    assert list(found) == ["cents", "night", "large"]
    assert named("math:inf", "number") == float("inf")


def test_own_columns_come_last_and_change_no_other(module: Writes) -> None:
    plain, more = features(None), features(f"{module(TABLE)}:FEATURES")
    assert more.names == (*plain.names, "cents", "night", "large")
    rows = more.transform(BATCH, more.times_seconds(BATCH))
    assert rows.shape == (len(BATCH), len(more.names))
    assert rows.dtype == np.float32
    own = rows[:, -3:]
    assert own[:, 2].tolist() == [float(tx.amount > 100) for tx in BATCH]
    assert own[:, 1].tolist() == [float(i < 6) for i in range(20)]
    assert np.array_equal(rows[:, :-3], plain.transform(BATCH, plain.times_seconds(BATCH)))


@pytest.mark.parametrize("name", ["amount", "novelty", "orig_since", "type_PAYMENT"])
def test_a_name_that_there_is_already_is_an_error_that_names_it(module: Writes, name: str) -> None:
    source = f'FEATURES = {{"fine": lambda tx: 1, "{name}": lambda tx: 2}}'
    with pytest.raises(OwnError, match=f"has a name that Weir's own .*: {name}$"):
        features(f"{module(source)}:FEATURES")


VALUES: list[float] = []
"""What the feature below says of the transactions, in turn."""


def _next(tx: Transaction) -> float:
    return VALUES[int(tx.amount)]


NEXT = {"next": _next}


@given(st.lists(st.floats(), min_size=1, max_size=10))
def test_whatever_a_function_says_a_row_is_finite(values: list[float]) -> None:
    """A row holds 32-bit numbers: what does not fit there is not finite either."""
    table = f"{__name__}:NEXT"
    VALUES[:] = values
    own = features(table)
    batch = [transaction(i, float(i)) for i in range(len(values))]
    rows = own.transform(batch, own.times_seconds(batch))
    assert np.isfinite(rows).all()
    for value, found in zip(values, rows[:, -1].tolist(), strict=True):
        if abs(value) < 1e12:
            assert found == np.float32(value)
