"""Tables as streams: what is in the table is in the rows, or it is said where it is not."""

from __future__ import annotations

import gzip
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.replay import COLUMNS, Columns, TableError, read_table
from producers.rows import Row

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
PAYSIM = (
    "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,"
    "newbalanceDest,isFraud,isFlaggedFraud"
)
FIRST = "1,PAYMENT,9839.64,C1,170136.0,160296.36,M1,0.0,0.0,0,0"
SECOND = "3,TRANSFER,181,C2,181,0,007,0,,1,0"
CARD = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD"


def table(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def read(
    path: Path, columns: Columns = COLUMNS["paysim"], limit: int | None = None, chunk: int = 20_000
) -> list[Row]:
    chunks = read_table(path, columns, chunk_rows=chunk, limit=limit, step_origin=ORIGIN)
    return [row for rows in chunks for row in rows]


def test_a_paysim_table_comes_back_as_it_is(tmp_path: Path) -> None:
    first, second = read(table(tmp_path, PAYSIM, FIRST, SECOND))
    assert first.transaction.model_dump(exclude_none=True, exclude={"version"}) == {
        "transaction_id": "paysim-0",
        "type": "PAYMENT",
        "amount": 9839.64,
        "nameOrig": "C1",
        "nameDest": "M1",
        "step": 1,
        "oldbalanceOrg": 170136.0,
        "newbalanceOrig": 160296.36,
        "oldbalanceDest": 0.0,
        "newbalanceDest": 0.0,
    }
    assert (first.is_fraud, second.is_fraud) == (False, True)
    assert first.pattern is None
    assert second.time_seconds == ORIGIN.timestamp() + 3 * 3600
    assert second.time_seconds == second.transaction.time_seconds(ORIGIN)
    assert second.transaction.nameDest == "007", "an identifier stays a text"
    assert second.transaction.newbalanceDest is None, "an empty balance is absent"


def test_a_card_table_gets_prefixes_and_a_constant_type(tmp_path: Path) -> None:
    path = table(tmp_path, CARD, "12,2018-04-01 00:00:31,596,3156,57.16,0")
    (row,) = read(path, COLUMNS["card"])
    assert row.transaction.model_dump(exclude_none=True, exclude={"version"}) == {
        "transaction_id": "card-12",
        "type": "PAYMENT",
        "amount": 57.16,
        "nameOrig": "C596",
        "nameDest": "T3156",
        "timestamp": datetime(2018, 4, 1, 0, 0, 31, tzinfo=UTC),
    }
    assert row.time_seconds == row.transaction.time_seconds(ORIGIN)


def test_any_table_can_be_mapped(tmp_path: Path) -> None:
    path = table(tmp_path, "when,who,to,sum,bad", "1.5,a,b,3,yes", "2,a,b,4,")
    columns = Columns({}).mapped(
        "timestamp=when,nameOrig=who,nameDest=to,amount=sum,type==CARD,is_fraud=bad"
    )
    with pytest.raises(TableError, match=r"column bad, row 0 .* is 'yes', not 0 or 1"):
        read(path, columns)
    path = table(tmp_path, "when,who,to,sum,bad", "1.5,a,b,3,True", "2,a,b,4,")
    first, second = read(path, columns)
    assert first.transaction.transaction_id == "row-0"
    assert first.time_seconds == 1.5
    assert first.transaction.type == "CARD"
    assert first.is_fraud is True
    assert second.is_fraud is None, "an empty label is unknown"
    path = table(tmp_path, "when,who,to,sum,bad", "2026-01-01T00:00:00+01:00,a,b,4,false")
    assert read(path, columns)[0].time_seconds == ORIGIN.timestamp() - 3600


def test_a_mapping_goes_over_a_preset_and_takes_its_prefix_away() -> None:
    columns = COLUMNS["card"].mapped("nameOrig=WHO, type=KIND,step=HOUR")
    assert columns.fields["nameOrig"] == "WHO"
    assert "nameOrig" not in columns.prefixes
    assert "type" not in columns.constants
    assert "timestamp" not in columns.fields, "one event time"


@pytest.mark.parametrize("text", ["colour=X", "amount", "amount=", "=X", "amount==5", "type=="])
def test_a_mapping_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(TableError):
        COLUMNS["paysim"].mapped(text)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 60), st.integers(1, 25), st.integers(1, 80))
def test_chunks_and_limit_do_not_change_the_rows(count: int, chunk: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{n // 7},PAYMENT,{n}.25,C{n},,,M{n % 5},,,{n % 2},0" for n in range(count)]
        path = table(Path(folder), PAYSIM, *lines)
        whole = read(path)
        assert len(whole) == count
        assert read(path, chunk=chunk, limit=limit) == whole[:limit]


def test_a_compressed_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(f"{PAYSIM}\n{FIRST}\n".encode()))
    assert len(read(path)) == 1


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    assert read(table(tmp_path, PAYSIM)) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((PAYSIM, FIRST, "2,DEBIT,ten,C1,0,0,C2,0,0,0,0"), r"amount, row 1 .*'ten', not a number"),
        ((PAYSIM, FIRST, "2,DEBIT,,C1,0,0,C2,0,0,0,0"), r"amount, row 1 .*empty"),
        ((PAYSIM, FIRST, "2,DEBIT,-5,C1,0,0,C2,0,0,0,0"), r"amount, row 1 .*greater than or equal"),
        ((PAYSIM, FIRST, "2,DEBIT,inf,C1,0,0,C2,0,0,0,0"), r"amount, row 1 "),
        ((PAYSIM, FIRST, "2,DEBIT,5,C1,x,0,C2,0,0,0,0"), r"oldbalanceOrg, row 1 .*'x'"),
        ((PAYSIM, FIRST, "2,DEBIT,5,,0,0,C2,0,0,0,0"), r"nameOrig, row 1 .*empty"),
        ((PAYSIM, FIRST, "2.5,DEBIT,5,C1,0,0,C2,0,0,0,0"), r"step, row 1 .*whole number of hours"),
        ((PAYSIM, FIRST, "-2,DEBIT,5,C1,0,0,C2,0,0,0,0"), r"step, row 1 "),
        ((PAYSIM, FIRST, "2,DEBIT,5,C1,0,0,C2,0,0,2,0"), r"isFraud, row 1 .*'2', not 0 or 1"),
        ((PAYSIM, SECOND, FIRST), r"step, row 1 .*earlier than the row before .*sort_values"),
        ((PAYSIM.replace("amount", "sum"), FIRST), r"no column amount .*--map amount=COLUMN"),
        ((PAYSIM, FIRST, "2,DEBIT,5"), r"nameOrig, row 1 .*empty"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_column_and_row(
    tmp_path: Path, lines: tuple[str, ...], said: str
) -> None:
    with pytest.raises(TableError, match=said) as problem:
        read(table(tmp_path, *lines))
    assert "table.csv" in str(problem.value)


def test_an_unreadable_time_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, CARD, "12,yesterday,596,3156,57.16,0")
    with pytest.raises(TableError, match=r"TX_DATETIME, row 0 .*'yesterday', not a time"):
        read(path, COLUMNS["card"])


def test_order_and_row_numbers_hold_across_chunks(tmp_path: Path) -> None:
    path = table(tmp_path, PAYSIM, FIRST, SECOND, FIRST)
    with pytest.raises(TableError, match=r"row 2 .*earlier than the row before"):
        read(path, chunk=2)


def test_a_missing_file_and_one_that_is_no_table_are_said(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such file"):
        read(tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(TableError, match="cannot be read as CSV"):
        read(tmp_path / "empty.csv")
    (tmp_path / "noise.csv.gz").write_bytes(b"\x00\x01\x02")
    with pytest.raises(TableError, match="cannot be read as CSV"):
        read(tmp_path / "noise.csv.gz")


def test_a_table_without_a_needed_field_says_which(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"type, nameDest, timestamp \(or step\)"):
        read(table(tmp_path, "a,b"), Columns({"amount": "a", "nameOrig": "b"}))
