"""The benchmark of throughput: what it counts, and what it says of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.throughput.latency import Latency
from benchmarks.throughput.loops import Pace
from benchmarks.throughput.report import (
    BARE,
    BUDGET,
    COMPILED,
    EMBEDDED,
    FIRST,
    KAFKA,
    NAIVE,
    latency_table,
    loops_table,
    ratios,
    said,
    stages_table,
    write,
)
from benchmarks.throughput.stages import sampled

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
FOUND = {
    BARE: Pace(0, 400, 1.0, 1.0),
    COMPILED: Pace(0, 500, 1.0, 1.0),
    NAIVE: Pace(10, 10, 1.0, 1.0),
    KAFKA: Pace(200, 400, 4.0, 3.0, alerts=7),
    EMBEDDED: Pace(200, 400, 2.0, 1.0),
    FIRST: Pace(200, 400, 5.0, 3.0),
    BUDGET: Pace(200, 400, 1.0, 1.0),
}


def busy(seconds: float) -> None:
    begun = time.thread_time()
    while time.thread_time() - begun < seconds:
        sum(range(100))


def scoring() -> None:
    busy(0.2)


def learning() -> None:
    busy(0.1)
    scoring()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processor_time_goes_to_the_innermost_stage_and_waiting_to_none() -> None:
    with sampled({"score": (scoring,), "learn": (learning,)}) as spent:
        learning()
        busy(0.1)
        time.sleep(0.3)
    assert spent["score"] == pytest.approx(0.2, abs=0.05)
    assert spent["learn"] == pytest.approx(0.1, abs=0.05)
    assert spent["rest"] == pytest.approx(0.1, abs=0.05)


def test_ratios_are_of_messages_to_the_limit_and_of_transactions_to_the_naive_loop() -> None:
    assert ratios(FOUND) == {
        "ratio_to_bare_loop": 0.25,
        "ratio_to_bare_loop_compiled": 0.2,
        "ratio_to_naive": 5.0,
        "first_to_bare_loop": 0.2,
        "first_to_bare_loop_with_budget": 1.0,
        "embedded_to_kafka": 2.0,
    }


def test_the_page_takes_the_tables_and_keeps_its_words(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text())
    staged = Pace(200, 400, 4.0, 3.0, {"decode": 0.002, "next to nothing": 1e-9})
    live = {"exactly-once": [Latency(r, 500, 9.0, 20.0, 40.0) for r in (20.0, 50.0, 80.0)]}
    for _ in range(2):  # what is there is replaced
        tables = {"latency": latency_table(live), "stages": stages_table(staged)}
        write(page, tables | {"loops": f"{loops_table(FOUND)}\n\n{said(FOUND)}"})
        text = page.read_text()
    assert "| Weir auto, Kafka | 100 | 0.250 | 50 | 15000.0 |" in text
    assert "0.250 of the messages" in text
    assert "| exactly-once | 50% | 50 | 500 | 9.0 | 20.0 | 40.0 |" in text
    assert "| decode | 10.0 |" in text
    assert "next to nothing" not in text
    assert text.startswith(PAGE.read_text()[:500])
