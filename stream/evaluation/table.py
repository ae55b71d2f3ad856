"""The table that is evaluated: how much there is of it, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from producers.replay import Columns, read_table
from stream.core.evaluate import Row
from stream.evaluation.distort import Distortion

_LEGITIMATE, _FRAUD = ("0", "0.0", "false"), ("1", "1.0", "true")


class Size(NamedTuple):
    """How many rows a table has, and of which kind."""

    rows: int
    legitimate: int
    frauds: int


def size(path: Path, columns: Columns, limit: int | None) -> Size:
    """Return the size of a table by its column of labels alone: a fraction of the reading.

    Raises `ValueError` or `OSError` where it cannot be read; `rows` says it better.
    """
    column = columns.fields["is_fraud"]
    said = pd.read_csv(path, usecols=[column], dtype=str, keep_default_na=False, nrows=limit)
    counts = said[column].str.lower().value_counts()
    legitimate, frauds = (int(counts.reindex(texts).sum()) for texts in (_LEGITIMATE, _FRAUD))
    return Size(len(said), legitimate, frauds)


def rows(
    path: Path,
    columns: Columns,
    distortion: Distortion,
    *,
    limit: int | None,
    step_origin: datetime,
) -> Iterator[Row]:
    """Yield the rows that the distortion keeps. Raises `TableError` for one that cannot be read."""
    thins = min(distortion.keep_frauds, distortion.keep_legitimate) < 1
    for chunk in read_table(path, columns, limit=limit, step_origin=step_origin):
        for tx, _, is_fraud, _ in chunk:
            if not thins or distortion.keeps(tx.transaction_id, is_fraud):
                yield tx, is_fraud
