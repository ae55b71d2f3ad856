"""Rows as they were, handed out while they are written to."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.plain import FrozenTable, parts

writes = st.lists(st.lists(st.integers(0, 11), max_size=8), max_size=6)


@given(st.integers(0, 9), st.integers(0, 8), st.integers(1, 4), writes)
def test_what_is_handed_out_is_what_was_there_whoever_writes_meanwhile(
    rows: int, first: int, at_once: int, written: list[list[int]]
) -> None:
    """Twelve rows; those from `rows` on came later, and are only there where none is a ring."""
    first = first if first < rows else 0
    array, texts = np.arange(24.0).reshape(12, 2), [f"{i}" for i in range(rows)]
    table = FrozenTable({"array": array, "texts": texts}, rows, first)
    texts += [f"{i}" for i in range(rows, 12)]
    order = [(first + i) % rows for i in range(rows)]
    found: dict[str, list[Any]] = {name: [] for name in table.columns}
    todo = iter(written)
    for name, column in list(table.columns.items()):
        for some in parts(column, at_once):
            assert len(some) <= at_once
            found[name] += list(some)
            hit = np.array([i for i in next(todo, []) if i < rows or not first], dtype=np.int64)
            table.keep(hit)
            array[hit] = -1.0
            for i in hit.tolist():
                texts[i] = "changed"
        assert column.done
    assert [row.tolist() for row in found["array"]] == [[2.0 * i, 2.0 * i + 1.0] for i in order]
    assert found["texts"] == [f"{i}" for i in order]
