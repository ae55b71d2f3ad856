"""The books: every transaction moves money here, so that balances add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, NamedTuple

from producers.calibration import CASH_IN, TYPES
from producers.population import Population

LEAST_CENTS = 100
"""Nobody moves less than 1.00."""
PLENTY_CENTS = 10**15

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Pot:
    """Money that a sequence of steps has brought together."""

    __slots__ = ("cents",)

    def __init__(self) -> None:
        self.cents = 0


class Step(NamedTuple):
    """A transaction that somebody has in mind. The smallest of the bounds is the amount."""

    kind: int
    origin: int
    dest: int
    cents: int = PLENTY_CENTS
    share: float = 1.0
    """Of the origin's balance at that time."""
    into: Pot | None = None
    """Gathers the amount."""
    out_of: Pot | None = None
    """Bounds the amount by `pot_share` of what was gathered."""
    pot_share: float = 1.0
    pattern: str | None = None


class Ledger:
    """Balances, the plan of steps to come, and the rows of this tick."""

    def __init__(self, population: Population, prefix: str) -> None:
        self._population = population
        self._prefix = prefix
        self._plan: list[tuple[int, int, Step]] = []
        self._planned = 0
        self._count = 0
        self._rows: list[dict[str, Any]] = []
        self._times_ms: list[int] = []
        self._patterns: list[str | None] = []
        self.clients_cents = sum(population.cents[: population.clients])
        """What all clients together have."""
        self.extra = [0] * len(TYPES)
        """By type: legitimate transactions beyond those drawn, to be drawn less next time."""
        self.missed_frauds = 0
        """Planned frauds that found no money, to be made up for."""

    def plan(self, milliseconds: int, step: Step) -> None:
        """Put a step on the plan."""
        heappush(self._plan, (milliseconds, self._planned, step))
        self._planned += 1

    def run_until(self, milliseconds: int) -> None:
        """Take the steps planned up to this time."""
        plan = self._plan
        while plan and plan[0][0] <= milliseconds:
            at, _, step = heappop(plan)
            self._take(at, step)

    def move(  # noqa: PLR0917 - one call per transaction: keywords would cost a fifth of the time
        self,
        milliseconds: int,
        kind: int,
        origin: int,
        dest: int,
        cents: int,
        pattern: str | None = None,
    ) -> None:
        """Book a transaction; the caller has seen to it that the money is there."""
        population = self._population
        balances, names, clients = population.cents, population.names, population.clients
        old_origin, old_dest = balances[origin], balances[dest]
        signed = -cents if kind == CASH_IN else cents  # the agent gives what the client takes in
        new_origin = new_dest = 0
        if origin < population.first_merchant:
            new_origin = balances[origin] = old_origin - signed
            if origin < clients:
                self.clients_cents -= signed
        if dest < population.first_merchant:
            new_dest = balances[dest] = old_dest + signed
            if dest < clients:
                self.clients_cents += signed
        self._rows.append(
            {
                "transaction_id": f"{self._prefix}{self._count}",
                "type": TYPES[kind],
                "amount": cents / 100,
                "nameOrig": names[origin],
                "nameDest": names[dest],
                "timestamp": _EPOCH + milliseconds * _MILLISECOND,
                "oldbalanceOrg": old_origin / 100,
                "newbalanceOrig": new_origin / 100,
                "oldbalanceDest": old_dest / 100,
                "newbalanceDest": new_dest / 100,
            }
        )
        self._times_ms.append(milliseconds)
        self._patterns.append(pattern)
        self._count += 1

    def take(self) -> tuple[list[dict[str, Any]], list[int], list[str | None]]:
        """Return, and let go of, the transactions booked: fields, event times in ms, patterns."""
        booked = self._rows, self._times_ms, self._patterns
        self._rows, self._times_ms, self._patterns = [], [], []
        return booked

    def restart(self) -> None:
        """Forget what was booked, and count from 0 again; balances stay."""
        self.take()
        self._count = 0

    def _take(self, milliseconds: int, step: Step) -> None:
        balance = self._population.cents[step.origin]
        cents = min(step.cents, int(balance * step.share), balance)
        if step.out_of is not None:
            cents = min(cents, int(step.out_of.cents * step.pot_share))
        if cents < LEAST_CENTS or step.origin == step.dest:
            self.missed_frauds += step.pattern is not None
            return
        if step.into is not None:
            step.into.cents += cents
        if step.pattern is None:
            self.extra[step.kind] += 1
        self.move(milliseconds, step.kind, step.origin, step.dest, cents, step.pattern)
