"""The benchmark of the cascade: who is asked, and what it says of it."""

from __future__ import annotations

from datetime import timedelta

from benchmarks.cascade import LIMITS, as_table, played
from benchmarks.ranking import sources
from stream.core import committee
from tests.streams import rows


def test_without_the_cascade_all_rows_are_asked_and_the_next_run_has_it_again() -> None:
    stream = sources.stream_of("short", "", rows(3_000), timedelta(hours=1), timedelta(hours=6))
    usual = committee._DOUBTFUL
    without, with_ = (played(stream, doubtful, 7) for doubtful in (0.0, LIMITS["with the cascade"]))
    assert without["could"] == without["did"] > 0.1
    assert 0.0 < with_["did"] < with_["could"] / 2
    assert committee._DOUBTFUL == usual == LIMITS["with the cascade"] > 0.0


def test_what_is_lost_is_said_as_mean_and_by_seed() -> None:
    figures = {"log_loss": 0.1, "could": 0.2, "did": 0.1, "microseconds": 40.0}
    runs = {
        name: [figures | {"average_precision": each} for each in found]
        for name, found in {"with": (0.70, 0.80), "without": (0.71, 0.80)}.items()
    }
    lines = as_table(runs).splitlines()
    assert lines[2] == "| with | 0.7500 | 0.100000 | 20.0% | 10.0% | 40.0 |"
    assert (
        lines[-1] == "Average precision, without minus with: +0.0050 (by seed: +0.0100, +0.0000)."
    )
