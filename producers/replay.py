"""Tables as streams: rows of a CSV file, read in chunks with pandas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import repeat
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from producers.columns import COLUMNS, TEXTS, Columns, TableError
from producers.rows import Row
from stream.events import Transaction

__all__ = ["COLUMNS", "Columns", "TableError", "read_table"]

_OPTIONAL = {"oldbalanceOrg", "newbalanceOrig", "oldbalanceDest", "newbalanceDest", "is_fraud"}
_NO_VALUE = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
_LABELS = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0, "0.0": 0.0, "1.0": 1.0}
_TRANSACTIONS = TypeAdapter(list[Transaction])


def read_table(
    path: str | Path,
    columns: Columns,
    *,
    chunk_rows: int = 20_000,
    limit: int | None = None,
    step_origin: datetime,
) -> Iterator[list[Row]]:
    """Yield the rows of a CSV file in chunks, in event-time order.

    The file may be compressed (.gz, .bz2, .zip, .xz, .zst). `limit` ends after so many rows;
    `step_origin` is the event time of step 0. A `timestamp` is ISO 8601 (UTC where it names no
    offset) or seconds since the epoch. An empty balance is absent, an empty label unknown. Raises
    `TableError` for a table that cannot be read that far.
    """
    path = Path(path)
    _check_mapping(columns)
    first, newest = 0, -np.inf
    for frame in _frames(path, columns, chunk_rows, limit):
        values = {name: _column(path, frame, columns, name, first) for name in columns.fields}
        labels = values.pop("is_fraud", None)
        rows = _transactions(path, columns, values, first, len(frame))
        times = _times(values, step_origin)
        _check_order(path, columns, times, newest, first)
        yield [
            Row(transaction, seconds, is_fraud, None)
            for transaction, seconds, is_fraud in zip(
                rows, times.tolist(), repeat(None) if labels is None else labels, strict=False
            )
        ]
        first, newest = first + len(frame), float(times[-1])


def _check_mapping(columns: Columns) -> None:
    known = {*columns.fields, *columns.constants}
    missing = [name for name in ("type", "amount", "nameOrig", "nameDest") if name not in known]
    if not known & {"timestamp", "step"}:
        missing.append("timestamp (or step)")
    if missing:
        raise TableError(
            f"No column is given for {', '.join(missing)}. Add --map field=COLUMN "
            "(or field==TEXT for a text that every row gets)."
        )


def _frames(
    path: Path, columns: Columns, chunk_rows: int, limit: int | None
) -> Iterator[pd.DataFrame]:
    """Read only the mapped columns. Texts stay texts, so that 007 does not become 7."""
    texts = {columns.fields[name] for name in TEXTS if name in columns.fields}
    try:
        header = list(pd.read_csv(path, nrows=0).columns)
        for name, column in columns.fields.items():
            if column not in header:
                raise TableError(
                    f"{path}: there is no column {column} for {name}. The columns are "
                    f"{', '.join(map(str, header))}; say which one with --map {name}=COLUMN."
                )
        with pd.read_csv(
            path,
            usecols=sorted(set(columns.fields.values())),
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={
                column: [""] if column in texts else _NO_VALUE for column in columns.fields.values()
            },
            chunksize=chunk_rows,
            nrows=limit,
            low_memory=False,  # one type per column and chunk
        ) as chunks:
            for frame in chunks:
                if len(frame):
                    yield frame
    except TableError:
        raise
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file. Give the path of a table.") from None
    except (OSError, EOFError, ValueError) as problem:  # pandas' parser errors are ValueErrors
        raise TableError(
            f"{path}: cannot be read as CSV ({problem}). Give a CSV file with a header, plain or "
            "compressed (.gz, .bz2, .zip, .xz, .zst)."
        ) from problem


def _column(path: Path, frame: pd.DataFrame, columns: Columns, name: str, first: int) -> list[Any]:
    """Return the values of one field as plain Python values, None where one is absent."""
    column = columns.fields[name]
    raw = frame[column]
    if name in TEXTS:
        bad, what = raw.isna(), "a text"
        parsed = columns.prefixes[name] + raw if columns.prefixes.get(name) else raw
    elif name == "timestamp":
        parsed, what = _timestamps(raw), "a time; write ISO 8601 or seconds since the epoch"
        bad = parsed.isna()
    elif name == "is_fraud":
        known = raw if raw.dtype.kind == "f" else raw.astype(str).str.lower().map(_LABELS)
        parsed, what = known, "0 or 1, true or false, or empty where it is not known"
        bad = raw.notna() & ~parsed.isin([0.0, 1.0])
    else:
        parsed, what = pd.to_numeric(raw, errors="coerce"), "a number"
        bad = parsed.isna() & (raw.notna() if name in _OPTIONAL else True)
        if name == "step":
            bad |= parsed.mod(1) != 0
            what = "a whole number of hours"
    if bad.any():
        at = int(np.flatnonzero(bad.to_numpy())[0])
        given = "empty" if pd.isna(raw.iloc[at]) else repr(str(raw.iloc[at]))
        raise TableError(
            f"{path}: column {column}, row {first + at} (the first below the header is row 0) "
            f"is {given}, not {what}. Correct it or take the row out."
        )
    if name == "step":
        return parsed.astype("int64").tolist()
    plain: list[Any] = parsed.tolist()
    if name == "is_fraud":
        return [None if isnan(value) else value == 1.0 for value in plain]
    if name in _OPTIONAL and parsed.hasnans:
        return [None if isnan(value) else value for value in plain]
    return plain


def _timestamps(raw: pd.Series[Any]) -> pd.Series[Any]:
    """Parse times to datetimes in UTC, NaT where there is none; to the microsecond."""
    if raw.dtype.kind in "iuf":
        parsed = pd.to_datetime(raw, unit="s", utc=True, errors="coerce")
    else:
        parsed = pd.to_datetime(raw, format="ISO8601", utc=True, errors="coerce")
    whole = parsed.dt.as_unit("us")
    return pd.Series(whole.dt.to_pydatetime(), index=raw.index, dtype=object)


def _transactions(
    path: Path, columns: Columns, values: Mapping[str, list[Any]], first: int, count: int
) -> list[Transaction]:
    """Build the transactions of a chunk; what a transaction must not be is a `TableError`."""
    fields: dict[str, Any] = {name: repeat(text, count) for name, text in columns.constants.items()}
    fields |= values
    if "transaction_id" not in fields:
        prefix = columns.prefixes.get("transaction_id", "row-")
        fields["transaction_id"] = [f"{prefix}{number}" for number in range(first, first + count)]
    names = tuple(fields)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    try:
        return _TRANSACTIONS.validate_python(rows)
    except ValidationError as problem:
        error = problem.errors()[0]
        at, name = int(error["loc"][0]), str(error["loc"][1])
        raise TableError(
            f"{path}: column {columns.fields.get(name, name)}, row {first + at} (the first below "
            f"the header is row 0): {name} {error['input']!r}: {error['msg']}. Correct it or take "
            "the row out."
        ) from None


def _times(values: Mapping[str, list[Any]], step_origin: datetime) -> np.ndarray[Any, Any]:
    if "timestamp" in values:
        return np.array([moment.timestamp() for moment in values["timestamp"]], float)
    return step_origin.timestamp() + 3600.0 * np.array(values["step"], float)


def _check_order(
    path: Path, columns: Columns, times: np.ndarray[Any, Any], newest: float, first: int
) -> None:
    earlier = np.flatnonzero(np.diff(times, prepend=newest) < 0)
    if len(earlier):
        at = int(earlier[0])
        column = columns.fields.get("timestamp") or columns.fields["step"]
        before = float(times[at - 1]) if at else newest
        said, then = (datetime.fromtimestamp(t, UTC).isoformat() for t in (times[at], before))
        raise TableError(
            f"{path}: column {column}, row {first + at} (the first below the header is row 0) is "
            f"at {said}, earlier than the row before it ({then}). A replay needs event-time order; "
            f'sort the table, for example with pandas: read_csv(FILE).sort_values("{column}", '
            'kind="stable").to_csv("sorted.csv.gz", index=False).'
        )
