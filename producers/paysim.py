"""The generator: mobile money transactions after PaySim, with fraud, seeded, without end."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import TypeAdapter

from producers import calibration as published
from producers.fraud import Fraudsters
from producers.ledger import Ledger
from producers.population import Population
from producers.rows import Row
from producers.scenario import PATTERNS, NewPattern, Scenario, Shift
from producers.traffic import Traffic
from stream.events import Transaction

__all__ = ["PATTERNS", "NewPattern", "Scenario", "Shift", "generate"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
CHUNK_TRANSACTIONS = 4_000
"""About so many transactions, at most, are made at a time."""
WARM_UP_DAYS = 1
"""Days lived unseen before the start, so that the stream begins in the middle of life."""

_TRANSACTIONS = TypeAdapter(list[Transaction])


def generate(
    scenario: Scenario, *, days: float | None = None, transactions: int | None = None
) -> Iterator[list[Row]]:
    """Yield the stream of a scenario in chunks; without `days` or `transactions`, for ever.

    Memory is bounded: what is kept is the population, about 400 bytes a client. Both limits cut
    the one stream of the scenario short and change nothing else.

    >>> rows = next(generate(Scenario(clients=500, seed=1)))
    >>> rows[0].transaction.transaction_id, rows[0].is_fraud
    ('sim-1-0', False)
    """
    figures = published.load()
    population = Population(scenario.clients, scenario.seed, figures)
    ledger = Ledger(population, f"sim-{scenario.seed}-")
    traffic = Traffic(population, ledger, figures, scenario.seed)
    fraudsters = Fraudsters(population, ledger, scenario.seed)

    start_ms = round(scenario.start.timestamp() * 1000)
    end_ms = None if days is None else start_ms + round(days * DAY_MS)
    per_hour = scenario.transactions_per_second * 3600
    tick_ms = _tick_ms(per_hour)
    begin = start_ms - WARM_UP_DAYS * DAY_MS
    left = transactions
    while (end_ms is None or begin < end_ms) and left != 0:
        day = (begin - start_ms) / DAY_MS
        rate = scenario.fraud_rate_at(day) if day >= 0 else 0.0
        patterns = scenario.patterns_at(day)
        if patterns:
            fraudsters.plan(begin, begin + tick_ms, rate * per_hour * tick_ms / HOUR_MS, patterns)
        else:
            rate = 0.0
        factor = figures.day_factor[int(day) % len(figures.day_factor)]
        usual = per_hour * (float(factor) if scenario.uneven_days else 1.0)
        hour = begin // HOUR_MS % 24
        traffic.book(begin, begin + tick_ms, hour, usual * (1 - rate))
        begin += tick_ms
        if begin <= start_ms:
            ledger.restart()
            continue
        rows = _rows(ledger)[:left]
        if end_ms is not None and begin > end_ms:
            rows = [row for row in rows if row.time_seconds * 1000 < end_ms]
        if rows:
            if left is not None:
                left -= len(rows)
            yield rows


def _tick_ms(per_hour: float) -> int:
    """How much is made at a time: an hour or a whole part of it, by the traffic alone."""
    parts = next(
        (parts for parts in (1, 2, 3, 4, 6, 12, 20, 60) if per_hour / parts <= CHUNK_TRANSACTIONS),
        240,
    )
    return HOUR_MS // parts


def _rows(ledger: Ledger) -> list[Row]:
    """Take the tick's transactions out of the ledger."""
    made, moments, patterns = ledger.take()
    return [
        Row(transaction, milliseconds / 1000, pattern is not None, pattern)
        for transaction, milliseconds, pattern in zip(
            _TRANSACTIONS.validate_python(made), moments, patterns, strict=True
        )
    ]
