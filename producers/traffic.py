"""What clients do: legitimate traffic, booked in order of time.

Money goes round: clients take out about twice the cash they bring, so agents, and merchants out
of their takings, pay incomes (TRANSFERs to clients), the more the less clients have.
"""

from __future__ import annotations

import numpy as np

from producers.calibration import CASH_IN, CASH_OUT, PAYMENT, TRANSFER, TYPES, Calibration
from producers.draws import Draw, Draws
from producers.fraud import LIMITS_CENTS, MINUTE
from producers.ledger import LEAST_CENTS, Ledger, Pot, Step
from producers.population import FAVOURITES, MEAN_BALANCE, Population, pick

# The legitimate twins of the fraud patterns; without them a rule or two would find every fraud.
EMPTIED = 0.25
"""Whoever wants nearly all there is takes all, this often."""
UNDER_LIMIT = 0.3
"""Whoever wants slightly more than a limit stays under it, this often."""
ROUNDED = 0.15
PASSED_ON = 0.08
"""Share of TRANSFERs that the receiver cashes out soon after, up to PASSED_ON_CENTS."""
PASSED_ON_CENTS = 50_000_000
TO_NEWCOMER = 0.02
"""Share of TRANSFERs to an account nobody has seen before."""
SMALL_FIRST = 0.2
"""Share of small TRANSFERs that a larger one follows."""
COLLECTIONS = 0.012
"""Collections per TRANSFER: three to eight clients pay one client within hours."""


class Traffic:
    """Books the legitimate transactions of one stretch of time after another."""

    def __init__(
        self, population: Population, ledger: Ledger, calibration: Calibration, seed: int
    ) -> None:
        self._population = population
        self._ledger = ledger
        self._rng = np.random.default_rng([seed, 3])
        self._share = calibration.share
        self._draws = Draws(population, calibration, self._rng)
        self._owed = np.zeros(len(TYPES))
        """By type: transactions beyond those that the calibration asks for so far."""

    def book(self, begin_ms: int, end_ms: int, hour: int, transactions_per_hour: float) -> None:
        """Book the transactions of a stretch within one hour of the day, and what was planned.

        `transactions_per_hour` is the mean over the day; the hour has its share of it.
        """
        ledger = self._ledger
        hours = (end_ms - begin_ms) / 3_600_000
        expected = transactions_per_hour * 24 * hours * self._share[hour]
        self._owed += np.array(ledger.extra)
        ledger.extra[:] = [0] * len(TYPES)
        wanted = self._rng.poisson(expected)
        counts = np.maximum(wanted - self._owed, 0).astype(np.int64)
        self._owed -= wanted - counts
        self._plan_collections(begin_ms, end_ms, hour, float(expected[TRANSFER]))
        for draw in self._draws.draw(begin_ms, end_ms, hour, counts, self._income_share()):
            ledger.run_until(draw.milliseconds)
            if draw.kind == CASH_IN:
                self._cash_in(draw)
            elif draw.income:
                self._income(draw)
            else:
                self._pay(draw, hour)
        ledger.run_until(end_ms - 1)

    def _income_share(self) -> float:
        """Share of TRANSFERs that pay clients: the less they have together, the larger."""
        mean = self._ledger.clients_cents / 100 / self._population.clients
        return min(max(0.5 + 2.0 * (1 - mean / MEAN_BALANCE), 0.05), 0.9)

    def _poorest(self, candidates: list[int]) -> int:
        """Who has least by the measure of what is usual for each."""
        balances, habit = self._population.cents, self._population.habit
        return min(candidates, key=lambda client: balances[client] / habit[client])

    def _cash_in(self, draw: Draw) -> None:
        population = self._population
        client = self._poorest(draw.candidates)
        cents = int(draw.cents * population.habit[client])
        agent = population.agents_of[client * FAVOURITES + draw.favourite]
        if draw.favourite < 0 or population.cents[agent] < cents:
            agent = draw.other
        cents = min(cents, population.cents[agent])
        if cents >= LEAST_CENTS:
            self._ledger.move(draw.milliseconds, CASH_IN, client, agent, cents)

    def _income(self, draw: Draw) -> None:
        population = self._population
        client = self._poorest(draw.candidates)
        cents = int(draw.cents * population.habit[client])
        payer = max(draw.agents, key=population.cents.__getitem__)
        if population.cents[payer] < cents:
            payer = draw.merchant
        self._ledger.move(draw.milliseconds, TRANSFER, payer, client, cents)

    def _pay(self, draw: Draw, hour: int) -> None:
        """A client pays: a merchant, another client, or for cash."""
        client, cents = self._affordable(draw)
        if cents < LEAST_CENTS:
            self._owed[draw.kind] -= 1
            return
        dest = self._dest(draw, client)
        if draw.kind == TRANSFER:
            newcomer = draw.chances[3] < TO_NEWCOMER
            if newcomer:
                dest = self._population.newcomer()
            if newcomer or (draw.chances[3] > 1 - PASSED_ON and cents <= PASSED_ON_CENTS):
                self._plan_cash_out(draw, dest, cents)
            if draw.small and draw.chances[0] < SMALL_FIRST:
                self._plan_larger(draw, client, dest, hour)
        self._ledger.move(draw.milliseconds, draw.kind, client, dest, cents)

    def _affordable(self, draw: Draw) -> tuple[int, int]:
        """Who pays, and how much."""
        balances, habit, chances = self._population.cents, self._population.habit, draw.chances
        for client in draw.candidates:
            cents = int(draw.cents * habit[client])
            balance = balances[client]
            if balance >= cents:
                if cents > 0.75 * balance and chances[0] < EMPTIED:
                    cents = balance
                break
        else:  # nobody has so much: the first gives a part of what there is, or all
            client = draw.candidates[0]
            cents = int(balances[client] * min(1.0, chances[0] * 1.1))
        if draw.kind != PAYMENT:
            for limit in LIMITS_CENTS:
                if limit <= cents < 1.15 * limit and chances[1] < UNDER_LIMIT:
                    cents = int(limit * (0.9999 - 0.1 * chances[2]))
        if chances[2] < ROUNDED and cents >= 100_000:
            cents -= cents % 10_000
        return client, cents

    def _dest(self, draw: Draw, client: int) -> int:
        population = self._population
        if draw.favourite < 0:
            dest = draw.other
        else:
            known = {PAYMENT: population.shops_of, TRANSFER: population.payees_of}
            place = client * FAVOURITES + draw.favourite
            dest = known.get(draw.kind, population.agents_of)[place]
        return (dest + 1) % population.clients if dest == client else dest

    def _plan_cash_out(self, draw: Draw, receiver: int, cents: int) -> None:
        when = draw.milliseconds + int((1 + self._rng.exponential(40)) * MINUTE)
        out = int(cents * self._rng.uniform(0.7, 1.0))
        self._ledger.plan(when, Step(CASH_OUT, receiver, draw.agents[0], out))

    def _plan_larger(self, draw: Draw, client: int, dest: int, hour: int) -> None:
        when = draw.milliseconds + int((1 + self._rng.exponential(15)) * MINUTE)
        cents = int(self._draws.amount_cents(TRANSFER, hour) * self._population.habit[client])
        self._ledger.plan(when, Step(TRANSFER, client, dest, cents))

    def _plan_collections(self, begin: int, end: int, hour: int, transfers: float) -> None:
        population, rng, ledger = self._population, self._rng, self._ledger
        for at in rng.integers(begin, end, rng.poisson(COLLECTIONS * transfers)).tolist():
            (collector,) = pick(population.popular_clients, 1, rng).tolist()
            pot, last = Pot(), at
            payers = pick(population.chances[TRANSFER], int(rng.integers(3, 9)), rng).tolist()
            for payer in payers:
                when = at + int(rng.uniform(0, 300) * MINUTE)
                last = max(last, when)
                cents = int(self._draws.amount_cents(TRANSFER, hour) * population.habit[payer])
                ledger.plan(when, Step(TRANSFER, payer, collector, cents, 0.9, pot))
            for _ in range(rng.integers(0, 4)):
                last += int((1 + rng.exponential(60)) * MINUTE)
                out = rng.uniform(0.2, 0.5)
                agent = population.agents_of[collector * FAVOURITES]
                ledger.plan(last, Step(CASH_OUT, collector, agent, out_of=pot, pot_share=out))
