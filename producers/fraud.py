"""What fraudsters do. Every step of a sequence that is theirs is a fraud.

drain        the whole balance, or nearly, goes to a mule, who cashes out soon after
probe        a few small amounts to a mule, to see whether they pass, then a large one
mule         many victims pay one mule within hours, who cashes out in parts
structuring  amounts just under a limit, one after the other

Each has its legitimate twin in `traffic`: people empty accounts, send a little first, collect
money for others and stay under limits, too. Merchants never receive a fraud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from producers.calibration import CASH_OUT, DEBIT, TRANSFER
from producers.ledger import Ledger, Pot, Step
from producers.population import Population, pick

MINUTE = 60_000
LIMITS_CENTS = (1_000_000, 20_000_000)
"""Amounts of 10,000 and 200,000: from there on somebody looks."""
CATCH_UP_MS = 2 * 24 * 60 * MINUTE
"""Sequences come at random, and too few or too many of them are made up for within some days."""
ACTIVE_MULES = 40
"""Mules in use at a time, at most; each serves a few sequences."""


class Kind(NamedTuple):
    """A pattern: what a sequence does, how long it is on average, its share of all frauds."""

    plan: Callable[[Fraudsters, int], None]
    transactions: float
    share: float


class Fraudsters:
    """Plans sequences of frauds into the ledger."""

    def __init__(self, population: Population, ledger: Ledger, seed: int) -> None:
        self._population = population
        self._ledger = ledger
        self._rng = np.random.default_rng([seed, 2])
        self._mules: list[tuple[int, int]] = []
        """Accounts in use, and the sequences they still serve."""
        self._owed = 0.0
        """Frauds asked for so far, less those planned."""

    def plan(self, begin_ms: int, end_ms: int, frauds: float, patterns: Sequence[str]) -> None:
        """Let so many frauds, in expectation, begin within this time, at any hour alike."""
        if not patterns:
            return
        self._owed += self._ledger.missed_frauds
        self._ledger.missed_frauds = 0
        owed_now = self._owed * min(1.0, (end_ms - begin_ms) / CATCH_UP_MS)
        self._owed += frauds
        frauds = max(0.0, frauds + owed_now)
        shares = sum(KINDS[pattern].share for pattern in patterns)
        for pattern in patterns:
            kind = KINDS[pattern]
            expected = frauds * kind.share / shares / kind.transactions
            for begin in self._rng.integers(begin_ms, end_ms, self._rng.poisson(expected)).tolist():
                kind.plan(self, begin)

    def drain(self, at: int) -> None:
        """TRANSFER of the whole balance or nearly, then one or two CASH_OUTs by the mule."""
        rng, pot, mule = self._rng, Pot(), self._mule()
        share = 1.0 if rng.random() < 0.8 else rng.uniform(0.7, 1.0)
        self._plan(
            at,
            Step(TRANSFER, self._victim(10_000_000), mule, share=share, into=pot, pattern="drain"),
        )
        parts = 2 if rng.random() < 0.3 else 1
        for _ in range(parts):
            at += self._minutes(20)
            out = rng.uniform(0.85, 1.0) / parts
            self._plan(
                at, Step(CASH_OUT, mule, self._agent(), out_of=pot, pot_share=out, pattern="drain")
            )

    def probe(self, at: int) -> None:
        """Two to four small TRANSFERs or DEBITs, then a large TRANSFER or CASH_OUT."""
        rng, mule, victim = self._rng, self._mule(), self._victim(5_000_000)
        for _ in range(rng.integers(2, 5)):
            cents = int(100 * 10 ** rng.uniform(1, 3.3))
            kind, dest = (TRANSFER, mule) if rng.random() < 0.6 else (DEBIT, self._agent())
            self._plan(at, Step(kind, victim, dest, cents=cents, pattern="probe"))
            at += self._minutes(8)
        share = rng.uniform(0.3, 0.95)
        if rng.random() < 0.6:
            self._plan(at, Step(TRANSFER, victim, mule, share=share, pattern="probe"))
        else:
            self._plan(at, Step(CASH_OUT, victim, self._agent(), share=share, pattern="probe"))

    def mule(self, at: int) -> None:
        """Four to ten victims pay one mule within four hours, who cashes out in two to four."""
        rng, pot, mule = self._rng, Pot(), self._mule()
        last = at
        for _ in range(rng.integers(4, 11)):
            when = at + int(rng.uniform(0, 240) * MINUTE)
            last = max(last, when)
            victim = self._victim(2_000_000)
            cents = int(15_000_000 * self._population.habit[victim] * rng.lognormal(0, 1.0))
            self._plan(
                when, Step(TRANSFER, victim, mule, cents=cents, share=0.9, into=pot, pattern="mule")
            )
        parts = int(rng.integers(2, 5))
        for _ in range(parts):
            last += self._minutes(30)
            out = rng.uniform(0.8, 1.0) / parts
            self._plan(
                last, Step(CASH_OUT, mule, self._agent(), out_of=pot, pot_share=out, pattern="mule")
            )

    def structuring(self, at: int) -> None:
        """Three to eight TRANSFERs or CASH_OUTs of just under 10,000 or 200,000."""
        rng = self._rng
        count = int(rng.integers(3, 9))
        limit = LIMITS_CENTS[int(rng.random() < 0.5)]
        victim, mule = self._victim(limit * count), self._mule()
        if self._population.cents[victim] < limit * count:
            limit = LIMITS_CENTS[0]
        cash = rng.random() < 0.5
        for _ in range(count):
            cents = int(limit * rng.uniform(0.93, 0.9999))
            dest = self._agent() if cash else mule
            self._plan(
                at,
                Step(
                    CASH_OUT if cash else TRANSFER, victim, dest, cents=cents, pattern="structuring"
                ),
            )
            at += self._minutes(15)

    def _plan(self, at: int, step: Step) -> None:
        self._ledger.plan(at, step)
        self._owed -= 1

    def _minutes(self, mean: float) -> int:
        """An exponential pause, in milliseconds."""
        return int((1 + self._rng.exponential(mean)) * MINUTE)

    def _agent(self) -> int:
        population = self._population
        (agent,) = pick(population.popular_agents, 1, self._rng).tolist()
        return population.first_agent + int(agent)

    def _victim(self, cents: int) -> int:
        """A client with so much, or the richest of those looked at."""
        population = self._population
        seen: list[int] = pick(population.chances[CASH_OUT], 8, self._rng).tolist()
        for client in seen:
            if population.cents[client] >= cents:
                return client
        return max(seen, key=population.cents.__getitem__)

    def _mule(self) -> int:
        """A mule in use, or a new one: half are clients with a history, half new accounts."""
        rng = self._rng
        if self._mules and (len(self._mules) >= ACTIVE_MULES or rng.random() < 0.75):
            place = int(rng.integers(len(self._mules)))
            mule, left = self._mules[place]
            if left > 1:
                self._mules[place] = (mule, left - 1)
            else:
                self._mules.pop(place)
            return mule
        recruited = rng.random() < 0.5
        mule = (
            int(rng.integers(self._population.clients))
            if recruited
            else self._population.newcomer()
        )
        self._mules.append((mule, int(rng.integers(2, 13))))
        return mule


KINDS = {
    "drain": Kind(Fraudsters.drain, transactions=2.3, share=0.35),
    "probe": Kind(Fraudsters.probe, transactions=4.0, share=0.2),
    "mule": Kind(Fraudsters.mule, transactions=10.0, share=0.25),
    "structuring": Kind(Fraudsters.structuring, transactions=5.5, share=0.2),
}
