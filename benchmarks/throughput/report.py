"""What was measured, as text for people and as the tables of docs/performance.md."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.ranking.report import placed
from benchmarks.throughput.latency import Latency
from benchmarks.throughput.loops import Pace

BARE, COMPILED, NAIVE, KAFKA, EMBEDDED, FIRST, BUDGET = (
    *("bare poll and parse", "the same, with Weir's reader of batches", "River, record by record"),
    *("Weir auto, Kafka", "Weir auto, embedded bus"),
    *("Weir auto, Kafka, in the beginning", "the same, learning for 20 µs"),
)
FORWARD = "bare poll, parse and send"
SHARES = (0.2, 0.5, 0.8)
"""Of the highest rate, at which latency is measured."""
_SMALLEST_US = 0.05
_PACKAGES = (
    *("weir", "river", "kafka-python", "aiokafka", "xgboost-cpu"),
    *("numpy", "msgspec", "pydantic"),
)


def ratios(found: Mapping[str, Pace]) -> dict[str, float]:
    """Return what Weir on Kafka does in the time in which another loop does 1.

    Against the bare loop in messages, against the naive one in transactions: that reads no labels.

    >>> paces = {BARE: Pace(0, 90, 1.0, 1.0), NAIVE: Pace(5, 5, 1.0, 1.0)}
    >>> paces |= {KAFKA: Pace(20, 40, 2.0, 2.0)}
    >>> others = (COMPILED, EMBEDDED, FIRST, BUDGET)
    >>> ratios(paces | dict.fromkeys(others, Pace(20, 40, 1.0, 1.0)))[
    ...     "ratio_to_naive"
    ... ]
    2.0
    """
    messages = {name: pace.messages / pace.seconds for name, pace in found.items()}
    transactions = {name: pace.transactions / pace.seconds for name, pace in found.items()}
    return {
        "ratio_to_bare_loop": messages[KAFKA] / messages[BARE],
        "ratio_to_bare_loop_compiled": messages[KAFKA] / messages[COMPILED],
        "ratio_to_naive": transactions[KAFKA] / transactions[NAIVE],
        "first_to_bare_loop": messages[FIRST] / messages[BARE],
        "first_to_bare_loop_with_budget": messages[BUDGET] / messages[BARE],
        "embedded_to_kafka": messages[EMBEDDED] / messages[KAFKA],
    }


def loops_table(found: Mapping[str, Pace]) -> str:
    """Return a line for each loop: rates, and processor time per transaction with its label."""
    bare = found[BARE].messages / found[BARE].seconds
    lines = [
        "| | messages/s | of the bare loop | transactions/s | µs of CPU per transaction |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, pace in found.items():
        count = pace.transactions or pace.messages / 2
        rate = pace.messages / pace.seconds
        lines.append(
            f"| {name} | {rate:,.0f} | {rate / bare:.3f} | {count / pace.seconds:,.0f} "
            f"| {1e6 * pace.cpu_seconds / count:.1f} |"
        )
    return "\n".join(lines)


def latency_table(live: Mapping[str, Sequence[Latency]]) -> str:
    """Return a line for each delivery and rate: milliseconds from publication to alert."""
    lines = [
        "| delivery | of the highest rate | transactions/s | alerts | p50 ms | p99 ms | p99.9 ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {delivery} | {share:.0%} | {each.rate:,.0f} | {each.alerts:,} "
        f"| {each.p50_ms:.1f} | {each.p99_ms:.1f} | {each.p999_ms:.1f} |"
        for delivery, of in live.items()
        for share, each in zip(SHARES, of, strict=True)
    ]
    return "\n".join(lines)


def stages_table(staged: Pace) -> str:
    """Return a line for each stage and thread: its processor time per transaction."""
    lines = ["| stage | µs per transaction |", "| --- | ---: |"]
    for stage, seconds in sorted(staged.stages.items(), key=lambda each: -each[1]):
        if (us := 1e6 * seconds / staged.transactions) >= _SMALLEST_US:
            lines.append(f"| {stage} | {us:.1f} |")
    return "\n".join(lines)


def said(found: Mapping[str, Pace]) -> str:
    """Return the ratios in words, and what it was made with."""
    ratio = ratios(found)
    made_with = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"Weir on Kafka does {ratio['ratio_to_bare_loop']:.3f} of the messages of the bare loop, "
        f"{ratio['ratio_to_bare_loop_compiled']:.3f} of those with Weir's reader of batches, "
        f"and {ratio['ratio_to_naive']:.2f} times the transactions of River record by record. "
        f"{found[KAFKA].transactions:,} transactions, {found[KAFKA].alerts:,} alerts.\n\n"
        f"Made with Python {platform.python_version()}, {made_with}."
    )


def write(page: Path, tables: Mapping[str, str]) -> None:
    """Put tables between the markers of the page. Raises `ValueError` where one is missing."""
    text = page.read_text()
    for name, table in tables.items():
        text = placed(text, name, table + "\n", page.name)
    page.write_text(text)
