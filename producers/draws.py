"""What is drawn for the legitimate transactions of one stretch of time, before money is looked at.

Everything here is vectorised; `traffic` then books the draws one by one, because each balance
depends on the one before.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from producers.calibration import CASH_IN, CASH_OUT, PAYMENT, TRANSFER, TYPES, Calibration
from producers.population import FAVOURITES, HABIT_SIGMA, Population, pick

CANDIDATES = 4
"""Clients looked at for one transaction: the first who can pay pays, the poorest gets money in."""
PAYERS = 4
"""Agents looked at for an income: the richest pays it."""
LOYALTY = 0.7
"""Share of transactions that go to one of the client's favourites."""
IN_A_ROW = 0.08
"""Share of transactions by the client who made the one of that type before."""
SMALL = 0.05
"""Share of TRANSFERs and CASH_OUTs of 10 to 3,000, whatever the hour's mean says."""
SHORTFALL = {TRANSFER: 1.4, CASH_IN: 1.03}
"""How much more clients want to move than they can: measured, so that what is booked agrees."""


class Draw(NamedTuple):
    """A transaction that wants to happen."""

    milliseconds: int
    kind: int
    candidates: list[int]
    cents: float
    """The amount for a client of habit 1."""
    income: bool
    """A TRANSFER that an agent or a merchant pays to a client."""
    small: bool
    favourite: int
    """Which of the client's favourites it is for, or -1: `other` then."""
    other: int
    """Some merchant (PAYMENT), client (TRANSFER) or agent."""
    agents: list[int]
    merchant: int
    chances: list[float]
    """Uniform numbers for what depends on the balance."""


class Draws:
    """Draws transactions after the calibration."""

    def __init__(
        self, population: Population, calibration: Calibration, rng: np.random.Generator
    ) -> None:
        self._population = population
        self._rng = rng
        mean, std = calibration.mean, calibration.std
        # A log-normal with the hour's mean and deviation, less what lies between clients.
        log_variance = np.log1p((std / mean) ** 2)
        self._log_mean = np.log(mean) - log_variance / 2
        # Habits have mean 1, so that their part of the deviation has lowered nothing yet.
        self._log_mean += HABIT_SIGMA**2 / 2
        self._log_sigma = np.sqrt(np.maximum(log_variance - HABIT_SIGMA**2, 0.05))
        # Small amounts pull the mean of two types down; the others make up for it.
        self._log_mean[:, [TRANSFER, CASH_OUT]] -= math.log(1 - SMALL)
        for kind, factor in SHORTFALL.items():
            self._log_mean[:, kind] += math.log(factor)

    def amount_cents(self, kind: int, hour: int) -> float:
        """An amount of this type and hour, for a client of habit 1."""
        normal = self._rng.standard_normal()
        return 100 * math.exp(self._log_mean[hour, kind] + self._log_sigma[hour, kind] * normal)

    def draw(
        self, begin_ms: int, end_ms: int, hour: int, counts: NDArray[np.int64], income_share: float
    ) -> list[Draw]:
        """Draw so many of each type within a stretch of one hour of the day, in order of time."""
        population, rng, count = self._population, self._rng, int(counts.sum())
        if not count:
            return []
        kinds = rng.permutation(np.repeat(np.arange(len(TYPES)), counts))
        income = (kinds == TRANSFER) & (rng.random(count) < income_share)
        small = np.isin(kinds, (TRANSFER, CASH_OUT)) & ~income & (rng.random(count) < SMALL)
        amounts = 100 * np.exp(
            self._log_mean[hour, kinds] + self._log_sigma[hour, kinds] * rng.standard_normal(count)
        )
        amounts[small] = 100 * 10 ** rng.uniform(1, 3.5, int(small.sum()))
        favourite = np.where(rng.random(count) < LOYALTY, rng.integers(0, FAVOURITES, count), -1)
        agents = population.first_agent + pick(population.popular_agents, (count, PAYERS), rng)
        merchants = population.first_merchant + pick(population.popular_merchants, count, rng)
        clients = pick(population.popular_clients, count, rng)
        others = np.where(kinds == TRANSFER, clients, agents[:, 0])
        columns: tuple[NDArray[Any], ...] = (
            np.sort(rng.integers(begin_ms, end_ms, count)),
            kinds,
            self._candidates(kinds, income),
            amounts,
            income,
            small,
            favourite,
            np.where(kinds == PAYMENT, merchants, others),
            agents,
            merchants,
            rng.random((count, 4)),
        )
        return [Draw(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def _candidates(self, kinds: NDArray[np.int64], income: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Clients for each transaction, by how much each does of its type."""
        population, rng = self._population, self._rng
        clients = np.empty((len(kinds), CANDIDATES), np.int64)
        uniform = rng.random(clients.shape)
        again = rng.random(len(kinds)) < IN_A_ROW
        for kind in range(len(TYPES)):
            of_kind = np.flatnonzero((kinds == kind) & ~income)
            chances = population.chances[kind]
            clients[of_kind] = np.searchsorted(chances, uniform[of_kind], side="right")
            repeated = np.flatnonzero(again[of_kind])
            repeated = repeated[repeated > 0]
            clients[of_kind[repeated], 0] = clients[of_kind[repeated - 1], 0]
        # Income goes where money goes out.
        chances = population.chances[CASH_OUT]
        clients[income] = np.searchsorted(chances, uniform[income], side="right")
        return clients
