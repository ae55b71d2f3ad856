"""How many workers, how much memory and which traffic for a rate of transactions: a formula.

    python -m benchmarks.scaling FILE --columns card --label-delay 7d \\
        --workers 1 --no-moves --json scaling.json
    python -m benchmarks.soak --transactions 10000000 --accounts 1000000 --json soak.json
    python -m benchmarks.capacity scaling.json soak.json

takes what a transaction and an example cost from the first and what an account and a transaction
that waits for its label take from the second, and works the formula through for `--rates`. It is a
calculation: what stands in docs/capacity.md for rates that no one machine comes to was not run.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.ranking.report import placed
from producers.options import duration

BUSY = 0.5
"""Share of its core that a worker is to be busy: the rest is for bursts, restarts and latency."""
LEARNING = 0.25
"""Of that, the share that learning may have before a budget is to bound it."""
EXAMPLES_PER_FRAUD = 10.0
"""Of a model that has learned 10,000 legitimate ones: a fraud, and nine of those."""
EXAMPLE_BYTES, TRANSACTION_BYTES, LABEL_BYTES, DECISION_BYTES = 2_080, 275, 120, 60
"""JSON, before compression; of a decision its part in the message of a batch."""
BASE_MB = 300.0
"""A worker without any state."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured."""

    transaction_us: float
    """Processor time per transaction with its label, without learning."""
    example_us: float
    """Processor time of learning one, fits included."""
    account_bytes: float
    pending_bytes: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes in."""

    rate: float
    """Transactions per second."""
    accounts: float
    fraud_rate: float
    label_delay: timedelta


@dataclass(frozen=True, slots=True)
class Need:
    """What it takes."""

    models: int
    """Groups with a training log of their own: more than one where frauds alone are too many."""
    budget_us: float
    """`learning_budget_us`, which counts what a worker decides itself; inf: none is needed."""
    workers: int
    """Of all groups, by processor time."""
    memory_gb: float
    """Of all workers."""
    pending: float
    log_mb_per_second: float
    """What each training log takes, before compression."""
    bus_mb_per_second: float
    """Of all inputs and outputs, before compression and replication."""


def need(costs: Costs, traffic: Traffic) -> Need:
    """Return what a traffic takes.

    With W workers, each scores ``rate / W`` transactions a second and learns every example of its
    group: ``busy = rate / W x transaction + examples x example``, so ``W = rate x transaction /
    (BUSY - learning)``. Examples are ten a fraud; where they are more than a quarter of `BUSY`,
    the budget bounds them to that; where frauds alone are, as a budget never thins those, the
    traffic is split between models.

    >>> small = Traffic(1_000, 1e6, 0.001, timedelta(days=1))
    >>> found = need(Costs(100.0, 1_000.0, 555.0, 488.0), small)
    >>> found.models, found.budget_us, found.workers, round(found.memory_gb)
    (1, inf, 1, 43)
    """
    may_learn = LEARNING * BUSY
    frauds = traffic.rate * traffic.fraud_rate
    models = max(1, math.ceil(frauds * costs.example_us * 1e-6 / may_learn))
    rate = traffic.rate / models
    wanted = rate * traffic.fraud_rate * EXAMPLES_PER_FRAUD * costs.example_us * 1e-6
    learning = min(wanted, may_learn)
    workers = models * math.ceil(rate * costs.transaction_us * 1e-6 / (BUSY - learning))
    pending = traffic.rate * traffic.label_delay.total_seconds()
    held = pending * costs.pending_bytes + traffic.accounts * costs.account_bytes
    examples = learning / costs.example_us * 1e6
    wire = TRANSACTION_BYTES + LABEL_BYTES + DECISION_BYTES
    return Need(
        models=models,
        budget_us=math.inf if wanted <= may_learn else 1e6 * may_learn * workers / traffic.rate,
        workers=workers,
        memory_gb=(held + workers * BASE_MB * 1e6) / 1e9,
        pending=pending,
        log_mb_per_second=examples * EXAMPLE_BYTES / 1e6,
        bus_mb_per_second=(traffic.rate * wire + models * examples * EXAMPLE_BYTES) / 1e6,
    )


def table(costs: Costs, traffics: Sequence[Traffic]) -> str:
    """Return a line for each traffic."""
    lines = [
        "| transactions/s | accounts | models | workers | learning budget | wait for labels "
        "| memory | GB a worker | each training log | bus |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for traffic in traffics:
        found = need(costs, traffic)
        budget = "none" if math.isinf(found.budget_us) else f"{found.budget_us:.2g} µs"
        lines.append(
            f"| {traffic.rate:,.0f} | {traffic.accounts:,.0f} | {found.models:,} "
            f"| {found.workers:,} | {budget} | {found.pending / 1e6:,.0f} M "
            f"| {found.memory_gb:,.0f} GB | {found.memory_gb / found.workers:,.1f} "
            f"| {found.log_mb_per_second:.2f} MB/s | {found.bus_mb_per_second:,.1f} MB/s |"
        )
    return "\n".join(lines)


def costs_of(scaling: Path, soak: Path) -> Costs:
    """Return what the two benchmarks measured. Raises `KeyError` for files of something else."""
    one = json.loads(scaling.read_text())["workers"][0]
    held = json.loads(soak.read_text())["bytes"]
    return Costs(
        transaction_us=one["cpu_us"] - one["learning_us"],
        example_us=one["learning_us"] * one["transactions"] / one["examples"],
        account_bytes=held["account"],
        pending_bytes=held["pending transaction"],
    )


def main() -> None:
    """Print what each rate takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scaling", type=Path, help="of benchmarks.scaling, one worker first")
    parser.add_argument("soak", type=Path, help="of benchmarks/soak.py")
    numbers = {"type": _numbers, "metavar": "N,N"}
    parser.add_argument("--rates", default=[1e3, 1e5, 1e7], help="transactions/s", **numbers)
    parser.add_argument("--accounts", default=[1e6, 1e8, 5e9], help="for each rate", **numbers)
    parser.add_argument("--fraud-rate", type=float, default=0.001)
    parser.add_argument("--label-delay", type=duration, default=timedelta(days=7))
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put the table into this copy of the page"
    )
    args = parser.parse_args()
    costs = costs_of(args.scaling, args.soak)
    traffics = [
        Traffic(rate, accounts, args.fraud_rate, args.label_delay)
        for rate, accounts in zip(args.rates, args.accounts, strict=True)
    ]
    said = (
        f"Measured: {costs.transaction_us:.0f} µs per transaction with its label, "
        f"{costs.example_us:,.0f} µs per example, {costs.account_bytes:,.0f} bytes an account, "
        f"{costs.pending_bytes:,.0f} bytes a transaction that waits. Frauds are "
        f"{args.fraud_rate:.2%}, labels {args.label_delay / timedelta(days=1):g} days late."
    )
    text = f"{said}\n\n{table(costs, traffics)}\n"
    print(text)
    if args.page:
        args.page.write_text(placed(args.page.read_text(), "capacity", text, args.page.name))


def _numbers(text: str) -> list[float]:
    return [float(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
